//! The store as one SQLite file: write-ahead log, every commit on the disk before it is answered, own thread.
//!
//! It never blocks the caller's runtime: requests go through a bounded channel to the thread that owns the connection.
//! A full channel makes callers wait, within their time limit.

mod alerts;
mod file;
mod history;
mod rows;
mod schema;
mod thread;
mod trail;

pub use file::Opened;

use crate::audit::{AlertState, AuditCommit, AuditState, Finding};
use crate::error::StoreError;
use crate::rotation::{LastSuccess, Rotation, RotationEvent};
use crate::trail::{Calls, Gap, Seal, Segment, Sighting};
use crate::{MAX_READ, Store};
use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::Connection;
use std::path::Path;
use std::time::Duration;
use thread::Worker;

/// How long a call may take, waiting for its turn included.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// How long opening may take: the whole file is read once, to see that it is sound.
const OPEN_LIMIT: Duration = Duration::from_mins(2);

/// A handle on the store; clones share the thread and its connection. When the last is dropped the file is closed.
#[derive(Clone)]
pub struct Sqlite {
    worker: Worker,
}

impl Sqlite {
    /// Opens the file for a daemon that holds the lock of its [`crate::StateDir`]: creates it (mode 0600), brings an older format up
    /// to date, and moves a damaged file aside, which [`Opened::moved_aside`] reports. `now` names the file that is moved.
    pub async fn open(path: &Path, now: Timestamp) -> Result<Opened, StoreError> {
        let owned = path.to_owned();
        let (worker, moved_aside) =
            Worker::start("opening", path, OPEN_LIMIT, CALL_LIMIT, move || file::open_for_writing(&owned, now)).await?;
        Ok(Opened { store: Self { worker }, moved_aside })
    }

    /// Opens the file for reading beside a daemon: creates, changes and moves nothing.
    pub async fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        let owned = path.to_owned();
        let (worker, ()) =
            Worker::start("opening", path, OPEN_LIMIT, CALL_LIMIT, move || Ok((file::open_for_reading(&owned)?, ()))).await?;
        Ok(Self { worker })
    }

    /// Does what is queued, then closes the file, by which SQLite folds the write-ahead log into it; other handles find it closed.
    pub async fn close(self) -> Result<(), StoreError> {
        self.worker.close().await
    }

    async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.worker.call(what, work).await
    }
}

/// A row count asked for, as SQL takes it.
fn bounded(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_READ)).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for Sqlite {
    async fn record_rotation(&self, rotation: Rotation) -> Result<(), StoreError> {
        self.call("recording a rotation", move |db| history::record_rotation(db, &rotation)).await
    }

    async fn record_event(&self, event: RotationEvent) -> Result<(), StoreError> {
        self.call("recording a rotation's event", move |db| history::record_event(db, &event)).await
    }

    async fn rotations(&self, limit: usize) -> Result<Vec<Rotation>, StoreError> {
        self.call("reading rotations", move |db| history::rotations(db, bounded(limit))).await
    }

    async fn rotations_of(&self, secret: &str, limit: usize) -> Result<Vec<Rotation>, StoreError> {
        let secret = secret.to_owned();
        self.call("reading a secret's rotations", move |db| history::rotations_of(db, &secret, bounded(limit))).await
    }

    async fn events_of(&self, rotation: &str) -> Result<Vec<RotationEvent>, StoreError> {
        let rotation = rotation.to_owned();
        self.call("reading a rotation's events", move |db| history::events_of(db, &rotation)).await
    }

    async fn last_successes(&self) -> Result<Vec<LastSuccess>, StoreError> {
        self.call("reading the last successes", |db| history::last_successes(db)).await
    }

    async fn save_alerts(&self, state: AlertState) -> Result<(), StoreError> {
        self.call("saving the alerts", move |db| alerts::save_alerts(db, &state)).await
    }

    async fn load_alerts(&self) -> Result<Option<AlertState>, StoreError> {
        self.call("loading the alerts", |db| alerts::load_alerts(db)).await
    }

    async fn commit_audit(&self, commit: AuditCommit) -> Result<(), StoreError> {
        self.call("moving an audit checkpoint", move |db| alerts::commit_audit(db, &commit)).await
    }

    async fn load_audit(&self, node: &str) -> Result<Option<AuditState>, StoreError> {
        let node = node.to_owned();
        self.call("loading an audit checkpoint", move |db| alerts::load_audit(db, &node)).await
    }

    async fn forget_audit(&self, node: &str) -> Result<(), StoreError> {
        let node = node.to_owned();
        self.call("forgetting a node", move |db| alerts::forget_audit(db, &node)).await
    }

    async fn findings(&self, limit: usize) -> Result<Vec<Finding>, StoreError> {
        self.call("reading findings", move |db| alerts::findings(db, bounded(limit))).await
    }

    async fn findings_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Finding>, StoreError> {
        self.call("reading findings", move |db| alerts::findings_between(db, from, to, bounded(MAX_READ))).await
    }

    async fn rotations_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Rotation>, StoreError> {
        self.call("reading rotations", move |db| history::rotations_between(db, from, to, bounded(MAX_READ))).await
    }

    async fn audit_nodes(&self) -> Result<Vec<String>, StoreError> {
        self.call("reading the followed nodes", |db| trail::nodes(db)).await
    }

    async fn sightings(&self, node: &str) -> Result<Vec<Sighting>, StoreError> {
        let node = node.to_owned();
        self.call("reading who came from where", move |db| trail::sightings(db, &node)).await
    }

    async fn segments(&self, node: &str, above: u64) -> Result<Vec<Segment>, StoreError> {
        let node = node.to_owned();
        self.call("reading evidence", move |db| trail::segments(db, &node, above, bounded(MAX_READ))).await
    }

    async fn record_seal(&self, seal: Seal) -> Result<(), StoreError> {
        self.call("keeping a signed checkpoint", move |db| trail::record_seal(db, &seal)).await
    }

    async fn seals(&self, node: &str) -> Result<Vec<Seal>, StoreError> {
        let node = node.to_owned();
        self.call("reading signed checkpoints", move |db| trail::seals(db, &node, bounded(MAX_READ))).await
    }

    async fn gaps_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Gap>, StoreError> {
        self.call("reading gaps", move |db| trail::gaps(db, from, to, bounded(MAX_READ))).await
    }

    async fn calls_between(&self, from: Timestamp, to: Timestamp) -> Result<Vec<Calls>, StoreError> {
        self.call("reading calls by day", move |db| trail::calls(db, from, to, bounded(MAX_READ))).await
    }

    async fn set_meta(&self, key: &str, value: &str) -> Result<(), StoreError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.call("keeping a value", move |db| schema::set_meta(db, &key, &value)).await
    }

    async fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let key = key.to_owned();
        self.call("reading a kept value", move |db| schema::meta(db, &key)).await
    }
}

impl std::fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sqlite").field("path", &self.worker.path()).finish()
    }
}

#[cfg(test)]
mod tests;
