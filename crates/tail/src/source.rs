//! One open file that is read at explicit offsets. Never a decision on which file comes next.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use memchr::memrchr;

use crate::checkpoint::Position;
use crate::identity::{ContentTag, FileId, HEAD_BYTES, modified, read_head, read_head_into};

/// An open file, known by its identity; it may have no name any more.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: File,
    /// The name under which it was opened; only ever shown, never trusted.
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    /// Its first bytes as far as they have been seen, at most [`HEAD_BYTES`].
    pub(crate) head: Vec<u8>,
    /// First byte not delivered as part of a whole line.
    pub(crate) offset: u64,
    pub(crate) modified: i64,
    /// A copy made by `copytruncate`: it never grows, so its end is final.
    pub(crate) is_copy: bool,
    /// It was at its end in an earlier poll, when a successor with content already existed.
    pub(crate) was_quiet: bool,
}

impl Source {
    /// Opens a regular file for reading from `offset` on.
    pub(crate) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        // Asked before opening, because opening a pipe would wait for its writer.
        if !fs::metadata(path)?.is_file() {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let head = read_head(&file)?;
        Ok(Self {
            id: FileId::of(&metadata),
            modified: modified(&metadata),
            file,
            path: path.to_owned(),
            head,
            offset,
            is_copy: false,
            was_quiet: false,
        })
    }

    pub(crate) fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether the file still begins as it did. Takes longer beginnings of a young file in. `scratch` spares an allocation.
    pub(crate) fn head_unchanged(&mut self, scratch: &mut [u8; HEAD_BYTES]) -> io::Result<bool> {
        let length = read_head_into(&self.file, scratch)?;
        let now = scratch.get(..length).unwrap_or_default();
        if !now.starts_with(&self.head) {
            return Ok(false);
        }
        if now.len() > self.head.len() {
            self.head = now.to_vec();
        }
        Ok(true)
    }

    pub(crate) fn tag(&self) -> ContentTag {
        ContentTag::of(&self.head)
    }

    pub(crate) fn position(&self) -> Position {
        Position { file: self.id, tag: self.tag(), offset: self.offset, modified: self.modified }
    }

    /// Whether this is the very file of a position, long enough to go on in.
    pub(crate) fn continues(&self, position: &Position) -> bool {
        self.id == position.file && self.holds(position)
    }

    /// Whether this file has the content of a position, be it the same file or a copy.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        position.tag.matches(&self.head) && self.length().is_ok_and(|length| length >= position.offset)
    }

    /// Moves to the last line that is not yet complete, looking back over at most `limit` bytes.
    pub(crate) fn seek_to_last_line(&mut self, limit: u64) -> io::Result<()> {
        const STEP: u64 = 64 * 1024;
        let length = self.length()?;
        let floor = length.saturating_sub(limit);
        let mut upper = length;
        let mut chunk = vec![0; 64 * 1024];
        while upper > floor {
            let lower = upper.saturating_sub(STEP).max(floor);
            let part = chunk.get_mut(..usize::try_from(upper - lower).unwrap_or(0)).unwrap_or_default();
            self.file.read_exact_at(part, lower)?;
            if let Some(found) = memrchr(b'\n', part) {
                self.offset = lower + found as u64 + 1;
                return Ok(());
            }
            upper = lower;
        }
        self.offset = if floor == 0 { 0 } else { length };
        Ok(())
    }
}
