//! From one file to the next: the first file, the end of a file, a file that was cut. Never reads a line.

use std::fs;
use std::io;

use super::{FINISHED_REMEMBERED, Follower, QUEUE, Trouble, count};
use crate::checkpoint::Position;
use crate::event::{Event, GapReason};
use crate::identity::FileId;
use crate::siblings::{Between, Found, Seen};
use crate::source::Source;
use crate::stream::{PollOutcome, Start};

/// How often a file that changes while we look is looked at again.
const LOOKS: usize = 10;

impl Follower {
    /// Opens the first file: the one the checkpoint names, else what stands under the path.
    pub(super) fn acquire(&mut self, outcome: &mut PollOutcome) -> bool {
        if let Some(position) = self.resume.clone() {
            // A file that was empty has nothing to be recognised by; its inode may be another file's by now.
            let found = if position.tells() { self.family.find(&position) } else { Found::Nowhere };
            return match found {
                Found::Here(found) => {
                    self.go_on_in(found, &position, outcome);
                    true
                }
                Found::Unreadable(path, kind) if self.may_wait() => {
                    self.note(Some(Trouble::Unreadable(path, kind)), outcome);
                    false
                }
                Found::Unreadable(..) | Found::Nowhere => self.acquire_by_age(&position, outcome),
            };
        }
        let (live, trouble) = self.open_live();
        self.note(trouble, outcome);
        let Some(mut live) = live else { return false };
        if self.start == Start::End && live.seek_to_last_line(self.options.max_line as u64).is_err() {
            return false;
        }
        self.begin(live.fresh_if_empty(), outcome);
        true
    }

    fn go_on_in(&mut self, mut found: Source, position: &Position, outcome: &mut PollOutcome) {
        // The same file still stands under the path, but its content now stands elsewhere: it was copied and cut. A new file with the
        // inode of the one that was compressed and deleted is not that.
        let is_live = fs::metadata(&self.path).is_ok_and(|metadata| position.is_of(&metadata));
        found.is_copy = found.id != position.file && is_live;
        if found.is_copy {
            count(&mut self.counters.truncations);
            outcome.events.push(Event::Truncated { recovered_from: Some(found.path.clone()) });
        }
        self.begin(found, outcome);
    }

    /// The checkpoint's file cannot be recognised: goes on with whatever was written after it, and says what that means.
    fn acquire_by_age(&mut self, position: &Position, outcome: &mut PollOutcome) -> bool {
        let (live, trouble) = self.open_live();
        let Some(mut live) = live else {
            self.note(trouble, outcome);
            return false;
        };
        let between = self.family.newer_than(position, false, Some(live.id), self.seen(Some(&live)), QUEUE);
        if self.waits_for(&between, outcome) || !self.still_begins(&mut live) {
            return false;
        }
        let was_empty = !position.tells();
        if live.is_of(position) && !was_empty {
            count(&mut self.counters.truncations);
            outcome.events.push(Event::Truncated { recovered_from: None });
        }
        if !(was_empty && (live.id == position.file || self.family.has(position.file))) {
            self.gap(GapReason::FileGone, outcome);
        }
        self.tell_unread(&between, outcome);
        // An empty rotated file may be the one that the writer still keeps.
        let kept = between.sources.is_empty().then(|| self.family.oldest_empty(position, false)).flatten();
        self.queue.extend(between.sources);
        self.queue.extend(kept);
        // An empty file is no proof yet that its writer has left the one before it.
        if self.queue.is_empty() || !live.head.is_empty() {
            self.queue.push_back(live);
        }
        if let Some(first) = self.queue.pop_front() {
            self.begin(first.fresh_if_empty(), outcome);
        }
        true
    }

