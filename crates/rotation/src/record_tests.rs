//! The record as data: what it remembers, and what it never forgets.

use super::*;

fn staged() -> Record {
    let attempt = Attempt {
        rotation: "r1".into(),
        purpose: Purpose::Rotate { slot: Timestamp::UNIX_EPOCH },
        kind: "random".into(),
        owner: "me".into(),
        asked_by: "schedule".into(),
        base: Some(3),
        staged_at: Timestamp::UNIX_EPOCH,
        since_version: 7,
        facts: BTreeMap::new(),
    };
    Record { phase: Phase::Staged(attempt), number: 4, ..Record::first_seen("s", Timestamp::UNIX_EPOCH) }
}

#[test]
fn a_record_survives_its_own_json() {
    for record in [
        Record::first_seen("s", Timestamp::UNIX_EPOCH),
        staged(),
        staged().turned().unwrap_or_else(|| panic!()),
        staged().parked(Stuck::Unproved, "why", Timestamp::UNIX_EPOCH).unwrap_or_else(|| panic!()),
    ] {
        let text = serde_json::to_string(&record).unwrap_or_default();
        assert_eq!(serde_json::from_str::<Record>(&text).ok(), Some(record));
    }
}

#[test]
fn finishing_uses_up_the_slot_and_remembers_what_to_destroy() {
    let done = staged().finished(9, Timestamp::UNIX_EPOCH, vec![]).unwrap_or_else(|| panic!());
    assert_eq!((done.last_slot, done.held, &done.phase), (Some(Timestamp::UNIX_EPOCH), Some((7, 9)), &Phase::Idle));
    assert!(done.finished(9, Timestamp::UNIX_EPOCH, vec![]).is_none(), "only what is under way can be finished");
}

#[test]
fn what_an_earlier_attempt_left_undestroyed_is_not_forgotten() {
    let staged = Record { held: Some((2, 4)), ..staged() };
    let back = staged.clone().turned().and_then(|r| r.rolled_back(9, Timestamp::UNIX_EPOCH, "")).unwrap_or_else(|| panic!());
    let done = staged.finished(9, Timestamp::UNIX_EPOCH, vec![]).unwrap_or_else(|| panic!());
    assert_eq!((done.held, back.held), (Some((2, 9)), Some((2, 9))));
}

#[test]
fn a_rollback_leaves_the_slot_open_and_counts() {
    let back =
        staged().turned().and_then(|r| r.rolled_back(9, Timestamp::UNIX_EPOCH, "verify: wrong password")).unwrap_or_else(|| panic!());
    assert_eq!(back.last_slot, None);
    assert_eq!(back.last_failure.as_ref().map(|f| f.attempts), Some(1));
}

#[test]
fn resuming_goes_on_in_the_recorded_direction() {
    let stuck = staged().turned().and_then(|r| r.parked(Stuck::UndoFailed, "", Timestamp::UNIX_EPOCH)).unwrap_or_else(|| panic!());
    assert_eq!(stuck.resumed().and_then(|r| r.way()), Some(Way::Back));
}

#[test]
fn an_owner_is_silent_only_when_the_same_version_stays() {
    let mut seen = Observation::default();
    let at = Duration::from_secs;
    assert_eq!(seen.observe(1, at(10)), at(0));
    assert_eq!(seen.observe(1, at(14)), at(4));
    assert_eq!(seen.observe(2, at(20)), at(0));
    assert_eq!(seen.observe(2, at(26)), at(6));
}
