//! Servers of one's own can be sealed, killed, stopped and started again, and keep what they had.
#![expect(clippy::unwrap_used, reason = "a test has nobody to hand an error to")]

use std::net::TcpStream;
use std::time::Duration;

use keyward_harness::{PostgresServer, SmtpServer, VaultOptions, VaultServer, servers, wait_until};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn vault_survives_a_seal_a_rotated_audit_file_and_a_kill() {
    let mut vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let mount = vault.kv_mount();
    let secret = format!("{mount}/data/app");
    vault.must("POST", &secret, Some(json!({ "data": { "a": "1" } }))).unwrap();

    vault.seal().unwrap();
    assert_eq!(vault.health().unwrap(), 503);
    vault.unseal().unwrap();

    let rotated = vault.audit_log.with_extension("log.1");
    std::fs::rename(&vault.audit_log, &rotated).unwrap();
    vault.reopen_audit().unwrap();
    let lists = || vault.api("LIST", &format!("{mount}/metadata"), None).unwrap();
    assert_eq!(lists().0, 200);
    let (old, new) = (std::fs::read_to_string(&rotated).unwrap(), std::fs::read_to_string(&vault.audit_log).unwrap());
    assert!(old.contains(&secret) && !old.contains("\"list\""));
    assert!(new.contains("\"list\"") && !new.contains(&secret));

    let before = vault.pid;
    vault.kill().unwrap();
    assert!(vault.health().is_err());
    vault.restart().unwrap();
    assert_ne!(vault.pid, before);
    assert_eq!(vault.health().unwrap(), 503);
    vault.unseal().unwrap();
    let answer = vault.must("GET", &secret, None).unwrap();
    assert_eq!(answer.pointer("/data/data/a"), Some(&Value::from("1")));
}

#[test]
fn a_vault_can_be_had_that_is_not_initialised() {
    let vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    assert_eq!(vault.health().unwrap(), 501);
    assert!(vault.root_token.is_empty() && vault.unseal_keys.is_empty());
}

#[test]
fn what_stands_for_a_development_server_is_reached_from_this_machine_alone_over_tls_by_a_token_that_nobody_knows() {
    let vault = VaultServer::start(&VaultOptions { audit: false, ..VaultOptions::default() }).unwrap();
    let port: u16 = vault.address.rsplit(':').next().unwrap().parse().unwrap();
    assert!(vault.address.starts_with("https://127.0.0.1:"));
    // A server that listened on every address of this machine would answer here, too.
    assert!(TcpStream::connect(("127.0.0.2", port)).is_err() && TcpStream::connect(("127.0.0.1", port)).is_ok());
    let other = &servers().vault().root_token;
    assert!(vault.root_token != *other && vault.root_token.len() > 20, "root tokens are made by chance");
    for known in ["root", "devtoken", "dev-only-token", ""] {
        assert_eq!(vault.api_as(known, "GET", "auth/token/lookup-self", None).unwrap().0, 403, "{known}");
    }
    // Nothing is in memory only.
    assert_eq!(vault.must("GET", "sys/seal-status", None).unwrap()["storage_type"], "raft");
}

#[test]
fn postgres_keeps_its_data_over_a_stop_and_takes_another_way_to_authenticate() {
    let postgres = PostgresServer::start().unwrap();
    let (user, password) = postgres.fresh_role("app");
    let database = postgres.fresh_database();
    postgres.stop().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", postgres.port)).is_err());
    postgres.restart().unwrap();
    assert_eq!(postgres.psql_as(&user, &password, &database, "SELECT 1").unwrap(), "1");
    assert!(postgres.psql_as(&user, "wrong", &database, "SELECT 1").is_err());
    postgres.set_hba("host all all 127.0.0.1/32 trust\n").unwrap();
    wait_until("a login with any password", LIMIT, || postgres.psql_as(&user, "wrong", &database, "SELECT 1").ok());
}

#[test]
fn the_mail_server_comes_back_on_its_ports() {
    let smtp = SmtpServer::start().unwrap();
    smtp.stop().unwrap();
    for port in [smtp.plain_port, smtp.starttls_port, smtp.tls_port] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }
    smtp.restart().unwrap();
    for port in [smtp.plain_port, smtp.starttls_port, smtp.tls_port] {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
    assert!(smtp.messages().is_empty());
}

#[test]
fn a_server_joined_from_another_process_cannot_be_stopped() {
    let described = serde_json::to_string(servers().smtp()).unwrap();
    let joined: SmtpServer = serde_json::from_str(&described).unwrap();
    assert!(joined.stop().unwrap_err().to_string().contains("start one of your own"));
}
