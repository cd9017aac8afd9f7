//! What a container runtime wraps around each line, taken off again. Never what the line itself means.
//!
//! A runtime cuts long lines at some 16 KiB and marks the parts; they are joined here. Only standard output is taken: Vault writes
//! its audit log there when its file device's path is `stdout`, and its own log to standard error.

use std::borrow::Cow;

use memchr::{memchr, memmem};
use serde::Deserialize;

/// How lines stand in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A line of the file is a line.
    #[default]
    Plain,
    /// Kubernetes, as containerd and CRI-O write it: `TIME stdout F LINE`; `P` instead of `F` marks a part that goes on.
    Cri,
    /// Docker's `json-file`: `{"log":"LINE\n","stream":"stdout","time":"…"}`; a part that goes on lacks the `\n`.
    Docker,
}

impl Format {
    /// The format that this line, the first of a file or stream, seems to have; [`Format::Plain`] unless it is plainly another.
    ///
    /// No entry of Vault's can be taken for another format: it begins with `{"time"` or with the device's `prefix`.
    pub fn recognise(line: &[u8]) -> Self {
        if cri(line).is_some_and(|part| part.time.contains(&b'T')) {
            Self::Cri
        } else if line.starts_with(b"{\"log\":") && docker(line).is_some() {
            Self::Docker
        } else {
            Self::Plain
        }
    }
}

/// What became of one line of the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken<'a> {
    /// A whole line, without its envelope. A line that has no envelope although it should is given as it is.
    Line(&'a [u8]),
    /// A part; the line goes on.
    Part,
    /// It was written to standard error.
    Other,
    /// The end of a line that was longer than the limit; how many bytes it had.
    TooLong(u64),
}

struct Piece<'a> {
    time: &'a [u8],
    is_output: bool,
    is_whole: bool,
    payload: &'a [u8],
}

#[derive(Deserialize)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
}

/// Takes envelopes off and joins parts.
///
/// Invariant: at most `max_line` bytes plus one line of the file are held.
#[derive(Debug)]
pub(crate) struct Joiner {
    format: Format,
    max_line: usize,
    parts: Vec<u8>,
    /// Whether a part came whose line goes on.
    is_open: bool,
    /// Bytes dropped of a line that is too long.
    dropped: u64,
}

impl Joiner {
    pub(crate) fn new(format: Format, max_line: usize) -> Self {
        Self { format, max_line, parts: Vec::new(), is_open: false, dropped: 0 }
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.format == Format::Plain
    }

    /// Whether parts of a line are held.
    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Forgets the parts held; how many bytes they were.
    pub(crate) fn reset(&mut self) -> u64 {
        let held = if self.is_open { self.dropped + self.parts.len() as u64 } else { 0 };
        (self.is_open, self.dropped, self.parts) = (false, 0, Vec::new());
        held
    }

    /// Whether this line is a part of ours that goes on.
    pub(crate) fn begins_part(&self, line: &[u8]) -> bool {
        match self.format {
            Format::Plain => false,
            Format::Cri => cri(line).is_some_and(|piece| piece.is_output && !piece.is_whole),
            // Nearly every line is whole and shows it without being parsed.
            Format::Docker if memmem::find(line, br#"\n","stream":""#).is_some() => false,
            Format::Docker => docker(line).is_some_and(|docker| docker.stream == "stdout" && !docker.log.ends_with('\n')),
        }
    }

    pub(crate) fn take<'a>(&'a mut self, line: &'a [u8]) -> Taken<'a> {
        if !self.is_open {
            self.parts.clear();
            if self.parts.capacity() > 1 << 20 {
                self.parts = Vec::new();
            }
        }
        match self.format {
            Format::Plain => Taken::Line(line),
            Format::Cri => match cri(line) {
                Some(piece) => self.join(piece),
                None => Taken::Line(line),
            },
            Format::Docker => match docker(line) {
                Some(docker) => {
                    let (payload, is_whole) = docker.log.strip_suffix('\n').map_or((&*docker.log, false), |text| (text, true));
                    if docker.stream != "stdout" {
                        return Taken::Other;
                    }
                    self.add(payload.as_bytes());
                    self.is_open = !is_whole;
                    self.finish(is_whole)
                }
                None => Taken::Line(line),
            },
        }
    }

    fn join<'a>(&'a mut self, piece: Piece<'a>) -> Taken<'a> {
        if !piece.is_output {
            return Taken::Other;
        }
        if piece.is_whole && !self.is_open {
            return Taken::Line(piece.payload);
        }
        self.add(piece.payload);
        self.is_open = !piece.is_whole;
        self.finish(piece.is_whole)
    }

    fn add(&mut self, payload: &[u8]) {
        if self.dropped > 0 || self.parts.len() + payload.len() > self.max_line {
            self.dropped += (std::mem::take(&mut self.parts).len() + payload.len()) as u64;
        } else {
            self.parts.extend_from_slice(payload);
        }
    }

    fn finish(&mut self, is_whole: bool) -> Taken<'_> {
        if !is_whole {
            return Taken::Part;
        }
        match std::mem::take(&mut self.dropped) {
            0 => Taken::Line(&self.parts),
            dropped => Taken::TooLong(dropped),
        }
    }
}

