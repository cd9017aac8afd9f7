//! Taking up what stands in a record: a rotation whose owner is gone, one that is stuck, a secret that was paused.

use crate::drive::{Ask, Engine, Outcome, Spec, claimed, refused};
use crate::failure::{Class, Failure};
use crate::kind::RESUMED;
use crate::recording::Put;
use crate::stored::Stored;
use jiff::Timestamp;
use keyward_rotation::record::{Observation, Phase, Purpose, Record};
use keyward_rotation::saga::{End, Saga};
use keyward_rotation::table::{RECONCILE, TEND, Table};

impl Engine {
    /// Whether a rotation that is under way may be taken up by this process: it is our own and nobody here works on it, or its owner is
    /// silent.
    pub fn may_take_over(&self, stored: &Stored, seen: &mut Observation) -> bool {
        let Some(record) = stored.record.as_ref().filter(|r| r.way().is_some()) else { return false };
        let Some(attempt) = record.attempt() else { return false };
        let silent = seen.observe(stored.version, self.clock.elapsed());
        (attempt.owner == self.owner || silent >= self.settings.lease) && self.is_free(&record.secret)
    }

    /// Takes up a rotation found in its record; see [`Self::may_take_over`].
    pub async fn take_over(&self, spec: &Spec, stored: Stored) -> Outcome {
        let Some(record) = stored.record else { return refused(Failure::lasting(Class::Invalid, "there is no record")) };
        let Some((way, attempt)) = record.way().zip(record.attempt()) else {
            return refused(Failure::lasting(Class::Invalid, "nothing is under way"));
        };
        let table: &'static Table = match attempt.purpose {
            Purpose::Tend { .. } => &TEND,
            Purpose::Reconcile => &RECONCILE,
            Purpose::Rotate { .. } => spec.kind.table(),
        };
        if attempt.kind != table.kind {
            let text = format!(
                "it was begun as {}, and is configured as {} now; configure it as before to let it finish",
                attempt.kind, table.kind
            );
            return refused(Failure::lasting(Class::Invalid, text));
        }
        // Before anything is written: a rotation of this process that is under way must not lose its record to us.
        let Some(claim) = self.claim(&spec.name) else { return claimed(spec) };
        let mut owned = record.clone();
        if let Some(attempt) = owned.attempt_mut() {
            attempt.owner.clone_from(&self.owner);
        }
        let version = match self.put(&spec.name, stored.version, &owned, &stored.held).await {
            Put::Won(version) => version,
            Put::Lost => return Outcome { end: End::Lost, ..refused(Failure::lasting(Class::Foreign, "somebody else took it over")) },
            Put::Failed(failure) => return Outcome { end: End::Suspended, ..refused(failure) },
        };
        let ask = Ask { person: None, supplied: None, slot: Timestamp::default() };
        let at = Stored { version, record: None, held: stored.held };
        self.run_claimed(spec, Saga::recover(table, way), at, owned, ask, claim).await
    }

    /// Lets a rotation that is stuck go on, or a paused secret be rotated again.
    ///
    /// # Errors
    /// When it is neither stuck nor paused, or the record could not be written.
    pub async fn resume(&self, spec: &Spec, stored: Stored) -> Result<Option<Outcome>, Failure> {
        let Some(record) = stored.record else { return Err(Failure::lasting(Class::Invalid, "it has no record yet")) };
        let idle = matches!(record.phase, Phase::Paused { .. }).then(|| Record { phase: Phase::Idle, ..record.clone() });
        let mut next = idle.or_else(|| record.clone().resumed()).ok_or_else(|| {
            Failure::lasting(Class::Invalid, format!("{} is neither stuck nor paused; there is nothing to resume", spec.name))
        })?;
        if let Some(attempt) = next.attempt_mut() {
            attempt.facts.insert(RESUMED.into(), self.clock.now().to_string());
        }
        match self.put(&spec.name, stored.version, &next, &stored.held).await {
            Put::Won(_) if next.phase == Phase::Idle => Ok(None),
            Put::Won(version) => Ok(Some(self.take_over(spec, Stored { version, record: Some(next), held: stored.held }).await)),
            Put::Lost => Err(Failure::lasting(Class::Foreign, "somebody else changed the record just now; look again")),
            Put::Failed(failure) => Err(failure),
        }
    }
}
