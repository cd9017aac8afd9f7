//! What Vault keeps of one secret: the lock, the memory, and whose turn it is. The values stand beside it, in the engine's care.
//!
//! **Invariant:** a record is only ever written with check-and-set on the version that was read, and never deleted:
//! deleting a key's metadata would make old check-and-set versions match again.

use crate::Number;
use crate::saga::{Stuck, Way};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The format that this program writes. It reads this one and the one before, and refuses newer ones by name.
///
/// 2 added what was published last ([`Known`]), [`Diverged`], and [`Purpose::Reconcile`].
pub const FORMAT: u32 = 2;

/// The record of one secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`FORMAT`] of whoever wrote it.
    pub format: u32,
    /// The secret's name in the configuration.
    pub secret: String,
    /// Count of rotations so far; see [`Number`].
    pub number: Number,
    /// When the secret was first seen; its first slot is the next one after it.
    pub first_seen: Timestamp,
    /// The last slot that was finished as rotated. A slot at or before it is never due again.
    pub last_slot: Option<Timestamp>,
    /// When the last proved success was finished.
    pub last_success: Option<Timestamp>,
    /// What happened last, if it was a failure that was rolled back.
    pub last_failure: Option<LastFailure>,
    /// What is still to be done about older values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Later>,
    /// What is known of the present value and needed when its time is over (an accessor, a lease): never a value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept: BTreeMap<String, String>,
    /// Versions of this record that held values and must be destroyed: first and last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<(u64, u64)>,
    /// What the published fields were when Keyward last knew them; `None` before it published anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Known>,
    /// What consumers read is refused by the system that should accept it; the schedule is held until that is mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<Diverged>,
    /// Whose turn it is.
    pub phase: Phase,
}

/// The published fields as last known: enough to tell that somebody else changed them, and nothing of what they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// A keyed digest of the named fields, in hexadecimal.
    pub digest: String,
    /// Its key, drawn anew each time.
    pub salt: String,
    /// Who put them there.
    pub by: Author,
    /// When that was proved.
    pub at: Timestamp,
}

/// Who put a value on the published path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Author {
    /// A rotation.
    Keyward,
    /// Somebody else, and it was adopted: it works.
    SomebodyElse,
}

/// Vault and the target disagree about the value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diverged {
    /// What the target answered, without any value.
    pub why: String,
    /// Since when.
    pub since: Timestamp,
}

/// The last rotation, if it failed and was rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastFailure {
    /// When it was rolled back.
    pub at: Timestamp,
    /// How many in a row.
    pub attempts: u32,
    /// Which step failed and how, without any value.
    pub why: String,
}

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody's: the next slot decides.
    Idle,
    /// A rotation is on its way forward.
    Staged(Attempt),
    /// A rotation was decided to roll back.
    Back(Attempt),
    /// A rotation stands still until `keyward resume`.
    Stuck {
        /// The rotation.
        attempt: Attempt,
        /// Whether it was on its way back.
        back: bool,
        /// Why it stands still.
        reason: Stuck,
        /// What failed last, in words, without any value.
        why: String,
        /// Since when.
        since: Timestamp,
    },
    /// A person paused this secret.
    Paused {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// Since when.
        since: Timestamp,
    },
}

/// One attempt at a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The rotation's id: random, so that two attempts at one slot are told apart.
    pub rotation: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The kind's name at stage: recovery refuses to go on under another kind.
    pub kind: String,
    /// Which daemon or command works on it.
    pub owner: String,
    /// Who asked for it: `schedule`, or a person's name.
    pub asked_by: String,
    /// The published path's version that Publish and Race check against; `None` where nothing is published.
    pub base: Option<u64>,
    /// When it was staged.
    pub staged_at: Timestamp,
    /// The record's version written by the stage: from here on versions hold values.
    pub since_version: u64,
    /// What was seen at stage and is needed later (the role chosen, the time of the engine's last rotation); never a value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// What an attempt is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub enum Purpose {
    /// A slot of the schedule, or the moment a person asked.
    Rotate {
        /// The due time without jitter.
        slot: Timestamp,
    },
    /// Housekeeping on what is published: no slot is used up.
    Tend {
        /// Which of the things left for later it does; it is over once this is published, and still to be done after a rollback.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        what: Option<Later>,
        /// What is left for later in its place.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<Later>,
    },
    /// Making the target accept what is published: no slot is used up, nothing is published.
    Reconcile,
}

