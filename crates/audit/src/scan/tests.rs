//! The fast way beside the slow one: where the fast way answers at all, both answer the same.
#![allow(clippy::unwrap_used, reason = "the fixtures' own lines")]

use super::{Callers, scan};
use crate::entry::Entry;
use proptest::prelude::*;

const VAULT: &str = include_str!("../../tests/fixtures/vault-1.21.0-audit.jsonl");
const OPENBAO: &str = include_str!("../../tests/fixtures/openbao-2.6.2-audit.jsonl");

fn lines() -> Vec<&'static str> {
    VAULT.lines().chain(OPENBAO.lines()).collect()
}

/// Whether the fast way answered; it must not differ.
fn agree(text: &str) -> bool {
    let Some(fast) = scan(text) else { return false };
    let slow = serde_json::from_str::<Entry<'_>>(text);
    assert_eq!(Some(fast), slow.ok(), "{text}");
    true
}

#[test]
fn real_lines_go_the_fast_way() {
    let slow: Vec<_> = lines().into_iter().filter(|line| !agree(line)).collect();
    // Only what somebody named to look like structure has escapes in the texts that are kept.
    assert!(slow.iter().all(|line| line.contains('\\')), "{slow:#?}");
    assert!(slow.len() <= 16, "{}: {slow:#?}", slow.len());
}

/// All callers of the real lines.
fn acquainted() -> Callers {
    let mut callers = Callers::default();
    for line in lines() {
        for _ in 0..3 {
            callers.learn(line.as_bytes());
        }
    }
    callers
}

