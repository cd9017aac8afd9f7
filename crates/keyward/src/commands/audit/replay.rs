//! `audit replay`: what the daemon would have counted and found in archived logs. Touches nothing.

use super::archive::{self, Source};
use crate::cli::Exit;
use crate::commands::output::{self, Output};
use crate::config::{Config, KindConfig};
use crate::daemon::audit::{known_marks, sentence};
use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;
use keyward_audit::{
    BadReason, ErrorClass, Finding, LINE_KINDS, ManagedPaths, Operation, Outcome, Pipeline, Place, RuleBook, RuleId, Severity, Tally, Usage,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// More findings are counted, and not listed one by one.
const LISTED: usize = 10_000;

/// `audit replay`.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// The logs, oldest first; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// A file whose [[audit.rule]] tables apply instead of the configuration's
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Replayed {
    /// The files that were read.
    files: Vec<Source>,
    /// The time of the last entry.
    last_entry: Option<Timestamp>,
    /// Calls, each counted once, as `keyward_audit_entries_total` counts them.
    entries: Vec<Entry>,
    /// Lines by kind.
    lines: BTreeMap<&'static str, u64>,
    /// Lines that could not be understood, by reason.
    bad_lines: BTreeMap<&'static str, u64>,
    /// Failed calls, by the kind of their error.
    errors: BTreeMap<&'static str, u64>,
    /// Requests that never had a response.
    unmatched_requests: u64,
    /// Responses whose request was not seen.
    unmatched_responses: u64,
    /// How many findings each rule would have made, by severity.
    findings_total: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// The findings, at most ten thousand.
    findings: Vec<Found>,
}

#[derive(Debug, Serialize)]
struct Entry {
    operation: &'static str,
    mount: String,
    mount_type: &'static str,
    result: &'static str,
    count: u64,
}

#[derive(Debug, Serialize)]
struct Found {
    at: Timestamp,
    rule: &'static str,
    severity: &'static str,
    who: String,
    from: String,
    what: String,
    secret: Option<String>,
    count: u64,
    /// It fell into the rule's quiet hours: nobody would have been told.
    is_quiet: bool,
    text: String,
}

/// Reads the logs and prints what came of it.
///
/// # Errors
/// A file that cannot be read, or rules that are not sound.
pub async fn run(replay: Replay, config: Option<Config>, out: Output) -> Result<Exit> {
    let mut pipeline = Pipeline::default();
    let overrides = match (&replay.rules, &config) {
        (Some(file), _) => {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read the rules of {}", file.display()))?;
            Config::parse_rules(&text, &file.display().to_string())?
        }
        (None, Some(config)) => config.audit_rules.clone(),
        (None, None) => Vec::new(),
    };
    pipeline.rules = RuleBook::with(&overrides)?;
    if let Some(config) = &config {
        pipeline.paths = managed_paths(config);
        pipeline.own = known_marks(config).await;
    } else if out == Output::Text {
        output::note("No configuration: the shipped rules apply, and no secret is known to be managed.");
    }
    let replayed = tokio::task::spawn_blocking(move || read(&replay.files, pipeline, Timestamp::now())).await??;
    match out {
        Output::Json => output::json(&replayed),
        Output::Text => print(&replayed),
    }
    Ok(Exit::Ok)
}

fn read(files: &[PathBuf], mut pipeline: Pipeline, now: Timestamp) -> Result<Replayed> {
    let mut usage = Usage::default();
    let mut findings: Vec<Found> = Vec::new();
    let shared = std::cell::RefCell::new((&mut pipeline, &mut usage, &mut findings));
    let each = |number: usize, line: &[u8], offset: u64| {
        let (pipeline, usage, _) = &mut *shared.borrow_mut();
        pipeline.line(line, Place { file: number as u64, offset }, now, *usage);
    };
    let pause = || {
        let (pipeline, _, findings) = &mut *shared.borrow_mut();
        if let Some(reached) = pipeline.tally.last_entry() {
            pipeline.expire(reached);
        }
        let room = LISTED.saturating_sub(findings.len());
        findings.extend(pipeline.take_found().into_iter().take(room).map(found));
    };
    let files = archive::read(files, each, pause)?;
    Ok(replayed(files, &pipeline.tally, findings))
}

fn replayed(files: Vec<Source>, tally: &Tally, findings: Vec<Found>) -> Replayed {
    let named = |labels: &[&'static str], counts: &[u64]| {
        let counted = labels.iter().copied().zip(counts.iter().copied());
        counted.filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
    };
    let mut entries: Vec<Entry> = Vec::new();
    for row in tally.rows() {
        for (operation, counts) in Operation::ALL.into_iter().zip(&row.cells) {
            for (outcome, count) in Outcome::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
                let (mount, mount_type) = (row.mount.clone(), row.mount_type);
                entries.push(Entry { operation: operation.label(), mount, mount_type, result: outcome.label(), count: *count });
            }
        }
    }
    entries.sort_by(|a, b| (&a.mount, a.mount_type, a.operation, a.result).cmp(&(&b.mount, b.mount_type, b.operation, b.result)));
    let by_severity = |counts| named(&Severity::ALL.map(Severity::label), counts);
    let by_rule = RuleId::ALL.into_iter().zip(tally.findings()).map(|(rule, counts)| (rule.name(), by_severity(counts)));
    Replayed {
        files,
        last_entry: tally.last_entry(),
        entries,
        lines: named(&LINE_KINDS, tally.lines()),
        bad_lines: named(&BadReason::ALL.map(BadReason::label), tally.bad()),
        errors: named(&ErrorClass::ALL.map(ErrorClass::label), tally.errors()),
        unmatched_requests: tally.unmatched_requests(),
        unmatched_responses: tally.unmatched_responses(),
        findings_total: by_rule.filter(|(_, counts)| !counts.is_empty()).collect(),
        findings,
    }
}

