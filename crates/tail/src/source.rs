//! One open file that is read at explicit offsets. Never a decision on which file comes next.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memrchr;

use crate::checkpoint::Position;
use crate::identity::{ContentTag, FileId, HEAD_BYTES, born, modified, read_head, read_head_into};
use crate::packed::Packing;

/// Bytes that one call of [`Source::read`] passes over at most on the way to its offset.
const PASS: usize = 4 << 20;

/// An open file, known by its identity; it may have no name any more.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<File>,
    /// What it holds if it is compressed; offsets are those of its content.
    packed: Option<Packed>,
    /// The name under which it was opened; only ever shown, never trusted.
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    born: Option<i64>,
    /// Its first bytes as far as they have been seen, at most [`HEAD_BYTES`].
    pub(crate) head: Vec<u8>,
    /// First byte not delivered as part of a whole line.
    pub(crate) offset: u64,
    pub(crate) modified: i64,
    /// A copy made by `copytruncate`: it never grows, so its end is final.
    pub(crate) is_copy: bool,
    /// It was at its end in an earlier poll, when a successor with content already existed.
    pub(crate) was_quiet: bool,
    /// It was empty when we came to it from another file, or when it had been cut. What is first read of it may not be the first
    /// that was written: it may have been copied and cut again in between.
    pub(crate) is_fresh: bool,
}

/// A decoder under way.
struct Packed {
    packing: Packing,
    decoder: Box<dyn Read + Send>,
    /// The offset of the content that comes next.
    at: u64,
    /// Bytes of the file that the decoder has taken.
    taken: Arc<AtomicU64>,
    /// Why the decoder stopped after the bytes that it gave last.
    failed: Option<io::Error>,
    /// What follows cannot be decoded.
    broken: bool,
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packed").field("packing", &self.packing).field("at", &self.at).field("broken", &self.broken).finish_non_exhaustive()
    }
}

