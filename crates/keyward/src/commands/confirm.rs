//! Asks a person before something large happens. Without a terminal nobody can be asked, and nothing happens unless `--yes` says so.

use super::{output, stop};
use anyhow::{Context, Result};
use std::io::{BufRead, IsTerminal, Write};

/// What a person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// `--yes`, or `yes` typed at the terminal.
    Yes,
    /// Anything else typed.
    No,
    /// Standard input is no terminal, and `--yes` was not said.
    NobodyToAsk,
}

/// Asks, unless `--yes` was said.
///
/// # Errors
/// The terminal cannot be read.
pub fn ask(question: &str, yes: bool) -> Result<Agreement> {
    if yes {
        return Ok(Agreement::Yes);
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        output::note("keyward: nobody can be asked here, because standard input is no terminal; nothing was done: say --yes to do it");
        return Ok(Agreement::NobodyToAsk);
    }
    let mut line = String::new();
    let read = stop::while_reading(|| {
        let _ = write!(std::io::stderr(), "{question} Type yes to go on: ");
        stdin.lock().read_line(&mut line)
    });
    read.context("cannot read from the terminal")?;
    if line.trim() == "yes" {
        return Ok(Agreement::Yes);
    }
    output::note("Nothing was done.");
    Ok(Agreement::No)
}
