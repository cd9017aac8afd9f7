//! Which cure fits which case, as a table.

use super::*;
use jiff::Timestamp;
use keyward_rotation::record::{Attempt, Diverged, Purpose};
use std::collections::BTreeMap;

fn idle() -> Record {
    Record::first_seen("db", Timestamp::UNIX_EPOCH)
}

fn attempt() -> Attempt {
    Attempt {
        rotation: "r-1".into(),
        purpose: Purpose::Rotate { slot: Timestamp::UNIX_EPOCH },
        kind: "postgres-password".into(),
        owner: "me".into(),
        asked_by: "schedule".into(),
        base: Some(1),
        staged_at: Timestamp::UNIX_EPOCH,
        since_version: 2,
        facts: BTreeMap::new(),
    }
}

fn stuck(reason: Stuck) -> Record {
    Record { phase: Phase::Stuck { attempt: attempt(), back: false, reason, why: String::new(), since: Timestamp::UNIX_EPOCH }, ..idle() }
}

fn refused() -> Verdict {
    Verdict::Refused(Failure::lasting(Class::WrongPassword, "no"))
}

/// The cure's word for a kind that can apply what is published, and for one that cannot.
fn cures(record: &Record, verdict: &Verdict, foreign: bool, backwards: bool, is_candidate: bool) -> [&'static str; 2] {
    [true, false].map(|can_apply| {
        choose(&Case { name: "db", record, verdict, foreign, backwards, is_candidate, can_apply, is_manual: false }).name()
    })
}

#[test]
fn the_published_value_decides() {
    let diverged = Record { diverged: Some(Diverged { why: "no".into(), since: Timestamp::UNIX_EPOCH }), ..idle() };
    let paused = Record { phase: Phase::Paused { by: "a".into(), why: "b".into(), since: Timestamp::UNIX_EPOCH }, ..idle() };
    let staged = Record { phase: Phase::Staged(attempt()), ..idle() };
    let works = &Verdict::Works;
    let table = [
        (cures(&idle(), works, false, false, false), ["nothing"; 2], "all is well"),
        (cures(&idle(), works, true, false, false), ["note"; 2], "somebody else's value works: adopted"),
        (cures(&idle(), works, false, true, false), ["note"; 2], "time ran backwards: the number rises"),
        (cures(&diverged, works, false, false, false), ["note"; 2], "it was mended: the schedule is freed"),
        (cures(&idle(), &Verdict::Unprovable, true, false, false), ["note"; 2], "nobody can say: adopted"),
        (cures(&idle(), &refused(), false, false, false), ["apply", "rotate"], "changed by hand, or a restored database"),
        (cures(&diverged, &refused(), true, true, false), ["apply", "rotate"], "a restored Vault"),
        (cures(&idle(), &Verdict::Nothing, false, false, false), ["nothing"; 2], "never published"),
        (cures(&idle(), &Verdict::Gone, true, false, false), ["person"; 2], "deleted"),
        (cures(&idle(), &Verdict::Unknown("away".into()), false, false, false), ["person"; 2], "cannot be asked"),
        (cures(&paused, &refused(), false, false, false), ["person"; 2], "paused"),
        (cures(&paused, works, false, false, false), ["nothing"; 2], "paused and well"),
        (cures(&staged, &refused(), false, false, false), ["person"; 2], "under way"),
        (cures(&stuck(Stuck::Unproved), works, false, false, true), ["resume"; 2], "works by now: go on"),
        (cures(&stuck(Stuck::Unproved), &refused(), false, false, true), ["apply", "resume"], "published, refused"),
        (cures(&stuck(Stuck::ForeignValue), works, true, false, false), ["apply", "resume"], "theirs, and it works"),
        (cures(&stuck(Stuck::ForeignValue), &refused(), true, false, false), ["apply", "resume"], "theirs, refused"),
        (cures(&stuck(Stuck::UndoFailed), &refused(), false, false, false), ["apply", "resume"], "half undone"),
        (cures(&stuck(Stuck::CannotGoOn), &refused(), false, false, false), ["resume"; 2], "the table goes on by itself"),
        (cures(&stuck(Stuck::PathDeleted), &Verdict::Gone, false, false, false), ["person"; 2], "deleted in the middle"),
    ];
    for (cure, expected, what) in table {
        assert_eq!(cure, expected, "{what}");
    }
}

#[test]
fn a_value_that_only_a_person_can_bring_is_asked_for() {
    let record = idle();
    let case = Case {
        name: "openai",
        record: &record,
        verdict: &refused(),
        foreign: false,
        backwards: false,
        is_candidate: false,
        can_apply: false,
        is_manual: true,
    };
    assert_eq!(choose(&case), Cure::Person("bring a value that works: keyward supply openai".into()));
}
