//! SIGHUP: the whole new configuration or none of it, and a rename that keeps what is known of a secret.

use crate::world::{LONG, becomes_ready, edit, is_raised, is_resolved, mail, run, shop, status, stop};
use keyward_harness::{Process, Shop, Signal, SmtpServer, Wishes, servers, wait_until};
use serde_json::Value;
use std::fs;

/// Has the daemon read its configuration again, and waits until it has.
fn reload(shop: &Shop<'_>, daemon: &Process, result: &str) {
    let series = format!("keyward_config_reloads_total{{result=\"{result}\"}} ");
    let count = || shop.metric(&series);
    let before = count().unwrap_or_default();
    daemon.signal(Signal::HUP).unwrap();
    wait_until(&format!("a reload that is {result}"), LONG, || count().filter(|now| *now > before));
}

fn next_due(shop: &Shop<'_>, secret: &str) -> Option<String> {
    status(shop)["secrets"][secret]["next_due"].as_str().map(str::to_owned)
}

const DATABASE: &str = "[class.database]\n";

#[test]
fn a_sound_change_takes_effect_at_once() {
    let shop = shop();
    let daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let before = wait_until("the first plan", LONG, || next_due(&shop, "legacy"));
    let jwt = wait_until("the first plan", LONG, || next_due(&shop, "session-signing"));
    edit(&shop, DATABASE, "[class.database]\nschedule = \"30 3 1 1 *\"\n");
    let vault = servers().vault();
    edit(&shop, DATABASE, &format!("[[vault.node]]\nname = \"vault-2\"\nurl = \"{}\"\n\n{DATABASE}", vault.address));
    reload(&shop, &daemon, "ok");
    let after = wait_until("the new schedule", LONG, || next_due(&shop, "legacy").filter(|due| *due != before));
    assert!(after.ends_with("-01-01T03:30:00Z"), "{after}");
    assert_eq!(next_due(&shop, "session-signing"), Some(jwt), "another class keeps its own");
    let plan: Value = serde_json::from_str(&shop.must(&["plan", "--output", "json"]).unwrap()).unwrap();
    let legacy = plan["secrets"].as_array().unwrap().iter().find(|s| s["name"] == "legacy").unwrap();
    assert_eq!(legacy["next_due"], after.as_str());
    let node = || (status(&shop)["nodes"]["vault-2"]["state"] == "active").then_some(());
    wait_until("the new node to be watched", LONG, node);
    assert_eq!(shop.metric("keyward_vault_node_state{node=\"vault-2\",state=\"active\"} "), Some(1.0));
    // And it goes again.
    edit(&shop, &format!("[[vault.node]]\nname = \"vault-2\"\nurl = \"{}\"\n", vault.address), "");
    reload(&shop, &daemon, "ok");
    wait_until("the node to be forgotten", LONG, || status(&shop)["nodes"]["vault-2"].is_null().then_some(()));
    stop(&daemon);
}

#[test]
fn an_unsound_one_is_refused_whole_and_told_until_a_sound_one_comes() {
    let smtp = SmtpServer::start().unwrap();
    let shop = Shop::open(servers().vault(), servers().postgres(), &smtp, &Wishes::default()).unwrap();
    let daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let before = wait_until("the first plan", LONG, || next_due(&shop, "legacy"));
    let sound = fs::read_to_string(&shop.config).unwrap();
    // Sound in one place, unsound in another: neither is taken over.
    edit(&shop, DATABASE, "[class.database]\nschedule = \"30 3 1 1 *\"\n");
    edit(&shop, "kind = \"jwt-hmac\"", "kind = \"jwt-hmc\"");
    reload(&shop, &daemon, "failed");
    is_raised(&shop, "config");
    let told = mail(&smtp, &["a new configuration was refused", "jwt-hmc", "keyward.toml:"]);
    assert!(told.body.contains("The configuration that was in force before still is."), "{}", told.body);
    assert_eq!(shop.metric("keyward_config_last_reload_successful "), Some(0.0));
    assert_eq!(next_due(&shop, "legacy"), Some(before.clone()), "the old one is in force");
    assert_eq!(shop.http("/readyz").unwrap().0, 200);
    // What cannot change while the daemon runs is refused too, and so is a file that has gone.
    fs::write(&shop.config, sound.replacen(&format!("127.0.0.1:{}", shop.port), "127.0.0.1:1", 1)).unwrap();
    reload(&shop, &daemon, "failed");
    fs::remove_file(&shop.config).unwrap();
    reload(&shop, &daemon, "failed");
    is_raised(&shop, "config");
    fs::write(&shop.config, &sound).unwrap();
    reload(&shop, &daemon, "ok");
    is_resolved(&shop, "config");
    mail(&smtp, &["RESOLVED", "a new configuration was refused"]);
    assert_eq!(shop.metric("keyward_config_last_reload_successful "), Some(1.0));
    assert_eq!(next_due(&shop, "legacy"), Some(before));
    stop(&daemon);
}

