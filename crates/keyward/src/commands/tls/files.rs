//! A certificate and its key as two files that belong together.

use super::make::Leaf;
use super::see::belong_together;
use crate::commands::by_hand::Declined;
use crate::commands::init::files::{beside, remove, rewrite, write_private};
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

    /// Takes up what a run left that was killed between the two files of a pair: the one of before is put back, and both fit again. Whether
    /// there was anything to mend. A key that cannot be read here is somebody else's matter.
    ///
    /// # Errors
    /// The two do not belong together and nothing is left of before, or the file system's.
    pub fn mend(&self) -> Result<bool> {
        if belong_together(&self.certificate, &self.key) != Some(false) {
            return Ok(false);
        }
        let (certificate, key) = (beside(&self.certificate, ".old"), beside(&self.key, ".old"));
        // Each of these is one rename, behind which the pair is whole: whoever is killed here, too, is taken up again.
        let (old, path) = if belong_together(&self.certificate, &key) == Some(true) {
            (key, &self.key)
        } else if belong_together(&certificate, &self.key) == Some(true) {
            (certificate, &self.certificate)
        } else {
            let text = format!(
                "{} and {} do not belong together, and nothing is left of the pair of before; put one there that does, or move both away \
                 and issue a new one",
                self.certificate.display(),
                self.key.display()
            );
            return Err(Declined::data(text).into());
        };
        fs::rename(&old, path).with_context(|| format!("cannot put {} back", path.display()))?;
        Ok(true)
    }

    /// Puts a new pair in the place of this one, which is kept beside it until [`Self::settle`] or [`Self::put_back`]. Whoever could read
    /// the old files can read the new ones: the server may be another user than this.
    ///
    /// A server reads the two only when it is told, so that nobody sees the moment between the renames; one that is started just then
    /// finds a key that does not fit, and says so. If this run is killed there, [`Self::mend`] puts it right.
    ///
    /// Invariant: the two belong together before, or what is kept would be no pair to put back.
    ///
    /// # Errors
    /// The file system's; the old pair stands then.
    pub fn replace(&self, leaf: &Leaf) -> Result<()> {
        for path in [&self.key, &self.certificate] {
            let old = beside(path, ".old");
            remove(&old)?;
            fs::hard_link(path, &old).with_context(|| format!("cannot keep {}", old.display()))?;
        }
        let written = rewrite(&self.key, &leaf.key).and_then(|()| rewrite(&self.certificate, &Secret::new(leaf.pem.trim_end())));
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

#[cfg(test)]
mod tests {
    use super::super::make::{self, Names};
    use super::*;
    use jiff::Timestamp;

    /// A pair in a folder, and another for the same names.
    fn pair(folder: &Path) -> Result<(Pair, Leaf)> {
        let (authority, _) = make::authority(folder, Timestamp::now())?;
        let names = Names::of("vault-1", &[], &[])?;
        let (pair, now) = (Pair::of(folder, "vault-1"), Timestamp::now());
        pair.write_new(&authority.sign(&names, now, 30)?)?;
        Ok((pair, authority.sign(&names, now, 30)?))
    }

    /// A run that is killed behind `steps` changes of the files, and then another that looks. What it found, and whether the pair is whole.
    fn killed_behind(steps: usize) -> Result<(bool, bool)> {
        let dir = tempfile::tempdir()?;
        let (pair, next) = pair(dir.path())?;
        let (key, certificate) = (&pair.key, &pair.certificate);
        let (old_key, old_certificate) = (beside(key, ".old"), beside(certificate, ".old"));
        let changes: [&dyn Fn() -> Result<()>; 6] = [
            &|| Ok(fs::hard_link(key, &old_key)?),
            &|| Ok(fs::hard_link(certificate, &old_certificate)?),
            &|| write_private(key, &next.key),
            &|| write_private(certificate, &Secret::new(next.pem.trim_end())),
            // It was not served: the way back.
            &|| Ok(fs::rename(&old_key, key)?),
            &|| Ok(fs::rename(&old_certificate, certificate)?),
        ];
        changes.iter().take(steps).try_for_each(|change| change())?;
        let mended = pair.mend()?;
        // The next run goes on from there, and has a whole pair to put back.
        pair.replace(&next)?;
        pair.put_back()?;
        Ok((mended, belong_together(certificate, key) == Some(true)))
    }

    #[test]
    fn a_run_that_is_killed_between_the_files_is_taken_up() {
        for (steps, mended) in [(0, false), (1, false), (2, false), (3, true), (4, false), (5, true), (6, false)] {
            assert_eq!(killed_behind(steps).map_err(|e| e.to_string()), Ok((mended, true)), "{steps}");
        }
    }

    #[test]
    fn two_that_never_belonged_together_are_refused() -> Result<()> {
        let dir = tempfile::tempdir()?;
        let (pair, next) = pair(dir.path())?;
        write_private(&pair.key, &next.key)?;
        assert!(pair.mend().is_err_and(|error| error.to_string().contains("do not belong together")));
        Ok(())
    }
}
