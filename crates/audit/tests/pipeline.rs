//! The whole way of a line, and its figures at rest.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

mod common;

use common::{OPENBAO, VAULT, VAULT_1_15, VAULT_1_17, at, made};
use keyward_audit::{BadReason, MAX_BAD_PLACES, MAX_KEPT_PER_RULE, MAX_ROWS, OTHER, Pipeline, Place, RuleId, TallySnapshot, Usage};

fn run(pipeline: &mut Pipeline, log: &[u8]) {
    let (mut usage, mut offset) = (Usage::default(), 0);
    for line in log.split(|byte| *byte == b'\n') {
        pipeline.line(line, Place { file: 7, offset }, at(100_000_000), &mut usage);
        offset += line.len() as u64 + 1;
    }
}

fn calls(pipeline: &Pipeline) -> u64 {
    pipeline.tally.rows().iter().flat_map(|row| row.cells.iter().flatten()).sum()
}

#[test]
fn each_call_of_real_logs_is_counted_once() {
    let mut pipeline = Pipeline::default();
    run(&mut pipeline, VAULT.trim_end().as_bytes());
    run(&mut pipeline, OPENBAO.trim_end().as_bytes());
    let lines = VAULT.lines().chain(OPENBAO.lines());
    let responses = lines.clone().filter(|line| line.contains("\"type\":\"response\"")).count() as u64;
    // Both recordings hold a seal and a step-down, whose requests are never answered.
    let alone =
        lines.clone().filter(|l| l.contains("\"type\":\"request\"") && (l.contains("\"sys/seal\"") || l.contains("\"sys/step-down\"")));
    assert_eq!(calls(&pipeline), responses + alone.count() as u64);
    assert_eq!(pipeline.tally.lines().iter().sum::<u64>(), lines.count() as u64);
    assert_eq!(pipeline.tally.bad().iter().sum::<u64>(), 0);
}

#[test]
fn fast_and_slow_ways_come_to_the_same() {
    let [mut fast, mut slow] = [Pipeline::default(), Pipeline::by_serde_alone()];
    for _ in 0..4 {
        for log in [VAULT, OPENBAO, VAULT_1_15, VAULT_1_17] {
            run(&mut fast, log.as_bytes());
            run(&mut slow, log.as_bytes());
        }
    }
    assert_eq!(fast.take_found(), slow.take_found());
    assert_eq!(fast.snapshot(), slow.snapshot());
}

#[test]
fn what_older_and_newer_servers_write_comes_to_the_same() {
    let [old, new] = [VAULT_1_15, VAULT_1_17].map(|log| {
        let mut pipeline = Pipeline::default();
        run(&mut pipeline, log.trim_end().as_bytes());
        pipeline
    });
    // Ten that were answered, and the seal; of the disabled device only the request is there.
    assert_eq!(calls(&old), 11);
    assert_eq!((old.tally.bad().iter().sum::<u64>(), old.tally.lines().iter().sum::<u64>()), (0, 22));
    assert_eq!(old.snapshot(), new.snapshot());
}

#[test]
fn a_line_of_32_mib_is_one_call() {
    // What a list of half a million keys answers.
    let keys = vec![format!("\"hmac-sha256:{}\"", "0".repeat(64)); (32 << 20) / 79].join(",");
    let line =
        made("list", "secret/metadata/").line().replace("\"response\":{}", &format!("\"response\":{{\"data\":{{\"keys\":[{keys}]}}}}"));
    assert!(line.len() > 32 << 20, "{}", line.len());
    for mut pipeline in [Pipeline::default(), Pipeline::by_serde_alone()] {
        run(&mut pipeline, line.as_bytes());
        assert_eq!((calls(&pipeline), pipeline.tally.bad().iter().sum::<u64>()), (1, 0));
    }
}

#[test]
fn latency_and_what_never_had_its_other_half_are_counted() {
    let mut pipeline = Pipeline::default();
    let line = |seconds: i64, kind: &'static str, id: &str| {
        let mut line = made("read", "secret/data/x");
        (line.seconds, line.kind) = (seconds, kind);
        line.line().replace(&format!("\"id\":\"{seconds}\""), &format!("\"id\":\"{id}\""))
    };
    let log = [line(0, "request", "a"), line(1, "request", "b"), line(3, "response", "a"), line(4, "response", "c")].join("\n");
    run(&mut pipeline, log.as_bytes());
    pipeline.expire(at(4));
    assert_eq!((pipeline.tally.unmatched_requests(), pipeline.tally.unmatched_responses()), (0, 1), "one may still be answered");
    let at_rest = serde_json::to_string(&pipeline.snapshot()).unwrap();
    let mut woken = Pipeline::restore(serde_json::from_str(&at_rest).unwrap());
    run(&mut woken, line(9, "response", "b").as_bytes());
    let (_, latency) = woken.tally.latencies().iter().find(|(_, latency)| latency.count > 0).unwrap();
    assert_eq!((latency.count, latency.nanoseconds), (2, 11_000_000_000), "3 s, and 8 s over a restart");
    pipeline.expire(at(1000));
    assert_eq!(pipeline.tally.unmatched_requests(), 1);
}

