//! The book of conditions: what is wrong now, who was told about it when, and what is due to be told.
//!
//! It never reads a clock and never sends. Wall time decides only when to speak, never whether something is wrong.
//!
//! ```text
//!          raise                due              resolve               due
//! (none) ───────> Pending ─────────────> Open ───────────> Closing ─────────> Closed ──(forgotten after flap_window)
//!                    │  told: First       ^ │ told: Repeat,   │ told: Resolved   │
//!                    │                    │ └─── Worse        │                  │
//!                    │ resolve            └───────────────────┘ raise            │
//!                    └──> Closed (a blip, counted)    Pending <──────────────────┘ raise
//! ```
//!
//! A condition that ends before its first notice is told once, as over, if it was critical or keeps coming back; else it is a blip.
//! A condition that came back [`FLAP_RETURNS`] times within the flap window is flapping: its resolution is held until it was calm.

mod condition;
mod notice;

pub use notice::{Notice, Over, Told, Why};

use crate::alert::{Account, Alert, Severity};
use crate::stored::{self, StoredError};
use condition::{Condition, State};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How often a condition must come back within the flap window to count as flapping.
pub const FLAP_RETURNS: usize = 3;

/// The most conditions the book holds. Beyond it one condition of its own says so; nothing is dropped in silence.
pub const MAX_CONDITIONS: usize = 10_000;

/// The key of that condition.
const OVERFLOW: &str = "alerts-overflow/book";

/// When to speak. From configuration, not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long the first alert waits for company, so that one cause makes one mail. Seconds: a seal must be told soon.
    pub group: SignedDuration,
    /// From the first notice to the first repetition; each later interval is twice the one before.
    pub first: SignedDuration,
    /// The longest interval between repetitions.
    pub longest: SignedDuration,
    /// How long a flapping condition must be quiet before it is told as resolved.
    pub calm: SignedDuration,
    /// How far back returns count towards flapping.
    pub flap_window: SignedDuration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            group: SignedDuration::from_secs(5),
            first: SignedDuration::from_mins(30),
            longest: SignedDuration::from_hours(12),
            calm: SignedDuration::from_mins(10),
            flap_window: SignedDuration::from_mins(60),
        }
    }
}

impl Timing {
    /// The wait after the `times`-th telling (from 1).
    pub(crate) fn interval(&self, times: u32) -> SignedDuration {
        let factor = 1_i32.checked_shl(times.saturating_sub(1).min(30)).unwrap_or(i32::MAX);
        self.first.checked_mul(factor).unwrap_or(self.longest).min(self.longest)
    }

    /// No waiting time is longer; a due time beyond it is the trace of a clock that jumped.
    fn horizon(&self) -> SignedDuration {
        self.longest.max(self.calm).max(self.group)
    }
}

