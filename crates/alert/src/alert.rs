//! The alert as a value: what is wrong, how bad it is, and what a person can do.
//!
//! It never holds a secret's value: names, paths, steps and causes only. Whoever writes the text keeps to that.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How soon a person has to look. Ordered: `Info < Warning < Critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing to do now.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// To be looked at now, at night too.
    Critical,
}

impl Severity {
    /// All of them, mildest first; for tables and metrics that must exist from the start.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word used in labels and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// The word used in a mail's subject.
    pub const fn shout(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
        }
    }
}

/// The four answers that whoever is woken at night needs, in this order. Each may have several lines; an empty one is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// What happened: the cause in words, with the step that failed.
    pub happened: String,
    /// What is true now: above all, whether consumers still work.
    pub now: String,
    /// What Keyward does next by itself, and when.
    pub next: String,
    /// What the reader can do: the exact command, on a line of its own.
    pub act: String,
}

/// Something a person must be told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Identifies the condition, as `what/where`: `rotation-failed/backend-database`. Two alerts with the same key are the same
    /// condition seen twice. The part before the first `/` becomes Alertmanager's `alertname`.
    pub key: String,
    /// How bad it is as seen now; it may rise and fall while the condition lasts.
    pub severity: Severity,
    /// A few words, without the secret's name: `rotation failed`.
    pub title: String,
    /// What to tell.
    pub account: Account,
    /// Who owns the secret, for routing.
    pub owner: Option<String>,
    /// The secret's name, or what else stands in its place in the subject (a node, `vault`).
    pub secret: Option<String>,
    /// When it was seen.
    pub at: Timestamp,
    /// `None`: a state that lasts until [`crate::Book::resolve`]. `Some(quiet)`: a thing that happened; it is over by itself when
    /// it was not raised again for so long, is repeated only if it happened again, and has no resolution notice.
    #[serde(default)]
    pub passes_after: Option<SignedDuration>,
}

impl Alert {
    /// The first part of the key: what kind of condition this is.
    pub fn name(&self) -> &str {
        self.key.split('/').next().unwrap_or(&self.key)
    }

    /// The headline without severity: `backend-database: rotation failed`.
    pub fn headline(&self) -> String {
        match &self.secret {
            Some(secret) => format!("{secret}: {}", self.title),
            None => self.title.clone(),
        }
    }
}
