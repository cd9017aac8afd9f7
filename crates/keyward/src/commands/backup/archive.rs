//! A Raft snapshot as an archive: whether it is whole, and what it says of itself. Read as a stream; nothing but its small parts is kept.
//!
//! It is a gzip'd tar of `meta.json`, `state.bin`, `SHA256SUMS` (of those two) and `SHA256SUMS.sealed` (the same, encrypted by the Vault that
//! made it, so that only a Vault with the same key can look at it).

use super::state::{Entries, Split};
use flate2::bufread::GzDecoder;
use keyward_audit::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Write};

/// Larger ones of the small parts are none that a Vault makes.
const LARGEST_PART: u64 = 1 << 20;
const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";
const SEALED: &str = "SHA256SUMS.sealed";

/// What a whole archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// The place in the Raft log up to which it reaches: the later, the higher.
    pub index: u64,
    /// The election that place belongs to.
    pub term: u64,
    /// The bytes of Vault's data in it.
    pub state_bytes: u64,
    /// The bytes of the archive itself, compressed and not encrypted.
    pub packed_bytes: u64,
    /// The shares that open what is in it; `None` where it does not say so, and for a Vault that a service unseals.
    pub opens_with: Option<Split>,
}

/// Why an archive cannot serve.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Broken(String);

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Index")]
    index: u64,
    #[serde(rename = "Term")]
    term: u64,
}

/// Reads an archive to its end and checks all of it.
///
/// # Errors
/// What is missing or does not agree; the reader's own error as text.
pub fn check(source: impl Read) -> Result<Archive, Broken> {
    let mut packed = tar::Archive::new(GzDecoder::new(BufReader::new(Counted { inner: source, count: 0 })));
    let mut parts = Parts::default();
    let entries = packed.entries().map_err(|e| unreadable(&e))?;
    for entry in entries {
        let mut entry = entry.map_err(|e| unreadable(&e))?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        parts.take(name, &mut entry)?;
    }
    // The end of the compressed stream carries its checksum, and nothing may follow it.
    let mut gzip = packed.into_inner();
    io::copy(&mut gzip, &mut io::sink()).map_err(|e| unreadable(&e))?;
    let mut rest = gzip.into_inner();
    let more = io::copy(&mut rest, &mut io::sink()).map_err(|e| unreadable(&e))?;
    if more > 0 {
        return Err(Broken(format!("{more} bytes follow the end of the archive")));
    }
    parts.judge(rest.into_inner().count)
}

/// What was found so far.
#[derive(Default)]
struct Parts {
    digests: BTreeMap<String, String>,
    small: BTreeMap<String, Vec<u8>>,
    state_bytes: u64,
    entries: Entries,
}

impl Parts {
    fn take(&mut self, name: String, entry: &mut impl Read) -> Result<(), Broken> {
        if self.digests.contains_key(&name) {
            return Err(Broken(format!("{name} is in it twice")));
        }
        let mut hash = Sha256::new();
        if name == STATE {
            self.state_bytes = io::copy(entry, &mut Both(&mut hash, &mut self.entries)).map_err(|e| unreadable(&e))?;
        } else {
            let mut part = Vec::new();
            entry.take(LARGEST_PART + 1).read_to_end(&mut part).map_err(|e| unreadable(&e))?;
            if part.len() as u64 > LARGEST_PART {
                return Err(Broken(format!("{name} is far larger than a Vault makes it")));
            }
            hash.update(&part);
            self.small.insert(name.clone(), part);
        }
        self.digests.insert(name, hex(&hash.finalize()));
        Ok(())
    }

