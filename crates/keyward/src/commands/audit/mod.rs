//! `audit`: what can be asked of audit logs and of what the daemon saw in them. Never changes anything.

pub(super) mod archive;
mod evidence;
mod explain;
mod replay;
mod report;
mod verify;

use super::output::Output;
use crate::cli::{DEFAULT_CONFIG, Exit};
use crate::config::{Config, Environment};
use anyhow::Result;
use clap::Subcommand;
use std::path::Path;

pub use evidence::Export;
pub use explain::Explain;
pub use replay::Replay;
pub use report::Report;
pub use verify::Verify;

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
    /// Write a period's summary: findings, rotations, who read what and from where, and where lines may be missing
    #[command(after_help = "\
Says what the local store holds; it asks neither the daemon nor Vault. The page names people, paths and addresses, and no
secret.

Examples:
  keyward audit report
  keyward audit report --from 2027-01-01T00:00:00Z --to 2027-04-01T00:00:00Z --html quarter.html")]
    Report(Report),
    /// Say whether archived logs are what they were when the daemon read them, and if not, where they differ
    #[command(after_help = "\
Needs evidence, which the daemon keeps where the configuration has [audit.evidence]: a hash chain over every line. Reads
plain files, .gz and .zst, oldest first. Names each line that was changed, removed, added or moved. Where checkpoints were
signed by Vault, asks Vault whether the signatures are its own. Ends with 0 if nothing was altered, else with 1.

Examples:
  keyward audit verify /var/log/vault/audit.log.2.gz /var/log/vault/audit.log.1 /var/log/vault/audit.log
  keyward audit verify archive/*.zst --evidence exported.jsonl --output json")]
    Verify(Verify),
    /// Print the evidence, to be kept elsewhere: a JSON object a line
    #[command(after_help = "\
Example:
  keyward audit evidence > evidence.jsonl")]
    Evidence(Export),
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
        Audit::Report(wanted) => report::run(wanted, &Config::load(file, environment)?, out).await,
        Audit::Verify(verify) => verify::run(verify, optional(file, environment)?, environment, out).await,
        Audit::Evidence(wanted) => evidence::export(&wanted, &Config::load(file, environment)?).await,
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
