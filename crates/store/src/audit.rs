//! What is kept of alerts and of the audit log. The JSON in it is opaque here; its owners number its format.
//!
//! It never looks inside, so that a change of an owner's format is no change of the store's.

use crate::trail::Trail;
use jiff::{SignedDuration, Timestamp};

/// How many findings are kept; the oldest go first.
pub const MAX_FINDINGS: i64 = 50_000;

/// How long a finding is kept.
pub(crate) const KEEP_FINDINGS: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How many nodes' checkpoints are kept; those committed longest ago go first.
pub(crate) const MAX_NODES: i64 = 1_000;

/// Alert book and outbox, which are true only together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertState {
    /// The alert book.
    pub book_json: String,
    /// The outbox.
    pub outbox_json: String,
    /// When they were saved.
    pub saved: Timestamp,
}

/// What a rule saw in the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The node in whose log it was.
    pub node: String,
    /// The rule's name.
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// When it happened, by the log's own time.
    pub at: Timestamp,
    /// What happened, in a sentence: names and paths, never values.
    pub text: String,
}

/// A place in a node's audit log, and all that the lines before it caused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditCommit {
    /// The node.
    pub node: String,
    /// The place reached.
    pub checkpoint_json: String,
    /// Counts of what was read, lost and repeated.
    pub counters_json: String,
    /// The metrics' values.
    pub metrics_json: String,
    /// Who reads what; `None` leaves what is stored.
    pub usage_json: Option<String>,
    /// Findings since the commit before.
    pub findings: Vec<Finding>,
    /// Alert book and outbox after these findings were raised; `None` leaves what is stored.
    pub alerts: Option<AlertState>,
    /// Evidence, sightings, gaps, calls.
    pub trail: Trail,
    /// When.
    pub at: Timestamp,
}

/// What stands in the store for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditState {
    /// The place reached.
    pub checkpoint_json: String,
    /// Counts of what was read, lost and repeated.
    pub counters_json: String,
    /// The metrics' values.
    pub metrics_json: String,
    /// Who reads what; `None` if it was never committed.
    pub usage_json: Option<String>,
    /// The state of the evidence's chain; `None` if it was never committed.
    pub chain_json: Option<String>,
    /// When it was committed.
    pub saved: Timestamp,
}