#[test]
fn what_is_configured_no_more_is_not_waited_for() {
    let smtp = SmtpServer::start().unwrap();
    let shop = Shop::open(servers().vault(), servers().postgres(), &smtp, &Wishes::default()).unwrap();
    let line = format!("audit_log = \"{}\"", servers().vault().audit_log.display());
    edit(&shop, &line, "audit_log = \"/nowhere/audit.log\"");
    let daemon = shop.serve().unwrap();
    crate::world::is_unready(&shop, &["audit log of vault-1"]);
    edit(&shop, "audit_log = \"/nowhere/audit.log\"", "");
    reload(&shop, &daemon, "ok");
    becomes_ready(&shop);
    stop(&daemon);
}

/// Gives `legacy` another name in the configuration.
fn rename(shop: &Shop<'_>) {
    edit(shop, "name = \"legacy\"", "name = \"old-timer\"\nrenamed_from = \"legacy\"");
}

fn prepared() -> (Shop<'static>, Value) {
    let shop = shop();
    shop.must(&["init", "postgres", "shop-database", "legacy"]).unwrap();
    shop.must(&["rotate", "legacy", "--alone"]).unwrap();
    let before = shop.record("legacy").unwrap();
    assert_eq!(before["number"], 1);
    (shop, before)
}

/// The carried record is the old one, and the fence in the database knows the new name.
fn is_carried_over(shop: &Shop<'_>, before: &Value) {
    let record = shop.record("old-timer").unwrap();
    for key in ["number", "last_slot", "last_success", "first_seen"] {
        assert_eq!(record[key], before[key], "{key}: {record}");
    }
    assert_eq!(shop.record("legacy").unwrap().pointer("/phase/state"), Some(&Value::from("paused")), "nobody goes on under the old name");
}

#[test]
fn a_renamed_secret_keeps_its_number_its_slot_and_its_fence() {
    let (shop, before) = prepared();
    let daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    rename(&shop);
    reload(&shop, &daemon, "ok");
    wait_until("the record under its new name", LONG, || (status(&shop)["secrets"]["old-timer"]["number"] == 1).then_some(()));
    wait_until("the old name to be gone", LONG, || status(&shop)["secrets"]["legacy"].is_null().then_some(()));
    assert_eq!(shop.metric("keyward_secret_next_due_timestamp_seconds{secret=\"legacy\",class=\"database\"} "), None);
    is_carried_over(&shop, &before);
    shop.rotate("old-timer").unwrap();
    shop.consume("shop/legacy").unwrap();
    assert_eq!(shop.record("old-timer").unwrap()["number"], 2);
    let fence = servers()
        .postgres()
        .psql_in(&shop.database, &format!("SELECT secret, number FROM keyward.role_fence WHERE role = '{}'", shop.legacy));
    assert_eq!(fence.unwrap(), "old-timer|2");
    // A second reload with the same file changes nothing.
    reload(&shop, &daemon, "ok");
    assert_eq!(shop.record("old-timer").unwrap()["number"], 2);
    stop(&daemon);
}

#[test]
fn a_command_that_meets_a_renamed_secret_first_carries_it_over_too() {
    let (shop, before) = prepared();
    rename(&shop);
    let ended = run(&shop, &["check"]);
    assert!(!ended.out.contains("belongs to the secret"), "{}", ended.out);
    let view: Value = serde_json::from_str(&run(&shop, &["status", "old-timer", "--output", "json"]).out).unwrap();
    assert_eq!(view["number"], 1, "looking finds it under its former name: {view}");
    shop.must(&["rotate", "old-timer", "--alone"]).unwrap();
    shop.consume("shop/legacy").unwrap();
    let record = shop.record("old-timer").unwrap();
    assert_eq!((record["number"].clone(), record["first_seen"].clone()), (Value::from(2), before["first_seen"].clone()));
}