/// Something to be done about an older value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Later {
    /// Make a role's password unusable, if the published secret does not name it.
    Retire {
        /// The role.
        role: String,
        /// The rotation's number, which the fence asks for.
        number: Number,
        /// The rotation's id.
        rotation: String,
        /// Not before the grace is over.
        not_before: Timestamp,
    },
    /// Have an older value refused by the system that accepts it.
    Revoke {
        /// What names it there: an accessor, a lease, a key's id, a password's mark. Never a value.
        what: String,
        /// What else is needed for it.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        facts: BTreeMap<String, String>,
        /// The number of the rotation that replaced it.
        number: Number,
        /// Not before the grace is over.
        not_before: Timestamp,
    },
    /// Publish the next key as the current one.
    Promote {
        /// When every verifier has had time to read it.
        not_before: Timestamp,
    },
    /// Remove the previous value from the published secret.
    Prune {
        /// When nothing it signed or opened is valid any more.
        not_before: Timestamp,
    },
    /// Take a key out of the JWKS, now that nobody signs with it and no token of it lives.
    Withdraw {
        /// The key's name.
        kid: String,
        /// When it left the published secret.
        not_before: Timestamp,
    },
    /// Let a key of Vault open nothing any more that was sealed before this version, where the policy says so.
    Close {
        /// The oldest version that still opens.
        version: u64,
        /// Not before the grace is over.
        not_before: Timestamp,
    },
    /// End what an actor that was frozen during a rotation may have had issued under its label, but for one.
    Sweep {
        /// The label of that rotation.
        label: String,
        /// The id of what was published.
        keep: String,
        /// When such an actor has long stopped.
        not_before: Timestamp,
    },
}

impl Later {
    /// The moment before which nothing happens.
    pub fn not_before(&self) -> Timestamp {
        match self {
            Self::Retire { not_before, .. }
            | Self::Revoke { not_before, .. }
            | Self::Promote { not_before }
            | Self::Prune { not_before }
            | Self::Withdraw { not_before, .. }
            | Self::Close { not_before, .. }
            | Self::Sweep { not_before, .. } => *not_before,
        }
    }
}

impl Record {
    /// The record of a secret that was never seen before.
    pub fn first_seen(secret: &str, now: Timestamp) -> Self {
        Self {
            format: FORMAT,
            secret: secret.to_owned(),
            number: 0,
            first_seen: now,
            last_slot: None,
            last_success: None,
            last_failure: None,
            later: Vec::new(),
            kept: BTreeMap::new(),
            held: None,
            published: None,
            diverged: None,
            phase: Phase::Idle,
        }
    }

    /// Whether nothing but housekeeping was written since `before`: what made a slot due, and a rotation allowed, is still so.
    pub fn only_tended_since(&self, before: &Self) -> bool {
        let judged = |record: &Self| Self { format: FORMAT, later: Vec::new(), held: None, published: None, ..record.clone() };
        self.phase == Phase::Idle && judged(self) == judged(before)
    }

    /// The attempt that is under way or stands still.
    pub fn attempt(&self) -> Option<&Attempt> {
        match &self.phase {
            Phase::Staged(attempt) | Phase::Back(attempt) | Phase::Stuck { attempt, .. } => Some(attempt),
            Phase::Idle | Phase::Paused { .. } => None,
        }
    }

    /// The same, to be changed.
    pub fn attempt_mut(&mut self) -> Option<&mut Attempt> {
        match &mut self.phase {
            Phase::Staged(attempt) | Phase::Back(attempt) | Phase::Stuck { attempt, .. } => Some(attempt),
            Phase::Idle | Phase::Paused { .. } => None,
        }
    }

