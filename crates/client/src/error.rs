//! What can go wrong. Holds paths and names, never a value.

use keyward_vault::{Kind, VaultError};

/// A failed call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Vault refused, failed, or could not be asked.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Nothing stands at the path.
    #[error("there is no secret at {path}")]
    NoSecret {
        /// Mount first.
        path: String,
    },
    /// The newest version was deleted or destroyed.
    #[error("the newest version of {path} was deleted")]
    Deleted {
        /// Mount first.
        path: String,
    },
    /// The secret has no such field, or it is no text.
    #[error("{path} has no text in the field {field}; its fields are {known}")]
    NoField {
        /// Mount first.
        path: String,
        /// The field.
        field: String,
        /// The fields that it has, by name.
        known: String,
    },
    /// Check-and-set: somebody else wrote meanwhile, and nothing was written.
    #[error("{path} is not at the version that the write was based on: nothing was written; read it again")]
    Changed {
        /// Mount first.
        path: String,
    },
    /// The secret was written, and its notes were not.
    #[error("version {version} of {path} was written, and its notes were not: {why}")]
    Unnoted {
        /// Mount first.
        path: String,
        /// The version that was written.
        version: u64,
        /// Why the notes were not.
        why: Box<Error>,
    },
    /// The mount is no KV version 2.
    #[error("{path} is not below a KV version 2 mount")]
    NotVersioned {
        /// As it was named.
        path: String,
    },
    /// The settings cannot serve.
    #[error("{0}")]
    Settings(String),
    /// A template for a URL cannot serve.
    #[error("{0}")]
    Template(String),
    /// Keyward's daemon did not do it.
    #[error("{0}")]
    Daemon(String),
    /// What renews it has ended.
    #[error("this handle was closed")]
    Closed,
}

impl From<keyward_secret::TemplateError> for Error {
    fn from(error: keyward_secret::TemplateError) -> Self {
        Self::Template(error.to_string())
    }
}

impl Error {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Vault(error) if error.retry())
    }

    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Vault(error) if error.kind == Kind::Denied)
    }
}
