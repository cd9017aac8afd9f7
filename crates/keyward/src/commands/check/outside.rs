//! What lies outside Vault and the targets: audit files and the ways to people.

use super::report::Finding;
use crate::cli::Exit;
use crate::config::{Config, Environment};
use crate::daemon::telling::Ways;
use std::io::ErrorKind;

/// Whether each configured audit log can be opened, as this user.
pub fn audit_logs(config: &Config) -> Vec<Finding> {
    let logs = config.vault.nodes.iter().filter_map(|node| Some((&node.name, node.audit_log.as_ref()?)));
    let mut findings: Vec<Finding> = logs
        .map(|(node, path)| match std::fs::File::open(path) {
            Ok(_) => Finding::well(format!("{}: {} can be read", node, path.display())),
            Err(error) => {
                let cure = match error.kind() {
                    ErrorKind::NotFound => "enable a file device there (vault audit enable file file_path=…), or correct audit_log",
                    _ => "give the device mode=0640 and Keyward's user its group; the folder needs x for that group",
                };
                Finding::wrong(format!("{node}: {} cannot be read: {error}", path.display())).cure(cure)
            }
        })
        .collect();
    if findings.is_empty() {
        let says = "no audit log is followed: no findings, and nobody can say who still uses an old value";
        findings.push(Finding::warning(says).cure("set audit_log in [[vault.node]]"));
    }
    findings
}

/// Whether each way to people answers; no notice is sent.
pub async fn ways(config: &Config, environment: &Environment) -> Vec<Finding> {
    let ways = Ways::build(&config.alert, environment);
    let mut findings: Vec<Finding> =
        ways.broken.iter().map(|(channel, why)| Finding::wrong(format!("{} cannot be used: {why}", channel.label()))).collect();
    for (names, notifier) in ways.each() {
        findings.push(match notifier.check().await {
            Ok(()) => Finding::well(format!("{names} answers")),
            Err(error) => Finding::wrong(format!("{names}: {}", error.what())).means(Exit::Unavailable),
        });
    }
    if findings.is_empty() {
        let says = "no way to people is configured: nobody hears of a failed rotation or a sealed Vault";
        findings.push(Finding::warning(says).cure("write [alert] to = [\"oncall@example.com\"] and [alert.smtp]"));
    }
    findings
}
