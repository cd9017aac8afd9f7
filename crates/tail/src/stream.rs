//! What goes into a follower and what comes out of it. Plain data, no behaviour.

use crate::envelope::Format;
use crate::event::Event;
use crate::identity::FileId;

/// Where to begin when there is no checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the first line that the present file holds.
    #[default]
    Beginning,
    /// With the first line written from now on. A file that appears later is read from its beginning.
    End,
}

/// Limits of one follower.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest line delivered, in bytes without its newline; a longer one is skipped and counted. Default 48 MiB: Vault
    /// accepts bodies of 32 MiB, and a list response may be larger.
    pub max_line: usize,
    /// Bytes read at once. Default 256 KiB.
    pub chunk: usize,
    /// About how many bytes one poll reads before it returns, so that the caller may accept and persist. Default 16 MiB.
    pub poll_bytes: u64,
    /// Where to begin without a checkpoint.
    pub start: Start,
    /// How lines stand in the file. Default [`Format::Plain`].
    pub format: Format,
    /// How many polls in a row wait for a rotated file that is there and cannot be opened, before it is given up as a gap.
    /// Meanwhile nothing newer is read, because lines are delivered in order. Default 300, a minute at five polls a second.
    pub patience: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_line: 48 << 20, chunk: 256 << 10, poll_bytes: 16 << 20, start: Start::Beginning, format: Format::Plain, patience: 300 }
    }
}

/// One whole line, borrowed until the sink returns.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// The line without its newline and its envelope; any bytes, perhaps none.
    pub bytes: &'a [u8],
    /// The file it stands in; if parts were joined, the file of the last one.
    pub file: FileId,
    /// Where it begins in that file, or in what that file holds if it is compressed; if parts were joined, where the last one does.
    pub offset: u64,
}

/// What one `Follower::poll` did.
#[derive(Debug, Default)]
pub struct PollOutcome {
    /// Lines delivered.
    pub lines: u64,
    /// Bytes of those lines, newlines and envelopes included.
    pub bytes: u64,
    /// Nothing more to read at present: wait for a wake-up or the poll interval. Otherwise poll again at once.
    pub at_end: bool,
    /// What happened to the file meanwhile.
    pub events: Vec<Event>,
}