/// What one read came to.
pub(crate) enum Got {
    /// So many bytes; none is the end.
    Bytes(usize),
    /// The offset is not reached yet.
    Passed(u64),
    /// The rest of a compressed file cannot be decoded.
    Broken,
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
            born: born(&metadata),
            modified: modified(&metadata),
            file: Arc::new(file),
            packed: None,
            path: path.to_owned(),
            head,
            offset,
            is_copy: false,
            was_quiet: false,
            is_fresh: false,
        })
    }

    /// Opens a rotated file that its name calls compressed. One that we cannot decode is `Unsupported`, one that is damaged at
    /// its very beginning is `InvalidData`.
    pub(crate) fn open_packed(path: &Path, offset: u64) -> io::Result<Self> {
        let mut source = Self::open(path, offset)?;
        let packing = Packing::of(&source.head).ok_or(io::ErrorKind::Unsupported)?;
        let mut packed = Packed::begin(packing, &source.file);
        source.head = vec![0; HEAD_BYTES];
        let length = packed.fill(&mut source.head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        source.head.truncate(length);
        source.packed = Some(packed);
        Ok(source)
    }

    pub(crate) fn fresh_if_empty(mut self) -> Self {
        self.is_fresh = self.head.is_empty();
        self
    }

    /// What was written and not yet read; for a compressed file, what its decoder has not taken yet.
    pub(crate) fn behind(&self) -> u64 {
        let length = self.file.metadata().map_or(0, |metadata| metadata.len());
        match &self.packed {
            None => length.saturating_sub(self.offset),
            Some(packed) if packed.broken => 0,
            Some(packed) => length.saturating_sub(packed.taken.load(Ordering::Relaxed)),
        }
    }

    /// Whether nothing is ever written to it any more, so that its end is final.
    pub(crate) fn is_final(&self) -> bool {
        self.is_copy || self.packed.is_some()
    }

    /// Reads at an offset. A compressed file is read forwards; on the way to its offset a call passes over a bounded part only.
    pub(crate) fn read(&mut self, buffer: &mut [u8], offset: u64) -> io::Result<Got> {
        match &mut self.packed {
            None => self.file.read_at(buffer, offset).map(Got::Bytes),
            Some(packed) => packed.read(&self.file, buffer, offset),
        }
    }

    /// Length and last modification; the length of a compressed file is unknown.
    pub(crate) fn look(&self) -> io::Result<(Option<u64>, i64)> {
        let metadata = self.file.metadata()?;
        Ok((self.packed.is_none().then_some(metadata.len()), modified(&metadata)))
    }

    /// Takes whatever it begins with at the next look for its beginning.
    pub(crate) fn forget_head(&mut self) {
        self.head.clear();
    }

    /// Whether the file still begins as it did. Takes longer beginnings of a young file in. `scratch` spares an allocation.
    pub(crate) fn head_unchanged(&mut self, scratch: &mut [u8; HEAD_BYTES]) -> io::Result<bool> {
        if self.packed.is_some() {
            return Ok(true);
        }
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
        Position { file: self.id, tag: self.tag(), offset: self.offset, modified: self.modified, born: self.born }
    }

    /// Whether this is the very file of a position, long enough to go on in.
    pub(crate) fn continues(&self, position: &Position) -> bool {
        self.id == position.file && self.holds(position)
    }

    /// Whether this file has the content of a position, be it the same file or a copy. How far a compressed file reaches is
    /// seen only when it is read.
    pub(crate) fn holds(&self, position: &Position) -> bool {
        let reaches = |(length, _): (Option<u64>, i64)| length.is_none_or(|length| length >= position.offset);
        position.tag.matches(&self.head) && self.look().is_ok_and(reaches)
    }

    /// Whether this is still the file of a position, whatever it holds by now.
    pub(crate) fn is_of(&self, position: &Position) -> bool {
        self.file.metadata().is_ok_and(|metadata| position.is_of(&metadata))
    }

    /// Moves to the last line that is not yet complete, looking back over at most `limit` bytes.
    pub(crate) fn seek_to_last_line(&mut self, limit: u64) -> io::Result<()> {
        const STEP: u64 = 64 * 1024;
        let length = self.file.metadata()?.len();
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

impl Packed {
    fn begin(packing: Packing, file: &Arc<File>) -> Self {
        let taken = Arc::new(AtomicU64::new(0));
        let decoder = packing.unpack(Arc::clone(file), Arc::clone(&taken));
        Self { packing, decoder, at: 0, taken, failed: None, broken: false }
    }

    fn read(&mut self, file: &Arc<File>, buffer: &mut [u8], offset: u64) -> io::Result<Got> {
        if self.broken {
            return Ok(Got::Bytes(0));
        }
        if offset < self.at {
            *self = Self::begin(self.packing, file);
        }
        let mut passed = 0;
        while self.at < offset {
            let ahead = usize::try_from(offset - self.at).unwrap_or(usize::MAX).min(buffer.len());
            let wanted = buffer.get_mut(..ahead).unwrap_or_default();
            match self.fill(wanted) {
                // It ends before the offset: a copy that was shorter than its original.
                Ok(0) => return Ok(Got::Bytes(0)),
                Ok(read) => passed += read,
                Err(error) => return self.fail(error),
            }
            if passed >= PASS {
                return Ok(Got::Passed(passed as u64));
            }
        }
        match self.fill(buffer) {
            Ok(read) => Ok(Got::Bytes(read)),
            Err(error) => self.fail(error),
        }
    }

    /// Reads until `buffer` is full or the content ends. What was read before an error is given first.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut length = 0;
        while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match self.decoder.read(rest) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if length == 0 => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        self.at += length as u64;
        Ok(length)
    }

    /// An error of the operating system may pass; one of the content stays.
    fn fail(&mut self, error: io::Error) -> io::Result<Got> {
        if error.raw_os_error().is_some() {
            return Err(error);
        }
        self.broken = true;
        Ok(Got::Broken)
    }
}