fn cri(line: &[u8]) -> Option<Piece<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    // A last part may be empty, and then no space need follow its tag.
    let (tags, payload) = word(rest).unwrap_or((rest, &[]));
    let is_output = match stream {
        b"stdout" => true,
        b"stderr" => false,
        _ => return None,
    };
    let is_whole = match tags.split(|byte| *byte == b':').next() {
        Some(b"F") => true,
        Some(b"P") => false,
        _ => return None,
    };
    let is_time = time.first().is_some_and(u8::is_ascii_digit);
    is_time.then_some(Piece { time, is_output, is_whole, payload })
}

fn word(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = memchr(b' ', line)?;
    Some((line.get(..space)?, line.get(space + 1..)?))
}

fn docker(line: &[u8]) -> Option<Docker<'_>> {
    serde_json::from_slice(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(format: Format, max_line: usize, lines: &[&str]) -> Vec<String> {
        let mut joiner = Joiner::new(format, max_line);
        let mut out = Vec::new();
        for line in lines {
            out.push(match joiner.take(line.as_bytes()) {
                Taken::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Taken::Part => "…".to_owned(),
                Taken::Other => "-".to_owned(),
                Taken::TooLong(bytes) => format!("{bytes} bytes"),
            });
        }
        out
    }

    #[test]
    fn cri_lines_are_unwrapped_and_parts_joined_past_another_stream() {
        let lines = [
            r#"2026-03-02T09:15:04.118520331Z stdout F {"a":1}"#,
            "2026-03-02T09:15:04.2Z stdout P one ",
            "2026-03-02T09:15:04.2Z stderr F [INFO] core: a log line",
            "2026-03-02T09:15:04.2Z stdout P:more two",
            "2026-03-02T09:15:04.2Z stdout F ",
            "2026-03-02T09:15:04.2+01:00 stdout F",
            "no envelope at all",
            "2026-03-02T09:15:04.2Z stdout F  two spaces",
        ];
        let expected = [r#"{"a":1}"#, "…", "-", "…", "one two", "", "no envelope at all", " two spaces"];
        assert_eq!(all(Format::Cri, 100, &lines), expected);
    }

    #[test]
    fn docker_lines_are_unwrapped_and_parts_joined() {
        let lines = [
            r#"{"log":"{\"a\":\"\\u003cx\\u003e\"}\n","stream":"stdout","time":"2026-03-02T09:15:04Z"}"#,
            r#"{"log":"one ","stream":"stdout","time":"2026-03-02T09:15:04Z"}"#,
            r#"{"log":"not ours\n","stream":"stderr","time":"2026-03-02T09:15:04Z"}"#,
            r#"{"log":"two\n","stream":"stdout","attrs":{"tag":"x"},"time":"2026-03-02T09:15:04Z"}"#,
            r#"{"log":"torn"#,
        ];
        let expected = [r#"{"a":"\u003cx\u003e"}"#, "…", "-", "one two", r#"{"log":"torn"#];
        assert_eq!(all(Format::Docker, 100, &lines), expected);
    }

    #[test]
    fn parts_beyond_the_limit_cost_only_their_line() {
        let lines =
            ["1Z stdout P 12345", "1Z stdout P 678901", "1Z stdout F 2", "1Z stdout F ok", "1Z stdout P 1234567890", "1Z stdout F "];
        assert_eq!(all(Format::Cri, 10, &lines), ["…", "…", "12 bytes", "ok", "…", "1234567890"]);
    }

    #[test]
    fn formats_are_recognised_by_their_first_line() {
        for (line, format) in [
            (r#"{"time":"2026-03-02T09:15:04Z","type":"request"}"#, Format::Plain),
            (r#"2026-03-02T09:15:04Z stdout F {"time":"#, Format::Cri),
            (r#"{"log":"x\n","stream":"stdout","time":"t"}"#, Format::Docker),
            (r#"{"log":"x"}"#, Format::Plain),
            ("prefix {\"time\"", Format::Plain),
            ("", Format::Plain),
        ] {
            assert_eq!(Format::recognise(line.as_bytes()), format, "{line}");
        }
    }
}
