//! Vault and a target disagree: a restored Vault, a restored database, a password changed by hand, a dropped user. Each is done for
//! real, seen by the proof watch, told to people, and mended by `keyward reconcile`.

use crate::doctor::Found;
use keyward_harness::{Message, Shop, SmtpServer, VaultOptions, VaultServer, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(1);

fn shop() -> Shop<'static> {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    shop
}

/// Exit code, standard output and standard error.
fn run(shop: &Shop<'_>, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = shop.run(arguments).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn valid(shop: &Shop<'_>, secret: &str) -> Option<f64> {
    shop.metric(&format!("keyward_credential_valid{{secret=\"{secret}\",class=\"database\"}}"))
}

fn ready(shop: &Shop<'_>) {
    wait_until("readiness", LONG, || shop.http("/readyz").ok().filter(|(status, _)| *status == 200));
}

fn says(mail: &Message, text: &str) -> bool {
    mail.subject.contains(text) || mail.body.contains(text)
}

fn fence(shop: &Shop<'_>, role: &str) -> u64 {
    let sql = format!("SELECT number FROM keyward.role_fence WHERE role = '{role}'");
    shop.postgres.psql_in(&shop.database, &sql).unwrap().trim().parse().unwrap()
}

/// Publishes another password beside what stands there, as a person with `vault kv patch` does.
fn publish_by_hand(shop: &Shop<'_>, path: &str, fields: Value) {
    let mut data = shop.published(path).unwrap();
    for (name, value) in fields.as_object().unwrap() {
        data[name] = value.clone();
    }
    shop.vault.must("POST", &format!("{}/data/{path}", shop.kv), Some(json!({ "data": data }))).unwrap();
}

