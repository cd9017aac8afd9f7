//! What the documents say of commands and tests is true: the table of the guide is whole, and what is named exists.

use super::Cli;
use clap::{Command, CommandFactory};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The steps of the guide: a letter for each part of it, and how many there are.
const STEPS: [(char, std::ops::RangeInclusive<u8>); 10] = [
    ('I', 1..=10),
    ('P', 0..=8),
    ('R', 1..=10),
    ('C', 1..=16),
    ('A', 1..=5),
    ('V', 1..=18),
    ('G', 1..=14),
    ('T', 1..=7),
    ('B', 1..=7),
    ('M', 1..=6),
];

pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The rows of the table: the step's name, what does it here, what proves it.
fn rows() -> Vec<(String, String, String)> {
    let text = read(&root().join("docs/guide.md"));
    let mut rows = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let is_step = cells[0].starts_with(|c: char| c.is_ascii_uppercase()) && cells[0].get(1..).is_some_and(|n| n.parse::<u8>().is_ok());
        if line.starts_with('|') && is_step {
            let [step, _, here, proof] = cells.try_into().unwrap_or_else(|_| panic!("not four cells: {line}"));
            rows.push((step.to_owned(), here.to_owned(), proof.to_owned()));
        }
    }
    rows
}

/// What stands between backquotes.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// What is wrong with a command line: nothing where each of its words is a command, an option of it, or a value.
pub(super) fn trouble(words: &str) -> Option<String> {
    let mut program = Cli::command();
    program.build();
    let mut command: &Command = &program;
    let is_over = |word: &&str| matches!(*word, "|" | ">" | "<" | "&&" | ";" | "||" | "#");
    let mut words = words.split_whitespace().skip(1).take_while(|word| !is_over(word));
    while let Some(word) = words.next() {
        if let Some(option) = word.strip_prefix("--") {
            let name = option.split(['=', ',', '.', ')', ':']).next().unwrap_or_default();
            let known = command.get_arguments().chain(program.get_arguments()).find(|argument| argument.get_long() == Some(name));
            match known {
                None => return Some(format!("{} has no option --{name}", command.get_name())),
                Some(argument) if argument.get_action().takes_values() && !option.contains('=') => drop(words.next()),
                Some(_) => {}
            }
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        } else if command.has_subcommands() && command.get_positionals().next().is_none() && !is_placeholder(word) {
            return Some(format!("there is no command {word}"));
        }
    }
    None
}

/// The command of ours in a line as it is typed: behind a prompt, behind variables, and before a remark.
fn typed(line: &str) -> Option<&str> {
    let line = line.trim();
    let at = line.strip_prefix("$ ").unwrap_or(line);
    let ours = if at.starts_with("keyward ") {
        at
    } else {
        // `NAME=value keyward …`
        let (before, _) = at.split_once(" keyward ")?;
        let is_variable = before.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        at.get(before.len() + 1..).filter(|_| is_variable)?
    };
    Some(ours.split(" #").next().unwrap_or(ours))
}

/// A word that stands for others: `COMMAND`, `…`.
fn is_placeholder(word: &str) -> bool {
    !word.chars().any(char::is_lowercase)
}

#[test]
fn the_table_has_every_step_once_and_nothing_else() {
    let wanted: BTreeSet<String> =
        STEPS.iter().flat_map(|(letter, numbers)| numbers.clone().map(move |n| format!("{letter}{n}"))).collect();
    let mut seen = BTreeMap::<String, usize>::new();
    for (step, _, _) in rows() {
        *seen.entry(step).or_default() += 1;
    }
    assert_eq!(seen.keys().cloned().collect::<BTreeSet<_>>(), wanted);
    assert!(seen.values().all(|times| *times == 1), "a step stands there twice: {seen:?}");
}

#[test]
fn what_the_table_names_exists() {
    for (step, here, proof) in rows() {
        for named in code(&here) {
            match named.split_whitespace().next() {
                Some("keyward") => assert_eq!((trouble(named), named.contains(' ')), (None, true), "{step}: {named}"),
                Some("cargo") => assert!(named.starts_with("cargo xtask "), "{step}: {named}"),
                _ => assert!(root().join(named).exists(), "{step}: there is no {named}"),
            }
        }
        for test in code(&proof) {
            let (file, name) = test.split_once("::").unwrap_or_else(|| panic!("{step}: {test} names no test"));
            let source = read(&root().join(file));
            let (before, _) = source.split_once(&format!("fn {name}(")).unwrap_or_else(|| panic!("{step}: {file} has no test {name}"));
            let attribute = before.trim_end().trim_end_matches("async").trim_end();
            assert!(attribute.ends_with("test]") || attribute.ends_with(")]"), "{step}: {name} is no test");
        }
        assert!(here.contains('`'), "{step} is done by nothing: {here}");
        assert!(proof.contains("::"), "{step} is proved by nothing: {proof}");
    }
}

