//! Why a login did not work, told apart by what a person has to do about it.
//!
//! It never repeats a value: of the server's words only the message is kept (never detail, hint, context or statement), and of a probe not even
//! that where the message may quote data.

use crate::tls;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What kind of failure it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureClass {
    /// Nobody answered: name not found, connection refused or cut, server starting up or shutting down.
    Unreachable,
    /// The server does not let this user in this way at all (`pg_hba.conf`, `NOLOGIN`), whatever the password. SQLSTATE 28000.
    Refused,
    /// The password is wrong, or the role does not exist, or its password is past `VALID UNTIL`: the server does not tell them apart. SQLSTATE 28P01.
    WrongPassword,
    /// SQLSTATE 3D000.
    NoSuchDatabase,
    /// No TLS offered, an untrusted or wrongly named certificate, or no channel binding where it is required.
    Tls,
    /// The login worked, but the role may not do what the probe does. SQLSTATE 42501.
    InsufficientPrivilege,
    /// SQLSTATE 53300: the server's or the role's connection limit.
    TooManyConnections,
    /// Not done within the limit. For a change this means unknown.
    Timeout,
    /// A pooler repeats a failure that it remembers (PgBouncer's `server_login_retry`); says nothing about the credential.
    PoolerCached,
    /// Every endpoint is a standby, where nothing can be changed.
    Standby,
    /// Anything else the server said, with its SQLSTATE, or `""` where there was none.
    Other(String),
}

/// A login, or what was done in it, failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFailure {
    /// The endpoint, as `host:port`.
    pub endpoint: String,
    /// What kind of failure.
    pub class: FailureClass,
    /// The server's or the system's own words, shortened; safe to show.
    pub detail: String,
}

impl fmt::Display for LoginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.class {
            FailureClass::Unreachable => "cannot be reached",
            FailureClass::Refused => "does not let this user in this way",
            FailureClass::WrongPassword => "refuses this user and password",
            FailureClass::NoSuchDatabase => "has no such database",
            FailureClass::Tls => "failed at TLS",
            FailureClass::InsufficientPrivilege => "denies this user the privilege",
            FailureClass::TooManyConnections => "has no connection left",
            FailureClass::Timeout => "did not answer in time",
            FailureClass::PoolerCached => "is a pooler that repeats an old failure",
            FailureClass::Standby => "is a standby",
            FailureClass::Other(_) => "answered with an error",
        };
        write!(f, "PostgreSQL at {} {what}: {}", self.endpoint, self.detail)
    }
}

impl std::error::Error for LoginFailure {}

impl LoginFailure {
    pub(super) fn new(endpoint: impl fmt::Display, class: FailureClass, detail: impl Into<String>) -> Self {
        Self { endpoint: endpoint.to_string(), class, detail: detail.into() }
    }

    pub(super) fn timeout(endpoint: impl fmt::Display, limit: Duration) -> Self {
        Self::new(endpoint, FailureClass::Timeout, format!("nothing after {} ms", limit.as_millis()))
    }

    /// As [`Self::from_driver`], for statements that are not ours: data exceptions and violated constraints quote the data they met.
    pub(super) fn from_probe(endpoint: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        let failure = Self::from_driver(endpoint, error);
        match &failure.class {
            FailureClass::Other(code) if code.starts_with("22") || code.starts_with("23") => {
                Self { detail: format!("SQLSTATE {code} (message withheld, it may quote data)"), ..failure }
            }
            _ => failure,
        }
    }

    /// Classifies what the driver reports.
    pub(super) fn from_driver(endpoint: impl fmt::Display, error: &tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            let (class, detail) = from_server(db.code(), db.message());
            return Self::new(endpoint, class, detail);
        }
        let (class, detail) = from_below(error);
        Self::new(endpoint, class, detail)
    }
}

/// By SQLSTATE (PostgreSQL manual, appendix A); the message decides only for poolers, whose codes are no help.
fn from_server(code: &SqlState, message: &str) -> (FailureClass, String) {
    let class = match code.code() {
        // PgBouncer's words, `objects.c` and `server.c`.
        _ if message.contains("server login has been failing") || message.contains("server_login_retry") => FailureClass::PoolerCached,
        "28P01" => FailureClass::WrongPassword,
        "28000" => FailureClass::Refused,
        "3D000" => FailureClass::NoSuchDatabase,
        "42501" => FailureClass::InsufficientPrivilege,
        "53300" => FailureClass::TooManyConnections,
        "57014" => FailureClass::Timeout,
        // Connection exceptions; starting up, shutting down, crashing.
        "57P01" | "57P02" | "57P03" => FailureClass::Unreachable,
        c if c.starts_with("08") && c != "08P01" => FailureClass::Unreachable,
        c => FailureClass::Other(c.to_owned()),
    };
    (class, shortened(message))
}

/// Failures below the protocol: sockets and TLS.
fn from_below(error: &tokio_postgres::Error) -> (FailureClass, String) {
    let mut said = error.to_string();
    // The driver does not let us see its kinds; these are its own fixed words (tokio-postgres 0.7, `error/mod.rs`).
    let at_tls = said.starts_with("error performing TLS handshake") || tls::is_at_fault(error);
    let mut socket = error.is_closed() || said.starts_with("error connecting to server");
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        socket |= cause.is::<io::Error>();
        source = cause.source();
    }
    let class = if at_tls || said.contains("channel binding") {
        FailureClass::Tls
    } else if socket {
        FailureClass::Unreachable
    } else {
        FailureClass::Other(String::new())
    };
    (class, shortened(&said))
}

/// One line of bounded length.
fn shortened(text: &str) -> String {
    const LIMIT: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_names_the_class() {
        let table = [
            ("28P01", "password authentication failed for user \"u\"", FailureClass::WrongPassword),
            ("28000", "no pg_hba.conf entry for host", FailureClass::Refused),
            ("3D000", "database \"x\" does not exist", FailureClass::NoSuchDatabase),
            ("42501", "permission denied for table courses", FailureClass::InsufficientPrivilege),
            ("53300", "sorry, too many clients already", FailureClass::TooManyConnections),
            ("57014", "canceling statement due to statement timeout", FailureClass::Timeout),
            ("57P03", "the database system is starting up", FailureClass::Unreachable),
            ("08006", "connection failure", FailureClass::Unreachable),
            ("42P01", "relation \"courses\" does not exist", FailureClass::Other("42P01".into())),
        ];
        for (code, message, class) in table {
            assert_eq!(from_server(&SqlState::from_code(code), message), (class, message.to_owned()), "{code}");
        }
    }

    /// PgBouncer repeats a failure that it remembers, and good passwords were called bad (pgbouncer#563, #486; supabase's pull request 50122).
    #[test]
    fn failure_14_what_a_pooler_remembers_is_no_wrong_password() {
        for message in [
            "server login has been failing, cached error: password authentication failed (server_login_retry)",
            "server login has been failing, try again later (server_login_retry)",
        ] {
            assert_eq!(from_server(&SqlState::from_code("08P01"), message), (FailureClass::PoolerCached, message.to_owned()));
        }
    }

    #[test]
    fn a_message_stays_one_short_line() {
        let (_, detail) = from_server(&SqlState::from_code("XX000"), &"a\nb\u{1b}".repeat(500));
        assert_eq!(detail.chars().count(), 300);
        assert!(!detail.contains(['\n', '\u{1b}']));
    }
}
