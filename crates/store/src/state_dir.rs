//! The state folder of one daemon: locked while it runs, with an identity that outlives it.
//!
//! It never waits for the lock: two daemons on one folder are a mistake that is told at once. The lock is the kernel's (`flock`), so it
//! ends with the process however that ends; the file stays.

use crate::error::StoreError;
use rustix::fs::{FlockOperation, flock};
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who this daemon is, in records, alerts and logs: 32 hexadecimal digits, random, kept in the file `instance`.
/// Whoever holds the folder's lock owns it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct InstanceId(String);

impl InstanceId {
    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim_end();
        let is_ours = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        is_ours.then(|| Self(text.to_owned()))
    }

    fn from_bytes(bytes: [u8; 16]) -> Self {
        use fmt::Write as _;
        Self(bytes.iter().fold(String::with_capacity(32), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A locked state folder. The lock ends when this is dropped.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    instance: InstanceId,
    _lock: File,
}

impl StateDir {
    /// Creates the folder (mode 0700) if it is missing, locks it, and reads or makes its identity.
    ///
    /// A damaged identity is replaced: the new one merely waits for the old one's leases to end.
    pub fn lock(path: &Path) -> Result<Self, StoreError> {
        let io = |what, path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { what, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("creating the state folder", path))?;
        let lock_path = path.join("lock");
        let mut lock = private(&lock_path).map_err(io("opening the lock file", &lock_path))?;
        if let Err(error) = flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io("locking", &lock_path)(error.into()));
            }
            return Err(StoreError::Locked { path: path.to_owned(), holder: holder(&mut lock) });
        }
        lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id())).map_err(io("writing the lock file", &lock_path))?;
        let instance = identity(path).map_err(io("reading or making the identity in", path))?;
        Ok(Self { path: path.to_owned(), instance, _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who this daemon is.
    pub fn instance(&self) -> &InstanceId {
        &self.instance
    }
}

fn private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The holder's process, as it wrote itself into the lock file; empty if that cannot be read.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.take(20).read_to_string(&mut text) {
        Ok(_) => text.trim().parse::<u32>().map(|pid| format!(" (process {pid})")).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

fn identity(folder: &Path) -> std::io::Result<InstanceId> {
    let path = folder.join("instance");
    match std::fs::read(&path) {
        Ok(bytes) => {
            if let Some(id) = std::str::from_utf8(&bytes).ok().and_then(InstanceId::parse) {
                return Ok(id);
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    let id = InstanceId::from_bytes(bytes);
    write_whole(folder, &path, id.as_str())?;
    Ok(id)
}

/// Writes a small file so that after a crash either the old or the new content is there.
fn write_whole(folder: &Path, path: &Path, text: &str) -> std::io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = private(&fresh)?;
    file.set_len(0)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_daemon_at_a_time_and_the_second_is_told_who_the_first_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let first = StateDir::lock(&path).unwrap();
        let error = StateDir::lock(&path).expect_err("locked").to_string();
        assert!(error.contains(&format!("another keyward (process {})", std::process::id())), "{error}");
        let id = first.instance().clone();
        drop(first);
        let again = StateDir::lock(&path).unwrap();
        assert_eq!(again.instance(), &id, "the identity outlives the daemon");
        for name in ["lock", "instance"] {
            let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name}");
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_identity_is_replaced_and_folders_differ() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("instance"), [0xff, 0x00]).unwrap();
        let first = StateDir::lock(folder.path()).unwrap().instance().clone();
        assert_eq!(first.as_str().len(), 32);
        assert_eq!(StateDir::lock(folder.path()).unwrap().instance(), &first);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(StateDir::lock(other.path()).unwrap().instance(), &first);
    }
}
