//! A daemon that is stopped just before its act on the target, while another takes over, finishes, and does the next slot too. When it
//! goes on, it does no harm.

use super::together::played;
use super::{QUICK, freeze, thaw, two, was_lost};
use keyward_harness::{Moment, wait_until};

#[test]
fn a_daemon_stopped_before_its_change_does_no_harm_when_it_goes_on_two_slots_later() {
    played("zombie");
}

/// Twice: with the change itself on its way, and with the answer before it on its way, so that the change is its first act.
pub fn one_user() {
    for is_on_its_way in [true, false] {
        let [a, b] = two(QUICK);
        let frozen = a.serve();
        a.rotates("legacy");
        let number = a.number("legacy");
        let held = if is_on_its_way { a.hold_change(0) } else { a.hold_record("legacy", 0, Moment::After) };
        let asked = a.asked_to_rotate("legacy");
        held.has_come();
        freeze(&frozen);
        let _other = b.serve();
        b.is_idle_at("legacy", number + 1);
        b.rotates("legacy");
        let published = b.shop.published("shop/legacy").unwrap();
        held.release();
        thaw(&frozen);
        was_lost(asked);
        assert_eq!(b.fence(&b.shop.legacy), (number + 2, 0));
        assert_eq!(b.shop.published("shop/legacy").unwrap(), published);
        b.is_well("legacy", "shop/legacy", number + 2);
        a.rotates("legacy");
        b.is_well("legacy", "shop/legacy", number + 3);
    }
}

#[test]
fn a_daemon_stopped_before_its_change_does_not_revive_a_user_that_was_retired_meanwhile() {
    played("zombie of two");
}

pub fn two_users() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    let apply = a.hold_change(0);
    let asked = a.asked_to_rotate("shop-database");
    apply.has_come();
    freeze(&frozen);
    let number = a.number("shop-database");
    let _other = b.serve();
    b.is_idle_at("shop-database", number);
    let candidate = b.shop.published("shop/database").unwrap();
    let text = |name: &str| candidate[name].as_str().unwrap().to_owned();
    let (user, password) = (text("username"), text("password"));
    wait_until("the next slot", super::LONG, || {
        // Until the grace is over it is deferred.
        (crate::world::run(&b.shop, &["rotate", "shop-database"]).code == Some(0)).then_some(())
    });
    wait_until("the user to be retired", super::LONG, || b.shop.record("shop-database").ok()?.get("later").is_none().then_some(()));
    assert!(b.shop.query_as(&user, &password).is_err());
    apply.release();
    thaw(&frozen);
    was_lost(asked);
    assert!(b.shop.query_as(&user, &password).is_err(), "it was revived");
    assert_eq!(b.fence(&user), (number + 1, 2));
    b.is_well("shop-database", "shop/database", number + 1);
}
