//! How the book and the outbox are written down: JSON with a format number in front.
//!
//! It never guesses: a newer format is refused by its number, so that an older Keyward cannot lose what a newer one knew.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The format written today. Version N reads N and N-1 (there is no older one yet).
const FORMAT: u32 = 1;

/// Why stored alerts could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Written by a newer Keyward.
    #[error(
        "stored {what} has format {found}, this Keyward knows up to {FORMAT}: run the newer Keyward, or remove the store to start anew"
    )]
    Newer {
        /// What was being read.
        what: &'static str,
        /// The format number found.
        found: u32,
    },
    /// Not what we wrote.
    #[error("stored {what} cannot be read")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The parser's complaint.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: u32,
    body: T,
}

pub(crate) fn write<T: Serialize>(body: &T) -> String {
    // Proof that this cannot fail: the types hold no maps with other than string keys and no serializer of their own.
    serde_json::to_string(&Envelope { format: FORMAT, body }).unwrap_or_default()
}

pub(crate) fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoredError> {
    let malformed = |source| StoredError::Malformed { what, source };
    let head: Head = serde_json::from_str(text).map_err(malformed)?;
    if head.format > FORMAT {
        return Err(StoredError::Newer { what, found: head.format });
    }
    serde_json::from_str::<Envelope<T>>(text).map(|envelope| envelope.body).map_err(malformed)
}