    /// At the end of the current file: goes on to the next one if there is one and this one is over. Says whether it did.
    pub(super) fn advance(&mut self, outcome: &mut PollOutcome) -> bool {
        let Some(current) = &self.current else { return false };
        if self.queue.is_empty() {
            if fs::metadata(&self.path).is_ok_and(|live| FileId::of(&live) == current.id) {
                self.note(None, outcome);
                return false;
            }
            let anchor = current.position();
            let is_final = current.is_final();
            // Opened before the folder is listed: a file rotated away in between is then in the listing.
            let (mut live, trouble) = self.open_live();
            let between = self.family.newer_than(&anchor, true, live.as_ref().map(|live| live.id), self.seen(live.as_ref()), QUEUE);
            if self.waits_for(&between, outcome) {
                return false;
            }
            self.note(trouble, outcome);
            // What is copied and cut while we look would stand twice among what comes next, or in the wrong place.
            if live.as_mut().is_some_and(|live| !self.still_begins(live)) {
                return false;
            }
            // An empty file is no proof yet that its writer has left the one before it, unless that never grows.
            let may_be_empty = is_final && between.sources.is_empty();
            let live = live.filter(|live| {
                let still = fs::metadata(&self.path).is_ok_and(|now| FileId::of(&now) == live.id);
                still && between.sources.len() < QUEUE && (may_be_empty || !live.head.is_empty())
            });
            if live.is_none() && between.sources.is_empty() {
                return false;
            }
            // The successor's content was seen first; only now does "still at its end" mean that the old file is over.
            if let Some(current) = self.current.as_mut().filter(|current| !is_final && !current.was_quiet) {
                current.was_quiet = true;
                return false;
            }
            self.tell_unread(&between, outcome);
            self.queue.extend(between.sources);
            // An empty rotated file may be the one that the writer still keeps.
            let empty = live.as_ref().is_some_and(|live| live.head.is_empty());
            let kept = empty.then(|| self.family.oldest_empty(&anchor, true)).flatten();
            self.queue.extend(kept.or(live).map(Source::fresh_if_empty));
        }
        self.finish_current(outcome);
        if let Some(next) = self.queue.pop_front() {
            self.begin(next, outcome);
        }
        true
    }

    fn finish_current(&mut self, outcome: &mut PollOutcome) {
        let Some(current) = self.current.take() else { return };
        self.torn(self.framer.held(), outcome);
        self.framer.reset();
        // Without a whole line there is nothing to recognise it by, and its inode may soon be another file's.
        let tag = current.tag();
        if tag.length > 0 {
            if self.finished.len() >= FINISHED_REMEMBERED {
                self.finished.remove(0);
            }
            self.finished.push((current.id, tag));
        }
        if !current.is_copy {
            count(&mut self.counters.rotations);
            outcome.events.push(Event::Rotated);
        }
    }

    /// The current file was cut or rewritten in place: goes on in its copy if there is one, then at its new beginning.
    pub(super) fn recover_from_truncation(&mut self, outcome: &mut PollOutcome) {
        let Some(mut current) = self.current.take() else { return };
        let anchor = current.position();
        let held = self.framer.held();
        if !anchor.tells() {
            // Not a line of it was delivered: whatever was copied since then is news from its beginning.
            self.framer.reset();
            let copies = self.copies_since(&mut current);
            self.begin_anew(current);
            if !copies.is_empty() {
                self.begin_copies(copies, outcome);
                return;
            }
            count(&mut self.counters.truncations);
            outcome.events.push(Event::Truncated { recovered_from: None });
            self.torn(held, outcome);
            self.gap(GapReason::FileGone, outcome);
            return;
        }
        count(&mut self.counters.truncations);
        let copy = self.family.find_copy(&anchor, &current.head);
        outcome.events.push(Event::Truncated { recovered_from: copy.as_ref().map(|copy| copy.path.clone()) });
        if let Some(mut copy) = copy {
            copy.is_copy = true;
            self.begin(copy, outcome);
            return;
        }
        let parts = self.joiner.reset();
        self.torn(held + parts, outcome);
        self.held = None;
        self.gap(GapReason::FileGone, outcome);
        self.begin_anew(current);
    }

