//! Writing a record: always with check-and-set, and after a lost answer by looking, never by guessing.

use crate::drive::{Engine, Spec};
use crate::failure::{Class, Failure};
use crate::job::Grip;
use crate::ports::{Document, WriteFailure};
use crate::stored::{Held, Stored, decode, encode};
use keyward_rotation::record::{FORMAT, Phase, Record};
use keyward_secret::{Fields, canonical_json};

/// How a write of the record ended.
#[derive(Debug)]
pub(crate) enum Put {
    /// It stands there, as this version.
    Won(u64),
    /// Somebody else wrote.
    Lost,
    /// It was not written, for this reason.
    Failed(Failure),
}

impl Engine {
    /// How often an unanswered write is looked after before it counts as failed.
    const LOOKS: u32 = 3;

    /// A secret's record as it stands in Vault.
    ///
    /// # Errors
    /// What Vault answered, or why the record cannot be read.
    pub async fn load(&self, secret: &str) -> Result<Stored, Failure> {
        let document = self.vault.record(secret).await.map_err(|f| f.during(&format!("reading the record of {secret}")))?;
        decode(secret, &document)
    }

    /// The record, written for the first time if there is none: from then on the secret's first slot is known.
    ///
    /// # Errors
    /// As [`Self::load`]; a lost race is no error, the winner's record is returned.
    pub async fn load_or_create(&self, secret: &str) -> Result<Stored, Failure> {
        let stored = self.load(secret).await?;
        if stored.record.is_some() {
            return Ok(stored);
        }
        let record = Record::first_seen(secret, self.clock.now());
        match self.put(secret, 0, &record, &Held::default()).await {
            Put::Won(version) => Ok(Stored { version, record: Some(record), held: Held::default() }),
            Put::Lost => self.load(secret).await,
            Put::Failed(failure) => Err(failure),
        }
    }

    /// The record of a secret that had another name before, carried over. `false`: there is none under the old name.
    ///
    /// The old record stays, paused, with the reason: a record is never deleted.
    ///
    /// # Errors
    /// What Vault or the target answered, or that a rotation under the old name is not finished.
    pub async fn carry_over(&self, spec: &Spec, from: &str) -> Result<bool, Failure> {
        let old = self.load(from).await?;
        let Some(record) = old.record else { return Ok(false) };
        let moved = format!("its secret is called {} now", spec.name);
        match &record.phase {
            Phase::Idle => {}
            Phase::Paused { why, .. } if *why == moved => {}
            _ => {
                let text = format!("the record of {from} is not idle; finish that under the old name before renaming it to {}", spec.name);
                return Err(Failure::lasting(Class::Invalid, text));
            }
        }
        spec.kind.renamed(from).await?;
        let now = self.clock.now();
        let mine = Record { secret: spec.name.clone(), phase: Phase::Idle, held: None, ..record.clone() };
        if let Put::Failed(failure) = self.put(&spec.name, 0, &mine, &Held::default()).await {
            return Err(failure);
        }
        let theirs = Record { phase: Phase::Paused { by: "keyward".into(), why: moved, since: now }, ..record };
        match self.put(from, old.version, &theirs, &Held::default()).await {
            Put::Won(_) | Put::Lost => Ok(true),
            Put::Failed(failure) => Err(failure),
        }
    }

    /// Writes a record over the version that its job knows; from then on the job knows it as the one that was written.
    pub(crate) async fn put_own(&self, secret: &str, grip: &mut Grip, record: &Record, held: &Held) -> Put {
        // Before it is sent: whoever stands still until the answer comes has known nothing since.
        let sent = self.clock.elapsed();
        let put = self.put(secret, grip.version, record, held).await;
        if let Put::Won(version) = put {
            *grip = Grip { version, at: sent };
        }
        put
    }

    /// Writes a record over version `cas`.
    pub(crate) async fn put(&self, secret: &str, cas: u64, record: &Record, held: &Held) -> Put {
        // A record of the format before becomes one of ours with our first write.
        let record = &Record { format: FORMAT, ..record.clone() };
        let fields = match encode(record, held) {
            Ok(fields) => fields,
            Err(failure) => return Put::Failed(failure),
        };
        let mut last = None;
        for _ in 0..Self::LOOKS {
            match self.vault.write_record(secret, cas, &fields).await {
                Ok(version) => return Put::Won(version),
                // An earlier try of ours may be what we now collide with: looking tells.
                Err(WriteFailure::Conflict | WriteFailure::Gone) => return self.look(secret, cas, &fields).await.unwrap_or(Put::Lost),
                Err(WriteFailure::Failed(failure)) if failure.unknown => {
                    if let Some(put) = self.look(secret, cas, &fields).await {
                        return put;
                    }
                    last = Some(failure);
                }
                Err(WriteFailure::Failed(failure)) => return Put::Failed(failure),
            }
        }
        Put::Failed(last.unwrap_or_else(|| Failure::passing(Class::Timeout, "the record could not be written")))
    }

    /// Whether these fields stand as the version behind `cas`; `None` when nothing was written yet.
    ///
    /// The values count as well: a heartbeat of ours that was under way for long says the same of the rotation, and may hold an
    /// older copy of what is to be published.
    async fn look(&self, secret: &str, cas: u64, fields: &Fields) -> Option<Put> {
        match self.vault.record(secret).await {
            Ok(document) if document.version == cas => None,
            Ok(Document { version, fields: Some(there) }) if version == cas + 1 && same(fields, &there) => Some(Put::Won(version)),
            Ok(_) => Some(Put::Lost),
            Err(failure) => Some(Put::Failed(failure)),
        }
    }
}

/// Whether two documents are the same, whatever order and blanks their JSON has.
fn same(ours: &Fields, theirs: &Fields) -> bool {
    let canonical = |fields: &Fields, name: &str| fields.json(name).and_then(|json| canonical_json(json).ok());
    ours.len() == theirs.len()
        && ours.names().all(|name| canonical(ours, name).zip(canonical(theirs, name)).is_some_and(|(a, b)| a.same_as(&b)))
}
