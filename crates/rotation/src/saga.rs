//! The one function that drives a rotation, live and on recovery alike.
//!
//! ```text
//!            ┌────────────── Do(step) ── Done ──▶ Do(next) ─ … ─▶ Do(Finish) ─▶ Ended(Rotated)
//!  new ──────┘  │ Failed before the pivot       ▲ Candidate
//!               ▼                               │
//!             Turn ──▶ Race ── Conflict ──▶ Reread ── OthersChanged ─▶ Recheck ─▶ (try again on that version)
//!                       │ Done                  │ Foreign, Gone
//!                       ▼                       ▼
//!                 Undo(step) … ─▶ Close      Park ─▶ Ended(Stuck)
//! ```
//!
//! It never acts: it says what to do next, and is told how that went. Whatever was told, it ends: every retry counts
//! against a bound ([`Limits`]), so that nothing is retried for ever.
//!
//! **Invariants** (explored exhaustively below): nothing is undone unless the race for the pivot was won after
//! the decision to go back was recorded; nothing is undone behind the pivot; every sequence of events ends.

use crate::table::{Step, Table};
use serde::{Deserialize, Serialize};

/// Which way a rotation is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// Towards publishing the candidate.
    Forward,
    /// Towards the old value.
    Back,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// After a crash or a takeover: ask the world whether the pivot has been passed.
    Recover,
    /// The outcome of this step is unknown: ask the world whether it has happened.
    Probe(Step),
    /// Perform this step.
    Do(Step),
    /// Read the published path again and say what stands there.
    Reread(Way),
    /// The live version is remembered; see that the record is still ours and says this way, before trying again on it.
    Recheck(Way),
    /// Record the decision to roll back.
    Turn,
    /// Make the pivot impossible for ever, unless it has happened. For a published path: an empty PATCH with check-and-set; if it wins, every
    /// frozen publisher is refused. `Live(Candidate)` says that the pivot has happened.
    Race,
    /// Take this step back.
    Undo(Step),
    /// The fence refused us: read the record, and if it is still ours, raise the number.
    Lift(Way),
    /// Write into the record that it was rolled back.
    Close,
    /// Write into the record that it is stuck.
    Park(Stuck),
    /// Nothing more to do.
    Ended(End),
}

/// How what [`State`] asked for went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// It was done. For a probe or a recheck: yes.
    Done,
    /// For a probe: it has not happened.
    NotHappened,
    /// It was not done, and nothing was changed. `again` says whether trying again can help.
    Failed {
        /// Whether trying again can help (unreachable) or not (refused).
        again: bool,
    },
    /// The answer was lost: it may have happened.
    Unknown,
    /// The published path moved on since the version we know.
    Conflict,
    /// What the published path holds.
    Live(Live),
    /// The record is not ours any more: somebody took over.
    Lost,
    /// The fence in the target holds a higher number.
    Fenced,
    /// Vault's own engine rotated once more: what was published is no longer current.
    Stale,
    /// Vault cannot be reached to write the record: stop here; the record says enough for whoever goes on.
    Unreachable,
}

/// What the named fields of the published path are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    /// The candidate.
    Candidate,
    /// What they were at stage; only other fields changed, or nothing.
    Old,
    /// Something that somebody else put there.
    Foreign,
    /// The path was deleted.
    Gone,
}

/// Why a rotation stands still until a person says `keyward resume`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stuck {
    /// Somebody else changed the named fields while we rotated.
    ForeignValue,
    /// The published path was deleted while we rotated.
    PathDeleted,
    /// Published, but the proof failed to the end of its attempts.
    Unproved,
    /// The rollback failed to the end of its attempts.
    UndoFailed,
    /// The fence or other writers kept moving.
    Unsettled,
    /// A step that only knows forward failed to the end of its attempts.
    CannotGoOn,
}

impl Stuck {
    /// The reason in words: what happened and what is true now.
    pub const fn says(self) -> &'static str {
        match self {
            Self::ForeignValue => "somebody else changed the published fields during the rotation; their value was left as it is",
            Self::PathDeleted => "the published path was deleted during the rotation; nothing was undone",
            Self::Unproved => "the new value is published, but the proof that it works failed",
            Self::UndoFailed => "the rotation failed, and taking it back failed too",
            Self::Unsettled => "the target or the published path kept changing under the rotation",
            Self::CannotGoOn => "a step behind the point of no return failed to the end of its attempts",
        }
    }
}

/// How a rotation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Proved and finished.
    Rotated,
    /// Failed; the old value is in force again.
    RolledBack,
    /// It stands still; a person must look.
    Stuck(Stuck),
    /// A step before `Stage` failed: nothing was changed anywhere.
    Refused(Step),
    /// Somebody else holds the record: it is theirs to finish.
    Lost,
    /// Vault, or what is needed to go on, cannot be reached; the record stays as it is and is taken up again later.
    Suspended,
}

