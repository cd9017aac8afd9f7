//! Bytes to lines, in one reused buffer. Never a file.

use std::ops::Range;

use memchr::memchr;

/// What [`Framer::cut`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A whole line: where it stands in the buffer, without its newline.
    Line(Range<usize>),
    /// The end of a line that was too long; how many bytes it had with its newline.
    TooLong(u64),
    /// No further newline.
    Nothing,
}

/// Holds the undelivered end of a file until its newline comes.
///
/// Invariant: `start <= scanned <= end <= buffer.len()`; no newline stands in `start..scanned`.
/// Invariant: at most `max_line` bytes plus one chunk are held.
#[derive(Debug)]
pub(crate) struct Framer {
    buffer: Vec<u8>,
    start: usize,
    scanned: usize,
    end: usize,
    /// Bytes dropped so far of a line that is too long; 0 while no such line is being skipped.
    skipped: u64,
    max_line: usize,
    chunk: usize,
}

impl Framer {
    pub(crate) fn new(max_line: usize, chunk: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, scanned: 0, end: 0, skipped: 0, max_line, chunk: chunk.max(1) }
    }

    /// Forgets everything held.
    pub(crate) fn reset(&mut self) {
        (self.start, self.scanned, self.end, self.skipped) = (0, 0, 0, 0);
    }

    /// Bytes read but not yet delivered as part of a whole line.
    pub(crate) fn held(&self) -> u64 {
        self.skipped + (self.end - self.start) as u64
    }

    /// Room for one more chunk.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        let wanted = self.end + self.chunk;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        } else if self.buffer.len() > 2 * self.chunk && self.end < self.chunk {
            // A huge line has passed: give its memory back.
            self.buffer.truncate(2 * self.chunk);
            self.buffer.shrink_to_fit();
        }
        // In bounds: the buffer is at least `wanted` long after either branch.
        &mut self.buffer[self.end..wanted]
    }

    /// Says that `read` bytes were put into [`Framer::room`].
    pub(crate) fn filled(&mut self, read: usize) {
        self.end = (self.end + read).min(self.buffer.len());
    }

    /// The next whole line.
    pub(crate) fn cut(&mut self) -> Cut {
        // In bounds by the first invariant.
        let Some(found) = memchr(b'\n', &self.buffer[self.scanned..self.end]) else {
            self.scanned = self.end;
            if self.skipped > 0 || self.end - self.start > self.max_line {
                self.skipped += (self.end - self.start) as u64;
                self.start = self.end;
            }
            return Cut::Nothing;
        };
        let newline = self.scanned + found;
        let line = self.start..newline;
        self.start = newline + 1;
        self.scanned = self.start;
        if self.skipped == 0 && line.len() <= self.max_line {
            return Cut::Line(line);
        }
        let bytes = std::mem::take(&mut self.skipped) + line.len() as u64 + 1;
        Cut::TooLong(bytes)
    }

    /// The bytes of a line that [`Framer::cut`] has just found.
    pub(crate) fn line(&self, line: Range<usize>) -> &[u8] {
        self.buffer.get(line).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(framer: &mut Framer, mut bytes: &[u8]) -> Vec<Result<Vec<u8>, u64>> {
        let mut out = Vec::new();
        while !bytes.is_empty() {
            let room = framer.room();
            let n = room.len().min(bytes.len());
            room[..n].copy_from_slice(&bytes[..n]);
            framer.filled(n);
            bytes = &bytes[n..];
            loop {
                match framer.cut() {
                    Cut::Line(range) => out.push(Ok(framer.line(range).to_vec())),
                    Cut::TooLong(bytes) => out.push(Err(bytes)),
                    Cut::Nothing => break,
                }
            }
        }
        out
    }

    #[test]
    fn a_line_waits_for_its_newline_across_chunks() {
        let mut framer = Framer::new(100, 4);
        assert_eq!(feed(&mut framer, b"ab\n\nlonger than a chunk"), [Ok(b"ab".to_vec()), Ok(vec![])]);
        assert_eq!(framer.held(), 19);
        assert_eq!(feed(&mut framer, b"!\n"), [Ok(b"longer than a chunk!".to_vec())]);
        assert_eq!(framer.held(), 0);
    }

    #[test]
    fn a_line_over_the_limit_costs_only_itself() {
        let mut framer = Framer::new(8, 4);
        let lines = feed(&mut framer, b"12345678\n123456789\n12345678901234567890\nok\n");
        assert_eq!(lines, [Ok(b"12345678".to_vec()), Err(10), Err(21), Ok(b"ok".to_vec())]);
    }

    #[test]
    fn memory_is_given_back_after_a_huge_line() {
        let mut framer = Framer::new(1 << 20, 16);
        let mut huge = vec![b'x'; 500_000];
        huge.push(b'\n');
        feed(&mut framer, &huge);
        assert!(framer.buffer.len() >= 500_000);
        framer.room();
        assert!(framer.buffer.capacity() <= 64, "capacity {}", framer.buffer.capacity());
    }
}