/// A time so much later; the end of time where that does not exist.
pub(crate) fn after(now: Timestamp, wait: SignedDuration) -> Timestamp {
    now.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// What the book holds, as numbers for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BookCounts {
    /// Conditions not over, in the order of [`Severity::ALL`].
    pub open: [u64; 3],
    /// Of these, those that keep coming and going.
    pub flapping: u64,
    /// Conditions that came and went before anybody was told, since the book was made.
    pub blips: u64,
    /// Alerts that found the book full, since the book was made.
    pub overflowed: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Pages {
    origin: String,
    sequence: u64,
    conditions: BTreeMap<String, Condition>,
    blips: u64,
    overflowed: u64,
}

/// All conditions known. See the module's drawing.
#[derive(Debug, Clone)]
pub struct Book {
    timing: Timing,
    pages: Pages,
}

impl Book {
    /// An empty book. `origin` names this installation (letters, digits, `-`); it becomes part of notices' and mails' ids.
    pub fn new(origin: impl Into<String>, timing: Timing) -> Self {
        let pages = Pages { origin: origin.into(), sequence: 0, conditions: BTreeMap::new(), blips: 0, overflowed: 0 };
        Self { timing, pages }
    }

    /// The book as it was stored by [`Book::to_json`], with the timing of today's configuration.
    pub fn from_json(text: &str, timing: Timing) -> Result<Self, StoredError> {
        Ok(Self { timing, pages: stored::read("alert book", text)? })
    }

    /// The book for storing.
    pub fn to_json(&self) -> String {
        stored::write(&self.pages)
    }

    /// Takes another timing, after a reload of the configuration; what is due already keeps its time.
    pub fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// Says that a condition holds. Saying it again while it lasts replaces text and severity, and speaks sooner only if it got worse.
    pub fn raise(&mut self, alert: Alert, now: Timestamp) {
        if let Some(condition) = self.pages.conditions.get_mut(&alert.key) {
            return condition.raise(alert, now, &self.timing);
        }
        if self.pages.conditions.len() >= MAX_CONDITIONS && !self.make_room() {
            self.pages.overflowed += 1;
            let overflow = overflow_alert(now, self.pages.overflowed);
            return match self.pages.conditions.get_mut(OVERFLOW) {
                Some(condition) => condition.raise(overflow, now, &self.timing),
                None => self.insert(overflow, now),
            };
        }
        self.insert(alert, now);
    }

    fn insert(&mut self, alert: Alert, now: Timestamp) {
        self.pages.conditions.insert(alert.key.clone(), Condition::new(alert, now, &self.timing));
    }

    /// Says that a condition is over, and by what. Harmless, and `false`, where it did not hold; so a poll may say it each time.
    pub fn resolve(&mut self, key: &str, what: impl Into<String>, now: Timestamp) -> bool {
        let Some(condition) = self.pages.conditions.get_mut(key) else { return false };
        let (ended, blip) = condition.resolve(Over { what: what.into(), at: now }, &self.timing);
        self.pages.blips += u64::from(blip);
        ended
    }

    /// What is to be told now, grouped: at most one notice for each reason. What is returned counts as told;
    /// put it into the outbox and store both before the next call.
    pub fn due(&mut self, now: Timestamp) -> Vec<Notice> {
        self.tidy(now);
        let mut notices = Vec::new();
        for reason in [Reason::First, Reason::Worse, Reason::Repeat, Reason::Resolved] {
            notices.extend(self.collect(reason, now));
        }
        notices
    }

    /// When [`Book::due`] may next have something to say. Ask again after some minutes all the same: the clock may be set back.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.pages.conditions.values().filter_map(|condition| condition.state.due()).min()
    }

    /// Every condition that is not over, worst first, then oldest first.
    pub fn open(&self) -> Vec<Told> {
        let mut open: Vec<Told> =
            self.pages.conditions.values().filter(|condition| condition.state.is_open()).map(|c| c.describe(&self.timing)).collect();
        open.sort_by(|a, b| b.alert.severity.cmp(&a.alert.severity).then(a.since.cmp(&b.since)).then(a.alert.key.cmp(&b.alert.key)));
        open
    }

    /// Whether a condition holds now, as far as the book was told.
    pub fn is_open(&self, key: &str) -> bool {
        self.pages.conditions.get(key).is_some_and(|condition| condition.state.is_open())
    }

    /// Numbers for metrics.
    pub fn counts(&self, now: Timestamp) -> BookCounts {
        let mut counts = BookCounts { blips: self.pages.blips, overflowed: self.pages.overflowed, ..BookCounts::default() };
        for condition in self.pages.conditions.values() {
            counts.flapping += u64::from(condition.is_flapping(now, &self.timing));
            if condition.state.is_open() {
                counts.open[condition.alert.severity as usize] += 1;
            }
        }
        counts
    }

    /// Takes all conditions to be told for one reason: none before the first of them is due, then all that wait for the same reason.
    fn collect(&mut self, reason: Reason, now: Timestamp) -> Option<Notice> {
        let conditions = &mut self.pages.conditions;
        if !conditions.values().any(|c| reason.covers(c) && c.state.due().is_some_and(|due| due <= now)) {
            return None;
        }
        let limit = match reason {
            // News goes out together, however fresh. A resolution that is held for flapping is not swept along.
            Reason::First | Reason::Worse => Timestamp::MAX,
            Reason::Repeat | Reason::Resolved => after(now, self.timing.group),
        };
        self.pages.sequence += 1;
        let id = format!("{}-{}-{}", self.pages.origin, now.as_millisecond(), self.pages.sequence);
        let mut alerts: Vec<Told> = conditions
            .values_mut()
            .filter(|c| reason.covers(c) && c.state.due().is_some_and(|due| due <= limit))
            .map(|condition| condition.tell(&id, now, &self.timing))
            .collect();
        alerts.sort_by(|a, b| b.alert.severity.cmp(&a.alert.severity).then(a.since.cmp(&b.since)).then(a.alert.key.cmp(&b.alert.key)));
        let repeats = alerts.iter().map(|told| told.times).max().unwrap_or(0);
        let why = match reason {
            Reason::First => Why::First,
            Reason::Worse => Why::Worse,
            Reason::Repeat => Why::Repeat(repeats),
            Reason::Resolved => Why::Resolved,
        };
        Some(Notice { id, why, at: now, alerts })
    }

    /// Ends what passes by itself, forgets what is long over, and brings due times back that a jumping clock put out of reach.
    fn tidy(&mut self, now: Timestamp) {
        let timing = self.timing;
        let horizon = after(now, timing.horizon());
        for condition in self.pages.conditions.values_mut() {
            condition.pass(now);
            condition.postpone_at_most(horizon, &timing, now);
        }
        self.pages
            .conditions
            .retain(|_, c| !matches!(&c.state, State::Closed { at } if *at > now || after(*at, timing.flap_window) <= now));
        if self.pages.conditions.len() < MAX_CONDITIONS - MAX_CONDITIONS / 10 {
            self.resolve(OVERFLOW, "the book has room again", now);
        }
    }

    /// Forgets the conditions that are over. `false` if there were none.
    fn make_room(&mut self) -> bool {
        let before = self.pages.conditions.len();
        self.pages.conditions.retain(|_, condition| !matches!(condition.state, State::Closed { .. }));
        self.pages.conditions.len() < before
    }
}

/// The reasons of a notice, before the repetitions are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    First,
    Worse,
    Repeat,
    Resolved,
}

impl Reason {
    fn covers(self, condition: &Condition) -> bool {
        match &condition.state {
            State::Pending { .. } | State::Closing { told: None, .. } => self == Self::First,
            State::Open { told, .. } if condition.alert.severity > told.severity => self == Self::Worse,
            State::Open { told, .. } => self == Self::Repeat && (condition.alert.passes_after.is_none() || condition.seen > told.seen),
            State::Closing { told: Some(_), .. } => self == Self::Resolved,
            State::Closed { .. } => false,
        }
    }
}

fn overflow_alert(now: Timestamp, count: u64) -> Alert {
    Alert {
        key: OVERFLOW.to_owned(),
        severity: Severity::Critical,
        title: "too many alerts at once".to_owned(),
        account: Account {
            happened: format!("More than {MAX_CONDITIONS} conditions are open at once; {count} further reports found no room."),
            now: "What is open is still told and repeated; the further ones are counted only and may be raised again by their watches."
                .to_owned(),
            next: "Reports are taken again as soon as conditions end.".to_owned(),
            act: "Look for the common cause:\n    keyward status".to_owned(),
        },
        owner: None,
        secret: None,
        at: now,
        passes_after: None,
    }
}

#[cfg(test)]
mod tests;
