//! Secret values: the one type that may hold them, and the generators that make them.
//!
//! It never does I/O (but for asking the operating system for random bytes), and the type never shows what it holds:
//! no `Display`, `Clone`, `Serialize` or `PartialEq`, and a `Debug` that prints its name only.
//!
//! **Invariant:** whoever wants the text has to write [`Secret::expose`], which can be searched for.

mod fields;
mod generate;
pub mod keypair;
mod template;

pub use fields::{Fields, FieldsError, canonical_json};
pub use generate::{Generator, GeneratorError, Source, SystemRandom};
pub use template::{Template, TemplateError, Values};

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A secret text, wiped from memory when dropped.
///
/// Only our own copies are wiped: what an HTTP or database library buffered is beyond reach.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as a secret. The caller's own copies, if any, are the caller's to wipe.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself. Every call is a place where a value may leave its type; keep them few.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A second copy, wiped by itself. Spelled out, so that copies do not happen by accident.
    pub fn duplicate(&self) -> Self {
        Self(Zeroizing::new(self.0.as_str().to_owned()))
    }

    /// Whether both hold the same text. The time it takes tells nothing but the lengths.
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_name_only() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret");
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(Secret)");
    }

    #[test]
    fn comparison_is_by_text() {
        assert!(Secret::new("a").same_as(&Secret::new("a")));
        assert!(!Secret::new("a").same_as(&Secret::new("b")));
        assert!(!Secret::new("a").same_as(&Secret::new("aa")));
    }
}