#[test]
fn a_vault_restored_from_a_snapshot_is_seen_told_and_made_true_again() {
    let (vault, smtp) = (VaultServer::start(&VaultOptions::default()).unwrap(), SmtpServer::start().unwrap());
    let shop = Shop::open(&vault, servers().postgres(), &smtp, &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let _daemon = shop.serve().unwrap();
    ready(&shop);
    for name in ["legacy", "shop-database"] {
        shop.rotate(name).unwrap();
    }
    let snapshot = shop.path("raft.snapshot");
    vault.save_snapshot(&snapshot).unwrap();
    for name in ["legacy", "shop-database", "legacy"] {
        shop.rotate(name).unwrap();
    }
    wait_until("the other user to be retired", Duration::from_secs(90), || {
        shop.record("shop-database").ok().filter(|record| record.get("later").is_none())
    });
    let newer = fence(&shop, &shop.legacy);
    vault.restore_snapshot(&snapshot).unwrap();
    assert!(shop.consume("shop/legacy").is_err() && shop.consume("shop/database").is_err(), "Vault hands out what is old");

    for name in ["legacy", "shop-database"] {
        wait_until("the proof watch", LONG, || valid(&shop, name).filter(|valid| *valid < 1.0));
        wait_until("the record to say so", LONG, || shop.record(name).ok().filter(|record| record["diverged"].is_object()));
        let act = format!("keyward reconcile {name}");
        smtp.wait_for(|mail| says(mail, &act), LONG).unwrap_or_else(|| panic!("no mail says {act}"));
    }
    let (code, said, _) = run(&shop, &["status", "legacy"]);
    assert!(code == Some(1) && said.contains("state:              diverged") && said.contains("keyward reconcile legacy"), "{said}");
    Found::by(&mut shop.command(&["doctor", "--look-in", shop.path("state").to_str().unwrap()])).has(&["value-diverged"]);
    let (code, said, _) = run(&shop, &["rotate", "--class", "database", "--now", "--dry-run"]);
    assert_eq!(code, Some(0), "{said}");

    let (code, said, errors) = run(&shop, &["reconcile"]);
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(said.contains("✗ legacy") && said.contains("time ran backwards") && said.contains("✓ session-signing"), "{said}");
    assert!(shop.consume("shop/legacy").is_err(), "nothing is done without a yes");
    let (code, said, errors) = run(&shop, &["reconcile", "--yes"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    shop.consume("shop/legacy").unwrap();
    shop.consume("shop/database").unwrap();
    assert!(fence(&shop, &shop.legacy) > newer, "a number above the fence");
    let record = shop.record("legacy").unwrap();
    assert!(record["number"].as_u64().unwrap() > newer && record["diverged"].is_null(), "{record}");
    for name in ["legacy", "shop-database"] {
        wait_until("the proof watch to see it work again", LONG, || valid(&shop, name).filter(|valid| *valid >= 1.0));
    }
    for name in ["legacy", "shop-database"] {
        shop.rotate(name).unwrap();
    }
    shop.consume("shop/legacy").unwrap();
    shop.consume("shop/database").unwrap();
    let (code, said, _) = run(&shop, &["reconcile"]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_database_restored_from_before_is_made_to_accept_what_vault_hands_out() {
    let shop = shop();
    let postgres = servers().postgres();
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    // What a backup of the server would hold: the role's verifier and the fence's row.
    let verifier = postgres.psql(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{}'", shop.legacy)).unwrap();
    let older = fence(&shop, &shop.legacy);
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    postgres.psql(&format!("ALTER ROLE \"{}\" PASSWORD '{}'", shop.legacy, verifier.trim())).unwrap();
    let back = format!("UPDATE keyward.role_fence SET number = {older}, phase = 0 WHERE role = '{}'", shop.legacy);
    postgres.psql_in(&shop.database, &back).unwrap();
    assert!(shop.consume("shop/legacy").is_err());
    let published = shop.published("shop/legacy").unwrap();
    let (code, said, errors) = run(&shop, &["reconcile", "legacy", "--yes", "--alone"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    shop.consume("shop/legacy").unwrap();
    assert_eq!(shop.published("shop/legacy").unwrap(), published, "what consumers read was not touched");
    assert!(fence(&shop, &shop.legacy) > older + 2, "above everything that was ever there");
}

#[test]
fn a_password_changed_by_hand_in_the_database_is_seen_within_the_interval_and_put_right() {
    let shop = shop();
    let _daemon = shop.serve().unwrap();
    ready(&shop);
    shop.rotate("legacy").unwrap();
    wait_until("a first proof", LONG, || valid(&shop, "legacy").filter(|valid| *valid >= 1.0));
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" PASSWORD 'by hand'", shop.legacy)).unwrap();
    wait_until("the proof watch", LONG, || valid(&shop, "legacy").filter(|valid| *valid < 1.0));
    let (code, said, errors) = run(&shop, &["reconcile", "legacy", "--yes", "--output", "json"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(json.pointer("/secrets/0/finding/cure"), Some(&json!("apply")), "{json}");
    assert_eq!(json.pointer("/secrets/0/outcome"), Some(&json!("rotated")), "{json}");
    shop.consume("shop/legacy").unwrap();
    wait_until("the proof watch to see it work again", LONG, || valid(&shop, "legacy").filter(|valid| *valid >= 1.0));
}

#[test]
fn a_value_that_somebody_else_put_there_is_adopted_if_it_works_and_reported_if_not() {
    let smtp = SmtpServer::start().unwrap();
    let shop = Shop::open(servers().vault(), servers().postgres(), &smtp, &Wishes::default()).unwrap();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    let _daemon = shop.serve().unwrap();
    ready(&shop);
    shop.rotate("legacy").unwrap();
    let number = shop.record("legacy").unwrap()["number"].as_u64().unwrap();

    // Somebody changes both sides: it works, so it is theirs to keep, and people hear of it.
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" PASSWORD 'set by somebody else'", shop.legacy)).unwrap();
    publish_by_hand(&shop, "shop/legacy", json!({ "password": "set by somebody else" }));
    wait_until("the adoption", LONG, || shop.record("legacy").ok().filter(|r| r.pointer("/published/by") == Some(&json!("somebody-else"))));
    let told = |mail: &Message| says(mail, "somebody else's value was adopted");
    smtp.wait_for(told, LONG).expect("a mail about the adoption");
    assert_eq!(shop.published("shop/legacy").unwrap()["password"], "set by somebody else");
    assert_eq!(shop.record("legacy").unwrap()["number"].as_u64(), Some(number), "nothing was rotated for it");
    let (_, said, _) = run(&shop, &["status", "legacy"]);
    assert!(said.contains("somebody else"), "{said}");

    // Somebody changes only what is published: it is refused, reported, and left.
    publish_by_hand(&shop, "shop/legacy", json!({ "password": "a typing error" }));
    wait_until("the proof watch", LONG, || valid(&shop, "legacy").filter(|valid| *valid < 1.0));
    smtp.wait_for(|mail| says(mail, "keyward reconcile legacy"), LONG).expect("a mail about the refusal");
    assert_eq!(shop.published("shop/legacy").unwrap()["password"], "a typing error", "nobody is overruled");
    let (code, said, errors) = run(&shop, &["reconcile", "legacy", "--yes"]);
    assert!(code == Some(0) && said.contains("somebody else put it there"), "{said}{errors}");
    shop.consume("shop/legacy").unwrap();
    assert_eq!(shop.published("shop/legacy").unwrap()["password"], "a typing error", "the target was made to accept it");

    // A rotation that is asked for replaces somebody else's value, and says that it did.
    servers().postgres().psql(&format!("ALTER ROLE \"{}\" PASSWORD 'once more'", shop.legacy)).unwrap();
    publish_by_hand(&shop, "shop/legacy", json!({ "password": "once more" }));
    shop.rotate("legacy").unwrap();
    let replaced = |mail: &Message| says(mail, "somebody else's value was replaced") || says(mail, "somebody else's value was adopted");
    assert!(smtp.wait_for(replaced, LONG).is_some());
    shop.consume("shop/legacy").unwrap();
}

#[test]
fn a_dropped_user_is_named_and_when_it_is_back_the_published_value_works_again() {
    let shop = shop();
    let postgres = servers().postgres();
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    postgres.psql_in(&shop.database, &format!("DROP OWNED BY \"{}\"", shop.legacy)).unwrap();
    postgres.psql(&format!("DROP ROLE \"{}\"", shop.legacy)).unwrap();
    let (code, said, errors) = run(&shop, &["reconcile", "legacy", "--yes", "--alone"]);
    assert_eq!(code, Some(1), "{said}{errors}");
    assert!(said.contains("is refused") && said.contains(&shop.legacy) && said.contains("does not exist"), "{said}{errors}");
    postgres.psql(&format!("CREATE ROLE \"{}\" LOGIN", shop.legacy)).unwrap();
    postgres.psql_in(&shop.database, &format!("GRANT SELECT ON orders TO \"{}\"", shop.legacy)).unwrap();
    let (code, said, errors) = run(&shop, &["reconcile", "legacy", "--yes", "--alone"]);
    assert_eq!(code, Some(0), "{said}{errors}");
    shop.consume("shop/legacy").unwrap();
}