#[test]
fn at_rest_and_back_the_figures_are_the_same() {
    let mut pipeline = Pipeline::default();
    pipeline.tally.know([("quiet/", "kv")]);
    run(&mut pipeline, VAULT.as_bytes());
    run(&mut pipeline, b"nonsense\n\0\0\0");
    let at_rest = serde_json::to_string(&pipeline.snapshot()).unwrap();
    let woken = Pipeline::restore(serde_json::from_str::<TallySnapshot>(&at_rest).unwrap());
    assert_eq!(serde_json::to_string(&woken.snapshot()).unwrap(), at_rest);
    assert_eq!(calls(&woken), calls(&pipeline));
    assert!(woken.tally.rows().iter().any(|row| row.mount == "quiet/"));
}

#[test]
fn where_bad_lines_stand_is_remembered_but_not_what_they_say() {
    let mut pipeline = Pipeline::default();
    run(&mut pipeline, [b"secret-words".to_vec(), vec![0; 5], b"{\"type\":\"request\"}".to_vec()].join(&b'\n').as_slice());
    let places: Vec<_> = pipeline.tally.bad_places().map(|p| (p.reason, p.place.file, p.place.offset, p.length)).collect();
    assert_eq!(places, [(BadReason::NotJson, 7, 0, 12), (BadReason::Nul, 7, 13, 5), (BadReason::Shape, 7, 19, 18)]);
    assert!(!serde_json::to_string(&pipeline.snapshot()).unwrap().contains("secret-words"));
    assert_eq!(pipeline.take_bad(), [BadReason::Nul, BadReason::NotJson, BadReason::Shape]);
    assert_eq!(pipeline.take_bad(), []);
    run(&mut pipeline, "x\n".repeat(1000).as_bytes());
    assert_eq!(pipeline.tally.bad_places().count(), MAX_BAD_PLACES);
    assert_eq!(pipeline.tally.bad()[BadReason::NotJson as usize], 1001);
}

#[test]
fn mounts_and_types_without_end_fall_into_other() {
    let mut pipeline = Pipeline::default();
    let base = made("read", "secret/data/x").line();
    for n in 0..5_000 {
        let line = base.replace("\"secret/\"", &format!("\"m{n}/\"")).replace("\"mount_type\":\"x\"", &format!("\"mount_type\":\"t{n}\""));
        run(&mut pipeline, line.as_bytes());
    }
    let types = ["kv", "aws", "pki", "ssh", "ldap", "jwt", "database"];
    for n in 0..5_000 {
        let kind = format!("\"mount_type\":\"{}\"", types[n % types.len()]);
        run(&mut pipeline, base.replace("\"secret/\"", &format!("\"m{}/\"", n % 256)).replace("\"mount_type\":\"x\"", &kind).as_bytes());
    }
    assert!(pipeline.tally.rows().len() <= MAX_ROWS);
    assert_eq!(calls(&pipeline), 10_000);
    let others = pipeline.tally.rows().iter().filter(|row| row.mount == OTHER).flat_map(|row| row.cells.iter().flatten()).sum::<u64>();
    assert!(others > 4_000, "{others}");
    // The server's own list finds room all the same.
    pipeline.tally.know([("real/", "kv")]);
    run(&mut pipeline, base.replace("\"secret/\"", "\"real/\"").as_bytes());
    assert!(pipeline.tally.rows().len() <= MAX_ROWS);
    assert!(pipeline.tally.rows().iter().any(|row| row.mount == "real/"));
}

#[test]
fn a_flood_of_one_rule_hides_no_other() {
    let mut pipeline = Pipeline::default();
    for n in 0..2_000 {
        let mut line = made("update", &format!("sys/policies/acl/p{n}"));
        line.address = format!("10.0.{}.{}", n / 250, n % 250);
        run(&mut pipeline, line.line().as_bytes());
    }
    let mut seal = made("update", "sys/seal");
    seal.kind = "request";
    run(&mut pipeline, seal.line().as_bytes());
    let found = pipeline.take_found();
    assert_eq!(found.iter().filter(|f| f.rule == RuleId::PolicyChanged).count(), MAX_KEPT_PER_RULE);
    assert_eq!(found.iter().filter(|f| f.rule == RuleId::SealRequested).count(), 1);
    assert_eq!(pipeline.tally.findings()[RuleId::PolicyChanged as usize].iter().sum::<u64>(), 2_000);
    assert!(pipeline.take_found().is_empty());
}
