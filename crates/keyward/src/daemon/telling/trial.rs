//! The test notice of `keyward alert test`: sent at once by every way, past book and outbox, to prove the ways themselves.

use super::ways::{Channel, Ways, way_name};
use crate::config::{AlertConfig, Environment};
use crate::metrics::{Metrics, families as f};
use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Book, Delivery, Notifier, Outbox, Retry, SendError, Severity, Timing};
use tokio::task::JoinSet;

/// Each way, and whether it accepted the notice.
pub type Results = Vec<(String, Result<(), String>)>;

/// Sends a test notice by every configured way, without a daemon. Empty where no way is configured.
pub async fn test(config: &AlertConfig, environment: &Environment) -> Results {
    send(Ways::build(config, environment), None).await
}

/// Sends a test notice by these ways, all at once; each within its own time limit.
pub async fn send(ways: Ways, metrics: Option<Metrics>) -> Results {
    let mut sending = JoinSet::new();
    for delivery in deliveries(&ways, Timestamp::now()) {
        let Some(notifier) = ways.notifier(&delivery.route) else { continue };
        let metrics = metrics.clone();
        sending.spawn(async move {
            let result = deliver(notifier.as_ref(), &delivery, metrics.as_ref()).await;
            (way_name(&delivery.route), result.map_err(|error| error.to_string()))
        });
    }
    let mut results: Results = ways.broken.iter().map(|(channel, why)| (channel.label().to_owned(), Err(why.clone()))).collect();
    results.extend(sending.join_all().await);
    results.sort();
    results
}

/// Sends one delivery and counts it.
pub(super) async fn deliver(notifier: &dyn Notifier, delivery: &Delivery, metrics: Option<&Metrics>) -> Result<(), SendError> {
    let result = notifier.send(delivery, Timestamp::now()).await;
    if let Some(metrics) = metrics {
        let channel = Channel::of(&delivery.route).label();
        metrics.inc(&f::DELIVERIES, &[channel, result_label(&result)]);
        if result.is_ok() {
            #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
            metrics.set(&f::LAST_DELIVERY, &[channel], Timestamp::now().as_second() as f64);
        }
    }
    result
}

fn result_label(result: &Result<(), SendError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(error) if error.is_permanent() => "permanent",
        Err(_) => "transient",
    }
}

fn deliveries(ways: &Ways, now: Timestamp) -> Vec<Delivery> {
    // A book and an outbox of their own: a test changes nothing of what is remembered.
    let mut book = Book::new(format!("test-{}", super::random_hex()), Timing { group: SignedDuration::ZERO, ..Timing::default() });
    book.raise(notice(now), now);
    let mut outbox = Outbox::new(Retry::default());
    for notice in book.due(now) {
        outbox.enqueue(&notice, &ways.routes(), now);
    }
    outbox.due(now, usize::MAX)
}

fn notice(now: Timestamp) -> Alert {
    Alert {
        key: "test".to_owned(),
        severity: Severity::Info,
        title: "this is a test".to_owned(),
        account: Account {
            happened: "Somebody ran `keyward alert test`.".to_owned(),
            now: "Nothing is wrong. That you read this shows that Keyward's alerts reach you.".to_owned(),
            next: "Nothing.".to_owned(),
            act: "Nothing.".to_owned(),
        },
        owner: None,
        secret: Some("keyward".to_owned()),
        at: now,
        passes_after: Some(SignedDuration::from_mins(5)),
    }
}
