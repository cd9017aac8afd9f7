//! Follows one path from file to file. Never decides what a line means, never waits.

mod chunk;
mod turn;

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, CheckpointV1, Position};
use crate::envelope::Joiner;
use crate::event::{Counters, Error, Event, GapReason};
use crate::framer::Framer;
use crate::identity::{ContentTag, FileId, HEAD_BYTES};
use crate::siblings::Family;
use crate::source::Source;
use crate::stream::{Line, Options, PollOutcome, Start};
use chunk::Step;

/// How many files that were read to their end are remembered.
const FINISHED_REMEMBERED: usize = 32;
/// How many files waiting to be read are held open at once; the rest is found when these are done.
const QUEUE: usize = 64;
/// How many changes of file one poll makes before it returns to its caller.
const CHANGES_PER_POLL: usize = 64;

/// A condition of the path that lasts and is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    Missing,
    Unreadable(PathBuf, io::ErrorKind),
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
    joiner: Joiner,
    /// Where the line began whose parts the joiner holds: until it is whole, this is the checkpoint.
    held: Option<CheckpointV1>,
    /// Where to go on once a file is open; given by the checkpoint, gone after the first file was opened.
    resume: Option<Position>,
    start: Start,
    current: Option<Source>,
    /// Files to read after the current one, oldest first.
    queue: VecDeque<Source>,
    finished: Vec<(FileId, ContentTag)>,
    counters: Counters,
    trouble: Option<Trouble>,
    /// Polls in a row that waited for a file that cannot be opened.
    waited: u32,
    scratch: Box<[u8; HEAD_BYTES]>,
}

impl Follower {
    /// Prepares to follow `path`; nothing is opened before the first [`Follower::poll`].
    ///
    /// A file that is missing or unreadable is no error: it is an event, and is tried again at each poll. Whatever a checkpoint
    /// says that could be decoded, following from it never panics; a place that does not exist any more is a gap.
    pub fn open(path: &Path, checkpoint: Option<Checkpoint>, options: Options) -> Result<Self, Error> {
        if path.file_name().is_none() {
            return Err(Error::Path { path: path.to_owned() });
        }
        // With a checkpoint, a file that appeared while nobody followed is all news.
        let start = if checkpoint.is_some() { Start::Beginning } else { options.start };
        let mut v1 = checkpoint.map(Checkpoint::into_v1).unwrap_or_default();
        v1.finished.truncate(FINISHED_REMEMBERED);
        Ok(Self {
            path: path.to_owned(),
            family: Family::of(path),
            framer: Framer::new(options.max_line, options.chunk),
            joiner: Joiner::new(options.format, options.max_line),
            held: None,
            options,
            resume: v1.position,
            start,
            current: None,
            queue: VecDeque::new(),
            finished: v1.finished,
            counters: v1.counters,
            trouble: None,
            waited: 0,
            scratch: Box::new([0; HEAD_BYTES]),
        })
    }

    /// Delivers whole lines until the end of what is there, or until about [`Options::poll_bytes`] were read. Never waits.
    pub fn poll(&mut self, sink: &mut dyn FnMut(Line<'_>)) -> PollOutcome {
        let mut outcome = PollOutcome::default();
        let mut budget = self.options.poll_bytes;
        let before = (self.counters.lines, self.counters.bytes);
        for _ in 0..CHANGES_PER_POLL {
            if self.current.is_none() && !self.acquire(&mut outcome) {
                outcome.at_end = true;
                break;
            }
            match self.read_to_end(&mut budget, sink, &mut outcome) {
                Step::Read(_) => break,
                Step::End if self.advance(&mut outcome) => {}
                Step::Changed => self.recover_from_truncation(&mut outcome),
                Step::Unseen => self.recover_unseen(&mut outcome),
                Step::Stale => self.look_again(),
                Step::End | Step::Blocked => {
                    outcome.at_end = true;
                    break;
                }
            }
        }
        outcome.lines = self.counters.lines.saturating_sub(before.0);
        outcome.bytes = self.counters.bytes.saturating_sub(before.1);
        outcome
    }

    /// The position after the last line delivered, with the counters that belong to it.
    ///
    /// Store it only after what those lines caused has been accepted; after a crash everything since is delivered again.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint::V1(self.held.clone().unwrap_or_else(|| self.place()))
    }

    /// What was counted since the first checkpoint of this path.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many bytes were written but not yet delivered as whole lines, in the files known at present. Of a compressed file, the
    /// compressed bytes that were not yet read.
    pub fn bytes_behind(&self) -> u64 {
        let mut live = fs::metadata(&self.path).ok().map(|metadata| (FileId::of(&metadata), metadata.len()));
        let mut behind = 0_u64;
        for source in self.current.iter().chain(&self.queue) {
            behind = behind.saturating_add(source.behind());
            live = live.filter(|(id, _)| *id != source.id);
        }
        behind.saturating_add(live.map_or(0, |(_, length)| length))
    }

    fn place(&self) -> CheckpointV1 {
        let position = self.current.as_ref().map(Source::position).or_else(|| self.resume.clone());
        CheckpointV1 { position, counters: self.counters, finished: self.finished.clone() }
    }

    /// Tells a lasting condition once, when it begins.
    fn note(&mut self, trouble: Option<Trouble>, outcome: &mut PollOutcome) {
        if self.trouble == trouble {
            return;
        }
        match &trouble {
            None => {}
            Some(Trouble::Missing) => {
                count(&mut self.counters.missing);
                outcome.events.push(Event::Missing);
            }
            Some(Trouble::Unreadable(path, kind)) => {
                count(&mut self.counters.unreadable);
                outcome.events.push(Event::Unreadable { path: path.clone(), kind: *kind });
            }
        }
        self.trouble = trouble;
    }

    fn gap(&mut self, reason: GapReason, outcome: &mut PollOutcome) {
        count(&mut self.counters.gaps);
        outcome.events.push(Event::Gap { reason });
    }

    fn torn(&mut self, bytes: u64, outcome: &mut PollOutcome) {
        if bytes > 0 {
            count(&mut self.counters.torn);
            outcome.events.push(Event::Torn { bytes });
        }
    }
}

/// Counters come from a stored checkpoint, which may say anything.
fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}
