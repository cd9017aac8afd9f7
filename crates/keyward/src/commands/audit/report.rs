//! `audit report`: a period in one page that can be handed to an auditor: what the rules saw, what was rotated, who read what, and
//! how far all of it can be relied on. It says what the local store holds, and never more.

mod gather;
mod text;

use crate::cli::Exit;
use crate::commands::output::{self, Output};
use crate::config::Config;
use anyhow::{Context, Result};
use askama::Template;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// A report without dates covers so much.
const USUAL: SignedDuration = SignedDuration::from_hours(30 * 24);

/// `audit report`.
#[derive(Args, Clone, Debug)]
pub struct Report {
    /// From this time on (RFC 3339); default 30 days before the end
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Up to, and not including, this time (RFC 3339); default now
    #[arg(long, value_name = "TIME")]
    pub to: Option<Timestamp>,
    /// Write it as a web page into this file, instead of as text to standard output
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// The report. Times are texts to the second.
#[derive(Debug, Default, Serialize)]
pub struct Page {
    from: String,
    to: String,
    made: String,
    version: &'static str,
    totals: Totals,
    nodes: Vec<Node>,
    gaps: Vec<Gap>,
    rules: Vec<Rule>,
    findings: Vec<Found>,
    findings_unlisted: usize,
    rotations: Vec<Rotation>,
    secrets: Vec<Secret>,
    identities: Vec<Identity>,
    identities_unlisted: usize,
    days: Vec<Day>,
    calls: Vec<Calls>,
    /// The file that it was written into.
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize)]
struct Totals {
    calls: u64,
    denied: u64,
    critical: usize,
    warning: usize,
    rotated: usize,
    not_rotated: usize,
}

#[derive(Debug, Serialize)]
struct Node {
    name: String,
    reached: String,
    /// Since the log was first read.
    bad_lines: u64,
    chained: u64,
    seals: usize,
    last_seal: String,
}

#[derive(Debug, Serialize)]
struct Gap {
    at: String,
    node: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Rule {
    name: String,
    severity: String,
    count: usize,
    says: &'static str,
}

#[derive(Debug, Serialize)]
struct Found {
    at: String,
    rule: String,
    severity: String,
    text: String,
}

#[derive(Debug, Serialize)]
struct Rotation {
    started: String,
    secret: String,
    class: String,
    kind: String,
    outcome: String,
    success: bool,
    text: String,
    asked_by: String,
}

#[derive(Debug, Serialize)]
struct Secret {
    name: String,
    class: String,
    kind: String,
    owner: String,
    /// When it was last rotated and the new value proved, up to now.
    rotated: String,
    readers: Vec<Reader>,
}

#[derive(Debug, Serialize)]
struct Reader {
    name: String,
    address: String,
    last_read: String,
    reads: u64,
    knows: &'static str,
}

#[derive(Debug, Serialize)]
struct Identity {
    name: String,
    addresses: String,
    first: String,
    last: String,
}

#[derive(Debug, Serialize)]
struct Day {
    date: String,
    calls: u64,
    denied: u64,
    /// Of the highest day, in percent.
    height: u64,
    /// Of this day, in percent.
    denied_height: u64,
}

#[derive(Debug, Default, Serialize)]
struct Calls {
    mount: String,
    operation: String,
    ok: u64,
    denied: u64,
    failed: u64,
}

#[derive(Template)]
#[template(path = "audit_report.html")]
struct Html<'a> {
    r: &'a Page,
}

impl Html<'_> {
    /// A number with a thin space at every third digit, so that it can be read at a glance.
    #[expect(clippy::unused_self, reason = "the template calls it so")]
    fn grouped(&self, number: impl std::borrow::Borrow<u64>) -> String {
        let digits = number.borrow().to_string();
        let lead = digits.len() % 3;
        let mut out = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && index % 3 == lead {
                out.push('\u{202f}');
            }
            out.push(digit);
        }
        out
    }
}

/// What no audit log shows, and so no report can.
const LIMITS: [&str; 4] = [
    "What Vault does by itself (leases that end, its own rotations of static roles) leaves no line; nor does a call that it refuses before \
     it looks at the token.",
    "Values and most names within calls are hashed in the log: the report says who asked for what, not what the answer was.",
    "Whoever holds another's token is taken for that one.",
    "A copy of Vault's storage or of a secret, once taken, is read without a call.",
];

impl Page {
    #[expect(clippy::unused_self, reason = "the template calls it so")]
    fn limits(&self) -> [&'static str; 4] {
        LIMITS
    }

    fn node_names(&self) -> String {
        self.nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn first_day(&self) -> &str {
        self.days.first().map_or("", |day| day.date.as_str())
    }

    fn last_day(&self) -> &str {
        self.days.last().map_or("", |day| day.date.as_str())
    }
}

/// Gathers and writes it.
///
/// # Errors
/// The local store cannot be read, or the file not be written.
pub async fn run(report: Report, config: &Config, out: Output) -> Result<Exit> {
    let now = Timestamp::now();
    let to = report.to.unwrap_or(now);
    let from = report.from.unwrap_or_else(|| to.checked_sub(USUAL).unwrap_or(Timestamp::MIN));
    if from >= to {
        output::note(&format!("keyward: the period is empty: it begins at {from} and ends at {to}; write --from before --to"));
        return Ok(Exit::Usage);
    }
    let mut page = gather::page(config, (from, to), now).await?;
    if let Some(file) = &report.html {
        let html = Html { r: &page }.render().context("the report cannot be drawn")?;
        write(file, &html).with_context(|| format!("cannot write {}", file.display()))?;
        page.written = Some(file.clone());
    }
    match (out, &page.written) {
        (Output::Json, _) => output::json(&page),
        (Output::Text, None) => output::line(&text::page(&page)),
        (Output::Text, Some(file)) => output::note(&format!("The report is in {}.", file.display())),
    }
    Ok(Exit::Ok)
}

/// Beside it first, then over it, so that nobody finds half a report. Only the owner may read it: it names people and paths.
fn write(file: &Path, html: &str) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = file.with_file_name(name);
    let mut new = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let written = new.write_all(html.as_bytes()).and_then(|()| new.sync_all()).and_then(|()| std::fs::rename(&beside, file));
    if written.is_err() {
        // It is ours and half written; that it cannot be removed either adds nothing.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests;
