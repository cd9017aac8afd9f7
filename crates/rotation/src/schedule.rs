//! When a secret is due: schedules, slots, jitter, maintenance windows, and how long to wait after a failure.
//!
//! It never reads a clock and never rolls dice: the same arguments give the same answer on every machine, after every
//! restart. Time zones come from the rules that are built into the program, so that two daemons agree on every slot.
//!
//! One rule holds for every schedule with a zone: a schedule is a set of local minutes, and **each local minute happens
//! once**. One that the clock skips happens right after the jump (all skipped ones together, once); one that the
//! clock repeats happens the first time only. So `*/30 * * * *` in `Europe/Berlin` pauses for an hour and a half in the
//! autumn night; whoever wants evenly spaced slots leaves the zone out, which means UTC.

mod cron;
mod local;
mod window;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod walker;

pub use cron::Schedule;
pub use window::Window;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many starts are looked at for the longest time between two: more than a year of months.
const GAPS: usize = 40;

/// How late a slot may start before it counts as missed or overdue, where the policy names no deadline.
const LATE: Duration = Duration::from_hours(1);

/// What is wrong with a schedule or a maintenance window, said so that it can be put right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ScheduleError {
    /// Neither a known word nor five fields.
    #[error(
        "schedule `{spec}` has {fields} field(s): write five (minute, hour, day of month, month, day of week), for example \
         `30 2 * * 0` for Sunday 02:30, or one of hourly, daily, weekly, monthly, quarterly, annually"
    )]
    Shape {
        /// What was written.
        spec: String,
        /// How many fields it has.
        fields: usize,
    },
    /// A field that cannot be read.
    #[error("schedule `{spec}` cannot be read: {why}; an example of five fields is `30 2 * * 0` (Sunday 02:30)")]
    Field {
        /// What was written.
        spec: String,
        /// What the parser objects to.
        why: String,
    },
    /// `*/2` as a day beside another restricted day: some crons mean "and", others "or".
    #[error(
        "schedule `{spec}` combines a stepped `*` with another day field, which crons read in two ways: write the days out, \
         for example `0 2 1,15 * 1` (the 1st, the 15th, and every Monday)"
    )]
    TwoReadings {
        /// What was written.
        spec: String,
    },
    /// A date that no calendar has.
    #[error("schedule `{spec}` never comes: no year has such a date; for example `0 2 28 2 *` is 28 February 02:00")]
    Never {
        /// What was written.
        spec: String,
    },
    /// A zone that the time zone database does not know.
    #[error("time zone `{zone}` is not known: use a name of the IANA database, for example `Europe/Berlin`, or leave it out for UTC")]
    Zone {
        /// What was written.
        zone: String,
    },
    /// A maintenance window that cannot be read.
    #[error("maintenance window `{spec}` cannot be read: {why}; for example `Sat,Sun 01:00-05:00`, `Mon-Fri 22:00-04:00` or `01:00-05:00`")]
    Window {
        /// What was written.
        spec: String,
        /// What the parser objects to.
        why: String,
    },
}

/// One due time of a secret, without jitter. Two daemons that see the same slot see the same value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Slot(pub Timestamp);

/// What happens to a slot that was missed, because the daemon was down or the rotation could not start in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CatchUp {
    /// It is run as soon as possible; once, however many were missed.
    #[default]
    RunOnce,
    /// It is left; the next slot comes in its turn.
    Wait,
    /// It is left, and a person is told to decide.
    Alert,
}

/// How long to wait after a failed attempt: twice as long each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// Never longer than this.
    pub longest: Duration,
}

impl Backoff {
    /// How long to wait after so many failed attempts in a row; nothing after none.
    pub fn delay(&self, attempts: u32) -> Duration {
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let factor = 2_u32.saturating_pow(doublings);
        self.first.saturating_mul(factor).min(self.longest)
    }

    /// How long all the waiting after so many failed attempts in a row takes together.
    pub fn spent(&self, attempts: u32) -> Duration {
        let mut sum = Duration::ZERO;
        for attempt in 1..=attempts {
            let delay = self.delay(attempt);
            // From here on every delay is the same; 32 doublings are the most there can be before.
            if delay == self.longest || attempt > 32 {
                return sum.saturating_add(delay.saturating_mul(attempts - attempt + 1));
            }
            sum = sum.saturating_add(delay);
        }
        sum
    }
}

/// How the secrets of a class are scheduled.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The due times.
    pub schedule: Schedule,
    /// Each secret starts up to this much after its slot, so that a class does not start all at once. Never more than half
    /// of the schedule's shortest interval is used.
    pub jitter: Duration,
    /// Rotations start only inside it.
    pub window: Option<Window>,
    /// What happens to a missed slot.
    pub catch_up: CatchUp,
    /// The pause after a failed attempt.
    pub backoff: Backoff,
    /// How long after its start time a slot may still start, and how long failed attempts are repeated. Without
    /// one, a slot counts as late after an hour, and attempts are repeated at the longest pause until the next slot.
    pub deadline: Option<Duration>,
    /// How many secrets of the class may be in rotation at once; at least one.
    pub concurrency: usize,
}

impl Policy {
    /// When the named secret starts at this slot: the slot, moved into the maintenance window, plus its jitter, which
    /// uses up no more than half of what is left of the window. `None` only at the end of time.
    pub fn start(&self, name: &str, slot: Slot) -> Option<Timestamp> {
        let bound = self.jitter.min(self.schedule.shortest_interval() / 2);
        let (from, bound) = match &self.window {
            None => (slot.0, bound),
            Some(window) => {
                let (from, closes) = window.next_opening(slot.0)?;
                (from, bound.min(closes.duration_since(from).unsigned_abs() / 2))
            }
        };
        from.checked_add(jitter(name, slot, bound)).ok()
    }

    /// The longest time from one start of the named secret to the next, over the next few dozen, with what a late one may take besides.
    pub fn longest_gap(&self, name: &str, from: Timestamp) -> Duration {
        let (mut at, mut last, mut longest) = (from, None, Duration::ZERO);
        for _ in 0..GAPS {
            let Some(slot) = self.schedule.next_after(at) else { break };
            let Some(start) = self.start(name, Slot(slot)) else { break };
            if let Some(last) = last.replace(start) {
                longest = longest.max(start.duration_since(last).unsigned_abs());
            }
            at = slot;
        }
        longest.saturating_add(self.deadline.unwrap_or(LATE))
    }

    /// From when on a slot with this start time counts as missed and the secret as overdue.
    pub fn late_after(&self, start: Timestamp) -> Timestamp {
        start.checked_add(self.deadline.unwrap_or(LATE)).unwrap_or(Timestamp::MAX)
    }
}

/// The part of `bound` by which this secret starts after this slot, in whole seconds. It depends on nothing else,
/// so a restart, or another daemon, comes to the same moment.
pub fn jitter(name: &str, slot: Slot, bound: Duration) -> Duration {
    // FNV-1a: written out because the standard library's hasher may change between compilers.
    let bytes = name.bytes().chain([0]).chain(slot.0.as_second().to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // FNV's low bits mix poorly for inputs that differ in one byte; folding the high half in evens them out.
    let even = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Duration::from_secs((even >> 16) % bound.as_secs().saturating_add(1))
}
