//! Which node is asked, and whether it has snapshots at all.

use super::state::Split;
use crate::cli::Exit;
use crate::commands::borrowed;
use crate::commands::by_hand::Declined;
use crate::config::{Config, Environment, plain_address};
use crate::session;
use anyhow::{Context, Result};
use keyward_vault::{Client, NodeState, SealStatus};

/// The node in charge.
#[derive(Clone, Debug)]
pub struct Server {
    /// `https://host:port`.
    pub address: String,
    /// The cluster's name, where it says one.
    pub cluster: Option<String>,
    /// The shares that open it.
    pub opens_with: Split,
    /// Every node that is configured, by its own address: whatever stands before them leads to none that is sealed.
    pub nodes: Vec<String>,
}

/// A session of whoever asks, and the active node, which has snapshots.
///
/// # Errors
/// There is no login, no active node, or it stores in something else than Raft.
pub async fn open(config: &Config, environment: &Environment) -> Result<(Client, Server)> {
    let client = session::client(&config.vault)?;
    let credentials = session::personal_credentials(&config.vault, environment)?;
    session::log_in(&client, &credentials, environment).await.with_context(|| credentials.cannot_log_in(&client))?;
    borrowed::note(&client, &credentials);
    let (address, cluster) = active(config, &client).await?;
    let status = client.seal_status(&address).await?;
    demand_raft(&address, &status.storage)?;
    let mut nodes: Vec<String> = config.vault.nodes.iter().map(|node| plain_address(&node.url)).collect();
    if nodes.is_empty() {
        nodes.push(address.clone());
    }
    Ok((client, Server { address, cluster, opens_with: split(&status), nodes }))
}

/// Into how many shares a node says that its key is split.
pub fn split(status: &SealStatus) -> Split {
    Split { shares: status.shares, threshold: status.threshold }
}

/// The active node among the configured address and nodes, and the name of its cluster: snapshots are not forwarded.
///
/// # Errors
/// None of them is active; how each is is said.
async fn active(config: &Config, client: &Client) -> Result<(String, Option<String>)> {
    let nodes = config.vault.nodes.iter().map(|n| plain_address(&n.url));
    let mut seen = Vec::new();
    for address in std::iter::once(client.address().to_owned()).chain(nodes) {
        let health = client.health(&address).await;
        match health.state {
            NodeState::Active => return Ok((address, health.cluster_name)),
            NodeState::Unreachable { why, .. } => seen.push(format!("{address}: {why}")),
            other => seen.push(format!("{address} is {}", other.name())),
        }
    }
    seen.dedup();
    let cure = "a sealed one is opened by `keyward unseal`; where a load balancer stands in front, name the nodes as [[vault.node]]";
    Err(Declined { exit: Exit::Unavailable, text: format!("no active node of Vault answers ({}); {cure}", seen.join("; ")) }.into())
}

/// Refuses a server whose storage has no snapshots; one that does not say what it is, is tried.
///
/// # Errors
/// It stores in something else than Raft.
fn demand_raft(address: &str, storage: &str) -> Result<()> {
    if storage.is_empty() || storage == "raft" {
        return Ok(());
    }
    Err(Declined::failed(format!(
        "Vault at {address} stores in \"{storage}\", which has no snapshots: nothing can be taken from it while it runs, checked, or rehearsed. \
         Until it is moved, stop Vault and copy its storage as it stands; `vault operator migrate` moves it to Raft (crates/keyward/docs/backup.md says how)"
    ))
    .into())
}
