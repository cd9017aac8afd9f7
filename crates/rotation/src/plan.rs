//! The planner: which secret is due now, and why another is not.
//!
//! It keeps no state. What it must remember (the last slot, the last failure, who paused what) comes in with every
//! question, out of the secret's record in Vault, so a restart loses nothing. It never reads a clock, starts nothing,
//! and never asks for a slot twice: a slot at or before the last one rotated is never due, whatever the clock does.
//!
//! Of all the slots that have passed, only the latest counts. So however many were missed, at most one rotation follows.
//! It must be asked more often than slots come: one asked only at the slots themselves would find each start still ahead,
//! put off by the jitter, and the slot before it forgotten.

mod check;

#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod tests;

pub use crate::schedule::{Backoff, CatchUp, Policy};

use crate::record::{Phase, Record};
use crate::schedule::Slot;
use check::{CHECKS, Question};
use jiff::Timestamp;
use std::collections::HashMap;

/// What the planner must know of one secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The secret's name.
    pub name: String,
    /// Its class: secrets of one class share a limit on how many rotate at once.
    pub class: String,
    /// When it was first seen; its first slot is the next one after that.
    pub first_seen: Timestamp,
    /// The last slot that was rotated.
    pub last_slot: Option<Slot>,
    /// When the last proved success was finished.
    pub last_success: Option<Timestamp>,
    /// When the last attempt failed, and how many have failed in a row; `None` after a success.
    pub last_failure: Option<(Timestamp, u32)>,
    /// Why a person paused it.
    pub paused: Option<String>,
    /// Why a rotation of it stands still.
    pub stuck: Option<String>,
    /// What Vault and the target disagree on.
    pub diverged: Option<String>,
    /// A rotation of it is under way, here or elsewhere.
    pub running: bool,
    /// It is only to be watched: everything is done but acting.
    pub observe: bool,
    /// Its values come from a person (`keyward supply`).
    pub kind_manual: bool,
}

impl Input {
    /// A secret as its record tells; `None`: it was never seen before. What no record knows is as of one that is neither
    /// observed nor a person's to supply.
    pub fn of(name: &str, class: &str, record: Option<&Record>, now: Timestamp) -> Self {
        let phase = record.map(|r| &r.phase);
        Self {
            name: name.to_owned(),
            class: class.to_owned(),
            first_seen: record.map_or(now, |r| r.first_seen),
            last_slot: record.and_then(|r| r.last_slot).map(Slot),
            last_success: record.and_then(|r| r.last_success),
            last_failure: record.and_then(|r| r.last_failure.as_ref()).map(|f| (f.at, f.attempts)),
            paused: match phase {
                Some(Phase::Paused { by, why, .. }) if why.is_empty() => Some(by.clone()),
                Some(Phase::Paused { by, why, .. }) => Some(format!("{by}: {why}")),
                _ => None,
            },
            stuck: match phase {
                Some(Phase::Stuck { reason, .. }) => Some(reason.says().to_owned()),
                _ => None,
            },
            diverged: record.and_then(|r| r.diverged.as_ref()).map(|d| d.why.clone()),
            running: record.is_some_and(|r| r.way().is_some()),
            observe: false,
            kind_manual: false,
        }
    }
}

/// What to do about one secret now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Rotate it.
    Due {
        /// For this slot.
        slot: Slot,
        /// It could have started at this moment.
        since: Timestamp,
    },
    /// Leave it.
    Wait {
        /// The first check that objected.
        reason: Reason,
        /// When it is worth asking again, if time alone can change the answer.
        until: Option<Timestamp>,
        /// What those who know said about it: why it is paused, stuck or diverged.
        note: Option<String>,
    },
}

