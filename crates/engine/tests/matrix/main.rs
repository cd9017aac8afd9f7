//! Every kind, at every call of a port, with every fault: the rotation is finished or rolled back, what is published
//! works, nothing is staged any more, and the record holds no value.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a test that cannot go on must stop")]

mod field;
mod foreign;
mod formats;
mod issued;
mod jwt;
mod leases;
mod outage;
mod reconciled;
mod redis;
mod retire;
mod root;
mod scenes;
mod world;

use jiff::Timestamp;
use keyward_engine::kinds::{PostgresTwoUsers, RetireWhen};
use keyward_engine::ports::{FenceCall, FencePhase, Postgres, Vault};
use keyward_engine::{Ask, Claims, Engine, Outcome, Settings, Spec, TendReport};
use keyward_rotation::record::{Observation, Phase};
use keyward_rotation::saga::{End, Stuck};
use keyward_secret::{Generator, Secret, SystemRandom, Values};
use scenes::{GRACE, KINDS, PATH, check_target, database_shape, set_up};
use std::sync::Arc;
use std::time::Duration;
use world::{Fault, World, record_path};

fn engine(world: &Arc<World>, owner: &str) -> Engine {
    let settings = Settings { lease: Duration::from_mins(10), ..Settings::default() };
    Engine::new(world.clone(), world.clone(), Arc::new(SystemRandom), Arc::new(()), owner.into(), settings, Claims::default())
}

fn ask(spec: &Spec) -> Ask {
    let supplied = (spec.kind.table().kind == "manual").then(|| Values::from([("value".into(), Secret::new("supplied"))]));
    Ask { slot: Timestamp::from_second(1_700_000_000).unwrap(), person: Some("test".into()), supplied }
}

/// What a daemon does with a secret until it has nothing more to do: take up what is under way, else rotate once.
async fn settle(world: &Arc<World>, spec: &Spec) -> Option<Outcome> {
    let engine = engine(world, "me");
    let mut last = None;
    for _ in 0..5 {
        let Ok(stored) = engine.load_or_create(&spec.name).await else { continue };
        let record = stored.record.as_ref().unwrap();
        last = Some(if record.way().is_some() {
            assert!(engine.may_take_over(&stored, &mut Observation::default()), "one's own record after a crash");
            engine.take_over(spec, stored).await
        } else if record.last_slot.is_none() {
            engine.rotate(spec, stored, ask(spec)).await
        } else {
            let _ = engine.sweep(spec, &stored).await; // a fault may hit it; the settling after the fault sweeps again
            return last;
        });
    }
    last
}

async fn check_sound(world: &Arc<World>, spec: &Spec, what: &str) {
    issued::check_nothing_left_over(world, spec, what);
    jwt::check(world, spec, what);
    let stored = engine(world, "check").load("s").await.unwrap();
    let record = stored.record.unwrap();
    assert_eq!(record.phase, Phase::Idle, "{what}");
    assert!(record.last_slot.is_some(), "{what}: the slot was not done");
    let versions = world.with(|s| s.kv[&record_path("s")].clone());
    for text in versions.iter().flatten() {
        assert!(!text.contains("\"new\""), "{what}: a version of the record still holds values");
    }
    let live = world.newest(PATH);
    assert_eq!(live["other"], serde_json::json!({"kept": [1, 2]}), "{what}: an unnamed field changed");
    check_target(world, spec, what);
    if spec.kind.table().kind.starts_with("postgres") || spec.kind.path().is_some() && spec.kind.table().kind.starts_with("vault-static") {
        let (user, password) = (live["username"].as_str().unwrap(), live["password"].as_str().unwrap());
        assert_eq!(world.with(|s| s.roles[user].password.clone()), password, "{what}: what is published does not log in");
    }
}

