//! Commands that ask the daemon: whoever breaks one off hears that the daemon goes on, and it does.

use crate::world::{Ended, LONG, becomes_ready, interrupt};
use keyward_harness::{Moment, Shop, VaultProxy, Wishes, servers, wait_until};
use serde_json::{Value, json};
use std::process::Stdio;

#[test]
fn a_rotation_that_was_asked_of_the_daemon_goes_on_when_its_command_is_broken_off() {
    let shop = Shop::open(servers().vault(), servers().postgres(), servers().smtp(), &Wishes::default()).unwrap();
    let proxy = VaultProxy::start(shop.vault).unwrap();
    shop.speaks_through(&proxy).unwrap();
    let _daemon = shop.serve().unwrap();
    becomes_ready(&shop);
    let typed = ["rotate", "--class", "api-key", "--now", "--yes", "--output", "json"];
    let held = proxy.hold(&format!("POST {}/data/shop/webhook", shop.kv), 0, Moment::Before);
    let child = shop.command(&typed).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    held.has_come();
    interrupt(child.id());
    let ended: Ended = child.wait_with_output().unwrap().into();
    let said: Value = serde_json::from_str(&ended.out).unwrap_or_else(|e| panic!("{e}: {ended:?}"));
    let done = json!(["webhook-token: asked of the daemon, which goes on by itself"]);
    assert_eq!((ended.code, said), (Some(75), json!({ "outcome": "broken off", "done": done })), "{}", ended.err);
    held.release();
    wait_until("the end of the rotation", LONG, || {
        let record = shop.record("webhook-token").ok()?;
        (record["number"] == 1 && record.pointer("/phase/state")? == "idle").then_some(())
    });
    assert!(shop.published("shop/webhook").unwrap()["token"].is_string());
}
