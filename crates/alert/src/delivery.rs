//! The seam between the outbox and the ways out: routes, notifiers, and how a sending can fail.
//!
//! It never decides when to retry; it only says whether retrying can help.

use crate::outbox::Delivery;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroizing;

/// One way to one receiver. Every mail recipient is a route of their own, so that one bad address never holds up the others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Route {
    /// `smtp`, `webhook` or `alertmanager`: fit for a metric's label.
    pub channel: String,
    /// The receiver: a mail address, or the host of a URL (never its path, which may hold a token). Not for labels.
    pub to: String,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.channel, self.to)
    }
}

/// Why a notice was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Trying again later can help: nobody answered, or the other side said "later".
    #[error("{what}")]
    Transient {
        /// What was attempted and what came back.
        what: String,
    },
    /// The other side refused for good: wrong password, unknown recipient. Somebody has to change something.
    #[error("{what}")]
    Permanent {
        /// What was attempted and what came back.
        what: String,
    },
}

impl SendError {
    /// What was attempted and what came back.
    pub fn what(&self) -> &str {
        match self {
            Self::Transient { what } | Self::Permanent { what } => what,
        }
    }

    /// Whether somebody has to change something first.
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent { .. })
    }
}

/// A way out. Every call ends within the notifier's own time limit.
#[async_trait::async_trait]
pub trait Notifier: Send + Sync {
    /// The routes this notifier serves; hand them to [`crate::Outbox::enqueue`].
    fn routes(&self) -> Vec<Route>;

    /// Sends one delivery. `Ok` means that the other side took responsibility for it.
    ///
    /// `now` is when it is sent; an alert that lasts is announced as lasting beyond it.
    async fn send(&self, delivery: &Delivery, now: Timestamp) -> Result<(), SendError>;

    /// Proves, without sending anything, that sending would work as far as that can be proved.
    async fn check(&self) -> Result<(), SendError>;
}

/// A password or token for a way out: wiped when dropped, never shown. (This crate must not know of managed secrets.)
pub struct Password(Zeroizing<String>);

impl Password {
    /// Takes a text as a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// A text with every occurrence of this password taken out, for servers that repeat what they were told.
    pub(crate) fn scrub(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(self.0.as_str(), "[password]") }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// The longest text taken over from another side's answer, in characters.
const MAX_ANSWER: usize = 300;

/// Someone else's words made fit for one line of ours: no control characters, bounded length.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String = text.chars().take(MAX_ANSWER).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(MAX_ANSWER).is_some() {
        line.push('…');
    }
    line
}
