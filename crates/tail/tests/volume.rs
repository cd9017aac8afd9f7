//! Millions of lines at full speed over 30 rotations of every style, with restarts: none lost, none twice, by the numbers in the lines.
//! With `copytruncate`, only lines written between a copy and its cut may be missing.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keyward_harness::{full, wait_until};
use keyward_tail::{Checkpoint, Counters, Follower, Format, Options, Start};

const ROTATIONS: u64 = 30;
/// One poll in so many ends with a new start from what was stored last.
const RESTART_EVERY: u64 = 23;
/// One poll in so many is stored.
const STORE_EVERY: u64 = 5;
/// Small polls, so that much happens between them.
const OPTIONS: Options =
    Options { max_line: 1 << 20, chunk: 64 << 10, poll_bytes: 256 << 10, start: Start::Beginning, format: Format::Plain, patience: 300 };
const PATIENCE: Duration = Duration::from_mins(10);

fn lines() -> u64 {
    if full() { 5_000_000 } else { 150_000 }
}

/// How the writer and the rotation get from one file to the next.
#[derive(Clone, Copy, Debug)]
enum Style {
    /// Rename, and the writer opens a new file at once.
    Rename,
    /// Rename; the writer writes on into the old file for a while.
    WriterKeeps,
    /// As before, with an empty new file from the start.
    Create,
    /// Rename, then compressed at once.
    Gzip,
    Zstd,
    /// Another file is renamed over the path; the old one has no name any more.
    RenamedOver,
    /// Deleted and made anew.
    Recreated,
    /// The path becomes a link to a new file.
    Repointed,
}

const STYLES: [Style; 8] =
    [Style::Rename, Style::WriterKeeps, Style::Create, Style::Gzip, Style::Zstd, Style::RenamedOver, Style::Recreated, Style::Repointed];

/// Names of rotated files.
#[derive(Clone, Copy)]
enum Naming {
    Numbers,
    Dates,
}

/// What reads, and what it has seen.
struct Reader {
    follower: Follower,
    path: PathBuf,
    /// The number that comes next.
    next: u64,
    stored: (Option<Checkpoint>, u64),
    polls: u64,
    /// The line after which a file without a name ends, which a new start would not find: only past it may the reader start anew.
    nameless: Option<u64>,
    /// Numbers that did not come, where that is allowed.
    missing: BTreeSet<u64>,
    may_miss: bool,
    /// The last things that happened, for whoever must find out why this failed.
    past: VecDeque<String>,
}

impl Reader {
    fn new(path: &Path, may_miss: bool) -> Self {
        let follower = Follower::open(path, None, OPTIONS).unwrap();
        let (path, missing) = (path.to_owned(), BTreeSet::new());
        Self { follower, path, next: 0, stored: (None, 0), polls: 0, nameless: None, missing, may_miss, past: VecDeque::new() }
    }

    fn poll(&mut self) -> bool {
        // Before the poll, so that afterwards the file is open again.
        if self.polls.is_multiple_of(RESTART_EVERY) && self.nameless.is_none() {
            self.follower = Follower::open(&self.path, self.stored.0.clone(), OPTIONS).unwrap();
            self.next = self.stored.1;
            self.tell(format!("a new start at {}", self.next));
            self.missing = self.missing.split_off(&0).into_iter().filter(|number| *number < self.next).collect();
        }
        let (next, missing, may_miss, past) = (&mut self.next, &mut self.missing, self.may_miss, &self.past);
        let outcome = self.follower.poll(&mut |line| {
            let number = number_in(line.bytes);
            if may_miss && number > *next {
                missing.extend(*next..number);
                *next = number;
            }
            assert_eq!(number, *next, "a line is lost, doubled or out of order in {:?} at {}, after {past:#?}", line.file, line.offset);
            *next += 1;
        });
        self.polls += 1;
        for event in outcome.events {
            self.tell(format!("{event:?}"));
        }
        if self.nameless.is_some_and(|last| self.next > last) {
            self.nameless = None;
            self.store();
        }
        if self.polls.is_multiple_of(STORE_EVERY) {
            self.store();
        }
        outcome.lines > 0 || !outcome.at_end
    }