/// Whether the line was read by its caller; that must not differ from the slow way.
fn agree_by_caller(callers: &Callers, line: &[u8]) -> bool {
    let mut fast = Entry::default();
    if !callers.scan(line, &mut fast) {
        return false;
    }
    let slow = std::str::from_utf8(line).ok().and_then(|text| serde_json::from_str::<Entry<'_>>(text).ok());
    assert_eq!(Some(fast), slow, "{}", String::from_utf8_lossy(line));
    true
}

#[test]
fn lines_of_known_callers_are_read_by_them() {
    let callers = acquainted();
    let strange: Vec<_> = lines().into_iter().filter(|line| !agree_by_caller(&callers, line.as_bytes())).collect();
    // Those without a token, those with escapes in the texts that are kept, and callers that share a set with later ones.
    assert!(strange.len() < lines().len() / 4, "{}", strange.len());
    let nobody = Callers::default();
    assert!(lines().iter().all(|line| !agree_by_caller(&nobody, line.as_bytes())));
}

#[test]
fn a_caller_in_another_place_is_not_taken_for_the_entrys() {
    let callers = acquainted();
    let line = VAULT.lines().find(|line| agree_by_caller(&callers, line.as_bytes())).unwrap();
    for (part, instead) in [
        ("{\"auth\":", "{\"x\":{\"y\":1,\"auth\":"),
        ("{\"auth\":", "{\"time\":\"a,\"auth\":"),
        ("{\"auth\":", "{\"auth\":{},\"auth\":"),
        ("{\"auth\":", "{\"request\":{},\"auth\":"),
        ("{\"auth\":", "[{\"auth\":"),
        ("},\"request\":{", "},\"auth\":{},\"request\":{"),
        ("\"client_token_accessor\"", "\"client_token\""),
        ("\"id\":", "\"client_token\":\"a\",\"id\":"),
        ("\"time\"", "\"request\":{},\"time\""),
    ] {
        let text = line.replacen(part, instead, 1);
        assert_ne!(text, line, "{part}");
        assert!(!agree_by_caller(&callers, text.as_bytes()), "{text}");
    }
}

#[test]
fn callers_without_end_are_not_kept() {
    let mut callers = Callers::default();
    let line = VAULT.lines().find(|line| line.contains("token-alice")).unwrap();
    let hash = line.split("hmac-sha256:").nth(1).unwrap().get(..16).unwrap();
    for n in 0..10_000_u64 {
        let other = line.replace(hash, &format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        callers.learn(other.as_bytes());
        assert!(!agree_by_caller(&callers, other.as_bytes()));
    }
}

#[test]
fn what_is_unusual_is_left_to_the_slow_way() {
    let usual = r#"{"request":{"id":"a","path":"p"},"response":{"auth":{"token_ttl":5},"data":{"a":[1,-2,{},[],true,null,"x\n"]}},"type":"response"}"#;
    assert!(agree(usual));
    for (part, instead) in [
        ("\"a\"", "\"\\u0061\""),
        ("\"id\"", "\"\\u0069d\""),
        ("\"path\":", "\"id\":\"b\",\"path\":"),
        ("\"type\":\"response\"", "\"type\":null"),
        ("\"type\":\"response\"", "\"type\":7"),
        ("\"type\"", " \"type\""),
        ("1,-2", "01,-2"),
        ("1,-2", "1.5,-2"),
        ("1,-2", "1e400,-2"),
        ("1,-2", "12345678901234567890,-2"),
        ("1,-2", "1,-"),
        ("1,-2", "1,,-2"),
        ("[]", "[}"),
        ("{}", "{]"),
        ("true", "tru"),
        ("x\\n", "x\\q"),
        ("x\\n", "\\ud800"),
        ("x\\n", "\\u12"),
        ("x\\n", "\u{1}"),
        ("5}", "5.0}"),
        ("5}", "\"5\"}"),
        ("\"request\":{", "\"request\":[{"),
        ("\"request\"", "\"requests\""),
        ("\"response\"}", "\"response\"}}"),
        ("\"response\"}", "\"response\""),
        ("\"response\"}", "\"response\"} "),
    ] {
        let text = usual.replacen(part, instead, 1);
        assert_ne!(text, usual);
        assert!(!agree(&text), "{text}");
    }
    assert!(!agree(&format!(r#"{{"request":{{}},"x":{}1{}}}"#, "[".repeat(90), "]".repeat(90))));
}

#[test]
fn escapes_across_the_edges_of_blocks() {
    for length in 0..200 {
        for tail in ["\\\\", "\\\"", "\\\\\\\"", "\\n", "\\u003c", "\\\\\\\\"] {
            let text = format!(r#"{{"x":"{}{tail}","request":{{"path":"a"}}}}"#, "y".repeat(length));
            assert!(agree(&text), "{text}");
            let keyed = format!(r#"{{"x":{{"{}{tail}":1}},"request":{{"path":"a"}}}}"#, "y".repeat(length));
            assert!(agree(&keyed), "{keyed}");
            let error = format!(r#"{{"error":"{}{tail}permission denied","request":{{"path":"a"}}}}"#, "y".repeat(length));
            agree(&error);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_real_lines_are_read_alike(
        number in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), prop::sample::select(&b"\"\\{}[],:0e.-tnu "[..])]), 1..4),
        moved in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let lines = lines();
        let mut line = number.get(&lines).as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(line.len());
            line[place] = byte;
        }
        if let Some((from, length, to)) = moved {
            let from = from.index(line.len());
            let piece = line[from..from + length.index(line.len() - from)].to_vec();
            let to = to.index(line.len());
            line.splice(to..to, piece);
        }
        thread_local! { static CALLERS: Callers = acquainted(); }
        CALLERS.with(|callers| agree_by_caller(callers, &line));
        if let Ok(text) = std::str::from_utf8(&line) {
            agree(text);
        }
    }

    #[test]
    fn arbitrary_json_is_read_alike(text in r#"\{("(error|type|time|x|auth|request|response)":("[a-z\\n]{0,3}"|[0-9]{1,3}|null|true|\{\}|\{"(id|path|data|allowed|policies)":("a"|\{\}|true|\[("a",?){0,2}\]|null)\}),?){0,5}\}"#) {
        agree(&text);
    }
}
