//! What a look at Vault's nodes means: which conditions hold, which are over. Pure: what was seen and the time go in, words come out.
//!
//! It says that a condition is over once, and also at the first look after a start, since a condition told before it may have ended
//! meanwhile. What a look cannot tell (whether a node that does not answer is sealed) stays as it was.

use super::certificate::Validity;
use super::words;
use jiff::Timestamp;
use keyward_alert::{Alert, Severity};
use keyward_vault::NodeState;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// So many looks in a row must fail before a node counts as unreachable: one lost packet wakes nobody.
pub const FAILED_LOOKS: u32 = 2;
/// An election takes seconds; no active node for longer is told.
pub const LEADERLESS: Duration = Duration::from_secs(10);
/// Clocks further apart than this are told: token lives, slots and audit times are then not what they seem.
pub const SKEW_SECONDS: f64 = 30.0;
/// Below this a skew that was told is over, so that one at the limit does not come and go.
const SKEW_OVER_SECONDS: f64 = 25.0;

/// Key of the condition that no node leads.
pub const NO_ACTIVE: &str = "vault-no-active";

/// What may be wrong with one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// It is sealed.
    Sealed,
    /// It does not answer.
    Unreachable,
    /// It was never initialised.
    Uninitialised,
    /// It was removed from its cluster.
    Removed,
    /// Its clock and ours differ.
    ClockSkew,
    /// Its certificate is about to end.
    Certificate,
    /// The disk with its audit log is almost full.
    AuditDisk,
}

impl Condition {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Sealed, Self::Unreachable, Self::Uninitialised, Self::Removed, Self::ClockSkew, Self::Certificate, Self::AuditDisk];

    /// The first part of the alert's key.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "vault-sealed",
            Self::Unreachable => "vault-unreachable",
            Self::Uninitialised => "vault-uninitialised",
            Self::Removed => "vault-removed",
            Self::ClockSkew => "clock-skew",
            Self::Certificate => "vault-certificate",
            Self::AuditDisk => "audit-disk",
        }
    }

    /// The alert's key.
    pub fn key(self, node: &str) -> String {
        format!("{}/{node}", self.name())
    }
}

/// What one look at a node saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its state.
    pub state: NodeState,
    /// Our clock minus its own, in seconds.
    pub skew: Option<f64>,
    /// Its certificate's life.
    pub certificate: Option<Validity>,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq)]
pub enum Say {
    /// It holds.
    Raise(Box<Alert>),
    /// It is over.
    Resolve {
        /// Which.
        key: String,
        /// By what.
        what: String,
    },
}

/// What a look came to.
#[derive(Debug, Default)]
pub struct Verdict {
    /// For the alert task.
    pub say: Vec<Say>,
    /// A node that served nobody is active now: what waited for it can go on.
    pub wake: bool,
    /// A node that was sealed or without data is active now: it may hold other data than before, and accept what was refused.
    pub opened: bool,
}

/// One node, as far as words about it need it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its own address.
    pub url: &'a str,
}

/// A condition, judged.
enum Judged {
    Holds(Severity),
    Over(String),
    Unknown,
}

#[derive(Default)]
struct Node {
    state: Option<NodeState>,
    failed: u32,
    /// It was sealed or without data, and has not been active since.
    was_shut: bool,
    /// What was said of each condition: holds, or over.
    said: BTreeMap<Condition, bool>,
}

/// What is remembered between looks. Losing it costs a repeated word.
#[derive(Default)]
pub struct Memory {
    nodes: BTreeMap<String, Node>,
    leaderless_since: Option<Duration>,
    leaderless_said: Option<bool>,
}

impl Memory {
    /// Judges a look at one node. `elapsed` is a monotonic time. `whole_cluster` says that the nodes were named one by one: only then
    /// a cluster without an active node can be told from a load balancer that led to a standby.
    pub fn judge(&mut self, place: Place<'_>, seen: &Seen, whole_cluster: bool, now: Timestamp, elapsed: Duration) -> Verdict {
        let node = self.nodes.entry(place.name.to_owned()).or_default();
        let served_nobody = node.state.as_ref().is_some_and(|s| !serves(s));
        node.failed = if matches!(seen.state, NodeState::Unreachable { .. }) { node.failed.saturating_add(1) } else { 0 };
        node.state = Some(seen.state.clone());
        let is_active = seen.state == NodeState::Active;
        // A node that was unsealed may be a standby first.
        let opened = node.was_shut && is_active;
        node.was_shut = !is_active && (node.was_shut || matches!(seen.state, NodeState::Sealed | NodeState::Uninitialised));
        let mut verdict = Verdict { say: Vec::new(), wake: served_nobody && is_active, opened };
        let led = self.is_led();
        let node = self.nodes.entry(place.name.to_owned()).or_default();
        // The disk is judged apart, by [`Memory::judge_disk`].
        for condition in Condition::ALL.into_iter().filter(|condition| *condition != Condition::AuditDisk) {
            let judged = judged(condition, node, seen, led, now);
            let alert = |severity| words::of_node(condition, place, seen, severity, led, now);
            verdict.say.extend(node.settle(condition, place.name, judged, alert));
        }
        verdict.say.extend(self.leader(whole_cluster, now, elapsed));
        verdict
    }

