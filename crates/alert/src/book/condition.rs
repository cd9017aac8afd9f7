//! One condition and its transitions.
//!
//! It never looks at other conditions; grouping is the book's.

use super::{FLAP_RETURNS, Over, Timing, Told, after};
use crate::alert::{Alert, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many returns are remembered; more than [`FLAP_RETURNS`] only to be told.
const MAX_RETURNS: usize = 20;

/// What was told of a condition.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Mark {
    at: Timestamp,
    times: u32,
    pub(super) severity: Severity,
    pub(super) seen: u64,
    thread: String,
}

/// Where a condition stands. `due` is when something is to be told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Pending { due: Timestamp },
    Open { told: Mark, due: Timestamp },
    Closing { told: Option<Mark>, over: Over, due: Timestamp },
    Closed { at: Timestamp },
}

impl State {
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { due } | Self::Open { due, .. } | Self::Closing { due, .. } => Some(*due),
            Self::Closed { .. } => None,
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Pending { .. } | Self::Open { .. })
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Condition {
    pub(super) alert: Alert,
    pub(super) since: Timestamp,
    last: Timestamp,
    pub(super) seen: u64,
    returns: Vec<Timestamp>,
    pub(super) state: State,
}

impl Condition {
    pub(super) fn new(alert: Alert, now: Timestamp, timing: &Timing) -> Self {
        let state = State::Pending { due: after(now, timing.group) };
        Self { alert, since: now, last: now, seen: 1, returns: Vec::new(), state }
    }

    pub(super) fn raise(&mut self, alert: Alert, now: Timestamp, timing: &Timing) {
        self.alert = alert;
        self.last = now;
        self.seen += 1;
        let soon = after(now, timing.group);
        let state = std::mem::replace(&mut self.state, State::Pending { due: soon });
        self.state = match state {
            State::Pending { due } => State::Pending { due },
            State::Open { told, due } => State::Open { due: self.sooner_if_worse(&told, due, soon), told },
            State::Closing { told, due, .. } => {
                self.note_return(now, timing);
                match told {
                    Some(told) => {
                        let due = after(told.at, timing.interval(told.times)).max(soon);
                        State::Open { due: self.sooner_if_worse(&told, due, soon), told }
                    }
                    None => State::Pending { due },
                }
            }
            State::Closed { .. } => {
                self.note_return(now, timing);
                self.since = now;
                self.seen = 1;
                State::Pending { due: soon }
            }
        };
    }

    fn sooner_if_worse(&self, told: &Mark, due: Timestamp, soon: Timestamp) -> Timestamp {
        if self.alert.severity > told.severity { due.min(soon) } else { due }
    }

    /// Whether the condition ended by this, and whether it did so as a blip that nobody will be told of.
    pub(super) fn resolve(&mut self, over: Over, timing: &Timing) -> (bool, bool) {
        let now = over.at;
        let flapping = self.is_flapping(now, timing);
        let worth_telling = flapping || self.alert.severity == Severity::Critical;
        let state = std::mem::replace(&mut self.state, State::Closed { at: now });
        let (state, ended, blip) = match state {
            State::Pending { due } if worth_telling => (State::Closing { told: None, over, due }, true, false),
            State::Pending { .. } => (State::Closed { at: now }, true, true),
            State::Open { told, .. } => {
                let wait = if flapping { timing.calm } else { timing.group };
                (State::Closing { told: Some(told), over, due: after(now, wait) }, true, false)
            }
            ended @ (State::Closing { .. } | State::Closed { .. }) => (ended, false, false),
        };
        self.state = state;
        (ended, blip)
    }

    /// Tells the condition in the notice `id`, and moves on.
    pub(super) fn tell(&mut self, id: &str, now: Timestamp, timing: &Timing) -> Told {
        let mut entry = self.describe(timing);
        if entry.thread.is_empty() {
            id.clone_into(&mut entry.thread);
        }
        entry.again = after(now, timing.interval(entry.times + 1));
        self.state = match &self.state {
            State::Pending { .. } | State::Open { .. } => {
                let told =
                    Mark { at: now, times: entry.times + 1, severity: self.alert.severity, seen: self.seen, thread: entry.thread.clone() };
                State::Open { told, due: entry.again }
            }
            State::Closing { .. } => State::Closed { at: now },
            State::Closed { at } => State::Closed { at: *at },
        };
        entry
    }

    pub(super) fn describe(&self, timing: &Timing) -> Told {
        let (mark, over) = match &self.state {
            State::Open { told, .. } => (Some(told), None),
            State::Closing { told, over, .. } => (told.as_ref(), Some(over.clone())),
            State::Pending { .. } | State::Closed { .. } => (None, None),
        };
        Told {
            alert: self.alert.clone(),
            since: self.since,
            seen: self.seen,
            times: mark.map_or(0, |mark| mark.times),
            returns: u32::try_from(self.recent_returns(self.last, timing)).unwrap_or(u32::MAX),
            over,
            before: mark.map(|mark| mark.severity).filter(|severity| *severity != self.alert.severity),
            thread: mark.map_or_else(String::new, |mark| mark.thread.clone()),
            again: self.state.due().unwrap_or(self.last),
        }
    }

    pub(super) fn is_flapping(&self, now: Timestamp, timing: &Timing) -> bool {
        self.recent_returns(now, timing) >= FLAP_RETURNS
    }

    fn recent_returns(&self, now: Timestamp, timing: &Timing) -> usize {
        self.returns.iter().filter(|at| after(**at, timing.flap_window) > now).count()
    }

    fn note_return(&mut self, now: Timestamp, timing: &Timing) {
        self.returns.retain(|at| *at <= now && after(*at, timing.flap_window) > now);
        if self.returns.len() >= MAX_RETURNS {
            self.returns.remove(0);
        }
        self.returns.push(now);
    }

    /// Ends a thing that happened, was told, and did not happen again for its quiet time.
    pub(super) fn pass(&mut self, now: Timestamp) {
        let Some(quiet) = self.alert.passes_after else { return };
        if matches!(&self.state, State::Open { told, .. } if told.seen == self.seen) && after(self.last, quiet) <= now {
            self.state = State::Closed { at: now };
        }
    }

    /// Brings a due time back within reach, and moves on the repetition of a thing that did not happen again.
    pub(super) fn postpone_at_most(&mut self, horizon: Timestamp, timing: &Timing, now: Timestamp) {
        let happened = self.alert.passes_after.is_some();
        match &mut self.state {
            State::Open { told, due } if happened && told.seen == self.seen && *due <= now => {
                *due = after(now, timing.interval(told.times)).min(horizon);
            }
            State::Pending { due } | State::Open { due, .. } | State::Closing { due, .. } => *due = (*due).min(horizon),
            State::Closed { .. } => {}
        }
    }
}