    fn tell(&mut self, what: String) {
        self.past.push_back(format!("{} (next is {})", what, self.next));
        if self.past.len() > 40 {
            self.past.pop_front();
        }
    }

    fn store(&mut self) {
        let text = self.follower.checkpoint().encode().unwrap();
        self.stored = (Some(Checkpoint::decode(&text).unwrap()), self.next);
    }
}

fn number_in(line: &[u8]) -> u64 {
    let number = line.split(|byte| *byte == b' ').next().unwrap();
    std::str::from_utf8(number).unwrap().parse().unwrap()
}

/// What writes.
struct Writer<'a> {
    log: PathBuf,
    naming: Naming,
    reader: &'a Mutex<Reader>,
    /// Buffered, so that writes end in the middle of lines.
    file: BufWriter<File>,
    next: u64,
    /// The first line of the present file.
    first: u64,
    rotation: u64,
    /// Written between a copy and its cut.
    in_window: BTreeSet<u64>,
}

impl Writer<'_> {
    fn open(log: &Path) -> BufWriter<File> {
        BufWriter::with_capacity(10_000, OpenOptions::new().append(true).create(true).open(log).unwrap())
    }

    fn write(&mut self, count: u64) {
        for _ in 0..count {
            writeln!(self.file, "{} the quick brown fox jumps over the lazy dog, and a lock is turned {}", self.next, self.next % 97)
                .unwrap();
            self.next += 1;
        }
    }

    fn reopen(&mut self) {
        self.file.flush().unwrap();
        self.file = Self::open(&self.log);
        self.first = self.next;
    }

    fn name(&self, number: u64) -> PathBuf {
        let name = match self.naming {
            Naming::Numbers => format!("audit.log.{number}"),
            Naming::Dates => format!("audit.log-20260302-{:06}", self.rotation),
        };
        self.log.with_file_name(name)
    }

    /// Makes room for the next rotated file, as logrotate does; its name.
    fn next_name(&mut self) -> PathBuf {
        self.rotation += 1;
        if matches!(self.naming, Naming::Numbers) {
            for number in (1..=ROTATIONS).rev() {
                for ending in ["", ".gz", ".zst"] {
                    let with = |number| PathBuf::from(format!("{}{ending}", self.name(number).display()));
                    let _absent = fs::rename(with(number), with(number + 1));
                }
            }
        }
        self.name(1)
    }

    fn rotate(&mut self, style: Style, share: u64) {
        self.file.flush().unwrap();
        if let Ok(target) = fs::read_link(&self.log) {
            // The link of the last rotation goes; the file keeps its name, under which nobody would look for it.
            self.without_name(|writer| {
                fs::remove_file(&writer.log).unwrap();
                fs::remove_file(target).unwrap();
            });
        } else {
            match style {
                Style::Rename | Style::WriterKeeps | Style::Create | Style::Gzip | Style::Zstd => {
                    let rotated = self.next_name();
                    fs::rename(&self.log, &rotated).unwrap();
                    if matches!(style, Style::Create) {
                        File::create(&self.log).unwrap();
                    }
                    if matches!(style, Style::Create | Style::WriterKeeps) {
                        self.write(share);
                    }
                    self.reopen();
                    match style {
                        Style::Gzip => scene::gzip(&rotated),
                        Style::Zstd => scene::zstd(&rotated),
                        _ => {}
                    }
                    return;
                }
                Style::RenamedOver => self.without_name(|writer| {
                    let new = writer.log.with_file_name("new");
                    File::create(&new).unwrap();
                    fs::rename(new, &writer.log).unwrap();
                }),
                Style::Recreated => self.without_name(|writer| fs::remove_file(&writer.log).unwrap()),
                Style::Repointed => self.without_name(|writer| {
                    let target = writer.log.with_file_name(format!("real-{}", writer.next));
                    File::create(&target).unwrap();
                    fs::remove_file(&writer.log).unwrap();
                    symlink(target, &writer.log).unwrap();
                }),
            }
        }
        self.reopen();
    }

    /// Takes the present file's name away once the reader has the file open. Nobody could find it otherwise.
    fn without_name(&mut self, remove: impl FnOnce(&mut Self)) {
        let mut reader = wait_until("the reader to open the file", PATIENCE, || {
            assert!(!self.reader.is_poisoned(), "the reader stopped; see above");
            Some(self.reader.lock().unwrap_or_else(PoisonError::into_inner)).filter(|reader| reader.next > self.first)
        });
        reader.nameless = Some(self.next);
        remove(self);
    }

    fn copy_and_truncate(&mut self, window: u64) {
        self.file.flush().unwrap();
        let copy = self.next_name();
        fs::copy(&self.log, copy).unwrap();
        self.in_window.extend(self.next..self.next + window);
        self.write(window);
        self.file.flush().unwrap();
        File::options().write(true).open(&self.log).unwrap().set_len(0).unwrap();
    }
}

