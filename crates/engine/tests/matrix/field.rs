//! Ways in which other rotators failed, by their number in the list of 22. Those that are shown elsewhere bear their number there;
//! `cargo xtask tidy` sees that none is missing.

use super::{ask, check_sound, crashed_right_after_stage, engine, settle, settle_once, settle_one_rotation};
use crate::scenes::{PATH, set_up};
use crate::world::{Fault, State};
use keyward_rotation::saga::End;

const POSTGRES: [&str; 2] = ["postgres-password", "postgres-two-users"];

/// The store was changed and the database was not: Automatic-Secret-Rotation writes Vault first, and what it published is dead if ALTER fails.
#[tokio::test]
async fn failure_02_nothing_is_published_before_it_logs_in() {
    fn works(state: &State) {
        let published = state.kv[PATH].last().unwrap().as_ref().unwrap();
        let live: serde_json::Value = serde_json::from_str(published).unwrap();
        if live["password"] != "old" {
            assert_eq!(state.roles[live["username"].as_str().unwrap()].password, live["password"].as_str().unwrap());
        }
    }
    for kind in POSTGRES {
        for at in 1..40 {
            let (world, spec) = set_up(kind);
            world.with(|s| (s.watch, s.fault) = (Some(works as fn(&State)), Some((at, Fault::Refused))));
            settle(&world, &spec).await;
            assert_ne!(world.newest(PATH)["password"], "old", "{kind}: refused once at call {at}");
        }
    }
}

/// A change was made and its answer lost: rotate-root answered EOF because its server had panicked (vault#19103).
#[tokio::test]
async fn failure_03_a_rotation_by_vault_whose_answer_was_lost_is_looked_at_and_not_repeated() {
    let mut lost = 0;
    for at in 1..40 {
        let (world, spec) = set_up("vault-static-role");
        world.with(|s| s.fault = Some((at, Fault::LostAnswer)));
        settle(&world, &spec).await;
        lost += usize::from(world.with(|s| s.calls >= at));
        world.with(|s| s.fault = None);
        settle(&world, &spec).await;
        assert_eq!(world.with(|s| s.static_password), 1, "the answer of call {at} was lost");
        check_sound(&world, &spec, "after a lost answer").await;
    }
    assert!(lost > 5, "{lost}");
}

/// Vault was sealed in the middle: rotations were lost in a failover (vault#21935).
#[tokio::test]
async fn failure_10_a_vault_sealed_in_the_middle_loses_no_candidate_and_the_rotation_goes_on() {
    for kind in POSTGRES {
        for at in 2..40 {
            let (world, spec) = set_up(kind);
            world.with(|s| s.sealed_from = Some(at));
            if engine(&world, "me").load_or_create("s").await.is_ok() {
                settle(&world, &spec).await;
            }
            world.with(|s| s.sealed_from = None);
            settle(&world, &spec).await;
            check_sound(&world, &spec, &format!("{kind}: sealed from call {at} on")).await;
        }
    }
}

/// A replica that was a moment behind was taken for a refusal (AWS rotation-lambdas' pull request 142, mended there by a sleep of ten seconds).
#[tokio::test]
async fn failure_15_a_replica_that_is_behind_is_waited_for() {
    for kind in POSTGRES {
        let (world, spec) = set_up(kind);
        world.with(|s| s.lag = 3);
        assert_eq!(settle_one_rotation(&world, &spec).await.end, End::Rotated, "{kind}");
        check_sound(&world, &spec, kind).await;
    }
}

/// One password that the database did not like was tried for ever (vault's pull request 28989).
#[tokio::test]
async fn failure_17_a_candidate_that_is_refused_is_never_tried_again() {
    for kind in POSTGRES {
        let (world, spec) = set_up(kind);
        world.with(|s| s.refuse_candidates = true);
        for attempts in 1..=3 {
            assert_eq!(settle_one_rotation(&world, &spec).await.end, End::RolledBack, "{kind}");
            let record = engine(&world, "me").load("s").await.unwrap().record.unwrap();
            assert_eq!(record.last_failure.map(|f| f.attempts), Some(attempts), "{kind}: the backoff counts them");
        }
        let mut tried = world.with(|s| s.applied.clone());
        tried.retain(|password| password != "old");
        let all = tried.len();
        tried.sort_unstable();
        tried.dedup();
        assert!(tried.len() == all && all >= 3, "{kind}: {} of {all} differ", tried.len());
    }
}

/// A rotation wrote the whole document and undid what somebody had just written beside it (vault-java-driver#212, rustfs's pull request 5518).
#[tokio::test]
async fn failure_19_a_field_that_somebody_writes_during_a_rotation_is_kept() {
    for kind in POSTGRES {
        let (world, spec) = crashed_right_after_stage(kind).await;
        let mut live = world.newest(PATH);
        live["theirs"] = "just now".into();
        world.put_json(PATH, &live.to_string());
        assert_eq!(settle_once(&world, &spec).await.end, End::Rotated, "{kind}");
        assert_eq!(world.newest(PATH)["theirs"], "just now", "{kind}");
        assert!(engine(&world, "me").load("s").await.unwrap().record.unwrap().last_slot == Some(ask(&spec).slot), "{kind}");
        check_sound(&world, &spec, kind).await;
    }
}
