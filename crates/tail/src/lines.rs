//! Lines of what is read once from beginning to end: standard input, an archived file. Nothing is followed.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use crate::envelope::{Format, Joiner, Taken};
use crate::event::Counters;
use crate::framer::{Cut, Framer};
use crate::packed::Packing;
use crate::stream::Options;

/// Opens a file of whatever kind for reading once; what gzip or zstd have compressed is decompressed on the way, with bounded memory.
pub fn open_archive(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let mut file = File::open(path)?;
    let mut head = [0; 4];
    let mut length = 0;
    // A pipe cannot be read at an offset, so that the first bytes are read once and given out again.
    while let Some(rest) = head.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    let head = head.get(..length).unwrap_or_default().to_vec();
    match Packing::of(&head) {
        Some(packing) if file.metadata()?.is_file() => Ok(packing.unpack(Arc::new(file), Arc::default())),
        Some(_) => Err(io::Error::new(io::ErrorKind::Unsupported, "compressed data through a pipe; give the file, or decompress it first")),
        None => Ok(Box::new(io::Cursor::new(head).chain(file))),
    }
}

/// Cuts a stream into lines, as a [`Follower`](crate::Follower) does with a file: by the same limits and with the same counts, so that
/// what was followed live and is read again from an archive comes to the same.
#[derive(Debug)]
pub struct Lines<R> {
    reader: R,
    framer: Framer,
    /// `None` until the first line tells.
    joiner: Option<Joiner>,
    max_line: usize,
    offset: u64,
    counters: Counters,
    ended: bool,
}

impl<R: Read> Lines<R> {
    /// Reads from `reader`. Of the options, `max_line` and `chunk` count. With `format` `None` the first line tells the format.
    pub fn new(reader: R, options: &Options, format: Option<Format>) -> Self {
        let max_line = options.max_line;
        Self {
            reader,
            framer: Framer::new(max_line, options.chunk),
            joiner: format.map(|format| Joiner::new(format, max_line)),
            max_line,
            offset: 0,
            counters: Counters::default(),
            ended: false,
        }
    }

    /// Reads one chunk and gives each whole line in it, without newline and envelope, and the offset at which it begins (of its last
    /// part, if it came in parts) to the sink. Says whether there may be more.
    ///
    /// The last bytes of a stream that does not end with a newline are no line: they are counted as torn.
    pub fn read(&mut self, sink: &mut dyn FnMut(&[u8], u64)) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let read = match self.reader.read(self.framer.room()) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => return Err(error),
        };
        if read == 0 {
            self.ended = true;
            let open = self.joiner.as_mut().map_or(0, Joiner::reset);
            self.counters.torn += u64::from(self.framer.held() > 0 || open > 0);
            return Ok(false);
        }
        self.framer.filled(read);
        loop {
            match self.framer.cut() {
                Cut::Line(range) => {
                    let line = self.framer.line(range);
                    let length = line.len() as u64 + 1;
                    let max_line = self.max_line;
                    let joiner = self.joiner.get_or_insert_with(|| Joiner::new(Format::recognise(line), max_line));
                    match joiner.take(line) {
                        Taken::Line(line) => {
                            sink(line, self.offset);
                            self.counters.lines += 1;
                        }
                        Taken::TooLong(_) => self.counters.too_long += 1,
                        Taken::Part | Taken::Other => {}
                    }
                    self.offset += length;
                    self.counters.bytes += length;
                }
                Cut::TooLong(bytes) => {
                    self.counters.too_long += 1;
                    self.offset += bytes;
                }
                Cut::Nothing => return Ok(true),
            }
        }
    }

    /// What was counted so far: lines, bytes, lines that were too long, a torn end.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot set its scene must fail")]
    use super::*;
    use std::io::Write;

    fn all(reader: impl Read, options: &Options, format: Option<Format>) -> (Vec<(String, u64)>, Counters) {
        let mut lines = Lines::new(reader, options, format);
        let mut out = Vec::new();
        while lines.read(&mut |line, offset| out.push((String::from_utf8_lossy(line).into_owned(), offset))).unwrap() {}
        (out, *lines.counters())
    }

    #[test]
    fn lines_come_with_their_places_and_a_torn_end_is_counted() {
        let options = Options { max_line: 5, chunk: 3, ..Options::default() };
        let (lines, counters) = all(&b"one\n\n1234567\ntwo\ntorn"[..], &options, Some(Format::Plain));
        assert_eq!(lines, [("one".into(), 0), (String::new(), 4), ("two".into(), 13)]);
        assert_eq!((counters.lines, counters.too_long, counters.torn, counters.bytes), (3, 1, 1, 9));
    }

    #[test]
    fn the_first_line_tells_the_format() {
        let (lines, _) = all(&b"2026Z stdout F x\n2026Z stdout F y\n"[..], &Options::default(), None);
        assert_eq!(lines.len(), 2);
        let (lines, counters) = all(&b"2026-03-02T09:15:04Z stdout P x\n2026-03-02T09:15:04Z stdout F y\n"[..], &Options::default(), None);
        assert_eq!(lines, [("xy".into(), 32)]);
        assert_eq!(counters.torn, 0);
    }

    #[test]
    fn archives_are_decompressed() {
        let folder = tempfile::tempdir().unwrap();
        let text = "a line of a log\n".repeat(10_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let zstd = ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
        for (name, bytes) in
            [("plain", text.clone().into_bytes()), ("gzip", gzip.finish().unwrap()), ("zstd", zstd), ("tiny", b"x\n".to_vec())]
        {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let (lines, _) = all(open_archive(&path).unwrap(), &Options::default(), None);
            assert_eq!(lines.len(), if name == "tiny" { 1 } else { 10_000 }, "{name}");
        }
    }
}
