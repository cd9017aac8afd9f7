//! Alerts as a real Alertmanager sees them: firing, changed, over.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use jiff::{SignedDuration, Timestamp};
use keyward_alert::{Account, Alert, Alertmanager, Book, HttpOptions, Notifier, Outbox, Retry, Severity, Timing};
use keyward_harness::{AlertmanagerServer, wait_until};
use serde_json::Value;
use std::time::Duration;

const CONFIG: &str = "route: { receiver: nobody }\nreceivers: [ { name: nobody } ]\n";

fn alert(severity: Severity) -> Alert {
    Alert {
        key: "rotation-failed/backend".to_owned(),
        severity,
        title: "rotation failed".to_owned(),
        account: Account { happened: "It was refused.".to_owned(), ..Account::default() },
        owner: Some("payments".to_owned()),
        secret: Some("backend".to_owned()),
        at: Timestamp::now(),
        passes_after: None,
    }
}

/// Tells what is due `ahead` of now; it is sent now.
async fn tell(book: &mut Book, notifier: &Alertmanager, ahead: SignedDuration) {
    let now = Timestamp::now();
    let mut outbox = Outbox::new(Retry::default());
    for notice in book.due(now + ahead) {
        outbox.enqueue(&notice, &notifier.routes(), now);
    }
    assert_eq!(outbox.len(), 1);
    notifier.send(&outbox.due(now, 1)[0], now).await.unwrap();
}

/// `severity` of every active alert.
fn active(server: &AlertmanagerServer) -> Vec<String> {
    let alerts = server.alerts().unwrap();
    let firing = alerts.iter().filter(|alert| alert["status"]["state"] == "active");
    firing.map(|alert| alert["labels"]["severity"].as_str().unwrap().to_owned()).collect()
}

fn wait_for(server: &AlertmanagerServer, expected: &[&str]) {
    wait_until(&format!("active alerts {expected:?}"), Duration::from_secs(20), || (active(server) == expected).then_some(()));
}

#[tokio::test]
async fn an_alert_fires_changes_its_severity_and_ends() {
    let _ = rustls_provider();
    let server = AlertmanagerServer::start(CONFIG).unwrap();
    let url = server.address.clone();
    let limit = Duration::from_secs(10);
    let notifier = Alertmanager::new(HttpOptions { url, bearer: None, ca_pem: None, insecure: false, limit }).unwrap();
    notifier.check().await.unwrap();
    let mut book = Book::new("kw", Timing::default());
    let group = SignedDuration::from_secs(5);

    book.raise(alert(Severity::Warning), Timestamp::now());
    tell(&mut book, &notifier, group).await;
    wait_for(&server, &["warning"]);
    let fired = server.alerts().unwrap().remove(0);
    assert_eq!(fired["labels"]["alertname"], "rotation-failed");
    assert_eq!((&fired["labels"]["secret"], &fired["labels"]["owner"]), (&Value::from("backend"), &Value::from("payments")));
    assert_eq!(fired["annotations"]["summary"], "backend: rotation failed");
    let ends: Timestamp = fired["endsAt"].as_str().unwrap().parse().unwrap();
    assert!(ends > Timestamp::now() + SignedDuration::from_mins(60), "Alertmanager's own five minutes must not apply: {ends}");

    book.raise(alert(Severity::Critical), Timestamp::now());
    tell(&mut book, &notifier, group + group).await;
    wait_for(&server, &["critical"]);

    book.resolve("rotation-failed/backend", "It went through.", Timestamp::now());
    tell(&mut book, &notifier, group * 3).await;
    wait_for(&server, &[]);
}

/// Whether it was installed already does not matter.
fn rustls_provider() -> Result<(), std::sync::Arc<rustls::crypto::CryptoProvider>> {
    rustls::crypto::ring::default_provider().install_default()
}
