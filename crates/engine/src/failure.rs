//! Failures as the engine tells them apart: whether trying again helps, and what a person should read.

use keyward_rotation::saga::Event;
use std::fmt;

/// What went wrong, coarsely: for metrics, and to say what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// No connection, or it broke.
    Unreachable,
    /// No answer in time: it may have happened.
    Timeout,
    /// Vault is sealed, or has no active node.
    Sealed,
    /// The token lacks a capability, or is dead.
    Denied,
    /// The thing does not exist.
    NotFound,
    /// The password was refused.
    WrongPassword,
    /// The login was refused before any password (`pg_hba.conf`).
    Refused,
    /// The database does not exist.
    NoSuchDatabase,
    /// TLS did not verify.
    Tls,
    /// Logged in, but may not do what its consumer does.
    InsufficientPrivilege,
    /// Any password is let in: nothing can be proved.
    TrustsAnyone,
    /// Somebody else's value, role or lock.
    Foreign,
    /// Still in use.
    InUse,
    /// What was read is not what was expected.
    Invalid,
    /// Anything else.
    Other,
}

impl Class {
    /// Every class, for metrics that exist from the start.
    pub const ALL: [Self; 15] = [
        Self::Unreachable,
        Self::Timeout,
        Self::Sealed,
        Self::Denied,
        Self::NotFound,
        Self::WrongPassword,
        Self::Refused,
        Self::NoSuchDatabase,
        Self::Tls,
        Self::InsufficientPrivilege,
        Self::TrustsAnyone,
        Self::Foreign,
        Self::InUse,
        Self::Invalid,
        Self::Other,
    ];

    /// Whether something could not be asked at all, which passes by itself and says nothing of a value.
    pub const fn is_outage(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Sealed)
    }

    /// The name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Sealed => "sealed",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::WrongPassword => "wrong_password",
            Self::Refused => "refused",
            Self::NoSuchDatabase => "no_such_database",
            Self::Tls => "tls",
            Self::InsufficientPrivilege => "insufficient_privilege",
            Self::TrustsAnyone => "trusts_anyone",
            Self::Foreign => "foreign",
            Self::InUse => "in_use",
            Self::Invalid => "invalid",
            Self::Other => "other",
        }
    }
}

/// One failure. Its text says what was attempted and what came back, and never holds a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub class: Class,
    /// Whether trying again can help.
    pub again: bool,
    /// Whether it may have happened all the same.
    pub unknown: bool,
    /// For people.
    pub text: String,
}

impl Failure {
    /// A failure that trying again does not mend.
    pub fn lasting(class: Class, text: impl Into<String>) -> Self {
        Self { class, again: false, unknown: false, text: text.into() }
    }

    /// A failure that may pass.
    pub fn passing(class: Class, text: impl Into<String>) -> Self {
        Self { class, again: true, unknown: false, text: text.into() }
    }

    /// The answer was lost: it may have happened.
    pub fn unknown(class: Class, text: impl Into<String>) -> Self {
        Self { class, again: true, unknown: true, text: text.into() }
    }

    /// The same failure with what was attempted in front.
    #[must_use]
    pub fn during(mut self, what: &str) -> Self {
        self.text = format!("{what}: {}", self.text);
        self
    }

    /// What the driving function is told of it.
    pub fn event(&self) -> Event {
        if self.unknown { Event::Unknown } else { Event::Failed { again: self.again } }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.text, self.class.name())
    }
}

impl std::error::Error for Failure {}
