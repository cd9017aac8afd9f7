//! `rotate`, `resume`, `supply` of one secret: what a person asks for, over the daemon's socket or alone.

use super::alone::{Alone, unknown};
use super::by_hand::Declined;
use super::hand::{Hand, Request};
use super::output::{self, Output};
use super::secret::{line_of, nothing_after};
use super::stop;
use crate::assembly::Managed;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::control::{Answer, Said};
use crate::daemon::observer::Progress;
use crate::daemon::requests::Refusal;
use anyhow::{Context, Result, bail};
use keyward_engine::ports::{Document, Vault as _};
use keyward_engine::{Class, Failure};
use keyward_rotation::record::Record;
use keyward_secret::Secret;
use std::io::IsTerminal;
use zeroize::Zeroizing;

/// Carries a request out and prints how it goes.
///
/// # Errors
/// What kept it from being asked.
pub async fn run(config: Config, environment: &Environment, name: &str, request: Request, alone: bool, out: Output) -> Result<Exit> {
    if config.secret(name).is_none() {
        bail!(unknown(config.secrets.iter().map(|s| &s.name), name));
    }
    let is_unproved = config.secret(name).is_some_and(|secret| secret.kind.is_unproved());
    let hand = Hand::find(config, environment, alone, out).await?;
    let said = hand.ask(name, request, |progress| show(progress, out)).await?;
    Ok(finish(name, said, is_unproved, out))
}

pub(super) fn show(progress: &Progress, out: Output) {
    if out == Output::Json {
        return;
    }
    let mark = if progress.failure.is_some() { "✗" } else { "✓" };
    let why = progress.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    output::note(&format!("  {mark} {:<12} {:>7.3} s{why}", progress.step, progress.seconds));
}

/// Prints the result; the exit code.
fn finish(name: &str, said: Said, is_unproved: bool, out: Output) -> Exit {
    match said {
        Said::Result(answer) => {
            let exit = exit(&answer);
            match out {
                Output::Json => output::json(&answer),
                Output::Text if is_unproved && answer.outcome == "rotated" => output::line(&format!(
                    "{name} is published, and reads back as it was brought (rotation {}). Nothing here can prove that it works.",
                    answer.rotation
                )),
                Output::Text if exit == Exit::Ok => output::line(&sentence(name, &answer)),
                Output::Text => output::note(&format!("keyward: {}", sentence(name, &answer))),
            }
            exit
        }
        Said::Refused(refusal) => {
            if out == Output::Json {
                output::json(&serde_json::json!({ "outcome": "not begun", "failure": refusal.to_string() }));
            }
            output::note(&format!("keyward: {refusal}"));
            exit_of_refusal(&refusal)
        }
        Said::Progress(_) => Exit::Internal,
    }
}

pub(super) fn exit_of_refusal(refusal: &Refusal) -> Exit {
    match refusal {
        Refusal::Wrong(_) => Exit::Failed,
        Refusal::Later(_) => Exit::Temporary,
        Refusal::Unavailable(_) => Exit::Unavailable,
        Refusal::Denied(_) => Exit::Denied,
    }
}

pub(super) fn sentence(name: &str, answer: &Answer) -> String {
    let why = answer.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let at = answer.failed_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    match answer.outcome.as_str() {
        "rotated" => format!("{name} is rotated and proved (rotation {}).", answer.rotation),
        "paused" => format!("{name} is paused: its schedule stands still until `keyward resume {name}`."),
        "noted" => format!("{name}: what is true was written into its record; nothing else was touched."),
        "resumed" => format!("{name} is no longer paused; its next slot decides."),
        "rolled_back" => format!("{name} was not rotated, and the old value is in force again: it failed{at}{why}"),
        "stuck" => format!(
            "{name} stands still{at}{why}\nLook at `keyward status {name}`, then `keyward resume {name}` or `keyward reconcile {name}`."
        ),
        "deferred" => format!("{name} was not rotated yet; nothing was changed{why}"),
        "lost" => format!("{name} is in somebody else's hands: another daemon or command rotates it right now."),
        "suspended" => format!("{name} was left in the middle, safely: it is taken up again by whoever reaches Vault next{why}"),
        _ => format!("{name} was not rotated, nothing was changed: it failed{at}{why}"),
    }
}

pub(super) fn exit(answer: &Answer) -> Exit {
    let class = answer.class.as_deref().and_then(|name| Class::ALL.into_iter().find(|c| c.name() == name));
    match answer.outcome.as_str() {
        "rotated" | "resumed" | "paused" | "noted" => Exit::Ok,
        "deferred" | "lost" | "suspended" => Exit::Temporary,
        "refused" => class.map_or(Exit::Failed, super::exit_of),
        _ => Exit::Failed,
    }
}

