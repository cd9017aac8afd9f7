//! `token`: making, looking up, renewing and ending tokens, and the list of those that are about to die or never do.
//!
//! A token comes in by standard input or a file, and goes out wrapped or into a file: never as an argument, and never onto the screen.

pub mod caution;
mod make;

use super::alone::Alone;
use super::borrowed;
use super::by_hand::Declined;
use super::check::report::{Finding, Report};
use super::init::wanted;
use super::output::{self, Output};
use super::rotate;
use crate::cli::Exit;
use crate::config::{Config, Environment, SecretRef, parse_duration, resolve_local};
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use keyward_vault::{Client, Kind, Renewed, TokenInfo};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// More tokens are counted, and not looked at one by one.
pub const MOST_TOKENS: usize = 10_000;
/// Vault's own policy, which it gives to every token unless it is told otherwise.
const DEFAULT_POLICY: &str = "default";
/// That of wrapping tokens: nobody's, made to die within minutes.
const WRAPPING_POLICY: &str = "response-wrapping";
/// Vault has written a token's lease within this time after the token itself.
const TOKEN_IS_WHOLE: Duration = Duration::from_secs(2);

/// `token`.
#[derive(Clone, Debug, Subcommand)]
pub enum Token {
    /// Make a token for a service, and hand it over
    #[command(after_help = "\
The token is an orphan with a period of 24 h, unless something else is said: renewed within each period it lives for ever, and it
does not end with yours. It is handed over wrapped (a token that gives it out once; the default, for 5 minutes) or in a file.

Examples:
  keyward token create --policy keyward-backend
  keyward token create --policy keyward-rotation --used-every 7d --period 10d --to /run/rotation/token
  VAULT_TOKEN=$(cat wrapping-token) vault unwrap -field=token")]
    Create(Create),
    /// Say what Vault knows about a token, and what will become of it
    Lookup(Which),
    /// Renew a token
    Renew(Which),
    /// End a token, and with it its children and the leases that it made
    Revoke(Which),
    /// List the tokens that are about to die, that never end, and that are root's, by their accessors
    List(List),
}

/// `token create`.
#[derive(Args, Clone, Debug)]
pub struct Create {
    /// What it may do; once per policy
    #[arg(long, value_name = "NAME")]
    pub policy: Vec<String>,
    /// The token role that it is made by
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Every renewal sets its life to this
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub period: Duration,
    /// Not renewable without end: it lives so long, and ends at the server's maximum
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "period")]
    pub ttl: Option<Duration>,
    /// It ends with the token that makes it
    #[arg(long)]
    pub child: bool,
    /// Its name in the audit log, behind `token-`
    #[arg(long, value_name = "NAME", default_value = "keyward")]
    pub name: String,
    /// How often whoever gets it uses and renews it; longer than the period, it would find a dead token
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub used_every: Option<Duration>,
    /// Hand it over wrapped: how long it can be unwrapped
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub wrap: Duration,
    /// Hand it over in this file, of mode 0600, in place of wrapped
    #[arg(long, value_name = "FILE", conflicts_with = "wrap")]
    pub to: Option<PathBuf>,
}

/// Which token is meant.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// By its accessor, which is no secret
    #[arg(long, value_name = "ACCESSOR")]
    pub accessor: Option<String>,
    /// The token in this file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// The token on standard input; at a terminal it is asked for without being shown
    #[arg(long)]
    pub stdin: bool,
    /// Your own
    #[arg(long = "self")]
    pub own: bool,
}

/// `token list`.
#[derive(Args, Clone, Debug)]
pub struct List {
    /// Tokens that die within this time
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub within: Duration,
}

/// Does it.
///
/// # Errors
/// No login, no token to be had, or Vault's refusal.
pub async fn run(config: Config, environment: &Environment, wish: Token, out: Output) -> Result<Exit> {
    let alone = Alone::log_in(config, environment).await?;
    let client = alone.live.vault.client();
    match wish {
        Token::Create(create) => {
            // A child, or one that a role makes, may end with the token that makes it.
            borrowed::keep();
            make::make(client, create, &wanted::services(&alone.live.config), out).await
        }
        Token::Lookup(which) => match find(client, &which, environment).await? {
            Some(info) => Ok(show(&info, out)),
            None => Ok(dead(out)),
        },
        Token::Renew(which) => renew(client, &which, environment, out).await,
        Token::Revoke(which) => revoke(client, &which, environment, out).await,
        Token::List(list) => tell_all(client, list.within, out).await,
    }
}

