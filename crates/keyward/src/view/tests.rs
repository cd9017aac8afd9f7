//! `keyward status NAME`, word for word, for every state in which a person reads it: what happened, what is true now, what happens
//! next, what can I do.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use crate::commands::{Alone, status};
use crate::config::{Config, Environment};
use keyward_engine::stored::Held;
use keyward_engine::{Class, Failure};
use keyward_rotation::record::{Attempt, Diverged, Known, LastFailure, Phase, Purpose};
use keyward_rotation::saga::Stuck;
use std::collections::BTreeMap;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A Wednesday; the slot of Sunday the 22nd was served.
const NOW: &str = "2026-11-25T10:00:00Z";

/// A database secret, and one that a person supplies.
fn managed(name: &str) -> Managed {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let text = r#"
[vault]
address = "https://127.0.0.1:8200"
[[secret]]
name = "backend"
class = "database"
kind = "postgres-two-users"
path = "kv/backend"
users = ["a", "b"]
admin = { url = "postgresql://keeper@127.0.0.1/app", password = { env = "X" } }
login = { url = "postgresql://127.0.0.1/app" }
[[secret]]
name = "openai"
class = "api-key"
kind = "manual"
path = "kv/openai"
set = { key = "{value}" }
"#;
    let config = Config::parse(text, "test.toml", &Environment::empty()).unwrap();
    Alone::offline(config, &Environment::empty()).unwrap().managed(name).unwrap().clone()
}

fn attempt() -> Attempt {
    Attempt {
        rotation: "r-0123456789abcdef".into(),
        purpose: Purpose::Rotate { slot: at("2026-11-22T02:00:00Z") },
        kind: "postgres-two-users".into(),
        owner: "7f3a".into(),
        asked_by: "schedule".into(),
        base: Some(4),
        staged_at: at("2026-11-22T02:00:05Z"),
        since_version: 9,
        facts: BTreeMap::from([("failed".to_owned(), "logging in as b: wrong password [wrong_password]".to_owned())]),
    }
}

/// Rotated on Sunday.
fn record() -> Record {
    Record {
        number: 7,
        last_slot: Some(at("2026-11-22T02:00:00Z")),
        last_success: Some(at("2026-11-22T02:00:07Z")),
        ..Record::first_seen("backend", at("2026-10-01T12:00:00Z"))
    }
}

fn shown(managed: &Managed, record: Option<Record>, beside: Beside<'_>, now: &str) -> String {
    let stored = Stored { version: 3, record, held: Held::default() };
    status::detail(&view(managed, Ok(&stored), beside, at(now)))
}

fn check(case: &str, record: Record) {
    check_beside(case, record, Beside::default());
}

fn check_beside(case: &str, record: Record, beside: Beside<'_>) {
    insta::assert_snapshot!(case, shown(&managed("backend"), Some(record), beside, NOW));
}

#[test]
fn a_secret_that_is_well() {
    check("well", record());
    insta::assert_snapshot!("not_seen", shown(&managed("backend"), None, Beside::default(), NOW));
    check("first_seen", Record::first_seen("backend", at("2026-11-24T12:00:00Z")));
    let unreadable = view(&managed("backend"), Err("reading the record of backend: Vault is sealed [sealed]"), Beside::default(), at(NOW));
    insta::assert_snapshot!("unreadable", status::detail(&unreadable));
}

#[test]
fn a_rotation_that_failed_and_was_rolled_back() {
    let failure = |attempts| LastFailure {
        at: at("2026-11-25T09:59:30Z"),
        attempts,
        why: "logging in as b: the password was refused [wrong_password]".into(),
    };
    let owed = Record { last_slot: Some(at("2026-11-15T02:00:00Z")), last_success: Some(at("2026-11-15T02:00:07Z")), ..record() };
    check("rolled_back", Record { last_failure: Some(failure(1)), ..owed.clone() });
    check("rolled_back_often", Record { last_failure: Some(failure(3)), ..owed });
}

#[test]
fn a_rotation_under_way_or_left_in_the_middle() {
    let staged = Record { phase: Phase::Staged(attempt()), ..record() };
    check("rotating", staged.clone());
    let recent =
        Recent { at: at("2026-11-22T02:01:00Z"), outcome: "suspended", why: "writing the record: Vault is sealed [sealed]".into() };
    check_beside("suspended", staged, Beside { recent: Some(&recent), ..Beside::default() });
    check("rolling_back", Record { phase: Phase::Back(attempt()), ..record() });
}

#[test]
fn a_rotation_that_is_stuck_for_each_reason() {
    let all = [
        ("foreign_value", Stuck::ForeignValue, false),
        ("path_deleted", Stuck::PathDeleted, false),
        ("unproved", Stuck::Unproved, false),
        ("undo_failed", Stuck::UndoFailed, true),
        ("unsettled", Stuck::Unsettled, false),
        ("cannot_go_on", Stuck::CannotGoOn, false),
    ];
    for (name, reason, back) in all {
        let why = "db.example.com:5432 refused the connection [refused]".to_owned();
        let phase = Phase::Stuck { attempt: attempt(), back, reason, why, since: at("2026-11-22T02:03:00Z") };
        check(&format!("stuck_{name}"), Record { phase, ..record() });
    }
}

