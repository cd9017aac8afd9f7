//! The ways to people: whether each answers. No notice is sent; `keyward alert test` does that.

use super::report::Finding;
use crate::cli::Exit;
use crate::config::{AlertConfig, Environment};
use crate::daemon::telling::ways::{Ways, way_name};
use keyward_alert::Notifier;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Asks every way, all at once, each within its own limit.
pub async fn look(config: &AlertConfig, environment: &Environment) -> Vec<Finding> {
    let ways = Ways::build(config, environment);
    let mut findings: Vec<Finding> = ways.broken.iter().map(|(channel, why)| Finding::wrong(format!("{} cannot be used: {why}", channel.label()))).collect();
    let mut asking = JoinSet::new();
    for (names, notifier) in by_notifier(&ways) {
        asking.spawn(async move { (names, notifier.check().await) });
    }
    let mut answers = asking.join_all().await;
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    findings.extend(answers.into_iter().map(|(names, answer)| match answer {
        Ok(()) => Finding::well(format!("{names}: answers")),
        Err(error) => {
            let exit = if error.is_permanent() { Exit::Failed } else { Exit::Unavailable };
            Finding::wrong(format!("{names}: {error}")).cure("nobody is told over this way; mend it, then: keyward alert test").means(exit)
        }
    }));
    if findings.is_empty() {
        findings.push(
            Finding::warning("there is no way to people: nobody is told when something fails")
                .cure("write [alert.smtp], [alert.webhook] or [alert.alertmanager]"),
        );
    }
    findings
}

/// One server serves several receivers, and is asked once.
fn by_notifier(ways: &Ways) -> Vec<(String, Arc<dyn Notifier>)> {
    let mut found: Vec<(String, Arc<dyn Notifier>)> = Vec::new();
    for route in ways.routes() {
        let Some(notifier) = ways.notifier(&route) else { continue };
        match found.iter_mut().find(|(_, known)| Arc::ptr_eq(known, &notifier)) {
            Some((names, _)) => {
                names.push_str(", ");
                names.push_str(&way_name(&route));
            }
            None => found.push((way_name(&route), notifier)),
        }
    }
    found
}
