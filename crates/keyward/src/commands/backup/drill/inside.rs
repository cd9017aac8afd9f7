//! What runs in the cell: the server, the restore, the shares, the canary, and the report.

use super::cell;
use super::throwaway::Throwaway;
use crate::cli::Exit;
use crate::commands::backup::restore::{self, After};
use crate::commands::backup::source::Identities;
use crate::commands::output::{self, Output};
use crate::commands::unseal;
use crate::config::{Config, Environment};
use crate::session::{self, Credentials};
use anyhow::{Context, Result, bail};
use clap::Args;
use keyward_vault::Client;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// `backup drill-inside`: nobody types it.
#[derive(Args, Clone, Debug)]
pub struct Inside {
    /// The backup
    #[arg(long)]
    pub file: PathBuf,
    /// The file with the secret key of age
    #[arg(long)]
    pub identity: Option<PathBuf>,
    /// The server's program
    #[arg(long)]
    pub vault: PathBuf,
    /// A folder that somebody else removes
    #[arg(long)]
    pub folder: PathBuf,
    /// Whether this is a cell
    #[arg(long)]
    pub enclosed: bool,
}

/// What a drill has shown.
#[derive(Default, Serialize)]
struct Report {
    file: PathBuf,
    enclosed: bool,
    index: u64,
    restored: bool,
    unsealed: bool,
    /// Whether the canary was read; `None` where none is configured, or it did not come to that.
    canary: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
}

/// Drills.
///
/// # Errors
/// What failed before anything could be reported.
pub async fn run(config: &Config, environment: &Environment, wish: Inside, out: Output) -> Result<Exit> {
    if wish.enclosed {
        cell::close()?;
    }
    let identities = Arc::new(Identities::read(wish.identity.as_deref())?);
    let archive = restore::checked(&wish.file, &identities).await?;
    let mut told = Report { file: wish.file.clone(), enclosed: wish.enclosed, index: archive.index, ..Report::default() };
    let mut server = Throwaway::start(&wish.folder, &wish.vault, wish.enclosed).await?;
    let address = server.client.address().to_owned();
    let mark = restore::sent(&server.client, &address, &wish.file, identities, &archive, true, config.backup.limit).await?;
    let after = restore::settled(&server.client, mark.as_ref(), std::slice::from_ref(&address)).await;
    if after != After::Sealed {
        bail!("the drill's server took the backup, and is not sealed by it as it should be");
    }
    told.restored = true;
    server.restart().await?;
    let exit = match unsealed(&mut server, &address).await {
        Ok(false) => Exit::Sealed,
        Ok(true) => {
            told.unsealed = true;
            read_canary(config, environment, &server.client, &mut told).await
        }
        Err(error) => {
            told.failure = Some(format!("{error:#}"));
            Exit::Failed
        }
    };
    say(&told, config, out);
    Ok(exit)
}

/// Whether shares from standard input have opened it.
async fn unsealed(server: &mut Throwaway, address: &str) -> Result<bool> {
    let kind = server.client.seal_status(address).await?.kind;
    if !kind.is_empty() && kind != "shamir" {
        bail!("this Vault is unsealed by {kind}, which cannot be reached from here");
    }
    if unseal::from_input(&server.client, address, "the drill").await?.sealed {
        return Ok(false);
    }
    server.active().await?;
    Ok(true)
}

async fn read_canary(config: &Config, environment: &Environment, client: &Client, told: &mut Report) -> Exit {
    let Some((path, field)) = &config.backup.canary else { return Exit::Ok };
    match canary(config, environment, client, path, field).await {
        Ok(()) => {
            told.canary = Some(true);
            Exit::Ok
        }
        Err(error) => {
            told.canary = Some(false);
            told.failure = Some(format!("{error:#}"));
            Exit::Failed
        }
    }
}

/// Reads the field, whose value nobody is told.
async fn canary(config: &Config, environment: &Environment, client: &Client, path: &str, field: &str) -> Result<()> {
    let credentials: Credentials = session::personal_credentials(&config.vault, environment)?;
    session::log_in(client, &credentials, environment)
        .await
        .context("cannot log in to the restored Vault: tokens and ids of now may be younger than the backup")?;
    let mount = client.mount_of(path).await?.path;
    let below = path.strip_prefix(mount.as_str()).unwrap_or(path);
    let found = client.kv_read(mount.trim_end_matches('/'), below).await?;
    let value = found.fields.and_then(|fields| fields.text(field)).filter(|value| !value.expose().is_empty());
    if value.is_some() { Ok(()) } else { bail!("the restored Vault has no field \"{field}\" at {path}") }
}

fn say(told: &Report, config: &Config, out: Output) {
    if out == Output::Json {
        output::json(told);
        return;
    }
    let place = if told.enclosed { "a Vault without a network, which is gone now" } else { "a Vault in the open, which is gone now" };
    output::line(&format!("restored  {} up to index {}, into {place}", told.file.display(), told.index));
    if told.unsealed {
        output::line("unsealed  by the shares given");
    } else if told.failure.is_none() {
        output::line("sealed    nobody gave shares that open it, so what is in it was not seen");
    }
    match (told.canary, &config.backup.canary) {
        (Some(true), Some((path, field))) => output::line(&format!("read      {field} at {path}")),
        (None, None) if told.unsealed => output::line("read      nothing, because no canary is configured in [backup]"),
        _ => {}
    }
    if let Some(why) = &told.failure {
        output::note(&format!("keyward: {why}"));
    }
}
