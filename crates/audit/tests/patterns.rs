//! Rules that see a pattern over many lines: many paths, new addresses, odd hours.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

mod common;

use common::{Log, Made, made};
use jiff::SignedDuration;
use keyward_audit::{Allow, Finding, Hours, RuleBook, RuleId, RuleOverride};

fn by(mut line: Made, name: &str, address: &str, seconds: i64) -> Made {
    (line.name, line.address, line.seconds) = (name.into(), address.into(), seconds);
    line
}

fn denied(mut line: Made) -> Made {
    line.allowed = false;
    line.error = Some("1 error occurred:\n\t* permission denied\n\n");
    line
}

fn all(log: &mut Log, lines: impl Iterator<Item = Made>) -> Vec<Finding> {
    lines.flat_map(|line| log.line(&line.line())).collect()
}

fn with(changes: &[RuleOverride]) -> Log {
    Log { rules: RuleBook::with(changes).unwrap(), ..Log::new() }
}

fn change(rule: RuleId) -> RuleOverride {
    RuleOverride { rule: rule.name().into(), ..RuleOverride::default() }
}

#[test]
fn who_reads_many_different_paths_is_told_once() {
    let read = |n: i64| by(made("read", &format!("secret/data/{n}")), "token-mallory", "10.0.0.9", n);
    let found = all(&mut Log::new(), (0..400).map(read));
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.rule, finding.key.as_str()), (RuleId::MassRead, "mass-read/identity/token-mallory"));
    assert!((200..=220).contains(&finding.count), "{}", finding.count);
    let same = (0..5_000).map(|n| by(made("read", &format!("secret/data/{}", n % 20)), "token-app", "10.0.0.1", n / 10));
    assert_eq!(all(&mut Log::new(), same), []);
    let apart = (0..400).map(|n| by(made("read", &format!("secret/data/{n}")), &format!("token-{}", n % 10), "10.0.0.1", n));
    assert_eq!(all(&mut Log::new(), apart), [], "ten who read forty each");
    let looks = (0..400).map(|n| by(made("read", &format!("sys/policies/acl/{n}")), "token-admin", "10.0.0.1", n));
    assert_eq!(all(&mut Log::new(), looks), [], "no values are read there");
}

#[test]
fn who_lists_and_tries_many_different_paths_is_told() {
    let list = |n: i64| by(made("list", &format!("secret/metadata/{n}/")), "token-mallory", "10.0.0.9", n);
    let found = all(&mut Log::new(), (0..100).map(list));
    assert_eq!(found.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), ["enumeration/identity/token-mallory"]);
    let guess = |n: i64| denied(by(made("read", &format!("secret/data/{n}")), "", "10.0.0.9", n * 5));
    let found = all(&mut Log::new(), (0..100).map(guess));
    assert!(found.iter().any(|f| f.key == "enumeration/address/10.0.0.9"), "{found:?}");
}

#[test]
fn keywards_own_reads_and_those_allowed_are_not_many() {
    let reads = |name: &'static str| (0..400).map(move |n| by(made("read", &format!("secret/data/{n}")), name, "10.0.0.9", n));
    let mut log = Log::new();
    log.own.display_names.insert("token-keyward".into());
    assert_eq!(all(&mut log, reads("token-keyward")), []);
    let allow = Allow { display_names: vec!["token-backup".into()], ..Allow::default() };
    let mut log = with(&[RuleOverride { allow: Some(allow), ..change(RuleId::MassRead) }]);
    assert_eq!(all(&mut log, reads("token-backup")), []);
    assert_eq!(all(&mut log, reads("token-other")).len(), 1);
}

#[test]
fn a_known_identity_from_a_new_address_is_told_and_so_after_a_restart() {
    let day = 86_400;
    let call = |address: &str, at: i64| by(made("read", "sys/health"), "token-app", address, at * day);
    let mut log = Log::new();
    assert_eq!(all(&mut log, [call("10.0.0.1", 0), call("10.0.0.2", 3)].into_iter()), []);
    let kept = log.rules.take_sightings();
    let mut log = Log::new();
    log.rules.remember(&kept);
    let found = all(&mut log, [call("10.0.0.1", 8), call("10.0.0.3", 8), call("10.0.0.3", 9)].into_iter());
    assert_eq!(found.iter().map(|f| f.key.as_str()).collect::<Vec<_>>(), ["new-source-address/token-app/10.0.0.3"]);
    let allow = Allow { addresses: vec!["10.0.0.0/8".into()], ..Allow::default() };
    let mut log = with(&[RuleOverride { allow: Some(allow), ..change(RuleId::NewSourceAddress) }]);
    log.rules.remember(&kept);
    let found = all(&mut log, [call("10.9.9.9", 8), call("192.0.2.1", 8)].into_iter());
    assert_eq!(found.iter().map(|f| f.from.as_str()).collect::<Vec<_>>(), ["192.0.2.1"]);
}

/// 07:00 to 19:00 by a clock that is the log's own.
fn by_day() -> Hours {
    Hours::new("07:00-19:00", |at| (7..19).contains(&at.to_zoned(jiff::tz::TimeZone::UTC).hour()))
}

#[test]
fn access_off_hours_is_told_where_hours_are_set() {
    // The made-up lines begin at 20:26:40 UTC.
    let (night, noon) = (0, 16 * 3600);
    let app = |at| by(made("read", "secret/data/app/database"), "token-app", "10.0.0.1", at);
    assert_eq!(all(&mut Log::new(), [app(night)].into_iter()), []);
    let rule = RuleOverride { hours: Some(by_day()), paths: Some(vec!["payroll/*".into()]), ..change(RuleId::AccessOffHours) };
    let mut log = with(&[rule]);
    let pay = |at| by(made("update", "payroll/data/x"), "token-app", "10.0.0.1", at);
    let other = by(made("read", "secret/data/other"), "token-app", "10.0.0.1", night);
    let found = all(&mut log, [app(noon), pay(noon), other, app(night), pay(night)].into_iter());
    let keys: Vec<_> = found.iter().map(|f| f.key.as_str()).collect();
    assert_eq!(keys, ["access-off-hours/app/token-app", "access-off-hours/payroll/data/x/token-app"]);
}

#[test]
fn in_quiet_hours_a_finding_is_made_and_marked() {
    let quiet = Hours::new("always", |_| true);
    let mut log = with(&[RuleOverride { quiet: Some(quiet), ..change(RuleId::RawAccess) }]);
    let found = all(&mut log, [made("read", "sys/raw/core/keyring"), made("update", "sys/policy/x")].into_iter());
    assert_eq!(found.iter().map(|f| (f.rule, f.is_quiet)).collect::<Vec<_>>(), [(RuleId::RawAccess, true), (RuleId::PolicyChanged, false)]);
}

#[test]
fn a_hostile_log_does_not_grow_the_rules() {
    let mut log = with(&[RuleOverride { window: Some(SignedDuration::from_secs(60)), ..change(RuleId::MassRead) }]);
    for n in 0..20_000i64 {
        let line = by(made("read", &format!("secret/data/{n}")), &format!("token-{n}"), &format!("10.{}.{}.1", n % 250, n / 250), n / 20);
        log.line(&line.line());
    }
    assert_eq!(log.rules.take_sightings().len(), keyward_audit::MAX_IDENTITIES);
    assert!(log.rules.forgotten() > 3_000);
}
