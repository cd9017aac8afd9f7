//! The paths for people: as lines, and as a page in Markdown.

use super::list::Entry;
use crate::ports::{ReaderView, SecretUsage};
use crate::view::whole_seconds;
use std::fmt::Write as _;

/// As lines, a paragraph for each path.
pub fn text(entries: &[Entry]) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{}", entry.path);
        for (name, says) in lines(entry, plain) {
            let _ = writeln!(text, "  {name:<10} {says}");
        }
        text.push('\n');
    }
    text
}

/// As a page, a section for each path.
pub fn markdown(entries: &[Entry]) -> String {
    let mut page = String::from(
        "# Paths in Vault\n\nWritten by `keyward paths --markdown` from the configuration and from what the audit logs show. \
         It holds no value.\n",
    );
    for entry in entries {
        let _ = write!(page, "\n## {}\n\n", code(&entry.path));
        for (name, says) in lines(entry, code) {
            let _ = writeln!(page, "- {name}: {says}");
        }
    }
    page
}

/// What is said of a path: name and words. `mark` is put around what is not ours: names that others gave.
fn lines(entry: &Entry, mark: fn(&str) -> String) -> Vec<(&'static str, String)> {
    let mut lines = vec![("what", entry.what.clone())];
    if let Some(secret) = &entry.secret {
        let kind = match (&entry.class, &entry.kind) {
            (Some(class), Some(kind)) => format!(" (class {}, kind {kind})", mark(class)),
            _ => String::new(),
        };
        lines.push(("secret", format!("{}{kind}", mark(secret))));
    }
    lines.extend(entry.owner.iter().map(|owner| ("owner", mark(owner))));
    if !entry.fields.is_empty() {
        lines.push(("fields", list(&entry.fields, mark)));
    }
    if !entry.pinned.is_empty() {
        lines.push(("pinned", format!("{}, which never rotate", list(&entry.pinned, mark))));
    }
    lines.extend(entry.read_with.iter().map(|command| ("read with", mark(command))));
    if !entry.keyward.is_empty() {
        lines.push(("Keyward", format!("reads or changes it {}", entry.keyward)));
    }
    for via in &entry.via {
        let within = via.within_seconds.map_or_else(|| "nobody can say how old".to_owned(), |s| format!("at most {s} s old"));
        lines.push(("reader", format!("{} reads it for others, who hold it {within}", mark(&via.name))));
    }
    if let Some(usage) = &entry.usage {
        readers(usage, mark, &mut lines);
    }
    lines
}

fn readers(usage: &SecretUsage, mark: fn(&str) -> String, lines: &mut Vec<(&'static str, String)>) {
    lines.extend(usage.readers.iter().map(|reader| ("reader", seen(reader, mark))));
    if usage.readers.is_empty() {
        lines.push(("reader", "nobody was seen".to_owned()));
    }
    lines.extend(usage.coverage.iter().map(|(node, says)| ("seen by", format!("{}: {says}", mark(node)))));
    if usage.coverage.is_empty() {
        lines.push(("seen by", "unknown: no audit log is followed".to_owned()));
    }
}

fn seen(reader: &ReaderView, mark: fn(&str) -> String) -> String {
    let (name, address, last) = (mark(&reader.name), mark(&reader.address), whole_seconds(reader.last_read));
    format!("{name} from {address}, {} times, last {last}", reader.reads)
}

fn list(names: &[String], mark: fn(&str) -> String) -> String {
    names.iter().map(|name| mark(name)).collect::<Vec<_>>().join(", ")
}

/// A name of somebody else's on one line, without what could steer a terminal.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// The same in Markdown: as code, which no name can end.
fn code(name: &str) -> String {
    format!("`{}`", plain(name).replace('`', "'"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

    use super::*;
    use crate::config::{Config, Environment};
    use serde_json::json;

    #[test]
    fn names_of_strangers_stay_names() {
        let example = include_str!("../../../../../config/keyward.toml");
        let config = Config::parse(example, "keyward.toml", &Environment::default()).unwrap();
        let mut entries = super::super::list::entries(&config);
        let at = "2026-11-24T02:00:00Z";
        let reader = json!({ "name": "till\u{1b}[2J`\n## <b>", "identity": "e-1", "address": "10.0.0.9", "first_read": at, "last_read": at, "reads": 3, "knows": "new" });
        let usage: SecretUsage =
            serde_json::from_value(json!({ "rotated": at, "readers": [reader], "coverage": { "vault-1": "every read" } })).unwrap();
        let entry = entries.iter_mut().find(|e| e.path == "secret/backend/database").unwrap();
        entry.usage = Some(usage);
        let page = markdown(&entries);
        assert!(page.contains("- reader: `till?[2J'?## <b>` from `10.0.0.9`, 3 times, last 2026-11-24T02:00:00Z\n"), "{page}");
        assert!(page.contains("## `secret/backend/database`\n") && page.contains("- fields: `password`, `url`, `username`\n"), "{page}");
        let lines = text(&entries);
        assert!(lines.contains("  reader     till?[2J`?## <b> from 10.0.0.9, 3 times, last 2026-11-24T02:00:00Z\n"), "{lines}");
        assert!(!lines.contains('\u{1b}') && !page.contains('\u{1b}'));
    }
}
