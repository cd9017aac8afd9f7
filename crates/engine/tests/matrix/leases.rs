//! What is a lease's own: it ends with its token, it is renewed while anybody needs it, and nothing of it is left over.

use crate::scenes::{PATH, set_up};
use crate::world::{Fault, World};
use crate::{check_sound, engine, settle, settle_one_rotation};
use keyward_engine::{Alive, TendReport};
use keyward_rotation::record::Phase;
use keyward_rotation::saga::End;
use std::time::Duration;

const KIND: &str = "vault-dynamic-lease";

/// The users that exist.
fn users(world: &World) -> Vec<String> {
    world.with(|s| s.leases.users.keys().cloned().collect())
}

#[tokio::test]
async fn a_lease_that_does_not_log_in_is_revoked_with_its_token() {
    let (world, spec) = set_up(KIND);
    world.with(|s| s.leases.refuse_candidates = true);
    let outcome = settle_one_rotation(&world, &spec).await;
    assert_eq!(outcome.end, End::RolledBack, "{:?}", outcome.failure);
    assert_eq!(users(&world), ["v-old"]);
    assert!(world.with(|s| s.leases.tokens.is_empty()), "a token was left over");
    world.with(|s| s.leases.refuse_candidates = false);
    settle(&world, &spec).await;
    check_sound(&world, &spec, "after the second try").await;
}

#[tokio::test]
async fn a_lease_whose_answer_was_lost_is_revoked_and_another_is_made() {
    for at in 1..40 {
        let (world, spec) = set_up(KIND);
        world.with(|s| s.fault = Some((at, Fault::LostAnswer)));
        settle(&world, &spec).await;
        world.with(|s| s.fault = None);
        settle(&world, &spec).await;
        let published = world.newest(PATH)["username"].as_str().unwrap().to_owned();
        let mut left = users(&world);
        left.retain(|user| *user != published && user != "v-old");
        assert!(left.is_empty(), "lost at call {at}: {left:?} are left over");
    }
}

/// Revocations failed unseen and 2,349 users piled up, until no GRANT could run any more, anywhere (open-bank-oss#9689).
#[tokio::test]
async fn failure_16_the_old_lease_ends_when_it_is_over_and_its_user_is_gone() {
    let (world, spec) = set_up(KIND);
    settle(&world, &spec).await;
    let first = world.newest(PATH)["username"].as_str().unwrap().to_owned();
    let engine = engine(&world, "me");
    let stored = engine.load("s").await.unwrap();
    assert!(stored.record.as_ref().unwrap().later.is_empty(), "what was published before is not Keyward's to revoke");
    let ask = keyward_engine::Ask { slot: jiff::Timestamp::from_second(1_700_000_500).unwrap(), ..crate::ask(&spec) };
    assert_eq!(engine.rotate(&spec, stored, ask).await.end, End::Rotated);
    let tend = async || engine.tend(&spec, engine.load("s").await.unwrap()).await;
    assert!(matches!(tend().await, TendReport::Nothing), "the grace is not over");
    world.with(|s| {
        s.seconds += 3601;
        s.leases.connected = vec![first.clone()];
    });
    let TendReport::NotYet(_, why) = tend().await else { panic!("somebody is connected") };
    assert!(why.contains(&first) && why.contains("db:5432"), "{why}");
    world.with(|s| s.leases.connected.clear());
    assert!(matches!(tend().await, TendReport::Done(_)));
    assert!(!users(&world).contains(&first));
    check_sound(&world, &spec, "after the revocation").await;
}

#[tokio::test]
async fn whatever_somebody_still_needs_is_renewed_and_what_is_gone_is_told() {
    let (world, spec) = set_up(KIND);
    let engine = engine(&world, "me");
    assert_eq!(engine.keep_alive(&spec).await, Alive::Nothing);
    settle(&world, &spec).await;
    assert_eq!(engine.keep_alive(&spec).await, Alive::Renewed(Duration::from_mins(30)));
    let ask = keyward_engine::Ask { slot: jiff::Timestamp::from_second(1_700_000_500).unwrap(), ..crate::ask(&spec) };
    engine.rotate(&spec, engine.load("s").await.unwrap(), ask).await;
    let record = engine.load("s").await.unwrap().record.unwrap();
    assert!(record.phase == Phase::Idle && record.later.len() == 1);
    let present = record.kept["accessor"].clone();
    let older = world.with(|s| s.leases.tokens.keys().find(|a| **a != present).unwrap().clone());
    world.with(|s| s.leases.tokens.remove(&older));
    assert!(matches!(engine.keep_alive(&spec).await, Alive::Gone { is_present: false, .. }));
    world.with(|s| s.leases.tokens.remove(&present));
    assert!(matches!(engine.keep_alive(&spec).await, Alive::Gone { is_present: true, .. }), "what consumers read comes first");
}
