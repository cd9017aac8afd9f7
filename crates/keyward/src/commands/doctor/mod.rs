//! `doctor`: looks for every trouble that has a name, says which there are, and what the safe cure is. It changes nothing.
//!
//! ```text
//! all that `check` looks at → the server's settings → policies → paths → the database engine → audit logs in use → files that lie about
//! ```
//!
//! What only some tokens may see is asked with the person's own token where there is one, else with Keyward's; what may not be seen is said.

mod engine;
mod lying;
mod paths;
mod plain;
mod policies;
mod settings;
mod trail;

use super::check::report::{Finding, Report};
use super::check::trouble::Trouble;
use super::check::{self, Looked, needs};
use super::daemon_client::Daemon;
use super::output::Output;
use crate::cli::Exit;
use crate::config::{Config, Environment, parse_duration};
use crate::ports::failure_of;
use crate::session::{self, Credentials};
use anyhow::Result;
use clap::Args;
use keyward_vault::{Client, Kind, TokenInfo, VaultError};
use std::path::PathBuf;
use std::time::Duration;

/// What `keyward help doctor` says at its end.
pub const HELP: &str = "\
Names each trouble that it finds, as docs/doctor.md lists them, with the safe cure. Changes nothing; leaves one refused login per way into
PostgreSQL, as `check` does. With a token of your own (VAULT_TOKEN and its like) that may see them, also policies, leases, audit devices and
the server's settings are looked at; what may not be seen is said.

Ends with 0 where nothing is wrong (there may be warnings), 69 if something cannot be reached, 77 if something is denied, else 1.

Examples:
  keyward doctor
  keyward doctor --look-in /srv/shop --look-in /etc/vault.d
  keyward doctor --output json | jq -r '.groups[].findings[].id // empty'";

/// `doctor`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// A folder in which nothing secret should lie about; once per folder; without it, the current one
    #[arg(long, value_name = "FOLDER")]
    pub look_in: Vec<PathBuf>,
    /// How often Prometheus scrapes Vault
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    pub scrape_interval: Duration,
    /// More living leases of one role are too many
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    pub most_leases: usize,
}

/// Looks at everything and prints the troubles.
///
/// # Errors
/// None of what it looks at: that is a finding.
pub async fn run(config: Config, environment: &Environment, wish: Doctor, out: Output) -> Result<Exit> {
    let mut report = Report::diagnosis(out);
    let before = trail::lengths(&config.vault);
    if let Some(looked) = check::look(config.clone(), environment, &mut report).await {
        if looked.can_ask {
            report.add("Audit log in use", trail::grown(&before).await);
        }
        further(&looked, environment, &wish, &mut report).await;
        looked.leave().await;
    } else {
        report.add("Files", lying::look(&folders(&wish), lying::Known::default()).await);
    }
    report.add("Disks", trail::disks(&config.vault));
    report.add("Daemon", daemon(&config).await.into_iter().collect());
    Ok(report.finish())
}

fn folders(wish: &Doctor) -> Vec<PathBuf> {
    if wish.look_in.is_empty() { vec![PathBuf::from(".")] } else { wish.look_in.clone() }
}

/// What `check` does not look at.
async fn further(looked: &Looked, environment: &Environment, wish: &Doctor, report: &mut Report) {
    let (alone, config) = (&looked.alone, &looked.alone.live.config);
    let person = if looked.is_usable { Person::find(config, environment).await } else { None };
    report.add("Your token", person.iter().filter_map(Person::judge).collect());
    let eyes = person.as_ref().map_or_else(|| alone.live.vault.client(), |person| &person.client);
    let mut known = lying::Known::default();
    if looked.can_ask || person.is_some() {
        if person.is_some() {
            report.add("Audit devices", check::audit_devices(eyes).await);
        }
        report.add("Server's settings", settings::look(eyes, wish.scrape_interval).await);
        let (places, _) = check::mounts::places(&alone.live.vault, &needs::paths(config)).await;
        if looked.can_ask {
            report.add("Policies", policies::look(alone.live.vault.client(), eyes, &places).await);
            known.published = plain::published(&alone.live).await;
        }
        report.add("Paths", paths::look(eyes, &places).await);
        let (findings, connections) = engine::look(eyes, config, wish.most_leases).await;
        report.add("Database engine", findings);
        known.connections = connections;
    }
    report.add("Files", lying::look(&folders(wish), known).await);
}

/// The person at the keyboard, with a token of their own.
struct Person {
    client: Client,
    info: TokenInfo,
}

impl Person {
    async fn find(config: &Config, environment: &Environment) -> Option<Self> {
        let credentials = session::personal_credentials(&config.vault, environment).ok()?;
        if !matches!(credentials, Credentials::Personal(_)) {
            return None;
        }
        let client = session::client(&config.vault).ok()?;
        let info = session::log_in(&client, &credentials, environment).await.ok()?;
        Some(Self { client, info })
    }

    fn judge(&self) -> Option<Finding> {
        let is_root = self.info.policies.iter().any(|policy| policy == "root");
        is_root.then(|| {
            Finding::warning("your own token is a root token: nothing is denied to it, and every slip is one of root")
                .is(Trouble::PersonalRoot)
        })
    }
}

/// What could not be asked: the trouble, or that it is not known.
fn unasked(what: &str, error: &VaultError, path: &str, capabilities: &[&str]) -> Finding {
    if error.kind == Kind::Denied {
        Finding::unknown(format!("{what}: the token may not see it")).cure(needs::policy_line(path, capabilities))
    } else {
        Finding::unknown(format!("{what}: {}", failure_of(error).text))
    }
}

async fn daemon(config: &Config) -> Option<Finding> {
    match Daemon::find(&config.socket).await {
        Ok(Some(_)) => Some(Finding::well("a daemon runs on this configuration")),
        Ok(None) => Some(
            Finding::warning(format!("no daemon answers at {}: nothing is rotated, renewed or watched", config.socket.display()))
                .is(Trouble::DaemonDown),
        ),
        // Said by the state folder.
        Err(_) => None,
    }
}
