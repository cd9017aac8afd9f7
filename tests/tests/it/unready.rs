//! `keyward serve` in a world that is not ready: it starts, says what it waits for, tells people, and recovers by itself.

use crate::world::{
    LONG, becomes_ready, edit, edit_all, is_raised, is_resolved, is_unready, log, mail, move_to, run, status, stop, use_token,
};
use keyward_harness::{PostgresServer, Shop, Signal, SmtpServer, VaultOptions, VaultServer, Wishes, foreign_ca, servers, wait_until};
use serde_json::{Value, json};
use std::fs;

/// A shop with a mail server of its own, on the shared Vault and PostgreSQL.
fn shop_with(smtp: &SmtpServer) -> Shop<'_> {
    Shop::open(servers().vault(), servers().postgres(), smtp, &Wishes::default()).unwrap()
}

#[test]
fn a_vault_that_is_away_at_the_start_and_sealed_when_it_returns() {
    let mut vault = VaultServer::start(&VaultOptions::default()).unwrap();
    let smtp = SmtpServer::start().unwrap();
    // The shop looks at a copy, so that the server itself can be killed.
    let seen: VaultServer = serde_json::from_value(serde_json::to_value(&vault).unwrap()).unwrap();
    let shop = Shop::open(&seen, servers().postgres(), &smtp, &Wishes::default()).unwrap();
    vault.kill().unwrap();
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["vault login: the login failed", "no answer from Vault"]);
    assert_eq!(shop.http("/livez").unwrap().0, 200, "it lives nevertheless");
    mail(&smtp, &["Vault does not answer"]);
    assert_eq!(status(&shop)["nodes"]["vault-1"]["state"], "unreachable");
    assert!(log(&shop).contains("The login to Vault failed."), "{}", log(&shop));
    vault.restart().unwrap();
    mail(&smtp, &["Vault is sealed"]);
    is_unready(&shop, &["vault login: the login failed", "sealed"]);
    assert_eq!(status(&shop)["nodes"]["vault-1"]["state"], "sealed");
    let said = run(&shop, &["status"]);
    assert!(said.out.contains("Vault vault-1: sealed") && said.out.contains("Not ready yet; waiting for:"), "{said:?}");
    vault.unseal().unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, "vault-sealed/vault-1");
    mail(&smtp, &["RESOLVED", "it is unsealed"]);
    stop(&daemon);
}

#[test]
fn a_vault_that_was_never_initialised() {
    let mut vault = VaultServer::start(&VaultOptions { initialise: false, audit: false }).unwrap();
    let smtp = SmtpServer::start().unwrap();
    let wishes = Wishes { audit: false, ..Wishes::default() };
    let shop = Shop::open(servers().vault(), servers().postgres(), &smtp, &wishes).unwrap();
    move_to(&shop, &vault);
    use_token(&shop, "hvs.none-yet");
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["vault login", "not initialised"]);
    mail(&smtp, &["Vault is not initialised"]);
    vault.initialise().unwrap();
    fs::write(shop.path("token"), &vault.root_token).unwrap();
    let records = json!({ "type": "kv", "options": { "version": "2" } });
    vault.must("POST", &format!("sys/mounts/{}", shop.records), Some(records)).unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, "vault-uninitialised/vault-1");
    stop(&daemon);
}

/// A token with just what Keyward needs, had by the shop's own AppRole.
fn good_token(shop: &Shop<'_>) -> String {
    let read = |name: &str| fs::read_to_string(shop.path(name)).unwrap();
    let ids = json!({ "role_id": read("role-id"), "secret_id": read("secret-id") });
    let answer = servers().vault().must("POST", &format!("auth/{}/login", read("approle-mount")), Some(ids)).unwrap();
    answer.pointer("/auth/client_token").and_then(Value::as_str).unwrap().to_owned()
}

#[test]
fn a_token_that_vault_refuses() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let token = good_token(&shop);
    servers().vault().must("POST", "auth/token/revoke", Some(json!({ "token": token }))).unwrap();
    use_token(&shop, &token);
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["vault login: the login failed", "permission denied"]);
    is_raised(&shop, "token");
    mail(&smtp, &["there is no token", "systemctl reload keyward"]);
    assert!(status(&shop)["token"]["state"].as_str().unwrap().contains("permission denied"));
    assert!(!log(&shop).contains(&token), "the log shows the token");
    fs::write(shop.path("token"), good_token(&shop)).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, "token");
    stop(&daemon);
}

