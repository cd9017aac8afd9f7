//! What each rule sees and what it passes over.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

mod common;

use common::{Log, Made, VAULT, made};
use jiff::SignedDuration;
use keyward_audit::{Allow, RuleBook, RuleError, RuleId, RuleOverride, Severity};

fn with(mut line: Made, change: impl FnOnce(&mut Made)) -> Made {
    change(&mut line);
    line
}

#[test]
fn one_event_rules() {
    let request = |line: Made| with(line, |line| line.kind = "request");
    let failed = |line: Made| with(line, |line| line.error = Some("1 error occurred:\n\t* invalid request\n\n"));
    let root = |line: Made| with(line, |line| line.policy = "root");
    let token = |path: &str, response: &'static str| with(made("update", path), |line| line.response = response);
    let cases: Vec<(Made, &[&str])> = vec![
        (made("read", "secret/data/other"), &[]),
        (root(made("read", "secret/data/other")), &["root-token-used"]),
        (root(request(made("read", "secret/data/other"))), &[]),
        (made("update", "sys/policies/acl/reader"), &["policy-changed"]),
        (made("update", "sys/policy/reader"), &["policy-changed"]),
        (made("delete", "sys/policies/acl/reader"), &["policy-changed"]),
        (made("read", "sys/policies/acl/reader"), &[]),
        (request(made("update", "sys/policies/acl/reader")), &[]),
        (failed(made("update", "sys/policies/acl/reader")), &[]),
        (made("update", "sys/auth/userpass"), &["auth-method-changed"]),
        (made("update", "sys/auth/userpass/tune"), &["auth-method-changed"]),
        (made("delete", "sys/mounts/kv"), &["mount-changed"]),
        (made("update", "sys/remount"), &["mount-changed"]),
        (made("update", "sys/audit/file"), &["audit-device-changed"]),
        (request(made("update", "sys/audit/file")), &[]),
        (request(made("delete", "sys/audit/file")), &["audit-device-changed"]),
        (made("update", "sys/audit-hash/file"), &[]),
        (made("read", "sys/audit"), &[]),
        (made("update", "sys/config/auditing/request-headers/x"), &["audit-device-changed"]),
        (request(made("update", "sys/seal")), &["seal-requested"]),
        (request(made("update", "sys/step-down")), &["step-down-requested"]),
        (made("update", "sys/generate-root/attempt"), &["generate-root"]),
        (failed(made("update", "sys/generate-root/update")), &["generate-root"]),
        (made("read", "sys/generate-root/attempt"), &[]),
        (made("update", "sys/rekey/init"), &["rekey"]),
        (made("update", "sys/rekey-recovery-key/init"), &["rekey"]),
        (made("update", "sys/rotate"), &[]),
        (made("read", "sys/raw/core/keyring"), &["raw-access"]),
        (made("read", "sys/storage/raft/snapshot"), &["raw-access"]),
        (made("update", "sys/storage/raft/snapshot-force"), &["raw-access"]),
        (token("auth/token/create", r#"{"auth":{"policies":["reader"],"token_ttl":60}}"#), &[]),
        (token("auth/token/create", r#"{"auth":{"policies":["root"]}}"#), &["root-token-created"]),
        (token("auth/token/create-orphan", r#"{"auth":{"policies":["reader"],"token_ttl":60}}"#), &["orphan-token-created"]),
        (made("update", "secret/data/app/database"), &["secret-changed-by-stranger"]),
        (made("patch", "secret/data/app/database"), &["secret-changed-by-stranger"]),
        (made("delete", "secret/data/app/database"), &["secret-deleted"]),
        (made("update", "secret/undelete/app/database"), &["secret-changed-by-stranger"]),
        (made("update", "secret/destroy/app/database"), &["secret-deleted"]),
        (made("update", "secret/metadata/app/database"), &["secret-changed-by-stranger"]),
        (made("delete", "secret/metadata/app/database"), &["secret-deleted"]),
        (made("update", "database/rotate-role/legacy"), &["secret-changed-by-stranger"]),
        (made("update", "secret/delete/app/database"), &["secret-deleted"]),
        (made("delete", "secret/metadata/app/database/below"), &["secret-deleted"]),
        (made("delete", "secret/metadata/app"), &[]),
        (made("update", "secret/data/app/database/below"), &[]),
        (made("delete", "sys/mounts/secret"), &["mount-changed", "secret-deleted"]),
        (made("delete", "sys/mounts/secret2"), &["mount-changed"]),
        (made("delete", "database/static-roles/legacy"), &["secret-deleted"]),
        (made("read", "secret/metadata/app/database"), &[]),
        (made("update", "secret/data/app/database2"), &[]),
        (failed(made("update", "secret/data/app/database")), &[]),
    ];
    for (line, expected) in cases {
        assert_eq!(Log::new().names(&line), expected, "{} {} {}", line.kind, line.operation, line.path);
    }
}

#[test]
fn no_parent_in_the_body_makes_an_orphan_too() {
    let mut line = made("update", "auth/token/create");
    line.response = r#"{"auth":{"policies":["reader"],"token_ttl":60}}"#;
    let line = line.line().replace("\"request\":{", r#""request":{"data":{"no_parent":true,"policies":["hmac-sha256:00"]},"#);
    let found = Log::new().line(&line);
    assert_eq!(found.iter().map(|finding| finding.rule).collect::<Vec<_>>(), [RuleId::OrphanTokenCreated]);
}

#[test]
fn a_change_does_not_hide_behind_somebody_elses() {
    let mut log = Log::new();
    let mut by = |name: &str, accessor: &'static str, path: &str| {
        let line = with(made("update", path), |line| (line.name, line.accessor) = (name.to_owned(), accessor));
        log.names(&line)
    };
    for (path, rule) in [("sys/policies/acl/app", "policy-changed"), ("sys/raw/core/x", "raw-access")] {
        assert_eq!(by("token-alice", "hmac-sha256:aa", path), [rule]);
        assert!(by("token-alice", "hmac-sha256:aa", path).is_empty());
        assert_eq!(by("token-mallory", "hmac-sha256:bb", path), [rule]);
    }
}

#[test]
fn a_finding_says_who_what_and_from_where_once_per_window() {
    let mut log = Log::new();
    let mut line = made("update", "sys/policies/acl/x\u{202e}\u{7}");
    line.entity = "0b8f";
    let first = log.line(&line.line());
    let [finding] = &first[..] else { panic!("{first:?}") };
    assert_eq!((finding.who.as_str(), finding.entity_id.as_str(), finding.from.as_str()), ("token-alice", "0b8f", "10.0.0.1"));
    assert_eq!(finding.what, "update sys/policies/acl/x\u{fffd}\u{fffd}");
    assert_eq!((finding.severity, finding.count), (Severity::Warning, 1));
    assert!(finding.key.starts_with("policy-changed/0b8f/sys/policies/acl/x"));
    for minute in 1..50 {
        line.seconds = minute * 60;
        assert!(log.line(&line.line()).is_empty());
    }
    line.seconds = 2 * 3600;
    assert_eq!(log.line(&line.line())[0].count, 50, "those kept quiet are told with the next");
}

#[test]
fn long_texts_are_cut() {
    let found = Log::new().line(&made("update", &format!("sys/policies/acl/{}", "x".repeat(100_000))).line());
    assert!(found[0].what.chars().count() <= 257 && found[0].key.chars().count() <= 257);
}

#[test]
fn a_burst_of_denied_calls_is_seen_by_address_and_by_identity() {
    let denied = |name: &str, address: &str, seconds: i64| {
        with(made("read", "secret/data/x"), |line| {
            (line.name, line.address, line.seconds, line.allowed) = (name.into(), address.into(), seconds, false);
            line.error = Some("1 error occurred:\n\t* permission denied\n\n");
        })
    };
    let mut log = Log::new();
    let mut found = Vec::new();
    for n in 0..25 {
        found.extend(log.line(&denied(&format!("token-{n}"), "10.0.0.9", n).line()));
    }
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].key.as_str(), found[0].count), ("denied-burst/address/10.0.0.9", 20));
    found.clear();
    for n in 0..25 {
        found.extend(log.line(&denied("token-mallory", &format!("10.0.1.{n}"), 30 + n).line()));
    }
    assert_eq!(found.iter().map(|finding| finding.key.as_str()).collect::<Vec<_>>(), ["denied-burst/identity/token-mallory"]);
    for n in 0..100 {
        assert!(log.line(&denied("token-slow", "10.0.2.1", 1000 + n * 60).line()).is_empty(), "a trickle is no burst");
    }
}

#[test]
fn a_burst_of_failed_logins_is_seen_whether_it_says_400_or_403() {
    let template = VAULT.lines().find(|line| line.contains("invalid credentials") && line.contains("login/mallory")).unwrap();
    let locked = VAULT
        .lines()
        .find(|line| line.contains("login/mallory") && line.contains("\"error\":\"permission denied\"") && line.contains("\"response\"}"))
        .unwrap();
    let mut log = Log::new();
    let mut keys = Vec::new();
    for n in 0..12 {
        let line = if n < 5 { template } else { locked };
        keys.extend(log.line(line).into_iter().map(|finding| finding.key));
    }
    keys.sort();
    assert_eq!(keys, ["login-failures/address/127.0.0.1", "login-failures/user/auth/userpass/login/mallory"]);
}

#[test]
fn a_stranger_is_one_who_was_not_there_while_the_rule_learned() {
    let read = |name: &str, days: i64| {
        with(made("read", "secret/data/app/database"), |line| (line.name, line.seconds) = (name.into(), days * 86_400))
    };
    let mut log = Log::new();
    assert!(log.names(&read("token-app", 0)).is_empty());
    assert!(log.names(&read("token-batch", 6)).is_empty());
    assert!(log.names(&read("token-app", 8)).is_empty());
    assert_eq!(log.names(&read("token-mallory", 8)), ["secret-read-by-stranger"]);
    assert!(log.names(&read("token-mallory", 9)).is_empty(), "told once");
    let mut own = read("token-keyward", 9);
    own.accessor = "hmac-sha256:own";
    log.own.accessors.insert("hmac-sha256:own".into());
    assert!(log.names(&own).is_empty());
    assert!(!log.usage.knows("app", "token-keyward"), "Keyward's own reads are no use");
    own.accessor = "hmac-sha256:other";
    assert_eq!(log.names(&own), ["secret-read-by-stranger"]);
}

#[test]
fn learning_is_over_after_a_restart_too() {
    let mut log = Log::new();
    log.names(&made("read", "secret/data/app/database"));
    let snapshot = serde_json::to_string(&log.usage.snapshot()).unwrap();
    let mut log = Log::new();
    log.usage = keyward_audit::Usage::restore(serde_json::from_str(&snapshot).unwrap());
    let late = |name: &str| with(made("read", "secret/data/app/database"), |line| (line.name, line.seconds) = (name.into(), 8 * 86_400));
    assert!(log.names(&late("token-alice")).is_empty());
    assert_eq!(log.names(&late("token-mallory")), ["secret-read-by-stranger"]);
}

#[test]
fn configuration_changes_only_what_it_names() {
    let change = |rule: &str| RuleOverride { rule: rule.into(), ..RuleOverride::default() };
    let allow = Allow { display_names: vec!["token-alice".into()], ..Allow::default() };
    let mut log = Log::new();
    log.rules = RuleBook::with(&[
        RuleOverride { allow: Some(allow), ..change("policy-changed") },
        RuleOverride { enabled: Some(false), ..change("mount-changed") },
        RuleOverride { severity: Some(Severity::Info), ..change("rekey") },
        RuleOverride { threshold: Some(2), window: Some(SignedDuration::from_mins(1)), ..change("denied-burst") },
    ])
    .unwrap();
    assert!(log.names(&made("update", "sys/policies/acl/x")).is_empty());
    assert_eq!(log.names(&with(made("update", "sys/policies/acl/x"), |line| line.name = "token-bob".into())), ["policy-changed"]);
    assert!(log.names(&made("update", "sys/mounts/x")).is_empty());
    assert_eq!(log.line(&made("update", "sys/rekey/init").line())[0].severity, Severity::Info);
    assert_eq!(log.rules.settings(RuleId::Rekey).unwrap().threshold, 1);
    let wrong = |change| RuleBook::with(&[change]).unwrap_err();
    assert!(matches!(wrong(change("root-tokn-used")), RuleError::Unknown { .. }));
    assert!(matches!(wrong(RuleOverride { threshold: Some(0), ..change("rekey") }), RuleError::Threshold { .. }));
    assert!(matches!(wrong(RuleOverride { window: Some(SignedDuration::ZERO), ..change("rekey") }), RuleError::Window { .. }));
    let allow = Allow { addresses: vec!["10.0.0.300".into()], ..Allow::default() };
    assert!(matches!(wrong(RuleOverride { allow: Some(allow), ..change("rekey") }), RuleError::Address { .. }));
}

#[test]
fn every_rule_has_its_own_name_and_place() {
    for (place, rule) in RuleId::ALL.into_iter().enumerate() {
        assert_eq!(rule as usize, place);
        assert_eq!(RuleId::from_name(rule.name()), Some(rule));
        assert_eq!(RuleBook::defaults().settings(rule), Some(&rule.defaults()));
    }
}
