//! Watches Vault's nodes and the disks of their audit logs: asks each node every few seconds, tells what changed.
//!
//! It never acts on Vault. What a look means is judged in `judge`; here are the looks themselves.

mod certificate;
mod disk;
mod judge;
mod words;

pub use certificate::Validity;
pub use disk::free as free_disk;
pub use judge::{Condition, NO_ACTIVE};

use super::board::NodeView;
use super::shared::{Live, Shared};
use crate::config::VaultConfig;
use crate::metrics::families as f;
use jiff::{SignedDuration, Timestamp};
use judge::{Memory, Place, Say, Seen};
use keyward_vault::{Client, Health, Kind, NodeState};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often each node is asked.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long one look may take: less than the interval, so that looks do not pile up.
const LIMIT: Duration = Duration::from_secs(4);
/// How often the disks are measured, in looks.
const DISK_EVERY: u64 = 6;
/// The name of the node where the configuration names none: the address itself.
pub const ONLY_NODE: &str = "vault";

/// The values of the label `state` of `keyward_vault_node_state`.
pub const STATES: [&str; 8] =
    ["active", "standby", "performance_standby", "dr_secondary", "sealed", "uninitialised", "removed", "unreachable"];

/// A watched node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    name: String,
    url: String,
    audit_log: Option<PathBuf>,
}

/// What is watched: the configured nodes, else the address as one.
fn nodes(config: &VaultConfig) -> Vec<Node> {
    if config.nodes.is_empty() {
        return vec![Node { name: ONLY_NODE.to_owned(), url: config.address.to_string(), audit_log: None }];
    }
    config.nodes.iter().map(|n| Node { name: n.name.clone(), url: n.url.to_string(), audit_log: n.audit_log.clone() }).collect()
}

/// The names of the nodes that are watched under this configuration.
pub fn node_names(config: &VaultConfig) -> BTreeSet<String> {
    nodes(config).into_iter().map(|node| node.name).collect()
}

/// The task. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    let mut watch = Watch {
        shared: Arc::clone(&shared),
        memory: Memory::default(),
        began: Instant::now(),
        nodes: BTreeMap::new(),
        looks: JoinSet::new(),
        measuring: BTreeSet::new(),
    };
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut count = 0_u64;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                watch.send_out(count.is_multiple_of(DISK_EVERY));
                count += 1;
            }
            Some(look) = watch.looks.join_next(), if !watch.looks.is_empty() => match look {
                Ok(look) => watch.take_in(look),
                Err(error) => tracing::error!(%error, "A look at Vault ended abnormally."),
            },
            () = shared.stopped() => return,
        }
    }
}

/// What came back.
enum Look {
    Health(Node, Health),
    Disk(Node, PathBuf, std::io::Result<f64>),
}

struct Watch {
    shared: Arc<Shared>,
    memory: Memory,
    began: Instant,
    nodes: BTreeMap<String, Node>,
    looks: JoinSet<Look>,
    /// The audit logs whose disk is being measured.
    measuring: BTreeSet<PathBuf>,
}

impl Watch {
    /// Starts a look at every node, all at once.
    fn send_out(&mut self, disks: bool) {
        let live = self.shared.live();
        self.follow(&live);
        for node in self.nodes.values() {
            let (client, asked) = (live.vault.client().clone(), node.clone());
            self.looks.spawn(async move {
                let health = ask(&client, &asked.url).await;
                Look::Health(asked, health)
            });
        }
        if disks {
            self.measure_disks();
        }
    }

    /// Measures each disk. One that does not answer (a network disk that is gone) holds a thread, so it is not asked a second time meanwhile.
    fn measure_disks(&mut self) {
        for node in self.nodes.values() {
            let Some(log) = node.audit_log.clone() else { continue };
            if self.measuring.insert(log.clone()) {
                let node = node.clone();
                self.looks.spawn_blocking(move || {
                    let measured = disk::free(&log);
                    Look::Disk(node, log, measured)
                });
            }
        }
    }

    /// Takes over the nodes of the configuration in force.
    fn follow(&mut self, live: &Live) {
        let nodes: BTreeMap<String, Node> = nodes(&live.config.vault).into_iter().map(|n| (n.name.clone(), n)).collect();
        if nodes == self.nodes {
            return;
        }
        let names: BTreeSet<&str> = nodes.keys().map(String::as_str).collect();
        let over = self.memory.keep_only(&names);
        let metrics = &self.shared.metrics;
        for family in [
            &f::NODE_STATE,
            &f::PROBE_SUCCESS,
            &f::PROBE_TIMESTAMP,
            &f::PROBE_DURATION,
            &f::CLOCK_SKEW,
            &f::CERTIFICATE_EXPIRY,
            &f::AUDIT_FREE,
        ] {
            metrics.registry().retain(family, "node", |node| names.contains(node));
        }
        for name in &names {
            for state in STATES {
                metrics.series(&f::NODE_STATE, &[name, state]);
            }
            for family in [&f::PROBE_SUCCESS, &f::PROBE_TIMESTAMP, &f::PROBE_DURATION, &f::CLOCK_SKEW] {
                metrics.series(family, &[name]);
            }
        }
        self.shared.board.update(|status| status.nodes.retain(|name, _| names.contains(name.as_str())));
        self.nodes = nodes;
        // Last, so that whoever hears of it finds everything else done.
        self.tell(over);
    }

