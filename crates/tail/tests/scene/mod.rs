//! A real folder with a log, and a follower of it.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, reason = "each test uses its part; one that cannot set its scene must fail")]

use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use keyward_tail::{Checkpoint, Event, Follower, Options, PollOutcome};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

pub struct Scene {
    pub folder: tempfile::TempDir,
    pub follower: Follower,
    pub options: Options,
    pub lines: Vec<String>,
    pub events: Vec<Event>,
}

impl Scene {
    pub fn new() -> Self {
        Self::with(Options::default())
    }

    pub fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::open(&folder.path().join("audit.log"), None, options).unwrap();
        Self { folder, follower, options, lines: Vec::new(), events: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn log(&self) -> PathBuf {
        self.path("audit.log")
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Polls once.
    pub fn poll(&mut self) -> PollOutcome {
        let lines = &mut self.lines;
        let mut outcome = self.follower.poll(&mut |line| lines.push(String::from_utf8_lossy(line.bytes).into_owned()));
        self.events.append(&mut outcome.events);
        outcome
    }

    /// What [`line`] made the lines of this call of.
    pub fn read_numbers(&mut self) -> Vec<String> {
        let from = self.numbers().len();
        self.read();
        self.numbers().split_off(from)
    }

    /// What [`line`] made all lines of.
    pub fn numbers(&self) -> Vec<String> {
        self.lines.iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }

    /// Polls until two polls in a row have nothing more; returns the lines of this call.
    pub fn read(&mut self) -> Vec<String> {
        let from = self.lines.len();
        let mut idle = 0;
        for _ in 0..10_000 {
            let outcome = self.poll();
            idle = if outcome.at_end && outcome.lines == 0 { idle + 1 } else { 0 };
            if idle == 3 {
                return self.lines[from..].to_vec();
            }
        }
        panic!("the follower never came to rest");
    }

    pub fn restart(&mut self) {
        let text = self.follower.checkpoint().encode().unwrap();
        let checkpoint = Checkpoint::decode(&text).unwrap();
        self.follower = Follower::open(&self.log(), Some(checkpoint), self.options).unwrap();
    }
}

pub fn append(path: &Path, text: &str) -> File {
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A line that is long enough for a file to be recognised by it.
pub fn line(what: &str) -> String {
    format!("{what} {}\n", "abcdefghij".repeat(9))
}

/// Compresses a file as gzip does: beside it, with its times, and then the original is removed.
pub fn gzip(path: &Path) {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&fs::read(path).unwrap()).unwrap();
    replace(path, "gz", &encoder.finish().unwrap());
}

/// The same as `zstd --rm`.
pub fn zstd(path: &Path) {
    replace(path, "zst", &compress_to_vec(&fs::read(path).unwrap()[..], CompressionLevel::Fastest));
}

fn replace(path: &Path, ending: &str, bytes: &[u8]) {
    let packed = PathBuf::from(format!("{}.{ending}", path.display()));
    let mut file = File::create(packed).unwrap();
    file.write_all(bytes).unwrap();
    file.set_times(FileTimes::new().set_modified(fs::metadata(path).unwrap().modified().unwrap())).unwrap();
    fs::remove_file(path).unwrap();
}
