//! Archived logs as one stream of lines: plain, gzip, zstd, or standard input. Never more of one in memory than a chunk and a line.

use anyhow::{Context, Result};
use keyward_tail::{Lines, Options, open_archive};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What was read of one file.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Source {
    /// The file as it was named; `-` is standard input.
    pub file: String,
    /// Whole lines.
    pub lines: u64,
    /// Bytes of those lines, decompressed.
    pub bytes: u64,
    /// Lines that were longer than the follower takes.
    pub too_long: u64,
    /// Whether it ended in the middle of a line, which is no line.
    pub is_torn: bool,
}

/// Reads the files in the order given. `each` gets the number of the file, the line, and where it begins; `pause` comes after every chunk.
///
/// # Errors
/// Which file cannot be read, and why.
pub fn read(files: &[PathBuf], mut each: impl FnMut(usize, &[u8], u64), mut pause: impl FnMut()) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for (number, file) in files.iter().enumerate() {
        let cannot = || format!("cannot read {}", file.display());
        let reader: Box<dyn Read> =
            if file == Path::new("-") { Box::new(std::io::stdin().lock()) } else { open_archive(file).with_context(cannot)? };
        let mut lines = Lines::new(reader, &Options::default(), None);
        while lines.read(&mut |line, offset| each(number, line, offset)).with_context(cannot)? {
            pause();
        }
        pause();
        let counters = lines.counters();
        sources.push(Source {
            file: file.display().to_string(),
            lines: counters.lines,
            bytes: counters.bytes,
            too_long: counters.too_long,
            is_torn: counters.torn > 0,
        });
    }
    Ok(sources)
}
