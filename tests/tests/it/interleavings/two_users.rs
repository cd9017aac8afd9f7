//! Two users who take turns.

use super::{QUICK, freeze, thaw, two};
use crate::world::run;
use keyward_harness::wait_until;

/// The phase of the fence.
const APPLY: u8 = 0;

fn published(actor: &super::Actor) -> (String, String) {
    let read = actor.shop.published("shop/database").unwrap();
    let text = |name: &str| read[name].as_str().unwrap().to_owned();
    (text("username"), text("password"))
}

#[test]
fn a_retire_that_was_frozen_leaves_a_role_alone_that_became_current_again() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    let (first, _) = published(&a);
    let retire = a.hold_change(1);
    a.rotates("shop-database");
    let ((second, old), number) = (published(&a), a.number("shop-database"));
    assert_ne!(first, second);
    retire.has_come();
    freeze(&frozen);
    b.rotates("shop-database");
    assert_eq!(published(&b).0, first, "it is current again");
    retire.release();
    assert_eq!(b.fence(&first), (number + 1, APPLY), "it was fenced off");
    b.shop.consume("shop/database").unwrap();
    thaw(&frozen);
    b.is_well("shop-database", "shop/database", number + 1);
    // What is left for later is done for the other one, and only for that.
    wait_until("everything left for later to be done", super::LONG, || {
        b.shop.record("shop-database").ok()?.get("later").is_none().then_some(())
    });
    assert!(b.shop.query_as(&second, &old).is_err(), "the other one is retired");
    b.is_well("shop-database", "shop/database", number + 1);
}

#[test]
fn an_idle_role_still_in_use_at_the_next_slot_defers_it() {
    let [a, _] = two("schedule = \"quarterly\"\nretire = \"when-unused\"\ngrace = \"1s\"\nproof = \"5s\"\n");
    let _daemon = a.serve();
    let (first, password) = published(&a);
    a.rotates("shop-database");
    let (second, number) = (published(&a), a.number("shop-database"));
    let session = a.shop.postgres.psql_hold_as(&first, &password, &a.shop.database, "SET LOCAL application_name = 'an old pool'").unwrap();
    wait_until("the session to be what speaks against it", super::LONG, || {
        let ended = run(&a.shop, &["rotate", "shop-database"]);
        assert_eq!(ended.code, Some(75), "{ended:?}");
        // Until the grace is over, that is what is told.
        (ended.err.contains("session") && ended.err.contains("an old pool")).then_some(())
    });
    assert_eq!((published(&a), a.number("shop-database")), (second.clone(), number), "nothing was changed");
    let told = run(&a.shop, &["status", "shop-database"]).out;
    assert!(told.contains("an old pool"), "who keeps the old user from being retired is told: {told}");
    a.shop.query_as(&first, &password).unwrap();
    drop(session);
    wait_until("the next try", super::LONG, || (run(&a.shop, &["rotate", "shop-database"]).code == Some(0)).then_some(()));
    assert_eq!(published(&a).0, first);
    a.is_well("shop-database", "shop/database", number + 1);
}