/// Runs `write` while another thread reads; returns the reader when it has come to the end.
fn run(naming: Naming, may_miss: bool, write: impl FnOnce(&mut Writer<'_>)) -> (Reader, BTreeSet<u64>, u64) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.log");
    let file = Writer::open(&log);
    let mut reader = Reader::new(&log, may_miss);
    // The follower has met the path: what was rotated away before is none of its business.
    reader.poll();
    reader.store();
    let reader = Mutex::new(reader);
    let (written, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    let mut writer = Writer { log, naming, reader: &reader, file, next: 0, first: 0, rotation: 0, in_window: BTreeSet::new() };
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut idle = 0;
            // All is written, and nothing new was found for a while.
            while idle < 50 {
                let done = written.load(Ordering::Acquire);
                let found = reader.lock().unwrap_or_else(PoisonError::into_inner).poll();
                idle = if found || !done { 0 } else { idle + 1 };
                if !found {
                    std::thread::yield_now();
                }
            }
        });
        write(&mut writer);
        writer.file.flush().unwrap();
        written.store(true, Ordering::Release);
        failed.store(reading.join().is_err(), Ordering::Release);
    });
    assert!(!failed.load(Ordering::Acquire), "the reader stopped; see above");
    let (in_window, count) = (writer.in_window, writer.next);
    (reader.into_inner().unwrap(), in_window, count)
}

fn nothing_lost(naming: Naming) {
    let each = lines() / 2 / (ROTATIONS + 1);
    let (reader, _, count) = run(naming, false, |writer| {
        for rotation in 0..ROTATIONS {
            writer.write(each);
            writer.rotate(STYLES[usize::try_from(rotation).unwrap() % STYLES.len()], each / 10);
        }
        writer.write(each);
    });
    assert_eq!(reader.next, count, "the last lines are missing");
    let Counters { lines, gaps, torn, truncations, too_long, .. } = *reader.follower.counters();
    assert_eq!((lines, gaps, torn, truncations, too_long), (count, 0, 0, 0, 0), "after {:#?}", reader.past);
    assert_eq!(reader.follower.counters().rotations, ROTATIONS);
}

#[test]
fn no_line_is_lost_or_doubled_over_numbered_rotations() {
    nothing_lost(Naming::Numbers);
}

#[test]
fn no_line_is_lost_or_doubled_over_dated_rotations() {
    nothing_lost(Naming::Dates);
}

#[test]
fn copytruncate_loses_only_what_was_written_between_copy_and_cut() {
    let each = lines() / (ROTATIONS + 1);
    let (reader, in_window, count) = run(Naming::Numbers, true, |writer| {
        for rotation in 0..ROTATIONS {
            writer.write(each);
            writer.copy_and_truncate(if rotation % 3 == 0 { 0 } else { 50 });
        }
        writer.write(each);
    });
    assert_eq!(reader.next, count, "the last lines are missing");
    let unexplained: Vec<&u64> = reader.missing.difference(&in_window).collect();
    assert!(unexplained.is_empty(), "lost although they were copied: {unexplained:?}");
    let counters = reader.follower.counters();
    assert_eq!(counters.lines, count - reader.missing.len() as u64);
    assert!(counters.truncations > 0 && counters.gaps == 0, "{counters:?}");
}
