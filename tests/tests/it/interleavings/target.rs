//! Around the change in the target.

use super::publishing::{copied, the_copy_works};
use super::together::played;
use super::{QUICK, freeze, rolled_back_by, thaw, two, was_lost};
use keyward_harness::{Moment, wait_until};

/// The phases of the fence.
const APPLY: u8 = 0;
const UNDO: u8 = 1;

#[test]
fn an_undo_followed_by_the_frozen_apply_is_not_undone() {
    played("undo");
}

pub fn undo_then_apply() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    a.rotates("legacy");
    let number = a.number("legacy");
    let before = a.shop.published("shop/legacy").unwrap();
    let apply = a.hold_change(0);
    let asked = a.asked_to_rotate("legacy");
    apply.has_come();
    freeze(&frozen);
    let _other = rolled_back_by(&b, number + 1);
    apply.release();
    assert_eq!(b.fence(&b.shop.legacy), (number + 1, UNDO), "the late change was fenced off");
    b.shop.consume("shop/legacy").unwrap();
    thaw(&frozen);
    was_lost(asked);
    assert_eq!(b.shop.published("shop/legacy").unwrap(), before);
    b.is_well("legacy", "shop/legacy", number + 1);
}

#[test]
fn the_number_does_not_repeat_after_a_rollback_and_fences_off_the_one_that_was_frozen_before_it() {
    played("number");
}

pub fn number_after_a_rollback() {
    let [a, b] = two(QUICK);
    let frozen = a.serve();
    a.rotates("legacy");
    let number = a.number("legacy");
    let apply = a.hold_change(0);
    let asked = a.asked_to_rotate("legacy");
    apply.has_come();
    freeze(&frozen);
    let _other = rolled_back_by(&b, number + 1);
    b.rotates("legacy");
    assert_eq!(b.number("legacy"), number + 2, "the number of what was rolled back is not used again");
    assert_eq!(b.fence(&b.shop.legacy), (number + 2, APPLY));
    apply.release();
    b.shop.consume("shop/legacy").unwrap();
    thaw(&frozen);
    was_lost(asked);
    assert_eq!(b.fence(&b.shop.legacy), (number + 2, APPLY));
    b.is_well("legacy", "shop/legacy", number + 2);
}

/// Vault offers no precondition for `rotate-role`: what remains is one rotation more, and the copy follows by itself.
#[test]
fn a_rotate_role_that_was_frozen_is_one_rotation_more_and_the_copy_follows() {
    played("rotate-role");
}

pub fn frozen_rotate_role() {
    let [a, b] = two(QUICK);
    copied(&a);
    copied(&b);
    let frozen = a.serve();
    a.rotates("reporting");
    let number = a.number("reporting");
    let role = a.shop.static_role.replacen("/static-roles/", "/rotate-role/", 1);
    let rotate = a.vault.hold(&format!("POST {role}"), 0, Moment::Before);
    let asked = a.asked_to_rotate("reporting");
    rotate.has_come();
    freeze(&frozen);
    let _other = b.serve();
    b.is_idle_at("reporting", number + 1);
    let published = b.shop.published("shop/reporting").unwrap();
    rotate.release();
    thaw(&frozen);
    was_lost(asked);
    wait_until("the copy to be published again", super::LONG, || (b.shop.published("shop/reporting").ok()? != published).then_some(()));
    the_copy_works(&b);
    // Housekeeping has a number of its own, and no slot.
    let slot = |actor: &super::Actor| actor.shop.record("reporting").unwrap()["last_slot"].clone();
    assert_eq!(slot(&a), slot(&b));
}
