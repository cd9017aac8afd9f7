//! `check`: can this configuration work? Everything is looked at, nothing is changed, nothing stops at the first trouble.

mod mounts;
mod needs;
mod outside;
mod report;
mod secrets;
mod server;
mod token;

use super::alone::Alone;
use super::output::Output;
use crate::cli::Exit;
use crate::config::{Config, Environment, loose_permissions};
use anyhow::Result;
use report::{Finding, Report};

/// Looks at everything and says what was found.
///
/// # Errors
/// When not even a client can be built: the CA file or the address cannot serve.
pub async fn run(config: Config, environment: &Environment, out: Output) -> Result<Exit> {
    let mut report = Report::new(out);
    report.add("Configuration", configuration(&config));
    let alone = Alone::offline(config, environment)?;
    let (live, config) = (&alone.live, &alone.live.config);
    let client = live.vault.client();
    let seen = server::look(client, &config.vault).await;
    report.add("Vault", seen.findings);
    if seen.is_usable {
        let logged_in = token::log_in(client, config, environment).await;
        report.add("Token", logged_in.findings);
        if logged_in.is_usable {
            report.add("Records", mounts::records(client, &config.vault.record_mount).await);
            let (places, lost) = mounts::places(&live.vault, &needs::paths(config)).await;
            report.add("Published paths", lost);
            report.add("Permissions", permissions(client, &needs::needs(config, &places)).await);
        }
        for managed in live.secrets.values() {
            report.add(format!("Secret {}", managed.spec.name), secrets::look(live, managed, logged_in.is_usable).await);
        }
        if logged_in.is_ours {
            // What was made for this look is given back; it would end by itself too.
            let _ = client.revoke_self().await;
        }
    } else {
        report.add("Token, permissions and secrets", vec![Finding::unknown("nothing can be said of these while Vault does not answer")]);
    }
    report.add("Audit logs", outside::audit_logs(config));
    report.add("Ways to people", outside::ways(config, environment).await);
    Ok(report.finish())
}

/// What works and should be known nevertheless.
fn configuration(config: &Config) -> Vec<Finding> {
    let mut findings: Vec<Finding> = config.warnings.iter().map(Finding::warning).collect();
    let references = config.secrets.iter().filter_map(|s| s.kind.admin()).filter_map(|admin| loose_permissions(&admin.password));
    let mut loose: Vec<String> = references.collect();
    loose.dedup();
    findings.extend(loose.into_iter().map(Finding::warning));
    findings.insert(0, Finding::well(format!("{} secrets in {} classes", config.secrets.len(), config.classes.len())));
    findings
}

async fn permissions(client: &keyward_vault::Client, needs: &[needs::Need]) -> Vec<Finding> {
    let paths: Vec<&str> = needs.iter().map(|need| need.path.as_str()).collect();
    match client.capabilities_self(&paths).await {
        Ok(capabilities) => needs::judge(needs, &capabilities),
        Err(error) => vec![Finding::failed("asking what the token may do", &crate::ports::failure_of(&error))],
    }
}
