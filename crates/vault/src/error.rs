//! Why a call to Vault did not do what was asked. Never holds a body, a token, or anything of the HTTP library's own.

use std::fmt::Write as _;
use std::time::Duration;

/// Error messages kept of one answer.
const MAX_MESSAGES: usize = 8;
/// Characters kept of one message.
const MAX_CHARS: usize = 400;
/// Shorter values are not searched for in messages: they would match by chance.
const MIN_HIDDEN: usize = 4;

/// What kind of failure it was: the one thing that callers decide by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// No answer from a Vault: no connection, a broken one, or a proxy that answered in its place.
    Unreachable,
    /// The time limit passed after the request may have been sent: for a write the outcome is unknown.
    Timeout,
    /// The node is sealed.
    Sealed,
    /// The node was never initialised.
    Uninitialised,
    /// The node is not active, and did not or could not forward (a redirect, no active node, an outdated standby).
    Standby,
    /// The token or its policies do not allow it, or the credentials of a login were refused.
    Denied,
    /// Nothing stands there (for a PATCH also: soft-deleted or destroyed).
    NotFound,
    /// Check-and-set: the current version is another than the one named.
    Conflict,
    /// The request cannot succeed as it is, or the settings cannot serve.
    Invalid,
    /// A rate limit quota refused it.
    RateLimited,
    /// The TLS handshake failed, or one side does not speak TLS.
    Tls,
    /// Vault failed inside (500), or answered something that this client cannot read. For a write the outcome is unknown.
    Internal,
}

impl Kind {
    /// What it means and what to do, for people.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "no answer from Vault; check the address and that the server runs",
            Self::Timeout => "no answer within the time limit",
            Self::Sealed => "Vault is sealed; unseal it",
            Self::Uninitialised => "Vault is not initialised; run `vault operator init`",
            Self::Standby => "this node is not the active one; give the address of the active node or of a load balancer",
            Self::Denied => "permission denied; check the token and its policies",
            Self::NotFound => "not found",
            Self::Conflict => "the version changed meanwhile (check-and-set)",
            Self::Invalid => "the request is not acceptable",
            Self::RateLimited => "refused by a rate limit quota; try again later",
            Self::Tls => "TLS failed; check the CA file and the host name in the certificate",
            Self::Internal => "Vault failed inside, or its answer cannot be read; see the server's log",
        }
    }

    /// A short constant name, for metric labels and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Sealed => "sealed",
            Self::Uninitialised => "uninitialised",
            Self::Standby => "standby",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::RateLimited => "rate_limited",
            Self::Tls => "tls",
            Self::Internal => "internal",
        }
    }
}

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.sentence())]
pub struct VaultError {
    /// Method and path, without query and without body: `PATCH secret/data/app`.
    pub attempted: String,
    /// What to decide by.
    pub kind: Kind,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Vault's own messages, at most eight of at most 400 characters, control characters gone, values of the request hidden.
    pub errors: Vec<String>,
    /// How long Vault asked to wait (`Retry-After`), at most a minute.
    pub retry_after: Option<Duration>,
    /// More to do than [`Kind::advice`] says, for this very call.
    pub hint: Option<&'static str>,
    sent: bool,
}

