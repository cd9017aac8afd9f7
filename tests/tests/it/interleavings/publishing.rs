//! Around the published path and the record.

use super::together::played;
use super::{Actor, LONG, QUICK, freeze, is_refused, rolled_back_by, thaw, two, was_lost};
use crate::world::run;
use keyward_harness::{Moment, wait_until};
use serde_json::json;

/// Rotated once, so that the record knows what is published; the number after it.
fn begun(actor: &Actor) -> u64 {
    actor.rotates("legacy");
    actor.number("legacy")
}

#[test]
fn a_publisher_frozen_before_its_patch_while_another_rolls_back_is_refused_for_ever() {
    played("publisher");
}

pub fn frozen_publisher() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    let number = begun(&a);
    let before = (a.shop.published("shop/legacy").unwrap(), a.versions("shop/legacy"));
    let patch = a.hold_publish("shop/legacy", Moment::Before);
    let asked = a.asked_to_rotate("legacy");
    patch.has_come();
    freeze(&frozen);
    let _other = rolled_back_by(&b, number + 1);
    assert_eq!(a.versions("shop/legacy"), before.1 + 1, "the race was won by an empty change");
    is_refused(&patch.release());
    thaw(&frozen);
    was_lost(asked);
    assert_eq!(a.shop.published("shop/legacy").unwrap(), before.0, "the old value is published");
    b.is_well("legacy", "shop/legacy", number + 1);
    b.rotates("legacy");
    b.is_well("legacy", "shop/legacy", number + 2);
}

#[test]
fn a_stage_frozen_over_a_whole_slot_takes_no_second_one() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    let number = begun(&a);
    let stage = a.hold_record("legacy", 0, Moment::Before);
    let asked = a.asked_to_rotate("legacy");
    stage.has_come();
    freeze(&frozen);
    b.rotates("legacy");
    let published = b.shop.published("shop/legacy").unwrap();
    is_refused(&stage.release());
    thaw(&frozen);
    was_lost(asked);
    assert_eq!(b.shop.published("shop/legacy").unwrap(), published);
    b.is_well("legacy", "shop/legacy", number + 1);
}

#[test]
fn a_finish_frozen_over_its_successor_s_stage_does_not_wipe_its_candidate() {
    played("finish");
}

pub fn frozen_finish() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    let number = begun(&a);
    let finish = a.hold_record("legacy", 1, Moment::Before);
    let asked = a.asked_to_rotate("legacy");
    finish.has_come();
    freeze(&frozen);
    let _other = b.serve();
    b.is_idle_at("legacy", number + 1);
    let publish = b.hold_publish("shop/legacy", Moment::Before);
    let successor = b.asked_to_rotate_next("legacy");
    publish.has_come();
    let staged = b.shop.record("legacy").unwrap();
    is_refused(&finish.release());
    thaw(&frozen);
    was_lost(asked);
    let record = b.shop.record("legacy").unwrap();
    assert_eq!(record["phase"]["rotation"], staged["phase"]["rotation"], "the successor's candidate stands");
    publish.release();
    assert!(successor.join().unwrap().status.success());
    b.is_well("legacy", "shop/legacy", number + 2);
}

#[test]
fn a_path_that_was_soft_deleted_under_a_frozen_publisher_does_not_rise_again() {
    let [a, _] = two(QUICK);
    let _daemon = a.serve();
    let number = begun(&a);
    let data = format!("{}/data/shop/legacy", a.shop.kv);
    let before = a.shop.published("shop/legacy").unwrap();
    let patch = a.hold_publish("shop/legacy", Moment::Before);
    let asked = a.asked_to_rotate("legacy");
    patch.has_come();
    a.shop.vault.must("DELETE", &data, None).unwrap();
    let answer = patch.release();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(asked.join().unwrap().status.code(), Some(1));
    assert_eq!(a.shop.vault.api("GET", &data, None).unwrap().0, 404, "it has risen");
    let record = a.shop.record("legacy").unwrap();
    assert_eq!(record["phase"]["reason"], "path-deleted", "{record}");
    // The candidate is kept: when the path is back, the rotation goes on with it.
    let version = a.versions("shop/legacy");
    a.shop.vault.must("POST", &format!("{}/undelete/shop/legacy", a.shop.kv), Some(json!({ "versions": [version] }))).unwrap();
    assert_eq!(a.shop.published("shop/legacy").unwrap(), before);
    let ended = run(&a.shop, &["resume", "legacy"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    a.is_well("legacy", "shop/legacy", number + 1);
    assert_ne!(a.shop.published("shop/legacy").unwrap(), before);
}

#[test]
fn rotate_role_once_more_after_publish_is_published_too() {
    let [a, _] = two(QUICK);
    copied(&a);
    let _daemon = a.serve();
    a.rotates("reporting");
    let publish = a.hold_publish("shop/reporting", Moment::After);
    let asked = a.asked_to_rotate("reporting");
    publish.has_come();
    let role = a.shop.static_role.replacen("/static-roles/", "/rotate-role/", 1);
    a.shop.vault.must("POST", &role, None).unwrap();
    assert!(a.shop.consume("shop/reporting").is_err(), "what was published is stale already: nothing is shown");
    publish.release();
    let output = asked.join().unwrap();
    assert!(output.status.success(), "{output:?}");
    the_copy_works(&a);
}

/// `reporting` gets a copy in KV, and the right to read what the probe reads.
pub fn copied(actor: &Actor) {
    // Else Vault sends its passwords in clear, and the server's log shows them.
    let (mount, _) = actor.shop.static_role.split_once("/static-roles/").unwrap();
    let hashed = json!({ "password_authentication": "scram-sha-256" });
    actor.shop.vault.must("POST", &format!("{mount}/config/postgres"), Some(hashed)).unwrap();
    let line = format!("role = \"{}\"", actor.shop.static_role);
    crate::world::edit(&actor.shop, &line, &format!("{line}\npath = \"{}/shop/reporting\"", actor.shop.kv));
    let grant = format!("GRANT SELECT ON orders TO \"{}\"", actor.shop.reporting);
    actor.shop.postgres.psql_in(&actor.shop.database, &grant).unwrap();
}

/// The copy is what Vault hands out, and logs in.
pub fn the_copy_works(actor: &Actor) {
    let creds = actor.shop.static_role.replacen("/static-roles/", "/static-creds/", 1);
    wait_until("the copy to be what Vault hands out", LONG, || {
        let read = actor.shop.vault.must("GET", &creds, None).ok()?;
        let published = actor.shop.published("shop/reporting").ok()?;
        (published["password"] == read["data"]["password"]).then_some(())
    });
    actor.shop.consume("shop/reporting").unwrap();
}
