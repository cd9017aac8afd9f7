//! `status`: how the secrets are. Asks the daemon; where none runs, reads the records.

use super::alone::{Alone, unknown};
use super::daemon_client::Daemon;
use super::output::{self, Output};
use super::usage::{self, Source};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::board::{AuditView, Status};
use crate::daemon::requests::{self, Refusal};
use crate::ports::SecretUsage;
use crate::records;
use crate::view::{self, Beside, SecretView, UseView, whole_seconds};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Prints the status of all secrets, or of one in detail.
///
/// # Errors
/// No such secret, or neither the daemon nor Vault can be asked.
pub async fn run(config: Config, environment: &Environment, name: Option<&str>, out: Output) -> Result<Exit> {
    if let Some(name) = name
        && config.secret(name).is_none()
    {
        bail!(unknown(config.secrets.iter().map(|s| &s.name), name));
    }
    let source = Source::of(&config);
    let (mut status, by_daemon) = gather(config.clone(), environment).await?;
    if let Some(secret) = name.and_then(|name| status.secrets.get_mut(name)).filter(|secret| !secret.pending.is_empty()) {
        match still_used(config, environment, &secret.name).await? {
            Ok(used) => secret.still_used = used,
            Err(refusal) => output::note(&format!("keyward: who still uses the older value cannot be told: {refusal}")),
        }
    }
    let secrets = &status.secrets;
    let usage = match name.and_then(|name| secrets.get(name)) {
        Some(secret) => source.ask(&secret.name, by_daemon, secret.last_success).await,
        None => None,
    };
    match (name, out) {
        (Some(name), Output::Json) => output::json(&secrets.get(name).map(|secret| Detail { secret, usage: usage.as_ref() })),
        (Some(name), Output::Text) => match secrets.get(name) {
            Some(secret) => output::line(
                &(detail(secret) + &usage.map(|usage| usage::lines(&usage)).map_or_else(String::new, |lines| format!("\n{lines}"))),
            ),
            None => bail!("the running daemon does not know {name}; it was started with another configuration: send it SIGHUP"),
        },
        (None, Output::Json) => output::json(&status),
        (None, Output::Text) => overview(&status, by_daemon),
    }
    let wrong = |s: &&SecretView| s.overdue || s.failures > 0 || matches!(s.state.as_str(), "stuck" | "diverged" | "unknown");
    let bad = secrets.values().filter(|s| name.is_none_or(|name| s.name == name)).find(wrong);
    Ok(if bad.is_some() { Exit::Failed } else { Exit::Ok })
}

/// Who still uses the older values of a secret. Only the daemon follows the audit log, so without one the readers are unknown.
async fn still_used(config: Config, environment: &Environment, name: &str) -> Result<Result<Vec<UseView>, Refusal>> {
    if let Some(daemon) = Daemon::find(&config.socket).await? {
        return daemon.get(&format!("/use/{name}")).await;
    }
    let alone = Alone::log_in(config, environment).await?;
    Ok(requests::still_used(&alone.live.engine, alone.managed(name)?).await)
}

/// A secret in detail, for programs.
#[derive(Serialize)]
struct Detail<'a> {
    #[serde(flatten)]
    secret: &'a SecretView,
    usage: Option<&'a SecretUsage>,
}

/// What the daemon knows, or what the records say when none runs; and which of the two it is.
pub async fn gather(config: Config, environment: &Environment) -> Result<(Status, bool)> {
    if let Some(daemon) = Daemon::find(&config.socket).await? {
        return Ok((daemon.status().await?, true));
    }
    let alone = Alone::log_in(config, environment).await?;
    let now = Timestamp::now();
    let mut secrets = BTreeMap::new();
    let (mut readable, mut first) = (alone.live.secrets.is_empty(), None);
    let mut pauses = BTreeMap::new();
    for class in alone.live.secrets.values().map(|m| m.config.class.as_str()).collect::<BTreeSet<_>>() {
        // What cannot be read is said by the records below, each with its reason.
        pauses.extend(alone.live.engine.class_pause(class).await.ok().flatten().map(|pause| (class, pause)));
    }
    for (name, managed) in &alone.live.secrets {
        let read = records::look(&alone.live.engine, managed).await;
        readable |= read.is_ok();
        let why = read.as_ref().err().map(ToString::to_string);
        if first.is_none() {
            first = read.as_ref().err().cloned();
        }
        let beside = Beside { class_pause: pauses.get(managed.config.class.as_str()), ..Beside::default() };
        let read = read.as_ref().map_err(|_| why.as_deref().unwrap_or_default());
        secrets.insert(name.clone(), view::view(managed, read, beside, now));
    }
    // One unreadable record is a state to show; all of them are one trouble to name.
    if let Some(failure) = first.filter(|_| !readable) {
        return Err(failure).context("no record can be read");
    }
    Ok((Status { version: env!("CARGO_PKG_VERSION").into(), secrets, ..Status::default() }, false))
}

