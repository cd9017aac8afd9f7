//! A notice as one JSON document to a URL of the user's choice.
//!
//! It never follows a redirect, and shows no more of the URL than its host.

use crate::book::Notice;
use crate::delivery::{Notifier, Route, SendError};
use crate::http::{HttpError, HttpOptions, Poster};
use crate::outbox::Delivery;
use crate::text::{render, time};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The version of the document, raised when a field changes its meaning or goes away.
const VERSION: u32 = 1;

/// Posts notices as JSON, with the delivery's id as `Idempotency-Key` and in the field `id`.
pub struct Webhook(Poster);

impl Webhook {
    /// Checks the options; connects to nothing.
    pub fn new(options: HttpOptions) -> Result<Self, HttpError> {
        Poster::new("webhook", options).map(Self)
    }
}

#[async_trait::async_trait]
impl Notifier for Webhook {
    fn routes(&self) -> Vec<Route> {
        vec![Route { channel: "webhook".to_owned(), to: self.0.place.clone() }]
    }

    async fn send(&self, delivery: &Delivery, _now: Timestamp) -> Result<(), SendError> {
        let body = document(&delivery.message_id, &delivery.notice);
        let request = self.0.post(self.0.url(), &body).header("Idempotency-Key", &delivery.message_id);
        self.0.accepted(request).await
    }

    /// Asks for the URL's head: any answer but "who are you" shows that somebody is there. Whether a notice would be accepted is shown
    /// by a real one only.
    async fn check(&self) -> Result<(), SendError> {
        let status = self.0.answer(self.0.head(self.0.url())).await?.status();
        match status.as_u16() {
            401 | 403 | 407 => Err(SendError::Permanent { what: format!("the webhook at {} answered {status}", self.0.place) }),
            _ => Ok(()),
        }
    }
}

fn document(id: &str, notice: &Notice) -> Value {
    let text = render(notice);
    let alerts: Vec<Value> = notice
        .alerts
        .iter()
        .map(|told| {
            let (alert, account) = (&told.alert, &told.alert.account);
            json!({
                "key": alert.key,
                "severity": alert.severity.label(),
                "title": alert.title,
                "secret": alert.secret,
                "owner": alert.owner,
                "since": time(told.since),
                "seen": told.seen,
                "happened": account.happened,
                "now": account.now,
                "next": account.next,
                "act": account.act,
                "resolved": told.over.as_ref().map(|over| json!({ "at": time(over.at), "what": over.what })),
            })
        })
        .collect();
    json!({
        "version": VERSION,
        "id": id,
        "why": notice.why.label(),
        "severity": notice.severity().label(),
        "at": time(notice.at),
        "subject": text.subject,
        "text": text.body,
        "alerts": alerts,
    })
}
