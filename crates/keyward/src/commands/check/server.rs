//! The server and its nodes: reachable, unsealed, initialised, trusted. It needs no token and leaves nothing in the audit log.

use super::report::Finding;
use crate::cli::Exit;
use crate::config::VaultConfig;
use jiff::Timestamp;
use keyward_vault::{Client, Health, Kind, NodeState};
use tokio::task::JoinSet;

/// A difference between two clocks that makes expiry times and audit lines misleading, in seconds.
const SKEW: u64 = 30;

/// What was found, and whether calls to the address can be answered.
pub struct Seen {
    /// About the address, then about each node.
    pub findings: Vec<Finding>,
    /// Whether the rest can be asked.
    pub is_usable: bool,
}

/// Asks the address and every configured node, all at once.
pub async fn look(client: &Client, config: &VaultConfig) -> Seen {
    let mut asking = JoinSet::new();
    let address = ("the address".to_owned(), client.address().to_owned());
    let nodes = config.nodes.iter().map(|n| (n.name.clone(), n.url.to_string().trim_end_matches('/').to_owned()));
    for (i, (name, url)) in std::iter::once(address).chain(nodes).enumerate() {
        let client = client.clone();
        asking.spawn(async move { (i, name, client.health(&url).await, url) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(i, ..)| *i);
    let is_usable = answers
        .first()
        .is_some_and(|(_, _, health, _)| matches!(health.state, NodeState::Active | NodeState::Standby | NodeState::PerformanceStandby));
    let now = Timestamp::now();
    let findings = answers.iter().flat_map(|(_, name, health, url)| judge(name, url, health, config, now)).collect();
    Seen { findings, is_usable }
}

/// What a node's answer means.
fn judge(name: &str, url: &str, health: &Health, config: &VaultConfig, now: Timestamp) -> Vec<Finding> {
    let version = health.version.as_deref().map_or_else(String::new, |v| format!(", version {v}"));
    let state = match &health.state {
        NodeState::Active => Finding::well(format!("{name} {url} is active{version}")),
        NodeState::Standby | NodeState::PerformanceStandby => Finding::well(format!("{name} {url} is a standby{version}")),
        NodeState::DrSecondary => Finding::wrong(format!("{name} {url} belongs to a disaster-recovery secondary, which serves nobody"))
            .cure("name the primary cluster")
            .means(Exit::Unavailable),
        NodeState::Sealed => Finding::wrong(format!("{name} {url} is sealed{version}"))
            .cure(format!("unseal it: vault operator unseal -address={url}"))
            .means(Exit::Unavailable),
        NodeState::Uninitialised => Finding::wrong(format!("{name} {url} was never initialised{version}"))
            .cure(format!("initialise it: vault operator init -address={url}"))
            .means(Exit::Unavailable),
        NodeState::Unreachable { why, kind: Kind::Tls } => {
            Finding::wrong(format!("{name} {url} cannot be trusted: {why}")).cure(tls_cure(config)).means(Exit::Unavailable)
        }
        NodeState::Unreachable { why, .. } => Finding::wrong(format!("{name} {url} cannot be reached: {why}"))
            .cure("see that the server runs, and that nothing between here and there refuses the connection")
            .means(Exit::Unavailable),
    };
    let skew = health.server_time.map(|theirs| theirs.duration_since(now).unsigned_abs().saturating_sub(health.took));
    let late = skew.filter(|skew| skew.as_secs() > SKEW).map(|skew| {
        Finding::warning(format!("the clock of {name} differs from this machine's by {} s", skew.as_secs())).cure("set both by NTP")
    });
    std::iter::once(state).chain(late).collect()
}

fn tls_cure(config: &VaultConfig) -> String {
    match &config.ca_cert {
        Some(path) => format!(
            "see that {} holds the authority that signed the server's certificate, and that the certificate names this host",
            path.display()
        ),
        None => "name the authority that signed the server's certificate: ca_cert in [vault]".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::check::report::Mark;
    use crate::config::{Config, Environment};
    use std::time::Duration;

    fn check(state: NodeState, server_time: Option<Timestamp>) -> Vec<(Mark, Exit)> {
        let text = "[vault]\naddress = \"https://v:8200\"\n";
        let config = Config::parse(text, "k.toml", &Environment::empty()).unwrap_or_else(|e| panic!("{e}"));
        let health = Health { state, version: None, server_time, cluster_name: None, took: Duration::ZERO, certificate: None };
        let findings = judge("n", "https://v:8200", &health, &config.vault, Timestamp::UNIX_EPOCH);
        findings.into_iter().map(|f| (f.mark, f.exit)).collect()
    }

    #[test]
    fn what_cannot_serve_is_unavailable() {
        let unreachable = |kind| NodeState::Unreachable { why: "x".into(), kind };
        for state in
            [NodeState::Sealed, NodeState::Uninitialised, NodeState::DrSecondary, unreachable(Kind::Tls), unreachable(Kind::Timeout)]
        {
            assert_eq!(check(state.clone(), None), [(Mark::Wrong, Exit::Unavailable)], "{state:?}");
        }
        assert_eq!(check(NodeState::Standby, None), [(Mark::Well, Exit::Failed)]);
    }

    #[test]
    fn a_clock_that_is_off_is_said() {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        assert_eq!(check(NodeState::Active, at(20)).len(), 1);
        assert_eq!(check(NodeState::Active, at(-90)), [(Mark::Well, Exit::Failed), (Mark::Warning, Exit::Failed)]);
    }
}
