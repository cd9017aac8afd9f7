//! What the daemon's tasks share: the configuration in force, the clients, the figures, and what is known of each secret.

use super::board::Board;
use crate::alerts::Alerts;
use crate::assembly::Managed;
use crate::config::{Config, Environment};
use crate::metrics::Metrics;
use crate::ports::{UsageReaders, VaultPort};
use crate::references::Resolver;
use keyward_engine::Engine;
use keyward_store::Store;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
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
    /// Wakes the planner before its next tick.
    pub wake_planner: Notify,
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
            wake_planner: Notify::new(),
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
