//! `policy`: what roles of an organisation must be allowed to do, as policies.

mod audit;
mod check;
pub(super) mod grants;
pub(super) mod hcl;
mod known;

use super::alone::Alone;
use super::output::{self, Output};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::session;
use anyhow::Result;
use clap::{Args, Subcommand};
pub use grants::Role;
pub(super) use known::signing;

/// What `keyward help policy` says at its end.
pub const HELP: &str = "\
The least that each role needs with this configuration, path by path, with the reason over each. Where there is a token, Vault is asked
where paths are mounted, what exists already and what keys are for; without one everything is taken to be made yet.

Examples:
  keyward policy keyward                       for the daemon
  keyward policy backend | vault policy write backend -
  keyward policy check                         whether the daemon's login has that, and what it has besides
  keyward policy audit                         what is too wide, without end, or used by nobody
  keyward policy --output json";

/// `policy`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Policy {
    /// Something else than printing
    #[command(subcommand)]
    pub other: Option<Other>,
    /// Whose policy; without it, all
    #[arg(value_enum)]
    pub role: Option<Role>,
}

/// What can be done with policies besides printing them.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Other {
    /// Compare what a token may do with what its role needs
    Check(check::Check),
    /// Look through all policies, tokens and the audit log for rights that are too wide, without end, or unused
    Audit(audit::Audit),
}

/// Prints the policies, compares them, or looks through all that there are.
///
/// # Errors
/// No client for Vault can be made, or Vault refuses.
pub async fn run(config: Config, environment: &Environment, wish: Policy, out: Output) -> Result<Exit> {
    match wish.other {
        None => print(config, environment, wish.role, out).await,
        Some(Other::Check(check)) => check::run(config, environment, check, out).await,
        Some(Other::Audit(audit)) => audit::run(config, environment, audit, out).await,
    }
}

async fn print(config: Config, environment: &Environment, role: Option<Role>, out: Output) -> Result<Exit> {
    let alone = Alone::offline(config, environment)?;
    let config = &alone.live.config;
    let unasked = match session::personal_credentials(&config.vault, environment) {
        Ok(credentials) => session::log_in(alone.live.vault.client(), &credentials, environment).await.err().map(|why| why.to_string()),
        Err(_) => Some("there is no token for it".to_owned()),
    };
    let known = match unasked {
        None => known::look(&alone).await,
        Some(why) => {
            output::note(&format!("keyward: Vault is not asked, and everything is taken to be made yet: {why}"));
            known::guess(config)
        }
    };
    let roles = role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role]);
    let mut documents = Vec::new();
    for each in roles {
        let grants = grants::grants(each, config, &known);
        let text = grants::text(each, &grants);
        if out == Output::Text {
            let title = if role.is_none() { format!("# ---- {} ----\n", each.policy(config)) } else { String::new() };
            output::line(&format!("{title}{}", text.trim_end()));
        }
        let paths: Vec<_> =
            grants.iter().map(|g| serde_json::json!({ "path": g.path, "capabilities": g.capabilities, "why": g.why })).collect();
        documents.push(serde_json::json!({ "role": each.name(), "policy": each.policy(config), "paths": paths, "text": text }));
    }
    if out == Output::Json {
        output::json(&documents);
    }
    Ok(Exit::Ok)
}
