//! A backup as it stands on the disk, in clear or encrypted: opened, read as a stream, decrypted on the way.

use super::archive::{self, Archive};
use crate::commands::by_hand::Declined;
use age::x25519::Identity;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use zeroize::Zeroizing;

/// How every age file begins.
const MAGIC: &[u8] = b"age-encryption.org/";
/// An identity file larger than this holds no identities.
const LARGEST: u64 = 1 << 20;

/// The secret keys that may open a backup.
#[derive(Default)]
pub struct Identities(Vec<Identity>);

impl Identities {
    /// Those of a file as `age-keygen` writes it: one a line, and comments.
    ///
    /// # Errors
    /// The file cannot be read, or a line is no identity; which line is said, and never what stands there.
    pub fn read(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::default()) };
        let mut text = Zeroizing::new(String::with_capacity(4096));
        let file = File::open(path).with_context(|| format!("cannot open the identities {}", path.display()))?;
        file.take(LARGEST).read_to_string(&mut text).with_context(|| format!("cannot read the identities {}", path.display()))?;
        let mut found = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let identity = line.parse().map_err(|_| {
                Declined::data(format!("{}:{}: this is no identity of age, which begins with AGE-SECRET-KEY-1", path.display(), number + 1))
            })?;
            found.push(identity);
        }
        if found.is_empty() {
            return Err(Declined::data(format!("{} holds no identity of age", path.display())).into());
        }
        Ok(Self(found))
    }

    #[cfg(test)]
    pub fn of(identities: Vec<Identity>) -> Self {
        Self(identities)
    }
}

/// Opens a backup for reading in clear.
///
/// # Errors
/// It cannot be opened, or is encrypted to somebody else.
pub fn open(path: &Path, identities: &Identities) -> Result<Box<dyn Read + Send>> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut file = BufReader::with_capacity(1 << 16, file);
    let begin = file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
    if !begin.starts_with(MAGIC) {
        return Ok(Box::new(file));
    }
    if identities.0.is_empty() {
        return Err(Declined::usage(format!("{} is encrypted: say --identity FILE, the file with its secret key", path.display())).into());
    }
    let refused = |why: String| Declined::data(format!("{} cannot be decrypted: {why}", path.display()));
    let decryptor = age::Decryptor::new_buffered(file).map_err(|e| refused(e.to_string()))?;
    let all = identities.0.iter().map(|identity| identity as &dyn age::Identity);
    let clear = decryptor.decrypt(all).map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => refused("none of the identities is one that it was encrypted to".to_owned()),
        other => refused(other.to_string()),
    })?;
    Ok(Box::new(clear))
}

/// Opens a backup and checks all of it. Blocks.
///
/// # Errors
/// It cannot be opened, or is not whole.
pub fn check(path: &Path, identities: &Identities) -> Result<Archive> {
    let clear = open(path, identities)?;
    archive::check(clear).map_err(|broken| Declined::data(format!("{}: {broken}", path.display())).into())
}
