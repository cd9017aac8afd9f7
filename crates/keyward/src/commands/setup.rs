//! `alert test`, `health`, `init postgres`.

use super::alone::{Alone, unknown};
use super::daemon_client::Daemon;
use super::output::{self, Output};
use super::stop;
use crate::cli::Exit;
use crate::config::{Admin, Config, Environment};
use crate::daemon::telling;
use crate::ports::{POSTGRES_LIMIT, admin_failure};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use keyward_targets::postgres::{self as target, Installed};
use std::time::Duration;

/// `alert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Alert {
    /// Send a test alert over every configured way, and say which arrived
    #[command(after_help = "\
Example:
  keyward alert test")]
    Test,
}

/// Sends a test notice by every configured way and says how each went.
///
/// # Errors
/// No way is configured, or the daemon does not answer.
pub async fn alert_test(config: &Config, environment: &Environment, out: Output) -> Result<Exit> {
    let ways = match Daemon::find(&config.socket).await? {
        Some(daemon) => daemon.alert_test().await?,
        None => telling::test(&config.alert, environment).await,
    };
    if ways.is_empty() {
        bail!("no way to people is configured; write [alert.smtp], [alert.webhook] or [alert.alertmanager]");
    }
    let failed = ways.iter().any(|(_, result)| result.is_err());
    match out {
        Output::Json => {
            output::json(&ways.iter().map(|(way, r)| serde_json::json!({ "way": way, "failure": r.as_ref().err() })).collect::<Vec<_>>());
        }
        Output::Text => {
            for (way, result) in &ways {
                match result {
                    Ok(()) => output::line(&format!("✓ {way}: accepted a test notice")),
                    Err(why) => output::line(&format!("✗ {way}: {why}")),
                }
            }
        }
    }
    Ok(if failed { Exit::Failed } else { Exit::Ok })
}

/// Whether the daemon is alive, for health checks of containers.
///
/// # Errors
/// It does not answer.
pub async fn health(config: &Config, out: Output) -> Result<Exit> {
    let mut address = config.listen;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { std::net::Ipv4Addr::LOCALHOST.into() } else { std::net::Ipv6Addr::LOCALHOST.into() });
    }
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build().context("no HTTP client")?;
    let alive = match client.get(format!("http://{address}/livez")).send().await {
        Ok(answer) => answer.status().is_success(),
        Err(_) => false,
    };
    match (out, alive) {
        (Output::Json, _) => output::json(&serde_json::json!({ "alive": alive })),
        (Output::Text, true) => output::line("alive"),
        (Output::Text, false) => output::note(&format!("keyward: no living daemon answers at http://{address}/livez")),
    }
    Ok(if alive { Exit::Ok } else { Exit::Unavailable })
}

/// Installs the fence in the databases of these secrets.
///
/// # Errors
/// No such secret, or one that is in no PostgreSQL of ours, or the database's refusal.
pub async fn init_postgres(config: Config, environment: &Environment, names: &[String], out: Output) -> Result<Exit> {
    let mut admins: Vec<(String, Admin)> = Vec::new();
    for name in names {
        let Some(secret) = config.secret(name) else { bail!(unknown(config.secrets.iter().map(|s| &s.name), name)) };
        let Some(admin) = secret.kind.admin() else {
            bail!("{name} is of kind {}: there is nothing to install for it", secret.kind.name());
        };
        admins.push((name.clone(), admin.clone()));
    }
    let needs_vault = admins.iter().any(|(_, admin)| matches!(admin.password, crate::config::SecretRef::Vault { .. }));
    let alone = if needs_vault { Alone::log_in(config, environment).await? } else { Alone::offline(config, environment)? };
    let (mut results, mut failed) = (Vec::new(), None);
    for (name, admin) in admins {
        let fence = match install(&alone, &name, admin).await {
            Ok(installed) => word(installed),
            Err(error) => {
                failed = Some(error);
                break;
            }
        };
        // Said at once: the next one may fail, or be broken off.
        match out {
            Output::Text => output::line(&format!("{name}: the fence is {fence}")),
            Output::Json => stop::did(format!("{name}: the fence is {fence}")),
        }
        results.push(serde_json::json!({ "secret": name, "fence": fence }));
    }
    if out == Output::Json && !results.is_empty() {
        output::json(&results);
    }
    failed.map_or(Ok(Exit::Ok), Err)
}

/// Installs the fence where this secret's users are.
async fn install(alone: &Alone, name: &str, admin: Admin) -> Result<Installed> {
    let password = alone.live.resolver.resolve(&admin.password).await.with_context(|| format!("the administrator's password of {name}"))?;
    let client = target::Admin::new(admin.url, password, POSTGRES_LIMIT)?;
    let installed = client.install().await.map_err(|error| admin_failure(&error));
    installed.with_context(|| format!("installing the fence for {name}"))
}

fn word(installed: Installed) -> &'static str {
    match installed {
        Installed::Now => "installed",
        Installed::Already => "unchanged",
    }
}