#[test]
fn a_rotation_that_was_put_off_or_refused_before_it_changed_anything() {
    let owed = Record { last_slot: Some(at("2026-11-15T02:00:00Z")), last_success: Some(at("2026-11-15T02:00:07Z")), ..record() };
    let recent = |outcome, why: &str| Recent { at: at("2026-11-25T09:58:00Z"), outcome, why: why.to_owned() };
    let deferred = recent("deferred", "the idle user b is still in use: 2 session(s), one from 10.1.0.7 (billing) [in_use]");
    check_beside("deferred", owed.clone(), Beside { recent: Some(&deferred), ..Beside::default() });
    let refused = recent("refused", "the role b does not exist [invalid]");
    check_beside("refused", owed.clone(), Beside { recent: Some(&refused), ..Beside::default() });
    // A person asked though nothing was due.
    check_beside("deferred_out_of_turn", record(), Beside { recent: Some(&deferred), ..Beside::default() });
    let held = recent("clock", "this machine's clock is 300 s ahead of Vault's, more than the 60 s that are allowed");
    check_beside("clock", owed, Beside { recent: Some(&held), ..Beside::default() });
}

#[test]
fn a_secret_that_diverged_or_was_adopted() {
    let why = "what is published was refused by db.example.com:5432: wrong password";
    check("diverged", Record { diverged: Some(Diverged { why: why.into(), since: at("2026-11-25T09:00:00Z") }), ..record() });
    let known = Known { digest: "d".into(), salt: "s".into(), by: Author::SomebodyElse, at: at("2026-11-25T09:00:00Z") };
    check("adopted", Record { published: Some(known), ..record() });
}

#[test]
fn a_secret_or_a_class_that_a_person_paused() {
    let phase = Phase::Paused { by: "alice (uid 1000)".into(), why: "until the release is out".into(), since: at("2026-11-24T08:00:00Z") };
    check("paused", Record { phase, ..record() });
    let pause = Pause { by: "alice (uid 1000)".into(), why: "release freeze".into(), since: at("2026-11-24T08:00:00Z") };
    let owed = Record { last_slot: Some(at("2026-11-15T02:00:00Z")), last_success: Some(at("2026-11-15T02:00:07Z")), ..record() };
    check_beside("class_paused", owed, Beside { class_pause: Some(&pause), ..Beside::default() });
}

#[test]
fn a_secret_that_is_overdue() {
    let long_ago = Record { last_slot: Some(at("2026-11-08T02:00:00Z")), last_success: Some(at("2026-11-08T02:00:07Z")), ..record() };
    check("overdue", long_ago);
    let supplied = Record { secret: "openai".into(), ..Record::first_seen("openai", at("2026-09-01T12:00:00Z")) };
    insta::assert_snapshot!("needs_a_person", shown(&managed("openai"), Some(supplied), Beside::default(), NOW));
}

#[test]
fn an_older_value_that_is_still_used() {
    let later = Later::Retire { role: "a".into(), number: 7, rotation: "r-0".into(), not_before: at("2026-11-23T02:00:07Z") };
    let kept = "a still has 1 session(s), one from 10.1.0.7 (billing); not read since by approle/billing from 10.1.0.7";
    let beside = Beside { kept: Some(kept), ..Beside::default() };
    let stored = Stored { version: 3, record: Some(Record { later: vec![later], ..record() }), held: Held::default() };
    let mut view = view(&managed("backend"), Ok(&stored), beside, at(NOW));
    insta::assert_snapshot!("kept", status::detail(&view));
    let used = |sessions: Result<Vec<String>, Failure>, readers| UseView::from(StillUsed { what: "a".into(), sessions, readers });
    let from =
        vec!["from 10.1.0.7 (billing) at db.example.com:5432".to_owned(), "from a local socket (psql) at db.example.com:5432".to_owned()];
    view.still_used = vec![used(Ok(from), Laggards::Known(vec!["approle/billing from 10.1.0.7".into()]))];
    insta::assert_snapshot!("still_used", status::detail(&view));
    let away = Failure::passing(Class::Unreachable, "db.example.com:5432 cannot be reached");
    view.still_used = vec![used(Err(away), Laggards::Unknown("the audit log of vault-2 is not followed".into()))];
    insta::assert_snapshot!("use_unknown", status::detail(&view));
    view.still_used = vec![used(Ok(Vec::new()), Laggards::Known(Vec::new()))];
    insta::assert_snapshot!("nobody_uses_it", status::detail(&view));
}

/// Whatever the state: none of the four answers is empty where something is wrong.
#[test]
fn every_failed_state_answers_all_four() {
    let phases = [
        Phase::Staged(attempt()),
        Phase::Back(attempt()),
        Phase::Stuck { attempt: attempt(), back: false, reason: Stuck::Unproved, why: "w".into(), since: at(NOW) },
        Phase::Paused { by: "a".into(), why: String::new(), since: at(NOW) },
    ];
    for phase in phases {
        let under_way = matches!(phase, Phase::Staged(_) | Phase::Back(_));
        let stored = Stored { version: 1, record: Some(Record { phase, ..record() }), held: Held::default() };
        let view = view(&managed("backend"), Ok(&stored), Beside::default(), at(NOW));
        for (what, text) in [("happened", &view.happened), ("now", &view.now), ("next", &view.next)] {
            assert!(!text.is_empty(), "{what} of {view:?}");
        }
        assert!(under_way || view.can_do.contains("keyward "), "{view:?}");
    }
}
