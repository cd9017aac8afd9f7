//! `backup` and `restore`: snapshots of Vault's Raft storage, each checked before it counts as one, and the way back.

mod archive;
mod drill;
pub mod kept;
mod offsite;
pub mod restore;
mod server;
mod sink;
mod source;
mod state;
mod take;

use super::by_hand::configuration;
use super::output::{self, Output};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use anyhow::Result;
use clap::{Args, Subcommand};
pub use restore::Restore;
use std::path::{Path, PathBuf};

const HELP: &str = "\
Asks the active node for a snapshot and writes it as it comes: to a file with mode 0600 that gets its name only when the archive was
whole, its checksums agreed and reading it back gave what was written. With `recipients` in [backup] it is encrypted to public keys of age.
`[backup.copy]` names a program that gets the file on its standard input. Then older ones that the rules do not keep are removed; if
anything went wrong before, none is. The token needs `read` on sys/storage/raft/snapshot. What is in a snapshot is encrypted by Vault's
own key: whoever wants to restore one needs the shares of that time.

Examples:
  keyward backup
  keyward backup --to /media/usb/vault.snap
  keyward backup check /var/backups/vault/vault-20261124T030000000Z.snap.age --identity /media/usb/backup.key
  keyward backup list
  keyward backup drill < /dev/shm/shares";

/// `backup`.
#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = HELP)]
pub struct Backup {
    /// Something else than making one
    #[command(subcommand)]
    pub what: Option<What>,
    /// Where to
    #[command(flatten)]
    pub take: take::Take,
}

/// What can be done with backups beside making one.
#[derive(Clone, Debug, Subcommand)]
pub enum What {
    /// Check a backup from its first byte to its last
    #[command(after_help = "\
Ends with 65 if it is damaged or not whole. That its data can be unsealed, only a drill shows.

Example:
  keyward backup check vault-20261124T030000000Z.snap")]
    Check(Check),
    /// List the backups in the folder
    List,
    /// Restore a backup into a Vault that is thrown away afterwards, to see that it can be done
    #[command(after_help = drill::HELP)]
    Drill(drill::Drill),
    /// The part of a drill that runs where there is no network
    #[command(hide = true)]
    DrillInside(drill::Inside),
}

/// `backup check`.
#[derive(Args, Clone, Debug)]
pub struct Check {
    /// The backup
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The file with the secret key of age, for an encrypted one
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
}

/// Runs one of them. `file`: where the configuration stands; a backup at hand is checked without one.
///
/// # Errors
/// What the command says.
pub async fn run(environment: &Environment, file: &Path, wish: Backup, out: Output) -> Result<Exit> {
    if let Some(What::Check(check)) = &wish.what {
        return check_one(check, out).await;
    }
    let config = configuration(file, environment)?;
    match wish.what {
        None | Some(What::Check(_)) => take::run(config, environment, wish.take, out).await,
        Some(What::List) => list(&config, out),
        Some(What::Drill(wish)) => drill::run(&config, environment, file, wish, out).await,
        Some(What::DrillInside(wish)) => drill::inside(&config, environment, wish, out).await,
    }
}

async fn check_one(wish: &Check, out: Output) -> Result<Exit> {
    let identities = source::Identities::read(wish.identity.as_deref())?;
    let file = wish.file.clone();
    let archive = tokio::task::spawn_blocking(move || source::check(&file, &identities)).await??;
    if out == Output::Json {
        output::json(&serde_json::json!({ "file": wish.file, "whole": true, "archive": archive }));
    } else {
        output::line(&format!("{} is whole: {}", wish.file.display(), words(&archive)));
    }
    Ok(Exit::Ok)
}

fn list(config: &Config, out: Output) -> Result<Exit> {
    let folder = take::folder(config)?;
    let found = kept::find(&folder).map_err(|e| take::unreadable(&folder, &e))?;
    let size = |name: &str| folder.join(name).metadata().map_or(0, |m| m.len());
    if out == Output::Json {
        let all: Vec<_> =
            found.iter().map(|k| serde_json::json!({ "file": folder.join(&k.name), "at": k.at, "bytes": size(&k.name) })).collect();
        output::json(&all);
    } else if found.is_empty() {
        output::line(&format!("There is no backup in {}.", folder.display()));
    } else {
        let rows: Vec<Vec<String>> = found.iter().map(|k| vec![k.at.to_string(), size(&k.name).to_string(), k.name.clone()]).collect();
        output::line(&output::table(&["made", "bytes", "file"], &rows));
    }
    Ok(Exit::Ok)
}

/// What an archive says of itself, for people.
fn words(archive: &archive::Archive) -> String {
    let opens = archive.opens_with.map(|split| format!(", opens with {split}")).unwrap_or_default();
    format!("index {}, term {}, {} bytes of data{opens}", archive.index, archive.term, archive.state_bytes)
}
