//! An audit line of Vault or OpenBao, understood: line → [`Entry`] → [`Fact`] → findings and usage.
//!
//! Never a file, never HTTP, never a metric, no clock: lines come in as bytes, time as an argument, and everything that is
//! found goes out as a value. Nothing here can hold a secret's value: the log hashes them, and [`parse`] refuses a log that does not.
//!
//! ```text
//! Pipeline::line ─▶ parse ─▶ Entry ─▶ Fact::of ─┬─▶ Pairs      requests without response, latency
//!                                               ├─▶ Tally      figures under bounded labels
//!                                               ├─▶ ManagedPaths::touch ─┬─▶ RuleBook::observe ─▶ Finding
//!                                               │                        └─▶ Usage::observe (after the rules, which ask it who is known)
//!                                               └─▶ Own: what Keyward itself did does not count as use
//! ```
//!
//! Invariant: a call counts once, although it leaves two lines ([`Phase`]).
//! Invariant: whatever a log contains, memory stays below the bounds named by the constants of each module.

mod entry;
mod evidence;
mod fact;
mod finding;
mod identity;
mod label;
mod latency;
mod managed;
mod pairs;
mod parse;
mod pipeline;
mod rules;
mod scan;
mod tally;
mod time;
mod usage;
mod words;

pub use entry::{Auth, Entry, Namespace, PolicyResults, Request, Response, TokenMade};
pub use evidence::{
    Chain, ChainSnapshot, Comparison, Difference, LINES_PER_SEGMENT, MAX_HELD, Segment, SegmentAtRest, Spot, Verdict, Where, from_hex, hex,
    line_digest, statement,
};
pub use fact::{Fact, NewToken, Phase};
pub use finding::{Finding, Severity};
pub use identity::{Identity, Own};
pub use label::{LabelBook, MAX_MOUNTS, NO_MOUNT, OTHER};
pub use latency::{LATENCY_BOUNDS, Latency};
pub use managed::{Managed, ManagedPaths, Touch};
pub use pairs::{MAX_WAITING, Paired, Pairs};
pub use parse::{BadLine, BadReason, parse};
pub use pipeline::{MAX_KEPT_PER_RULE, PAIR_AGE, Pipeline, Place, UsageDoor};
pub use rules::{Allow, Hours, MAX_IDENTITIES, MAX_PAIRS, RuleBook, RuleError, RuleId, RuleOverride, RuleSettings, Sighting};
pub use tally::{BadPlace, Cells, LINE_KINDS, MAX_BAD_PLACES, MAX_ROWS, Row, Tally, TallySnapshot, TallyV1};
pub use usage::{MAX_READERS, MAX_READERS_PER_SECRET, Reader, SecretReaders, Usage, UsageSnapshot};
pub use words::{ErrorClass, Operation, Outcome};
