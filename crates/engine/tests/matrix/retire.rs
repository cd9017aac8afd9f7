//! The retire gate: who still uses an old value, and what each policy makes of it.

use super::{engine, settle};
use crate::scenes::{GRACE, PATH, database_shape, set_up};
use crate::world::World;
use keyward_engine::kinds::{PostgresTwoUsers, RetireWhen};
use keyward_engine::ports::Session;
use keyward_engine::{Ask, Spec, TendReport};
use keyward_rotation::saga::End;
use keyward_secret::Generator;
use std::sync::Arc;

/// Rotated once and the grace is over; one session of the old user is left.
async fn still_connected(retire: RetireWhen) -> (Arc<World>, Spec) {
    let (world, _) = set_up("postgres-two-users");
    let kind = PostgresTwoUsers {
        secret: "s".into(),
        target: world.clone(),
        users: ["app_a".into(), "app_b".into()],
        path: PATH.into(),
        shape: database_shape(),
        generator: Generator::password(),
        retire,
        grace: GRACE,
        readers: world.clone(),
    };
    let spec = Spec { name: "s".into(), kind: Arc::new(kind) };
    settle(&world, &spec).await;
    let session = Session { endpoint: "db:5432".into(), address: Some("10.1.0.7".into()), application: "billing".into() };
    world.with(|s| {
        s.seconds += 7_200;
        s.sessions.push(session);
    });
    (world, spec)
}

async fn tend(world: &Arc<World>, spec: &Spec) -> TendReport {
    let engine = engine(world, "me");
    let stored = engine.load("s").await.unwrap();
    engine.tend(spec, stored).await
}

/// Sessions kept an old login: PostgreSQL ends none of them, and a revoked user went on working (vault#8668).
#[tokio::test]
async fn failure_12_when_unused_waits_for_the_last_session_and_names_it() {
    let (world, spec) = still_connected(RetireWhen::WhenUnused).await;
    let TendReport::NotYet(_, why) = tend(&world, &spec).await else { panic!("it did not wait") };
    assert_eq!(why, "app_a still has 1 session(s), one from 10.1.0.7 (billing) at db:5432");
    let used = engine(&world, "me").still_used(&spec).await.unwrap();
    assert_eq!(used.iter().map(|u| u.sessions.clone().unwrap()).collect::<Vec<_>>(), [["from 10.1.0.7 (billing) at db:5432"]]);
    world.with(|s| s.sessions.clear());
    assert!(matches!(tend(&world, &spec).await, TendReport::Done(_)));
    assert!(engine(&world, "me").still_used(&spec).await.unwrap().is_empty(), "nothing is left to be retired");
}

/// Retiring and proving write the record too. A person who asks at that moment is not told that somebody else rotates.
#[tokio::test]
async fn a_rotation_goes_on_over_housekeeping_but_not_over_another_rotation() {
    let (world, spec) = still_connected(RetireWhen::WhenUnused).await;
    world.with(|s| s.sessions.clear());
    let engine = engine(&world, "me");
    let judged = || async { engine.load("s").await.unwrap() };
    let before = judged().await;
    assert!(tend(&world, &spec).await.changed());
    let outcome = engine.rotate(&spec, before, Ask::default()).await;
    assert_eq!((outcome.end, outcome.number), (End::Rotated, 2), "{outcome:?}");

    world.with(|s| s.seconds += 7_200);
    let before = judged().await;
    assert_eq!(engine.rotate(&spec, judged().await, Ask::default()).await.end, End::Rotated);
    assert_eq!(engine.rotate(&spec, before, Ask::default()).await.end, End::Lost, "its slot was done");
    assert_eq!(judged().await.record.unwrap().number, 3);
}

#[tokio::test]
async fn after_grace_waits_for_nobody_and_says_whom_it_met() {
    let (world, spec) = still_connected(RetireWhen::AfterGrace).await;
    let TendReport::DoneInUse(_, who) = tend(&world, &spec).await else { panic!("it met nobody") };
    assert!(who.contains("10.1.0.7"), "{who}");
    assert_ne!(world.with(|s| s.roles["app_a"].password.clone()), "old", "the old user is unusable");
    assert_eq!(world.newest(PATH)["username"], "app_b");
}

#[tokio::test]
async fn never_keeps_it() {
    let (world, spec) = still_connected(RetireWhen::Never).await;
    assert!(matches!(tend(&world, &spec).await, TendReport::Nothing));
    assert_eq!(world.with(|s| s.roles["app_a"].password.clone()), "old");
}

/// While what is published is refused, the old user may be the only one that works.
#[tokio::test]
async fn what_diverged_is_not_retired_from() {
    let (world, spec) = still_connected(RetireWhen::AfterGrace).await;
    world.with(|s| s.roles.get_mut("app_b").unwrap().password = "changed by hand".into());
    let engine = engine(&world, "me");
    let (_, noticed) = engine.watch(&spec).await;
    assert!(noticed.is_some());
    let mut memory = keyward_engine::agenda::Memory::default();
    memory.note(std::time::Duration::ZERO, engine.load("s").await);
    let record = memory.record().unwrap();
    assert!(record.diverged.is_some() && !record.later.is_empty());
    let decision = keyward_rotation::plan::Decision::Wait { reason: keyward_rotation::plan::Reason::Diverged, until: None, note: None };
    let backoff = keyward_rotation::schedule::Backoff { first: GRACE, longest: GRACE };
    let (now, wall) = (engine.elapsed() + GRACE, jiff::Timestamp::MAX);
    let mut errands = Vec::new();
    while let Some(errand) = memory.errand(&engine, &decision, &backoff, now, wall).filter(|errand| !errands.contains(errand)) {
        errands.push(errand);
    }
    assert!(!errands.contains(&keyward_engine::agenda::Errand::Tend), "{errands:?}");
}
