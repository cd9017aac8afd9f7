//! Formats: a record of the one before is read and finished, also while a daemon of before is at it; a newer one is refused by name.

use super::{engine, settle};
use crate::scenes::{PATH, set_up};
use crate::world::{World, record_path};
use keyward_rotation::record::{FORMAT, Phase};
use keyward_rotation::saga::End;
use serde_json::{Value, json};
use std::sync::Arc;

/// A record as format 1 wrote it, word for word.
fn format_1(phase: &Value) -> Value {
    json!({
        "record": {
            "format": 1, "secret": "s", "number": 3, "first_seen": "2026-01-01T00:00:00Z", "last_slot": null, "last_success": null,
            "last_failure": null, "phase": phase,
        },
    })
}

fn staged(owner: &str) -> Value {
    json!({
        "state": "staged", "rotation": "r-old", "purpose": { "for": "rotate", "slot": "2026-11-22T02:00:00Z" },
        "kind": "postgres-password", "owner": owner, "asked_by": "schedule", "base": 1, "staged_at": "2026-11-22T02:00:01Z",
        "since_version": 1,
    })
}

/// The record as it stands, without the values beside it.
fn record(world: &Arc<World>) -> Value {
    world.newest(&record_path("s"))["record"].clone()
}

#[tokio::test]
async fn a_rotation_staged_by_the_format_before_is_taken_over_and_finished() {
    let (world, spec) = set_up("postgres-password");
    let mut document = format_1(&staged("me"));
    document["new"] = json!({ "username": "app_a", "password": "made-by-format-1" });
    document["old"] = json!({ "username": "app_a", "password": "old", "url": "postgresql://app_a:old@db/app" });
    document["publish"] =
        json!({ "username": "app_a", "password": "made-by-format-1", "url": "postgresql://app_a:made-by-format-1@db/app" });
    world.put_json(&record_path("s"), &document.to_string());
    let outcome = settle(&world, &spec).await.unwrap();
    assert_eq!((outcome.end, outcome.number), (End::Rotated, 3), "{:?}", outcome.failure);
    assert_eq!(world.newest(PATH)["password"], "made-by-format-1", "the same candidate goes on");
    assert_eq!((&record(&world)["format"], &record(&world)["last_slot"]), (&json!(FORMAT), &json!("2026-11-22T02:00:00Z")));
}

#[tokio::test]
async fn a_daemon_of_the_format_before_keeps_what_it_works_on_until_it_is_silent() {
    let (world, _) = set_up("postgres-password");
    world.put_json(&record_path("s"), &format_1(&staged("a daemon of before")).to_string());
    let (engine, mut seen) = (engine(&world, "me"), keyward_rotation::record::Observation::default());
    let stored = engine.load("s").await.unwrap();
    assert!(!engine.may_take_over(&stored, &mut seen), "it is under way elsewhere");
    world.with(|s| s.seconds += 3_600);
    assert!(engine.may_take_over(&engine.load("s").await.unwrap(), &mut seen), "its version has stood for the whole lease");
}

#[tokio::test]
async fn an_idle_record_of_the_format_before_is_of_this_one_after_its_next_rotation() {
    let (world, spec) = set_up("postgres-password");
    world.put_json(&record_path("s"), &format_1(&json!({ "state": "idle" })).to_string());
    let stored = engine(&world, "me").load("s").await.unwrap();
    assert_eq!(stored.record.as_ref().map(|r| (r.format, &r.phase)), Some((1, &Phase::Idle)));
    assert_eq!(settle(&world, &spec).await.map(|o| o.end), Some(End::Rotated));
    assert_eq!(record(&world)["format"], json!(FORMAT));
    assert!(record(&world)["published"]["digest"].is_string());
}

#[tokio::test]
async fn a_newer_format_is_refused_by_its_number_and_left_alone() {
    let (world, spec) = set_up("postgres-password");
    let mut newer = format_1(&json!({ "state": "dreaming" }));
    newer["record"]["format"] = json!(FORMAT + 1);
    world.put_json(&record_path("s"), &newer.to_string());
    let engine = engine(&world, "me");
    let said = engine.load("s").await.unwrap_err().to_string();
    assert!(said.contains(&format!("format {}", FORMAT + 1)) && said.contains("use the newer program"), "{said}");
    assert!(engine.load_or_create(&spec.name).await.is_err());
    assert_eq!(world.newest(&record_path("s")), newer);
    for format in [json!(FORMAT + 1), json!("x"), json!(null)] {
        let mut class = json!({ "class": { "class": "database", "paused": null } });
        class["class"]["format"] = format.clone();
        world.put_json(&record_path("class/database"), &class.to_string());
        assert!(engine.class_pause("database").await.is_err(), "{format}");
    }
}
