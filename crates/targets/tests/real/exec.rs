//! Programs that are asked: those that answer, and those that hang, die, flood or leave children.

use crate::{LIMIT, value};
use keyward_harness::wait_until;
use keyward_secret::Secret;
use keyward_targets::exec::{ExecFailure, LARGEST_ANSWER, Program};
use serde_json::json;
use std::time::Duration;

fn shell(script: &str, limit: Duration) -> Program {
    Program { argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), env: Vec::new(), limit }
}

fn question() -> Secret {
    Secret::new(json!({ "do": "verify", "value": value().expose() }).to_string())
}

#[tokio::test]
async fn a_document_goes_in_and_one_comes_out() {
    let question = question();
    let answer = shell("cat", LIMIT).ask(&question).await.unwrap();
    assert_eq!(answer, serde_json::from_str::<serde_json::Value>(question.expose()).unwrap());
    // One that answers without reading is no less an answer, however long the question.
    let long = Secret::new(json!({ "long": "x".repeat(1 << 20) }).to_string());
    assert_eq!(shell("echo '{\"ok\":true}'", LIMIT).ask(&long).await, Ok(json!({ "ok": true })));
}

#[tokio::test]
async fn only_named_variables_are_handed_on() {
    let mut program = shell("printf '{\"path\":\"%s\",\"home\":\"%s\",\"count\":%s}' \"$PATH\" \"$HOME\" \"$(env | wc -l)\"", LIMIT);
    program.env = vec!["PATH".into(), "NO_SUCH_VARIABLE".into()];
    let answer = program.ask(&question()).await.unwrap();
    assert_eq!((answer["path"].as_str(), answer["home"].as_str()), (std::env::var("PATH").ok().as_deref(), Some("")), "{answer}");
}

#[tokio::test]
async fn what_does_not_answer_is_told_apart_and_shows_nothing() {
    let secret = value();
    let name = || "/bin/sh".to_owned();
    let short = Duration::from_millis(400);
    let echo = format!("cat >/dev/null; echo '{}' >&2", secret.expose());
    for (program, expected) in [
        (shell(&format!("{echo}; exit 3"), LIMIT), ExecFailure::Exit { program: name(), code: Some(3) }),
        (shell(&format!("{echo}; kill -9 $$"), LIMIT), ExecFailure::Exit { program: name(), code: None }),
        (shell(&format!("{echo}; echo {}", secret.expose()), LIMIT), ExecFailure::Answer { program: name() }),
        (shell(&echo, LIMIT), ExecFailure::Answer { program: name() }),
        (shell("echo '{} {}'", LIMIT), ExecFailure::Answer { program: name() }),
        (shell(&format!("{echo}; exec sleep 1000"), short), ExecFailure::Timeout { program: name(), limit: short }),
        (shell("yes", LIMIT), ExecFailure::TooMuch { program: name() }),
        (shell(&format!("head -c {} /dev/zero", LARGEST_ANSWER + 1), LIMIT), ExecFailure::TooMuch { program: name() }),
        (Program { argv: Vec::new(), ..shell("", LIMIT) }, ExecFailure::NoProgram),
    ] {
        let failure = program.ask(&question()).await.unwrap_err();
        assert!(!format!("{failure} {failure:?}").contains(secret.expose()), "{expected:?}");
        assert_eq!(failure, expected);
    }
    let absent = Program { argv: vec!["/no/such/program".into()], ..shell("", LIMIT) };
    assert!(matches!(absent.ask(&question()).await, Err(ExecFailure::Start { .. })));
}

#[tokio::test]
async fn a_program_that_hangs_or_floods_dies_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    for (i, end) in ["wait", "yes"].into_iter().enumerate() {
        let file = folder.path().join(i.to_string());
        let program = shell(&format!("sleep 1000 & echo $! > {}; {end}", file.display()), Duration::from_secs(2));
        program.ask(&question()).await.unwrap_err();
        let child = std::fs::read_to_string(&file).unwrap();
        wait_until("the child is gone", LIMIT, || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).ok();
            // A dead child of ours may wait for whoever reaps orphans.
            state.is_none_or(|s| s.contains(") Z ")).then_some(())
        });
    }
}