/// What Vault knows of the token; nothing where it is dead.
async fn find(client: &Client, which: &Which, environment: &Environment) -> Result<Option<TokenInfo>> {
    if let Some(accessor) = &which.accessor {
        return Ok(client.lookup_accessor(accessor).await?);
    }
    if which.own {
        return Ok(Some(client.lookup_self().await?));
    }
    let token = match &which.file {
        Some(file) => resolve_local(&SecretRef::File(std::path::absolute(file)?), environment)?,
        None => rotate::read_known("the token")?,
    };
    Ok(client.lookup_other(&token).await?)
}

fn dead(out: Output) -> Exit {
    let says =
        "this token is dead or never was one of this server; an expired token cannot be renewed: make another (keyward token create)";
    match out {
        Output::Json => output::json(&serde_json::json!({ "alive": false, "failure": says })),
        Output::Text => output::note(&format!("keyward: {says}")),
    }
    Exit::Failed
}

/// A token as it is shown: without the token.
#[derive(Serialize)]
struct Shown {
    alive: bool,
    accessor: String,
    display_name: String,
    policies: Vec<String>,
    /// RFC 3339; none: never.
    ends: Option<String>,
    seconds_left: u64,
    period_seconds: Option<u64>,
    renewable: bool,
    orphan: bool,
    token_type: String,
    warnings: Vec<String>,
}

fn shown(info: &TokenInfo) -> Shown {
    Shown {
        alive: true,
        accessor: info.accessor.clone(),
        display_name: info.display_name.clone(),
        policies: info.policies.clone(),
        ends: info.expire_time.map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        seconds_left: info.ttl.as_secs(),
        period_seconds: info.period.map(|p| p.as_secs()),
        renewable: info.renewable,
        orphan: info.orphan,
        token_type: info.token_type.clone(),
        warnings: caution::of(info),
    }
}

fn show(info: &TokenInfo, out: Output) -> Exit {
    let shown = shown(info);
    match out {
        Output::Json => output::json(&shown),
        Output::Text => {
            let ends = shown.ends.clone().unwrap_or_else(|| "never".to_owned());
            let period = info.period.map_or_else(|| "none".to_owned(), crate::config::show_duration);
            for (what, value) in [
                ("accessor", &shown.accessor),
                ("name", &shown.display_name),
                ("policies", &shown.policies.join(", ")),
                ("ends", &ends),
                ("period", &period),
                ("type", &shown.token_type),
            ] {
                output::line(&format!("{what:<9} {value}"));
            }
            shown.warnings.iter().for_each(|warning| output::line(&format!("! {warning}")));
        }
    }
    Exit::Ok
}

async fn renew(client: &Client, which: &Which, environment: &Environment, out: Output) -> Result<Exit> {
    let Some(info) = find(client, which, environment).await? else { return Ok(dead(out)) };
    if info.never_expires() {
        return Err(Declined::failed(format!("{} never ends: there is nothing to renew", info.accessor)).into());
    }
    let renewed = if which.own { Some(client.renew_self().await?) } else { client.renew_accessor(&info.accessor).await? };
    let Some(Renewed { ttl, .. }) = renewed else { return Ok(dead(out)) };
    let left = crate::config::show_duration(Duration::from_secs(ttl.as_secs()));
    let warnings = caution::of(&info);
    match out {
        Output::Json => output::json(
            &serde_json::json!({ "changed": "token renewed", "accessor": info.accessor, "seconds_left": ttl.as_secs(), "warnings": warnings }),
        ),
        Output::Text => {
            output::line(&format!("{} was renewed: it lives for {left} from now on.", info.accessor));
            for warning in &warnings {
                output::line(&format!("! {warning}"));
            }
        }
    }
    Ok(Exit::Ok)
}

