//! What came of a comparison, in words that name files and lines.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::chain::Segment;

/// More differences than this are counted, and not listed one by one.
const LISTED: usize = 1_000;
/// In more missing lines than this nobody looks for those that were only moved.
const MOVABLE: usize = 1_000_000;

/// A line of the archive: the file by its number among those given, and the line in it from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// The file's number, from 0.
    pub file: usize,
    /// The line's, from 1.
    pub line: u64,
}

/// Between which lines something is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    /// Right before this line.
    Before(Spot),
    /// At the archive's end.
    End,
}

/// One thing that is not as it was. Numbers are those of the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The line has another content.
    Changed {
        /// Its number.
        number: u64,
        /// Where it stands.
        at: Spot,
    },
    /// Lines are not there.
    Removed {
        /// The first one's number.
        first: u64,
        /// The last one's.
        last: u64,
        /// Where they belong.
        at: Where,
    },
    /// Lines stand there that the chain does not have.
    Added {
        /// The first of them.
        at: Spot,
        /// How many.
        lines: u64,
    },
    /// A line stands in another place.
    Moved {
        /// Its number.
        number: u64,
        /// Where it stands now.
        at: Spot,
    },
    /// The lines fit by their marks, and yet not all of them are what they were.
    Altered {
        /// The first line's number.
        first: u64,
        /// The last one's.
        last: u64,
        /// Where the first one stands.
        at: Option<Spot>,
    },
}

/// A place where archive and chain do not fit.
#[derive(Debug)]
pub(super) struct Hunk {
    /// Positions among the marks.
    pub(super) missing: Range<usize>,
    pub(super) extra: Vec<(Spot, u32)>,
    /// The archive's next line that fits again.
    pub(super) before: Option<Spot>,
}

/// What came of a comparison.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Lines of the archive.
    pub lines: u64,
    /// The number in the chain of the first line that was compared.
    pub first: u64,
    /// And of the last one.
    pub last: u64,
    /// Segments that are proved to be what they were.
    pub proved: u64,
    /// Segments that are not, by the number of their first and last line.
    pub altered: Vec<(u64, u64)>,
    /// What is not as it was, at most a thousand things.
    pub differences: Vec<Difference>,
    /// How many more there are.
    pub unlisted: u64,
    /// Lines before the chain's first: evidence began after them.
    pub before: u64,
    /// Lines after the chain's last: read by nobody yet, or evidence was off.
    pub after: u64,
    /// Lines of the chain in files after those given.
    pub rest: u64,
    /// Places where the kept segments do not link up: the evidence itself was tampered with.
    pub broken_links: u64,
    /// Places where segments are missing among those kept.
    pub gaps: u64,
    pub(super) segments: BTreeMap<usize, State>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct State {
    begins: Option<Spot>,
    is_touched: bool,
    is_proved: bool,
    is_refuted: bool,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_well(&self) -> bool {
        self.altered.is_empty() && self.differences.is_empty() && self.broken_links == 0
    }

    pub(super) fn begun(&mut self, spot: Spot, segment: usize) {
        self.segments.entry(segment).or_default().begins.get_or_insert(spot);
    }

    pub(super) fn touch(&mut self, segment: usize) {
        self.segments.entry(segment).or_default().is_touched = true;
    }

    pub(super) fn is_touched(&self, segment: usize) -> bool {
        self.segments.get(&segment).is_some_and(|state| state.is_touched)
    }

    pub(super) fn proved(&mut self, segment: usize, is_proved: bool) {
        let state = self.segments.entry(segment).or_default();
        (state.is_proved, state.is_refuted) = (is_proved, !is_proved);
    }

    fn list(&mut self, difference: Difference) {
        if self.differences.len() < LISTED {
            self.differences.push(difference);
        } else {
            self.unlisted += 1;
        }
    }
}

/// The verdict, from where archive and chain did not fit.
pub(super) fn judge(mut verdict: Verdict, hunks: &[Hunk], segments: &[Segment], marks: &[u32], starts: &[usize]) -> Verdict {
    let number = |position: usize| {
        let segment = starts.partition_point(|start| *start <= position).saturating_sub(1);
        segments.get(segment).zip(starts.get(segment)).map_or(0, |(segment, start)| segment.first + (position - start) as u64)
    };
    let moved = moved(hunks, marks);
    for hunk in hunks {
        let mut missing = hunk.missing.clone().filter(|position| !moved.from.contains_key(position)).peekable();
        let mut extras = hunk.extra.iter().map(|(spot, _)| *spot).filter(|spot| !moved.to.contains_key(spot)).peekable();
        while missing.peek().is_some() && extras.peek().is_some() {
            if let (Some(position), Some(at)) = (missing.next(), extras.next()) {
                verdict.list(Difference::Changed { number: number(position), at });
            }
        }
        let at = hunk.before.map_or(Where::End, Where::Before);
        while let Some(first) = missing.next() {
            let mut last = first;
            while let Some(next) = missing.next_if(|next| *next == last + 1) {
                last = next;
            }
            verdict.list(Difference::Removed { first: number(first), last: number(last), at });
        }
        while let Some(at) = extras.next() {
            let mut lines = 1;
            while extras.next_if(|next| next.file == at.file && next.line == at.line + lines).is_some() {
                lines += 1;
            }
            verdict.list(Difference::Added { at, lines });
        }
        for (spot, position) in hunk.extra.iter().filter_map(|(spot, _)| Some((*spot, *moved.to.get(spot)?))) {
            verdict.list(Difference::Moved { number: number(position), at: spot });
        }
    }
    for (index, state) in std::mem::take(&mut verdict.segments) {
        let Some(segment) = segments.get(index) else { continue };
        if state.is_proved && !state.is_touched {
            verdict.proved += 1;
        } else if state.is_touched || state.is_refuted {
            verdict.altered.push((segment.first, segment.last()));
        }
        if state.is_refuted && !state.is_touched {
            verdict.list(Difference::Altered { first: segment.first, last: segment.last(), at: state.begins });
        }
    }
    verdict
}

/// Lines that are missing in one place and stand in another.
#[derive(Default)]
struct Moved {
    /// Positions in the chain.
    from: HashMap<usize, Spot>,
    to: HashMap<Spot, usize>,
}

fn moved(hunks: &[Hunk], marks: &[u32]) -> Moved {
    let mut moved = Moved::default();
    let missing: usize = hunks.iter().map(|hunk| hunk.missing.len()).sum();
    if missing > MOVABLE {
        return moved;
    }
    let mut places: HashMap<u32, usize> = HashMap::new();
    for position in hunks.iter().flat_map(|hunk| hunk.missing.clone()) {
        places.extend(marks.get(position).map(|mark| (*mark, position)));
    }
    for (spot, mark) in hunks.iter().flat_map(|hunk| &hunk.extra) {
        if let Some(position) = places.remove(mark) {
            moved.from.insert(position, *spot);
            moved.to.insert(*spot, position);
        }
    }
    moved
}
