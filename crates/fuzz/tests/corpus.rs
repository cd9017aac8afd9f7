//! The kept corpora, run once as they are: what was ever found stays found.
#![allow(clippy::unwrap_used, reason = "a corpus that cannot be read must fail the test")]

use std::fs;
use std::path::Path;

fn run(name: &str, least: usize, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let files: Vec<_> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(files.len() >= least, "{} files are kept for {name}", files.len());
    for file in files {
        target(&fs::read(&file).unwrap());
    }
}

#[test]
fn lines() {
    run("line", 20, keyward_fuzz::line);
}

#[test]
fn states_of_the_tailer() {
    run("tail_state", 4, keyward_fuzz::tail_state);
}

#[test]
fn configurations() {
    run("config", 4, keyward_fuzz::config);
}
