#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::alerts::Command;
use crate::daemon::telling;
use crate::daemon::world::{LONG, World, until, vault_section};
use keyward_harness::{SmtpServer, VaultOptions, VaultServer, servers, unique};

/// A sealed node, an unsealed one and a disk, each with a name that no label of another test has.
fn config(server: &VaultServer, rest: &str) -> String {
    let node =
        format!("[[vault.node]]\nname = \"vault-1\"\nurl = \"{}\"\naudit_log = \"{}\"\n", server.address, server.audit_log.display());
    vault_section(server) + &node + rest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_mailed_within_seconds_and_so_is_its_end() {
    let server = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let smtp: &SmtpServer = servers().smtp();
    let to = format!("{}@example.com", unique("oncall"));
    let alert = format!(
        "[alert]\nto = [\"{to}\"]\n[alert.smtp]\nurl = \"smtp+plain://127.0.0.1:{}\"\nfrom = \"keyward@example.com\"\n",
        smtp.plain_port
    );
    let world = World::new(&config(&server, &alert)).await;
    let (_rest_runs, rest_ended) = tokio::sync::oneshot::channel();
    tokio::spawn(telling::run(Arc::clone(&world.shared), world.commands, rest_ended));
    tokio::spawn(run(Arc::clone(&world.shared)));
    let state = |state: &str| world.shared.metrics.series(&f::NODE_STATE, &["vault-1", state]).get();
    until("the active node", async || (state("active") > 0.0).then_some(())).await;

    server.seal().unwrap();
    let sealed = Instant::now();
    let told = |word: &'static str| smtp.wait_for(|m| m.to.contains(&to) && m.subject.contains(word), LONG).unwrap();
    let mail = told("CRITICAL");
    assert!(sealed.elapsed() < Duration::from_secs(15), "{:?}", sealed.elapsed());
    assert!(mail.subject.contains("vault-1: Vault is sealed"), "{}", mail.subject);
    assert!(mail.body.contains("vault operator unseal"), "{}", mail.body);
    assert!(state("sealed") > 0.0 && state("active") < 1.0);
    assert!(world.shared.board.status().alerts.iter().any(|a| a.starts_with("vault-sealed/vault-1")));

    server.unseal().unwrap();
    let mail = told("RESOLVED");
    assert!(mail.body.contains("unsealed"), "{}", mail.body);
    tokio::time::timeout(LONG, world.shared.wake_planner.notified()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_measured_in_every_way_and_one_that_goes_is_told() {
    let server = servers().vault();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // closed again at once
    let gone = format!("[[vault.node]]\nname = \"vault-2\"\nurl = \"https://127.0.0.1:{port}\"\n");
    let mut world = World::new(&config(server, &gone)).await;
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Raise(alert) = world.said_of("vault-unreachable/vault-2").await else { panic!() };
    assert_eq!(alert.severity.label(), "warning", "the other node is active");
    assert!(alert.account.happened.contains("refused"), "{}", alert.account.happened);
    let metrics = &world.shared.metrics;
    let value = |family, node| metrics.registry().snapshot(family).into_iter().find(|(l, _)| l[0] == node).map(|(_, v)| v);
    assert_eq!(value(&f::PROBE_SUCCESS, "vault-1"), Some(1.0));
    assert_eq!(value(&f::PROBE_SUCCESS, "vault-2"), Some(0.0));
    assert!(value(&f::CLOCK_SKEW, "vault-1").unwrap().abs() < 2.0);
    assert!(value(&f::CERTIFICATE_EXPIRY, "vault-1").unwrap() > seconds(Timestamp::now()));
    assert!(value(&f::AUDIT_FREE, "vault-1").is_some_and(|free| (0.0..=1.0).contains(&free)));
    assert_eq!(value(&f::AUDIT_FREE, "vault-2"), None);
    let view = world.shared.board.status().nodes;
    assert_eq!((view["vault-1"].state.as_str(), view["vault-2"].state.as_str()), ("active", "unreachable"));

    // Taken out of the configuration: over, and its series are gone.
    world.replace(&config(server, ""));
    loop {
        if let Command::Resolve { what, .. } = world.said_of("vault-unreachable/vault-2").await {
            assert!(what.contains("watched no more"), "{what}");
            break;
        }
    }
    let metrics = &world.shared.metrics;
    assert!(metrics.registry().snapshot(&f::PROBE_SUCCESS).iter().all(|(labels, _)| labels[0] == "vault-1"));
    assert_eq!(world.shared.board.status().nodes.len(), 1);
}

#[test]
fn without_nodes_the_address_is_watched() {
    let text = "[vault]\naddress = \"https://vault.example.com:8200\"\n";
    let config = crate::config::Config::parse(text, "t", &crate::config::Environment::empty()).unwrap();
    let watched = nodes(&config.vault);
    assert_eq!((watched.len(), watched[0].name.as_str()), (1, ONLY_NODE));
    assert!(watched[0].url.starts_with("https://vault.example.com:8200"));
}
