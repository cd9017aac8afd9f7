//! Alerts: what a person must be told, when to tell it again, and the ways by which it reaches them.
//!
//! It never sees a secret's value, never reads a clock or a random number (both are arguments), and keeps nothing on disk
//! itself: [`Book`] and [`Outbox`] turn into JSON that the caller stores, in one transaction, after every change.
//!
//! ```text
//! Alert ── Book::raise / resolve ──> Book ── Book::due(now) ──> Notice ── Outbox::enqueue ──> Delivery ── Notifier::send
//!                                   (grouped, repeated,                 (one for each route,             (mail, webhook,
//!                                    resolved, flapping held)            retried until accepted)          Alertmanager)
//! ```
//!
//! **Invariant:** an alert that was raised is told at least once on every route or is still queued for it, or is counted as
//! given up; nothing is dropped in silence. (Short blips below critical that ended before their first mail are counted only.)

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed"))]

mod alert;
mod alertmanager;
mod book;
mod delivery;
mod http;
mod outbox;
mod smtp;
mod smtp_url;
mod stored;
mod text;
mod webhook;

pub use alert::{Account, Alert, Severity};
pub use alertmanager::Alertmanager;
pub use book::{Book, BookCounts, FLAP_RETURNS, MAX_CONDITIONS, Notice, Over, Timing, Told, Why};
pub use delivery::{Notifier, Password, Route, SendError};
pub use http::{HttpError, HttpOptions};
pub use outbox::{Delivery, Failure, GIVE_UP_AFTER, MAX_PER_ROUTE, Outbox, OutboxCounts, Retry, RouteStatus};
pub use smtp::{DEFAULT_LIMIT, Mailer, MailerError, MailerOptions};
pub use smtp_url::{SmtpSecurity, SmtpUrl, SmtpUrlError};
pub use stored::StoredError;
pub use text::{Text, render};
pub use webhook::Webhook;
