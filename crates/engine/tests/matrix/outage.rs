//! What is left half done by an outage or by a standstill: it goes on by itself, and harms nobody.

use super::{ask, engine, settle, settle_one_rotation};
use crate::scenes::{PATH, set_up};
use crate::world::{Fault, World, record_path};
use keyward_engine::{Cure, Spec};
use keyward_rotation::record::{Later, Phase};
use keyward_rotation::saga::{End, Stuck};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A rotation whose candidate was refused, and whose database is away since: the candidate is in force, the old value is published.
async fn away_during_the_undo(kind: &str) -> (Arc<World>, Spec) {
    for at in 1..60 {
        let (world, spec) = set_up(kind);
        world.with(|s| (s.refuse_candidates, s.fault) = (true, Some((at, Fault::CrashAfter))));
        tokio::select! { _ = settle_one_rotation(&world, &spec) => {}, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        let record = engine(&world, "me").load("s").await.unwrap().record;
        if record.is_some_and(|r| matches!(r.phase, Phase::Back(_))) {
            world.with(|s| s.root.refuses_changes = true);
            return (world, spec);
        }
    }
    panic!("{kind} was never found on its way back");
}

#[tokio::test]
async fn a_rollback_waits_for_its_database_and_goes_on_by_itself() {
    for kind in ["postgres-password", "postgres-two-users"] {
        let (world, spec) = away_during_the_undo(kind).await;
        for _ in 0..5 {
            let outcome = super::settle_once(&world, &spec).await;
            assert_eq!(outcome.end, End::Suspended, "{kind}: {:?}", outcome.failure);
        }
        world.with(|s| s.root.refuses_changes = false);
        assert_eq!(super::settle_once(&world, &spec).await.end, End::RolledBack, "{kind}");
        assert_eq!(world.with(|s| s.roles["app_a"].password.clone()), "old", "{kind}: what is published logs in");
    }
}

#[tokio::test]
async fn a_rollback_that_has_waited_for_a_day_stands_still() {
    let (world, spec) = away_during_the_undo("postgres-password").await;
    world.with(|s| s.seconds += 24 * 3600);
    assert_eq!(super::settle_once(&world, &spec).await.end, End::Stuck(Stuck::UndoFailed));
}

/// The old user of a rotation that was stuck behind its publication is retired after the grace, as if it had never been stuck.
#[tokio::test]
async fn reconcile_inherits_what_the_stuck_rotation_would_have_left_for_later() {
    let (world, spec) = stuck_behind_its_publication().await;
    let engine = engine(&world, "me");
    let truth = engine.examine(&spec).await.unwrap();
    assert_eq!(truth.cure, Cure::Apply);
    assert_eq!(engine.reconcile(&spec, truth, "alice").await.unwrap().unwrap().end, End::Rotated);
    let later = engine.load("s").await.unwrap().record.unwrap().later;
    assert!(matches!(later.as_slice(), [Later::Retire { role, .. }] if role == "app_a"), "{later:?}");
    world.with(|s| s.seconds += 3601);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_ne!(world.with(|s| s.roles["app_a"].password.clone()), "old");
}

async fn stuck_behind_its_publication() -> (Arc<World>, Spec) {
    for at in 1..60 {
        let (world, spec) = set_up("postgres-two-users");
        world.with(|s| s.fault = Some((at, Fault::CrashAfter)));
        tokio::select! { _ = settle(&world, &spec) => {}, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        if world.newest(PATH)["username"] == "app_b" {
            world.with(|s| s.roles.get_mut("app_b").unwrap().password = "changed by hand".into());
            assert_eq!(super::settle_once(&world, &spec).await.end, End::Stuck(Stuck::Unproved));
            return (world, spec);
        }
    }
    panic!("it was never found published")
}

/// The candidate of a rotation that was given up unpublished is made unusable.
#[tokio::test]
async fn reconcile_has_a_candidate_that_was_given_up_made_unusable() {
    let (world, spec) = away_during_the_undo("postgres-two-users").await;
    world.with(|s| s.seconds += 24 * 3600);
    let engine = engine(&world, "me");
    assert_eq!(super::settle_once(&world, &spec).await.end, End::Stuck(Stuck::UndoFailed));
    world.with(|s| (s.root.refuses_changes, s.refuse_candidates) = (false, false));
    let candidate = world.with(|s| s.roles["app_b"].password.clone());
    let truth = engine.examine(&spec).await.unwrap();
    assert_eq!(truth.cure, Cure::Apply);
    assert_eq!(engine.reconcile(&spec, truth, "alice").await.unwrap().unwrap().end, End::Rotated);
    assert!(engine.tend(&spec, engine.load("s").await.unwrap()).await.changed());
    assert_ne!(world.with(|s| s.roles["app_b"].password.clone()), candidate);
    assert_eq!(world.with(|s| s.roles["app_a"].password.clone()), "old", "what is published is left alone");
}

/// After a restore of Vault versions come again: a daemon that stood still over it must not write into its successor's record.
#[tokio::test]
async fn a_daemon_frozen_over_a_restore_of_vault_looks_before_it_goes_on() {
    let (mut frozen_in_hand, mut harmed) = (0, Vec::new());
    for at in 1..60 {
        let (world, spec) = set_up("postgres-password");
        let before = world.with(|s| s.kv.clone());
        let theirs = engine(&world, "frozen");
        let stored = theirs.load_or_create("s").await.unwrap();
        world.with(|s| s.fault = Some((s.calls + at, Fault::Frozen)));
        let mut rotation = Box::pin(theirs.rotate(&spec, stored, ask(&spec)));
        tokio::select! { _ = &mut rotation => break, () = world.crashed.notified() => {} }
        let version = world.with(|s| s.kv.get(&record_path("s")).map_or(0, Vec::len));
        // Vault is restored from before all that, and another daemon gets as far as to the same version, and dies there.
        if !successor_reaches(&world, &spec, &before, version).await {
            continue;
        }
        let record = engine(&world, "check").load("s").await.unwrap();
        world.with(|s| s.seconds += 601);
        world.thawed.notify_one();
        frozen_in_hand += 1;
        rotation.await;
        let after = engine(&world, "check").load("s").await.unwrap();
        if (after.version, after.record) != (record.version, record.record) {
            harmed.push(at);
        }
    }
    // What remains is a standstill in the very call that writes the record: its check-and-set matches.
    assert!(frozen_in_hand > 5 && harmed.len() == 1, "{frozen_in_hand} standstills, harm after those at {harmed:?}");
}

/// Another daemon's rotation of a restored Vault, dead as soon as its record has this version.
async fn successor_reaches(world: &Arc<World>, spec: &Spec, before: &BTreeMap<String, Vec<Option<String>>>, version: usize) -> bool {
    for more in 1..40 {
        let calls = world.with(|s| {
            s.kv.clone_from(before);
            s.fault = None;
            s.calls
        });
        let successor = engine(world, "successor");
        world.with(|s| s.fault = Some((calls + more, Fault::CrashAfter)));
        let rotate = async { successor.rotate(spec, successor.load_or_create("s").await.unwrap(), ask(spec)).await };
        tokio::select! { _ = rotate => return false, () = world.crashed.notified() => {} }
        world.with(|s| s.fault = None);
        let reached = world.with(|s| s.kv.get(&record_path("s")).map_or(0, Vec::len)) == version;
        if reached && engine(world, "check").load("s").await.unwrap().record.is_some_and(|r| r.way().is_some()) {
            return true;
        }
    }
    false
}
