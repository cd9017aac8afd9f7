//! One path is one endless stream of lines, whatever happens to the file below it.
//!
//! Never JSON, never Vault, never a log line of its own, no clock and no runtime: bytes, paths and positions only. What happens
//! to the file is said as [`Event`]s and counted in [`Counters`]; waking up in time is the caller's business.
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
//! Invariant: memory is bounded by [`Options::max_line`] plus two chunks.
//!
//! What cannot be known is not guessed: lines written between a copy and the truncation of a `copytruncate` rotation, and
//! files that were rotated and removed while nobody followed, are lost; the second is counted as a gap where it can be seen.

mod checkpoint;
mod event;
mod follower;
mod framer;
mod identity;
mod siblings;
mod source;
mod stream;

pub use checkpoint::{Checkpoint, CheckpointV1, Position};
pub use event::{Counters, Error, Event, GapReason};
pub use follower::Follower;
pub use identity::{ContentTag, FileId, HEAD_BYTES};
pub use stream::{Line, Options, PollOutcome, Start};
