//! What every shape of line that the two servers write is understood as: one row per line of the fixtures.
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be read must fail the test")]

mod common;

use std::borrow::Cow;
use std::fmt::Write;

use common::{OPENBAO, VAULT, VAULT_1_15, VAULT_1_17, at};
use keyward_audit::{Fact, LabelBook, Outcome, Phase, parse};

fn table(log: &str) -> String {
    let labels = LabelBook::new(["secret/", "sys/", "auth/userpass/"].map(str::to_owned));
    let mut out = String::new();
    for (number, line) in log.lines().enumerate() {
        let entry = parse(line.as_bytes()).unwrap();
        let fact = Fact::of(&entry, at(0));
        assert_ne!(fact.time, at(0), "line {number}: the time was not read");
        let mut marks = Vec::new();
        marks.extend(fact.root.then_some("root"));
        marks.extend(fact.login.then_some("login"));
        marks.extend(fact.wrapped.then_some("wrapped"));
        marks.extend(fact.leased.then_some("leased"));
        marks.extend(fact.new_token.map(|token| if token.orphan { "new-orphan" } else { "new-token" }));
        let path: String = fact.path.chars().take(48).collect();
        let error = fact.error.map_or("-", keyward_audit::ErrorClass::label);
        let (mount, kind) = (labels.mount_point(&fact), LabelBook::mount_type(&fact));
        let phase = format!("{:?}", fact.phase).to_lowercase();
        let (operation, outcome) = (fact.operation.label(), fact.outcome.label());
        writeln!(
            out,
            "{:>3} {phase:<9} {operation:<6} {outcome:<6} {error:<19} {mount:<14} {kind:<8} {:<16} {path} {}",
            number + 1,
            fact.who(),
            marks.join(",")
        )
        .unwrap();
    }
    out
}

#[test]
fn vault_1_21() {
    insta::assert_snapshot!(table(VAULT));
}

#[test]
fn openbao_2_6() {
    insta::assert_snapshot!(table(OPENBAO));
}

#[test]
fn vault_1_15_made_up() {
    insta::assert_snapshot!(table(VAULT_1_15));
}

#[test]
fn vault_1_17_made_up() {
    insta::assert_snapshot!(table(VAULT_1_17));
}

#[test]
fn the_common_line_is_borrowed_not_copied() {
    let mut borrowed = 0;
    for line in VAULT.lines().chain(OPENBAO.lines()) {
        let entry = parse(line.as_bytes()).unwrap();
        let texts = [&entry.time, &entry.kind, &entry.request.id, &entry.request.operation, &entry.request.mount_point];
        assert!(texts.iter().all(|text| text.is_empty() || matches!(text, Cow::Borrowed(_))), "{line}");
        borrowed += usize::from(matches!(entry.request.path, Cow::Borrowed(_)));
    }
    // Only the paths with a quote, a backslash or an angle bracket have to be unescaped.
    assert!(borrowed >= 180, "{borrowed}");
}

#[test]
fn a_call_counts_once_and_a_seal_counts_although_it_is_never_answered() {
    let phase = |needle: &str, kind: &str| {
        let line = VAULT.lines().find(|line| line.contains(needle) && line.contains(kind)).unwrap();
        let entry = parse(line.as_bytes()).unwrap();
        let fact = Fact::of(&entry, at(0));
        (fact.phase, fact.counts())
    };
    assert_eq!(phase("\"sys/seal\"", "\"type\":\"request\""), (Phase::Alone, true));
    assert_eq!(phase("\"sys/audit/test\"", "\"type\":\"request\""), (Phase::Probe, false));
    assert_eq!(phase("\"secret/data/app/0202\"", "\"type\":\"request\""), (Phase::Announced, false));
    assert_eq!(phase("\"secret/data/app/0202\"", "\"type\":\"response\""), (Phase::Completed, true));
}

#[test]
fn keys_in_any_order_and_of_unknown_kind_make_no_difference() {
    let line = r#"{"surprise":[{"a":1}],"response":{"data":null,"supplemental_audit_data":{}},"request":{"remote_port":1,"request_uri":"/v1/x","path":"secret/data/x","operation":"read","namespace":{"path":"team/","id":"x"},"mount_point":7},"auth":{"display_name":"alice","metadata":{"n":5,"role_name":"web"},"policies":null,"num_uses":3},"type":"response","time":"2026-03-02T09:15:04.118520331Z","forwarded":true}"#;
    let entry = parse(line.as_bytes()).unwrap();
    let fact = Fact::of(&entry, at(0));
    assert_eq!((fact.path, fact.namespace, fact.mount_point, fact.outcome), ("secret/data/x", "team/", "", Outcome::Ok));
    assert_eq!(fact.who(), "alice/web");
    assert_eq!(fact.time.to_string(), "2026-03-02T09:15:04.118520331Z");
}
