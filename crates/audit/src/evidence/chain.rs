//! The chain as it grows, line by line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hex::{from_hex, hex};
use crate::pipeline::Place;

/// A segment is closed after so many lines.
pub const LINES_PER_SEGMENT: usize = 1_024;
/// How many closed segments wait for whoever keeps them; beyond, the oldest goes, and its lines are without evidence.
pub const MAX_HELD: usize = 4_096;
/// What the chain begins with. The number is the format's.
const BEGINNING: &[u8] = b"keyward audit chain 1\n";
/// Bytes of a mark.
const MARK: usize = 4;

/// A line's own digest.
pub fn line_digest(line: &[u8]) -> [u8; 32] {
    Sha256::digest(line).into()
}

/// The chain's next value.
pub(super) fn next(value: &[u8; 32], line: &[u8; 32]) -> [u8; 32] {
    Sha256::new().chain_update(value).chain_update(line).finalize().into()
}

/// What is signed of a chain, and when: the same words for whoever signs and whoever verifies.
pub fn statement(node: &str, lines: u64, chain: &[u8; 32], at: Timestamp) -> String {
    format!("keyward audit chain 1\nnode {node}\nlines {lines}\nchain {}\nat {at}\n", hex(chain))
}

/// A run of lines of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The number of its first line in the chain, from 1.
    pub first: u64,
    /// Where that line began when it was read.
    pub place: Place,
    /// The chain's value before it.
    pub before: [u8; 32],
    /// The chain's value after it.
    pub after: [u8; 32],
    /// When its first line was read.
    pub from: Timestamp,
    /// When its last line was read.
    pub to: Timestamp,
    /// The first four bytes of each line's digest.
    pub marks: Vec<u8>,
}

impl Segment {
    /// How many lines it has.
    pub fn lines(&self) -> u64 {
        (self.marks.len() / MARK) as u64
    }

    /// The number of its last line in the chain.
    pub fn last(&self) -> u64 {
        self.first + self.lines() - 1
    }

    /// The lines' marks as numbers.
    pub(super) fn each_mark(&self) -> impl Iterator<Item = u32> {
        self.marks.chunks_exact(MARK).map(mark)
    }
}

/// The mark of a digest, or of its first four bytes.
pub(super) fn mark(digest: &[u8]) -> u32 {
    digest.iter().take(MARK).fold(0, |mark, byte| mark << 8 | u32::from(*byte))
}

/// The running chain of one log.
#[derive(Debug)]
pub struct Chain {
    lines: u64,
    value: [u8; 32],
    open: Option<Segment>,
    /// Where the last line began: a file that is read from its beginning again is another file, whatever its number.
    last_offset: u64,
    closed: Vec<Segment>,
}

impl Default for Chain {
    fn default() -> Self {
        Self { lines: 0, value: Sha256::digest(BEGINNING).into(), open: None, last_offset: 0, closed: Vec::new() }
    }
}

impl Chain {
    /// Takes in one line, without its newline, read at `now`.
    pub fn line(&mut self, line: &[u8], place: Place, now: Timestamp) {
        let is_another_file = |open: &Segment| open.place.file != place.file || place.offset < self.last_offset;
        if self.open.as_ref().is_some_and(|open| is_another_file(open) || open.marks.len() >= LINES_PER_SEGMENT * MARK) {
            self.close();
        }
        self.last_offset = place.offset;
        let digest = line_digest(line);
        let before = self.value;
        self.value = next(&before, &digest);
        self.lines += 1;
        let first = self.lines;
        let open = self.open.get_or_insert_with(|| Segment {
            first,
            place,
            before,
            after: before,
            from: now,
            to: now,
            marks: Vec::with_capacity(LINES_PER_SEGMENT * MARK),
        });
        open.after = self.value;
        open.to = now;
        open.marks.extend_from_slice(&digest[..MARK]);
    }

    /// Ends the open segment here, so that what is signed next is a segment's end.
    pub fn close(&mut self) {
        if let Some(open) = self.open.take() {
            if self.closed.len() >= MAX_HELD {
                self.closed.remove(0);
            }
            self.closed.push(open);
        }
    }

    /// How many lines it has, and its value.
    pub fn end(&self) -> (u64, [u8; 32]) {
        (self.lines, self.value)
    }

    /// The closed segments that nobody has taken yet, oldest first.
    pub fn closed(&self) -> &[Segment] {
        &self.closed
    }

    /// They are kept elsewhere now.
    pub fn forget_closed(&mut self) {
        self.closed.clear();
    }

    /// This chain at rest; its closed segments are kept elsewhere.
    pub fn snapshot(&self) -> ChainSnapshot {
        ChainSnapshot::V1 { lines: self.lines, value: hex(&self.value), open: self.open.as_ref().map(SegmentAtRest::of) }
    }