/// Why a secret is left alone. The order is that of the checks: the first that objects gives the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A rotation of this secret is under way already.
    Running,
    /// A rotation stands still after its retries, and only `keyward resume` lets it go on.
    Stuck,
    /// Vault and the target disagree about the value that is true, and rotating would hide which.
    Diverged,
    /// A person paused it, or its whole class.
    Paused,
    /// This machine's clock is too far from Vault's: what a slot is cannot be said.
    ClockSkew,
    /// The last slot that was rotated lies in the future, so the clock was set back or was wrong before.
    ClockBehind,
    /// It was first seen after the last due time, and a new secret is not rotated by surprise.
    FirstSeen,
    /// The last due time has been served, and the next has not come.
    NotDue,
    /// The due time has come, and its start is put off so that a class does not start all at once.
    Jitter,
    /// The due time has come, and the maintenance window is closed.
    WindowClosed,
    /// The slot was missed, and the policy leaves missed slots to the next one.
    Missed,
    /// The slot was missed, and the policy asks a person to decide.
    MissedAlert,
    /// The last attempt failed, and the next waits its turn.
    Backoff,
    /// The attempts have failed for as long as the deadline allows, and the slot is given up.
    GivenUp,
    /// It is due, and the new value must come from a person.
    NeedsPerson,
    /// It is due, and would be rotated if it were not only observed.
    Observed,
    /// It is due, and as many secrets of its class as may be are in rotation.
    Concurrency,
    /// The schedule has no further due time that a clock can show.
    NoSlot,
}

impl Reason {
    /// The name in metrics, logs and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Diverged => "diverged",
            Self::Paused => "paused",
            Self::ClockSkew => "clock-skew",
            Self::ClockBehind => "clock-behind",
            Self::FirstSeen => "first-seen",
            Self::NotDue => "not-due",
            Self::Jitter => "jitter",
            Self::WindowClosed => "window-closed",
            Self::Missed => "missed",
            Self::MissedAlert => "missed-alert",
            Self::Backoff => "backoff",
            Self::GivenUp => "given-up",
            Self::NeedsPerson => "needs-person",
            Self::Observed => "observed",
            Self::Concurrency => "concurrency",
            Self::NoSlot => "no-slot",
        }
    }

    /// Whether the secret's slot has come and something other than time holds it.
    pub const fn is_held(self) -> bool {
        !matches!(self, Self::Running | Self::FirstSeen | Self::NotDue | Self::Jitter | Self::NoSlot)
    }

    /// The reason for people, as the middle of a sentence.
    const fn sentence(self) -> &'static str {
        match self {
            Self::Running => "a rotation is under way",
            Self::Stuck => "a rotation stands still; look at `keyward status`, then `keyward resume`",
            Self::Diverged => "Vault and the target disagree; run `keyward reconcile`",
            Self::Paused => "a person paused it; `keyward resume` lets it go on",
            Self::ClockSkew => "due; this machine's clock and Vault's differ too much",
            Self::ClockBehind => "the last slot rotated lies in the future: the clock was set back, or was wrong before",
            Self::FirstSeen => "new here: its first slot is the next one",
            Self::NotDue => "not due yet",
            Self::Jitter => "due, spread within its class",
            Self::WindowClosed => "due, the maintenance window is closed",
            Self::Missed => "the slot was missed; the policy waits for the next one",
            Self::MissedAlert => "the slot was missed; the policy asks a person: `keyward rotate` does it now",
            Self::Backoff => "the last attempt failed; the next one waits",
            Self::GivenUp => "failed until the deadline; `keyward rotate` tries again now",
            Self::NeedsPerson => "due; `keyward supply` takes the new value",
            Self::Observed => "due; only observed, nothing is done",
            Self::Concurrency => "due; others of its class go first",
            Self::NoSlot => "the schedule has no further slot",
        }
    }
}

/// What to do about one secret, were it alone.
pub fn decide(now: Timestamp, input: &Input, policy: &Policy) -> Decision {
    judge(now, input, policy, Around::new(now, policy))
}