/// How often things are tried. Attempts count per state, laps over the whole rotation.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tries of a step before the pivot: few, since consumers of a single user may be failing meanwhile.
    pub before_pivot: u8,
    /// Tries behind the pivot, on the way back, and of writing the record.
    pub settled: u8,
    /// How often the published path or the fence may move under us in one rotation.
    pub laps: u8,
    /// What fails behind the pivot or on the way back only because something cannot be reached is left as it is once its tries are
    /// spent, and taken up again later, instead of standing still. Whoever drives says so until a deadline is over.
    pub patient: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { before_pivot: 4, settled: 8, laps: 20, patient: false }
    }
}

/// An event that the state cannot answer: a defect in the caller, reported, never guessed around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a rotation in state {state:?} cannot be told {event:?}")]
pub struct IllegalEvent {
    /// The state.
    pub state: State,
    /// What it was told.
    pub event: Event,
}

/// A rotation on its way through its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saga {
    table: &'static Table,
    /// What to do next.
    pub state: State,
    /// Tries of the present state so far.
    pub attempts: u8,
    laps: u8,
    turned: bool,
}

impl std::hash::Hash for Saga {
    fn hash<H: std::hash::Hasher>(&self, to: &mut H) {
        (self.table.kind, self.state, self.attempts, self.laps, self.turned).hash(to);
    }
}

impl Saga {
    /// A fresh rotation: its first step.
    pub fn begin(table: &'static Table) -> Self {
        // Every table has at least the step Finish (tested), so the fallback is never taken.
        let first = table.rows.first().map_or(Step::Finish, |r| r.step);
        Self { table, state: State::Do(first), attempts: 0, laps: 0, turned: false }
    }

    /// A rotation found in its record, by its owner after a crash or by whoever took over.
    pub fn recover(table: &'static Table, way: Way) -> Self {
        let state = match way {
            Way::Forward => State::Recover,
            Way::Back => State::Race,
        };
        Self { table, state, attempts: 0, laps: 0, turned: way == Way::Back }
    }