    /// The chain that was at rest; `None` if what was at rest is no chain.
    pub fn restore(snapshot: ChainSnapshot) -> Option<Self> {
        let ChainSnapshot::V1 { lines, value, open } = snapshot;
        let open = match open {
            Some(open) => Some(open.segment()?),
            None => None,
        };
        Some(Self { lines, value: digest(&value)?, open, last_offset: 0, closed: Vec::new() })
    }
}

/// A [`Chain`] at rest. Versioned from the first day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum ChainSnapshot {
    /// The first format; digests and marks in hexadecimal.
    #[serde(rename = "1")]
    V1 {
        /// How many lines it has.
        lines: u64,
        /// Its value after the last of them.
        value: String,
        /// The segment that is not closed.
        open: Option<SegmentAtRest>,
    },
}

impl ChainSnapshot {
    /// How many lines the chain has.
    pub fn lines(&self) -> u64 {
        let Self::V1 { lines, .. } = self;
        *lines
    }

    /// The segment that is not closed.
    pub fn open(self) -> Option<Segment> {
        let Self::V1 { open, .. } = self;
        open?.segment()
    }
}

/// A [`Segment`] at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentAtRest {
    first: u64,
    #[serde(flatten)]
    place: Place,
    before: String,
    after: String,
    from: Timestamp,
    to: Timestamp,
    marks: String,
}

impl SegmentAtRest {
    /// For being kept.
    pub fn of(segment: &Segment) -> Self {
        let Segment { first, place, from, to, .. } = *segment;
        Self { first, place, before: hex(&segment.before), after: hex(&segment.after), from, to, marks: hex(&segment.marks) }
    }

    /// As it was; `None` if it is none.
    pub fn segment(self) -> Option<Segment> {
        let Self { first, place, from, to, .. } = self;
        let marks = from_hex(&self.marks).filter(|marks| !marks.is_empty() && marks.len() % MARK == 0)?;
        Some(Segment { first, place, before: digest(&self.before)?, after: digest(&self.after)?, from, to, marks })
    }
}

fn digest(text: &str) -> Option<[u8; 32]> {
    from_hex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's own numbers")]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn feed(chain: &mut Chain, lines: std::ops::Range<u64>, file: u64) {
        for n in lines {
            chain.line(format!("line {n}").as_bytes(), Place { file, offset: n }, at(i64::try_from(n).unwrap()));
        }
    }

    #[test]
    fn the_chain_is_what_the_format_says() {
        let sha = |parts: &[&[u8]]| -> [u8; 32] { parts.iter().fold(Sha256::new(), Digest::chain_update).finalize().into() };
        let mut chain = Chain::default();
        let begins = sha(&[b"keyward audit chain 1\n"]);
        assert_eq!(chain.end(), (0, begins));
        chain.line(b"one", Place::default(), at(1));
        let one = sha(&[&begins, &sha(&[b"one"])]);
        chain.line(b"", Place::default(), at(2));
        assert_eq!(chain.end(), (2, sha(&[&one, &sha(&[b""])])));
    }

    #[test]
    fn segments_end_with_their_file_and_link_up() {
        let mut chain = Chain::default();
        feed(&mut chain, 0..1_500, 1);
        feed(&mut chain, 1_500..1_510, 2);
        chain.close();
        let shape: Vec<_> = chain.closed().iter().map(|s| (s.first, s.last(), s.place.file)).collect();
        assert_eq!(shape, [(1, 1_024, 1), (1_025, 1_500, 1), (1_501, 1_510, 2)]);
        assert!(chain.closed().windows(2).all(|pair| pair[0].after == pair[1].before));
        assert_eq!(chain.closed()[2].after, chain.end().1);
    }

    #[test]
    fn a_file_that_takes_over_the_number_of_another_begins_a_segment() {
        let mut chain = Chain::default();
        for offset in [0, 10, 20, 0, 10] {
            chain.line(b"x", Place { file: 7, offset }, at(0));
        }
        chain.close();
        assert_eq!(chain.closed().iter().map(|s| (s.first, s.lines())).collect::<Vec<_>>(), [(1, 3), (4, 2)]);
    }

    #[test]
    fn at_rest_in_the_middle_of_a_segment_it_goes_on_as_if_nothing_had_been() {
        let (mut whole, mut rested) = (Chain::default(), Chain::default());
        feed(&mut whole, 0..2_000, 1);
        feed(&mut rested, 0..700, 1);
        let text = serde_json::to_string(&rested.snapshot()).unwrap();
        let mut rested = Chain::restore(serde_json::from_str(&text).unwrap()).unwrap();
        feed(&mut rested, 700..2_000, 1);
        assert_eq!((whole.end(), whole.closed(), whole.snapshot()), (rested.end(), rested.closed(), rested.snapshot()));
    }

    #[test]
    fn segments_that_nobody_takes_stay_bounded() {
        let mut chain = Chain::default();
        for n in 0..MAX_HELD as u64 + 10 {
            chain.line(b"x", Place { file: n, offset: 0 }, at(0));
        }
        assert_eq!(chain.closed().len(), MAX_HELD);
    }
}
