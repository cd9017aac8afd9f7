//! Random programs of file actions against a model: equality where nothing is cut, bounds where something is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

mod scene;

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use keyward_tail::{Checkpoint, Follower, Options};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Action {
    Append(u8),
    /// The first half of a line; the writer finishes it with its next write.
    Half,
    /// Rename, then the writer opens a new file.
    Rotate,
    /// Rename; the writer keeps the old file until `Reopen`. `created` as logrotate's `create`: an empty new file at once.
    RotateKeep {
        created: bool,
    },
    Reopen,
    /// Delete after the follower has caught up, then a new file.
    DeleteRecreate,
    /// Another file is renamed over the path, after the follower has caught up.
    RenameOver,
    /// The path becomes a link to a new file, after the follower has caught up.
    Repoint,
    /// All rotated files that the writer has left.
    Compress {
        zstd: bool,
    },
    CopyTruncate,
    Truncate,
    Poll,
    /// Accept what was delivered: store the checkpoint.
    Persist,
    /// Start again from the stored checkpoint; what was delivered since is forgotten.
    Restart,
}

struct World {
    folder: tempfile::TempDir,
    writer: Option<File>,
    half: Option<String>,
    next: u32,
    clock: u64,
    written: Vec<String>,
    follower: Follower,
    delivered: Vec<String>,
    stored: (Option<Checkpoint>, usize),
}

const OPTIONS: Options = Options {
    max_line: 4096,
    chunk: 64,
    poll_bytes: 1200,
    start: keyward_tail::Start::Beginning,
    format: keyward_tail::Format::Plain,
    patience: 10,
};

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::open(&folder.path().join("audit.log"), None, OPTIONS).unwrap();
        let mut world =
            Self { folder, writer: None, half: None, next: 0, clock: 0, written: vec![], follower, delivered: vec![], stored: (None, 0) };
        // The follower has met the path: what was rotated away before is none of its business.
        world.write("");
        world.poll();
        world.persist();
        world
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    fn open(&mut self) {
        let file = OpenOptions::new().append(true).create(true).open(self.log()).unwrap();
        if file.metadata().unwrap().len() == 0 {
            self.stamp(&file);
        }
        self.writer = Some(file);
    }

    fn write(&mut self, text: &str) {
        if self.writer.is_none() {
            self.open();
        }
        let mut writer = self.writer.as_ref().unwrap();
        writer.write_all(text.as_bytes()).unwrap();
        let writer = writer.try_clone().unwrap();
        self.stamp(&writer);
    }

    /// The kernel's clock is coarse; a program of microseconds would leave all files equally old.
    fn stamp(&mut self, file: &File) {
        self.clock += 1;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + self.clock);
        file.set_times(FileTimes::new().set_modified(time)).unwrap();
    }

    fn cut(&mut self, path: PathBuf) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(0).unwrap();
        self.stamp(&file);
    }

    fn finish_half(&mut self) {
        if let Some(line) = self.half.take() {
            let rest = format!("{}\n", &line[line.len() / 2..]);
            self.write(&rest);
            self.written.push(line);
        }
    }

    fn new_line(&mut self) -> String {
        self.next += 1;
        // Half a line is already longer than what a copy can be recognised by.
        format!("{:06} {}", self.next, "abcdefghij".repeat(13 + self.next as usize % 9))
    }

    /// The rotated files' names move up by one, then the log itself is handed over as it is to become the first.
    fn shift_names(&self, last: impl FnOnce(PathBuf, PathBuf)) {
        let name = |n: u32, ending: &str| self.folder.path().join(format!("audit.log.{n}{ending}"));
        for n in (1..40).rev() {
            for ending in ["", ".gz", ".zst"] {
                if name(n, ending).exists() {
                    fs::rename(name(n, ending), name(n + 1, ending)).unwrap();
                }
            }
        }
        if self.log().exists() {
            last(self.log(), name(1, ""));
        }
    }

    fn compress(&self, zstd: bool) {
        let writers = self.writer.as_ref().map(|writer| writer.metadata().unwrap().ino());
        for n in 1..41 {
            let path = self.folder.path().join(format!("audit.log.{n}"));
            if path.exists() && Some(fs::metadata(&path).unwrap().ino()) != writers {
                if zstd { scene::zstd(&path) } else { scene::gzip(&path) }
            }
        }
    }

    /// A link stays behind; the file that it points to is renamed.
    fn unlink(&self) {
        if let Ok(target) = fs::read_link(self.log()) {
            fs::remove_file(self.log()).unwrap();
            fs::rename(target, self.log()).unwrap();
        }
    }

    fn rename(&self) {
        self.unlink();
        self.shift_names(|from, to| fs::rename(from, to).unwrap());
    }

    fn poll(&mut self) -> bool {
        let delivered = &mut self.delivered;
        let outcome = self.follower.poll(&mut |line| delivered.push(String::from_utf8(line.bytes.to_vec()).unwrap()));
        outcome.at_end && outcome.lines == 0
    }

    fn catch_up(&mut self) {
        let mut idle = 0;
        for _ in 0..100_000 {
            idle = if self.poll() { idle + 1 } else { 0 };
            if idle == 3 {
                return;
            }
        }
        panic!("the follower never came to rest");
    }

    fn persist(&mut self) {
        let text = self.follower.checkpoint().encode().unwrap();
        self.stored = (Some(Checkpoint::decode(&text).unwrap()), self.delivered.len());
    }

    fn restart(&mut self) {
        self.delivered.truncate(self.stored.1);
        self.follower = Follower::open(&self.log(), self.stored.0.clone(), OPTIONS).unwrap();
    }

    fn run(&mut self, action: &Action) {
        match action {
            Action::Append(count) => {
                self.finish_half();
                for _ in 0..*count {
                    let line = self.new_line();
                    self.write(&format!("{line}\n"));
                    self.written.push(line);
                }
            }
            Action::Half => {
                self.finish_half();
                let line = self.new_line();
                self.write(&line[..line.len() / 2]);
                self.half = Some(line);
            }
            Action::Rotate => {
                self.finish_half();
                self.rename();
                self.open();
            }
            Action::RotateKeep { created } => {
                self.rename();
                if *created {
                    let file = File::create(self.log()).unwrap();
                    self.stamp(&file);
                }
            }
            Action::Reopen => {
                self.finish_half();
                self.open();
            }
            Action::DeleteRecreate => {
                self.finish_half();
                self.catch_up();
                self.persist();
                let _may_be_missing = fs::remove_file(self.log());
                self.open();
            }
            Action::RenameOver => {
                self.finish_half();
                self.catch_up();
                self.persist();
                let new = self.folder.path().join("new");
                self.stamp(&File::create(&new).unwrap());
                fs::rename(new, self.log()).unwrap();
                self.open();
            }
            Action::Repoint => {
                self.finish_half();
                self.catch_up();
                self.persist();
                let target = self.folder.path().join(format!("real-{}", self.clock));
                self.stamp(&File::create(&target).unwrap());
                let _may_be_missing = fs::remove_file(self.log());
                symlink(target, self.log()).unwrap();
                self.open();
            }
            Action::Compress { zstd } => self.compress(*zstd),
            Action::CopyTruncate => {
                self.finish_half();
                let mut copied = None;
                self.shift_names(|from, to| {
                    fs::copy(&from, &to).unwrap();
                    copied = Some((from, File::options().write(true).open(to).unwrap()));
                });
                if let Some((from, copy)) = copied {
                    self.stamp(&copy);
                    self.cut(from);
                }
            }
            Action::Truncate => {
                if self.log().exists() {
                    self.finish_half();
                    self.cut(self.log());
                }
            }
            Action::Poll => {
                self.poll();
            }
            Action::Persist => self.persist(),
            Action::Restart => self.restart(),
        }
    }

    fn end(&mut self) {
        self.finish_half();
        // A last line in the present file tells a follower that waits at a renamed one that it is over.
        self.open();
        self.run(&Action::Append(1));
        self.catch_up();
    }
}