    /// The current file was empty when it was last looked at, and was changed since. A rotated file that was written in between
    /// has what it held meanwhile; without one, nothing is missing.
    pub(super) fn recover_unseen(&mut self, outcome: &mut PollOutcome) {
        let Some(mut current) = self.current.take() else { return };
        let copies = self.copies_since(&mut current);
        current.modified = current.look().map_or(current.modified, |(_, modified)| modified);
        current.is_fresh = current.head.is_empty();
        self.current = Some(current);
        if !copies.is_empty() {
            self.begin_copies(copies, outcome);
        }
    }

    /// What a file that was seen empty held since then, from rotated files. Its present content is none of it.
    fn copies_since(&mut self, current: &mut Source) -> Vec<Source> {
        for _ in 0..LOOKS {
            current.forget_head();
            if !self.still_begins(current) {
                continue;
            }
            let now = current.look().map_or(current.modified, |(_, modified)| modified);
            let copies = self.family.copied_since(&current.position(), now, self.seen(Some(current)), QUEUE);
            if self.still_begins(current) {
                return copies.sources;
            }
        }
        Vec::new()
    }

    /// Whether a file still begins as when it was last looked at. What cannot be read is seen when it is read.
    fn still_begins(&mut self, source: &mut Source) -> bool {
        source.head_unchanged(&mut self.scratch).unwrap_or(true)
    }

    /// Goes on in copies, and comes back to the current file after them.
    fn begin_copies(&mut self, mut copies: Vec<Source>, outcome: &mut PollOutcome) {
        count(&mut self.counters.truncations);
        outcome.events.push(Event::Truncated { recovered_from: copies.first().map(|copy| copy.path.clone()) });
        for copy in &mut copies {
            copy.is_copy = true;
        }
        self.queue.extend(copies);
        self.queue.extend(self.current.take());
        if let Some(first) = self.queue.pop_front() {
            self.begin(first, outcome);
        }
    }

    fn begin_anew(&mut self, mut current: Source) {
        self.framer.reset();
        current.offset = 0;
        current.head.clear();
        current.was_quiet = false;
        current.is_fresh = true;
        self.current = Some(current);
    }

    /// Opens the place again where the open file stands.
    pub(super) fn look_again(&mut self) {
        self.resume = self.current.take().map(|current| current.position());
        self.queue.clear();
        self.framer.reset();
    }

    fn begin(&mut self, source: Source, outcome: &mut PollOutcome) {
        outcome.events.push(Event::Opened { path: source.path.clone(), offset: source.offset });
        self.framer.reset();
        self.resume = None;
        self.waited = 0;
        self.trouble = None;
        self.current = Some(source);
    }

    fn open_live(&self) -> (Option<Source>, Option<Trouble>) {
        match Source::open(&self.path, 0) {
            Ok(source) => (Some(source), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, Some(Trouble::Missing)),
            Err(error) => (None, Some(Trouble::Unreadable(self.path.clone(), error.kind()))),
        }
    }

    fn seen<'a>(&'a self, live: Option<&'a Source>) -> Seen<'a> {
        Seen { finished: &self.finished, head: live.map_or(&[], |live| &live.head) }
    }

    /// Whether one more poll may pass without what cannot be opened.
    fn may_wait(&mut self) -> bool {
        self.waited = self.waited.saturating_add(1);
        self.waited <= self.options.patience
    }

    /// Whether a file that is to be read next cannot be opened, and is still waited for.
    fn waits_for(&mut self, between: &Between, outcome: &mut PollOutcome) -> bool {
        let Some((path, kind)) = between.unreadable.first() else { return false };
        let waits = self.may_wait();
        if waits {
            self.note(Some(Trouble::Unreadable(path.clone(), *kind)), outcome);
        }
        waits
    }

    fn tell_unread(&mut self, between: &Between, outcome: &mut PollOutcome) {
        for path in &between.compressed {
            self.gap(GapReason::Compressed(path.clone()), outcome);
        }
        for (path, _) in &between.unreadable {
            self.gap(GapReason::Unreadable(path.clone()), outcome);
        }
    }
}
