//! What the daemon knows now, for `/api/v1/status`, `keyward status` and readiness.

use crate::view::SecretView;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

/// One Vault node as last polled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeView {
    /// Its state, as in the metric.
    pub state: String,
    /// Why it is unreachable, or its version.
    pub detail: String,
    /// When it was polled.
    pub at: Timestamp,
    /// Our clock minus its own, in seconds.
    pub clock_skew_seconds: Option<f64>,
}

/// One followed audit log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AuditView {
    /// Whether the file can be read, and if not, why.
    pub state: String,
    /// The last entry's own time.
    pub last_entry: Option<Timestamp>,
    /// Lines read since the checkpoint began.
    pub lines: u64,
    /// Bytes not yet read.
    pub behind_bytes: u64,
    /// Lines that could not be understood, all in all.
    #[serde(default)]
    pub bad_lines: u64,
    /// Where the newest of them stand (never what they say), oldest first.
    #[serde(default)]
    pub bad_places: Vec<keyward_audit::BadPlace>,
}

/// Keyward's own token.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TokenView {
    /// `ok`, or what is wrong.
    pub state: String,
    /// When it ends; absent when it never does, or when there is none.
    pub expires: Option<Timestamp>,
}

/// Everything, as the status API shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When the daemon started.
    pub started: Option<Timestamp>,
    /// What is still missing before it is ready; empty once it was.
    pub waiting_for: Vec<String>,
    /// Why, as far as it was tried.
    #[serde(default)]
    pub waiting_because: BTreeMap<String, String>,
    /// Keyward's own token.
    pub token: TokenView,
    /// Vault's nodes, by name.
    pub nodes: BTreeMap<String, NodeView>,
    /// Audit logs, by node.
    pub audit: BTreeMap<String, AuditView>,
    /// The secrets, by name.
    pub secrets: BTreeMap<String, SecretView>,
    /// Alerts that are not resolved: key and headline.
    pub alerts: Vec<String>,
}

impl Status {
    /// What is still missing, each with why where that is known.
    pub fn missing(&self) -> Vec<String> {
        let why = |what: &String| self.waiting_because.get(what).map_or_else(|| what.clone(), |why| format!("{what}: {why}"));
        self.waiting_for.iter().map(why).collect()
    }
}

/// The status, filled in by the tasks.
#[derive(Debug, Default)]
pub struct Board(RwLock<Status>);

impl Board {
    /// Changes it.
    pub fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// A copy of it.
    pub fn status(&self) -> Status {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// One thing that readiness waited for has happened. Readiness is a latch: it is never taken back.
    pub fn reached(&self, what: &str) {
        self.update(|status| {
            status.waiting_for.retain(|w| w != what);
            status.waiting_because.remove(what);
        });
    }

    /// Why something that readiness waits for has not happened yet. What it does not wait for is left alone.
    pub fn waits(&self, what: &str, why: &str) {
        self.update(|status| {
            if status.waiting_for.iter().any(|w| w == what) {
                status.waiting_because.insert(what.to_owned(), why.to_owned());
            }
        });
    }

    /// Readiness waits no more for what another configuration does not name.
    pub fn waits_only_for(&self, named: &[String]) {
        self.update(|status| {
            status.waiting_for.retain(|w| named.contains(w));
            status.waiting_because.retain(|w, _| named.contains(w));
        });
    }

    /// Whether Keyward's own token is well.
    pub fn is_logged_in(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).token.state == "ok"
    }

    /// Whether nothing is missing any more.
    pub fn is_ready(&self) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).waiting_for.is_empty()
    }
}
