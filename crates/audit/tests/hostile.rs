//! Lines that lie, break or overwhelm: each costs itself at most.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a scene that cannot be set must fail the test")]

mod common;

use common::{OPENBAO, VAULT, at, made};
use jiff::SignedDuration;
use keyward_audit::{BadReason, Fact, LabelBook, OTHER, Outcome, Paired, Pairs, Phase, parse};
use proptest::prelude::*;

fn reason(line: &[u8]) -> BadReason {
    parse(line).expect_err("a bad line").reason
}

#[test]
fn bad_lines_say_why() {
    let good = made("read", "secret/data/x").line();
    let doubled = good.replace("\"type\":\"response\"", "\"type\":\"request\",\"type\":\"response\"");
    let inner = good.replace("\"operation\":\"read\"", "\"operation\":\"read\",\"operation\":\"delete\"");
    let clear = good.replace("\"auth\":{", "\"auth\":{\"client_token\":\"hvs.CAESIJ\",");
    let clear_in_request = good.replace("\"request\":{", "\"request\":{\"client_token\":\"s.abcdef\",");
    let mut wrong_bytes = good.clone().into_bytes();
    wrong_bytes[30] = 0xff;
    let deep = format!("{{\"request\":{{\"path\":{}1{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    for (name, line, expected) in [
        ("empty", b"".to_vec(), BadReason::Empty),
        ("blank", b"  \r".to_vec(), BadReason::Empty),
        ("nul bytes", vec![0; 4096], BadReason::Nul),
        ("words", b"server started".to_vec(), BadReason::NotJson),
        ("latin-1", b"caf\xe9".to_vec(), BadReason::NotUtf8),
        ("invalid byte", wrong_bytes, BadReason::NotUtf8),
        ("cut short", good.as_bytes()[..good.len() - 9].to_vec(), BadReason::Truncated),
        ("trailing", format!("{good}}}").into_bytes(), BadReason::NotJson),
        ("nul inside", good.replace("token-alice", "to\0ken").into_bytes(), BadReason::Nul),
        ("another object", br#"{"level":"info","msg":"hello"}"#.to_vec(), BadReason::Shape),
        ("request is no object", br#"{"type":"request","request":"x"}"#.to_vec(), BadReason::Shape),
        ("an array", br#"[{"type":"request"}]"#.to_vec(), BadReason::Shape),
        ("type twice", doubled.into_bytes(), BadReason::DuplicateKey),
        ("operation twice", inner.into_bytes(), BadReason::DuplicateKey),
        ("jsonx", br#"<json:object name="auth"><json:string name="accessor">x</json:string></json:object>"#.to_vec(), BadReason::Jsonx),
        ("raw", clear.into_bytes(), BadReason::Raw),
        ("raw in request", clear_in_request.into_bytes(), BadReason::Raw),
        ("deep, without a type", deep.into_bytes(), BadReason::Shape),
    ] {
        assert_eq!(reason(&line), expected, "{name}");
    }
}

#[test]
fn names_that_imitate_structure_change_nothing() {
    for name in [
        "x\"},\"type\":\"request\"",
        "type\":\"response\"}",
        "{\"time\":\"2026\"}",
        "a\\",
        "\u{0}\u{1b}[31m",
        "../../sys/seal",
        "ключ\u{202e}",
    ] {
        let line = made("read", &format!("secret/data/{name}")).line();
        let entry = parse(line.as_bytes()).unwrap();
        let fact = Fact::of(&entry, at(0));
        assert_eq!((fact.path, fact.phase, fact.outcome), (&*format!("secret/data/{name}"), Phase::Completed, Outcome::Ok));
        // As a key of a secret: keys are in clear, values are hashed.
        let mut keyed = made("read", "secret/data/x");
        let response = format!(r#"{{"data":{{"data":{{{}:"hmac-sha256:00"}}}}}}"#, serde_json::to_string(name).unwrap());
        keyed.response = Box::leak(response.into_boxed_str());
        let line = keyed.line();
        let entry = parse(line.as_bytes()).unwrap();
        assert_eq!(Fact::of(&entry, at(0)).outcome, Outcome::Ok, "{name:?}");
    }
}

#[test]
fn an_error_only_answer_failed_but_a_field_called_error_did_not() {
    let outcome = |mount_type: &str, operation: &'static str, response: &'static str| {
        let mut line = made(operation, "secret/x");
        line.response = response;
        let line = line.line().replace("\"mount_type\":\"x\"", &format!("\"mount_type\":\"{mount_type}\""));
        Fact::of(&parse(line.as_bytes()).unwrap(), at(0)).outcome
    };
    let only = r#"{"data":{"error":"hmac-sha256:00"}}"#;
    assert_eq!(outcome("database", "read", only), Outcome::Failed);
    assert_eq!(outcome("kv", "update", only), Outcome::Failed);
    assert_eq!(outcome("kv", "read", only), Outcome::Ok);
    assert_eq!(outcome("database", "read", r#"{"data":{"error":"hmac-sha256:00","user":"hmac-sha256:01"}}"#), Outcome::Ok);
    assert_eq!(outcome("kv", "read", r#"{"data":{"http_content_type":"hmac-sha256:00","http_status_code":404}}"#), Outcome::Failed);
    assert_eq!(outcome("kv", "read", r#"{"data":[1,2]}"#), Outcome::Ok);
}

#[test]
fn a_prefix_is_skipped_and_a_torn_fragment_before_a_whole_entry_too() {
    let whole = made("read", "secret/data/x").line();
    let prefixed = format!("vault-1 audit: {whole}");
    assert!(!parse(prefixed.as_bytes()).unwrap().after_torn_fragment);
    let sparse = [&[0_u8; 100][..], whole.as_bytes()].concat();
    assert_eq!(parse(&sparse).unwrap().request.path, "secret/data/x");
    for log in [VAULT, OPENBAO] {
        for line in log.lines().take(12) {
            for cut in [1, 10, line.len() / 2, line.len() - 1] {
                let torn = format!("{}{whole}", line.get(..cut).unwrap_or_default());
                let entry = parse(torn.as_bytes()).unwrap();
                assert_eq!((entry.request.path.as_ref(), entry.after_torn_fragment), ("secret/data/x", true), "cut at {cut}: {torn}");
                let theirs = format!("{}{line}", &whole[..cut.min(whole.len())]);
                assert!(parse(theirs.as_bytes()).unwrap().after_torn_fragment, "{theirs}");
            }
        }
    }
}

#[test]
fn unknown_types_are_facts_that_do_not_count() {
    let mut line = made("read", "secret/data/x");
    line.kind = "secret-request";
    let line = line.line();
    let entry = parse(line.as_bytes()).unwrap();
    let fact = Fact::of(&entry, at(0));
    assert_eq!((fact.phase, fact.counts()), (Phase::Unknown, false));
}

#[test]
fn what_a_rate_limit_refused_counts_by_its_request() {
    let mut line = made("read", "secret/data/x");
    (line.kind, line.error) = ("request", Some("request path \"secret/data/x\": rate limit quota exceeded"));
    let line = line.line();
    let entry = parse(line.as_bytes()).unwrap();
    let fact = Fact::of(&entry, at(0));
    assert_eq!((fact.phase, fact.outcome, fact.counts()), (Phase::Alone, Outcome::Failed, true));
}

#[test]
fn labels_stay_bounded() {
    let many = LabelBook::new((0..10_000).map(|n| format!("m{n}/")));
    assert_eq!(many.mounts().count(), keyward_audit::MAX_MOUNTS);
    let line = made("read", "secret/data/x").line();
    let entry = parse(line.as_bytes()).unwrap();
    let fact = Fact::of(&entry, at(0));
    assert_eq!((many.mount_point(&fact), LabelBook::mount_type(&fact)), (OTHER, OTHER));
}

#[test]
fn requests_without_response_are_a_number() {
    let mut pairs = Pairs::default();
    let mut feed = |seconds: i64, kind: &'static str, id: &str| {
        let mut line = made("read", "secret/data/x");
        (line.seconds, line.kind) = (seconds, kind);
        let line = line.line().replace(&format!("\"id\":\"{seconds}\""), &format!("\"id\":\"{id}\""));
        let entry = parse(line.as_bytes()).unwrap();
        pairs.observe(&Fact::of(&entry, at(0)))
    };
    assert_eq!(feed(1, "request", "a"), Paired::Nothing);
    assert_eq!(feed(2, "request", "b"), Paired::Nothing);
    assert_eq!(feed(4, "response", "a"), Paired::After(SignedDuration::from_secs(3)));
    assert_eq!(feed(5, "response", "c"), Paired::Orphan);
    pairs.expire(at(60), SignedDuration::from_secs(30));
    assert_eq!(pairs.take_unmatched(), 1);
    pairs.expire(at(600), SignedDuration::from_secs(30));
    assert_eq!(pairs.take_unmatched(), 0);
}

fn through(line: &[u8]) {
    if let Ok(entry) = parse(line) {
        let fact = Fact::of(&entry, at(0));
        let mut log = common::Log::new();
        let mut found = Vec::new();
        let managed = log.managed.touch(&fact);
        log.rules.observe(&fact, managed, &log.own, &log.usage, &mut found);
        log.usage.observe(&fact, managed, &log.own);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(line in prop::collection::vec(any::<u8>(), 0..400)) {
        through(&line);
    }

    #[test]
    fn altered_real_lines_never_panic(
        number in 0..200_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        front in any::<bool>(),
    ) {
        let lines: Vec<&str> = VAULT.lines().chain(OPENBAO.lines()).collect();
        let mut line = lines[number % lines.len()].as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(line.len());
            line[place] = byte;
        }
        let cut = cut.index(line.len());
        through(if front { &line[cut..] } else { &line[..cut] });
        through(&line);
    }
}