fn overview(status: &Status, by_daemon: bool) {
    if !by_daemon {
        output::note("No daemon runs here; this is what the records in Vault say.");
    }
    for (node, view) in &status.nodes {
        output::line(&format!("Vault {node}: {}  {}", view.state, view.detail));
    }
    for (node, audit) in status.audit.iter().filter(|(_, audit)| audit.bad_lines > 0) {
        output::line(&format!("Audit log of {node}: {}", bad_lines(audit)));
    }
    if by_daemon && !status.waiting_for.is_empty() {
        output::line("Not ready yet; waiting for:");
        status.missing().iter().for_each(|what| output::line(&format!("  {what}")));
    }
    for alert in &status.alerts {
        output::line(&format!("Alert: {alert}"));
    }
    let never = || "never".to_owned();
    let rows: Vec<Vec<String>> = status
        .secrets
        .values()
        .map(|s| {
            let state = if s.overdue { format!("{}, overdue", s.state) } else { s.state.clone() };
            let last = s.last_success.filter(|_| !s.unproved).map_or_else(never, whole_seconds);
            let next = s.next_due.map_or_else(never, whole_seconds);
            vec![s.name.clone(), s.class.clone(), state, last, next, s.next.clone()]
        })
        .collect();
    output::line(&output::table(&["SECRET", "CLASS", "STATE", "LAST PROVED", "NEXT SLOT", "NEXT"], &rows));
}

/// How many lines could not be understood, and where the newest stands.
fn bad_lines(audit: &AuditView) -> String {
    let count = format!("{} lines could not be understood", audit.bad_lines);
    let Some(newest) = audit.bad_places.last() else { return count };
    let (offset, file, length) = (newest.place.offset, newest.place.file, newest.length);
    format!("{count}; the newest ({}) at byte {offset} of the file with inode {file}, {length} bytes long", newest.reason.label())
}

/// One secret as `keyward status NAME` shows it.
pub fn detail(s: &SecretView) -> String {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), whole_seconds);
    let mut lines = vec![
        format!("{}  ({}, {})", s.name, s.class, s.kind),
        format!("  what happened:      {}", s.happened),
        format!("  what is true now:   {}", s.now),
        format!("  what happens next:  {}", s.next),
    ];
    if !s.can_do.is_empty() {
        lines.push(format!("  what you can do:    {}", s.can_do));
    }
    if let Some(path) = &s.path {
        lines.push(format!("  published at:       {path}"));
    }
    lines.push(format!("  state:              {}{}", s.state, if s.overdue { ", overdue" } else { "" }));
    lines.push(format!("  rotations:          {}", s.number));
    lines.push(format!("  last proved:        {}", time(s.last_success.filter(|_| !s.unproved))));
    lines.push(format!("  next slot:          {}", time(s.next_due)));
    if s.adopted {
        lines.push("  put there by:       somebody else; adopted because it works".to_owned());
    }
    lines.extend(s.still_used.iter().flat_map(used_lines));
    lines.extend(s.pending.iter().map(|p| format!("  still to be done:   {p}")));
    lines.join("\n")
}

/// Who uses one older value; where nobody does, that is only said if all of it could be seen.
fn used_lines(used: &UseView) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(used.sessions.iter().map(|session| format!("  still uses {}:  a session {session}", used.what)));
    lines.extend(used.behind.iter().map(|who| format!("  not read it since:  {who}")));
    lines.extend(used.unknown.iter().map(|why| format!("  use is unknown:     {why}")));
    if lines.is_empty() {
        lines.push(format!("  nobody uses:        {}; all of it was seen", used.what));
    }
    lines
}
