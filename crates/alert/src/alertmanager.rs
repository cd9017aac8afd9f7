//! A notice as alerts of Prometheus's Alertmanager, API version 2 (`POST /api/v2/alerts`).
//!
//! It never leaves the end of an alert to Alertmanager, which would take one for resolved after five minutes of silence: every alert
//! is sent with an end beyond our next repetition.

use crate::book::{Notice, Told, after};
use crate::delivery::{Notifier, Route, SendError};
use crate::http::{HttpError, HttpOptions, Poster};
use crate::outbox::Delivery;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// How far beyond our next repetition an alert is said to last, so that a delayed repetition does not look like a recovery.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// How long a thing that is over already is shown, so that somebody is told of it at all.
const GLIMPSE: SignedDuration = SignedDuration::from_mins(5);

/// Posts notices to one Alertmanager. In a cluster every member is to be a route of its own, as Prometheus does it.
///
/// Labels: `alertname` (the key's first part), `key`, `severity`, `secret`, `owner`, `source="keyward"`.
pub struct Alertmanager(Poster);

impl Alertmanager {
    /// Checks the options; connects to nothing. The URL is the server's root, with its path prefix if it has one.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        Poster::new("Alertmanager", options).map(Self)
    }
}

#[async_trait::async_trait]
impl Notifier for Alertmanager {
    fn routes(&self) -> Vec<Route> {
        vec![Route { channel: "alertmanager".to_owned(), to: self.0.place.clone() }]
    }

    async fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SendError> {
        let body = alerts(&delivery.notice, now);
        self.0.accepted(self.0.post(self.0.below("api/v2/alerts"), &body)).await
    }

    /// Asks for its status.
    async fn check(&self) -> Result<(), SendError> {
        self.0.accepted(self.0.get(self.0.below("api/v2/status"))).await
    }
}

fn alerts(notice: &Notice, now: Timestamp) -> Value {
    let mut list = Vec::with_capacity(notice.alerts.len());
    for told in &notice.alerts {
        if let Some(before) = told.before {
            // The severity is a label, so the alert with the old one is another alert, to be ended.
            list.push(one(told, before.label(), now));
        }
        list.push(one(told, told.alert.severity.label(), end(notice, told, now)));
    }
    Value::Array(list)
}

fn end(notice: &Notice, told: &Told, now: Timestamp) -> Timestamp {
    match (&told.over, told.alert.passes_after) {
        (Some(_), _) if told.thread == notice.id => after(now, GLIMPSE),
        // A clock that was set back must not make it end before it began, which is refused.
        (Some(over), _) => over.at.max(told.since),
        (None, Some(quiet)) => after(told.alert.at, quiet).max(after(now, GLIMPSE)),
        (None, None) => after(told.again.max(now), MARGIN),
    }
}

fn one(told: &Told, severity: &str, ends_at: Timestamp) -> Value {
    let alert = &told.alert;
    let mut labels = Map::new();
    for (name, value) in [
        ("alertname", Some(alert.name())),
        ("key", Some(alert.key.as_str())),
        ("severity", Some(severity)),
        ("secret", alert.secret.as_deref()),
        ("owner", alert.owner.as_deref()),
        ("source", Some("keyward")),
    ] {
        if let Some(value) = value {
            labels.insert(name.to_owned(), json!(value));
        }
    }
    let account = &alert.account;
    json!({
        "labels": labels,
        "annotations": {
            "summary": alert.headline(),
            "description": account.happened,
            "now": account.now,
            "next": account.next,
            "action": account.act,
        },
        "startsAt": told.since.to_string(),
        "endsAt": ends_at.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Account, Alert, Severity};
    use crate::book::{Book, Timing};

    fn alert(severity: Severity, at: Timestamp) -> Alert {
        Alert {
            key: "rotation-failed/backend".to_owned(),
            severity,
            title: "rotation failed".to_owned(),
            account: Account::default(),
            owner: Some("payments".to_owned()),
            secret: Some("backend".to_owned()),
            at,
            passes_after: None,
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn a_lasting_alert_ends_beyond_its_next_repetition_even_if_sent_late() {
        let mut book = Book::new("t", Timing::default());
        book.raise(alert(Severity::Warning, at(0)), at(0));
        let notice = book.due(at(5)).remove(0);
        let sent = alerts(&notice, at(5));
        assert_eq!(sent[0]["labels"]["alertname"], "rotation-failed");
        assert_eq!(sent[0]["labels"]["severity"], "warning");
        assert_eq!(sent[0]["labels"]["owner"], "payments");
        assert_eq!(sent[0]["startsAt"], at(0).to_string());
        assert_eq!(sent[0]["endsAt"], at(5 + 1800 + 3600).to_string());
        assert_eq!(alerts(&notice, at(90_000))[0]["endsAt"], at(93_600).to_string(), "a day late");
    }

    #[test]
    fn another_severity_ends_the_alert_of_the_old_one() {
        let mut book = Book::new("t", Timing::default());
        book.raise(alert(Severity::Warning, at(0)), at(0));
        book.due(at(5));
        book.raise(alert(Severity::Critical, at(60)), at(60));
        let sent = alerts(&book.due(at(65)).remove(0), at(65));
        assert_eq!(sent.as_array().unwrap().len(), 2);
        assert_eq!((&sent[0]["labels"]["severity"], &sent[0]["endsAt"]), (&json!("warning"), &json!(at(65).to_string())));
        assert_eq!(sent[1]["labels"]["severity"], "critical");
    }

    #[test]
    fn a_resolution_ends_it_and_a_blip_is_seen_for_a_moment() {
        let mut book = Book::new("t", Timing::default());
        book.raise(alert(Severity::Critical, at(0)), at(0));
        book.resolve("rotation-failed/backend", "rotated", at(2));
        let blip = book.due(at(5)).remove(0);
        assert_eq!(alerts(&blip, at(5))[0]["endsAt"], at(305).to_string());
        book.raise(alert(Severity::Critical, at(100)), at(100));
        book.due(at(105));
        book.resolve("rotation-failed/backend", "rotated", at(200));
        let over = book.due(at(205)).remove(0);
        assert_eq!(alerts(&over, at(205))[0]["endsAt"], at(200).to_string());
    }
}
