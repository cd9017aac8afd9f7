//! A secret as it stands in Vault, and the words for changing it.

use crate::{Error, Fields, Secret};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// One version of a secret.
#[derive(Debug)]
pub struct Document {
    /// Mount first.
    pub path: String,
    /// The version, to base a write on.
    pub version: u64,
    /// The fields, each a JSON value.
    pub fields: Fields,
    /// The custom metadata of the path.
    pub notes: BTreeMap<String, String>,
    /// When this version was written.
    pub written: Option<Timestamp>,
}

impl Document {
    /// A field that is a text.
    ///
    /// # Errors
    /// [`Error::NoField`], which names the fields that there are.
    pub fn field(&self, name: &str) -> Result<Secret, Error> {
        self.fields.text(name).ok_or_else(|| Error::NoField {
            path: self.path.clone(),
            field: name.to_owned(),
            known: self.fields.names().collect::<Vec<_>>().join(", "),
        })
    }
}

/// What a write is based on; there is no write that is based on nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Based {
    /// There must never have been anything.
    New,
    /// This version must still be the newest.
    On(u64),
}

impl Based {
    pub(crate) fn cas(self) -> u64 {
        match self {
            Self::New => 0,
            Self::On(version) => version,
        }
    }
}

/// What is to go, spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delete {
    /// The newest version; it can be had back by [`crate::Client::undelete`].
    Newest,
    /// These versions; they can be had back.
    Versions(Vec<u64>),
    /// The content of these versions, for ever; their numbers stay taken.
    DestroyForEver(Vec<u64>),
    /// Every version, the history and the notes, for ever. Afterwards version numbers begin again, so a writer that waited meanwhile with an
    /// old number may then succeed: only for paths that nobody uses any more.
    EverythingForEver,
}
