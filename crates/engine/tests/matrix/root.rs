//! What is a root password's own: nobody knows the old one, so nothing is called off that may still happen.

use crate::scenes::set_up;
use crate::world::root::USER;
use crate::world::{Fault, World};
use crate::{check_sound, engine, settle, settle_one_rotation};
use keyward_engine::ports::{FenceAnswer, FenceCall, FencePhase, Postgres};
use keyward_rotation::saga::End;
use keyward_secret::Secret;

fn vault_gets_in(world: &World) -> bool {
    world.with(|s| s.root.vault_has == s.roles[USER].password)
}

#[tokio::test]
async fn a_root_password_that_vault_lost_is_set_by_the_administrator_and_that_is_said() {
    let (world, spec) = set_up("vault-root by rotate-root");
    world.with(|s| s.root.loses = true);
    let outcome = settle_one_rotation(&world, &spec).await;
    assert_eq!(outcome.end, End::Rotated, "{:?}", outcome.failure);
    let said = outcome.failure.expect("it says what happened").text;
    assert!(said.contains("Vault lost its password") && said.contains("the administrator set another one"), "{said}");
    assert!(vault_gets_in(&world));
    assert!(world.with(|s| s.root.canaries) >= 13, "the server's own rollback was not waited for");
    check_sound(&world, &spec, "after the loss").await;
}

#[tokio::test]
async fn a_server_that_mends_itself_within_two_minutes_is_left_alone() {
    let (world, spec) = set_up("vault-root by rotate-root");
    world.with(|s| (s.root.loses, s.root.mends_after) = (true, 7));
    let outcome = settle_one_rotation(&world, &spec).await;
    assert_eq!(outcome.end, End::Rotated, "{:?}", outcome.failure);
    assert!(world.with(|s| s.roles[USER].password.starts_with("made by Vault")), "the administrator interfered");
    assert!(vault_gets_in(&world));
}

#[tokio::test]
async fn a_loss_is_mended_whatever_else_goes_wrong_on_the_way() {
    for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LostAnswer, Fault::Refused] {
        for at in 1..60 {
            let (world, spec) = set_up("vault-root by rotate-root");
            world.with(|s| (s.root.loses, s.fault) = (true, Some((at, fault))));
            tokio::select! { _ = settle(&world, &spec) => {}, () = world.crashed.notified() => {} }
            world.with(|s| s.fault = None);
            settle(&world, &spec).await;
            assert!(vault_gets_in(&world), "{fault:?} at call {at}");
            check_sound(&world, &spec, &format!("{fault:?} at call {at}")).await;
        }
    }
}

/// The change was sent, and the answer never came: the rotation is called off, and the change arrives after that.
#[tokio::test]
async fn a_change_that_arrives_after_it_was_called_off_is_refused_for_ever() {
    let (world, spec) = set_up("vault-root");
    world.with(|s| s.root.refuses_changes = true);
    let outcome = settle_one_rotation(&world, &spec).await;
    assert_eq!(outcome.end, End::RolledBack, "{:?}", outcome.failure);
    world.with(|s| s.root.refuses_changes = false);
    let (number, rotation) = (outcome.number, outcome.rotation.as_str());
    let late = FenceCall { role: USER, secret: "s", number, phase: FencePhase::Apply, rotation };
    let answer = Postgres::apply(world.as_ref(), late, &Secret::new("lost with the record")).await.unwrap();
    assert!(matches!(answer, FenceAnswer::Fenced { .. }), "{answer:?}");
    assert!(vault_gets_in(&world));
    settle(&world, &spec).await;
    check_sound(&world, &spec, "after the second try").await;
    assert!(engine(&world, "me").load("s").await.unwrap().record.unwrap().number > number);
}