fn found(finding: Finding) -> Found {
    let text = sentence(&finding, "the archive");
    let Finding { rule, severity, time, who, from, what, secret, count, is_quiet, .. } = finding;
    Found { at: time, rule: rule.name(), severity: severity.label(), who, from, what, secret, count, is_quiet, text }
}

/// Without Vault nobody says where in a path the mount ends, so that every place is tried. A path that exists in one mount only is
/// never taken for another.
fn managed_paths(config: &Config) -> ManagedPaths {
    let namespace = config.vault.namespace.as_ref().map(|n| format!("{n}/")).unwrap_or_default();
    let mut paths = ManagedPaths::default();
    for secret in &config.secrets {
        if let KindConfig::VaultStaticRole(kind) = &secret.kind {
            paths.add_static_role(&secret.name, &format!("{namespace}{}", kind.mount), &kind.role);
        }
        let path = secret.kind.path().unwrap_or_default().trim_matches('/');
        for (end, _) in path.match_indices('/') {
            let (mount, key) = path.split_at(end);
            paths.add_kv2(&secret.name, &format!("{namespace}{mount}"), key);
        }
    }
    paths
}

fn print(replayed: &Replayed) {
    for source in &replayed.files {
        let torn = if source.is_torn { ", and it ends in the middle of one" } else { "" };
        output::line(&format!("{}: {} lines{torn}", source.file, source.lines));
    }
    let rows: Vec<Vec<String>> = replayed
        .entries
        .iter()
        .map(|e| vec![e.operation.into(), e.mount.clone(), e.mount_type.into(), e.result.into(), e.count.to_string()])
        .collect();
    output::line(&format!("\n{}", output::table(&["OPERATION", "MOUNT", "TYPE", "RESULT", "CALLS"], &rows)));
    let counts = |title: &str, counts: &BTreeMap<&'static str, u64>| {
        if !counts.is_empty() {
            let listed: Vec<String> = counts.iter().map(|(label, count)| format!("{label} {count}")).collect();
            output::line(&format!("\n{title}: {}", listed.join(", ")));
        }
    };
    counts("Errors", &replayed.errors);
    counts("Lines that are no entries", &replayed.bad_lines);
    if replayed.findings.is_empty() {
        output::line("\nNo rule would have spoken.");
        return;
    }
    let total: u64 = replayed.findings_total.values().flat_map(BTreeMap::values).sum();
    output::line(&format!("\nThe rules would have spoken {total} times:"));
    for found in &replayed.findings {
        let quiet = if found.is_quiet { " (in quiet hours)" } else { "" };
        output::line(&format!("  {} {} {}: {}{quiet}", found.at, found.severity, found.rule, found.text));
    }
    if total > replayed.findings.len() as u64 {
        output::line(&format!("  … and {} more", total - replayed.findings.len() as u64));
    }
}
