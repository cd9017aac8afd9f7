//! The server and its nodes: reachable, unsealed, initialised, trusted. It needs no token and leaves nothing in the audit log.

use super::report::Finding;
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::config::{VaultConfig, plain_address};
use crate::daemon::watch::Validity;
use jiff::Timestamp;
use keyward_vault::{Client, Health, Kind, NodeState};
use std::time::Duration;
use tokio::task::JoinSet;

/// A difference between two clocks that makes expiry times and audit lines misleading, in seconds.
const SKEW: u64 = 30;
/// How the address itself is called, beside the nodes.
const ADDRESS: &str = "the address";
/// How long the resolver may take.
const RESOLVING: Duration = Duration::from_secs(5);

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
    let address = (ADDRESS.to_owned(), client.address().to_owned());
    let nodes = config.nodes.iter().map(|n| (n.name.clone(), plain_address(&n.url)));
    for (i, (name, url)) in std::iter::once(address).chain(nodes).enumerate() {
        let client = client.clone();
        asking.spawn(async move {
            let health = client.health(&url).await;
            let has_name = !matches!(health.state, NodeState::Unreachable { .. }) || resolves(&url).await;
            (i, name, health, url, has_name)
        });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by_key(|(i, ..)| *i);
    let is_usable = answers
        .first()
        .is_some_and(|(_, _, health, ..)| matches!(health.state, NodeState::Active | NodeState::Standby | NodeState::PerformanceStandby));
    let now = Timestamp::now();
    let findings = answers.iter().flat_map(|(_, name, health, url, has_name)| judge(name, url, health, *has_name, config, now)).collect();
    Seen { findings, is_usable }
}

/// Whether the host of a URL has an address, as seen from this machine. What is no URL is somebody else's to say.
pub async fn resolves(url: &str) -> bool {
    let Some((host, port)) = url::Url::parse(url).ok().and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)))
    else {
        return true;
    };
    let host = host.trim_matches(['[', ']']).to_owned();
    let found = tokio::time::timeout(RESOLVING, tokio::net::lookup_host((host, port))).await;
    found.is_ok_and(|addresses| addresses.is_ok_and(|mut addresses| addresses.next().is_some()))
}

/// What a node's answer means.
fn judge(name: &str, url: &str, health: &Health, has_name: bool, config: &VaultConfig, now: Timestamp) -> Vec<Finding> {
    let version = health.version.as_deref().map_or_else(String::new, |v| format!(", version {v}"));
    let state = match &health.state {
        NodeState::Active => Finding::well(format!("{name} {url} is active{version}")),
        NodeState::Standby if name == ADDRESS => {
            Finding::warning(format!("{name} {url} leads to a standby{version}: what it does not forward, such as snapshots, fails"))
                .is(Trouble::VaultStandby)
                .cure(Trouble::VaultStandby.cure())
        }
        NodeState::Standby | NodeState::PerformanceStandby => Finding::well(format!("{name} {url} is a standby{version}")),
        NodeState::DrSecondary => Finding::wrong(format!("{name} {url} belongs to a disaster-recovery secondary, which serves nobody"))
            .is(Trouble::VaultSecondary)
            .cure("name the primary cluster")
            .means(Exit::Unavailable),
        NodeState::Sealed => Finding::wrong(format!("{name} {url} is sealed{version}"))
            .is(Trouble::VaultSealed)
            .cure(format!("unseal it: keyward unseal, or vault operator unseal -address={url}"))
            .means(Exit::Unavailable),
        NodeState::Uninitialised => Finding::wrong(format!("{name} {url} was never initialised{version}"))
            .is(Trouble::VaultUninitialised)
            .cure("if it should hold data, see which storage it was started with, and initialise nothing; if it is new: keyward init")
            .means(Exit::Unavailable),
        NodeState::Removed => Finding::wrong(format!("{name} {url} was removed from its cluster{version}"))
            .is(Trouble::VaultRemoved)
            .cure(Trouble::VaultRemoved.cure())
            .means(Exit::Unavailable),
        NodeState::Unreachable { .. } if !has_name => {
            Finding::wrong(format!("{name} {url} has a host without an entry in DNS or /etc/hosts here"))
                .is(Trouble::VaultNameUnresolved)
                .means(Exit::Unavailable)
        }
        NodeState::Unreachable { why, kind: Kind::Tls } => untrusted(name, url, why, config),
        NodeState::Unreachable { why, .. } => Finding::wrong(format!("{name} {url} cannot be reached: {why}"))
            .is(Trouble::VaultUnreachable)
            .cure("see that the server runs, and that nothing between here and there refuses the connection")
            .means(Exit::Unavailable),
    };
    let skew = health.server_time.map(|theirs| theirs.duration_since(now).unsigned_abs().saturating_sub(health.took));
    let late = skew.filter(|skew| skew.as_secs() > SKEW).map(|skew| {
        Finding::warning(format!("the clock of {name} differs from this machine's by {} s", skew.as_secs()))
            .is(Trouble::ClockSkew)
            .cure("set both by NTP")
    });
    let ending = health.certificate.as_deref().and_then(Validity::of).filter(|validity| validity.alarm(now).is_some()).map(|validity| {
        Finding::warning(format!("the certificate of {name} ends at {}: {}", validity.until, validity.left_words(now)))
            .is(Trouble::VaultCertificateEnding)
    });
    std::iter::once(state).chain(late).chain(ending).collect()
}

