//! A proposal as the text of a configuration.

use super::propose::Proposal;
use std::fmt::Write as _;

/// `[class.NAME]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its schedule.
    pub schedule: &'static str,
}

/// `[[secret]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    /// Its name.
    pub name: String,
    /// What tells it from others of the same path.
    pub part: String,
    /// Its class.
    pub class: String,
    /// Its kind.
    pub kind: &'static str,
    /// The path, mount first.
    pub path: String,
    /// The fields that it owns.
    pub fields: Vec<String>,
    /// Its further keys with their values as TOML.
    pub lines: Vec<(String, String)>,
    /// Fields that it must never own.
    pub pinned: Vec<String>,
    /// What is to be known about it.
    pub remarks: Vec<String>,
}

/// A TOML text.
pub fn text(value: &str) -> String {
    // JSON's escapes are TOML's, for texts.
    serde_json::Value::from(value).to_string()
}

/// A TOML list of texts.
pub fn texts(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|v| text(v)).collect::<Vec<_>>().join(", "))
}

/// A TOML key.
pub fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if bare { name.to_owned() } else { text(name) }
}

/// The whole proposal; empty where there is nothing to rotate.
pub fn render(proposal: &Proposal) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    for class in &proposal.classes {
        let _ = writeln!(out, "[class.{}]\nschedule = {}\n", class.name, text(class.schedule));
    }
    for stanza in &proposal.secrets {
        for remark in &stanza.remarks {
            let _ = writeln!(out, "# {}", one_line(remark));
        }
        let _ = writeln!(out, "[[secret]]\nname = {}\nclass = {}", text(&stanza.name), text(&stanza.class));
        let _ = writeln!(out, "kind = {}\npath = {}", text(stanza.kind), text(&stanza.path));
        for (key, value) in &stanza.lines {
            let _ = writeln!(out, "{key} = {value}");
        }
        if !stanza.pinned.is_empty() {
            let _ = writeln!(out, "pinned = {}", texts(&stanza.pinned));
        }
        let _ =
            writeln!(out, "mode = \"observe\"                    # watched and proved, not rotated; take this line out to let it begin\n");
    }
    out.trim_end().to_owned()
}

/// A remark repeats notes that anybody may have written.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}
