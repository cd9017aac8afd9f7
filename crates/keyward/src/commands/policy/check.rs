//! `policy check`: compares what a token may do with what its role needs, both ways.

use super::grants::{self, Grant, Role};
use super::{hcl, known};
use crate::cli::Exit;
use crate::commands::alone::Alone;
use crate::commands::borrowed;
use crate::commands::check::needs::policy_line;
use crate::commands::check::report::{Finding, Report};
use crate::commands::output::Output;
use crate::config::{Config, Environment, SecretRef};
use crate::session::{self, Credentials};
use anyhow::{Context, Result};
use clap::Args;
use keyward_vault::{Capabilities, Client, TokenInfo};
use std::path::PathBuf;

/// `policy check`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Whose policy the token is compared with
    #[arg(value_enum, default_value_t = Role::Keyward)]
    pub role: Role,
    /// A file with the token; without it, for `keyward` the daemon's own login, for others VAULT_TOKEN and its like
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Compares, and prints what is missing and what is too much. A token made for this by a login is given back.
///
/// # Errors
/// There is no token, or Vault refuses it.
pub async fn run(config: Config, environment: &Environment, wish: Check, out: Output) -> Result<Exit> {
    let alone = Alone::offline(config, environment)?;
    let (config, client) = (&alone.live.config, alone.live.vault.client());
    let credentials = match &wish.token_file {
        Some(file) => Credentials::Personal(SecretRef::File(std::path::absolute(file).context("the token's file")?)),
        None if wish.role == Role::Keyward => session::daemon_credentials(&config.vault)?,
        None => session::personal_credentials(&config.vault, environment)?,
    };
    let info = session::log_in(client, &credentials, environment).await.context("cannot log in with the token that is to be checked")?;
    borrowed::note(client, &credentials);
    let grants = grants::grants(wish.role, config, &known::look(&alone).await);
    let paths: Vec<&str> = grants.iter().map(|grant| grant.path.as_str()).collect();
    let capabilities = client.capabilities_self(&paths).await.context("the token may not ask what it may do")?;
    let mut report = Report::saying(out, "The token fits its role", "The token does not fit its role yet");
    report.add(format!("What {} needs", wish.role.name()), missing(&grants, &capabilities));
    // Whoever may read policies reads them; the checked token seldom may.
    let reader = session::client(&config.vault)?;
    let personal = session::personal_credentials(&config.vault, environment);
    let can_read = match personal {
        Ok(personal @ Credentials::Personal(_)) => session::log_in(&reader, &personal, environment).await.is_ok(),
        _ => false,
    };
    report.add("What it has besides", too_much(if can_read { &reader } else { client }, &grants, &info).await);
    Ok(report.finish())
}

fn missing(grants: &[Grant], capabilities: &Capabilities) -> Vec<Finding> {
    let mut findings = Vec::new();
    for grant in grants {
        let missing: Vec<&str> = grant.capabilities.iter().copied().filter(|c| !capabilities.allows(&grant.path, c)).collect();
        if !missing.is_empty() {
            let says = format!("may not {} {}: needed {}", missing.join(", "), grant.path, grant.why.join("; "));
            findings.push(Finding::wrong(says).cure(policy_line(&grant.path, &grant.capabilities)).means(Exit::Denied));
        }
    }
    let well = grants.len() - findings.len();
    if well > 0 {
        findings.insert(0, Finding::well(format!("it may do what it must at {well} of {} paths", grants.len())));
    }
    findings
}

/// What stands in the token's policies beyond the grants.
async fn too_much(client: &Client, grants: &[Grant], info: &TokenInfo) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in &info.policies {
        match name.as_str() {
            "root" => findings.push(
                Finding::wrong("it is a root token: nothing is denied to it, ever")
                    .cure("use a token with the role's own policy, and revoke this one"),
            ),
            "default" => findings.push(
                Finding::warning("it has Vault's policy `default`, which the role does not need")
                    .cure("make it with no_default_policy (token_no_default_policy of a role)"),
            ),
            name => match client.policy(name).await {
                Ok(Some(text)) => findings.extend(beyond(name, &text, grants)),
                Ok(None) => findings.push(Finding::warning(format!("its policy {name} does not exist"))),
                Err(error) => findings.push(Finding::unknown(format!("what {name} grants besides: {error}"))),
            },
        }
    }
    if findings.is_empty() {
        findings.push(Finding::well("nothing beyond that"));
    }
    findings
}

/// What one policy grants that no grant names.
fn beyond(name: &str, text: &str, grants: &[Grant]) -> Vec<Finding> {
    let Some(rules) = hcl::parse(text) else {
        return vec![Finding::unknown(format!("what {name} grants besides: its text cannot be read"))];
    };
    let mut findings = Vec::new();
    for rule in rules {
        let grant = grants.iter().find(|grant| grant.path == rule.path);
        let more = |c: &&String| *c != "deny" && !grant.is_some_and(|grant| grant.capabilities.contains(&c.as_str()));
        let more: Vec<&str> = rule.capabilities.iter().filter(more).map(String::as_str).collect();
        if !more.is_empty() {
            findings.push(Finding::warning(format!("{name} grants {} on {}, which the role does not need", more.join(", "), rule.path)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_beyond_is_named_path_by_path() {
        let grants = [Grant { path: "a".into(), capabilities: vec!["read"], why: vec![] }];
        let text = "path \"a\" { capabilities = [\"read\", \"update\"] }\npath \"b/*\" { capabilities = [\"list\"] }\npath \"c\" { capabilities = [\"deny\"] }";
        let says: Vec<String> = beyond("p", text, &grants).into_iter().map(|f| f.says).collect();
        assert_eq!(says, ["p grants update on a, which the role does not need", "p grants list on b/*, which the role does not need"]);
        assert_eq!(beyond("p", "path \"a\" { capabilities = [\"read\"] }", &grants), []);
    }
}
