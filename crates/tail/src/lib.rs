//! One path is one endless stream of lines, whatever happens to the file below it.
//!
//! Never what a line means, never Vault, never a log line of its own, no clock and no runtime: bytes, paths and positions only.
//! What happens to the file is said as [`Event`]s and counted in [`Counters`]; waking up in time is the caller's business.
//!
//! ```text
//!            ┌─ poll ───────────────────────────────────────────────────────────────┐
//!  path ──▶  │ read a chunk at an explicit offset ─▶ head unchanged? ─▶ cut at `\n` │ ──▶ sink(Line)
//!            │ end of file ─▶ still the file that the path names? ─▶ else drain, then the newer files in order │
//!            └──────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Invariant: a line is delivered only after its newline was read, because a file system shows a `write(2)` page by page.
//! Invariant: [`Follower::checkpoint`] holds a position and the counters that belong to it, so that a restart from it neither
//! loses nor counts twice, provided that the caller stores it only after it has accepted what the delivered lines caused.
//! Invariant: memory is bounded by [`Options::max_line`] plus two chunks (twice that where a runtime's envelopes are taken off),
//! and by a decoder's window of at most 32 MiB while a compressed file is read.
//!
//! Rotated files are read also when gzip or zstd have compressed them meanwhile; a file that was recognised by its content stays the
//! same file. [`Format`] takes off what a container runtime wraps around lines. [`Lines`] cuts what is read once, such as standard
//! input or an archive, by the same rules.
//!
//! What cannot be known is not guessed: lines written between a copy and the truncation of a `copytruncate` rotation, and
//! files that were rotated and removed while nobody followed, are lost; the second is counted as a gap where it can be seen.

mod checkpoint;
mod envelope;
mod event;
mod follower;
mod framer;
mod identity;
mod lines;
mod packed;
mod place;
mod siblings;
mod source;
mod stream;

pub use checkpoint::{Checkpoint, CheckpointV1, Position};
pub use envelope::Format;
pub use event::{Counters, Error, Event, GapReason};
pub use follower::Follower;
pub use identity::{ContentTag, FileId, HEAD_BYTES};
pub use lines::{Lines, open_archive};
pub use stream::{Line, Options, PollOutcome, Start};