impl VaultError {
    /// A failure of which nothing reached a server.
    pub fn new(kind: Kind, attempted: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            attempted: attempted.into(),
            kind,
            status: None,
            errors: clean([message.into()], &[]),
            retry_after: None,
            hint: None,
            sent: false,
        }
    }

    /// A failure after which the request may have reached a server.
    pub(crate) fn sent(kind: Kind, attempted: &str, status: Option<u16>, errors: Vec<String>) -> Self {
        Self { attempted: attempted.to_owned(), kind, status, errors, retry_after: None, hint: None, sent: true }
    }

    pub(crate) fn with_hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Whether the same call may succeed later without anybody changing the request or a policy.
    pub fn retry(&self) -> bool {
        match self.kind {
            Kind::Unreachable | Kind::Timeout | Kind::Sealed | Kind::Standby | Kind::RateLimited | Kind::Internal => true,
            Kind::Uninitialised | Kind::Denied | Kind::NotFound | Kind::Conflict | Kind::Invalid | Kind::Tls => false,
        }
    }

    /// Whether a write may have happened all the same, so that one has to look before doing it again.
    ///
    /// Vault refuses with 4xx before it acts; a 5xx can come after the act (a failing audit device, say).
    pub fn outcome_unknown(&self) -> bool {
        self.sent && self.status.is_none_or(|s| s >= 500) && !matches!(self.kind, Kind::Sealed | Kind::Uninitialised)
    }

    /// Whether a snapshot was refused because another Vault's key sealed it.
    pub fn says_other_key(&self) -> bool {
        self.says("different set of unseal keys") || self.says("could not verify hash file")
    }

    /// Whether the token is dead (`invalid token` beside `permission denied`, Vault 1.15 and later): another one would be let in.
    pub fn says_dead_token(&self) -> bool {
        self.kind == Kind::Denied && self.says("invalid token")
    }

    /// Whether one of Vault's messages contains `text`.
    pub(crate) fn says(&self, text: &str) -> bool {
        self.errors.iter().any(|e| e.contains(text))
    }

    fn sentence(&self) -> String {
        let mut out = format!("{}: {}", self.attempted, self.kind.advice());
        // Writing into a String cannot fail.
        if let Some(status) = self.status {
            let _ = write!(out, " (status {status})");
        }
        if !self.errors.is_empty() {
            let _ = write!(out, ": {}", self.errors.join("; "));
        }
        if let Some(hint) = self.hint {
            let _ = write!(out, " ({hint})");
        }
        out
    }
}

/// Messages made fit for a log line: bounded, on one line, without Vault's list dressing and without any of `hidden`.
pub(crate) fn clean(messages: impl IntoIterator<Item = String>, hidden: &[&str]) -> Vec<String> {
    messages.into_iter().map(|m| clean_one(&m, hidden)).filter(|m| !m.is_empty()).take(MAX_MESSAGES).collect()
}

fn clean_one(message: &str, hidden: &[&str]) -> String {
    let mut text = message.to_owned();
    for value in hidden.iter().filter(|v| v.len() >= MIN_HIDDEN) {
        text = text.replace(value, "(hidden)");
    }
    let words: Vec<&str> = text.split(|c: char| c.is_control() || c.is_whitespace()).filter(|w| !w.is_empty()).collect();
    let line = words.join(" ");
    // Vault's multi-errors read "1 error occurred: * permission denied".
    let line = line.strip_prefix("1 error occurred: * ").unwrap_or(&line);
    line.chars().take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(message: &str, hidden: &[&str], expected: &str) {
        assert_eq!(clean([message.to_owned()], hidden), [expected]);
    }

    #[test]
    fn messages_become_one_clean_line() {
        check("1 error occurred:\n\t* permission denied\n\n", &[], "permission denied");
        check(
            "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n",
            &[],
            "2 errors occurred: * permission denied * invalid token",
        );
        check("a\u{1b}[31m\tb", &[], "a [31m b");
    }

    #[test]
    fn values_of_the_request_are_hidden() {
        check("bad value hunter2 given", &["hunter2"], "bad value (hidden) given");
        check("an a stays", &["a"], "an a stays");
    }

    #[test]
    fn messages_are_bounded() {
        let many = clean((0..100).map(|_| "x".repeat(10_000)), &[]);
        assert_eq!(many.len(), MAX_MESSAGES);
        assert!(many.iter().all(|m| m.len() == MAX_CHARS));
    }

    #[test]
    fn an_error_says_what_was_attempted_and_what_to_do() {
        let error = VaultError::sent(Kind::Denied, "GET secret/data/app", Some(403), vec!["permission denied".into()]);
        assert_eq!(
            error.to_string(),
            "GET secret/data/app: permission denied; check the token and its policies (status 403): permission denied"
        );
    }

    #[test]
    fn only_what_may_have_acted_is_unknown() {
        let check = |kind, status, unknown| assert_eq!(VaultError::sent(kind, "x", status, vec![]).outcome_unknown(), unknown, "{kind:?}");
        check(Kind::Timeout, None, true);
        check(Kind::Internal, Some(500), true);
        check(Kind::Denied, Some(403), false);
        check(Kind::Sealed, Some(503), false);
        assert!(!VaultError::new(Kind::Unreachable, "x", "").outcome_unknown());
    }
}