    /// The table it follows.
    pub fn table(&self) -> &'static Table {
        self.table
    }

    /// The saga after `event`.
    ///
    /// # Errors
    /// [`IllegalEvent`] when the state cannot be told that.
    pub fn next(self, event: Event, limits: Limits) -> Result<Self, IllegalEvent> {
        use Event::{Conflict, Done, Failed, Fenced, Live, Lost, NotHappened, Stale, Unknown, Unreachable};
        let goes = |state| Ok(self.to(state));
        match (self.state, event) {
            (State::Ended(_), _) => Err(IllegalEvent { state: self.state, event }),
            (_, Lost) => goes(State::Ended(End::Lost)),
            (_, Unreachable) => goes(self.unreachable()),

            (State::Recover, Done) => goes(self.behind(self.table.pivot())),
            (State::Recover, NotHappened) => goes(self.behind(Some(Step::Stage))),
            (State::Recover, Live(live)) => goes(self.recovered(live)),
            (State::Recover, Failed { .. } | Unknown) => Ok(self.retry(State::Recover, limits, || State::Ended(End::Suspended))),

            (State::Do(Step::Finish), Done) => goes(State::Ended(End::Rotated)),
            (State::Do(step) | State::Probe(step), Done) => goes(self.behind(Some(step))),
            (State::Do(Step::Publish), Unknown | Conflict) => Ok(self.lap(State::Reread(Way::Forward), limits)),
            (State::Do(Step::Confirm), Stale) => Ok(self.lap(State::Do(Step::Publish), limits)),
            (State::Do(Step::Apply), Fenced) => Ok(self.lap(State::Lift(Way::Forward), limits)),
            (State::Do(step), Unknown) => Ok(self.retry(State::Probe(step), limits, || self.spent(step, limits))),
            (State::Do(step), Failed { again: true }) => Ok(self.retry(State::Do(step), limits, || self.spent(step, limits))),
            (State::Do(step), Failed { again: false }) => goes(self.failed(step)),
            (State::Probe(step), NotHappened) => Ok(self.retry(State::Do(step), limits, || self.spent(step, limits))),
            (State::Probe(step), Failed { .. } | Unknown) => Ok(self.retry(State::Probe(step), limits, || self.spent(step, limits))),

            (State::Reread(_), Live(self::Live::Candidate)) => goes(self.behind(Some(Step::Publish))),
            (State::Reread(way), Live(self::Live::Old)) => goes(State::Recheck(way)),
            (State::Reread(_), Live(self::Live::Foreign)) => goes(State::Park(Stuck::ForeignValue)),
            (State::Reread(_), Live(self::Live::Gone)) => goes(State::Park(Stuck::PathDeleted)),
            (State::Reread(_) | State::Recheck(_), Failed { .. } | Unknown) => {
                Ok(self.retry(self.state, limits, || State::Ended(End::Suspended)))
            }
            (State::Recheck(Way::Forward), Done) => goes(State::Do(Step::Publish)),
            (State::Recheck(Way::Back), Done) => goes(State::Race),

            (State::Turn, Done) => Ok(Self { turned: true, ..self }.to(State::Race)),
            (State::Race, Done) => goes(undo_or_close(self.table, self.table.pivot())),
            (State::Race, Live(self::Live::Candidate)) => goes(self.behind(self.table.pivot())),
            (State::Race, Conflict | Unknown) => Ok(self.lap(State::Reread(Way::Back), limits)),
            (State::Race, Failed { .. }) => Ok(self.retry(State::Race, limits, || undo_spent(limits))),
            (State::Undo(step), Done) => goes(undo_or_close(self.table, Some(step))),
            (State::Undo(_), Fenced) => Ok(self.lap(State::Lift(Way::Back), limits)),
            (State::Undo(step), Failed { again: true } | Unknown) => Ok(self.retry(State::Undo(step), limits, || undo_spent(limits))),
            (State::Undo(_), Failed { again: false }) => goes(State::Park(Stuck::UndoFailed)),

            (State::Lift(Way::Forward), Done) => goes(State::Do(Step::Apply)),
            (State::Lift(Way::Back), Done) => goes(State::Race),
            (State::Close, Done) => goes(State::Ended(End::RolledBack)),
            (State::Park(why), Done) => goes(State::Ended(End::Stuck(why))),
            (State::Turn | State::Lift(_) | State::Close | State::Park(_), Failed { .. } | Unknown) => {
                Ok(self.retry(self.state, limits, || State::Ended(End::Suspended)))
            }
            _ => Err(IllegalEvent { state: self.state, event }),
        }
    }

    /// Another state, its attempts at zero unless it is the same one.
    fn to(self, state: State) -> Self {
        let attempts = if state == self.state { self.attempts } else { 0 };
        Self { state, attempts, ..self }
    }

    /// Tries `state` (again), or gives up.
    fn retry(self, state: State, limits: Limits, give_up: impl FnOnce() -> State) -> Self {
        let attempts = self.attempts.saturating_add(1);
        if attempts >= self.limit(limits) {
            return Self { state: give_up(), attempts: 0, ..self };
        }
        Self { state, attempts, ..self }
    }

    fn limit(&self, limits: Limits) -> u8 {
        match self.state {
            State::Do(s) | State::Probe(s) if !self.turned && !self.table.is_past_pivot(s) => limits.before_pivot,
            _ => limits.settled,
        }
    }

    /// Counts a lap; too many mean that the world does not hold still.
    fn lap(self, state: State, limits: Limits) -> Self {
        let laps = self.laps.saturating_add(1);
        if laps > limits.laps {
            return Self { laps, ..self }.to(State::Park(Stuck::Unsettled));
        }
        Self { state, attempts: 0, laps, ..self }
    }

    /// The step behind `step`, as a state.
    fn behind(&self, step: Option<Step>) -> State {
        let next = step.and_then(|s| self.table.after(s));
        next.map_or(State::Ended(End::Rotated), State::Do)
    }

    /// What a recovered rotation does, by what the published path holds.
    fn recovered(&self, live: Live) -> State {
        match live {
            Live::Candidate => self.behind(Some(Step::Publish)),
            Live::Old => self.behind(Some(Step::Stage)),
            Live::Foreign => State::Park(Stuck::ForeignValue),
            Live::Gone => State::Park(Stuck::PathDeleted),
        }
    }

    /// What spent attempts at `step` lead to.
    fn spent(&self, step: Step, limits: Limits) -> State {
        if limits.patient && self.table.is_past_pivot(step) { State::Ended(End::Suspended) } else { self.failed(step) }
    }

    /// What the failure of `step` leads to where trying again does not help.
    fn failed(&self, step: Step) -> State {
        if self.table.is_before_stage(step) {
            return State::Ended(End::Refused(step));
        }
        if step == Step::Stage {
            return State::Ended(End::Refused(Step::Stage));
        }
        match step {
            Step::Finish => State::Ended(End::Suspended),
            Step::Confirm => State::Park(Stuck::Unproved),
            s if self.table.is_past_pivot(s) || self.turned => State::Park(Stuck::CannotGoOn),
            _ => State::Turn,
        }
    }

    fn unreachable(&self) -> State {
        match self.state {
            State::Do(step) if self.table.is_before_stage(step) => State::Ended(End::Refused(step)),
            _ => State::Ended(End::Suspended),
        }
    }
}

/// What spent attempts on the way back lead to. The old value may be out of force until it is gone: a short outage must not leave it so.
fn undo_spent(limits: Limits) -> State {
    if limits.patient { State::Ended(End::Suspended) } else { State::Park(Stuck::UndoFailed) }
}

/// The next step to take back before `before`, or the end of the way back.
fn undo_or_close(table: &Table, before: Option<Step>) -> State {
    table.last_undoable(before).map_or(State::Close, State::Undo)
}

#[cfg(test)]
#[path = "saga_tests.rs"]
mod tests;
