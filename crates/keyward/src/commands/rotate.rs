//! `rotate`, `resume`, `supply`: what a person asks for, over the daemon's socket or alone.

use super::alone::{Alone, unknown};
use super::daemon_client::{Daemon, person};
use super::output::{self, Output};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::control::{Answer, Said};
use crate::daemon::observer::Progress;
use crate::daemon::requests::{self, Refusal};
use crate::daemon::rotations::Work;
use anyhow::{Context, Result, bail};
use hyper::body::Bytes;
use keyward_engine::ports::Vault as _;
use keyward_engine::{Class, Outcome};
use keyward_secret::{Secret, Values};
use std::io::{BufRead, IsTerminal};
use zeroize::Zeroizing;

/// What is asked for.
pub enum Request {
    /// Rotate now.
    Rotate,
    /// Let what is stuck or paused go on.
    Resume,
    /// Take this value.
    Supply(Secret),
}

impl Request {
    fn path(&self, name: &str) -> String {
        match self {
            Self::Rotate => format!("/rotate/{name}"),
            Self::Resume => format!("/resume/{name}"),
            Self::Supply(_) => format!("/supply/{name}"),
        }
    }

    fn body(&self) -> Bytes {
        match self {
            Self::Rotate | Self::Resume => Bytes::new(),
            Self::Supply(value) => {
                let values = Values::from([("value".to_owned(), value.duplicate())]);
                let mut fields = keyward_secret::Fields::new();
                for (name, value) in &values {
                    fields.set_text(name, value);
                }
                Bytes::from(fields.to_json_text().expose().to_owned())
            }
        }
    }
}

/// Carries a request out and prints how it goes.
///
/// # Errors
/// What kept it from being asked.
pub async fn run(config: Config, environment: &Environment, name: &str, request: Request, alone: bool, out: Output) -> Result<Exit> {
    if config.secret(name).is_none() {
        bail!(unknown(config.secrets.iter().map(|s| &s.name), name));
    }
    let daemon = if alone { None } else { Daemon::find(&config.socket).await? };
    let said = match daemon {
        Some(daemon) => over_the_socket(&daemon, name, &request, out).await?,
        None => by_itself(config, environment, name, request, out).await?,
    };
    Ok(finish(name, said, out))
}

async fn over_the_socket(daemon: &Daemon, name: &str, request: &Request, out: Output) -> Result<Said> {
    let mut last = None;
    daemon
        .ask(&request.path(name), request.body(), |said| match said {
            Said::Progress(progress) => show(&progress, out),
            other => last = Some(other),
        })
        .await?;
    last.context("the daemon ended its answer without a result; look at `keyward status`")
}

async fn by_itself(config: Config, environment: &Environment, name: &str, request: Request, out: Output) -> Result<Said> {
    if out == Output::Text {
        output::note("No daemon answers here; working alone.");
    }
    let alone = Alone::log_in(config, environment).await?;
    let managed = alone.managed(name)?;
    let engine = &alone.live.engine;
    let prepared = match request {
        Request::Rotate => requests::rotate(engine, managed, &person(), None).await,
        Request::Supply(value) => requests::rotate(engine, managed, &person(), Some(value)).await,
        Request::Resume => requests::resume(engine, managed).await,
    };
    let (stored, work) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return Ok(Said::Refused(refusal)),
    };
    let mut progress = alone.ear.listen(name);
    let running = async {
        match work {
            Work::Rotate(ask) => Ok(Some(engine.rotate(&managed.spec, stored, ask).await)),
            Work::TakeOver => Ok(Some(engine.take_over(&managed.spec, stored).await)),
            Work::Resume => engine.resume(&managed.spec, stored).await,
        }
    };
    tokio::pin!(running);
    let outcome: Option<Outcome> = loop {
        tokio::select! {
            Some(step) = progress.recv() => show(&step, out),
            outcome = &mut running => break match outcome {
                Ok(outcome) => outcome,
                Err(failure) => return Ok(Said::Refused(Refusal::from(failure))),
            },
        }
    };
    while let Ok(step) = progress.try_recv() {
        show(&step, out);
    }
    Ok(Said::Result(Answer::of(outcome.as_ref())))
}

