//! An archive compared with the chain: what was changed, removed, added or moved, and where.
//!
//! Lines are brought together by their marks; where they part, the nearest place is sought at which two lines in a row fit again.
//! What fits by its marks is proved by the chain.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;

use super::chain::{Segment, line_digest, mark, next};
pub use super::verdict::{Difference, Spot, Verdict, Where};
use super::verdict::{Hunk, judge};

/// How many lines ahead a place is sought where archive and chain fit again, before the whole chain is searched.
const LOOKAHEAD: usize = 4_096;
/// From how many of the next lines the whole chain is searched.
const TRIES: usize = 64;

/// A comparison under way.
#[derive(Debug)]
pub struct Comparison {
    segments: Vec<Segment>,
    /// Where each segment begins among the marks.
    starts: Vec<usize>,
    marks: Vec<u32>,
    /// The next mark that is expected.
    position: usize,
    /// The chain's value over the lines of the present segment that fitted.
    value: [u8; 32],
    started: bool,
    ahead: VecDeque<Taken>,
    hunks: Vec<Hunk>,
    /// Lines after the chain's last, which may be moved ones; at most [`LOOKAHEAD`].
    trailing: Vec<(Spot, u32)>,
    verdict: Verdict,
}

/// A line of the archive.
#[derive(Clone, Copy, Debug)]
struct Taken {
    spot: Spot,
    digest: [u8; 32],
}

impl Taken {
    fn mark(&self) -> u32 {
        mark(&self.digest)
    }
}

impl Comparison {
    /// Begins a comparison with the segments of one chain, oldest first.
    pub fn new(segments: Vec<Segment>) -> Self {
        let mut marks = Vec::new();
        let mut starts = Vec::new();
        for segment in &segments {
            starts.push(marks.len());
            marks.extend(segment.each_mark());
        }
        let broken = segments.windows(2).filter(|pair| matches!(pair, [a, b] if a.last() + 1 == b.first && a.after != b.before)).count();
        let gaps = segments.windows(2).filter(|pair| matches!(pair, [a, b] if a.last() + 1 != b.first)).count();
        let verdict = Verdict { broken_links: broken as u64, gaps: gaps as u64, ..Verdict::default() };
        let value = [0; 32];
        Self {
            segments,
            starts,
            marks,
            position: 0,
            value,
            started: false,
            ahead: VecDeque::new(),
            hunks: Vec::new(),
            trailing: Vec::new(),
            verdict,
        }
    }

    /// Takes in the archive's next line, without its newline.
    pub fn line(&mut self, spot: Spot, line: &[u8]) {
        self.verdict.lines += 1;
        self.ahead.push_back(Taken { spot, digest: line_digest(line) });
        if self.ahead.len() > 2 * LOOKAHEAD {
            self.settle(LOOKAHEAD);
        }
    }

    /// The archive has ended: what came of it.
    pub fn finish(mut self) -> Verdict {
        self.settle(0);
        self.end();
        self.take_back_moved();
        judge(self.verdict, &self.hunks, &self.segments, &self.marks, &self.starts)
    }

    /// Settles lines until no more than so many are left.
    fn settle(&mut self, leave: usize) {
        if !self.started {
            self.begin();
        }
        while self.ahead.len() > leave {
            let (Some(line), expected) = (self.ahead.front().copied(), self.marks.get(self.position)) else { return };
            match expected {
                None => {
                    self.verdict.after += 1;
                    if self.trailing.len() < LOOKAHEAD {
                        self.trailing.push((line.spot, line.mark()));
                    }
                    self.ahead.pop_front();
                }
                Some(expected) if *expected == line.mark() => self.fits(&line),
                Some(_) => self.part(leave == 0),
            }
        }
    }

