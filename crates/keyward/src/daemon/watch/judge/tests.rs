#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use super::*;
use jiff::SignedDuration;

fn state(word: &str) -> NodeState {
    match word {
        "active" => NodeState::Active,
        "standby" => NodeState::Standby,
        "dr" => NodeState::DrSecondary,
        "sealed" => NodeState::Sealed,
        "new" => NodeState::Uninitialised,
        "removed" => NodeState::Removed,
        _ => NodeState::Unreachable { why: "connection refused".into(), kind: keyward_vault::Kind::Unreachable },
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn seen(word: &str) -> Seen {
    Seen { state: state(word), skew: Some(0.1), certificate: None }
}

/// What was said, short: `+key severity` or `-key`; only what is about the node's state or the cluster.
fn short(say: Vec<Say>) -> Vec<String> {
    let word = |say| match say {
        Say::Raise(alert) => format!("+{} {}", alert.key, alert.severity.label()),
        Say::Resolve { key, .. } => format!("-{key}"),
    };
    say.into_iter().map(word).filter(|w| !w.contains("clock-skew") && !w.contains("certificate")).collect()
}

/// Looks every five seconds, as `a active`; what each look says beyond the first look at that node.
fn run(looks: &[&str]) -> Vec<String> {
    let mut memory = Memory::default();
    let mut known = BTreeSet::new();
    let mut told = Vec::new();
    for (i, look) in looks.iter().enumerate() {
        let (name, word) = look.split_once(' ').unwrap();
        let elapsed = Duration::from_secs(5 * i as u64);
        let place = Place { name, url: "https://v:8200" };
        let verdict = memory.judge(place, &seen(word), true, at(5 * i64::try_from(i).unwrap()), elapsed);
        let first = known.insert(name);
        told.extend(short(verdict.say).into_iter().filter(|w| !first || w.starts_with('+')));
        if verdict.wake {
            told.push("wake".to_owned());
        }
    }
    told
}

#[test]
fn a_node_that_was_shut_opens_once_and_one_that_did_not_answer_never() {
    let opened = |words: &[&str]| {
        let mut memory = Memory::default();
        let place = Place { name: "a", url: "https://v:8200" };
        let looks = words.iter().map(|word| memory.judge(place, &seen(word), true, at(0), Duration::ZERO).opened);
        looks.collect::<Vec<_>>()
    };
    assert_eq!(opened(&["sealed", "active", "active"]), [false, true, false]);
    assert_eq!(opened(&["new", "active", "sealed", "standby", "active", "active"]), [false, true, false, false, true, false]);
    assert_eq!(opened(&["sealed", "gone", "sealed", "active"]), [false, false, false, true]);
    assert_eq!(opened(&["active", "gone", "active", "standby", "active"]), [false; 5]);
}

#[test]
fn states_become_conditions() {
    let rows: &[(&[&str], &[&str])] = &[
        // Sealed: at once, again while it lasts, over once.
        (
            &["a active", "a sealed", "a sealed", "a active", "a active"],
            &["+vault-sealed/a critical", "+vault-sealed/a critical", "-vault-sealed/a", "wake"],
        ),
        // Silent: at the second look; nobody else serves.
        (&["a active", "a gone", "a gone", "a active"], &["+vault-unreachable/a critical", "-vault-unreachable/a", "wake"]),
        // One lost look is nothing, but what waited is woken.
        (&["a active", "a gone", "a active"], &["wake"]),
        // Another node serves.
        (&["b active", "a standby", "a gone", "a gone"], &["+vault-unreachable/a warning"]),
        // Sealed, restarted, still sealed: unknown is not unsealed.
        (
            &["a active", "a sealed", "a gone", "a gone", "a sealed"],
            &["+vault-sealed/a critical", "+vault-unreachable/a critical", "+vault-sealed/a critical", "-vault-unreachable/a"],
        ),
        (&["a active", "a new", "a active"], &["+vault-uninitialised/a critical", "-vault-uninitialised/a", "wake"]),
        // Taken out of its cluster: it is told as that, and not as sealed. Emptied and joined anew, it is sealed until somebody opens it.
        (
            &["b active", "a standby", "a removed", "a sealed", "a standby"],
            &["+vault-removed/a warning", "+vault-sealed/a critical", "-vault-removed/a", "-vault-sealed/a"],
        ),
        // An unsealed standby alone: an election that takes too long.
        (&["a active", "a standby", "a standby", "a standby", "a active"], &["+vault-no-active critical", "-vault-no-active"]),
        // Sealed everywhere: that is told node by node, not once more.
        (&["a sealed", "b sealed", "a sealed"], &["+vault-sealed/a critical", "+vault-sealed/b critical", "+vault-sealed/a critical"]),
        // A disaster-recovery secondary never has an active node.
        (&["a dr", "a dr", "a dr", "a dr", "a dr"], &[]),
    ];
    for (looks, expected) in rows {
        assert_eq!(run(looks), *expected, "{looks:?}");
    }
}

#[test]
fn the_first_good_look_ends_what_was_told_before_a_restart() {
    let mut memory = Memory::default();
    let place = Place { name: "a", url: "https://v:8200" };
    let said = short(memory.judge(place, &seen("active"), true, at(0), Duration::ZERO).say);
    assert_eq!(said, ["-vault-sealed/a", "-vault-unreachable/a", "-vault-uninitialised/a", "-vault-removed/a", "-vault-no-active"]);
    assert!(short(memory.judge(place, &seen("active"), true, at(5), Duration::from_secs(5)).say).is_empty());
}

#[test]
fn behind_one_address_a_standby_is_no_cluster_without_a_leader() {
    let mut memory = Memory::default();
    let place = Place { name: "vault", url: "https://v:8200" };
    for i in 0..10 {
        let verdict = memory.judge(place, &seen("standby"), false, at(i), Duration::from_secs(60 * i.unsigned_abs()));
        assert!(!verdict.say.iter().any(|s| matches!(s, Say::Raise(_))), "{:?}", verdict.say);
    }
}

#[test]
fn a_clock_is_told_beyond_its_limit_and_not_at_every_flutter() {
    let mut memory = Memory::default();
    let place = Place { name: "a", url: "https://v:8200" };
    let mut said = Vec::new();
    for skew in [0.0, -31.0, 29.0, 31.0, 10.0, 26.0] {
        let seen = Seen { skew: Some(skew), ..seen("active") };
        let say = memory.judge(place, &seen, true, at(0), Duration::ZERO).say;
        said.extend(say.into_iter().filter_map(|s| match s {
            Say::Raise(alert) if alert.key == "clock-skew/a" => Some(alert.account.happened),
            Say::Resolve { key, .. } if key == "clock-skew/a" => Some("over".to_owned()),
            _ => None,
        }));
    }
    let behind = "This machine's clock is 31 s behind that of a.";
    let ahead = "This machine's clock is 31 s ahead of that of a.";
    assert_eq!(said, ["over", behind, ahead, "over"]);
}

#[test]
fn a_certificate_is_told_before_it_ends() {
    let mut memory = Memory::default();
    let place = Place { name: "a", url: "https://v:8200" };
    let until = at(365 * 86_400);
    let mut told = |days: i64| {
        let now = until.checked_sub(SignedDuration::from_hours(24 * days)).unwrap();
        let seen = Seen { certificate: Some(Validity { from: at(0), until }), ..seen("active") };
        let say = memory.judge(place, &seen, true, now, Duration::ZERO).say;
        say.into_iter().find_map(|s| match s {
            Say::Raise(alert) if alert.key == "vault-certificate/a" => Some(alert.severity),
            _ => None,
        })
    };
    assert_eq!([told(100), told(20), told(2)], [None, Some(Severity::Warning), Some(Severity::Critical)]);
}

#[test]
fn a_disk_is_told_by_tenths_and_comes_back_with_room_to_spare() {
    let mut memory = Memory::default();
    let place = Place { name: "a", url: "https://v:8200" };
    let said: Vec<String> = [0.5, 0.09, 0.02, 0.11, 0.13, 0.11]
        .into_iter()
        .map(|free| short(memory.judge_disk(place, "/var/log/vault.log", free, at(0)).into_iter().collect()).join(""))
        .collect();
    assert_eq!(said, ["-audit-disk/a", "+audit-disk/a warning", "+audit-disk/a critical", "", "-audit-disk/a", ""]);
}

#[test]
fn nodes_that_are_watched_no_more_are_over() {
    let mut memory = Memory::default();
    for (name, word) in [("a", "sealed"), ("b", "active")] {
        memory.judge(Place { name, url: "https://v:8200" }, &seen(word), true, at(0), Duration::ZERO);
    }
    assert_eq!(short(memory.keep_only(&BTreeSet::from(["b"]))), ["-vault-sealed/a"]);
    assert!(memory.keep_only(&BTreeSet::from(["b"])).is_empty());
}
