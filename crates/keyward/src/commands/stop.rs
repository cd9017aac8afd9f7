//! Ctrl-C, and its like, for commands that have to put something away before they end.

use super::by_hand::Declined;
use crate::cli::Exit;
use anyhow::{Context, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears SIGINT, SIGTERM and SIGHUP from its making on; the process does not end by them any more.
pub struct Stop([Signal; 3]);

impl Stop {
    /// Begins to listen.
    ///
    /// # Errors
    /// The operating system's.
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self([listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?]))
    }

    /// Ends when somebody wants the command to end.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }

    /// Does something until its end, or until somebody wants the command to end; that is then an error which says `state`.
    ///
    /// # Errors
    /// Those of `work`; [`Declined`] when it was broken off.
    pub async fn unless_asked<T>(&mut self, state: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.asked() => Err(Declined { exit: Exit::Temporary, text: format!("broken off; {state}") }.into()),
        }
    }
}