async fn revoke(client: &Client, which: &Which, environment: &Environment, out: Output) -> Result<Exit> {
    let info = find(client, which, environment).await?;
    let (changed, accessor) = match info {
        None => ("nothing: it was dead already, or never was one of this server", which.accessor.clone().unwrap_or_default()),
        Some(info) => {
            // One's own needs no right over others' accessors.
            if which.own {
                client.revoke_self().await?;
            } else {
                client.revoke_accessor(&info.accessor).await?;
            }
            ("token revoked", info.accessor)
        }
    };
    match out {
        Output::Json => output::json(&serde_json::json!({ "changed": changed, "accessor": accessor })),
        Output::Text => output::line(&format!("{changed} ({accessor})")),
    }
    Ok(Exit::Ok)
}

/// Whether Vault's own policy is asked for by name. Where it is declined, Vault takes it out of a token even then.
pub fn names_default(policies: &[String]) -> bool {
    policies.iter().any(|policy| policy == DEFAULT_POLICY)
}

/// That somebody names policies that do not exist, as far as the token in use may see.
pub async fn missing_policies(client: &Client, names: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in names {
        if matches!(client.policy(name).await, Ok(None)) {
            warnings.push(format!("there is no policy {name}: it allows nothing until somebody writes it"));
        }
    }
    warnings
}

/// What is known of these tokens, which were just listed, but for those that are gone by now.
///
/// Vault writes a token first and its lease then, and ends a token without a lease as soon as anybody looks at it (measured on Vault 1.21.0:
/// 12 of 952). So this waits until all that were listed have theirs.
///
/// Vault denies (403) to tell of a token that is just ending, as it denies all to whoever may not ask: only when none was told of, it is
/// the latter.
///
/// # Errors
/// Where nothing may be asked, or Vault does not answer.
pub async fn look_up(client: &Client, accessors: impl Iterator<Item = &String>) -> Result<Vec<TokenInfo>> {
    let (mut found, mut denied) = (Vec::new(), None);
    tokio::time::sleep(TOKEN_IS_WHOLE).await;
    for accessor in accessors {
        match client.lookup_accessor(accessor).await {
            Ok(info) => found.extend(info),
            Err(error) if error.kind == Kind::Denied => denied = Some(error),
            Err(error) => return Err(error).context("looking a token up by its accessor"),
        }
    }
    match denied {
        Some(error) if found.is_empty() => Err(error).context("looking a token up by its accessor"),
        _ => Ok(found),
    }
}

async fn tell_all(client: &Client, within: Duration, out: Output) -> Result<Exit> {
    let accessors = client.token_accessors().await.context("listing the tokens")?;
    let (mut dying, mut endless, mut roots) = (Vec::new(), Vec::new(), Vec::new());
    for info in look_up(client, accessors.iter().take(MOST_TOKENS)).await? {
        if info.policies.iter().any(|policy| policy == WRAPPING_POLICY) {
            continue;
        }
        let accessor = &info.accessor;
        let who = format!("{accessor} {} ({})", info.display_name, info.policies.join(", "));
        if info.policies.iter().any(|policy| policy == "root") {
            roots.push(Finding::wrong(who).cure(format!("keyward token revoke --accessor {accessor}")));
        } else if info.never_expires() {
            endless.push(Finding::warning(who));
        } else if info.ttl <= within {
            let left = format!("{who} dies in {}", crate::config::show_duration(info.ttl));
            let cure = if info.renewable {
                format!("keyward token renew --accessor {accessor}")
            } else {
                "it cannot be renewed: make another".to_owned()
            };
            dying.push(Finding::warning(left).cure(cure));
        }
    }
    let mut report = Report::saying(out, "No root token is alive", "A root token is alive");
    report.add("Root tokens", roots);
    report.add("Tokens without end", endless);
    report.add(format!("Tokens that die within {}", crate::config::show_duration(within)), dying);
    if accessors.len() > MOST_TOKENS {
        report.add("Others", vec![Finding::unknown(format!("{} more were not looked at", accessors.len() - MOST_TOKENS))]);
    }
    Ok(report.finish())
}
