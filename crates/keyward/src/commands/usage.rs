//! Who reads a secret, for `status NAME`: asked of the daemon, else of what it left in the local store.

use super::daemon_client::Daemon;
use super::output;
use crate::config::Config;
use crate::ports::{SecretUsage, UsageReaders};
use crate::view::whole_seconds;
use jiff::Timestamp;
use keyward_store::{Sqlite, Store};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where usage is asked for.
pub struct Source {
    socket: PathBuf,
    store: PathBuf,
    nodes: Vec<String>,
}

impl Source {
    /// Of a configuration.
    pub fn of(config: &Config) -> Self {
        let nodes = config.vault.nodes.iter().map(|node| node.name.clone()).collect();
        Self { socket: config.socket.clone(), store: config.store.clone(), nodes }
    }

    /// The readers of a secret; `None`, with a word on standard error, where nobody can say.
    pub async fn ask(&self, name: &str, by_daemon: bool, rotated: Option<Timestamp>) -> Option<SecretUsage> {
        let usage = if by_daemon { self.daemons(name).await } else { self.stored(name, rotated).await };
        usage.map_err(|why| output::note(&format!("Who reads {name} cannot be said: {why:#}."))).ok()
    }

    /// The readers of these secrets, whenever they were rotated.
    ///
    /// # Errors
    /// Neither the daemon nor its local store can be asked.
    pub async fn all(&self, names: &[&str]) -> anyhow::Result<BTreeMap<String, SecretUsage>> {
        let mut all = BTreeMap::new();
        if let Some(daemon) = Daemon::find(&self.socket).await? {
            for name in names {
                // One that the daemon does not know is no secret of the configuration that it was started with.
                all.extend(daemon.usage(name).await.ok().map(|usage| ((*name).to_owned(), usage)));
            }
            return Ok(all);
        }
        let readers = self.at_rest().await?;
        all.extend(names.iter().map(|name| ((*name).to_owned(), readers.usage(name, None))));
        Ok(all)
    }

    async fn daemons(&self, name: &str) -> anyhow::Result<SecretUsage> {
        match Daemon::find(&self.socket).await? {
            Some(daemon) => daemon.usage(name).await,
            None => anyhow::bail!("the daemon has just stopped"),
        }
    }

    async fn stored(&self, name: &str, rotated: Option<Timestamp>) -> anyhow::Result<SecretUsage> {
        Ok(self.at_rest().await?.usage(name, rotated))
    }

    async fn at_rest(&self) -> anyhow::Result<UsageReaders> {
        let store = Sqlite::open_read_only(&self.store).await?;
        let mut nodes = BTreeMap::new();
        for node in &self.nodes {
            let state = store.load_audit(node).await?;
            let coverage = state.and_then(|state| serde_json::from_str(state.usage_json.as_deref()?).ok());
            nodes.insert(node.clone(), coverage);
        }
        Ok(UsageReaders::at_rest(nodes))
    }
}

/// The readers as lines under a secret's other lines.
pub fn lines(usage: &SecretUsage) -> String {
    let mut lines = vec![String::new(), "Who reads it, as the audit logs show:".to_owned()];
    if usage.readers.is_empty() {
        lines.push("  nobody was seen; see below how far that reaches".to_owned());
    } else {
        let knows = |knows: &str| match knows {
            "old" => "the value before the last rotation, or an older one",
            "new" => "the present value",
            _ => "the only value there was",
        };
        let rows: Vec<Vec<String>> = usage
            .readers
            .iter()
            .map(|r| vec![r.name.clone(), r.address.clone(), whole_seconds(r.last_read), r.reads.to_string(), knows(&r.knows).to_owned()])
            .collect();
        let table = output::table(&["WHO", "FROM", "LAST READ", "READS", "KNOWS"], &rows);
        lines.extend(table.lines().map(|line| format!("  {line}")));
    }
    lines.extend(usage.coverage.iter().map(|(node, says)| format!("  {node}: {says}")));
    if usage.coverage.is_empty() {
        lines.push("  unknown: no audit log is followed".to_owned());
    }
    lines.join("\n")
}