    /// Judges the free share (0 to 1) of the disk with a node's audit log.
    pub fn judge_disk(&mut self, place: Place<'_>, log: &str, free: f64, now: Timestamp) -> Option<Say> {
        let node = self.nodes.entry(place.name.to_owned()).or_default();
        let was_said = node.said.get(&Condition::AuditDisk).copied().unwrap_or(false);
        let judged = match free {
            f if f < 0.03 => Judged::Holds(Severity::Critical),
            f if f < 0.10 => Judged::Holds(Severity::Warning),
            f if f < 0.12 && was_said => Judged::Unknown,
            f => Judged::Over(format!("{:.0} % of the disk are free again", f * 100.0)),
        };
        node.settle(Condition::AuditDisk, place.name, judged, |severity| words::of_disk(place, log, free, severity, now))
    }

    /// Forgets nodes that are configured no more, and says that what was told of them is over.
    pub fn keep_only(&mut self, names: &BTreeSet<&str>) -> Vec<Say> {
        let gone: Vec<String> = self.nodes.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        let mut say = Vec::new();
        for name in gone {
            let node = self.nodes.remove(&name).unwrap_or_default();
            let held = node.said.into_iter().filter(|(_, holds)| *holds);
            say.extend(held.map(|(c, _)| Say::Resolve { key: c.key(&name), what: format!("{name} is watched no more") }));
        }
        say
    }

    fn is_led(&self) -> bool {
        self.nodes.values().any(|node| node.state == Some(NodeState::Active))
    }

    /// Unsealed nodes of which none leads. Where all are sealed or silent, their own conditions say so.
    fn leader(&mut self, whole_cluster: bool, now: Timestamp, elapsed: Duration) -> Option<Say> {
        let follows = |node: &Node| matches!(node.state, Some(NodeState::Standby | NodeState::PerformanceStandby));
        let leaderless = whole_cluster && !self.is_led() && self.nodes.values().any(follows);
        if !leaderless {
            self.leaderless_since = None;
            let known = self.nodes.values().all(|node| node.state.is_some());
            if !known || self.leaderless_said == Some(false) {
                return None;
            }
            self.leaderless_said = Some(false);
            let leads = self.nodes.iter().find(|(_, node)| node.state == Some(NodeState::Active)).map(|(name, _)| name.as_str());
            let what = leads.map_or_else(|| "the state of its nodes says why".to_owned(), |name| format!("{name} is active"));
            return Some(Say::Resolve { key: NO_ACTIVE.to_owned(), what });
        }
        let since = *self.leaderless_since.get_or_insert(elapsed);
        if elapsed.saturating_sub(since) < LEADERLESS {
            return None;
        }
        self.leaderless_said = Some(true);
        Some(Say::Raise(Box::new(words::no_active(now))))
    }
}

impl Node {
    /// What to say of a condition, given what was said before.
    fn settle(&mut self, condition: Condition, name: &str, judged: Judged, alert: impl FnOnce(Severity) -> Alert) -> Option<Say> {
        match judged {
            Judged::Unknown => None,
            Judged::Holds(severity) => {
                self.said.insert(condition, true);
                Some(Say::Raise(Box::new(alert(severity))))
            }
            Judged::Over(what) => {
                let said_over = self.said.insert(condition, false) == Some(false);
                (!said_over).then(|| Say::Resolve { key: condition.key(name), what: format!("{name}: {what}") })
            }
        }
    }
}

fn serves(state: &NodeState) -> bool {
    !matches!(state, NodeState::Sealed | NodeState::Uninitialised | NodeState::Removed | NodeState::Unreachable { .. })
}

fn judged(condition: Condition, node: &Node, seen: &Seen, led: bool, now: Timestamp) -> Judged {
    // While another node serves, one that does not is no emergency.
    let by_leader = if led { Severity::Warning } else { Severity::Critical };
    let answers = |what: &str| Judged::Over(format!("{what} ({})", seen.state.name()));
    match (condition, &seen.state) {
        (Condition::Sealed, NodeState::Sealed) => Judged::Holds(Severity::Critical),
        (Condition::Uninitialised, NodeState::Uninitialised) | (Condition::Removed, NodeState::Removed) => Judged::Holds(by_leader),
        (Condition::Unreachable, NodeState::Unreachable { .. }) if node.failed >= FAILED_LOOKS => Judged::Holds(by_leader),
        (_, NodeState::Unreachable { .. }) => Judged::Unknown,
        (Condition::Sealed, NodeState::Uninitialised) => answers("it holds no data"),
        (Condition::Sealed, NodeState::Removed) => answers("it is no part of the cluster any more"),
        (Condition::Sealed, _) => answers("it is unsealed"),
        (Condition::Unreachable, _) => answers("it answers"),
        (Condition::Uninitialised, _) => answers("it is initialised"),
        (Condition::Removed, _) => answers("it is not removed from its cluster"),
        (Condition::ClockSkew, _) => judged_skew(seen.skew, node.said.get(&condition) == Some(&true)),
        (Condition::Certificate, _) => judged_certificate(seen.certificate, now),
        (Condition::AuditDisk, _) => Judged::Unknown,
    }
}

fn judged_skew(skew: Option<f64>, said: bool) -> Judged {
    match skew.map(f64::abs) {
        Some(skew) if skew > SKEW_SECONDS => Judged::Holds(Severity::Warning),
        Some(skew) if skew > SKEW_OVER_SECONDS && said => Judged::Unknown,
        Some(_) => Judged::Over("its clock and ours agree".to_owned()),
        None => Judged::Unknown,
    }
}

fn judged_certificate(certificate: Option<Validity>, now: Timestamp) -> Judged {
    match certificate.map(|validity| (validity.alarm(now), validity.until)) {
        Some((Some(severity), _)) => Judged::Holds(severity),
        Some((None, until)) => Judged::Over(format!("its certificate is valid until {until}")),
        None => Judged::Unknown,
    }
}

#[cfg(test)]
mod tests;
