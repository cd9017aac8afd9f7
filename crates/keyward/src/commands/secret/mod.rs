//! `secret`: everyday access to KV documents, with check-and-set. Values come by standard input and files, and are shown on request only.

mod input;
mod look;
mod managed;
mod rollback;
mod write;

use super::alone::Alone;
use super::by_hand::configuration;
use super::output::Output;
use crate::cli::Exit;
use crate::config::Environment;
use anyhow::Result;
use clap::Subcommand;
use std::path::Path;

pub use input::Given;
pub(super) use input::{line_of, nothing_after, shown, text_of};
pub use look::{Get, List};
pub use rollback::Rollback;
pub use write::{Patch, Put};

/// `secret`.
#[derive(Clone, Debug, Subcommand)]
pub enum Secret {
    /// Say what a secret holds; its values only with --show
    #[command(
        disable_version_flag = true,
        after_help = "\
Without --show it prints the fields' names, the version and the notes on it, and says that the values were left out. With --show
the values go to standard output, where a terminal's history and whoever looks over your shoulder may see them.

Examples:
  keyward secret get secret/backend/database
  keyward secret get secret/backend/database --show
  keyward secret get secret/backend/database --field password --show > password.txt
  keyward secret get secret/backend/database --version 3"
    )]
    Get(Get),
    /// Write a whole secret
    #[command(after_help = "\
Without --cas it only creates: where a secret exists it stops, and says which version --cas would replace. Values are asked for
without being shown, or read from standard input, a line per --field; or from files. They are never taken from the arguments.
What was written is read back. The same content again changes nothing.

Examples:
  keyward secret put secret/backend/redis --field password
  keyward secret put secret/backend/tls --file key=server.key --file certificate=server.pem
  keyward secret put secret/backend/api --json api.json --cas 4
  printf '%s' '{\"token\":\"...\"}' | keyward secret put secret/backend/api --json -")]
    Put(Put),
    /// Change some fields of a secret; the others stay
    #[command(after_help = "\
Based on the version that it reads (or --cas): if somebody else writes in between, nothing is written, and it ends with 75.
A field that Keyward rotates is refused; --overrule writes it nevertheless.

Examples:
  keyward secret patch secret/backend/pusher --field secret
  keyward secret patch secret/backend/pusher --remove cluster")]
    Patch(Patch),
    /// List what is below a path
    #[command(after_help = "\
Examples:
  keyward secret list secret
  keyward secret list secret/backend --recursive")]
    List(List),
    /// Show a secret's versions: when each was written, and what became of it
    #[command(after_help = "\
Example:
  keyward secret history secret/backend/database")]
    History {
        /// The path, mount first
        path: String,
    },
    /// Publish an older version again, after a login has shown that it still works
    #[command(after_help = "\
The old value is tried first: by the kind of the secret that Keyward manages at this path, or with --login by a login to PostgreSQL.
If it is refused, nothing is published. Where nothing can be tried, --unproved says that you know. It becomes a new version, written
on the current one; nothing is lost.

Examples:
  keyward secret rollback secret/backend/database --to 3
  keyward secret rollback secret/backend/database --to 3 --login postgresql://db.example.com/app
  keyward secret rollback secret/backend/pusher --to 2 --unproved")]
    Rollback(Rollback),
}

/// Runs one of them. `file`: the configuration, without which the environment has to say where Vault is.
///
/// # Errors
/// What the command says.
pub async fn run(command: Secret, file: &Path, environment: &Environment, out: Output) -> Result<Exit> {
    // Values are read first, so that nobody types them for nothing while Vault is away; what is wrong with them costs no login.
    let given = match &command {
        Secret::Put(put) => Some(put.given.read()?),
        Secret::Patch(patch) => Some(patch.read()?),
        _ => None,
    };
    let alone = Alone::log_in(configuration(file, environment)?, environment).await?;
    match (command, given) {
        (Secret::Get(get), _) => look::get(&alone, &get, out).await,
        (Secret::List(list), _) => look::list(&alone, &list, out).await,
        (Secret::History { path }, _) => look::history(&alone, &path, out).await,
        (Secret::Put(put), given) => write::put(&alone, &put, given.unwrap_or_default(), out).await,
        (Secret::Patch(patch), given) => write::patch(&alone, &patch, given.unwrap_or_default(), out).await,
        (Secret::Rollback(rollback), _) => rollback::run(&alone, &rollback, out).await,
    }
}
