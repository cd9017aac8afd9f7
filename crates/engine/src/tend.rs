//! What is left to be done about older values after a rotation: retiring a role, promoting a key, removing a value.

use crate::drive::{Engine, Outcome, Spec};
use crate::failure::Failure;
use crate::kind::{StillUsed, Tended};
use crate::published::named;
use crate::recording::Put;
use crate::stored::{Held, Stored};
use keyward_rotation::record::{Later, Phase, Record};
use keyward_rotation::saga::End;

/// What came of one look at what is left for later.
#[derive(Debug)]
pub enum TendReport {
    /// Nothing was due.
    Nothing,
    /// This was done.
    Done(Later),
    /// This was done, though it was still used, by whom as far as can be seen.
    DoneInUse(Later, String),
    /// This has to wait, and why.
    NotYet(Later, String),
    /// This failed; it is tried again.
    Failed(Later, Failure),
    /// Housekeeping on the published path ended like this.
    Published(Later, Box<Outcome>),
}

impl Engine {
    /// Does the first thing that is due among what was left for later. One per call, so that each is judged on a fresh reading.
    pub async fn tend(&self, spec: &Spec, stored: Stored) -> TendReport {
        let Some(record) = stored.record.clone().filter(|r| r.phase == Phase::Idle) else { return TendReport::Nothing };
        let now = self.clock.now();
        let mut last = TendReport::Nothing;
        for later in record.later.iter().filter(|l| l.not_before() <= now) {
            if is_superseded(&record, later) {
                return self.strike(spec, &stored, record.clone(), later).await;
            }
            let live = match self.live(spec).await {
                Ok(live) => live,
                Err(failure) => return TendReport::Failed(later.clone(), failure),
            };
            match spec.kind.tend(&spec.name, later, &live, now, self.random.as_ref()).await {
                Ok(Tended::NotYet(why)) => last = TendReport::NotYet(later.clone(), why),
                Err(failure) => last = TendReport::Failed(later.clone(), failure),
                Ok(Tended::Done) => return self.strike(spec, &stored, record.clone(), later).await,
                Ok(Tended::DoneInUse(who)) => {
                    return match self.strike(spec, &stored, record.clone(), later).await {
                        TendReport::Done(later) => TendReport::DoneInUse(later, who),
                        other => other,
                    };
                }
                Ok(Tended::Publish(fields, more)) => {
                    let names: Vec<String> = fields.names().map(str::to_owned).collect();
                    let held = Held { old: named(&live, &names), publish: fields, ..Held::default() };
                    let outcome = self.run_tend(spec, (stored.version, record.clone()), held, Some((later.clone(), more))).await;
                    return TendReport::Published(later.clone(), Box::new(outcome));
                }
            }
        }
        last
    }

    /// Who still uses the older values that are to be seen to later, as far as can be seen.
    ///
    /// # Errors
    /// When the record or what is published cannot be read.
    pub async fn still_used(&self, spec: &Spec) -> Result<Vec<StillUsed>, Failure> {
        let record = self.load(&spec.name).await?.record;
        let later = record.map(|record| record.later).unwrap_or_default();
        if later.is_empty() {
            return Ok(Vec::new());
        }
        let (live, now) = (self.live(spec).await?, self.clock.now());
        let mut all = Vec::new();
        for later in &later {
            all.extend(spec.kind.still_used(later, &live, now).await?);
        }
        Ok(all)
    }

    /// Takes an entry out of the record.
    async fn strike(&self, spec: &Spec, stored: &Stored, record: Record, later: &Later) -> TendReport {
        match self.put(&spec.name, stored.version, &without(record, later), &Held::default()).await {
            Put::Won(_) | Put::Lost => TendReport::Done(later.clone()), // lost: it is done again, harmlessly
            Put::Failed(failure) => TendReport::Failed(later.clone(), failure),
        }
    }

    /// Destroys what an earlier run left undestroyed, and says which versions that were.
    ///
    /// # Errors
    /// What Vault answered.
    pub async fn sweep(&self, spec: &Spec, stored: &Stored) -> Result<Option<(u64, u64)>, Failure> {
        let held = stored.record.as_ref().filter(|r| r.phase == Phase::Idle).and_then(|r| r.held);
        if let Some((first, last)) = held {
            self.vault.destroy_record(&spec.name, first, last).await?;
        }
        Ok(held)
    }
}

/// There is one previous value. Since a later rotation it is another one, with a grace of its own, and a removal of its own.
fn is_superseded(record: &Record, later: &Later) -> bool {
    let is_newer = |other: &Later| matches!(other, Later::Prune { .. }) && other.not_before() > later.not_before();
    matches!(later, Later::Prune { .. }) && record.later.iter().any(is_newer)
}

fn without(mut record: Record, later: &Later) -> Record {
    record.later.retain(|l| l != later);
    record
}

impl TendReport {
    /// Whether something was changed, so that another look may find more to do.
    pub fn changed(&self) -> bool {
        match self {
            Self::Done(_) | Self::DoneInUse(..) => true,
            Self::Published(_, outcome) => outcome.end == End::Rotated,
            Self::Nothing | Self::NotYet(..) | Self::Failed(..) => false,
        }
    }
}