#[test]
fn a_token_that_may_not_read_the_records() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let policy = "path \"auth/token/lookup-self\" { capabilities = [\"read\"] }";
    use_token(&shop, &servers().vault().token(policy, json!({ "period": "1h" })));
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["vault: reading the record of ", &format!("{}/data/", shop.records), "permission denied"]);
    wait_until("the secret's state", LONG, || (status(&shop)["secrets"]["legacy"]["state"] == "unknown").then_some(()));
    mail(&smtp, &["records cannot be read", "legacy", "keyward check"]);
    fs::write(shop.path("token"), good_token(&shop)).unwrap();
    daemon.signal(Signal::HUP).unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, "records-unreadable");
    stop(&daemon);
}

#[test]
fn a_certificate_that_does_not_verify() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let line = |ca: &std::path::Path| format!("ca_cert = \"{}\"\nrecord_mount", ca.display());
    let (ours, theirs) = (line(&servers().vault().ca_pem_path), line(&foreign_ca(&shop.dir).unwrap()));
    edit(&shop, &ours, &theirs);
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["vault login: the login failed", "TLS failed"]);
    mail(&smtp, &["Vault does not answer", "certificate"]);
    edit(&shop, &theirs, &ours);
    daemon.signal(Signal::HUP).unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, "vault-unreachable/vault-1");
    stop(&daemon);
}

#[test]
fn a_database_that_is_away() {
    let smtp = SmtpServer::start().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let shop = Shop::open(servers().vault(), &postgres, &smtp, &Wishes::default()).unwrap();
    // It is stopped without ceremony, and does not write every commit at once.
    postgres.psql("CHECKPOINT").unwrap();
    postgres.stop().unwrap();
    let daemon = shop.serve().unwrap();
    let name = format!("database {}@{}:{}/{}", shop.admin(), postgres.host, postgres.port, shop.database);
    is_unready(&shop, &[&name]);
    is_raised(&shop, &format!("out-of-reach/{name}"));
    let told = mail(&smtp, &["a database cannot be used", "keyward check"]);
    assert!(told.body.contains("legacy") && told.body.contains("shop-database"), "{}", told.body);
    assert!(log(&shop).contains("cannot be reached"), "{}", log(&shop));
    postgres.restart().unwrap();
    becomes_ready(&shop);
    is_resolved(&shop, &format!("out-of-reach/{name}"));
    stop(&daemon);
}

#[test]
fn a_database_that_does_not_exist() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let (ours, other) = (format!("/{}?", shop.database), format!("/{}_elsewhere?", shop.database));
    edit_all(&shop, &ours, &other);
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["database", "_elsewhere", "does not exist"]);
    mail(&smtp, &["a database cannot be used"]);
    servers().postgres().database(&format!("{}_elsewhere", shop.database)).unwrap();
    becomes_ready(&shop);
    stop(&daemon);
}

#[test]
fn an_audit_log_that_is_not_there() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let log = shop.path("audit.log");
    edit(&shop, &format!("audit_log = \"{}\"", servers().vault().audit_log.display()), &format!("audit_log = \"{}\"", log.display()));
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &[&format!("audit log of vault-1: {} is not there", log.display())]);
    mail(&smtp, &[&log.display().to_string()]);
    assert_eq!(status(&shop)["audit"]["vault-1"]["state"], "cannot be read");
    fs::write(&log, "").unwrap();
    becomes_ready(&shop);
    assert_eq!(status(&shop)["audit"]["vault-1"]["state"], "followed");
    stop(&daemon);
}

#[test]
fn a_mail_server_that_is_away_gets_what_waited_when_it_is_back() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let log = shop.path("audit.log");
    edit(&shop, &format!("audit_log = \"{}\"", servers().vault().audit_log.display()), &format!("audit_log = \"{}\"", log.display()));
    smtp.stop().unwrap();
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["alerts by mail: "]);
    is_raised(&shop, "out-of-reach/alerts by mail");
    is_raised(&shop, "audit-file/vault-1");
    smtp.restart().unwrap();
    mail(&smtp, &[&log.display().to_string()]);
    is_resolved(&shop, "out-of-reach/alerts by mail");
    fs::write(&log, "").unwrap();
    becomes_ready(&shop);
    stop(&daemon);
}

#[test]
fn a_mail_server_that_refuses_gets_what_waited_when_it_no_longer_does() {
    let smtp = SmtpServer::start().unwrap();
    let shop = shop_with(&smtp);
    let log = shop.path("audit.log");
    edit(&shop, &format!("audit_log = \"{}\"", servers().vault().audit_log.display()), &format!("audit_log = \"{}\"", log.display()));
    fs::write(shop.path("smtp-password"), "not the password").unwrap();
    let daemon = shop.serve().unwrap();
    is_unready(&shop, &["alerts by mail: ", "535"]);
    fs::write(shop.path("smtp-password"), &smtp.password).unwrap();
    mail(&smtp, &[&log.display().to_string()]);
    fs::write(&log, "").unwrap();
    becomes_ready(&shop);
    stop(&daemon);
}
