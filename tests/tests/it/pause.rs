//! Pauses: of a secret and of a class, by command and by daemon; they stand in Vault and survive everything here.

use keyward_harness::{Shop, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(40);

fn shop() -> Shop<'static> {
    Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap()
}

/// Exit code and everything said.
fn run(shop: &Shop<'_>, arguments: &[&str]) -> (Option<i32>, String) {
    let output = shop.run(arguments).unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

fn status(shop: &Shop<'_>, secret: &str) -> Value {
    let output = shop.run(&["status", secret, "--output", "json"]).unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn a_paused_secret_is_left_alone_until_it_is_resumed() {
    let shop = shop();
    let (code, said) = run(&shop, &["pause", "webhook-token", "--why", "until the release is out"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&shop, &["rotate", "webhook-token"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("until the release is out") && said.contains("keyward resume webhook-token"), "{said}");
    let (code, said) = run(&shop, &["pause", "webhook-token"]);
    assert!(code == Some(1) && said.contains("is paused already"), "{said}");
    assert_eq!(status(&shop, "webhook-token")["state"], "paused");
    let (_, said) = run(&shop, &["plan"]);
    assert!(said.contains("until the release is out"), "{said}");
    let (code, said) = run(&shop, &["resume", "webhook-token"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(&shop, &["rotate", "webhook-token"]);
    assert_eq!(code, Some(0), "{said}");
}

/// A record as the previous format has it, of a secret that is long due.
fn long_due(shop: &Shop<'_>, secret: &str) {
    let record = json!({
        "format": 1, "secret": secret, "number": 0, "first_seen": "2020-01-01T00:00:00Z", "last_slot": null, "last_success": null,
        "last_failure": null, "phase": { "state": "idle" },
    });
    let body = json!({ "options": { "cas": 0 }, "data": { "record": record } });
    shop.vault.must("POST", &format!("{}/data/{secret}", shop.records), Some(body)).unwrap();
}

#[test]
fn a_paused_class_holds_what_is_due_in_the_daemon_and_lets_it_go_when_resumed() {
    let shop = shop();
    long_due(&shop, "webhook-token");
    let (code, said) = run(&shop, &["pause", "--class", "api-key", "--why", "release freeze"]);
    assert_eq!(code, Some(0), "{said}");
    let _daemon = shop.serve().unwrap();
    wait_until("the planner's reason", LONG, || {
        let (_, page) = shop.http("/api/v1/status").ok()?;
        let status: Value = serde_json::from_str(&page).ok()?;
        (status.pointer("/secrets/webhook-token/reason")? == "paused").then_some(())
    });
    assert_eq!(shop.record("webhook-token").unwrap()["number"], 0, "nothing was rotated");
    let (code, said) = run(&shop, &["rotate", "webhook-token"]);
    assert!(code == Some(1) && said.contains("release freeze") && said.contains("keyward resume --class api-key"), "{said}");
    let (_, said) = run(&shop, &["plan"]);
    assert!(said.contains("the whole class") && said.contains("release freeze"), "{said}");
    let (code, said) = run(&shop, &["resume", "--class", "api-key"]);
    assert_eq!(code, Some(0), "{said}");
    wait_until("the rotation that was owed", LONG, || {
        let record = shop.record("webhook-token").ok()?;
        (record["last_success"].is_string() && record["format"] == 2).then_some(())
    });
    let (code, said) = run(&shop, &["resume", "--class", "api-key"]);
    assert!(code == Some(1) && said.contains("is not paused"), "{said}");
}
