//! What is kept of an audit log beside the place reached: evidence, who came from where, what was missed, calls by day.
//!
//! It never looks inside digests and marks: their owner defines them.

use jiff::Timestamp;

/// How many segments of evidence are kept, of all nodes; the oldest go first. At a thousand lines each that is a hundred million lines.
pub const MAX_SEGMENTS: i64 = 100_000;
/// How many signed checkpoints are kept.
pub const MAX_SEALS: i64 = 50_000;
/// How many pairs of identity and address are kept for one node.
pub const MAX_SIGHTINGS: i64 = 100_000;
/// How many gaps are kept.
pub const MAX_GAPS: i64 = 10_000;
/// How many rows of calls by day are kept.
pub const MAX_CALLS: i64 = 500_000;

/// What lines caused beside figures and findings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trail {
    /// The chain's own state; `None` leaves what is stored.
    pub chain_json: Option<String>,
    /// Segments that were closed since the commit before.
    pub segments: Vec<Segment>,
    /// Pairs of identity and address that are new, or were seen again after a while.
    pub sightings: Vec<Sighting>,
    /// Where lines may be missing.
    pub gaps: Vec<Gap>,
    /// Calls since the commit before; they add up with what is stored.
    pub calls: Vec<Calls>,
}

/// A run of lines with the chain's value before and after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The number of its first line in the chain.
    pub first: u64,
    /// The file it was read from, as a number.
    pub file: u64,
    /// Where its first line began in that file.
    pub offset: u64,
    /// When its first line was read.
    pub from: Timestamp,
    /// When its last line was read.
    pub to: Timestamp,
    /// The chain's value before.
    pub before: Vec<u8>,
    /// The chain's value after.
    pub after: Vec<u8>,
    /// A mark per line.
    pub marks: Vec<u8>,
}

/// A signed checkpoint of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The node whose log it is.
    pub node: String,
    /// How many lines the chain had.
    pub lines: u64,
    /// Its value, in hexadecimal.
    pub chain: String,
    /// When it was signed.
    pub at: Timestamp,
    /// The key that signed it, as `mount/name`.
    pub key: String,
    /// The signature, as the server gave it.
    pub signature: String,
}

/// An identity at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The identity.
    pub identity: String,
    /// The address.
    pub address: String,
    /// First seen.
    pub first: Timestamp,
    /// Last seen, to within a day.
    pub last: Timestamp,
}

/// A place where lines may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The node in whose log it is.
    pub node: String,
    /// When it was noticed.
    pub at: Timestamp,
    /// What happened, in a sentence.
    pub text: String,
}

/// Calls of one day, by bounded labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Calls {
    /// The day's beginning, in UTC.
    pub day: Timestamp,
    /// What was done.
    pub operation: String,
    /// Where: the mount's label.
    pub mount: String,
    /// How it ended.
    pub result: String,
    /// How many.
    pub count: u64,
}