#[tokio::test]
async fn every_kind_survives_every_fault_at_every_call() {
    let mut cells = 0;
    for kind in KINDS {
        for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Refused] {
            for at in 1.. {
                let (world, spec) = set_up(kind);
                world.with(|s| s.fault = Some((at, fault)));
                tokio::select! {
                    _ = settle(&world, &spec) => {}
                    () = world.crashed.notified() => {}
                }
                let reached = world.with(|s| s.calls >= at);
                world.with(|s| s.fault = None);
                settle(&world, &spec).await;
                check_sound(&world, &spec, &format!("{kind}, {fault:?} at call {at}")).await;
                if !reached {
                    break;
                }
                cells += 1;
            }
        }
    }
    assert!(cells > 300, "only {cells} cells: the matrix shrank");
}

/// Success was claimed where nothing had changed: Reloader said that it had restarted what it had not (#701), Infisical showed a toast (#2402).
#[tokio::test]
async fn failure_22_a_change_that_was_answered_with_success_and_lets_nobody_in_is_rolled_back() {
    for kind in ["postgres-password", "postgres-two-users"] {
        let (world, spec) = set_up(kind);
        world.with(|s| s.refuse_candidates = true);
        let outcome = settle_one_rotation(&world, &spec).await;
        assert_eq!(outcome.end, End::RolledBack, "{kind}: {:?}", outcome.failure);
        assert_eq!(world.newest(PATH)["password"], "old", "{kind}");
        assert_eq!(world.with(|s| s.roles["app_a"].password.clone()), "old", "{kind}: what is published must log in");
        let record = engine(&world, "me").load("s").await.unwrap().record.unwrap();
        assert_eq!((record.last_slot, record.last_failure.map(|f| f.attempts)), (None, Some(1)), "{kind}: the slot stays open");
        world.with(|s| s.refuse_candidates = false);
        settle(&world, &spec).await;
        check_sound(&world, &spec, kind).await;
    }
}

