//! The proof watch: does what consumers read still work, and is it still what Keyward published? A refusal counts only if nothing
//! was under way around it.

use crate::drive::{Engine, Outcome, Spec};
use crate::failure::{Class, Failure};
use crate::known::{is_foreign, known};
use crate::ports::Document;
use crate::published::named;
use crate::recording::Put;
use crate::stored::{Held, Stored};
use keyward_rotation::record::{Author, Diverged, Phase, Record};
use keyward_rotation::saga::End;
use keyward_secret::Fields;

/// What one look came to.
#[derive(Debug)]
pub enum Proof {
    /// No system can be asked, or nothing is published yet.
    NothingToProve,
    /// A rotation was under way before or after, or the published version changed: nothing can be concluded.
    Moving,
    /// Accepted.
    Valid,
    /// Refused: what consumers read does not work.
    Invalid(Failure),
    /// The system could not be asked.
    Unknown(Failure),
}

/// What a look changed in the record, for people to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// Somebody else put a value there, and it works: it is adopted.
    Adopted,
    /// The same where no system can say whether it works: it is adopted, because nothing else is known.
    AdoptedUnproved,
    /// What is published is refused: the schedule is held from now on. `foreign`: it is not what Keyward published, either.
    Diverged {
        /// Whether somebody else put it there.
        foreign: bool,
    },
    /// It was refused before, and is accepted again.
    Healed,
}

/// A proof and the readings that it was made from; `None` where they could not be had.
struct Look {
    proof: Proof,
    read: Option<(Stored, Document)>,
}

impl Engine {
    /// Proves once what is published now. Changes nothing.
    pub async fn prove(&self, spec: &Spec) -> Proof {
        self.look_at(spec).await.proof
    }

    /// Proves once what is published now, and keeps in the record what follows: a value of somebody else's that works is
    /// adopted, one that is refused holds the schedule, and one that works again frees it.
    pub async fn watch(&self, spec: &Spec) -> (Proof, Option<Noticed>) {
        let Look { mut proof, mut read } = self.look_at(spec).await;
        // What cannot be healed now is told as what it is, and tried again at the next look.
        if matches!(proof, Proof::Invalid(_)) && matches!(self.heal(spec).await, Ok(Some(outcome)) if outcome.end == End::Rotated) {
            Look { proof, read } = self.look_at(spec).await;
        }
        let Some((stored, live)) = read else { return (proof, None) };
        let Some(record) = stored.record.filter(|r| matches!(r.phase, Phase::Idle | Phase::Paused { .. })) else { return (proof, None) };
        let names = spec.kind.fields();
        let foreign = spec.kind.path().is_some() && is_foreign(record.published.as_ref(), &live, &names);
        let (noticed, next) = match &proof {
            Proof::Valid | Proof::NothingToProve if foreign && live.fields.is_some() => {
                let by = Author::SomebodyElse;
                let Ok(known) = known(&named(&live, &names), &names, by, self.clock.now(), self.random.as_ref()) else {
                    return (proof, None);
                };
                let noticed = if matches!(proof, Proof::Valid) { Noticed::Adopted } else { Noticed::AdoptedUnproved };
                (noticed, Record { published: Some(known), diverged: None, ..record })
            }
            Proof::Valid if record.diverged.is_some() => (Noticed::Healed, Record { diverged: None, ..record }),
            Proof::Invalid(failure) if record.diverged.is_none() && tells_of_the_value(failure.class) => {
                let diverged = Diverged { why: failure.text.clone(), since: self.clock.now() };
                (Noticed::Diverged { foreign }, Record { diverged: Some(diverged), ..record })
            }
            _ => return (proof, None),
        };
        // A rotation of this process that is only at its preflight must not lose its record to us.
        let Some(_claim) = self.claim(&spec.name) else { return (proof, None) };
        // Lost means that somebody else works on it: the next look sees what came of that.
        let won = matches!(self.put(&spec.name, stored.version, &next, &Held::default()).await, Put::Won(_));
        (proof, won.then_some(noticed))
    }

    async fn look_at(&self, spec: &Spec) -> Look {
        let nothing = |proof| Look { proof, read: None };
        let Ok(before) = self.load(&spec.name).await else { return nothing(Proof::Moving) };
        if before.record.as_ref().and_then(Record::way).is_some() {
            return nothing(Proof::Moving);
        }
        let live = match self.live(spec).await {
            Ok(live) => live,
            Err(failure) => return nothing(Proof::Unknown(failure)),
        };
        let proof = self.judge(spec, &before, &live).await;
        Look { proof, read: Some((before, live)) }
    }

    async fn judge(&self, spec: &Spec, before: &Stored, live: &Document) -> Proof {
        let was_published = before.record.as_ref().is_some_and(|r| r.published.is_some());
        if let Some(path) = spec.kind.path().filter(|_| live.fields.as_ref().is_none_or(Fields::is_empty)) {
            if !was_published {
                return Proof::NothingToProve;
            }
            let failure = Failure::lasting(Class::NotFound, format!("{path} was deleted or emptied: consumers find nothing there"));
            return self.confirm_refusal(spec, before.version, live.version, failure).await;
        }
        match spec.kind.prove(live).await {
            None => Proof::NothingToProve,
            Some(Ok(())) => Proof::Valid,
            Some(Err(failure)) if says_nothing_of_the_credential(failure.class) => Proof::Unknown(failure),
            Some(Err(failure)) => self.confirm_refusal(spec, before.version, live.version, failure).await,
        }
    }

    async fn confirm_refusal(&self, spec: &Spec, record: u64, published: u64, failure: Failure) -> Proof {
        let (after, live) = (self.load(&spec.name).await, self.live(spec).await);
        match (after, live) {
            (Ok(after), Ok(live)) if after.version == record && live.version == published => Proof::Invalid(failure),
            _ => Proof::Moving,
        }
    }
}

impl Engine {
    /// Publishes the copy of a credential again that Vault itself has rotated since: by its own period, or by a `rotate-role` that
    /// was frozen for long. Nothing is done while what consumers read works, or what Vault returns does not. `None`: nothing was called for.
    ///
    /// # Errors
    /// What could not be read or proved.
    async fn heal(&self, spec: &Spec) -> Result<Option<Outcome>, Failure> {
        let Some(fields) = spec.kind.copy().await? else { return Ok(None) };
        let stored = self.load(&spec.name).await?;
        let Some(record) = stored.record.clone().filter(|r| r.phase == Phase::Idle) else { return Ok(None) };
        let live = self.live(spec).await?;
        let stale = live.fields.as_ref().is_some_and(|f| !f.is_empty() && !fields.contained_in(f));
        if !stale || matches!(spec.kind.prove(&live).await, None | Some(Ok(()))) {
            return Ok(None);
        }
        let again = Document { version: live.version, fields: Some(fields.duplicate()) };
        if let Some(Err(failure)) = spec.kind.prove(&again).await {
            return Err(failure);
        }
        let held = Held { old: named(&live, &spec.kind.fields()), publish: fields, ..Held::default() };
        Ok(Some(self.run_tend(spec, (stored.version, record), held, None).await))
    }
}

fn says_nothing_of_the_credential(class: Class) -> bool {
    class.is_outage() || matches!(class, Class::Denied | Class::Tls)
}

/// Whether a refusal says that the value is the wrong one, and not that something around it is amiss.
fn tells_of_the_value(class: Class) -> bool {
    matches!(class, Class::WrongPassword | Class::NotFound | Class::Foreign)
}