/// The steps that change nothing, as a rotation takes them.
async fn would_begin(alone: &Alone, managed: &Managed, live: &Document) -> Result<(), Failure> {
    let now = jiff::Timestamp::now();
    managed.spec.kind.preflight(live, now, true).await?;
    match alone.live.engine.load(&managed.spec.name).await?.record {
        Some(record) => managed.spec.kind.gate(live, &record, now).await,
        None => managed.spec.kind.gate(live, &Record::first_seen(&managed.spec.name, now), now).await,
    }
}

/// `rotate --dry-run`: preflight, then the steps in words. Nothing is changed.
///
/// # Errors
/// No login, or no such secret.
pub async fn dry_run(config: Config, environment: &Environment, name: &str, out: Output) -> Result<Exit> {
    let alone = Alone::log_in(config, environment).await?;
    let managed = alone.managed(name)?;
    let kind = managed.spec.kind.as_ref();
    let live = match kind.path() {
        Some(path) => alone.live.vault.read(path).await,
        None => Ok(Document::default()),
    };
    let outcome = match live {
        Ok(live) => would_begin(&alone, managed, &live).await,
        Err(failure) => Err(failure),
    };
    let steps: Vec<_> = kind.table().rows.iter().map(|row| serde_json::json!({ "step": row.step.name(), "does": row.says })).collect();
    let failure = outcome.as_ref().err().map(ToString::to_string);
    match out {
        Output::Json => {
            output::json(&serde_json::json!({ "secret": name, "kind": kind.table().kind, "steps": steps, "preflight": failure }));
        }
        Output::Text => {
            output::line(&format!("{name} ({}) would be rotated like this; nothing is changed now:", kind.table().kind));
            for (i, row) in kind.table().rows.iter().enumerate() {
                output::line(&format!("  {}. {:<10} {}", i + 1, row.step.name(), row.says));
            }
            match &failure {
                None => output::line("Preflight: all is well."),
                Some(why) => output::note(&format!("keyward: preflight: {why}")),
            }
        }
    }
    Ok(outcome.err().map_or(Exit::Ok, |failure| super::exit_of(failure.class)))
}

/// Reads the value for `supply`: without echo from a terminal, else one line of standard input.
///
/// # Errors
/// No value, or two that differ.
pub fn read_value(name: &str) -> Result<Secret> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let first = hidden(&format!("New value of {name}: "))?;
        let again = hidden("Once more: ")?;
        if !first.same_as(&again) {
            return Err(Declined::data("the two values differ; nothing was done").into());
        }
        return Ok(first);
    }
    read_known(name)
}

/// Reads one that exists already, so that nobody has to type it twice.
///
/// # Errors
/// No value, or more than one line.
pub fn read_known(name: &str) -> Result<Secret> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        return hidden(&format!("{name}: "));
    }
    let mut lines = stdin.lock();
    let value = line_of(&mut lines, name)?.ok_or_else(no_value)?;
    nothing_after(&mut lines, "it takes a value of one line")?;
    Ok(value)
}

fn no_value() -> Declined {
    Declined::data("there is no value; nothing was done")
}

/// One line from the terminal with echo off.
pub(super) fn hidden(prompt: &str) -> Result<Secret> {
    Ok(hidden_or_nothing(prompt)?.ok_or_else(no_value)?)
}

/// The same, where an empty line means that there is none; the terminal is put back whatever happens.
pub(super) fn hidden_or_nothing(prompt: &str) -> Result<Option<Secret>> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    use std::io::Write;
    struct Restore<'a>(&'a std::io::Stdin, rustix::termios::Termios);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let _ = tcsetattr(self.0, OptionalActions::Now, &self.1);
            stop::terminal(None);
            let _ = writeln!(std::io::stderr());
        }
    }
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("cannot read the terminal's settings")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    stop::terminal(Some(before.clone()));
    let restore = Restore(&stdin, before);
    // Before the prompt: whoever sees it may type at once.
    tcsetattr(&stdin, OptionalActions::Now, &silent).context("cannot switch the terminal's echo off")?;
    let mut text = Zeroizing::new(String::new());
    let read = stop::while_reading(|| {
        let _ = write!(std::io::stderr(), "{prompt}");
        stdin.read_line(&mut text)
    });
    drop(restore);
    read.context("cannot read from the terminal")?;
    let text = text.trim_end_matches(['\n', '\r']);
    Ok((!text.is_empty()).then(|| Secret::new(text)))
}
