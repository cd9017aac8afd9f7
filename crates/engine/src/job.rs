//! A rotation in the engine's hands: where its table stands, what its record says, and what went wrong on the way.

use crate::drive::{Ask, FOREIGN};
use crate::failure::{Class, Failure};
use crate::kind::Work;
use crate::stored::Held;
use keyward_rotation::record::{Later, Purpose, Record};
use keyward_rotation::saga::{Saga, State};
use keyward_rotation::table::{RECONCILE, TEND};
use std::time::Duration;

/// The hold that a job has on its record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grip {
    /// The record's version as the job knows it.
    pub(crate) version: u64,
    /// When the record was last known to be that, on this process's monotonic clock.
    pub(crate) at: Duration,
}

/// A rotation in the engine's hands.
pub(crate) struct Job {
    pub(crate) saga: Saga,
    pub(crate) grip: Grip,
    pub(crate) record: Record,
    pub(crate) held: Held,
    /// The published version that the next PATCH checks against.
    pub(crate) base: Option<u64>,
    /// The published version seen by the last reading.
    pub(crate) seen: Option<u64>,
    pub(crate) ask: Ask,
    /// What housekeeping does of what was left for later, and what it leaves in its place.
    pub(crate) tending: Option<(Later, Vec<Later>)>,
    pub(crate) failure: Option<Failure>,
    pub(crate) failed_at: Option<State>,
    /// See [`Outcome::foreign`].
    pub(crate) foreign: bool,
}

impl Job {
    /// One that begins or goes on in `saga`, with the record and its values as they were read.
    pub(crate) fn new(saga: Saga, grip: Grip, record: Record, held: Held, ask: Ask) -> Self {
        let base = record.attempt().and_then(|a| a.base);
        let foreign = record.attempt().is_some_and(|a| a.facts.contains_key(FOREIGN));
        Self { saga, grip, record, held, base, seen: None, ask, tending: None, failure: None, failed_at: None, foreign }
    }

    /// The attempt with its values; an error before the stage.
    pub(crate) fn work(&self) -> Result<Work<'_>, Failure> {
        let attempt = self.record.attempt().ok_or_else(|| Failure::lasting(Class::Invalid, "nothing is staged"))?;
        Ok(Work { record: &self.record, attempt, held: &self.held })
    }

    /// Whether it is housekeeping, not a rotation.
    pub(crate) fn tends(&self) -> bool {
        *self.saga.table() == TEND
    }

    /// Whether it makes the target accept what is published.
    pub(crate) fn reconciles(&self) -> bool {
        *self.saga.table() == RECONCILE
    }

    /// What its attempt is for.
    pub(crate) fn purpose(&self) -> Purpose {
        if self.tends() {
            let (what, then) = self.tending.clone().unzip();
            Purpose::Tend { what, then: then.unwrap_or_default() }
        } else if self.reconciles() {
            Purpose::Reconcile
        } else {
            Purpose::Rotate { slot: self.ask.slot }
        }
    }

    /// Whether it is a rotation, with a candidate of its own.
    pub(crate) fn rotates(&self) -> bool {
        !self.tends() && !self.reconciles()
    }

    /// The same, to be looked at while the heartbeat writes.
    pub(crate) fn snapshot(&self) -> Self {
        Self {
            record: self.record.clone(),
            held: self.held.duplicate(),
            tending: self.tending.clone(),
            ask: Ask { person: self.ask.person.clone(), ..Ask::default() },
            failure: None,
            ..*self
        }
    }

    pub(crate) fn rotation(&self) -> &str {
        self.record.attempt().map_or("", |a| &a.rotation)
    }
}
