//! Who still holds an old value.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

mod common;

use common::{Log, Made, at, made};
use jiff::SignedDuration;
use keyward_audit::{MAX_READERS_PER_SECRET, Usage, UsageSnapshot};

fn read(name: &str, address: &str, seconds: i64) -> Made {
    let mut line = made("read", "secret/data/app/database");
    (line.name, line.address, line.seconds) = (name.into(), address.into(), seconds);
    line
}

fn names(readers: &[keyward_audit::Reader]) -> Vec<(&str, &str)> {
    readers.iter().map(|reader| (reader.name.as_str(), reader.address.as_str())).collect()
}

#[test]
fn laggards_are_those_who_read_before_and_not_since() {
    let mut log = Log::new();
    for line in [
        read("token-a", "10.0.0.1", 10),
        read("token-a", "10.0.0.2", 20),
        read("token-b", "10.0.0.3", 30),
        read("token-a", "10.0.0.1", 110),
        read("token-c", "10.0.0.4", 120),
    ] {
        log.line(&line.line());
    }
    assert_eq!(names(&log.usage.laggards("app", at(100))), [("token-b", "10.0.0.3"), ("token-a", "10.0.0.2")]);
    let readers = log.usage.readers("app");
    let a = readers.iter().find(|reader| reader.address == "10.0.0.1").unwrap();
    assert_eq!((a.reads, a.first_read, a.last_read), (2, at(10), at(110)));
    assert_eq!(log.usage.since("app"), Some(at(10)));
    assert!(log.usage.readers("legacy").is_empty());
}

#[test]
fn only_successful_reads_of_the_value_by_others_count() {
    let mut log = Log::new();
    log.own.entity_ids.insert("keyward".into());
    let change = |change: fn(&mut Made)| {
        let mut line = read("token-x", "10.0.0.1", 1);
        change(&mut line);
        line.line()
    };
    for line in [
        change(|line| line.kind = "request"),
        change(|line| line.error = Some("1 error occurred:\n\t* permission denied\n\n")),
        change(|line| line.allowed = false),
        change(|line| line.operation = "update"),
        change(|line| line.path = "secret/metadata/app/database".into()),
        change(|line| line.path = "secret/data/app/database/below".into()),
        change(|line| line.entity = "keyward"),
        change(|line| line.response = r#"{"data":{"http_content_type":"hmac-sha256:00","http_status_code":404}}"#),
    ] {
        log.line(&line);
        assert!(log.usage.readers("app").is_empty(), "{line}");
    }
    log.line(&change(|line| line.path = "database/static-creds/legacy".into()));
    assert_eq!(names(&log.usage.readers("legacy")), [("token-x", "10.0.0.1")]);
}

#[test]
fn keyward_s_own_reads_from_before_it_was_known_are_forgotten() {
    let mut log = Log::new();
    log.line(&read("approle/keyward", "10.0.0.1", 10).line());
    for address in ["10.0.0.1", "10.0.0.2"] {
        let mut own = read("approle/keyward", address, 20);
        own.entity = "keyward";
        log.line(&own.line());
    }
    assert_eq!(log.usage.readers("app").len(), 3);
    log.own.entity_ids.insert("keyward".into());
    log.usage.disown(&log.own);
    let left = log.usage.readers("app");
    assert_eq!(left.iter().map(|reader| reader.last_read).collect::<Vec<_>>(), [at(10)], "somebody else of that name is somebody else");
}

#[test]
fn it_stays_bounded_forgets_the_oldest_and_says_so() {
    let mut log = Log::new();
    let too_many = i64::try_from(MAX_READERS_PER_SECRET).unwrap() + 100;
    for n in 0..too_many {
        log.line(&read(&format!("token-{n}"), &"x".repeat(10_000), n).line());
    }
    let readers = log.usage.readers("app");
    assert_eq!((readers.len(), log.usage.forgotten()), (MAX_READERS_PER_SECRET, 100));
    assert!(readers.iter().all(|reader| reader.first_read >= at(100) && reader.address.len() <= 256));
    assert!(!log.usage.knows("app", "token-99") && log.usage.knows("app", "token-100"));
}

#[test]
fn old_readers_are_forgotten_and_dropped_secrets_too() {
    let mut log = Log::new();
    log.line(&read("token-old", "10.0.0.1", 0).line());
    log.line(&read("token-new", "10.0.0.1", 100).line());
    log.usage.expire(at(150), SignedDuration::from_secs(100));
    assert_eq!(names(&log.usage.readers("app")), [("token-new", "10.0.0.1")]);
    assert_eq!(log.usage.since("app"), Some(at(0)), "how long it was watched is not forgotten");
    log.usage.keep_only(|secret| secret != "app");
    assert_eq!(log.usage.since("app"), None);
}

#[test]
fn at_rest_and_back_it_is_the_same() {
    let mut log = Log::new();
    for n in 0..5 {
        log.line(&read(&format!("token-{}", n % 3), &format!("10.0.0.{n}"), n).line());
    }
    let snapshot = log.usage.snapshot();
    let text = serde_json::to_string(&snapshot).unwrap();
    assert!(text.contains(r#""format":"1""#));
    let back: UsageSnapshot = serde_json::from_str(&text).unwrap();
    assert_eq!(Usage::restore(back).snapshot(), snapshot);
    assert!(serde_json::from_str::<UsageSnapshot>(r#"{"format":"2"}"#).is_err());
}
