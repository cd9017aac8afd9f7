//! What can be said of a secret: the same for `status`, `plan`, the API and the metrics. Pure: records in, words out.
//!
//! Whatever state a secret is in, four questions are answered: what happened, what is true now, what happens next, what can I do.

mod words;

#[cfg(test)]
mod tests;

use crate::assembly::Managed;
use jiff::Timestamp;
use keyward_engine::StillUsed;
use keyward_engine::kinds::Laggards;
use keyward_engine::stored::Stored;
use keyward_rotation::class::Pause;
use keyward_rotation::plan::{self, Decision, Input, Reason};
use keyward_rotation::record::{Author, Later, Record};
use keyward_rotation::schedule::Policy;
use serde::{Deserialize, Serialize};

/// A secret at a moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SecretView {
    /// Its name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Its kind.
    pub kind: String,
    /// Where consumers read it; absent where Keyward publishes nothing.
    pub path: Option<String>,
    /// One of [`STATES`].
    pub state: String,
    /// What happened, in a sentence.
    pub happened: String,
    /// What is true now.
    pub now: String,
    /// What happens next.
    pub next: String,
    /// What a person can do; empty when nothing is called for.
    pub can_do: String,
    /// Rotations so far.
    pub number: u64,
    /// When it was first seen; absent while its record was not read.
    pub first_seen: Option<Timestamp>,
    /// The last proved success.
    pub last_success: Option<Timestamp>,
    /// Whether nothing can prove it, so that its last success is a publication and no proof.
    #[serde(default)]
    pub unproved: bool,
    /// The next slot.
    pub next_due: Option<Timestamp>,
    /// Whether the last success is older than the schedule allows.
    pub overdue: bool,
    /// Failures since.
    pub failures: u32,
    /// Older values still to be retired or removed, and when that may begin.
    pub pending: Vec<String>,
    /// Why an older value is kept though its grace is over; absent when none is.
    pub kept: Option<String>,
    /// Who still uses an older value; only where one secret was asked for, because the targets are asked for it.
    #[serde(default)]
    pub still_used: Vec<UseView>,
    /// Whether what is published was put there by somebody else and adopted.
    pub adopted: bool,
    /// Whether it is due now.
    pub due: bool,
    /// The planner's reason, as a constant name.
    pub reason: String,
}

/// Who still uses an older value, as far as can be seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UseView {
    /// What is used.
    pub what: String,
    /// Its sessions at the target, a line each.
    pub sessions: Vec<String>,
    /// Who read the secret before it was replaced, and has not read it since.
    pub behind: Vec<String>,
    /// What cannot be seen, and why: so it is not said to be unused.
    pub unknown: Vec<String>,
}

impl From<StillUsed> for UseView {
    fn from(used: StillUsed) -> Self {
        let mut unknown = Vec::new();
        let sessions = used.sessions.unwrap_or_else(|failure| {
            unknown.push(format!("its sessions: {failure}"));
            Vec::new()
        });
        let behind = match used.readers {
            Laggards::Known(who) => who,
            Laggards::Unknown(why) => {
                unknown.push(format!("who read it before: {why}"));
                Vec::new()
            }
        };
        Self { what: used.what, sessions, behind, unknown }
    }
}

/// The states of `keyward_secret_state`.
pub const STATES: [&str; 6] = ["idle", "rotating", "stuck", "paused", "diverged", "unknown"];

/// What is known of a secret beside its record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// The pause of its class.
    pub class_pause: Option<&'a Pause>,
    /// What was tried last.
    pub recent: Option<&'a Recent>,
    /// Why an older value is kept though its grace is over.
    pub kept: Option<&'a str>,
}

/// What was tried last, where the record says nothing of it because nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recent {
    /// When.
    pub at: Timestamp,
    /// `deferred`, `refused`, `suspended`, or `clock` (this machine's and Vault's differ).
    pub outcome: &'static str,
    /// Why.
    pub why: String,
}