/// What to do about each secret, in the order given. Of those that are due, the ones waiting longest go first, and
/// no more than the policy's number of a class, those already running included.
pub fn plan<'a>(now: Timestamp, secrets: impl IntoIterator<Item = (&'a Input, &'a Policy)>) -> Vec<(String, Decision)> {
    // Secrets of a class share their policy, and the slots around now depend on nothing else.
    let mut around: HashMap<*const Policy, Around> = HashMap::new();
    let mut running: HashMap<&str, usize> = HashMap::new();
    let mut due = Vec::new();
    let mut decisions = Vec::new();
    for (index, (input, policy)) in secrets.into_iter().enumerate() {
        let around = *around.entry(std::ptr::from_ref(policy)).or_insert_with(|| Around::new(now, policy));
        let decision = judge(now, input, policy, around);
        *running.entry(&input.class).or_default() += usize::from(input.running);
        if let Decision::Due { since, .. } = decision {
            due.push((since, index, input, policy));
        }
        decisions.push((input.name.clone(), decision));
    }
    due.sort_by(|(since, _, input, _), (other_since, _, other, _)| (since, &input.name).cmp(&(other_since, &other.name)));
    for (_, index, input, policy) in due {
        let running = running.entry(&input.class).or_default();
        if *running < policy.concurrency.max(1) {
            *running += 1;
        } else {
            decisions[index].1 = Decision::Wait { reason: Reason::Concurrency, until: None, note: None };
        }
    }
    decisions
}

/// When this secret starts next by its schedule, jitter and window: in the past if it is due. Holds, backoff and
/// limits do not count. `None` only if the schedule has no further slot.
pub fn next_due(now: Timestamp, input: &Input, policy: &Policy) -> Option<Timestamp> {
    let owed = policy.schedule.previous_or_at(now).filter(|slot| *slot > floor(input));
    let slot = owed.or_else(|| policy.schedule.next_after(floor(input).max(now)))?;
    policy.start(&input.name, Slot(slot))
}

/// Since when this secret has been owed a rotation, if it has been for longer than the policy allows. It is
/// computed from the last proved success alone, so it also shows a planner that does not plan.
pub fn overdue(now: Timestamp, input: &Input, policy: &Policy) -> Option<Timestamp> {
    overdue_since(now, &input.name, input.last_success.unwrap_or(input.first_seen), policy)
}

/// The same for whoever knows only the secret's name, and when it was last proved (or else first seen).
pub fn overdue_since(now: Timestamp, name: &str, proved: Timestamp, policy: &Policy) -> Option<Timestamp> {
    let slot = policy.schedule.next_after(proved)?;
    let start = policy.start(name, Slot(slot))?;
    (now > policy.late_after(start)).then_some(start)
}

/// The decision where something outside the secret's record holds what is due: a clock that is not trusted, a paused class.
#[must_use]
pub fn held(decision: Decision, reason: Reason, note: &str) -> Decision {
    match decision {
        Decision::Due { .. } => Decision::Wait { reason, until: None, note: Some(note.to_owned()) },
        wait @ Decision::Wait { .. } => wait,
    }
}

/// The decision in one line for people.
pub fn explain(decision: &Decision) -> String {
    match decision {
        Decision::Due { slot, since } if slot.0 == *since => format!("due since {since}"),
        Decision::Due { slot, since } => format!("due since {since}, for the slot of {}", slot.0),
        Decision::Wait { reason, until, note } => {
            let note = note.as_ref().map(|note| format!(" ({note})")).unwrap_or_default();
            let until = until.map(|until| format!("; until {until}")).unwrap_or_default();
            format!("{}{note}{until}", reason.sentence())
        }
    }
}

/// The last slot that can no longer be due: the last one rotated, and everything before the secret was seen.
fn floor(input: &Input) -> Timestamp {
    input.last_slot.map_or(input.first_seen, |slot| slot.0.max(input.first_seen))
}

/// The slots on both sides of now.
#[derive(Clone, Copy)]
struct Around {
    latest: Option<Timestamp>,
    next: Option<Timestamp>,
}

impl Around {
    fn new(now: Timestamp, policy: &Policy) -> Self {
        Self { latest: policy.schedule.previous_or_at(now), next: policy.schedule.next_after(now) }
    }
}

/// Asks the checks in their order; what none objects to is due.
fn judge(now: Timestamp, input: &Input, policy: &Policy, around: Around) -> Decision {
    let latest = around.latest.map(Slot);
    let start = latest.filter(|slot| slot.0 > floor(input)).and_then(|slot| policy.start(&input.name, slot));
    let question = Question { now, input, policy, latest, start, next: around.next };
    if let Some(decision) = CHECKS.iter().find_map(|check| check(&question)) {
        return decision;
    }
    match (latest, start) {
        (Some(slot), Some(since)) => Decision::Due { slot, since },
        _ => Decision::Wait { reason: Reason::NoSlot, until: None, note: None },
    }
}
