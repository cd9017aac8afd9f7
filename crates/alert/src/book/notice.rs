//! What is told at one moment: the notice and its entries.
//!
//! It never changes once made: it is stored in the outbox and sent as it is, however late.

use crate::alert::{Alert, Severity};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Why a notice is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// Nobody was told yet.
    First,
    /// It lasts; told so many times before.
    Repeat(u32),
    /// It lasts and became more severe than what was told.
    Worse,
    /// What was told is over.
    Resolved,
}

impl Why {
    /// The word used in labels and JSON.
    pub const fn label(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Repeat(_) => "repeat",
            Self::Worse => "worse",
            Self::Resolved => "resolved",
        }
    }
}

/// The end of a condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// What ended it, in words.
    pub what: String,
    /// When it was seen to be over.
    pub at: Timestamp,
}

/// One condition as it stands in a notice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The alert as last raised.
    pub alert: Alert,
    /// Since when it lasts.
    pub since: Timestamp,
    /// How often it was raised since then.
    pub seen: u64,
    /// How often it was told before this notice.
    pub times: u32,
    /// How often it came back lately; 0 for a condition that does not come and go.
    pub returns: u32,
    /// Set if it is over.
    pub over: Option<Over>,
    /// The severity told last, if it differs from the alert's.
    pub before: Option<Severity>,
    /// The id of the notice that told it first; this notice's own id in a first notice.
    pub thread: String,
    /// When it will be told again if it lasts.
    pub again: Timestamp,
}

/// Something to send: one or more conditions told for the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Unique among all notices of all installations, fit for a Message-ID's left side.
    pub id: String,
    /// Why it is sent.
    pub why: Why,
    /// When it was made.
    pub at: Timestamp,
    /// Never empty; worst first, then oldest first.
    pub alerts: Vec<Told>,
}

impl Notice {
    /// The worst severity in it.
    pub fn severity(&self) -> Severity {
        self.alerts.iter().map(|told| told.alert.severity).max().unwrap_or(Severity::Info)
    }
}
