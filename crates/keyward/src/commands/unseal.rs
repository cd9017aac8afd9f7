//! `unseal`: gives shares to nodes that are sealed. The shares come from standard input alone, and are kept nowhere.

use super::by_hand::Declined;
use super::output::{self, Output};
use super::stop;
use crate::cli::Exit;
use crate::config::{Config, plain_address};
use crate::session;
use anyhow::{Context, Result, bail};
use clap::Args;
use keyward_secret::Secret;
use keyward_vault::{Client, Kind, SealStatus, VaultError};
use serde::Serialize;
use std::io::{BufRead, IsTerminal};
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// No share is longer; what is longer is no share.
const LONGEST_SHARE: usize = 1024;
/// A node that has all its shares has joined its cluster within this time.
const JOINING: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(250);
/// More shares than any key has.
const MOST_SHARES: usize = 255;

/// `unseal`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "\
Shares are asked for without being shown, or read from standard input, one a line, when that is no terminal. They are never
taken from the arguments. Every configured node that is sealed gets them; without [[vault.node]] the address does. A node that
is open stays as it is. People may come one after the other: each gives a share, and the progress is kept by the node.
Ends with 0 if all these nodes are open, 2 if one is still sealed or was removed from its cluster, 3 if one was never
initialised, 69 if one does not answer.

Examples:
  keyward unseal
  keyward unseal --node vault-2 < /dev/shm/my-share")]
pub struct Unseal {
    /// Only this node; may be said more than once
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
}

