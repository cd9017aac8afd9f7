//! Values that others put on the published path: adopted, reported, never overwritten in silence; and what holds and mends.

use super::{ask, engine, settle};
use crate::scenes::{KINDS, PATH, set_up};
use crate::world::World;
use keyward_engine::{Cure, Noticed, Proof, Spec, Verdict};
use keyward_rotation::record::Author;
use keyward_rotation::saga::End;
use serde_json::{Value, json};
use std::sync::Arc;

/// Rotated once; then somebody else writes these fields over what is published.
async fn overwritten(kind: &str, fields: Value) -> (Arc<World>, Spec) {
    let (world, spec) = set_up(kind);
    settle(&world, &spec).await;
    let mut live = world.newest(PATH);
    for (name, value) in fields.as_object().unwrap() {
        live[name] = value.clone();
    }
    world.put_json(PATH, &live.to_string());
    (world, spec)
}

#[tokio::test]
async fn what_keyward_published_is_known_for_every_kind_and_other_fields_do_not_count() {
    for kind in KINDS {
        let (world, spec) = overwritten(kind, json!({ "somebody_elses_field": [1, 2, 3] })).await;
        let (_, noticed) = engine(&world, "me").watch(&spec).await;
        assert_eq!(noticed, None, "{kind}");
        let published = engine(&world, "me").load("s").await.unwrap().record.unwrap().published;
        assert_eq!(published.is_some(), spec.kind.path().is_some(), "{kind}");
    }
}

#[tokio::test]
async fn a_value_of_somebody_elses_that_works_is_adopted_once() {
    let (world, spec) = overwritten("postgres-password", json!({ "password": "theirs" })).await;
    world.with(|s| s.roles.get_mut("app_a").unwrap().password = "theirs".into());
    let engine = engine(&world, "me");
    assert!(matches!(engine.watch(&spec).await, (Proof::Valid, Some(Noticed::Adopted))));
    assert!(matches!(engine.watch(&spec).await, (Proof::Valid, None)), "it is known now");
    let record = engine.load("s").await.unwrap().record.unwrap();
    assert_eq!(record.published.map(|known| known.by), Some(Author::SomebodyElse));
    assert_eq!(world.newest(PATH)["password"], "theirs");
}

#[tokio::test]
async fn a_value_of_somebody_elses_that_is_refused_holds_the_schedule_until_it_works() {
    let (world, spec) = overwritten("postgres-password", json!({ "password": "theirs" })).await;
    let engine = engine(&world, "me");
    let (proof, noticed) = engine.watch(&spec).await;
    assert!(matches!(proof, Proof::Invalid(_)), "{proof:?}");
    assert_eq!(noticed, Some(Noticed::Diverged { foreign: true }));
    assert!(engine.load("s").await.unwrap().record.unwrap().diverged.is_some());
    assert_eq!(world.newest(PATH)["password"], "theirs", "nobody is overruled");
    world.with(|s| s.roles.get_mut("app_a").unwrap().password = "theirs".into());
    assert_eq!(engine.watch(&spec).await.1, Some(Noticed::Adopted));
    assert!(engine.load("s").await.unwrap().record.unwrap().diverged.is_none());
}

#[tokio::test]
async fn a_rotation_that_replaces_somebody_elses_value_says_so() {
    for (theirs, foreign) in [(true, true), (false, false)] {
        let fields = if theirs { json!({ "token": "theirs" }) } else { json!({ "other": "theirs" }) };
        let (world, spec) = overwritten("random", fields).await;
        let engine = engine(&world, "me");
        let stored = engine.load("s").await.unwrap();
        let outcome = engine.rotate(&spec, stored, ask(&spec)).await;
        assert_eq!((outcome.end, outcome.foreign), (End::Rotated, foreign), "{:?}", outcome.failure);
    }
}

#[tokio::test]
async fn a_deleted_path_is_a_refusal_once_something_was_published_there() {
    let (world, spec) = set_up("random");
    settle(&world, &spec).await;
    world.with(|s| s.kv.get_mut(PATH).unwrap().push(None));
    let engine = engine(&world, "me");
    assert!(matches!(engine.watch(&spec).await, (Proof::Invalid(_), Some(Noticed::Diverged { .. }))));
    let truth = engine.examine(&spec).await.unwrap();
    assert_eq!(truth.verdict, Verdict::Gone);
    assert!(matches!(truth.cure, Cure::Person(_)));
}

/// Restores from the past, for both kinds that can be made to accept what is published.
#[tokio::test]
async fn reconcile_gives_the_target_what_is_published_under_a_number_above_its_fence() {
    for kind in ["postgres-password", "postgres-two-users"] {
        let (world, spec) = set_up(kind);
        settle(&world, &spec).await;
        let user = world.newest(PATH)["username"].as_str().unwrap().to_owned();
        let number = world.with(|s| {
            let role = s.roles.get_mut(&user).unwrap();
            role.password = "what a backup held".into();
            let fence = role.fence.as_mut().unwrap();
            fence.1 += 7;
            fence.1
        });
        let engine = engine(&world, "me");
        let published = world.newest(PATH);
        let truth = engine.examine(&spec).await.unwrap();
        assert!(truth.ran_backwards() && truth.cure == Cure::Apply, "{kind}: {:?} {:?}", truth.verdict, truth.cure);
        let outcome = engine.reconcile(&spec, truth, "alice").await.unwrap().unwrap();
        assert_eq!(outcome.end, End::Rotated, "{kind}: {:?}", outcome.failure);
        assert!(outcome.number > number, "{kind}");
        assert_eq!(world.newest(PATH), published, "{kind}: nothing is published");
        assert!(matches!(engine.prove(&spec).await, Proof::Valid), "{kind}");
        let truth = engine.examine(&spec).await.unwrap();
        assert_eq!(truth.cure, Cure::Nothing, "{kind}");
    }
}

#[tokio::test]
async fn a_pause_stands_in_vault_for_a_secret_and_for_a_class() {
    let (world, spec) = set_up("random");
    let engine = engine(&world, "me");
    let stored = engine.load_or_create("s").await.unwrap();
    engine.pause(&spec, stored, "alice", "freeze").await.unwrap();
    let stored = engine.load("s").await.unwrap();
    assert_eq!(engine.rotate(&spec, stored, ask(&spec)).await.rotation, "", "a paused secret is not rotated");
    let stored = engine.load("s").await.unwrap();
    assert!(engine.resume(&spec, stored).await.unwrap().is_none());
    assert_eq!(settle(&world, &spec).await.map(|o| o.end), Some(End::Rotated));

    assert_eq!(engine.class_pause("database").await.unwrap(), None);
    engine.pause_class("database", "alice", "freeze").await.unwrap();
    assert!(engine.pause_class("database", "bob", "me too").await.is_err());
    let pause = engine.class_pause("database").await.unwrap().unwrap();
    assert_eq!((pause.by.as_str(), pause.why.as_str()), ("alice", "freeze"));
    engine.resume_class("database").await.unwrap();
    assert!(engine.resume_class("database").await.is_err());
    assert_eq!(engine.class_pause("database").await.unwrap(), None);
}
