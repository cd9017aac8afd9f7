//! `init postgres`, which changes a database in one transaction: it is done or not, wherever the command is broken off.

use super::bench::is_over;
use crate::world::{Ended, LONG, interrupt, run, shop};
use keyward_harness::{PostgresProxy, Shop, wait_until};
use serde_json::{Value, json};
use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two secrets of one database; the way to it of the second can be watched.
const TYPED: [&str; 6] = ["init", "postgres", "shop-database", "legacy", "--output", "json"];

/// Has Keyward's administrator come through the proxy for the secret `legacy`.
fn through(shop: &Shop<'_>, proxy: &PostgresProxy) {
    let text = fs::read_to_string(&shop.config).unwrap();
    let (before, legacy) = text.split_once("name = \"legacy\"").unwrap();
    let (head, rest) = legacy.split_once(&format!("{}@", shop.admin())).unwrap();
    let (_, rest) = rest.split_once('"').unwrap();
    let way = format!("{}@127.0.0.1:{}/{}?sslmode=disable\"", shop.admin(), proxy.port, shop.database);
    fs::write(&shop.config, format!("{before}name = \"legacy\"{head}{way}{rest}")).unwrap();
}

fn started(shop: &Shop<'_>, typed: &[&str]) -> std::process::Child {
    shop.command(typed).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// It ends as one that was broken off, and says for a program what it did.
fn is_broken_off(ended: &Ended, done: &Value) {
    assert!(ended.code == Some(75) && ended.error().contains("the same command again sees which, and goes on"), "{ended:?}");
    let said: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(said, json!({ "outcome": "broken off", "done": done }));
}

#[test]
fn a_fence_is_there_or_not_wherever_its_command_is_broken_off() {
    let shop = shop();
    let proxy = PostgresProxy::start(shop.postgres).unwrap();
    through(&shop, &proxy);
    let fences = |names: &[&str]| -> Vec<Value> {
        let ended = run(&shop, &[&["init", "postgres"], names, &["--output", "json"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let said: Value = serde_json::from_str(&ended.out).unwrap();
        said.as_array().unwrap().iter().map(|line| line["fence"].clone()).collect()
    };
    let gone = || shop.postgres.psql_in(&shop.database, "DROP SCHEMA keyward CASCADE").unwrap();

    // Before it holds a lock; and with the COMMIT on its way, which the server carries out or not.
    for (statement, after) in [("pg_advisory_xact_lock", Some("installed")), ("COMMIT\0", None)] {
        let held = proxy.hold(statement, 0);
        let child = started(&shop, &["init", "postgres", "legacy", "--output", "json"]);
        held.has_come();
        interrupt(child.id());
        is_broken_off(&child.wait_with_output().unwrap().into(), &json!([]));
        drop(held);
        let fence = fences(&["legacy"]);
        assert!(after.is_none_or(|after| fence == [after]), "{statement}: {fence:?}");
        assert_eq!(fences(&["legacy"]), ["unchanged"]);
        gone();
    }

    // When the server has committed, and nobody has heard of it.
    let pid = Arc::new(AtomicU32::new(0));
    let victim = Arc::clone(&pid);
    proxy.at_next_commit(move || {
        let pid = wait_until("the command", LONG, || Some(victim.load(Ordering::SeqCst)).filter(|pid| *pid > 0));
        interrupt(pid);
        wait_until("the command to end", LONG, || is_over(pid).then_some(()));
    });
    let child = started(&shop, &["init", "postgres", "legacy", "--output", "json"]);
    pid.store(child.id(), Ordering::SeqCst);
    is_broken_off(&child.wait_with_output().unwrap().into(), &json!([]));
    assert_eq!(fences(&["legacy"]), ["unchanged"]);
    gone();

    // Of two, the first was done.
    let held = proxy.hold("pg_advisory_xact_lock", 0);
    let child = started(&shop, &TYPED);
    held.has_come();
    interrupt(child.id());
    is_broken_off(&child.wait_with_output().unwrap().into(), &json!(["shop-database: the fence is installed"]));
    drop(held);
    assert_eq!(fences(&["shop-database", "legacy"]), ["unchanged", "unchanged"]);
}

/// What was done before a failure is said, for people and for programs.
#[test]
fn a_fence_that_was_installed_before_the_next_one_failed_is_said() {
    let shop = shop();
    let proxy = PostgresProxy::start(shop.postgres).unwrap();
    through(&shop, &proxy);
    // Nobody listens there any more.
    drop(proxy);
    let ended = run(&shop, &TYPED);
    let said: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((ended.code, said), (Some(69), json!([{ "secret": "shop-database", "fence": "installed" }])), "{}", ended.err);
    assert!(ended.error().contains("installing the fence for legacy"), "{}", ended.err);
    let ended = run(&shop, &TYPED[..4]);
    assert!(ended.code == Some(69) && ended.out.contains("shop-database: the fence is unchanged"), "{ended:?}");
}
