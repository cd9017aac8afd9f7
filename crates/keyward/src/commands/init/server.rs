//! The server itself, before anything can be set up in it: there, initialised, open, and with a token.

use super::shares::{self, ROOT_TOKEN};
use super::{Told, Wish, files, refused};
use crate::cli::Exit;
use crate::commands::output;
use crate::commands::unseal;
use crate::config::{Config, Environment, SecretRef};
use crate::session::{self, Credentials};
use anyhow::{Context, Result, bail};
use keyward_secret::Secret;
use keyward_vault::{Client, NodeState, SealStatus};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

use super::plan::State;

const PAUSE: Duration = Duration::from_millis(250);
/// A node that was just unsealed becomes active within this time.
const ACTIVE_LIMIT: Duration = Duration::from_mins(1);

/// Whether the rest can be done.
pub enum Ready {
    /// It is open; with the root token of an initialisation just made.
    Open(Option<Secret>),
    /// It ends here, with this code.
    Ended(Exit),
}

/// Waits for the server, initialises and unseals it as asked.
///
/// # Errors
/// It does not answer within `limit`, or an initialisation failed.
pub async fn ready(client: &Client, limit: Duration, asked: Option<&shares::Wish>, wish: &Wish, told: &mut Told) -> Result<Ready> {
    let status = reach(client, limit).await?;
    let mut root = None;
    if status.is_initialised {
        told.add("initialised", State::Unchanged, Vec::new());
    } else if wish.dry_run {
        told.add("initialised", State::Created, vec![format!("{} shares, {} of which unseal it", wish.shares, wish.threshold)]);
        return Ok(Ready::Ended(Exit::Ok));
    } else {
        let Some(asked) = asked else {
            output::note(&format!(
                "keyward: Vault at {} was never initialised; say --initialise --shares-to DIR (or --pgp-key, --show-shares) to do it",
                client.address()
            ));
            return Ok(Ready::Ended(Exit::Uninitialised));
        };
        root = Some(initialise(client, &status, asked, told).await?);
    }
    let sealed = client.seal_status(client.address()).await.map_err(refused)?.sealed;
    if sealed && wish.unseal && !wish.dry_run {
        let after = unseal::from_input(client, client.address(), "the server").await?;
        told.add("unsealed", if after.sealed { State::Failed } else { State::Changed }, Vec::new());
    } else if !sealed && root.is_none() {
        told.add("unsealed", State::Unchanged, Vec::new());
    }
    if client.seal_status(client.address()).await.map_err(refused)?.sealed {
        output::note(&format!(
            "keyward: Vault at {} is sealed; give its shares to `keyward unseal`, or to this command with --unseal, then run it again",
            client.address()
        ));
        return Ok(Ready::Ended(Exit::Sealed));
    }
    active(client).await?;
    Ok(Ready::Open(root))
}

/// Waits until the server answers.
async fn reach(client: &Client, limit: Duration) -> Result<SealStatus> {
    let began = Instant::now();
    let mut said = false;
    loop {
        match client.seal_status(client.address()).await {
            Ok(status) => return Ok(status),
            Err(error) if !error.retry() || began.elapsed() > limit => return Err(refused(error)),
            Err(error) if !said => {
                output::note(&format!("Waiting for Vault at {} for {} s: {error}", client.address(), limit.as_secs()));
                said = true;
            }
            Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn active(client: &Client) -> Result<()> {
    let began = Instant::now();
    loop {
        let state = client.health(client.address()).await.state;
        if matches!(state, NodeState::Active | NodeState::Standby | NodeState::PerformanceStandby) {
            return Ok(());
        }
        if began.elapsed() > ACTIVE_LIMIT {
            bail!("Vault at {} is unsealed and did not become active within {} s", client.address(), ACTIVE_LIMIT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ctrl-C waits until the shares are where they belong: between Vault's answer and the last file they are nowhere else.
async fn initialise(client: &Client, status: &SealStatus, asked: &shares::Wish, told: &mut Told) -> Result<Secret> {
    if status.kind != "shamir" {
        bail!("this server is unsealed by {}, not by shares; initialise it with its own tool: vault operator init", status.kind);
    }
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt()).context("cannot wait for Ctrl-C")?,
        signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
    );
    let made = shares::initialise(client, asked).await?;
    let mut details = vec![format!("{} shares, {} of which unseal it", asked.how.shares, asked.how.threshold)];
    if let shares::Hands::Folder(folder) | shares::Hands::Pgp(folder, _) = &asked.hands {
        details.push(format!("they and the root token are in {}", folder.display()));
    }
    details.extend(asked.risk());
    told.add("initialised", State::Created, details);
    let stopped = tokio::select! {
        biased;
        _ = interrupt.recv() => true,
        _ = terminate.recv() => true,
        () = std::future::ready(()) => false,
    };
    if stopped {
        bail!("interrupted after the initialisation; run this again to go on");
    }
    // From here on an interruption ends the process at once, as it would without a handler.
    tokio::spawn(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        output::note("keyward: interrupted; run this again to go on");
        std::process::exit(i32::from(Exit::Temporary.code()));
    });
    if asked.how.pgp_keys.is_empty() {
        for share in made.shares.iter().take(usize::from(asked.how.threshold)) {
            client.unseal(client.address(), share).await.map_err(refused)?;
        }
        told.add("unsealed", State::Changed, Vec::new());
    }
    Ok(made.root_token)
}

/// The token: the root token of an initialisation whose folder is named, else the person's own, else Keyward's.
///
/// # Errors
/// There is none, or Vault refuses it.
pub async fn log_in(client: &Client, config: &Config, environment: &Environment, folder: Option<&Path>) -> Result<()> {
    let credentials = match folder.map(|folder| folder.join(ROOT_TOKEN)).filter(|file| file.exists()) {
        Some(file) => Credentials::Personal(SecretRef::File(file)),
        None => session::personal_credentials(&config.vault, environment).context(
            "setting Vault up needs a token that may do it: the first root token, or one with what `keyward policy admin` prints",
        )?,
    };
    session::log_in(client, &credentials, environment).await.with_context(|| format!("cannot log in to Vault at {}", client.address()))?;
    Ok(())
}

/// Ends the token that was used if it is a root token, and removes its file.
///
/// # Errors
/// Vault refuses, or the file cannot be removed.
pub async fn revoke_root(client: &Client, folder: Option<&Path>, told: &mut Told) -> Result<()> {
    let info = client.lookup_self().await.map_err(refused)?;
    if !info.policies.iter().any(|policy| policy == "root") {
        told.add("root token", State::Unchanged, vec!["the token in use is none".to_owned()]);
        return Ok(());
    }
    if !told.dry_run {
        client.revoke_self().await.map_err(refused)?;
        if let Some(folder) = folder {
            files::remove(&folder.join(ROOT_TOKEN))?;
        }
    }
    told.add("root token", State::Changed, vec!["it is revoked; make another when one is needed: vault operator generate-root".to_owned()]);
    Ok(())
}