    /// Finds where in the chain the archive begins.
    fn begin(&mut self) {
        self.started = true;
        let begins_in_file = self.segments.first().is_some_and(|segment| segment.place.offset > 0);
        if begins_in_file && let Some(lines) = self.fit_ahead(0) {
            // What stands before the first line of a chain that began in the middle of a file is not covered by it.
            self.verdict.before = lines as u64;
            self.ahead.drain(..lines);
            return;
        }
        let found = (0..TRIES.min(self.ahead.len())).find_map(|skip| self.find(self.gram(skip)?, 0));
        if let Some(found) = found {
            let segment = self.segment_at(found);
            self.position = self.starts.get(segment).copied().unwrap_or(0);
        } else if begins_in_file {
            self.verdict.before = self.ahead.len() as u64;
            self.ahead.clear();
            self.started = false;
        }
        self.verdict.first = self.number(self.position);
    }

    /// How many lines stand before the first two that fit here.
    fn fit_ahead(&self, position: usize) -> Option<usize> {
        let expected = (*self.marks.get(position)?, self.marks.get(position + 1).copied());
        (0..self.ahead.len()).find(|skip| self.gram(*skip) == Some(expected))
    }

    fn fits(&mut self, line: &Taken) {
        let segment = self.segment_at(self.position);
        let Some(range) = self.range(segment) else { return };
        if self.position == range.start
            && let Some(segment) = self.segments.get(segment)
        {
            self.value = segment.before;
        }
        self.verdict.begun(line.spot, segment);
        self.value = next(&self.value, &line.digest);
        self.position += 1;
        self.ahead.pop_front();
        if self.position == range.end && !self.verdict.is_touched(segment) {
            let is_proved = self.segments.get(segment).is_some_and(|segment| segment.after == self.value);
            self.verdict.proved(segment, is_proved);
        }
    }

    /// Archive and chain do not fit here: goes on where they do again.
    fn part(&mut self, is_last: bool) {
        let (missing, extra) = self.rejoin().unwrap_or_else(|| {
            let rest = if is_last { self.ahead.len() } else { self.ahead.len() - LOOKAHEAD / 2 };
            let end = self.end_of_file(self.position) - self.position;
            (if is_last { rest.min(end) } else { 0 }, rest)
        });
        self.touch(self.position..self.position + missing.max(1));
        let extras = self.ahead.drain(..extra).map(|line| (line.spot, line.mark())).collect();
        let before = self.ahead.front().map(|line| line.spot);
        self.hunks.push(Hunk { missing: self.position..self.position + missing, extra: extras, before });
        self.position += missing;
        if self.range(self.segment_at(self.position)).is_some_and(|range| range.start != self.position) {
            self.touch(self.position..self.position + 1);
        }
    }

    /// How many lines of the chain are missing, and how many of the archive are too much, until both fit again: as few as can be.
    fn rejoin(&self) -> Option<(usize, usize)> {
        self.rejoin_near(2).or_else(|| self.rejoin_far()).or_else(|| self.rejoin_near(1))
    }

    fn rejoin_near(&self, length: usize) -> Option<(usize, usize)> {
        let end = self.marks.len().min(self.position + LOOKAHEAD);
        let second = |mark: Option<u32>| if length == 2 { mark } else { None };
        let mut places: HashMap<(u32, Option<u32>), usize> = HashMap::new();
        for index in (self.position..end).rev() {
            let Some(first) = self.marks.get(index) else { continue };
            places.insert((*first, second(self.marks.get(index + 1).copied())), index - self.position);
        }
        let mut best: Option<(usize, usize)> = None;
        for extra in 0..self.ahead.len() {
            if best.is_some_and(|(a, b)| a + b <= extra) {
                break;
            }
            let Some((first, next)) = self.gram(extra) else { continue };
            if let Some(missing) = places.get(&(first, second(next)))
                && best.is_none_or(|(a, b)| missing + extra < a + b)
            {
                best = Some((*missing, extra));
            }
        }
        best
    }

    fn rejoin_far(&self) -> Option<(usize, usize)> {
        let from = self.position + LOOKAHEAD;
        let tries = 0..TRIES.min(self.ahead.len());
        tries.filter_map(|extra| Some((self.find(self.gram(extra)?, from)? - self.position, extra))).min()
    }

