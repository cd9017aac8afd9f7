//! The ways to people: whether each answers. No notice is sent; `keyward alert test` does that.

use super::report::{Finding, Mark};
use super::trouble::Trouble;
use crate::cli::Exit;
use crate::config::{AlertConfig, Environment, WebhookUrl};
use crate::daemon::telling::Ways;
use tokio::task::JoinSet;

/// Asks every way, all at once, each within its own limit.
pub async fn look(config: &AlertConfig, environment: &Environment) -> Vec<Finding> {
    let ways = Ways::build(config, environment);
    let mut findings: Vec<Finding> = ways
        .broken
        .iter()
        .map(|(channel, why)| Finding::wrong(format!("{} cannot be used: {why}", channel.label())).is(Trouble::AlertWayBroken))
        .collect();
    let mut asking = JoinSet::new();
    for (names, notifier) in ways.each() {
        asking.spawn(async move { (names, notifier.check().await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    findings.extend(answers.into_iter().map(|(names, answer)| match answer {
        Ok(()) => Finding::well(format!("{names}: answers")),
        Err(error) => {
            let exit = if error.is_permanent() { Exit::Failed } else { Exit::Unavailable };
            Finding::wrong(format!("{names}: {error}"))
                .is(Trouble::AlertWayBroken)
                .cure("nobody is told over this way; mend it, then: keyward alert test")
                .means(exit)
        }
    }));
    if findings.iter().any(|f| f.mark == Mark::Well) && holds_secrets(config) {
        findings.push(Finding::well("their passwords come from files or variables: they work while Vault is sealed"));
    }
    if findings.is_empty() {
        findings.push(
            Finding::warning("there is no way to people: nobody is told when something fails")
                .is(Trouble::AlertsUnset)
                .cure("write [alert.smtp], [alert.webhook] or [alert.alertmanager]"),
        );
    }
    findings
}

/// Whether any way needs a secret. The configuration refuses one that stands in Vault alone.
fn holds_secrets(config: &AlertConfig) -> bool {
    config.smtp.as_ref().is_some_and(|smtp| smtp.password.is_some())
        || config.webhook.as_ref().is_some_and(|webhook| webhook.bearer.is_some() || matches!(webhook.url, WebhookUrl::Secret(_)))
        || config.alertmanager.as_ref().is_some_and(|alertmanager| alertmanager.bearer.is_some())
}
