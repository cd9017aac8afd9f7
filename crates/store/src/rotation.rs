//! A rotation as it stands in the history.
//!
//! It never decides anything: the record in Vault does; this is what people ask about afterwards.

use jiff::Timestamp;

/// How many rotations are kept; the oldest go first. The last success of a secret is kept apart and stays.
pub const MAX_ROTATIONS: i64 = 100_000;

/// How many events are kept of one rotation; the oldest go first.
pub const MAX_EVENTS_PER_ROTATION: i64 = 200;

/// How many events are kept of all rotations; the oldest go first.
pub(crate) const MAX_EVENTS: i64 = 500_000;

/// Of how many secrets the last success is kept; those longest ago go first.
pub(crate) const MAX_SUCCESSES: i64 = 100_000;

/// One rotation. Texts are names and causes, never values. Times are kept to the microsecond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The rotation's id, unique for ever.
    pub id: String,
    /// The secret's name.
    pub secret: String,
    /// The secret's class.
    pub class: String,
    /// How it is rotated.
    pub kind: String,
    /// The due time it was for; `None` if a person asked out of turn.
    pub slot: Option<Timestamp>,
    /// The secret's rotation number.
    pub number: u64,
    /// When it was staged.
    pub started: Timestamp,
    /// When it ended; `None` while it runs.
    pub finished: Option<Timestamp>,
    /// The outcome's word, or that it runs.
    pub outcome: String,
    /// Whether it ended as a proved success; makes it the secret's last success.
    pub success: bool,
    /// The step at which it failed.
    pub failed_step: Option<String>,
    /// The class of the failure.
    pub failure_class: Option<String>,
    /// What happened, in a sentence.
    pub text: Option<String>,
    /// The person or program that asked for it; `None` for the schedule.
    pub asked_by: Option<String>,
}

/// Something that happened inside a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RotationEvent {
    /// The rotation's id.
    pub rotation: String,
    /// The step's name.
    pub step: String,
    /// What happened to it, with the cause if it failed.
    pub event: String,
    /// When.
    pub at: Timestamp,
}

/// The last rotation of a secret that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSuccess {
    /// The secret's name.
    pub secret: String,
    /// The rotation's id.
    pub rotation: String,
    /// Its number.
    pub number: u64,
    /// When it was proved.
    pub finished: Timestamp,
}
