use crate::{anonymous, plain, root};
use jiff::Timestamp;
use keyward_harness::{VaultOptions, VaultServer, foreign_ca, servers};
use keyward_secret::{Fields, Secret};
use keyward_vault::{Client, Kind, NodeState, Options};
use std::net::TcpListener;

#[tokio::test]
async fn an_active_node_tells_its_version_its_clock_and_its_certificate() {
    let client = anonymous(servers().vault());
    let health = client.health(&servers().vault().address).await;
    assert_eq!(health.state, NodeState::Active);
    assert!(health.version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())));
    let skew = health.server_time.unwrap().duration_until(Timestamp::now()).as_secs();
    assert!((-2..=15).contains(&skew), "{skew}");
    assert!(health.certificate.is_some_and(|der| der.first() == Some(&0x30)));
    assert!(health.cluster_name.is_some());
}

#[tokio::test]
async fn a_sealed_vault_says_so_on_every_call_and_recovers() {
    let server = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let client = anonymous(&server);
    client.set_token(&Secret::new(server.root_token.clone())).unwrap();
    let mount = server.kv_mount();
    server.seal().unwrap();
    assert_eq!(client.health(&server.address).await.state, NodeState::Sealed);
    let sealed = client.kv_read(&mount, "a").await.unwrap_err();
    assert_eq!((sealed.kind, sealed.retry(), sealed.outcome_unknown()), (Kind::Sealed, true, false));
    assert_eq!(client.kv_write(&mount, "a", 0, &Fields::new()).await.unwrap_err().kind, Kind::Sealed);
    assert_eq!(client.lookup_self().await.unwrap_err().kind, Kind::Sealed);
    server.unseal().unwrap();
    assert_eq!(client.health(&server.address).await.state, NodeState::Active);
    assert_eq!(client.kv_read(&mount, "a").await.unwrap().version, 0);
}

#[tokio::test]
async fn a_server_that_was_never_initialised_says_so() {
    let server = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let client = anonymous(&server);
    assert_eq!(client.health(&server.address).await.state, NodeState::Uninitialised);
    client.set_token(&Secret::new("hvs.any")).unwrap();
    // It answers as a sealed one does; only its health tells the difference.
    assert!(matches!(client.kv_read("secret", "a").await.unwrap_err().kind, Kind::Sealed | Kind::Uninitialised));
}

#[tokio::test]
async fn nobody_there_is_unreachable_and_nothing_was_sent() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // closed again at once
    let client = plain(&format!("http://127.0.0.1:{port}"));
    let NodeState::Unreachable { why, kind } = client.health(client.address()).await.state else { panic!() };
    assert_eq!(kind, Kind::Unreachable);
    assert!(why.contains("refused"), "{why}");
    let error = client.kv_write("secret", "a", 0, &Fields::new()).await.unwrap_err();
    assert_eq!((error.kind, error.retry(), error.outcome_unknown()), (Kind::Unreachable, true, false));
}

#[tokio::test]
async fn only_the_given_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = std::fs::read(foreign_ca(folder.path()).unwrap()).unwrap();
    let address = servers().vault().address.clone();
    // Another authority, and the system's own, which never signed this certificate.
    for ca_pem in [Some(foreign), None] {
        let client = Client::new(&Options { address: address.clone(), ca_pem, ..Options::default() }).unwrap();
        client.set_token(&Secret::new(crate::TOKEN)).unwrap();
        let error = client.lookup_self().await.unwrap_err();
        assert_eq!((error.kind, error.retry(), error.outcome_unknown()), (Kind::Tls, false, false), "{error}");
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        let NodeState::Unreachable { kind, .. } = client.health(&address).await.state else { panic!() };
        assert_eq!(kind, Kind::Tls);
    }
    let careless = Options { address: address.clone(), insecure_skip_verify: true, ..Options::default() };
    assert_eq!(Client::new(&careless).unwrap().health(&address).await.state, NodeState::Active);
}

#[tokio::test]
async fn speaking_plain_to_a_tls_port_is_a_tls_failure() {
    let plain_address = servers().vault().address.replace("https", "http");
    let client = plain(&plain_address);
    assert_eq!(client.lookup_self().await.unwrap_err().kind, Kind::Tls);
    let NodeState::Unreachable { kind, .. } = client.health(&plain_address).await.state else { panic!() };
    assert_eq!(kind, Kind::Tls);
}

#[tokio::test]
async fn a_node_beyond_loopback_is_not_asked_in_clear() {
    let NodeState::Unreachable { kind, why } = root().health("http://vault.example.com:8200").await.state else { panic!() };
    assert_eq!(kind, Kind::Invalid);
    assert!(why.contains("https"), "{why}");
}
