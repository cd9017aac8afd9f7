//! `audit`: what can be asked of audit logs and of what the daemon saw in them. Never changes anything.

mod archive;
mod explain;
mod replay;

use super::output::Output;
use crate::cli::{DEFAULT_CONFIG, Exit};
use crate::config::{Config, Environment};
use anyhow::Result;
use clap::Subcommand;
use std::path::Path;

pub use explain::Explain;
pub use replay::Replay;

/// `audit`.
#[derive(Clone, Debug, Subcommand)]
pub enum Audit {
    /// Read logs from beginning to end and say what would have been counted and found; a dry run, nothing is touched
    #[command(after_help = "\
Reads plain files, .gz and .zst, and standard input as `-`, in the order in which they are named: name the oldest first.
Counts exactly what the daemon counts, and applies the rules of the configuration, or of --rules. Which secrets are managed
comes from the configuration; without one, the rules about managed secrets find nothing.

Examples:
  keyward audit replay /var/log/vault/audit.log.2.gz /var/log/vault/audit.log.1 /var/log/vault/audit.log
  keyward audit replay archive.log --rules stricter.toml --output json
  zstdcat audit.log.zst | keyward audit replay -")]
    Replay(Replay),
    /// Say what a rule means, what to do when it speaks, and what can fool it
    #[command(after_help = "\
Examples:
  keyward audit explain                  all rules, a line each
  keyward audit explain mass-read")]
    Explain(Explain),
}

/// Runs one of them. `file`: the configuration, which some can do without.
///
/// # Errors
/// What the command says.
pub async fn run(command: Audit, file: &Path, environment: &Environment, out: Output) -> Result<Exit> {
    match command {
        Audit::Replay(replay) => replay::run(replay, optional(file, environment)?, out).await,
        Audit::Explain(explain) => explain::run(&explain, out),
    }
}

/// The configuration; none if nobody named one and none stands at the usual place.
fn optional(file: &Path, environment: &Environment) -> Result<Option<Config>> {
    if file == Path::new(DEFAULT_CONFIG) && !file.exists() {
        return Ok(None);
    }
    Ok(Some(Config::load(file, environment)?))
}