/// Every page of ours, from the workspace's folder.
fn pages() -> Vec<String> {
    let mut pages = vec!["README.md".to_owned(), "crates/README.md".to_owned()];
    for folder in ["docs", "docs/runbooks", "crates/keyward/docs", "config/recipes", "crates/audit/rules"] {
        let files = fs::read_dir(root().join(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        let names = files.filter_map(|file| file.ok()?.file_name().into_string().ok());
        pages.extend(names.filter(|name| Path::new(name).extension().is_some_and(|e| e == "md")).map(|name| format!("{folder}/{name}")));
    }
    pages
}

#[test]
fn every_command_in_the_documents_exists_with_its_options() {
    let mut commands = 0;
    for page in pages() {
        let text = read(&root().join(&page));
        let in_lines = text.lines().filter_map(typed);
        for command in in_lines.chain(text.lines().flat_map(code).filter(|span| span.starts_with("keyward "))) {
            assert_eq!(trouble(command), None, "{page}: {command}");
            commands += 1;
        }
    }
    assert!(commands > 60, "{commands}");
}

#[test]
fn what_does_not_exist_is_seen() {
    assert_eq!(trouble("keyward rotate NAME --dry-run --output json | jq ."), None);
    assert_eq!(trouble("keyward secret rollback PATH --to VERSION"), None);
    assert!(trouble("keyward rotat NAME").is_some_and(|why| why.contains("no command rotat")));
    assert!(trouble("keyward audit rotate").is_some_and(|why| why.contains("no command rotate")));
    assert!(trouble("keyward rotate --dry").is_some());
    assert_eq!(typed("  $ VAULT_TOKEN=$(cat x) keyward restore y  # again"), Some("keyward restore y "));
    assert_eq!(typed("a sentence on what keyward does"), None);
}

/// Blocks of commands that no test types as they stand, and why.
const UNTYPED: [(&str, &str, &str); 1] = [("README.md", "cargo xtask demo", "chores of a work tree: the demo and the tests themselves")];
/// The blocks outside of the runbooks that tests type: the page, how the block begins, the test's folder or file below `tests/tests/it`.
const TYPED: [(&str, &str, &str); 8] = [
    ("README.md", "mkdir -p /etc/keyward", "documents/readme.rs"),
    ("README.md", "keyward init postgres", "documents/readme.rs"),
    ("crates/keyward/docs/backup.md", "keyward backup drill", "documents/backup.rs"),
    ("crates/keyward/docs/backup.md", "keyward restore", "documents/backup.rs"),
    ("docs/cluster.md", "keyward tls issue", "cluster/nodes.rs"),
    ("docs/cluster.md", "keyward --address", "cluster/nodes.rs"),
    ("docs/cluster.md", "keyward unseal", "cluster/nodes.rs"),
    ("docs/cluster.md", "vault operator raft list-peers", "cluster/nodes.rs"),
];

#[test]
fn a_block_of_commands_is_typed_by_a_test_or_it_is_said_why_not() {
    let mut found = BTreeSet::new();
    for page in pages().iter().filter(|page| !page.contains("/runbooks/")) {
        let text = read(&root().join(page));
        let blocks = text.split("```").skip(1).step_by(2);
        for block in blocks {
            let (heading, body) = block.split_once('\n').unwrap_or_default();
            if matches!(heading.split_whitespace().next(), None | Some("sh" | "console" | "bash")) {
                found.insert((page.clone(), body.trim_start().to_owned()));
            }
        }
    }
    let known = UNTYPED.iter().chain(&TYPED).collect::<Vec<_>>();
    for (page, body) in &found {
        let is_known = known.iter().any(|(of, begins, _)| of == page && body.starts_with(begins));
        assert!(is_known, "{page}: nobody types this block:\n{body}");
    }
    assert_eq!(found.len(), known.len(), "a block is listed that is not there");
    for (page, begins, file) in TYPED {
        assert!(read(&root().join("tests/tests/it").join(file)).contains(page), "{file} does not type {page}: {begins}");
    }
}
