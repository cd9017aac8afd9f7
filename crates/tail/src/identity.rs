//! What makes a file the same file: device, inode, its birth and a tag of its first bytes. Never its name.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::UNIX_EPOCH;

use memchr::memrchr;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many of a file's first bytes take part in its [`ContentTag`].
///
/// A few hundred would not do: Vault sorts the keys of an entry, so two files that begin with a call of the same token have
/// about their first 260 bytes in common. Time and request id stand near the end of a line of some 1.4 kB.
pub const HEAD_BYTES: usize = 4096;

/// Device and inode: one file as long as it exists, and perhaps another one after it was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId {
    /// Device number, as `stat` gives it. It may change over a reboot on some file systems.
    pub device: u64,
    /// Inode number, as `stat` gives it. File systems use it again after a deletion.
    pub inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The digest of a file's first whole lines, with their length: a young file's tag grows with it up to [`HEAD_BYTES`].
///
/// A part of a line takes no part in it, unless the line is longer than that: two logs may begin with the same few hundred bytes,
/// and what differs stands near the end of their first lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentTag {
    /// How many bytes the digest covers; 0, as long as there is no whole line, says nothing about the content.
    pub length: usize,
    /// SHA-256 in lower-case hexadecimal; empty when `length` is 0.
    pub sha256: String,
}

impl ContentTag {
    /// The tag of a file that begins with `head`.
    pub(crate) fn of(head: &[u8]) -> Self {
        let whole = if head.len() < HEAD_BYTES { memrchr(b'\n', head).map_or(0, |newline| newline + 1) } else { HEAD_BYTES };
        Self::over(head.get(..whole).unwrap_or_default())
    }

    fn over(head: &[u8]) -> Self {
        if head.is_empty() {
            return Self::default();
        }
        let mut sha256 = String::with_capacity(64);
        for byte in Sha256::digest(head) {
            sha256.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            sha256.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        }
        Self { length: head.len(), sha256 }
    }

    /// Whether a file that begins with `head` is, or grew out of, the file this tag was taken from.
    pub(crate) fn matches(&self, head: &[u8]) -> bool {
        head.get(..self.length).is_some_and(|prefix| Self::over(prefix) == *self)
    }
}

/// A file's first bytes, up to [`HEAD_BYTES`].
pub(crate) fn read_head(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD_BYTES];
    let length = read_head_into(file, &mut head)?;
    head.truncate(length);
    Ok(head)
}

/// As [`read_head`], into a buffer of the caller's; returns how many bytes there were.
pub(crate) fn read_head_into(file: &File, head: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while let Some(rest) = head.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, length as u64) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Last modification in nanoseconds since 1970; used to order files whose names do not.
pub(crate) fn modified(metadata: &Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// When a file was made, in nanoseconds since 1970; not every file system keeps it. Nobody can set it, and it never changes.
pub(crate) fn born(metadata: &Metadata) -> Option<i64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}
