//! `policy`: what roles of an organisation must be allowed to do, as policies.

pub(super) mod grants;
mod known;

use super::alone::Alone;
use super::output::{self, Output};
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::session;
use anyhow::Result;
use clap::Args;
pub use grants::Role;

/// What `keyward help policy` says at its end.
pub const HELP: &str = "\
The least that each role needs with this configuration, path by path, with the reason over each. Where there is a token, Vault is asked
where paths are mounted, what exists already and what keys are for; without one everything is taken to be made yet.

Examples:
  keyward policy keyward                       for the daemon
  keyward policy backend | vault policy write backend -
  keyward policy --output json";

/// `policy`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose policy; without it, all
    #[arg(value_enum)]
    pub role: Option<Role>,
}

/// Prints the policies.
///
/// # Errors
/// No client for Vault can be made.
pub async fn run(config: Config, environment: &Environment, wish: Policy, out: Output) -> Result<Exit> {
    let alone = Alone::offline(config, environment)?;
    let config = &alone.live.config;
    let known = match session::personal_credentials(&config.vault, environment) {
        Ok(credentials) if session::log_in(alone.live.vault.client(), &credentials, environment).await.is_ok() => known::look(&alone).await,
        _ => {
            output::note("keyward: Vault is not asked, because there is no token for it; everything is taken to be made yet");
            known::guess(config)
        }
    };
    let roles = wish.role.map_or_else(|| Role::ALL.to_vec(), |role| vec![role]);
    let mut documents = Vec::new();
    for role in roles {
        let grants = grants::grants(role, config, &known);
        let text = grants::text(role, &grants);
        if out == Output::Text {
            let title = if wish.role.is_none() { format!("# ---- {} ----\n", role.policy(config)) } else { String::new() };
            output::line(&format!("{title}{}", text.trim_end()));
        }
        let paths: Vec<_> =
            grants.iter().map(|g| serde_json::json!({ "path": g.path, "capabilities": g.capabilities, "why": g.why })).collect();
        documents.push(serde_json::json!({ "role": role.name(), "policy": role.policy(config), "paths": paths, "text": text }));
    }
    if out == Output::Json {
        output::json(&documents);
    }
    Ok(Exit::Ok)
}