fn show(progress: &Progress, out: Output) {
    if out == Output::Json {
        return;
    }
    let mark = if progress.failure.is_some() { "✗" } else { "✓" };
    let why = progress.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    output::note(&format!("  {mark} {:<12} {:>7.3} s{why}", progress.step, progress.seconds));
}

/// Prints the result; the exit code.
fn finish(name: &str, said: Said, out: Output) -> Exit {
    match said {
        Said::Result(answer) => {
            let exit = exit(&answer);
            match out {
                Output::Json => output::json(&answer),
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
            match refusal {
                Refusal::Wrong(_) => Exit::Failed,
                Refusal::Later(_) => Exit::Temporary,
                Refusal::Unavailable(_) => Exit::Unavailable,
                Refusal::Denied(_) => Exit::Denied,
            }
        }
        Said::Progress(_) => Exit::Internal,
    }
}

fn sentence(name: &str, answer: &Answer) -> String {
    let why = answer.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let at = answer.failed_at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default();
    match answer.outcome.as_str() {
        "rotated" => format!("{name} is rotated and proved (rotation {}).", answer.rotation),
        "resumed" => format!("{name} is no longer paused; its next slot decides."),
        "rolled_back" => format!("{name} was not rotated, and the old value is in force again: it failed{at}{why}"),
        "stuck" => format!("{name} stands still{at}{why}\nLook at `keyward status {name}`, then `keyward resume {name}`."),
        "deferred" => format!("{name} was not rotated yet; nothing was changed{why}"),
        "lost" => format!("{name} is in somebody else's hands: another daemon or command rotates it right now."),
        "suspended" => format!("{name} was left in the middle, safely: it is taken up again by whoever reaches Vault next{why}"),
        _ => format!("{name} was not rotated, nothing was changed: it failed{at}{why}"),
    }
}

fn exit(answer: &Answer) -> Exit {
    let class = answer.class.as_deref().and_then(|name| Class::ALL.into_iter().find(|c| c.name() == name));
    match answer.outcome.as_str() {
        "rotated" | "resumed" => Exit::Ok,
        "deferred" | "lost" | "suspended" => Exit::Temporary,
        "refused" => class.map_or(Exit::Failed, super::exit_of),
        _ => Exit::Failed,
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
        None => Ok(keyward_engine::ports::Document::default()),
    };
    let outcome = match live {
        Ok(live) => match kind.preflight(&live, jiff::Timestamp::now(), true).await {
            Ok(()) => kind.gate(&live).await,
            refused => refused,
        },
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
            bail!("the two values differ; nothing was done");
        }
        return Ok(first);
    }
    let mut text = Zeroizing::new(String::new());
    stdin.lock().read_line(&mut text).context("cannot read the value from standard input")?;
    non_empty(text.trim_end_matches(['\n', '\r']))
}

fn non_empty(text: &str) -> Result<Secret> {
    if text.is_empty() {
        bail!("there is no value; nothing was done");
    }
    Ok(Secret::new(text))
}

/// One line from the terminal with echo off; the terminal is put back whatever happens.
fn hidden(prompt: &str) -> Result<Secret> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    use std::io::Write;
    struct Restore<'a>(&'a std::io::Stdin, rustix::termios::Termios);
    impl Drop for Restore<'_> {
        fn drop(&mut self) {
            let _ = tcsetattr(self.0, OptionalActions::Now, &self.1);
            let _ = writeln!(std::io::stderr());
        }
    }
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).context("cannot read the terminal's settings")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let _ = write!(std::io::stderr(), "{prompt}");
    let restore = Restore(&stdin, before);
    tcsetattr(&stdin, OptionalActions::Now, &silent).context("cannot switch the terminal's echo off")?;
    let mut text = Zeroizing::new(String::new());
    let read = stdin.read_line(&mut text);
    drop(restore);
    read.context("cannot read from the terminal")?;
    non_empty(text.trim_end_matches(['\n', '\r']))
}
