//! The whole way of a line, in one place: parsed, paired, judged, remembered, counted. Never a file, never a clock, never a metric.
//!
//! The daemon, a replay of old files and the benchmark all run this and nothing else, so that they cannot disagree.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::entry::Entry;
use crate::fact::Fact;
use crate::finding::Finding;
use crate::identity::Own;
use crate::managed::ManagedPaths;
use crate::pairs::Pairs;
use crate::parse::{BadLine, BadReason, check, parse_by};
use crate::rules::{RuleBook, RuleId};
use crate::scan::Callers;
use crate::tally::{BadPlace, Tally, TallySnapshot};
use crate::usage::Usage;

/// A request whose response has not come for so long never had one.
pub const PAIR_AGE: SignedDuration = SignedDuration::from_mins(5);
/// How many findings of one rule are kept between two calls of [`Pipeline::take_found`]; more are counted only, so that a flood
/// of one rule hides no other.
pub const MAX_KEPT_PER_RULE: usize = 64;

/// How many canaries are told at once; nobody makes so many, so that more are somebody else's.
const MAX_HEARD: usize = 64;

/// Where the readers of secrets are remembered. The daemon shares its memory with others and locks it; it is asked for only at the few
/// lines that touch a managed secret.
pub trait UsageDoor {
    /// Gives access to it for a moment.
    fn with<R>(&mut self, act: impl FnOnce(&mut Usage) -> R) -> R;
}

impl UsageDoor for Usage {
    fn with<R>(&mut self, act: impl FnOnce(&mut Usage) -> R) -> R {
        act(self)
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's inode, or another number that tells files apart.
    pub file: u64,
    /// Where the line begins in it.
    pub offset: u64,
}

/// Everything that a line changes, except who reads what.
#[derive(Debug)]
pub struct Pipeline {
    /// The figures.
    pub tally: Tally,
    /// The rules and what they have counted.
    pub rules: RuleBook,
    /// Which paths are managed secrets.
    pub paths: ManagedPaths,
    /// What Keyward did itself.
    pub own: Own,
    shortcuts: bool,
    callers: Callers,
    /// How the paths begin that Keyward calls only to find them again in the log; what follows is a nonce.
    pub canary: Option<String>,
    /// The nonces of canaries that were found since this was last asked.
    heard: Vec<String>,
    pairs: Pairs,
    /// What the rules are shown where no managed secret is touched.
    empty: Usage,
    /// The findings of the present line.
    new: Vec<Finding>,
    found: Vec<Finding>,
    kept: [usize; RuleId::ALL.len()],
    bad: [bool; BadReason::ALL.len()],
    first_entry: Option<Timestamp>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self::new(Tally::default())
    }
}

impl Pipeline {
    /// A pipeline with the shipped rules that goes on counting where `tally` stands.
    pub fn new(tally: Tally) -> Self {
        Self {
            tally,
            rules: RuleBook::defaults(),
            paths: ManagedPaths::default(),
            own: Own::default(),
            shortcuts: true,
            callers: Callers::default(),
            canary: None,
            heard: Vec::new(),
            pairs: Pairs::default(),
            empty: Usage::default(),
            new: Vec::new(),
            found: Vec::new(),
            kept: Default::default(),
            bad: Default::default(),
            first_entry: None,
        }
    }

    /// The same without the fast ways of reading a line: what they are held against.
    pub fn by_serde_alone() -> Self {
        Self { shortcuts: false, ..Self::default() }
    }

    /// The pipeline that was at rest.
    pub fn restore(snapshot: TallySnapshot) -> Self {
        let (tally, pairs) = Tally::restore(snapshot);
        Self { pairs, ..Self::new(tally) }
    }

    /// The figures at rest, with the requests that still wait for their responses.
    pub fn snapshot(&self) -> TallySnapshot {
        self.tally.snapshot(&self.pairs)
    }

    /// Takes in one line, without its newline, read at `now`.
    pub fn line(&mut self, line: &[u8], place: Place, now: Timestamp, usage: &mut impl UsageDoor) {
        let mut entry = Entry::default();
        let known = self.shortcuts && self.callers.scan(line, &mut entry);
        let read = if known { check(&entry) } else { parse_by(line, self.shortcuts).map(|parsed| entry = parsed) };
        if let Err(BadLine { reason }) = read {
            return self.bad_line(BadPlace { reason, place, length: line.len() as u64, seen: now });
        }
        self.tally.line(&entry.kind);
        let fact = Fact::of(&entry, now);
        // A clock that once ran ahead must not hide for ever that nothing comes any more.
        self.tally.reached(fact.time.min(now));
        self.first_entry.get_or_insert(fact.time);
        let paired = self.pairs.observe(&fact);
        // A request whose response follows touches nothing yet.
        let managed = if fact.counts() {
            self.tally.call(&fact, paired);
            if let Some(nonce) = self.canary.as_ref().and_then(|begins| fact.path.strip_prefix(begins.as_str()))
                && self.heard.len() < MAX_HEARD
            {
                self.heard.push(nonce.chars().take(64).collect());
            }
            self.paths.touch(&fact)
        } else {
            None
        };
        if managed.is_none() {
            self.rules.observe(&fact, None, &self.own, &self.empty, &mut self.new);
        } else {
            usage.with(|usage| {
                self.rules.observe(&fact, managed, &self.own, usage, &mut self.new);
                usage.observe(&fact, managed, &self.own);
            });
        }
        if self.shortcuts && !known {
            self.callers.learn(line);
        }
        if !self.new.is_empty() {
            self.keep();
        }
    }

    #[cold]
    fn bad_line(&mut self, bad: BadPlace) {
        self.tally.bad_line(bad);
        if let Some(seen) = self.bad.get_mut(bad.reason as usize) {
            *seen = true;
        }
    }

    fn keep(&mut self) {
        for finding in self.new.drain(..) {
            self.tally.finding(finding.rule, finding.severity);
            let Some(kept) = self.kept.get_mut(finding.rule as usize) else { continue };
            if *kept < MAX_KEPT_PER_RULE {
                *kept += 1;
                self.found.push(finding);
            }
        }
    }

    /// What the rules found since this was last asked, oldest first; at most [`MAX_KEPT_PER_RULE`] of each rule.
    pub fn take_found(&mut self) -> Vec<Finding> {
        self.kept = Default::default();
        std::mem::take(&mut self.found)
    }

    /// The nonces of canaries that were found since this was last asked. Anybody may call such a path: only who made a nonce knows it.
    pub fn take_heard(&mut self) -> Vec<String> {
        std::mem::take(&mut self.heard)
    }

    /// Why lines were no entries since this was last asked, each reason once.
    pub fn take_bad(&mut self) -> Vec<BadReason> {
        let seen = std::mem::take(&mut self.bad);
        BadReason::ALL.into_iter().zip(seen).filter(|(_, seen)| *seen).map(|(reason, _)| reason).collect()
    }

    /// The time of the first entry since this was last asked.
    pub fn take_first_entry(&mut self) -> Option<Timestamp> {
        self.first_entry.take()
    }

    /// Gives up requests that have waited too long. `reached` is how far the log has been read: the time of its last entry, or the
    /// present where it was read to its end.
    pub fn expire(&mut self, reached: Timestamp) {
        self.pairs.expire(reached, PAIR_AGE);
        self.tally.unmatched(self.pairs.take_unmatched());
    }
}
