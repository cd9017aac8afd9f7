//! Ctrl-C and its like, for every command but the daemon.
//!
//! A command is broken off where it stands, and says what it did so far. What it was just about to change may be changed or not; nothing is
//! remembered anywhere, so the next run looks and goes on. Only what nobody else could finish is not broken off: whoever has a [`Stop`] takes
//! care of the signal, and [`Stop::finish`] lets an answer of Vault come that only this process can keep.

use super::by_hand::Declined;
use super::output::{self, Output};
use crate::cli::Exit;
use anyhow::{Context, Result};
use rustix::termios::{OptionalActions, Termios, tcsetattr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

/// What was broken off puts away what it has made within this time, or is left as it is.
const LIMIT: Duration = Duration::from_secs(10);

// A process has one set of signals, and one life to tell of.
/// How many a [`Stop`] have.
static CARING: AtomicUsize = AtomicUsize::new(0);
/// How many wait for standard input.
static READING: AtomicUsize = AtomicUsize::new(0);
/// Somebody wants the command to end.
static IS_ASKED: AtomicBool = AtomicBool::new(false);
static ASKED: Notify = Notify::const_new();
/// What was done, where it was not said yet.
static DONE: Mutex<Vec<String>> = Mutex::new(Vec::new());
/// How the terminal was before its echo was switched off.
static TERMINAL: Mutex<Option<Termios>> = Mutex::new(None);

/// Notes something that was changed and has not been said yet; whoever breaks the command off is told.
pub fn did(what: impl Into<String>) {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
}

/// Says otherwise what was noted last.
pub fn did_rather(what: impl Into<String>) {
    DONE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    did(what);
}

/// Reads from a person or a pipe, which may take for ever. Nothing is under way meanwhile, so that Ctrl-C ends the process at once.
pub fn while_reading<T>(read: impl FnOnce() -> T) -> T {
    READING.fetch_add(1, Ordering::SeqCst);
    let read = read();
    READING.fetch_sub(1, Ordering::SeqCst);
    read
}

/// Notes how the terminal is to be when the process ends while somebody types.
pub fn terminal(before: Option<Termios>) {
    *TERMINAL.lock().unwrap_or_else(PoisonError::into_inner) = before;
}

/// Runs a command until its end, or until somebody wants it to end; that is then an error that says what was done. `changes`: whether it
/// changes anything at all. A program hears what was done before a command failed, too; a person saw it go by.
///
/// # Errors
/// Those of `work`; [`Declined`] when it was broken off.
pub async fn breakable(work: impl Future<Output = Result<Exit>>, changes: bool, out: Output) -> Result<Exit> {
    let listen = |kind| signal(kind).context("cannot listen for signals");
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            // First this, then the look: whoever takes care from now on sees it.
            IS_ASKED.store(true, Ordering::SeqCst);
            if CARING.load(Ordering::SeqCst) == 0 {
                break;
            }
            IS_ASKED.store(false, Ordering::SeqCst);
        }
        ASKED.notify_one();
        if READING.load(Ordering::SeqCst) == 0 {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} () = tokio::time::sleep(LIMIT) => {} }
        }
        leave(changes, out);
    });
    tokio::select! {
        biased;
        () = ASKED.notified() => Err(broken_off(changes, out)),
        done = work => done.inspect_err(|error| failed(error, out)),
    }
}

fn failed(error: &anyhow::Error, out: Output) {
    let done = std::mem::take(&mut *DONE.lock().unwrap_or_else(PoisonError::into_inner));
    if out == Output::Json && !done.is_empty() && !output::has_answered() {
        output::json(&serde_json::json!({ "outcome": "failed", "done": done, "failure": format!("{error:#}") }));
    }
}

/// Ends the process, which reads or does not come to its end.
fn leave(changes: bool, out: Output) -> ! {
    if let Some(before) = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &before);
        output::note("");
    }
    output::note(&format!("keyward: {:#}", broken_off(changes, out)));
    std::process::exit(i32::from(Exit::Temporary.code()))
}

/// Says what was done; the error to end with.
fn broken_off(changes: bool, out: Output) -> anyhow::Error {
    let done = std::mem::take(&mut *DONE.lock().unwrap_or_else(PoisonError::into_inner));
    if changes && out == Output::Json {
        output::json(&serde_json::json!({ "outcome": "broken off", "done": done }));
    }
    Declined { exit: Exit::Temporary, text: words(changes, &done) }.into()
}

fn words(changes: bool, done: &[String]) -> String {
    if !changes {
        return "broken off".to_owned();
    }
    let done = if done.is_empty() { String::new() } else { format!(" Done so far: {}.", done.join("; ")) };
    format!("broken off.{done} What was under way may be done or not: the same command again sees which, and goes on")
}

/// Takes care of SIGINT, SIGTERM and SIGHUP from its making on; the command is not broken off by them while it lasts.
pub struct Stop {
    signals: [Signal; 3],
    was_asked: bool,
}

impl Stop {
    /// Begins to listen.
    ///
    /// # Errors
    /// The operating system's; [`Declined`] when somebody wants the command to end already.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let signals = [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
        CARING.fetch_add(1, Ordering::SeqCst);
        let stop = Self { signals, was_asked: false };
        if IS_ASKED.load(Ordering::SeqCst) { Err(early("nothing more was begun")) } else { Ok(stop) }
    }

    /// Ends when somebody wants the command to end.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        self.was_asked = true;
    }

    /// Whether somebody wanted the command to end so far.
    pub fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// Does something until its end, or until somebody wants the command to end; that is then an error which says `state`.
    ///
    /// # Errors
    /// Those of `work`; [`Declined`] when it was broken off.
    pub async fn unless_asked<T>(&mut self, state: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.asked() => Err(early(state)),
        }
    }

    /// Brings something to its end although somebody wants the command to end, because of `why`. Whoever asks again is obeyed, and hears
    /// `state`.
    ///
    /// # Errors
    /// Those of `work`; [`Declined`] when it was broken off.
    pub async fn finish<T>(&mut self, why: &str, state: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = self.asked() => {}
        }
        output::note(&format!("keyward: {why}; Ctrl-C again leaves at once"));
        self.unless_asked(state, work).await
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        CARING.fetch_sub(1, Ordering::SeqCst);
        if self.was_asked {
            // What it took care of is over; nothing new is begun after it.
            ASKED.notify_one();
        }
    }
}

fn early(state: &str) -> anyhow::Error {
    Declined { exit: Exit::Temporary, text: format!("broken off; {state}") }.into()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn whoever_breaks_off_hears_what_was_done() {
        assert_eq!(words(false, &[]), "broken off");
        assert!(words(true, &[]).starts_with("broken off. What was under way"));
        assert!(words(true, &["a made".to_owned(), "b made".to_owned()]).contains("Done so far: a made; b made."));
    }
}
