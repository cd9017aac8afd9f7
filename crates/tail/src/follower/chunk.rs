//! Reading one chunk after another of the current file. Never decides what comes after its end.

use std::io;

use super::{Follower, Trouble, count};
use crate::envelope::Taken;
use crate::event::{Event, GapReason};
use crate::framer::Cut;
use crate::source::Got;
use crate::stream::{Line, PollOutcome};

/// What reading one chunk came to.
pub(super) enum Step {
    Read(u64),
    End,
    /// The file is not what it was: cut, or written anew.
    Changed,
    /// It was empty when we came to it, and may have been written, copied and cut before anything of it was read.
    Unseen,
    /// The open file is of no use any more, as when another machine has removed it from a network file system.
    Stale,
    Blocked,
}

impl Follower {
    /// Reads chunk after chunk of the current file until its end, its change, or the end of the budget.
    pub(super) fn read_to_end(&mut self, budget: &mut u64, sink: &mut dyn FnMut(Line<'_>), outcome: &mut PollOutcome) -> Step {
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
        let at = source.offset.saturating_add(self.framer.held());
        // The head is checked after the read and before anything is delivered: a truncation in between shows either way.
        let read = match source.read(self.framer.room(), at) {
            Ok(Got::Bytes(read)) => source.head_unchanged(&mut self.scratch).map(|same| same.then_some(read)),
            Ok(Got::Passed(passed)) => return Step::Read(passed),
            Ok(Got::Broken) => {
                let path = source.path.clone();
                self.gap(GapReason::Damaged(path), outcome);
                return Step::Read(0); // the next read is the end
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Step::Read(0),
            Err(error) => Err(error),
        };
        let read = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Step::Changed,
            Err(error) if error.kind() == io::ErrorKind::StaleNetworkFileHandle => return Step::Stale,
            Err(error) => {
                let trouble = Trouble::Unreadable(source.path.clone(), error.kind());
                self.note(Some(trouble), outcome);
                return Step::Blocked;
            }
        };
        let Ok((length, modified)) = source.look() else { return Step::Blocked };
        if source.is_fresh && (read > 0 || source.modified != modified) {
            return Step::Unseen;
        }
        source.modified = modified;
        if read == 0 {
            return if length.is_some_and(|length| length < at) { Step::Changed } else { Step::End };
        }
        source.was_quiet = false;
        self.framer.filled(read);
        self.deliver(sink, outcome);
        Step::Read(read as u64)
    }

    /// Gives out every whole line that the framer holds.
    fn deliver(&mut self, sink: &mut dyn FnMut(Line<'_>), outcome: &mut PollOutcome) {
        loop {
            let cut = self.framer.cut();
            let Some(source) = self.current.as_mut() else { return };
            match cut {
                Cut::Line(range) if self.joiner.is_plain() => {
                    let bytes = self.framer.line(range);
                    sink(Line { bytes, file: source.id, offset: source.offset });
                    let length = bytes.len() as u64 + 1;
                    source.offset = source.offset.saturating_add(length);
                    self.counters.lines = self.counters.lines.saturating_add(1);
                    self.counters.bytes = self.counters.bytes.saturating_add(length);
                }
                Cut::Line(range) => self.unwrap(range, sink, outcome),
                Cut::TooLong(bytes) => {
                    outcome.events.push(Event::TooLong { offset: source.offset, bytes });
                    count(&mut self.counters.too_long);
                    source.offset = source.offset.saturating_add(bytes);
                }
                Cut::Nothing => return,
            }
        }
    }

    /// Takes a line out of its envelope; a part is held until the rest of its line has come.
    fn unwrap(&mut self, range: std::ops::Range<usize>, sink: &mut dyn FnMut(Line<'_>), outcome: &mut PollOutcome) {
        // The place before the first part, which is the checkpoint until the line is whole.
        let before = (!self.joiner.is_open()).then(|| self.place_if_part(&range)).flatten();
        let Some(source) = self.current.as_mut() else { return };
        let bytes = self.framer.line(range);
        let length = bytes.len() as u64 + 1;
        match self.joiner.take(bytes) {
            Taken::Line(bytes) => {
                sink(Line { bytes, file: source.id, offset: source.offset });
                self.counters.lines = self.counters.lines.saturating_add(1);
            }
            Taken::TooLong(bytes) => {
                outcome.events.push(Event::TooLong { offset: source.offset, bytes });
                count(&mut self.counters.too_long);
            }
            Taken::Part | Taken::Other => {}
        }
        source.offset = source.offset.saturating_add(length);
        self.counters.bytes = self.counters.bytes.saturating_add(length);
        if !self.joiner.is_open() {
            self.held = None;
        } else if before.is_some() {
            self.held = before;
        }
    }

    /// Where we are, if the line in the framer is one that goes on.
    fn place_if_part(&self, range: &std::ops::Range<usize>) -> Option<crate::checkpoint::CheckpointV1> {
        self.joiner.begins_part(self.framer.line(range.clone())).then(|| self.place())
    }
}
