//! What Vault keeps of one class: whether a person paused all of its secrets. It stands beside the records, and like them it is
//! only ever written with check-and-set and never deleted.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The format that this program writes. It reads this one and the one before, and refuses newer ones by name.
pub const FORMAT: u32 = 1;

/// One class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassState {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The class's name in the configuration.
    pub class: String,
    /// Who paused it; `None` when nobody did, or it was resumed.
    pub paused: Option<Pause>,
}

/// A pause: nothing of it is rotated by the schedule until `keyward resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Who.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

impl std::fmt::Display for Pause {
    /// `alice at 2026-11-24T08:00:00Z: release freeze`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.by, crate::whole_seconds(self.since))?;
        if self.why.is_empty() { Ok(()) } else { write!(f, ": {}", self.why) }
    }
}
