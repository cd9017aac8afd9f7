//! The server itself, before anything can be set up in it: there, initialised, open, and with a token.

use super::shares::{self, ROOT_TOKEN};
use super::{Told, Wish, files, refused};
use crate::cli::Exit;
use crate::commands::by_hand::Declined;
use crate::commands::output;
use crate::commands::stop::Stop;
use crate::commands::unseal;
use crate::config::{Config, Environment, SecretRef};
use crate::session::{self, Credentials};
use anyhow::{Context, Result, bail};
use keyward_secret::Secret;
use keyward_vault::{Client, Initialised, NodeState, SealStatus};
use std::path::Path;
use std::time::{Duration, Instant};

use super::plan::State;

const PAUSE: Duration = Duration::from_millis(250);
/// A node that is no more than a standby after this time is one of a cluster, and forwards what it is asked.
const STANDBY: Duration = Duration::from_secs(20);
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
        let made = initialise(client, &status, asked, told).await?;
        if asked.how.pgp_keys.is_empty() {
            unseal_with(client, made.shares.iter().take(asked.how.threshold.into()), told).await?;
        }
        root = Some(made.root_token);
    }
    let sealed = client.seal_status(client.address()).await.map_err(refused)?.sealed;
    if let Some(asked) = asked.filter(|_| sealed && !wish.dry_run && root.is_none()) {
        go_on(client, asked, wish, told).await?;
    } else if sealed && wish.unseal && !wish.dry_run {
        unseal_from_input(client, told).await?;
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
        match client.health(client.address()).await.state {
            NodeState::Active => return Ok(()),
            // Every node is one for some seconds after its unsealing, and answers nothing as long as there is no other.
            NodeState::Standby | NodeState::PerformanceStandby if began.elapsed() > STANDBY => return Ok(()),
            _ => {}
        }
        if began.elapsed() > ACTIVE_LIMIT {
            bail!("Vault at {} is unsealed and did not become active within {} s", client.address(), ACTIVE_LIMIT.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A sealed server that an earlier run of this command may have initialised: its shares may be at hand, or lost.
async fn go_on(client: &Client, asked: &shares::Wish, wish: &Wish, told: &mut Told) -> Result<()> {
    if shares::never_came(asked) {
        let text = format!("Vault is initialised and sealed, and the files for its shares are blank: they never came; {}", shares::NOBODYS);
        return Err(Declined::failed(text).into());
    }
    let shares = shares::written(asked);
    if !wish.unseal && !shares.is_empty() {
        return unseal_with(client, shares.iter(), told).await;
    }
    if wish.unseal { unseal_from_input(client, told).await } else { Ok(()) }
}

async fn unseal_with(client: &Client, shares: impl Iterator<Item = &Secret>, told: &mut Told) -> Result<()> {
    for share in shares {
        client.unseal(client.address(), share).await.map_err(refused)?;
    }
    told.add("unsealed", State::Changed, Vec::new());
    Ok(())
}

async fn unseal_from_input(client: &Client, told: &mut Told) -> Result<()> {
    let after = unseal::from_input(client, client.address(), "the server").await?;
    told.add("unsealed", if after.sealed { State::Failed } else { State::Changed }, Vec::new());
    Ok(())
}

/// Ctrl-C waits until the shares are where they belong: between Vault's answer and the last file they are nowhere else.
async fn initialise(client: &Client, status: &SealStatus, asked: &shares::Wish, told: &mut Told) -> Result<Initialised> {
    if status.kind != "shamir" {
        bail!("this server is unsealed by {}, not by shares; initialise it with its own tool: vault operator init", status.kind);
    }
    let mut stop = Stop::listen()?;
    let state = "whether Vault is initialised is unknown, and if it is, nobody has its shares; run this again to hear it";
    let made = stop.finish("Vault is making its shares, which must not be lost", state, shares::initialise(client, asked)).await?;
    let mut details = vec![format!("{} shares, {} of which unseal it", asked.how.shares, asked.how.threshold)];
    if let shares::Hands::Folder(folder) | shares::Hands::Pgp(folder, _) = &asked.hands {
        details.push(format!("they and the root token are in {}", folder.display()));
    }
    details.extend(asked.risk());
    told.add("initialised", State::Created, details);
    if stop.was_asked() {
        return Err(Declined::later("broken off after the initialisation; run this again to go on").into());
    }
    Ok(made)
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
    session::log_in(client, &credentials, environment).await.with_context(|| credentials.cannot_log_in(client))?;
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