/// A world whose daemon died when the candidate was stored and nothing was done with it yet.
async fn crashed_right_after_stage(kind: &str) -> (Arc<World>, Spec) {
    for at in 1..60 {
        let (world, spec) = set_up(kind);
        world.with(|s| s.fault = Some((at, Fault::CrashAfter)));
        tokio::select! { _ = settle(&world, &spec) => {}, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        if engine(&world, "me").load("s").await.unwrap().record.is_some_and(|r| r.way().is_some()) {
            return (world, spec);
        }
    }
    panic!("{kind} was never found staged");
}

/// A person's rotation is under way in a daemon whose planner looks at the record.
#[tokio::test]
async fn what_this_process_works_on_is_not_taken_from_it_by_itself() {
    for at in 1..60 {
        let (world, spec) = set_up("postgres-password");
        let engine = engine(&world, "me");
        let stored = engine.load_or_create("s").await.unwrap();
        world.with(|s| s.fault = Some((s.calls + at, Fault::CrashBefore)));
        // Held up at a call: it is still there, and has its claim.
        let mut held_up = std::pin::pin!(engine.rotate(&spec, stored, ask(&spec)));
        tokio::select! { _ = &mut held_up => return, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        let stored = engine.load("s").await.unwrap();
        if stored.record.as_ref().is_none_or(|r| r.way().is_none()) {
            continue;
        }
        assert!(!engine.may_take_over(&stored, &mut Observation::default()), "call {at}");
        let version = stored.version;
        assert_eq!(engine.take_over(&spec, stored).await.end, End::Lost, "call {at}");
        assert_eq!(engine.load("s").await.unwrap().version, version, "call {at}: the record was written over its head");
    }
    panic!("it never ended");
}

async fn settle_one_rotation(world: &Arc<World>, spec: &Spec) -> Outcome {
    let engine = engine(world, "me");
    let stored = engine.load_or_create("s").await.unwrap();
    engine.rotate(spec, stored, ask(spec)).await
}

#[tokio::test]
async fn a_fence_that_is_ahead_of_our_own_record_is_climbed_over() {
    for kind in ["postgres-password", "postgres-two-users"] {
        let (world, spec) = crashed_right_after_stage(kind).await;
        world.with(|s| {
            for role in ["app_a", "app_b"] {
                s.roles.get_mut(role).unwrap().fence = Some(("s".into(), 90, 0, "r-before-the-restore".into()));
            }
        });
        assert_eq!(settle_once(&world, &spec).await.end, End::Rotated, "{kind}");
        assert!(engine(&world, "me").load("s").await.unwrap().record.unwrap().number > 90, "{kind}");
        check_sound(&world, &spec, kind).await;
    }
}

/// Infisical changed the password outside before it looked whether it could be stored (its pull request 5461).
#[tokio::test]
async fn failure_18_a_supplied_value_that_is_refused_changes_nothing() {
    let (world, spec) = set_up("manual");
    let engine = engine(&world, "me");
    let stored = engine.load_or_create("s").await.unwrap();
    let bad = Ask { supplied: Some(Values::from([("value".into(), Secret::new("bad"))])), ..ask(&spec) };
    let outcome = engine.rotate(&spec, stored, bad).await;
    assert_eq!(outcome.end, End::Refused(keyward_rotation::table::Step::Verify));
    assert_eq!(world.newest(PATH)["api_key"], "old");
    assert_eq!(engine.load("s").await.unwrap().version, 1, "nothing was staged");
}

#[tokio::test]
async fn a_value_that_somebody_else_published_meanwhile_is_left_alone() {
    let (world, spec) = crashed_right_after_stage("postgres-password").await;
    world.put_json(PATH, r#"{"username":"app_a","password":"theirs","other":{"kept":[1,2]}}"#);
    let outcome = settle_once(&world, &spec).await;
    assert_eq!(outcome.end, End::Stuck(Stuck::ForeignValue));
    assert_eq!(world.newest(PATH)["password"], "theirs");
}

async fn settle_once(world: &Arc<World>, spec: &Spec) -> Outcome {
    let engine = engine(world, "me");
    let stored = engine.load("s").await.unwrap();
    engine.take_over(spec, stored).await
}

#[tokio::test]
async fn a_frozen_owner_is_fenced_off_by_whoever_took_over() {
    let (world, spec) = crashed_right_after_stage("postgres-two-users").await;
    let other = engine(&world, "other");
    let mut seen = Observation::default();
    let stored = other.load("s").await.unwrap();
    let frozen = stored.record.as_ref().unwrap().attempt().unwrap().clone();
    let number = stored.record.as_ref().unwrap().number;
    assert!(!other.may_take_over(&stored, &mut seen), "the lease has only begun");
    world.with(|s| s.seconds += 601);
    assert!(other.may_take_over(&stored, &mut seen));
    assert_eq!(other.take_over(&spec, stored).await.end, End::Rotated);
    // The next rotation, after the grace, makes the role that the frozen one would retire current again; its late retire is fenced off.
    world.with(|s| s.seconds += 3601);
    let stored = other.load("s").await.unwrap();
    let next = Ask { slot: Timestamp::from_second(1_700_000_500).unwrap(), ..ask(&spec) };
    assert_eq!(other.rotate(&spec, stored, next).await.end, End::Rotated);
    let call = FenceCall { role: "app_a", secret: "s", number, phase: FencePhase::Retire, rotation: &frozen.rotation };
    let answer = world.apply(call, &Secret::new("dead")).await.unwrap();
    assert!(matches!(answer, keyward_engine::ports::FenceAnswer::Fenced { .. }), "{answer:?}");
    check_sound(&world, &spec, "after the zombie").await;
}

#[tokio::test]
async fn the_old_user_is_retired_after_the_grace_and_never_the_current_one() {
    let (world, spec) = set_up("postgres-two-users");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    assert!(matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Nothing), "the grace is not over");
    world.with(|s| s.seconds += 3601);
    assert!(matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Done(_)));
    assert_ne!(world.with(|s| s.roles["app_a"].password.clone()), "old");
    check_sound(&world, &spec, "after the retire").await;
    assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
}

#[tokio::test]
async fn a_second_rotation_within_the_grace_is_deferred() {
    let (world, spec) = set_up("postgres-two-users");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    let next = || Ask { slot: Timestamp::from_second(1_700_000_500).unwrap(), ..ask(&spec) };
    let outcome = engine.rotate(&spec, engine.load("s").await.unwrap(), next()).await;
    assert_eq!(outcome.end, End::Refused(keyward_rotation::table::Step::Gate), "{:?}", outcome.failure);
    assert_eq!(world.with(|s| s.roles["app_a"].password.clone()), "old", "who still holds the old login may use it");
    world.with(|s| s.seconds += 3601);
    assert_eq!(engine.rotate(&spec, engine.load("s").await.unwrap(), next()).await.end, End::Rotated);
}

#[tokio::test]
async fn a_jwt_key_is_next_then_current_then_previous_then_gone() {
    let (world, spec) = set_up("jwt-hmac");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    let next = world.newest(PATH)["next"]["kid"].clone();
    assert!(next.is_string());
    world.with(|s| s.seconds += 1801);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    let live = world.newest(PATH);
    assert_eq!((&live["current"]["kid"], &live["previous"]["kid"], &live["next"]), (&next, &"1".into(), &serde_json::Value::Null));
    world.with(|s| s.seconds += 3601);
    // A signer that read the set just before the promotion has signed with the old key for as long as verifiers may take to read.
    assert!(!engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    world.with(|s| s.seconds += 1800);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_eq!(world.newest(PATH)["previous"], serde_json::Value::Null);
    check_sound(&world, &spec, "after the prune").await;
}

#[tokio::test]
async fn the_old_random_value_stays_for_the_grace() {
    let (world, spec) = set_up("random");
    settle(&world, &spec).await;
    assert_eq!(world.newest(PATH)["token_before"], "old");
    world.with(|s| s.seconds += 3601);
    let engine = engine(&world, "me");
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_eq!(world.newest(PATH)["token_before"], serde_json::Value::Null);
    let reading: &dyn Vault = world.as_ref();
    assert_eq!(reading.read(PATH).await.unwrap().version, 3);
}

/// The first one's grace ends while the second one's runs: what is the previous value by then is not what it was about.
#[tokio::test]
async fn two_rotations_within_the_grace_leave_each_old_value_its_own() {
    let (world, spec) = set_up("random");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    world.with(|s| s.seconds += 3_000);
    let next = Ask { slot: Timestamp::from_second(1_700_000_500).unwrap(), ..ask(&spec) };
    let first = world.newest(PATH)["token"].clone();
    assert_eq!(engine.rotate(&spec, engine.load("s").await.unwrap(), next).await.end, End::Rotated);
    world.with(|s| s.seconds += 1_000);
    for _ in 0..2 {
        assert!(!matches!(engine.tend(&spec, engine.load("s").await.unwrap()).await, TendReport::Published(..)));
    }
    assert_eq!(world.newest(PATH)["token_before"], first, "its readers have had a thousand seconds of their hour");
    world.with(|s| s.seconds += 2_601);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_eq!(world.newest(PATH)["token_before"], serde_json::Value::Null);
    assert!(engine.load("s").await.unwrap().record.unwrap().later.is_empty());
}

#[tokio::test]
async fn a_renamed_secret_takes_its_record_and_its_fence_along() {
    let (world, spec) = set_up("postgres-two-users");
    settle(&world, &spec).await;
    let engine = engine(&world, "me");
    let before = engine.load("s").await.unwrap().record.unwrap();
    let target: Arc<World> = world.clone();
    let kind = PostgresTwoUsers {
        secret: "t".into(),
        target,
        users: ["app_a".into(), "app_b".into()],
        path: PATH.into(),
        shape: database_shape(),
        generator: Generator::password(),
        retire: RetireWhen::WhenUnused,
        grace: GRACE,
        readers: world.clone(),
    };
    let renamed = Spec { name: "t".into(), kind: Arc::new(kind) };
    assert!(engine.carry_over(&renamed, "s").await.unwrap());
    let stored = engine.load("t").await.unwrap();
    let after = stored.record.as_ref().unwrap();
    assert_eq!((after.number, after.last_slot, &after.phase), (before.number, before.last_slot, &Phase::Idle));
    world.with(|s| s.seconds += 3601);
    let next = Ask { slot: Timestamp::from_second(1_700_000_500).unwrap(), ..ask(&renamed) };
    assert_eq!(engine.rotate(&renamed, stored, next).await.end, End::Rotated, "the fence knows the new name");
    assert!(matches!(engine.load("s").await.unwrap().record.unwrap().phase, Phase::Paused { .. }));
}