    fn judge(self, packed_bytes: u64) -> Result<Archive, Broken> {
        for name in [META, STATE, SUMS, SEALED] {
            if !self.digests.contains_key(name) {
                return Err(Broken(format!("{name} is missing: this is no whole snapshot of Vault")));
            }
        }
        let sums = self.small.get(SUMS).map(|text| String::from_utf8_lossy(text).into_owned()).unwrap_or_default();
        for name in [META, STATE] {
            let told = sums
                .lines()
                .filter_map(|line| line.split_once(char::is_whitespace))
                .find(|(_, of)| of.trim_start_matches([' ', '*']) == name);
            match told {
                Some((sum, _)) if self.digests.get(name).is_some_and(|found| found.eq_ignore_ascii_case(sum)) => {}
                Some(_) => return Err(Broken(format!("{name} is damaged: its checksum is another than {SUMS} says"))),
                None => return Err(Broken(format!("{SUMS} does not tell the checksum of {name}"))),
            }
        }
        let meta = self.small.get(META).map(Vec::as_slice).unwrap_or_default();
        let meta: Meta =
            serde_json::from_slice(meta).map_err(|_| Broken(format!("{META} does not say up to where the snapshot reaches")))?;
        let opens_with = self.entries.found();
        Ok(Archive { index: meta.index, term: meta.term, state_bytes: self.state_bytes, packed_bytes, opens_with })
    }
}

/// Gives everything to both.
struct Both<'a, A, B>(&'a mut A, &'a mut B);

impl<A: Write, B: Write> Write for Both<'_, A, B> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unreadable(error: &io::Error) -> Broken {
    Broken(format!("the archive cannot be read to its end: {error}; it is cut off or damaged: take another one"))
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
pub(super) mod tests {
    use super::super::state::tests::state;
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    /// An archive of these parts, as Vault packs it.
    pub fn packed(parts: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in parts {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    const TOLD: &[u8] = br#"{"Version":1,"ID":"bolt-snapshot","Index":41,"Term":3}"#;

    /// A whole one.
    pub fn whole(state: &[u8]) -> Vec<u8> {
        let sums = format!("{}  meta.json\n{}  state.bin\n", hex(&Sha256::digest(TOLD)), hex(&Sha256::digest(state)));
        packed(&[(META, TOLD), (STATE, state), (SUMS, sums.as_bytes()), (SEALED, b"sealed")])
    }

    #[test]
    fn a_whole_archive_says_up_to_where_it_reaches() {
        let bytes = whole(b"the state");
        let archive = check(bytes.as_slice()).unwrap();
        let expected = Archive { index: 41, term: 3, state_bytes: 9, packed_bytes: bytes.len() as u64, opens_with: None };
        assert_eq!(archive, expected);
        let sealed = state(r#"{"type":"shamir","secret_shares":5,"secret_threshold":3}"#);
        assert_eq!(check(whole(&sealed).as_slice()).unwrap().opens_with, Some(Split { shares: 5, threshold: 3 }));
    }

    #[test]
    fn one_that_ends_early_anywhere_is_refused() {
        let bytes = whole(&[7; 5000]);
        for end in 0..bytes.len() {
            assert!(check(bytes.get(..end).unwrap()).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn one_with_a_flipped_bit_anywhere_is_refused_or_says_the_same() {
        let bytes = whole(b"the state");
        let said = check(bytes.as_slice()).unwrap();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            *damaged.get_mut(at).unwrap() ^= 0x10;
            // Some bits of a gzip header mean nothing.
            assert!(check(damaged.as_slice()).map_or(true, |archive| archive == said), "at {at}");
        }
    }

    #[test]
    fn what_does_not_agree_is_named() {
        let says = |parts: &[(&str, &[u8])], what: &str| {
            let error = check(packed(parts).as_slice()).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        };
        let sums = format!("{}  meta.json\n{}  state.bin\n", hex(&Sha256::digest(TOLD)), hex(&Sha256::digest(b"other")));
        says(&[(META, TOLD), (STATE, b"x"), (SUMS, sums.as_bytes()), (SEALED, b"s")], "state.bin is damaged");
        says(&[(META, TOLD), (STATE, b"x"), (SUMS, b"")], "SHA256SUMS.sealed is missing");
        says(&[(META, TOLD), (STATE, b"x"), (SUMS, b""), (SEALED, b"s")], "does not tell the checksum of meta.json");
        says(&[(META, TOLD), (META, TOLD)], "twice");
        let mut longer = whole(b"x");
        longer.extend_from_slice(b"tail");
        assert!(check(longer.as_slice()).unwrap_err().to_string().contains("4 bytes follow"));
    }
}
