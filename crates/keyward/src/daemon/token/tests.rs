#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::alerts::Command;
use crate::daemon::world::{World, until, vault_section};
use keyward_harness::{VaultServer, servers, unique};
use serde_json::json;

const OWN: &str = r#"path "auth/token/*" { capabilities = ["read", "update"] }"#;

fn put(world: &World, file: &str, text: &str) {
    std::fs::write(world.folder.path().join(file), text).unwrap();
}

fn renewals(world: &World, result: &str) -> f64 {
    world.shared.metrics.series(&f::TOKEN_RENEWALS, &[result]).get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_periodic_token_is_renewed_in_time_again_and_again() {
    let server = servers().vault();
    let mut world = World::new(&vault_section(server)).await;
    world.shared.board.update(|status| status.waiting_for = vec![LOGGED_IN.to_owned()]);
    put(&world, "token", &server.token(OWN, json!({ "period": "6s" })));
    let began = Instant::now();
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Resolve { .. } = world.said_of(words::TOKEN).await else { panic!() };
    assert!(world.shared.board.is_ready());
    // Two renewals at two thirds each lead beyond the first period: it lives only because it was renewed.
    until("two renewals", async || (renewals(&world, "ok") >= 2.0).then_some(())).await;
    assert!(began.elapsed() >= Duration::from_secs(7), "not before two thirds: {:?}", began.elapsed());
    assert!(world.shared.live().vault.client().lookup_self().await.is_ok());
    assert!(renewals(&world, "failed") < 1.0);
    let token = world.shared.board.status().token;
    assert!(token.state == "ok" && token.expires.is_some(), "{token:?}");
    assert!(world.shared.metrics.series(&f::TOKEN_TTL, &[]).get() > 0.0);
}

/// The rotator's own token had expired, and nobody knew for weeks, until pods were restarted (open-bank-oss#826).
#[tokio::test(flavor = "multi_thread")]
async fn failure_11_a_token_that_cannot_be_renewed_is_told_before_it_dies_and_another_one_is_found() {
    let server = servers().vault();
    let mut world = World::new(&vault_section(server)).await;
    put(&world, "token", &server.token(OWN, json!({ "ttl": "12s", "renewable": false })));
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Resolve { .. } = world.said_of(words::TOKEN).await else { panic!() };
    let Command::Raise(alert) = world.said_of(words::TOKEN).await else { panic!() };
    assert_eq!(alert.severity.label(), "critical");
    assert!(alert.account.now.contains("works until"), "{:?}", alert.account);
    assert!(world.shared.live().vault.client().lookup_self().await.is_ok(), "told while it still lives");
    put(&world, "token", &server.token(OWN, json!({ "period": "1h" })));
    loop {
        if let Command::Resolve { .. } = world.said_of(words::TOKEN).await {
            break;
        }
    }
    let ttl = || world.shared.metrics.series(&f::TOKEN_TTL, &[]).get();
    until("the metric to follow", async || (ttl() > 3000.0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_token_works_and_is_told() {
    let server = servers().vault();
    let mut world = World::new(&vault_section(server)).await;
    put(&world, "token", &server.root_token);
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Raise(alert) = world.said_of(words::ROOT_TOKEN).await else { panic!() };
    assert_eq!(alert.severity.label(), "warning");
    until("the endless life", async || world.shared.metrics.series(&f::TOKEN_TTL, &[]).get().is_infinite().then_some(())).await;
    assert!(world.shared.metrics.page().contains("keyward_vault_token_ttl_seconds "));
    assert_eq!(world.shared.board.status().token.expires, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_told_and_left_alone_until_the_configuration_is_read_again() {
    let server = servers().vault();
    let (mount, role_id) = approle(server);
    let section = approle_section(server, &mount);
    let mut world = World::new(&section).await;
    put(&world, "role", &role_id);
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Raise(alert) = world.said_of(words::TOKEN).await else { panic!() };
    assert!(alert.account.happened.contains("secret"), "no file yet: {}", alert.account.happened);
    let wrong = "11111111-2222-3333-4444-555555555555";
    put(&world, "secret", wrong);
    let refused = loop {
        let Command::Raise(alert) = world.said_of(words::TOKEN).await else { panic!() };
        if alert.account.happened.contains("secret id is wrong") {
            break alert;
        }
    };
    assert!(!format!("{refused:?}").contains(wrong));
    assert!(refused.account.next.contains("locks"), "{:?}", refused.account);

    put(&world, "secret", &secret_id(server, &mount));
    world.replace(&section);
    let Command::Resolve { .. } = world.said_of(words::TOKEN).await else { panic!("no third try before the reload") };
    assert!(world.shared.live().vault.client().has_token());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_is_tried_again_when_a_sealed_or_empty_vault_opens() {
    let server = servers().vault();
    let (mount, role_id) = approle(server);
    let section = approle_section(server, &mount);
    let mut world = World::new(&section).await;
    put(&world, "role", &role_id);
    put(&world, "secret", "11111111-2222-3333-4444-555555555555");
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Raise(_) = world.said_of(words::TOKEN).await else { panic!() };
    let refused = Instant::now();
    put(&world, "secret", &secret_id(server, &mount));
    world.shared.vault_opened.notify_one();
    let Command::Resolve { .. } = world.said_of(words::TOKEN).await else { panic!() };
    assert!(refused.elapsed() < Trouble::Refused.pause(1, true), "it waited as after any refusal");
}

/// The configuration of a login by the AppRole at `mount`.
fn approle_section(server: &VaultServer, mount: &str) -> String {
    format!(
        "[vault]\naddress = \"{}\"\nca_cert = \"{}\"\n\
         auth = {{ approle = {{ mount = \"{mount}\", role_id = {{ file = \"FOLDER/role\" }}, secret_id = {{ file = \"FOLDER/secret\" }} }} }}\n",
        server.address,
        server.ca_pem_path.display()
    )
}

/// A secret id of that role.
fn secret_id(server: &VaultServer, mount: &str) -> String {
    let issued = server.must("POST", &format!("auth/{mount}/role/keyward/secret-id"), Some(json!({}))).unwrap();
    issued["data"]["secret_id"].as_str().unwrap().to_owned()
}

/// An AppRole mount with one role: (mount, role id).
fn approle(server: &VaultServer) -> (String, String) {
    let mount = unique("approle");
    server.must("POST", &format!("sys/auth/{mount}"), Some(json!({ "type": "approle" }))).unwrap();
    let role = json!({ "token_policies": "default", "token_period": "1h" });
    server.must("POST", &format!("auth/{mount}/role/keyward"), Some(role)).unwrap();
    let id = server.must("GET", &format!("auth/{mount}/role/keyward/role-id"), None).unwrap();
    (mount, id["data"]["role_id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn without_a_way_to_log_in_that_is_told() {
    let mut world = World::new("[vault]\naddress = \"http://127.0.0.1:1\"\n").await;
    tokio::spawn(run(Arc::clone(&world.shared)));
    let Command::Raise(alert) = world.said_of(words::TOKEN).await else { panic!() };
    assert!(alert.account.happened.contains("names no `auth`"), "{}", alert.account.happened);
    until("the figure", async || (world.shared.metrics.series(&f::TOKEN_TTL, &[]).get() < 0.0).then_some(())).await;
}
