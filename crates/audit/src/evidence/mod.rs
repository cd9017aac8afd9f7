//! Evidence that a log is what it was when it was read: a hash chain over its lines, and how an archive is compared with it.
//!
//! Never a file, never a key: segments go out as values to whoever keeps them, and what is signed is [`statement`], by somebody else.
//!
//! ```text
//! d(n) = SHA-256(line n)      c(0) = SHA-256("keyward audit chain 1\n")      c(n) = SHA-256(c(n-1) ‖ d(n))
//! ```
//!
//! A **segment** is a run of lines of one file with the chain's value before and after it, and a **mark** per line, the first four
//! bytes of its digest. The chain says whether a segment was altered; the marks say which line.
//!
//! Invariant: no segment spans two files, so that an archived file begins and ends with a segment.
//! Invariant: a chain holds one open segment in memory, and those closed that nobody has taken yet, at most [`MAX_HELD`].

mod chain;
mod compare;
mod hex;
mod verdict;

pub use chain::{Chain, ChainSnapshot, LINES_PER_SEGMENT, MAX_HELD, Segment, SegmentAtRest, line_digest, statement};
pub use compare::{Comparison, Difference, Spot, Verdict, Where};
pub use hex::{from_hex, hex};
