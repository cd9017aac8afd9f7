//! The local store: history of rotations, alerts not yet delivered, audit checkpoints with the figures that belong to them.
//!
//! It never holds a secret's value, and no promise about rotation rests on it: delete it and rotations go on from their records in
//! Vault; what is lost is history, the memory of who was told what, and the place reached in the audit log.
//!
//! [`Store`] is the seam: everything above it knows this trait only. [`Sqlite`] is one file on this machine; a shared database fits
//! behind the same trait. [`StateDir`] is the folder of one daemon, locked while it runs.
//!
//! **Invariants:** what a call returned `Ok` for survives a crash of the process and of the machine; what belongs together
//! (checkpoint and counters, alert book and outbox) is committed together; every table is bounded.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed"))]

mod audit;
mod error;
mod path;
mod rotation;
mod sqlite;
mod state_dir;
mod trail;

pub use audit::{AlertState, AuditCommit, AuditState, Finding, MAX_FINDINGS};
pub use error::StoreError;
pub use path::sqlite_path;
pub use rotation::{LastSuccess, MAX_EVENTS_PER_ROTATION, MAX_ROTATIONS, Rotation, RotationEvent};
pub use sqlite::{Opened, Sqlite};
pub use state_dir::{InstanceId, StateDir};
pub use trail::{Calls, Gap, MAX_SEGMENTS, Seal, Segment, Sighting, Trail};

use async_trait::async_trait;
use jiff::Timestamp;

/// The most rows that one reading call returns, whatever was asked for.
pub const MAX_READ: usize = 10_000;

/// The most characters of a free text that are kept.
pub const MAX_TEXT: usize = 4_000;

/// What a store can do. Every call ends within a time limit; one that failed by [`StoreError::TimedOut`] may still have happened.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes a rotation down, or, if its id is known, replaces what stands there: so it may be written when it starts, when it
    /// ends, and again after a crash.
    async fn record_rotation(&self, rotation: Rotation) -> Result<(), StoreError>;

    /// Adds one step's event to a rotation. Of more than [`MAX_EVENTS_PER_ROTATION`] the oldest go.
    async fn record_event(&self, event: RotationEvent) -> Result<(), StoreError>;

    /// The latest rotations, newest first.
    async fn rotations(&self, limit: usize) -> Result<Vec<Rotation>, StoreError>;

    /// The latest rotations of one secret, newest first.
    async fn rotations_of(&self, secret: &str, limit: usize) -> Result<Vec<Rotation>, StoreError>;

    /// The events of one rotation, in order.
    async fn events_of(&self, rotation: &str) -> Result<Vec<RotationEvent>, StoreError>;

    /// The last success of every secret, by name. These outlive the rotations they came from.
    async fn last_successes(&self) -> Result<Vec<LastSuccess>, StoreError>;

    /// Replaces alert book and outbox, both in one transaction.
    async fn save_alerts(&self, state: AlertState) -> Result<(), StoreError>;

    /// Alert book and outbox as last saved.
    async fn load_alerts(&self) -> Result<Option<AlertState>, StoreError>;

    /// Moves a node's audit checkpoint, together with all that the lines before it caused, in one transaction.
    async fn commit_audit(&self, commit: AuditCommit) -> Result<(), StoreError>;

    /// What was last committed for a node.
    async fn load_audit(&self, node: &str) -> Result<Option<AuditState>, StoreError>;

    /// Forgets a node that is followed no longer: its checkpoint and figures, not its findings.
    async fn forget_audit(&self, node: &str) -> Result<(), StoreError>;

    /// The latest findings, newest first.
    async fn findings(&self, limit: usize) -> Result<Vec<Finding>, StoreError>;

    /// The findings of a period, oldest first: from one moment up to, and not including, another.
    async fn findings_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Finding>, StoreError>;

    /// The rotations that began in a period, oldest first.
    async fn rotations_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Rotation>, StoreError>;

    /// The nodes whose logs are or were followed.
    async fn audit_nodes(&self) -> Result<Vec<String>, StoreError>;

    /// Who came from where, as a node's log showed it, latest first.
    async fn sightings(&self, node: &str) -> Result<Vec<Sighting>, StoreError>;

    /// Evidence of a node's log, oldest first: at most [`MAX_READ`] segments whose first line comes after line `above`.
    async fn segments(&self, node: &str, above: u64) -> Result<Vec<Segment>, StoreError>;

    /// Keeps a signed checkpoint.
    async fn record_seal(&self, seal: Seal) -> Result<(), StoreError>;

    /// The signed checkpoints of a node's log, newest first.
    async fn seals(&self, node: &str) -> Result<Vec<Seal>, StoreError>;

    /// Where lines may be missing, of a period, oldest first.
    async fn gaps_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>, StoreError>;

    /// Calls by day, of the days that begin in a period.
    async fn calls_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Calls>, StoreError>;

    /// Keeps a small value under a name.
    async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError>;

    /// The value kept under a name.
    async fn meta(&self, key: &str) -> Result<Option<String>, StoreError>;
}
