//! Follows one path from file to file. Never decides what a line means, never waits.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointV1, Position};
use crate::event::{Counters, Error, Event, GapReason};
use crate::framer::{Cut, Framer};
use crate::identity::{ContentTag, FileId, HEAD_BYTES, modified};
use crate::siblings::{Between, Family};
use crate::source::Source;
use crate::stream::{Line, Options, PollOutcome, Start};

/// How many files that were read to their end are remembered.
const FINISHED_REMEMBERED: usize = 32;
/// How many files waiting to be read are held open at once; the rest is found when these are done.
const QUEUE: usize = 64;
/// How many changes of file one poll makes before it returns to its caller.
const CHANGES_PER_POLL: usize = 64;

/// A condition of the path that lasts and is told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Missing,
    Unreadable(io::ErrorKind),
}

/// What reading one chunk came to.
enum Step {
    Read(u64),
    End,
    Changed,
    Blocked,
}

/// Reads one path as one endless stream.
///
/// It holds the file open, so that a renamed or deleted file is read to its end; it goes on to a next file only when that
/// file has content and the old one did not grow between two polls.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    family: Family,
    options: Options,
    framer: Framer,
    /// Where to go on once a file is open; given by the checkpoint, gone after the first file was opened.
    resume: Option<Position>,
    start: Start,
    current: Option<Source>,
    /// Files to read after the current one, oldest first.
    queue: VecDeque<Source>,
    finished: Vec<(FileId, ContentTag)>,
    counters: Counters,
    trouble: Option<Trouble>,
    scratch: Box<[u8; HEAD_BYTES]>,
}

impl Follower {
    /// Prepares to follow `path`; nothing is opened before the first [`Follower::poll`].
    ///
    /// A file that is missing or unreadable is no error: it is an event, and is tried again at each poll.
    pub fn open(path: &Path, checkpoint: Option<Checkpoint>, options: Options) -> Result<Self, Error> {
        if path.file_name().is_none() {
            return Err(Error::Path { path: path.to_owned() });
        }
        // With a checkpoint, a file that appeared while nobody followed is all news.
        let start = if checkpoint.is_some() { Start::Beginning } else { options.start };
        let v1 = checkpoint.map(Checkpoint::into_v1).unwrap_or_default();
        Ok(Self {
            path: path.to_owned(),
            family: Family::of(path),
            framer: Framer::new(options.max_line, options.chunk),
            options,
            resume: v1.position,
            start,
            current: None,
            queue: VecDeque::new(),
            finished: v1.finished,
            counters: v1.counters,
            trouble: None,
            scratch: Box::new([0; HEAD_BYTES]),
        })
    }