/// What the planner is asked about a secret.
pub fn input(managed: &Managed, record: Option<&Record>, now: Timestamp) -> Input {
    let known = Input::of(&managed.spec.name, &managed.config.class, record, now);
    Input { observe: managed.observes(), kind_manual: managed.is_manual(), ..known }
}

/// The planner's decision for one secret, were it alone in a class that may be paused.
pub fn decide(now: Timestamp, input: &Input, policy: &Policy, beside: Beside<'_>) -> Decision {
    let decision = plan::decide(now, input, policy);
    match beside.class_pause {
        Some(pause) => plan::held(decision, Reason::Paused, &format!("the whole class, by {pause}")),
        None => decision,
    }
}

/// Whether what was refused is tried again by itself: out of turn a person asked, and nobody asks again before the next slot.
pub const fn is_tried_again(decision: &Decision) -> bool {
    use Reason::{FirstSeen, NeedsPerson, NoSlot, NotDue, Observed};
    !matches!(decision, Decision::Wait { reason: FirstSeen | NeedsPerson | NoSlot | NotDue | Observed, .. })
}

/// The view of a secret whose record was read, or could not be read for the reason given.
pub fn view(managed: &Managed, read: Result<&Stored, &str>, beside: Beside<'_>, now: Timestamp) -> SecretView {
    let record = read.ok().and_then(|s| s.record.as_ref());
    let input = input(managed, record, now);
    let policy = managed.policy.as_ref();
    let decision = decide(now, &input, policy, beside);
    let overdue = record.and_then(|_| plan::overdue(now, &input, policy));
    let words = words::of(managed, read, beside, &decision);
    let reason = match &decision {
        Decision::Due { .. } => "due",
        Decision::Wait { reason, .. } => reason.name(),
    };
    SecretView {
        name: managed.spec.name.clone(),
        class: managed.config.class.clone(),
        kind: managed.config.kind.name().to_owned(),
        path: managed.config.kind.path().map(str::to_owned),
        state: words.state.to_owned(),
        next: words::next(&decision, overdue, beside, words.next),
        can_do: if words.can_do.is_empty() { words::remedy(managed, &decision, beside, overdue.is_some()) } else { words.can_do },
        happened: words.happened,
        now: words.now,
        number: record.map_or(0, |r| r.number),
        first_seen: record.map(|r| r.first_seen),
        last_success: record.and_then(|r| r.last_success),
        unproved: managed.config.kind.is_unproved(),
        next_due: plan::next_due(now, &input, policy),
        overdue: overdue.is_some(),
        failures: record.and_then(|r| r.last_failure.as_ref()).map_or(0, |f| f.attempts),
        pending: record.map(|r| r.later.iter().map(pending).collect()).unwrap_or_default(),
        kept: beside.kept.map(str::to_owned),
        still_used: Vec::new(),
        adopted: record.and_then(|r| r.published.as_ref()).is_some_and(|known| known.by == Author::SomebodyElse),
        due: matches!(decision, Decision::Due { .. }),
        reason: reason.to_owned(),
    }
}

fn pending(later: &Later) -> String {
    let at = whole_seconds(later.not_before());
    match later {
        Later::Retire { role, .. } => format!("retire the user {role}, not before {at}"),
        Later::Revoke { what, .. } => format!("revoke {what}, not before {at}"),
        Later::Promote { .. } => format!("make the next key the current one, not before {at}"),
        Later::Prune { .. } => format!("remove the previous value, not before {at}"),
        Later::Withdraw { kid, .. } => format!("take the key {kid} out of the JWKS, not before {at}"),
        Later::Close { version, .. } => format!("close what was sealed before version {version}, not before {at}"),
        Later::Sweep { label, .. } => format!("end what else may have been issued under {label}, not before {at}"),
    }
}

/// A time to the second, as text.
pub fn whole_seconds(at: Timestamp) -> String {
    keyward_rotation::whole_seconds(at).to_string()
}
