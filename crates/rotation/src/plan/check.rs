//! The checks that may object to a rotation, each its own function with its own reason.
//!
//! Order matters, and is the order of what a person wants to know first: what stands in the way for good, then what
//! time will settle, then what the policy says, then who must act.

use super::{Decision, Input, Reason, floor};
use crate::schedule::{CatchUp, Policy, Slot};
use jiff::Timestamp;

/// All that a check may look at.
pub(super) struct Question<'a> {
    pub now: Timestamp,
    pub input: &'a Input,
    pub policy: &'a Policy,
    /// The latest slot that has come.
    pub latest: Option<Slot>,
    /// When the latest slot may start, if it is still owed.
    pub start: Option<Timestamp>,
    /// The slot after now.
    pub next: Option<Timestamp>,
}

/// Objects or stays silent.
type Check = fn(&Question<'_>) -> Option<Decision>;

pub(super) const CHECKS: &[Check] =
    &[running, stuck, diverged, paused, clock_behind, not_due, too_early, missed, window_closed, backoff, given_up, needs_person, observed];

fn wait(reason: Reason, until: Option<Timestamp>) -> Decision {
    Decision::Wait { reason, until, note: None }
}

fn hold(reason: Reason, note: Option<&String>) -> Option<Decision> {
    note.map(|note| Decision::Wait { reason, until: None, note: Some(note.clone()) })
}

fn running(q: &Question<'_>) -> Option<Decision> {
    q.input.running.then(|| wait(Reason::Running, None))
}

fn stuck(q: &Question<'_>) -> Option<Decision> {
    hold(Reason::Stuck, q.input.stuck.as_ref())
}

fn diverged(q: &Question<'_>) -> Option<Decision> {
    hold(Reason::Diverged, q.input.diverged.as_ref())
}

fn paused(q: &Question<'_>) -> Option<Decision> {
    hold(Reason::Paused, q.input.paused.as_ref())
}

/// A slot in the future was rotated: once is enough, also if the clock comes by again.
fn clock_behind(q: &Question<'_>) -> Option<Decision> {
    let last = q.input.last_slot.filter(|last| last.0 > q.now)?;
    Some(wait(Reason::ClockBehind, q.start_of(q.policy.schedule.next_after(last.0))))
}

fn not_due(q: &Question<'_>) -> Option<Decision> {
    let floor = floor(q.input);
    if q.latest.is_some_and(|slot| slot.0 > floor) {
        return None;
    }
    let next = if floor > q.now { q.policy.schedule.next_after(floor) } else { q.next };
    let reason = if q.input.last_slot.is_none() { Reason::FirstSeen } else { Reason::NotDue };
    Some(q.start_of(next).map_or_else(|| wait(Reason::NoSlot, None), |start| wait(reason, Some(start))))
}

/// The slot has come, its start has not: because of the window, or else because of the jitter.
fn too_early(q: &Question<'_>) -> Option<Decision> {
    let start = q.start.filter(|start| q.now < *start)?;
    let reason = if q.is_open() { Reason::Jitter } else { Reason::WindowClosed };
    Some(wait(reason, Some(start)))
}

/// The slot could have started and did not in time.
fn missed(q: &Question<'_>) -> Option<Decision> {
    let reason = match q.policy.catch_up {
        CatchUp::RunOnce => return None,
        CatchUp::Wait => Reason::Missed,
        CatchUp::Alert => Reason::MissedAlert,
    };
    let late = q.now > q.policy.late_after(q.start?);
    late.then(|| wait(reason, q.start_of(q.next)))
}

/// The slot could have started, and the window has closed since.
fn window_closed(q: &Question<'_>) -> Option<Decision> {
    let window = q.policy.window.as_ref().filter(|_| !q.is_open())?;
    Some(wait(Reason::WindowClosed, window.next_open(q.now)))
}

/// A failure dated in the future says that the clock was set back, not how long ago it was: it holds nothing.
fn backoff(q: &Question<'_>) -> Option<Decision> {
    let (at, attempts) = q.input.last_failure.filter(|(at, _)| *at <= q.now)?;
    let until = at.checked_add(q.policy.backoff.delay(attempts)).unwrap_or(Timestamp::MAX);
    (q.now < until).then(|| wait(Reason::Backoff, Some(until)))
}

/// Attempts are counted in a row, over slots: a secret that failed through a whole deadline gets one attempt per
/// slot from then on, until one succeeds. A failure before this slot's start never gives this slot up.
fn given_up(q: &Question<'_>) -> Option<Decision> {
    let (deadline, start) = (q.policy.deadline?, q.start?);
    let (at, attempts) = q.input.last_failure?;
    let spent = q.policy.backoff.spent(attempts) > deadline;
    (spent && at >= start).then(|| wait(Reason::GivenUp, q.start_of(q.next)))
}

fn needs_person(q: &Question<'_>) -> Option<Decision> {
    q.input.kind_manual.then(|| wait(Reason::NeedsPerson, None))
}

fn observed(q: &Question<'_>) -> Option<Decision> {
    q.input.observe.then(|| wait(Reason::Observed, None))
}

impl Question<'_> {
    fn is_open(&self) -> bool {
        self.policy.window.as_ref().is_none_or(|window| window.contains(self.now))
    }

    fn start_of(&self, slot: Option<Timestamp>) -> Option<Timestamp> {
        self.policy.start(&self.input.name, Slot(slot?))
    }
}
