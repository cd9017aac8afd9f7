//! Rules of the house that no compiler checks, for every file that git tracks. Never changes a file.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cargo;

/// A file longer than this has more than one idea in it.
const MAX_LINES: usize = 450;

/// Kinds of files that people write by hand, line by line.
const CODE: &[&str] = &["rs", "py", "sh", "go"];

/// Ways in which other rotators failed, collected from their bug reports. Each is a test, named after its number wherever it stands.
const FAILURES: RangeInclusive<u32> = 1..=22;

/// Made by tools; their words are not ours.
const MADE_BY_TOOLS: &[&str] = &["Cargo.lock", "go.sum", "go.mod"];

/// A word that no tracked file may have, and why. Each is put together here, so that this file may name it.
const BANNED: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("sha", "red/"), "a path outside the repository"),
    (concat!("/tmp/", "vb"), "a path of one machine"),
    (concat!("#[ig", "nore"), "a test that does not run proves nothing: make it run or remove it"),
    (concat!("FIX", "ME"), "an unfinished thought: finish it or say in words what is missing and why"),
    (concat!("TO", "DO"), "an unfinished thought: finish it or say in words what is missing and why"),
    (concat!("<<<", "<<<<"), "a merge that was not finished"),
];

/// What is wrong, one line each: `path:line: what`.
pub(crate) fn problems() -> Result<Vec<String>> {
    let root = cargo::root()?;
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(&root).output().context("run git ls-files")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("git names a file that is not UTF-8")?;
    let (mut problems, mut failures) = (Vec::new(), BTreeSet::new());
    for name in listed.split_terminator('\0') {
        // A tracked file may have been removed and not yet committed; one that is not text has no words.
        if let Ok(text) = fs::read_to_string(root.join(name)) {
            problems.extend(check(Path::new(name), &text));
            failures.extend(numbered(&text));
        }
    }
    let missing = FAILURES.filter(|number| !failures.contains(number));
    problems.extend(missing.map(|number| format!("no test is named failure_{number:02}_…: a way in which others failed is shown by none")));
    Ok(problems)
}

/// The numbers of the failures of others that tests in this file are named after.
fn numbered(text: &str) -> impl Iterator<Item = u32> {
    text.split("fn failure_").skip(1).filter_map(|rest| rest.get(..2)?.parse().ok())
}

fn check(path: &Path, text: &str) -> Vec<String> {
    if path.file_name().is_some_and(|name| MADE_BY_TOOLS.iter().any(|tool| name == *tool)) {
        return Vec::new();
    }
    let shown = path.display();
    let mut problems = Vec::new();
    let lines = text.lines().count();
    if path.extension().is_some_and(|e| CODE.iter().any(|code| e == *code)) && lines > MAX_LINES {
        problems.push(format!("{shown}:{lines}: more than {MAX_LINES} lines: split it by idea"));
    }
    for (number, line) in text.lines().enumerate() {
        let found = BANNED.iter().filter(|(word, _)| line.contains(word));
        problems.extend(found.map(|(word, why)| format!("{shown}:{}: {word}: {why}", number + 1)));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        problems.push(format!("{shown}:{lines}: no newline at the end"));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() {
        assert_eq!(problems().unwrap_or_else(|e| vec![e.to_string()]), [""; 0]);
    }

    #[test]
    fn tests_named_after_a_failure_are_counted() {
        let text = ["fn failure", "_07_a() {}\nasync fn failure", "_22_b() {}\nfn failure", "s() {}"].concat();
        assert_eq!(numbered(&text).collect::<Vec<_>>(), [7, 22]);
    }

    #[test]
    fn long_files_banned_words_and_torn_ends_are_found() {
        let long = "x\n".repeat(MAX_LINES + 1);
        assert_eq!(check(Path::new("a.rs"), &long).len(), 1);
        assert_eq!(check(Path::new("go.sum"), &long).len(), 0);
        assert_eq!(check(Path::new("data.jsonl"), &long).len(), 0);
        let words = format!("fine\nsee {}\n", BANNED[0].0);
        assert_eq!(check(Path::new("README.md"), &words), [format!("README.md:2: {}: {}", BANNED[0].0, BANNED[0].1)]);
        assert_eq!(check(Path::new("b.rs"), "no end"), ["b.rs:1: no newline at the end"]);
    }
}