fn without_cuts() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1..12_u8).prop_map(Action::Append),
        2 => Just(Action::Half),
        2 => Just(Action::Rotate),
        1 => any::<bool>().prop_map(|created| Action::RotateKeep { created }),
        1 => Just(Action::Reopen),
        1 => Just(Action::DeleteRecreate),
        1 => Just(Action::RenameOver),
        1 => Just(Action::Repoint),
        1 => any::<bool>().prop_map(|zstd| Action::Compress { zstd }),
        4 => Just(Action::Poll),
        2 => Just(Action::Persist),
        1 => Just(Action::Restart),
    ]
}

fn with_copies() -> impl Strategy<Value = Action> {
    prop_oneof![8 => without_cuts(), 2 => Just(Action::CopyTruncate)]
}

fn with_cuts() -> impl Strategy<Value = Action> {
    prop_oneof![8 => without_cuts(), 1 => Just(Action::CopyTruncate), 1 => Just(Action::Truncate)]
}

fn numbers(lines: &[String]) -> String {
    lines.iter().map(|line| line[..6].to_owned()).collect::<Vec<_>>().join(" ")
}

fn cases() -> u32 {
    if keyward_harness::full() { 3000 } else { 250 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(program in prop::collection::vec(without_cuts(), 1..40)) {
        let mut world = World::new();
        for action in &program {
            world.run(action);
        }
        world.end();
        prop_assert_eq!(numbers(&world.delivered), numbers(&world.written));
        prop_assert_eq!(&world.delivered, &world.written);
        let counters = world.follower.counters();
        prop_assert_eq!(counters.lines, world.written.len() as u64);
        // Truncations are not asserted: a deleted file whose inode was used again looks like one that was rewritten.
        prop_assert_eq!((counters.torn, counters.too_long), (0, 0));
        prop_assert_eq!(world.follower.bytes_behind(), 0);
    }

    #[test]
    fn what_was_copied_before_it_was_cut_is_not_lost(program in prop::collection::vec(with_copies(), 1..40)) {
        let mut world = World::new();
        for action in &program {
            world.run(action);
        }
        world.end();
        prop_assert_eq!(numbers(&world.delivered), numbers(&world.written));
        prop_assert_eq!(&world.delivered, &world.written);
        prop_assert_eq!(world.follower.counters().lines, world.written.len() as u64);
    }

    #[test]
    fn what_is_cut_is_lost_but_never_repeated_reordered_or_torn(program in prop::collection::vec(with_cuts(), 1..40)) {
        let mut world = World::new();
        for action in &program {
            world.run(action);
        }
        world.end();
        let mut rest = world.written.iter();
        for line in &world.delivered {
            prop_assert!(rest.any(|written| written == line), "repeated, reordered or never written: {line}");
        }
        prop_assert_eq!(world.delivered.last(), world.written.last());
    }
}
