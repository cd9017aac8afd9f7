//! What a daemon remembers of a secret between two looks at its record, and what the secret calls for next.
//!
//! Pure: times come in as arguments, on the daemon's own monotonic clock. The daemon and the simulation share it, so that
//! what is simulated is what runs. It only remembers what a reading brings back: losing it costs that reading.

use crate::drive::Engine;
use crate::failure::Failure;
use crate::stored::{Held, Stored};
use jiff::Timestamp;
use keyward_rotation::plan::{self, Decision, Input};
use keyward_rotation::record::{Observation, Phase, Record};
use keyward_rotation::schedule::{Backoff, Policy};
use std::time::Duration;

/// A record that nothing is expected of is read again after so long: others may have changed it.
pub const FRESH: Duration = Duration::from_mins(1);
/// A record that is under way elsewhere, or could not be read, is looked at again after so long.
pub const RESTLESS: Duration = Duration::from_secs(2);
/// What was left because something could not be reached is taken up again after so long at most.
pub const AGAIN: Duration = Duration::from_secs(15);
/// What is left for later is looked at again after so long when it has to wait, and so is a sweep that failed.
pub const LATER: Duration = Duration::from_mins(1);

/// What one secret calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// A rotation for this slot.
    Rotate(Timestamp),
    /// Its rotation is under way, and is ours or nobody's: this version of its record has stood for the whole lease.
    TakeOver(u64),
    /// Something that was left for later is due.
    Tend,
    /// Versions of its record that held values may not have been destroyed.
    Sweep,
}

/// How an errand left its secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// It did not end as rotated: the next attempt waits.
    pub refused: bool,
    /// Something that was left for later was done: there may be more.
    pub tended: bool,
    /// These versions of the record were destroyed.
    pub swept: Option<(u64, u64)>,
}

/// What is remembered of one secret between two looks.
#[derive(Debug, Default)]
pub struct Memory {
    record: Option<Record>,
    version: u64,
    failure: Option<Failure>,
    read: Option<Duration>,
    owner: Observation,
    swept: Option<(u64, u64)>,
    sweeping: Option<Duration>,
    /// No attempt before this moment: a refusal before the stage leaves no trace in the record.
    refused: Option<(Duration, u32)>,
    tended: Option<Duration>,
}

impl Memory {
    /// The record as it was last read.
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// The version of [`Self::record`].
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Why the last reading failed.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether the record is to be read again at `now`.
    pub fn is_stale(&self, now: Duration) -> bool {
        let patience = match (&self.record, &self.failure) {
            (_, Some(_)) | (None, _) => RESTLESS,
            (Some(record), None) if record.way().is_some() => RESTLESS,
            _ => FRESH,
        };
        self.read.is_none_or(|at| now.saturating_sub(at) >= patience)
    }

    /// Somebody changed the record just now: it is read again at the next look.
    pub fn forget(&mut self) {
        self.read = None;
    }

    /// Notes a reading.
    pub fn note(&mut self, now: Duration, read: Result<Stored, Failure>) {
        self.read = Some(now);
        match read {
            Ok(stored) => {
                self.version = stored.version;
                self.record = stored.record;
                self.failure = None;
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// What the secret calls for, by the record as last read and what the planner decided on it. `wall` is the wall clock's time.
    pub fn errand(&mut self, engine: &Engine, decision: &Decision, backoff: &Backoff, now: Duration, wall: Timestamp) -> Option<Errand> {
        let record = self.record.as_ref().filter(|_| self.failure.is_none())?;
        if record.way().is_some() {
            let stored = Stored { version: self.version, record: Some(record.clone()), held: Held::default() };
            let may = engine.may_take_over(&stored, &mut self.owner);
            // One that was left because something could not be reached is taken up again soon, but not at every look.
            let waited = self.refused.is_none_or(|(at, times)| now.saturating_sub(at) >= RESTLESS.saturating_mul(times).min(AGAIN));
            return (may && waited).then_some(Errand::TakeOver(self.version));
        }
        let idle = record.phase == Phase::Idle;
        // Before the next rotation: its finish names other versions, and these would be forgotten.
        if idle && record.held.is_some() && record.held != self.swept && rested(self.sweeping, now) {
            self.sweeping = Some(now);
            return Some(Errand::Sweep);
        }
        if let Decision::Due { slot, .. } = decision {
            let waited = self.refused.is_none_or(|(at, attempts)| now.saturating_sub(at) >= backoff.delay(attempts));
            return waited.then_some(Errand::Rotate(slot.0));
        }
        // While what is published is refused, an older value may be the only one that works: it is left alone.
        let due = idle && record.diverged.is_none() && record.later.iter().any(|l| l.not_before() <= wall);
        if due && rested(self.tended, now) {
            self.tended = Some(now);
            return Some(Errand::Tend);
        }
        None
    }

    /// Notes how an errand ended; the record is read again at the next look.
    pub fn ended(&mut self, now: Duration, ended: Ended) {
        self.read = None;
        let attempts = self.refused.map_or(0, |(_, attempts)| attempts);
        self.refused = ended.refused.then(|| (now, attempts.saturating_add(1)));
        if ended.tended {
            self.tended = None;
        }
        if ended.swept.is_some() {
            self.swept = ended.swept;
            self.sweeping = None;
        }
    }
}

fn rested(last: Option<Duration>, now: Duration) -> bool {
    last.is_none_or(|at| now.saturating_sub(at) >= LATER)
}

/// Whether a slot is still due, judged once more from the very reading that the stage will be checked against.
pub fn still_due(input: &Input, policy: &Policy, slot: Timestamp, now: Timestamp) -> bool {
    matches!(plan::decide(now, input, policy), Decision::Due { slot: due, .. } if due.0 == slot)
}

/// Whether what was found under way may still be taken over, judged by the reading that the takeover will be checked against. An
/// owner that has written since the version that stood so long is not silent: whoever judged it may have been frozen himself.
pub fn still_silent(engine: &Engine, stored: &Stored, version: u64) -> bool {
    let under_way = stored.record.as_ref().filter(|r| r.way().is_some()).and_then(Record::attempt);
    under_way.is_some_and(|attempt| stored.version == version || attempt.owner == engine.owner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_could_not_be_read_is_looked_at_again_sooner_than_what_rests() {
        let mut memory = Memory::default();
        assert!(memory.is_stale(at(0)), "never read");
        let record = Record::first_seen("s", Timestamp::UNIX_EPOCH);
        memory.note(at(10), Ok(Stored { version: 1, record: Some(record), held: Held::default() }));
        assert_eq!((memory.is_stale(at(69)), memory.is_stale(at(70))), (false, true));
        memory.note(at(70), Err(Failure::passing(crate::Class::Sealed, "sealed")));
        assert_eq!((memory.is_stale(at(71)), memory.is_stale(at(72))), (false, true));
        assert!(memory.record().is_some(), "what was known before is kept for the board");
    }

    #[test]
    fn refusals_in_a_row_are_counted_and_forgotten_after_a_success() {
        let mut memory = Memory::default();
        let refused = Ended { refused: true, ..Ended::default() };
        memory.ended(at(1), refused);
        memory.ended(at(2), refused);
        assert_eq!(memory.refused, Some((at(2), 2)));
        memory.ended(at(3), Ended::default());
        assert_eq!(memory.refused, None);
    }
}
