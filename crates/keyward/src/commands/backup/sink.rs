//! Where a snapshot goes while it comes: into a file under another name, checked and, where wanted, encrypted on the way. Nothing is held in
//! memory but the piece at hand.
//!
//! **Invariant:** a file stands under its final name only when its archive was whole, everything was written to the disk, and reading it back
//! gave what was written. Whatever goes wrong before removes the other one.

use super::archive::{self, Archive};
use super::kept::PARTIAL;
use crate::commands::init::files::{beside, remove};
use age::stream::StreamWriter;
use age::x25519::Recipient;
use anyhow::{Context, Result, bail};
use keyward_audit::hex;
use rustix::fs::RenameFlags;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::Receiver;

/// A part of the stream.
pub enum Piece {
    /// The next bytes.
    Data(bytes::Bytes),
    /// There are no more: without it the stream was broken off.
    End,
}

/// What stands on the disk now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it says of itself.
    pub archive: Archive,
    /// The file's bytes.
    pub bytes: u64,
    /// The file's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Takes a stream to its end and gives the file its name. Blocks.
///
/// # Errors
/// The stream was broken off, what came is no whole archive, the disk refused, or the name is taken; nothing is left behind then.
pub fn receive(pieces: Receiver<Piece>, path: &Path, recipients: &[Recipient]) -> Result<Written> {
    let partial = Partial::create(path)?;
    let out = Out::new(Hashed { inner: partial.file.try_clone()?, hash: Sha256::new(), count: 0 }, recipients)?;
    let mut tee = Tee { pieces, at_hand: bytes::Bytes::new(), is_over: false, out, refused: None };
    let checked = archive::check(&mut tee);
    let unwritten = || format!("cannot write {}", partial.path.display());
    // The archive may be whole, and the disk full.
    if let Some(error) = tee.refused {
        return Err(error).with_context(unwritten);
    }
    let archive = checked?;
    let written = tee.out.finish().with_context(unwritten)?;
    partial.file.sync_all().with_context(unwritten)?;
    let (bytes, sha256) = (written.count, hex(&written.hash.finalize()));
    if read_back(&partial.path)? != sha256 {
        bail!("reading {} back gave something else than was written: do not trust this disk", partial.path.display());
    }
    partial.finish(path)?;
    Ok(Written { archive, bytes, sha256 })
}

/// The digest of a file as it stands on the disk.
///
/// # Errors
/// It cannot be read.
pub fn read_back(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    io::copy(&mut file, &mut hash).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&hash.finalize()))
}

/// A file that is not whole yet; removed when it is let go.
struct Partial {
    path: PathBuf,
    file: File,
    is_done: bool,
}

impl Partial {
    fn create(path: &Path) -> Result<Self> {
        if path.symlink_metadata().is_ok() {
            bail!("{} exists already; backups are never written over", path.display());
        }
        let partial = beside(path, PARTIAL);
        // One that was killed may have left it behind.
        remove(&partial)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.with_context(|| format!("cannot make {}", partial.display()))?;
        Ok(Self { path: partial, file, is_done: false })
    }

    fn finish(mut self, path: &Path) -> Result<()> {
        let renamed = rustix::fs::renameat_with(rustix::fs::CWD, &self.path, rustix::fs::CWD, path, RenameFlags::NOREPLACE);
        renamed.map_err(io::Error::from).with_context(|| format!("cannot name {}", path.display()))?;
        self.is_done = true;
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(|| format!("cannot write {}", folder.display()))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_done {
            // What cannot be removed is found by the next backup.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Gives on what comes, and writes it out as it passes.
struct Tee {
    pieces: Receiver<Piece>,
    at_hand: bytes::Bytes,
    is_over: bool,
    out: Out,
    /// Why it could not be written out.
    refused: Option<io::Error>,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at_hand.is_empty() && !self.is_over {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(bytes)) => {
                    if let Err(error) = self.out.write_all(&bytes) {
                        let kind = error.kind();
                        self.refused = Some(error);
                        return Err(kind.into());
                    }
                    self.at_hand = bytes;
                }
                Some(Piece::End) => self.is_over = true,
                None => return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the stream was broken off")),
            }
        }
        let count = buffer.len().min(self.at_hand.len());
        let part = self.at_hand.split_to(count);
        if let Some(place) = buffer.get_mut(..count) {
            place.copy_from_slice(&part);
        }
        Ok(count)
    }
}

/// The file, in clear or encrypted.
enum Out {
    Clear(Hashed<File>),
    Encrypted(StreamWriter<Hashed<File>>),
}

impl Out {
    fn new(file: Hashed<File>, recipients: &[Recipient]) -> Result<Self> {
        if recipients.is_empty() {
            return Ok(Self::Clear(file));
        }
        let all = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(all).context("cannot encrypt to these recipients")?;
        Ok(Self::Encrypted(encryptor.wrap_output(file)?))
    }

    fn finish(self) -> io::Result<Hashed<File>> {
        match self {
            Self::Clear(file) => Ok(file),
            Self::Encrypted(stream) => stream.finish(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Clear(file) => file.write(bytes),
            Self::Encrypted(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Clear(file) => file.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// Knows the digest of what went through.
struct Hashed<W> {
    inner: W,
    hash: Sha256,
    count: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or(bytes));
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use super::super::archive::tests::whole;
    use super::super::source::{Identities, open};
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn sent(bytes: &[u8], ends: bool, path: &Path, recipients: &[Recipient]) -> Result<Written> {
        let (to, from) = tokio::sync::mpsc::channel(10_000);
        for piece in bytes.chunks(7) {
            to.try_send(Piece::Data(bytes::Bytes::copy_from_slice(piece))).ok().unwrap();
        }
        if ends {
            to.try_send(Piece::End).ok().unwrap();
        }
        drop(to);
        receive(from, path, recipients)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_whole_archive_stands_under_its_name_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = (folder.path().join("a"), whole(&[9; 3000]));
        let written = sent(&bytes, true, &path, &[]).unwrap();
        assert_eq!((written.bytes, std::fs::read(&path).unwrap()), (bytes.len() as u64, bytes.clone()));
        assert_eq!(written.sha256, read_back(&path).unwrap());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert!(sent(&bytes, true, &path, &[]).unwrap_err().to_string().contains("exists already"));
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn one_that_is_broken_off_damaged_or_not_at_its_end_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = (folder.path().join("a"), whole(&[9; 3000]));
        assert!(sent(&bytes, false, &path, &[]).is_err(), "every byte came, and no end");
        assert!(sent(bytes.get(..bytes.len() - 9).unwrap(), true, &path, &[]).is_err());
        assert!(sent(b"no archive", true, &path, &[]).is_err());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn an_encrypted_one_is_opened_by_its_owner_and_by_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (path, bytes) = (folder.path().join("a"), whole(&vec![9; 200_000]));
        let (owner, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let written = sent(&bytes, true, &path, &[owner.to_public()]).unwrap();
        assert_eq!(written.archive, archive::check(bytes.as_slice()).unwrap());
        let mut read = Vec::new();
        open(&path, &Identities::of(vec![owner])).unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, bytes);
        assert!(open(&path, &Identities::of(vec![other])).err().unwrap().to_string().contains("none of the identities"));
        assert!(open(&path, &Identities::default()).err().unwrap().to_string().contains("--identity"));
        assert!(archive::check(File::open(&path).unwrap()).is_err());
    }
}
