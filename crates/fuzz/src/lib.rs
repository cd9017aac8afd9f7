//! What the fuzz targets do with their input. Here and not in the programs, so that the kept corpora run as ordinary tests too.
//!
//! A target panics when a promise is broken; whatever it answers otherwise is right.

use std::fs;

use jiff::Timestamp;
use keyward::config::{Config, Environment};
use keyward_audit::{Pipeline, Place, Usage};
use keyward_tail::{Checkpoint, Follower, Line, Options};

/// Lines of an audit log: the fast ways of reading one must come to the same figures and findings as serde alone.
///
/// # Panics
/// When they do not.
pub fn line(data: &[u8]) {
    let now = Timestamp::from_second(1_900_000_000).unwrap_or_default();
    let [mut fast, mut slow] = [Pipeline::default(), Pipeline::by_serde_alone()].map(|mut pipeline| {
        pipeline.paths.add_kv2("app", "secret/", "app/0202");
        (pipeline, Usage::default())
    });
    // More than once, so that the line's caller is known by then.
    for _ in 0..4 {
        for line in data.split(|byte| *byte == b'\n') {
            for (pipeline, usage) in [&mut fast, &mut slow] {
                pipeline.line(line, Place::default(), now, usage);
            }
        }
    }
    assert_eq!(fast.0.take_found(), slow.0.take_found());
    assert_eq!(fast.0.snapshot(), slow.0.snapshot());
    assert_eq!(fast.1.snapshot(), slow.1.snapshot());
}

/// The tailer's state at rest: what is read back is written the same, and a follower that begins with it delivers no line twice.
///
/// # Panics
/// When that is broken, or there is no temporary folder.
pub fn tail_state(data: &[u8]) {
    thread_local! { static LOG: tempfile::TempDir = log(); } // a thread's end removes it, a program's does not
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(checkpoint) = Checkpoint::decode(text) else { return };
    let again = checkpoint.encode().ok().and_then(|text| Checkpoint::decode(&text).ok());
    assert_eq!(again.as_ref(), Some(&checkpoint));
    let options = Options { chunk: 16, max_line: 64, ..Options::default() };
    let Ok(mut follower) = LOG.with(|folder| Follower::open(&folder.path().join("log"), Some(checkpoint), options)) else { return };
    let mut offsets = Vec::new();
    for _ in 0..3 {
        follower.poll(&mut |line: Line<'_>| offsets.push(line.offset));
    }
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
}

/// A folder with the log that the state is about.
fn log() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    fs::write(folder.path().join("log"), "one\ntwo\n").unwrap_or_else(|error| panic!("no log: {error}"));
    folder
}

/// A configuration: it is accepted, or refused with problems that can be shown.
///
/// # Panics
/// When a refusal names no problem.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(problems) = Config::parse(text, "keyward.toml", &Environment::default()) {
        assert!(!problems.to_string().trim().is_empty());
    }
}