    /// The way of the attempt that is under way; `None` when nobody works on it.
    pub fn way(&self) -> Option<Way> {
        match &self.phase {
            Phase::Staged(_) => Some(Way::Forward),
            Phase::Back(_) => Some(Way::Back),
            Phase::Idle | Phase::Stuck { .. } | Phase::Paused { .. } => None,
        }
    }

    /// Staged → back: the decision to roll back. `None` unless it is staged.
    #[must_use]
    pub fn turned(mut self) -> Option<Self> {
        self.phase = match self.phase {
            Phase::Staged(attempt) => Phase::Back(attempt),
            _ => return None,
        };
        Some(self)
    }

    /// Stuck → where it stood, for whoever resumes it. `None` unless it is stuck.
    #[must_use]
    pub fn resumed(mut self) -> Option<Self> {
        self.phase = match self.phase {
            Phase::Stuck { attempt, back: false, .. } => Phase::Staged(attempt),
            Phase::Stuck { attempt, back: true, .. } => Phase::Back(attempt),
            _ => return None,
        };
        Some(self)
    }

    /// The attempt stands still from now on. `None` when none is under way.
    #[must_use]
    pub fn parked(mut self, reason: Stuck, why: &str, since: Timestamp) -> Option<Self> {
        let back = self.way()? == Way::Back;
        let attempt = self.attempt()?.clone();
        self.phase = Phase::Stuck { attempt, back, reason, why: why.to_owned(), since };
        Some(self)
    }

    /// The attempt was proved: idle, the slot done, `later` added to what is still to be done. `version` is the record's present one.
    #[must_use]
    pub fn finished(mut self, version: u64, now: Timestamp, later: Vec<Later>) -> Option<Self> {
        let Attempt { purpose, since_version: since, .. } = self.attempt()?.clone();
        match purpose {
            Purpose::Rotate { slot } => {
                self.last_slot = Some(self.last_slot.map_or(slot, |last| last.max(slot)));
                self.last_success = Some(now);
                self.last_failure = None;
                self.diverged = None;
            }
            Purpose::Reconcile => (self.last_failure, self.diverged) = (None, None),
            Purpose::Tend { what, then } => {
                self.later.retain(|later| Some(later) != what.as_ref());
                self.later.extend(then);
            }
        }
        self.later.extend(later);
        self.held = Some(self.values_since(since, version));
        self.phase = Phase::Idle;
        Some(self)
    }

    /// The versions that hold values: those of this attempt, and those of an earlier one that could not be destroyed.
    fn values_since(&self, since: u64, version: u64) -> (u64, u64) {
        (self.held.map_or(since, |(first, _)| first.min(since)), version)
    }

    /// The attempt was rolled back: idle, the slot still open, the failure remembered for the backoff.
    #[must_use]
    pub fn rolled_back(mut self, version: u64, now: Timestamp, why: &str) -> Option<Self> {
        let since = self.attempt()?.since_version;
        let attempts = self.last_failure.as_ref().map_or(0, |f| f.attempts).saturating_add(1);
        self.last_failure = Some(LastFailure { at: now, attempts, why: why.to_owned() });
        self.held = Some(self.values_since(since, version));
        self.phase = Phase::Idle;
        Some(self)
    }
}

/// Whether a record's present owner has been silent for the whole lease, judged on the observer's own monotonic clock.
///
/// Wall clocks of different machines are never compared: only "this version has been the newest for so long, here".
#[derive(Clone, Debug, Default)]
pub struct Observation {
    seen: Option<(u64, Duration)>,
}

impl Observation {
    /// Notes the record's version at `now` (time since the observer started) and says for how long it has not changed.
    pub fn observe(&mut self, version: u64, now: Duration) -> Duration {
        match self.seen {
            Some((seen, since)) if seen == version => now.saturating_sub(since),
            _ => {
                self.seen = Some((version, now));
                Duration::ZERO
            }
        }
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
