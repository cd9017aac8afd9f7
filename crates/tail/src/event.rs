//! What can happen to a followed file, as values and as counts. Never a log line, never a line's content.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing that happened to the stream, in the order in which it was noticed. A condition that lasts is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file was opened and is read from `offset` on.
    Opened {
        /// The path it was found under; a rotated file may have another name by now.
        path: PathBuf,
        /// The first byte that will be delivered.
        offset: u64,
    },
    /// The file was read to its end and the next one is read from now on.
    Rotated,
    /// The file became shorter, or its beginning changed, under our eyes or while nobody followed.
    Truncated {
        /// The copy in which the undelivered rest was found. Lines written between copy and truncation are lost even then.
        recovered_from: Option<PathBuf>,
    },
    /// Lines may be missing and nobody can say how many.
    Gap {
        /// Why.
        reason: GapReason,
    },
    /// A file ended for good without a newline; its last bytes are not a line and were dropped.
    Torn {
        /// How many bytes were dropped.
        bytes: u64,
    },
    /// A line was longer than the limit and was skipped.
    TooLong {
        /// Where it began in its file.
        offset: u64,
        /// How long it was, newline included.
        bytes: u64,
    },
    /// Nothing stands under the path. What was open before is still read.
    Missing,
    /// The path cannot be opened or read, for this reason.
    Unreadable {
        /// The file concerned.
        path: PathBuf,
        /// The operating system's reason; `InvalidInput` if it is no regular file.
        kind: io::ErrorKind,
    },
}

/// Why lines may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The file that the checkpoint names is gone, or was truncated and no copy of it was found.
    FileGone,
    /// A file between the last one and the present one is compressed in a way that is not read here (gzip and zstd are), or its
    /// first bytes are damaged.
    Compressed(PathBuf),
    /// A compressed file could not be decoded to its end; what came before was delivered.
    Damaged(PathBuf),
    /// A file that was to be read cannot be opened, and [`Options::patience`](crate::Options::patience) is over.
    Unreadable(PathBuf),
}

/// Everything that was ever counted for one path. It travels in the checkpoint, so that it moves with the position.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// Lines delivered.
    pub lines: u64,
    /// Bytes of those lines, newlines included.
    pub bytes: u64,
    /// Changes from one file to the next.
    pub rotations: u64,
    /// Times the file was seen truncated or rewritten in place.
    pub truncations: u64,
    /// Times an unknown number of lines may have been lost.
    pub gaps: u64,
    /// Lines skipped because they were longer than the limit.
    pub too_long: u64,
    /// Files that ended for good in the middle of a line.
    pub torn: u64,
    /// Times the path went missing.
    pub missing: u64,
    /// Times the path became unreadable.
    pub unreadable: u64,
}

/// Why a follower or a checkpoint cannot be used at all. Troubles of the file itself are [`Event`]s.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path names no file.
    #[error("cannot follow {path:?}: it has no file name; give the path of the log file itself")]
    Path {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The checkpoint was written by a newer Keyward.
    #[error("cannot read a checkpoint of format {found}: this version knows format 1; use the Keyward that wrote it, or a newer one")]
    Version {
        /// The format number found.
        found: u64,
    },
    /// The checkpoint is damaged.
    #[error("cannot read the checkpoint; remove it to start from the beginning of the present file")]
    Damaged(#[source] serde_json::Error),
}