/// How a node ended.
#[derive(Serialize)]
struct Node {
    #[serde(rename = "node")]
    name: String,
    address: String,
    /// `unchanged`, `unsealed`, `sealed`, `uninitialised`, `removed`, `unreachable`.
    state: &'static str,
    progress: u32,
    threshold: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Unseals what is sealed.
///
/// # Errors
/// An unknown node, or no share to be had.
pub async fn run(config: &Config, wish: Unseal, out: Output) -> Result<Exit> {
    let client = session::client(&config.vault)?;
    let mut nodes = Vec::new();
    for (name, address) in chosen(config, &wish.node)? {
        nodes.push(look(&client, name, address).await);
    }
    let mut shares = Shares::default();
    for node in &mut nodes {
        open(&client, node, &mut shares, out).await?;
    }
    if out == Output::Json {
        output::json(&serde_json::json!({ "nodes": nodes }));
    } else {
        for node in &nodes {
            output::line(&sentence(node));
        }
    }
    Ok(exit(&nodes))
}

fn chosen(config: &Config, names: &[String]) -> Result<Vec<(String, String)>> {
    let all: Vec<(String, String)> = config.vault.nodes.iter().map(|n| (n.name.clone(), plain_address(&n.url))).collect();
    if let Some(unknown) = names.iter().find(|name| !all.iter().any(|(known, _)| known == *name)) {
        let known: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
        bail!(Declined::usage(format!("there is no node \"{unknown}\" in the configuration; there are {}", known.join(", "))));
    }
    if all.is_empty() {
        return Ok(vec![("vault".to_owned(), plain_address(&config.vault.address))]);
    }
    Ok(all.into_iter().filter(|(name, _)| names.is_empty() || names.contains(name)).collect())
}

async fn look(client: &Client, name: String, address: String) -> Node {
    match client.seal_status(&address).await {
        Ok(status) => {
            let state = match &status {
                SealStatus { is_initialised: false, .. } => "uninitialised",
                SealStatus { is_removed: true, .. } => "removed",
                SealStatus { sealed: true, .. } => "sealed",
                _ => "unchanged",
            };
            Node { name, address, state, progress: status.progress, threshold: status.threshold, failure: None }
        }
        Err(error) => Node { name, address, state: "unreachable", progress: 0, threshold: 0, failure: Some(error.to_string()) },
    }
}

/// Gives a node shares until it is open or there are no more.
async fn open(client: &Client, node: &mut Node, shares: &mut Shares, out: Output) -> Result<()> {
    let mut next = 0;
    while node.state == "sealed" {
        let Some(share) = shares.get(next, &node.name)? else { return Ok(()) };
        let (before, given) = (node.progress, client.unseal(&node.address, share).await);
        next += 1;
        match given {
            Ok(status) => {
                let status = if is_joining(before, &status) { joined(client, node, status).await } else { status };
                node.progress = status.progress;
                if !status.sealed {
                    node.state = "unsealed";
                } else if status.progress <= before {
                    node.failure = Some(stuck(before, &status));
                }
                if out == Output::Text {
                    output::note(&progress(node, &status));
                } else {
                    stop::did(progress(node, &status));
                }
            }
            Err(error) => {
                let why = refusal(&error);
                if out == Output::Text {
                    output::note(&format!("{}: {why}", node.name));
                }
                node.failure = Some(why);
                node.progress = client.seal_status(&node.address).await.map_or(0, |status| status.progress);
                // Nobody answers: another share would fare no better.
                if error.retry() {
                    return Ok(());
                }
            }
        }
    }
    if node.state == "unsealed" {
        node.failure = None;
    }
    Ok(())
}

/// A node that joins a cluster takes the last share, answers that it is sealed and has none, and opens once the active node has let it in.
fn is_joining(before: u32, status: &SealStatus) -> bool {
    status.sealed && status.progress == 0 && before.saturating_add(1) >= status.threshold
}

/// How the node is when it has joined, or as it was when that takes too long.
async fn joined(client: &Client, node: &Node, mut status: SealStatus) -> SealStatus {
    let began = Instant::now();
    while status.sealed && status.progress == 0 && began.elapsed() < JOINING {
        tokio::time::sleep(PAUSE).await;
        // It may not answer while it changes its storage.
        if let Ok(next) = client.seal_status(&node.address).await {
            status = next;
        }
    }
    status
}

fn progress(node: &Node, status: &SealStatus) -> String {
    match (status.sealed, status.progress) {
        (false, _) => format!("{}: {} of {} shares: unsealed", node.name, status.threshold, status.threshold),
        (true, progress) => format!("{}: {progress} of {} shares", node.name, status.threshold),
    }
}

fn stuck(before: u32, status: &SealStatus) -> String {
    if status.progress == before {
        "that share was given already".to_owned()
    } else {
        "somebody reset the progress meanwhile; give the shares again".to_owned()
    }
}

fn refusal(error: &VaultError) -> String {
    match error.kind {
        Kind::Invalid => "the node refused the share: it is none, or the shares do not fit together; it begins anew. (After a restore of another Vault's backup it may \
             count shares as its former key had them: restart its process)"
                .to_owned(),
        _ => error.to_string(),
    }
}

fn sentence(node: &Node) -> String {
    let why = node.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match node.state {
        "unchanged" => format!("{}: unchanged (it is not sealed)", node.name),
        "unsealed" => format!("{}: unsealed", node.name),
        "sealed" => format!("{}: still sealed, {} of {} shares given{why}", node.name, node.progress, node.threshold),
        "uninitialised" => format!("{}: never initialised, or has not joined its cluster yet", node.name),
        "removed" => format!("{}: removed from its cluster, and no share opens it; emptied and started again, it joins anew", node.name),
        other => format!("{}: {other}{why}", node.name),
    }
}

fn exit(nodes: &[Node]) -> Exit {
    let has = |state: &str| nodes.iter().any(|node| node.state == state);
    if has("unreachable") {
        Exit::Unavailable
    } else if has("uninitialised") {
        Exit::Uninitialised
    } else if has("sealed") || has("removed") {
        Exit::Sealed
    } else {
        Exit::Ok
    }
}

/// Unseals one node with shares from standard input; its status afterwards.
///
/// # Errors
/// No share to be had, or the node does not answer.
pub async fn from_input(client: &Client, address: &str, name: &str) -> Result<SealStatus> {
    let mut node = look(client, name.to_owned(), address.to_owned()).await;
    open(client, &mut node, &mut Shares::default(), Output::Text).await?;
    Ok(client.seal_status(address).await?)
}

/// The shares given so far; each node begins with the first.
#[derive(Default)]
struct Shares {
    given: Vec<Secret>,
    is_over: bool,
}

impl Shares {
    /// The share at `index`, asked for if nobody has given so many yet; `None` when there are no more.
    fn get(&mut self, index: usize, node: &str) -> Result<Option<&Secret>> {
        while self.given.len() <= index && !self.is_over && self.given.len() < MOST_SHARES {
            match read_share(node)? {
                Some(share) => self.given.push(share),
                None => self.is_over = true,
            }
        }
        Ok(self.given.get(index))
    }
}

/// One share: without echo from a terminal, where an empty one ends it; else the next line that is not empty.
fn read_share(node: &str) -> Result<Option<Secret>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return super::rotate::hidden_or_nothing(&format!("A share for {node} (empty to end): "));
    }
    let mut lock = stdin.lock();
    loop {
        let mut line = Zeroizing::new(String::new());
        if stop::while_reading(|| lock.read_line(&mut line)).context("cannot read shares from standard input")? == 0 {
            return Ok(None);
        }
        let share = line.trim();
        if share.len() > LONGEST_SHARE {
            bail!(Declined::data("a line on standard input is far longer than any share; give one share a line"));
        }
        if !share.is_empty() {
            return Ok(Some(Secret::new(share)));
        }
    }
}