/// Which of the ways in which TLS fails it is, by the TLS library's own words.
fn untrusted(name: &str, url: &str, why: &str, config: &VaultConfig) -> Finding {
    let finding = Finding::wrong(format!("{name} {url} cannot be trusted: {why}")).means(Exit::Unavailable);
    if url.starts_with("http://") || why.contains("InvalidContentType") || why.contains("without Vault's health") {
        finding.is(Trouble::VaultTlsPlain).cure(Trouble::VaultTlsPlain.cure())
    } else if why.contains("not valid for") {
        finding.is(Trouble::VaultTlsName).cure(Trouble::VaultTlsName.cure())
    } else if why.to_lowercase().contains("expired") {
        finding.is(Trouble::VaultTlsExpired).cure(Trouble::VaultTlsExpired.cure())
    } else {
        finding.is(Trouble::VaultTlsUntrusted).cure(tls_cure(config))
    }
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
        check_as("n", state, server_time)
    }

    fn check_as(name: &str, state: NodeState, server_time: Option<Timestamp>) -> Vec<(Mark, Exit)> {
        let text = "[vault]\naddress = \"https://v:8200\"\n";
        let config = Config::parse(text, "k.toml", &Environment::empty()).unwrap_or_else(|e| panic!("{e}"));
        let health = Health { state, version: None, server_time, cluster_name: None, took: Duration::ZERO, certificate: None };
        let findings = judge(name, "https://v:8200", &health, true, &config.vault, Timestamp::UNIX_EPOCH);
        findings.into_iter().map(|f| (f.mark, f.exit)).collect()
    }

    #[test]
    fn what_cannot_serve_is_unavailable() {
        let unreachable = |kind| NodeState::Unreachable { why: "x".into(), kind };
        let states = [NodeState::Sealed, NodeState::Uninitialised, NodeState::Removed, NodeState::DrSecondary];
        for state in states.into_iter().chain([unreachable(Kind::Tls), unreachable(Kind::Timeout)]) {
            assert_eq!(check(state.clone(), None), [(Mark::Wrong, Exit::Unavailable)], "{state:?}");
        }
        assert_eq!(check(NodeState::Standby, None), [(Mark::Well, Exit::Failed)]);
        assert_eq!(check_as(ADDRESS, NodeState::Standby, None), [(Mark::Warning, Exit::Failed)]);
    }

    #[test]
    fn a_clock_that_is_off_is_said() {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        assert_eq!(check(NodeState::Active, at(20)).len(), 1);
        assert_eq!(check(NodeState::Active, at(-90)), [(Mark::Well, Exit::Failed), (Mark::Warning, Exit::Failed)]);
    }
}
