//! A daemon's shared state for tests of single tasks, around a real local store and a configuration given as text.

use super::live::{Lasting, build};
use super::observer::Ear;
use super::shared::{Live, Shared};
use crate::alerts::{Alerts, Command};
use crate::config::{Config, Environment};
use crate::metrics::{Metrics, families as f};
use crate::ports::{SystemClock, UsageReaders};
use jiff::Timestamp;
use keyward_engine::Claims;
use keyward_harness::VaultServer;
use keyward_store::Sqlite;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::mpsc;

/// Nothing awaited in these tests takes longer.
pub const LONG: Duration = Duration::from_mins(1);

/// A shared state, its folder, and the end of the alerts' channel.
pub struct World {
    pub shared: Arc<Shared>,
    pub commands: mpsc::Receiver<Command>,
    pub folder: TempDir,
    lasting: Lasting,
}

impl World {
    /// Around a configuration in which `FOLDER` stands for the test's own folder.
    pub async fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::in_folder(config, folder).await
    }

    /// The same in a folder that has files already: those that the configuration names, or a former world's store.
    pub async fn in_folder(config: &str, folder: TempDir) -> Self {
        // Installing it twice is no harm.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metrics = Metrics::default();
        let lasting = Lasting {
            owner: "test".to_owned(),
            claims: Claims::default(),
            clock: SystemClock::default(),
            ear: Arc::new(Ear::new(metrics.clone())),
            readers: Arc::new(UsageReaders::default()),
            environment: Environment::empty(),
        };
        let live = live(config, folder.path(), &lasting);
        let store = Sqlite::open(&folder.path().join("keyward.db"), Timestamp::now()).await.unwrap().store;
        let (alerts, commands) = Alerts::channel();
        let readers = Arc::clone(&lasting.readers);
        let shared = Shared::new(live, metrics, alerts, Arc::new(store), readers, Environment::empty(), PathBuf::from("test.toml"));
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        shared.metrics.set(&f::START, &[], Timestamp::now().as_second() as f64);
        Self { shared: Arc::new(shared), commands, folder, lasting }
    }

    /// Puts another configuration in force, as a reload does.
    pub fn replace(&self, config: &str) {
        self.shared.replace(live(config, self.folder.path(), &self.lasting));
    }

    /// The next thing said of the condition `key`.
    pub async fn said_of(&mut self, key: &str) -> Command {
        let said = async {
            loop {
                let command = self.commands.recv().await.unwrap();
                if key_of(&command) == Some(key) {
                    return command;
                }
            }
        };
        tokio::time::timeout(LONG, said).await.unwrap_or_else(|_| panic!("nothing was said of {key}"))
    }
}

fn key_of(command: &Command) -> Option<&str> {
    match command {
        Command::Raise(alert) => Some(&alert.key),
        Command::Resolve { key, .. } => Some(key),
        Command::Test(_) => None,
    }
}

fn live(config: &str, folder: &Path, lasting: &Lasting) -> Live {
    let text = config.replace("FOLDER", &folder.display().to_string());
    let config = Config::parse(&text, "test.toml", &lasting.environment).unwrap_or_else(|errors| panic!("{errors}"));
    build(config, lasting, None).unwrap()
}

/// `[vault]` for a real server; the token, where one is needed, in the file `token` of the test's folder.
pub fn vault_section(server: &VaultServer) -> String {
    format!(
        "[vault]\naddress = \"{}\"\nca_cert = \"{}\"\nauth = {{ token = {{ file = \"FOLDER/token\" }} }}\n",
        server.address,
        server.ca_pem_path.display()
    )
}

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}
