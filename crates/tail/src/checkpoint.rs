//! Where a follower stands, in a form that survives it. Never written to disk here: the caller stores it beside what it counted.

use std::fs::Metadata;

use serde::{Deserialize, Serialize};

use crate::event::{Counters, Error};
use crate::identity::{ContentTag, FileId, born};

/// A follower's position and counters. A versioned enum from the first day; an unknown version is refused by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum Checkpoint {
    /// The first format.
    #[serde(rename = "1")]
    V1(CheckpointV1),
}

/// The first format of a [`Checkpoint`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointV1 {
    /// Where to go on; `None` if no file was ever opened.
    pub position: Option<Position>,
    /// Counts that belong to exactly this position.
    pub counters: Counters,
    /// Files read to their end, newest last, at most 32: they are never read again, whatever they are called by then.
    #[serde(default)]
    pub finished: Vec<(FileId, ContentTag)>,
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The file's device and inode.
    pub file: FileId,
    /// The file's first bytes, so that another file on the same inode is not taken for it.
    pub tag: ContentTag,
    /// First byte that was not delivered as part of a whole line.
    pub offset: u64,
    /// The file's last modification in nanoseconds since 1970 when it was last looked at; orders files if this one is gone.
    pub modified: i64,
    /// When the file was made, in nanoseconds since 1970, where the file system keeps that: a file that was made later with the same
    /// device and inode took them over from this one, which was deleted.
    #[serde(default)]
    pub born: Option<i64>,
}

impl Position {
    /// Whether the tag alone tells this file from any other.
    pub(crate) fn tells(&self) -> bool {
        self.tag.length > 0
    }

    /// Whether this is still the position's file, whatever it holds by now, as far as the file system tells.
    pub(crate) fn is_of(&self, metadata: &Metadata) -> bool {
        let born_apart = self.born.zip(born(metadata)).is_some_and(|(before, now)| before != now);
        FileId::of(metadata) == self.file && !born_apart
    }
}

#[derive(Deserialize)]
struct Format {
    format: String,
}

impl Checkpoint {
    /// The checkpoint as one line of JSON.
    pub fn encode(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::Damaged)
    }

    /// Reads what [`Checkpoint::encode`] wrote; a newer format is [`Error::Version`].
    pub fn decode(text: &str) -> Result<Self, Error> {
        let format: Format = serde_json::from_str(text).map_err(Error::Damaged)?;
        match format.format.parse::<u64>() {
            Ok(found) if found > 1 => Err(Error::Version { found }),
            _ => serde_json::from_str(text).map_err(Error::Damaged),
        }
    }

    /// The counters, whatever the format.
    pub fn counters(&self) -> &Counters {
        let Self::V1(v1) = self;
        &v1.counters
    }

    pub(crate) fn into_v1(self) -> CheckpointV1 {
        let Self::V1(v1) = self;
        v1
    }
}
