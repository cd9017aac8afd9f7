//! A certificate and its key as two files that belong together.

use super::make::Leaf;
use crate::commands::by_hand::Declined;
use crate::commands::init::files::{beside, remove, write_private};
use anyhow::{Context, Result};
use keyward_secret::Secret;
use std::fs;
use std::path::{Path, PathBuf};

/// The two files of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// `NAME.pem`.
    pub certificate: PathBuf,
    /// `NAME.key`, mode 0600.
    pub key: PathBuf,
}

impl Pair {
    /// Those of a server in a folder.
    pub fn of(folder: &Path, name: &str) -> Self {
        Self { certificate: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}.key")) }
    }

    /// Refuses to write over a certificate. A key without one is what an interrupted run left, and nothing has been signed for it.
    ///
    /// # Errors
    /// It exists.
    pub fn refuse_if_there(&self) -> Result<()> {
        if self.certificate.exists() {
            let text = format!(
                "{} exists already; `keyward tls renew` makes the next one, and nothing is written over",
                self.certificate.display()
            );
            return Err(Declined::failed(text).into());
        }
        Ok(())
    }

    /// Writes both, the certificate last: where it stands, its key does.
    ///
    /// # Errors
    /// The file system's.
    pub fn write_new(&self, leaf: &Leaf) -> Result<()> {
        write_private(&self.key, &leaf.key)?;
        write_private(&self.certificate, &Secret::new(leaf.pem.trim_end()))
    }

    /// Puts a new pair in the place of this one, which is kept beside it until [`Self::settle`] or [`Self::put_back`].
    ///
    /// A server reads the two only when it is told, so that nobody sees the moment between the renames; one that is started just then
    /// finds a key that does not fit, and says so.
    ///
    /// # Errors
    /// The file system's; the old pair stands then.
    pub fn replace(&self, leaf: &Leaf) -> Result<()> {
        for path in [&self.key, &self.certificate] {
            let old = beside(path, ".old");
            remove(&old)?;
            fs::hard_link(path, &old).with_context(|| format!("cannot keep {}", old.display()))?;
        }
        let written =
            write_private(&self.key, &leaf.key).and_then(|()| write_private(&self.certificate, &Secret::new(leaf.pem.trim_end())));
        if written.is_err() {
            self.put_back()?;
        }
        written
    }

    /// The old pair stands again.
    ///
    /// # Errors
    /// The file system's.
    pub fn put_back(&self) -> Result<()> {
        for path in [&self.key, &self.certificate] {
            fs::rename(beside(path, ".old"), path).with_context(|| format!("cannot put {} back", path.display()))?;
        }
        Ok(())
    }

    /// The new pair is in use: the old one goes.
    ///
    /// # Errors
    /// The file system's.
    pub fn settle(&self) -> Result<()> {
        [&self.key, &self.certificate].into_iter().try_for_each(|path| remove(&beside(path, ".old")))
    }
}
