//! What the daemon's tasks share: the configuration in force, the clients, the figures, and what is known of each secret.

use super::board::Board;
use crate::alerts::Alerts;
use crate::assembly::Managed;
use crate::config::{Config, Environment};
use crate::metrics::Metrics;
use crate::ports::{UsageReaders, VaultPort};
use crate::references::Resolver;
use crate::view::Recent;
use keyward_engine::Engine;
use keyward_rotation::class::Pause;
use keyward_store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};

/// Everything that one configuration stands for. Replaced as a whole, never changed.
pub struct Live {
    /// As read.
    pub config: Config,
    /// The secrets, by name.
    pub secrets: BTreeMap<String, Managed>,
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// References to secrets.
    pub resolver: Arc<Resolver>,
    /// The engine over that Vault.
    pub engine: Arc<Engine>,
}

/// Shared by all tasks of the daemon.
pub struct Shared {
    live: RwLock<Arc<Live>>,
    /// The figures.
    pub metrics: Metrics,
    /// Where alerts go.
    pub alerts: Alerts,
    /// History, alerts not yet delivered, checkpoints.
    pub store: Arc<dyn Store>,
    /// What is known now: nodes, token, secrets.
    pub board: Board,
    /// Who reads what, as the audit log tells.
    pub readers: Arc<UsageReaders>,
    planner_looked: Mutex<Instant>,
    /// The classes that a person paused, as last read.
    pauses: RwLock<BTreeMap<String, Pause>>,
    /// Secrets whose published value is to be proved before its interval is over.
    prove_now: Mutex<BTreeSet<String>>,
    /// Secrets whose records were changed beside the planner.
    changed: Mutex<BTreeSet<String>>,
    tried: Mutex<BTreeMap<String, Option<Recent>>>,
    /// Wakes the planner before its next tick.
    pub wake_planner: Notify,
    /// Tells the task that follows the audit logs that Vault can be asked now.
    pub logged_in: Notify,
    /// Tells the keeper of our token that a node which was sealed or without data is active.
    pub vault_opened: Notify,
    /// Becomes true when the daemon is to stop.
    pub stopping: watch::Sender<bool>,
    /// The environment as it was at the start.
    pub environment: Environment,
    /// The configuration file.
    pub config_file: PathBuf,
}

impl Shared {
    /// Around a first configuration.
    pub fn new(
        live: Live,
        metrics: Metrics,
        alerts: Alerts,
        store: Arc<dyn Store>,
        readers: Arc<UsageReaders>,
        environment: Environment,
        config_file: PathBuf,
    ) -> Self {
        Self {
            live: RwLock::new(Arc::new(live)),
            metrics,
            alerts,
            store,
            board: Board::default(),
            readers,
            planner_looked: Mutex::new(Instant::now()),
            pauses: RwLock::default(),
            prove_now: Mutex::default(),
            changed: Mutex::default(),
            tried: Mutex::default(),
            wake_planner: Notify::new(),
            logged_in: Notify::new(),
            vault_opened: Notify::new(),
            stopping: watch::channel(false).0,
            environment,
            config_file,
        }
    }

    /// The configuration in force. Take it once per piece of work, so that the piece sees one.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another configuration in force.
    pub fn replace(&self, live: Live) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(live);
        self.wake_planner.notify_one();
    }

    /// The planner has looked at everything, at this moment.
    pub fn planner_looked(&self, at: Instant) {
        *self.planner_looked.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// For how long the planner has not looked.
    pub fn planner_idle(&self) -> Duration {
        self.planner_looked.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// The pause of a class, as last read.
    pub fn pause_of(&self, class: &str) -> Option<Pause> {
        self.pauses.read().unwrap_or_else(PoisonError::into_inner).get(class).cloned()
    }

    /// What was read of a class's pause.
    pub fn keep_pause(&self, class: &str, pause: Option<Pause>) {
        let mut pauses = self.pauses.write().unwrap_or_else(PoisonError::into_inner);
        match pause {
            Some(pause) => pauses.insert(class.to_owned(), pause),
            None => pauses.remove(class),
        };
    }

    /// What is published for this secret is proved at the proof watch's next look.
    pub fn prove_soon(&self, secret: &str) {
        self.prove_now.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
    }

    /// The secrets of [`Self::prove_soon`], once.
    pub fn to_prove(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.prove_now.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This secret's record was changed: the planner reads it at its next look, which is now.
    pub fn forget(&self, secret: &str) {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned());
        self.wake_planner.notify_one();
    }

    /// The secrets of [`Self::forget`], once.
    pub fn forgotten(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.changed.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A person had this secret tried, and the record says nothing of it; `None`: it does.
    pub fn tried(&self, secret: &str, recent: Option<Recent>) {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(secret.to_owned(), recent);
    }

    /// What came of the requests of [`Self::tried`], once.
    pub fn all_tried(&self) -> BTreeMap<String, Option<Recent>> {
        std::mem::take(&mut *self.tried.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the daemon is to stop.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Waits until the daemon is to stop.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.subscribe();
        // The sender lives as long as `self`, so the wait cannot fail.
        let _ = stopping.wait_for(|stop| *stop).await;
    }
}