    fn take_in(&mut self, look: Look) {
        if let Look::Disk(_, log, _) = &look {
            self.measuring.remove(log);
        }
        // An answer about a node that was taken out of the configuration meanwhile says nothing any more.
        match look {
            Look::Health(node, health) if self.nodes.get(&node.name) == Some(&node) => self.take_health(&node, &health),
            Look::Disk(node, log, measured) if self.nodes.get(&node.name) == Some(&node) => self.take_disk(&node, &log, measured),
            _ => {}
        }
    }

    fn take_health(&mut self, node: &Node, health: &Health) {
        let now = Timestamp::now();
        let seen = Seen {
            state: health.state.clone(),
            skew: skew(health, now),
            certificate: health.certificate.as_deref().and_then(Validity::of),
        };
        self.show(node, health, &seen, now);
        let place = Place { name: &node.name, url: &node.url };
        let whole_cluster = !self.shared.live().config.vault.nodes.is_empty();
        let verdict = self.memory.judge(place, &seen, whole_cluster, now, self.began.elapsed());
        self.tell(verdict.say);
        if verdict.wake {
            tracing::info!(node = node.name, "Vault is active again.");
            self.shared.wake_planner.notify_one();
        }
        if verdict.opened {
            self.shared.vault_opened.notify_one();
        }
    }

    fn show(&self, node: &Node, health: &Health, seen: &Seen, now: Timestamp) {
        let (name, metrics) = (node.name.as_str(), &self.shared.metrics);
        let answered = !matches!(seen.state, NodeState::Unreachable { .. });
        metrics.one_of(&f::NODE_STATE, &[name], &STATES, seen.state.name());
        metrics.set(&f::PROBE_SUCCESS, &[name], f64::from(u8::from(answered)));
        metrics.set(&f::PROBE_TIMESTAMP, &[name], seconds(now));
        metrics.set(&f::PROBE_DURATION, &[name], health.took.as_secs_f64());
        if let Some(skew) = seen.skew {
            metrics.set(&f::CLOCK_SKEW, &[name], skew);
        }
        if let Some(validity) = seen.certificate {
            metrics.set(&f::CERTIFICATE_EXPIRY, &[name], seconds(validity.until));
        }
        let detail = match &seen.state {
            NodeState::Unreachable { why, .. } => why.clone(),
            _ => health.version.clone().unwrap_or_default(),
        };
        let view = NodeView { state: seen.state.name().to_owned(), detail, at: now, clock_skew_seconds: seen.skew };
        self.shared.board.update(|status| {
            status.nodes.insert(node.name.clone(), view);
        });
    }

    fn take_disk(&mut self, node: &Node, log: &std::path::Path, measured: std::io::Result<f64>) {
        match measured {
            Ok(free) => {
                self.shared.metrics.set(&f::AUDIT_FREE, &[&node.name], free);
                let place = Place { name: &node.name, url: &node.url };
                let say = self.memory.judge_disk(place, &log.display().to_string(), free, Timestamp::now());
                self.tell(say);
            }
            Err(error) => tracing::warn!(node = node.name, log = %log.display(), %error, "The disk with the audit log cannot be measured."),
        }
    }

    fn tell(&self, say: impl IntoIterator<Item = Say>) {
        for say in say {
            match say {
                Say::Raise(alert) => self.shared.alerts.raise(*alert),
                Say::Resolve { key, what } => self.shared.alerts.resolve(key, what),
            }
        }
    }
}

async fn ask(client: &Client, url: &str) -> Health {
    let started = Instant::now();
    match tokio::time::timeout(LIMIT, client.health(url)).await {
        Ok(health) => health,
        Err(_) => Health {
            state: NodeState::Unreachable { why: format!("no answer within {} s", LIMIT.as_secs()), kind: Kind::Timeout },
            version: None,
            server_time: None,
            cluster_name: None,
            took: started.elapsed(),
            certificate: None,
        },
    }
}

/// Our clock minus the node's at the middle of the look. The node tells whole seconds, so on average it is half a second further.
fn skew(health: &Health, now: Timestamp) -> Option<f64> {
    let middle = SignedDuration::try_from(health.took / 2).ok()?;
    let ours = now.checked_sub(middle).ok()?;
    Some(ours.duration_since(health.server_time?).as_secs_f64() - 0.5)
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
fn seconds(at: Timestamp) -> f64 {
    at.as_second() as f64
}

#[cfg(test)]
mod tests;