    /// Two lines of the archive in a row.
    fn gram(&self, skip: usize) -> Option<(u32, Option<u32>)> {
        Some((self.ahead.get(skip)?.mark(), self.ahead.get(skip + 1).map(Taken::mark)))
    }

    /// Where in the chain two lines in a row stand, from a position on.
    fn find(&self, (first, second): (u32, Option<u32>), from: usize) -> Option<usize> {
        let marks = self.marks.get(from..)?;
        let fits = |index: &usize| marks.get(*index) == Some(&first) && second.is_none_or(|second| marks.get(index + 1) == Some(&second));
        (0..marks.len()).find(fits).map(|index| from + index)
    }

    /// The archive is over: what the chain still has of the file that it ended in is missing.
    fn end(&mut self) {
        self.verdict.last = self.position.checked_sub(1).map_or(0, |last| self.number(last));
        let at_start = self.starts.contains(&self.position);
        let end = if self.position == 0 || self.position >= self.marks.len() {
            self.position
        } else if at_start {
            let (before, here) = (self.segment_at(self.position - 1), self.segment_at(self.position));
            if self.is_continued(before, here) { self.end_of_file(self.position) } else { self.position }
        } else {
            self.end_of_file(self.position)
        };
        if end > self.position {
            self.touch(self.position..end);
            self.hunks.push(Hunk { missing: self.position..end, extra: Vec::new(), before: None });
        }
        self.verdict.rest = (self.marks.len() - end.min(self.marks.len())) as u64;
    }

    /// A line after the chain's last that is missing elsewhere has only been moved there.
    fn take_back_moved(&mut self) {
        let missing = self.hunks.iter().flat_map(|hunk| hunk.missing.clone()).filter_map(|position| self.marks.get(position));
        let missing: HashSet<u32> = missing.copied().collect();
        self.trailing.retain(|(_, mark)| missing.contains(mark));
        if !self.trailing.is_empty() {
            self.verdict.after -= self.trailing.len() as u64;
            let (end, extra) = (self.marks.len(), std::mem::take(&mut self.trailing));
            self.hunks.push(Hunk { missing: end..end, extra, before: None });
        }
    }

    /// Where the file that a position belongs to ends in the chain.
    fn end_of_file(&self, position: usize) -> usize {
        let mut segment = self.segment_at(position);
        while segment + 1 < self.segments.len() && self.is_continued(segment, segment + 1) {
            segment += 1;
        }
        self.range(segment).map_or(position, |range| range.end.max(position))
    }

    /// Whether a segment goes on in the file of the one before.
    fn is_continued(&self, before: usize, here: usize) -> bool {
        let place = |index| self.segments.get(index).map(|segment: &Segment| segment.place);
        matches!((place(before), place(here)), (Some(a), Some(b)) if a.file == b.file && a.offset < b.offset)
    }

    fn touch(&mut self, positions: Range<usize>) {
        if self.marks.is_empty() {
            return;
        }
        let last = self.marks.len() - 1;
        let (first, end) = (positions.start.min(last), (positions.end - 1).min(last));
        for segment in self.segment_at(first)..=self.segment_at(end) {
            self.verdict.touch(segment);
        }
    }

    fn segment_at(&self, position: usize) -> usize {
        self.starts.partition_point(|start| *start <= position).saturating_sub(1)
    }

    fn range(&self, segment: usize) -> Option<Range<usize>> {
        let start = *self.starts.get(segment)?;
        Some(start..self.starts.get(segment + 1).copied().unwrap_or(self.marks.len()))
    }

    /// The number in the chain of the line at a position.
    fn number(&self, position: usize) -> u64 {
        let segment = self.segment_at(position);
        let start = self.starts.get(segment).copied().unwrap_or(0);
        self.segments.get(segment).map_or(0, |segment| segment.first + (position - start) as u64)
    }
}