    /// Delivers whole lines until the end of what is there, or until about [`Options::poll_bytes`] were read. Never waits.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Line<'_>)) -> PollOutcome {
        let mut outcome = PollOutcome::default();
        let mut budget = self.options.poll_bytes;
        for _ in 0..CHANGES_PER_POLL {
            if self.current.is_none() && !self.acquire(&mut outcome) {
                outcome.at_end = true;
                break;
            }
            match self.read_to_end(&mut budget, sink, &mut outcome) {
                Step::Read(_) => break,
                Step::End if self.advance(&mut outcome) => {}
                Step::Changed => self.recover_from_truncation(&mut outcome),
                Step::End | Step::Blocked => {
                    outcome.at_end = true;
                    break;
                }
            }
        }
        self.counters.lines += outcome.lines;
        self.counters.bytes += outcome.bytes;
        outcome
    }

    /// The position after the last line delivered, with the counters that belong to it.
    ///
    /// Store it only after what those lines caused has been accepted; after a crash everything since is delivered again.
    pub fn checkpoint(&self) -> Checkpoint {
        let position = self.current.as_ref().map(Source::position).or_else(|| self.resume.clone());
        Checkpoint::V1(CheckpointV1 { position, counters: self.counters, finished: self.finished.clone() })
    }

    /// What was counted since the first checkpoint of this path.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many bytes were written but not yet delivered as whole lines, in the files known at present.
    pub fn bytes_behind(&self) -> u64 {
        let mut behind = 0;
        let mut live = fs::metadata(&self.path).ok().map(|metadata| (FileId::of(&metadata), metadata.len()));
        for source in self.current.iter().chain(&self.queue) {
            behind += source.length().unwrap_or(source.offset).saturating_sub(source.offset);
            live = live.filter(|(id, _)| *id != source.id);
        }
        behind + live.map_or(0, |(_, length)| length)
    }

    /// Reads chunk after chunk of the current file until its end, its change, or the end of the budget.
    fn read_to_end(&mut self, budget: &mut u64, sink: &mut dyn FnMut(Line<'_>), outcome: &mut PollOutcome) -> Step {
        loop {
            match self.read_chunk(sink, outcome) {
                Step::Read(read) => {
                    *budget = budget.saturating_sub(read);
                    if *budget == 0 {
                        return Step::Read(read);
                    }
                }
                other => return other,
            }
        }
    }

    fn read_chunk(&mut self, sink: &mut dyn FnMut(Line<'_>), outcome: &mut PollOutcome) -> Step {
        let Some(source) = self.current.as_mut() else { return Step::Blocked };
        let at = source.offset + self.framer.held();
        // The head is checked after the read and before anything is delivered: a truncation in between shows either way.
        let read = match source.file.read_at(self.framer.room(), at) {
            Ok(read) => source.head_unchanged(&mut self.scratch).map(|same| same.then_some(read)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Step::Read(0),
            Err(error) => Err(error),
        };
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Step::Changed,
            Err(error) => {
                let path = source.path.clone();
                self.note(Some(Trouble::Unreadable(error.kind())), path, outcome);
                return Step::Blocked;
            }
        };
        let Ok(metadata) = source.file.metadata() else { return Step::Blocked };
        source.modified = modified(&metadata);
        if read == 0 {
            return if metadata.len() < at { Step::Changed } else { Step::End };
        }
        source.was_quiet = false;
        self.framer.filled(read);
        loop {
            match self.framer.cut() {
                Cut::Line(range) => {
                    let bytes = self.framer.line(range);
                    sink(Line { bytes, file: source.id, offset: source.offset });
                    let length = bytes.len() as u64 + 1;
                    source.offset += length;
                    outcome.lines += 1;
                    outcome.bytes += length;
                }
                Cut::TooLong(bytes) => {
                    outcome.events.push(Event::TooLong { offset: source.offset, bytes });
                    self.counters.too_long += 1;
                    source.offset += bytes;
                }
                Cut::Nothing => return Step::Read(read as u64),
            }
        }
    }

    /// Opens the first file: the one the checkpoint names, else what stands under the path.
    fn acquire(&mut self, outcome: &mut PollOutcome) -> bool {
        if let Some(position) = self.resume.clone() {
            // A file that was empty has nothing to be recognised by; its inode may be another file's by now.
            let found = if position.tag.length > 0 { self.family.find(&position) } else { None };
            if let Some(mut found) = found {
                // The same inode still stands under the path, but its content now stands elsewhere: it was copied and cut.
                let live = fs::metadata(&self.path).ok().map(|metadata| FileId::of(&metadata));
                found.is_copy = found.id != position.file && live == Some(position.file);
                if found.is_copy {
                    self.counters.truncations += 1;
                    outcome.events.push(Event::Truncated { recovered_from: Some(found.path.clone()) });
                }
                self.begin(found, outcome);
                return true;
            }
            return self.acquire_by_age(&position, outcome);
        }
        let Some(mut live) = self.open_live(outcome) else { return false };
        if self.start == Start::End && live.seek_to_last_line(self.options.max_line as u64).is_err() {
            return false;
        }
        self.begin(live, outcome);
        true
    }

    /// The checkpoint's file cannot be recognised: goes on with whatever was written after it, and says what that means.
    fn acquire_by_age(&mut self, position: &Position, outcome: &mut PollOutcome) -> bool {
        let Some(live) = self.open_live(outcome) else { return false };
        let was_empty = position.tag.length == 0;
        if live.id == position.file && !was_empty {
            self.counters.truncations += 1;
            outcome.events.push(Event::Truncated { recovered_from: None });
        }
        if !(was_empty && (live.id == position.file || self.family.has(position.file))) {
            self.gap(GapReason::FileGone, outcome);
        }
        let between = self.family.newer_than(position, false, Some(live.id), &self.finished, QUEUE);
        self.tell_unread(&between, outcome);
        // An empty rotated file may be the one that the writer still keeps.
        let kept = between.sources.is_empty().then(|| self.family.oldest_empty(position)).flatten();
        self.queue.extend(between.sources);
        self.queue.extend(kept);
        // An empty file is no proof yet that its writer has left the one before it.
        if self.queue.is_empty() || !live.head.is_empty() {
            self.queue.push_back(live);
        }
        if let Some(first) = self.queue.pop_front() {
            self.begin(first, outcome);
        }
        true
    }

    /// At the end of the current file: goes on to the next one if there is one and this one is over. Says whether it did.
    fn advance(&mut self, outcome: &mut PollOutcome) -> bool {
        let Some(current) = &self.current else { return false };
        if self.queue.is_empty() {
            if fs::metadata(&self.path).is_ok_and(|live| FileId::of(&live) == current.id) {
                self.note(None, PathBuf::new(), outcome);
                return false;
            }
            let anchor = current.position();
            let is_copy = current.is_copy;
            // Opened before the folder is listed: a file rotated away in between is then in the listing.
            let live = self.open_live(outcome);
            let between = self.family.newer_than(&anchor, true, live.as_ref().map(|live| live.id), &self.finished, QUEUE);
            let live = live.filter(|live| {
                let still = fs::metadata(&self.path).is_ok_and(|now| FileId::of(&now) == live.id);
                still && between.sources.len() < QUEUE && (is_copy || !live.head.is_empty())
            });
            if live.is_none() && between.sources.is_empty() {
                return false;
            }
            // The successor's content was seen first; only now does "still at its end" mean that the old file is over.
            if let Some(current) = self.current.as_mut().filter(|current| !is_copy && !current.was_quiet) {
                current.was_quiet = true;
                return false;
            }
            self.tell_unread(&between, outcome);
            self.queue.extend(between.sources);
            self.queue.extend(live);
        }
        self.finish_current(outcome);
        if let Some(next) = self.queue.pop_front() {
            self.begin(next, outcome);
        }
        true
    }

    fn finish_current(&mut self, outcome: &mut PollOutcome) {
        let Some(current) = self.current.take() else { return };
        let held = self.framer.held();
        if held > 0 {
            self.counters.torn += 1;
            outcome.events.push(Event::Torn { bytes: held });
        }
        self.framer.reset();
        // An empty file leaves nothing to recognise it by, and its inode may soon be another file's.
        if !current.head.is_empty() {
            if self.finished.len() >= FINISHED_REMEMBERED {
                self.finished.remove(0);
            }
            self.finished.push((current.id, current.tag()));
        }
        if !current.is_copy {
            self.counters.rotations += 1;
            outcome.events.push(Event::Rotated);
        }
    }

    /// The current file was cut or rewritten in place: goes on in its copy if there is one, then at its new beginning.
    fn recover_from_truncation(&mut self, outcome: &mut PollOutcome) {
        let Some(current) = self.current.as_mut() else { return };
        self.counters.truncations += 1;
        let held = self.framer.held();
        self.framer.reset();
        let copy = self.family.find_copy(&current.position());
        outcome.events.push(Event::Truncated { recovered_from: copy.as_ref().map(|copy| copy.path.clone()) });
        if let Some(mut copy) = copy {
            copy.is_copy = true;
            self.begin(copy, outcome);
            return;
        }
        current.offset = 0;
        current.head.clear();
        current.was_quiet = false;
        if held > 0 {
            self.counters.torn += 1;
            outcome.events.push(Event::Torn { bytes: held });
        }
        self.gap(GapReason::FileGone, outcome);
    }

    fn begin(&mut self, source: Source, outcome: &mut PollOutcome) {
        outcome.events.push(Event::Opened { path: source.path.clone(), offset: source.offset });
        self.framer.reset();
        self.resume = None;
        self.current = Some(source);
    }

    fn open_live(&mut self, outcome: &mut PollOutcome) -> Option<Source> {
        let (source, trouble) = match Source::open(&self.path, 0) {
            Ok(source) => (Some(source), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Some(Trouble::Missing)),
            Err(error) => (None, Some(Trouble::Unreadable(error.kind()))),
        };
        self.note(trouble, self.path.clone(), outcome);
        source
    }

    /// Tells a lasting condition once, when it begins.
    fn note(&mut self, trouble: Option<Trouble>, path: PathBuf, outcome: &mut PollOutcome) {
        if self.trouble == trouble {
            return;
        }
        self.trouble = trouble;
        match trouble {
            None => {}
            Some(Trouble::Missing) => {
                self.counters.missing += 1;
                outcome.events.push(Event::Missing);
            }
            Some(Trouble::Unreadable(kind)) => {
                self.counters.unreadable += 1;
                outcome.events.push(Event::Unreadable { path, kind });
            }
        }
    }

    fn gap(&mut self, reason: GapReason, outcome: &mut PollOutcome) {
        self.counters.gaps += 1;
        outcome.events.push(Event::Gap { reason });
    }

    fn tell_unread(&mut self, between: &Between, outcome: &mut PollOutcome) {
        for path in &between.compressed {
            self.gap(GapReason::Compressed(path.clone()), outcome);
        }
        for path in &between.unreadable {
            self.gap(GapReason::Unreadable(path.clone()), outcome);
        }
    }
}
