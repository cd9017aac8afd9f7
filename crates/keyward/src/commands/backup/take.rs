//! Makes a backup: from the active node to the disk, elsewhere, and then what is kept no longer is removed.

use super::kept::{self, Keep};
use super::server::{self, Server};
use super::sink::{self, Piece, Written};
use super::{offsite, words};
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::init::files::remove;
use crate::commands::output::{self, Output};
use crate::commands::stop::Stop;
use crate::config::{Config, Environment};
use anyhow::{Context, Result};
use clap::Args;
use jiff::Timestamp;
use keyward_vault::Client;
use rustix::fs::FlockOperation;
use serde::Serialize;
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::{self, Sender};

/// Pieces that wait for the disk.
const WAITING: usize = 16;

/// `backup`, without a subcommand.
#[derive(Args, Clone, Debug)]
pub struct Take {
    /// Write to this file instead of the folder; nothing is removed then
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// What a backup came to.
#[derive(Serialize)]
struct Told {
    file: PathBuf,
    server: String,
    index: u64,
    term: u64,
    bytes: u64,
    sha256: String,
    recipients: usize,
    /// `None` where no copy is configured.
    copied: Option<bool>,
    removed: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// The configured folder.
///
/// # Errors
/// None is configured.
pub fn folder(config: &Config) -> Result<PathBuf> {
    let none = || Declined::usage("no folder is configured: write `folder` in [backup], or say --to FILE");
    Ok(config.backup.folder.clone().ok_or_else(none)?)
}

/// What to say of a folder that cannot be looked into.
pub fn unreadable(folder: &Path, error: &std::io::Error) -> anyhow::Error {
    Declined { exit: Exit::Unavailable, text: format!("cannot look into {}: {error}", folder.display()) }.into()
}

/// Makes one.
///
/// # Errors
/// What kept it from being made; nothing is left behind then.
pub async fn run(config: Config, environment: &Environment, wish: Take, out: Output) -> Result<Exit> {
    let recipients = config.backup.recipients.clone();
    let now = Timestamp::now();
    let (path, _lock) = if let Some(path) = &wish.to {
        (path.clone(), None)
    } else {
        let folder = folder(&config)?;
        let lock = lock(&folder)?;
        (folder.join(kept::name(now, !recipients.is_empty())), Some(lock))
    };
    let (client, server) = server::open(&config, environment).await?;
    let mut stop = Stop::listen()?;
    let written = stream(&config, &client, &server, &path, &mut stop).await?;
    let mut told = Told {
        server: server.address,
        index: written.archive.index,
        term: written.archive.term,
        bytes: written.bytes,
        sha256: written.sha256.clone(),
        recipients: recipients.len(),
        copied: None,
        removed: Vec::new(),
        failure: None,
        file: path,
    };
    if out == Output::Text {
        let clear = if recipients.is_empty() { String::new() } else { format!(", encrypted to {} key(s)", recipients.len()) };
        output::line(&format!("created   {} ({} bytes{clear})", told.file.display(), told.bytes));
        output::line(&format!("checked   {}; checksums agree, and it was read back", words(&written.archive)));
    }
    let rest = finish(&config, &mut told, wish.to.is_none(), now, &mut stop).await;
    told.failure = rest.as_ref().err().map(|error| format!("{error:#}"));
    say(&told, out);
    Ok(match &rest {
        Ok(()) => Exit::Ok,
        // Broken off, which is another matter than a copy that failed.
        Err(error) => error.downcast_ref::<Declined>().map_or(Exit::Failed, |declined| declined.exit),
    })
}

/// The copy, and then what is kept no longer.
async fn finish(config: &Config, told: &mut Told, in_folder: bool, now: Timestamp, stop: &mut Stop) -> Result<()> {
    if let Some(how) = &config.backup.copy {
        told.copied = Some(false);
        stop.unless_asked("the backup stands here, and no copy elsewhere", offsite::copy(how, &told.file)).await?;
        told.copied = Some(true);
    }
    if !in_folder {
        return Ok(());
    }
    let folder = folder(config)?;
    let keep = Keep { newest: config.backup.keep, younger: config.backup.keep_for };
    let found = kept::find(&folder).map_err(|e| unreadable(&folder, &e))?;
    // Only what is older than the one just made: should another clock have named a later one, that one stays, and so does this.
    let made = told.file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    for old in kept::surplus(&found, keep, now).into_iter().filter(|old| old.name != made) {
        remove(&folder.join(&old.name))?;
        told.removed.push(old.name);
    }
    Ok(())
}

fn say(told: &Told, out: Output) {
    if out == Output::Json {
        output::json(told);
        return;
    }
    if told.copied == Some(true) {
        output::line("copied    elsewhere, as [backup.copy] says");
    }
    for name in &told.removed {
        output::line(&format!("removed   {name}"));
    }
    if let Some(why) = &told.failure {
        output::note(&format!("keyward: {why}; the backup itself stands, and nothing older was removed after that"));
    }
}

/// Lets the stream flow from the server to the disk.
async fn stream(config: &Config, client: &Client, server: &Server, path: &Path, stop: &mut Stop) -> Result<Written> {
    let (to, from) = mpsc::channel(WAITING);
    let (target, recipients) = (path.to_owned(), config.backup.recipients.clone());
    let disk = tokio::task::spawn_blocking(move || sink::receive(from, &target, &recipients));
    let fed = stop.unless_asked("nothing was written", feed(config, client, server, &to)).await;
    // Without its end the stream is refused there, and what was written so far is removed: that is waited for.
    drop(to);
    let written = disk.await.context("the disk's side ended abnormally")?;
    fed?;
    written
}

async fn feed(config: &Config, client: &Client, server: &Server, to: &Sender<Piece>) -> Result<()> {
    let mut snapshot = client.snapshot(&server.address, config.backup.limit).await?;
    while let Some(bytes) = snapshot.next().await? {
        // Whoever takes them has given up and says why.
        if to.send(Piece::Data(bytes)).await.is_err() {
            return Ok(());
        }
    }
    let _ = to.send(Piece::End).await;
    Ok(())
}

/// Makes the folder if it is not there, and is alone in it until the lock is let go. What killed backups left there is removed.
fn lock(folder: &Path) -> Result<File> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let path = folder.join(".keyward-backup.lock");
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = lock.with_context(|| format!("cannot write into {}", folder.display()))?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Declined::later(format!("another backup into {} is on its way", folder.display())))?;
    for left in kept::find_partial(folder).map_err(|e| unreadable(folder, &e))? {
        remove(&left)?;
    }
    Ok(lock)
}
