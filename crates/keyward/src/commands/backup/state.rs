//! How many shares open the Vault that a snapshot is of. That stands in its data in clear, because a sealed Vault has to know it.
//!
//! `state.bin` is one entry after the other: its length, then a protobuf message with the key (field 1) and the value (field 2). Where it is
//! anything else, nothing is said: this is a note for people, and no check.

use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// Under this key a Vault keeps it.
const KEY: &[u8] = b"core/seal-config";
/// A larger entry is another one, even with a PGP key for each of 255 shares.
const LARGEST: u64 = 1 << 21;
/// No length has more bytes.
const LONGEST_LENGTH: usize = 10;
const KEY_FIELD: u8 = 0x0a;
const VALUE_FIELD: u8 = 0x12;

/// Into how many shares a key is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Split {
    /// So many there are.
    pub shares: u32,
    /// So many of them open it.
    pub threshold: u32,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} share{}", self.threshold, self.shares, if self.shares == 1 { "" } else { "s" })
    }
}

#[derive(Deserialize)]
struct SealConfig {
    #[serde(rename = "type", default)]
    kind: String,
    secret_shares: u32,
    secret_threshold: u32,
}

/// Looks through the entries as they come. Holds one entry of bounded size.
#[derive(Default)]
pub struct Entries {
    /// The bytes of a length that has not ended.
    length: Vec<u8>,
    /// How much of the entry is to come.
    left: u64,
    /// The entry so far, if it may be the one.
    entry: Vec<u8>,
    is_kept: bool,
    is_over: bool,
    found: Option<Split>,
}

impl Entries {
    /// What was found; nothing for a Vault that a service unseals.
    pub fn found(&self) -> Option<Split> {
        self.found
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.is_over {
                return;
            }
            if self.left == 0 {
                self.take_length(*first);
                bytes = rest;
                continue;
            }
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let Some((now, later)) = bytes.split_at_checked(count) else { return };
            if self.is_kept {
                self.entry.extend_from_slice(now);
            }
            self.left -= count as u64;
            bytes = later;
            if self.left == 0 && self.is_kept {
                self.look();
            }
        }
    }

    fn take_length(&mut self, byte: u8) {
        self.length.push(byte);
        if byte & 0x80 != 0 {
            self.is_over = self.length.len() >= LONGEST_LENGTH;
            return;
        }
        match number(&self.length) {
            Some((length, _)) => {
                self.left = length;
                self.is_kept = length <= LARGEST;
                self.entry.clear();
                self.length.clear();
            }
            None => self.is_over = true,
        }
    }

    fn look(&mut self) {
        let Some((key, rest)) = field(&self.entry, KEY_FIELD) else {
            self.is_over = true;
            return;
        };
        if key == KEY {
            self.is_over = true;
            let config = field(rest, VALUE_FIELD).and_then(|(value, _)| serde_json::from_slice::<SealConfig>(value).ok());
            let config = config.filter(|config| config.kind.is_empty() || config.kind == "shamir");
            self.found = config.map(|config| Split { shares: config.secret_shares, threshold: config.secret_threshold });
        }
    }
}

impl Write for Entries {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The field that the bytes begin with, if it is this one, and what follows it.
fn field(bytes: &[u8], which: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = bytes.split_first().filter(|(first, _)| **first == which)?;
    let (length, rest) = number(rest)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

/// A number in pieces of seven bits, the lowest first, and what follows it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (place, byte) in (0_u32..).zip(bytes.iter().take(LONGEST_LENGTH)) {
        number |= u64::from(byte & 0x7f).checked_shl(7 * place)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(place as usize + 1..)?));
        }
    }
    None
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
pub(super) mod tests {
    use super::*;

    fn numbered(length: usize) -> Vec<u8> {
        let (mut left, mut bytes) = (length, Vec::new());
        while left >= 0x80 {
            bytes.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        bytes.push(u8::try_from(left).unwrap());
        bytes
    }

    /// An entry as Vault writes it.
    fn entry(key: &[u8], value: &[u8]) -> Vec<u8> {
        let parts = [&[KEY_FIELD], numbered(key.len()).as_slice(), key, &[VALUE_FIELD], numbered(value.len()).as_slice(), value].concat();
        [numbered(parts.len()), parts].concat()
    }

    /// A state with some entries around the one that is looked for.
    pub fn state(seal_config: &str) -> Vec<u8> {
        let config = entry(KEY, seal_config.as_bytes());
        [entry(b"core/audit", &[0x80; 300]), entry(b"core/wrapping", &[]), config, entry(b"sys/policy/a", &[7; 9_000])].concat()
    }

    fn found(state: &[u8], piece: usize) -> Option<Split> {
        let mut entries = Entries::default();
        for bytes in state.chunks(piece) {
            entries.write_all(bytes).unwrap();
        }
        entries.found()
    }

    #[test]
    fn the_numbers_are_found_however_the_bytes_come() {
        let state = state(r#"{"type":"shamir","secret_shares":5,"secret_threshold":3,"pgp_keys":null}"#);
        for piece in [1, 2, 7, 127, 128, 8192, 1 << 20] {
            assert_eq!(found(&state, piece), Some(Split { shares: 5, threshold: 3 }), "in pieces of {piece}");
        }
    }

    #[test]
    fn nothing_is_said_of_what_has_no_shares_or_is_no_state() {
        assert_eq!(found(&state(r#"{"type":"awskms","secret_shares":1,"secret_threshold":1}"#), 100), None);
        assert_eq!(found(&state("no JSON"), 100), None);
        let whole = state(r#"{"type":"shamir","secret_shares":5,"secret_threshold":3}"#);
        let before = entry(b"core/audit", &[0x80; 300]).len();
        assert_eq!(found(whole.get(..before + 40).unwrap(), 100), None);
        for other in [&b""[..], b"the state", &[0xff; 4000], &[0; 4000]] {
            assert_eq!(found(other, 100), None);
        }
    }

    #[test]
    fn numbers_are_told_in_words() {
        assert_eq!(Split { shares: 5, threshold: 3 }.to_string(), "3 of 5 shares");
        assert_eq!(Split { shares: 1, threshold: 1 }.to_string(), "1 of 1 share");
    }
}
