//! What can be said of a secret: the same for `status`, `plan`, the API and the metrics. Pure: records in, words out.

use crate::assembly::Managed;
use jiff::Timestamp;
use keyward_engine::stored::Stored;
use keyward_rotation::plan::{self, Decision, Input, Reason};
use keyward_rotation::record::{Later, Phase, Record};
use keyward_rotation::schedule::Slot;
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
    /// `idle`, `rotating`, `stuck`, `paused` or `unknown`.
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
    /// The last proved success.
    pub last_success: Option<Timestamp>,
    /// The next slot.
    pub next_due: Option<Timestamp>,
    /// Whether the last success is older than the schedule allows.
    pub overdue: bool,
    /// Failures since.
    pub failures: u32,
    /// Older values still to be retired or removed, and when that may begin.
    pub pending: Vec<String>,
    /// Whether it is due now.
    pub due: bool,
    /// The planner's reason, as a constant name.
    pub reason: String,
}

/// The states of `keyward_secret_state`.
pub const STATES: [&str; 5] = ["idle", "rotating", "stuck", "paused", "unknown"];

/// What the planner is asked about a secret.
pub fn input(managed: &Managed, record: Option<&Record>, now: Timestamp) -> Input {
    let phase = record.map(|r| &r.phase);
    Input {
        name: managed.spec.name.clone(),
        class: managed.config.class.clone(),
        first_seen: record.map_or(now, |r| r.first_seen),
        last_slot: record.and_then(|r| r.last_slot).map(Slot),
        last_success: record.and_then(|r| r.last_success),
        last_failure: record.and_then(|r| r.last_failure.as_ref()).map(|f| (f.at, f.attempts)),
        paused: match phase {
            Some(Phase::Paused { by, why, .. }) => Some(format!("{why} ({by})")),
            _ => None,
        },
        stuck: match phase {
            Some(Phase::Stuck { reason, .. }) => Some(reason.says().to_owned()),
            _ => None,
        },
        diverged: None,
        running: record.is_some_and(|r| r.way().is_some()),
        observe: managed.observes(),
        kind_manual: managed.is_manual(),
    }
}

/// The view of a secret whose record was read, or could not be read for the reason given.
pub fn view(managed: &Managed, read: Result<&Stored, &str>, now: Timestamp) -> SecretView {
    let record = read.ok().and_then(|s| s.record.as_ref());
    let input = input(managed, record, now);
    let decision = plan::decide(now, &input, &managed.policy);
    let next_due = plan::next_due(now, &input, &managed.policy);
    let (state, happened, is, can_do) = words(managed, read, record);
    let reason = match &decision {
        Decision::Due { .. } => "due",
        Decision::Wait { reason, .. } => reason.name(),
    };
    SecretView {
        name: managed.spec.name.clone(),
        class: managed.config.class.clone(),
        kind: managed.config.kind.name().to_owned(),
        path: managed.config.kind.path().map(str::to_owned),
        state: state.to_owned(),
        happened,
        now: is,
        next: next_words(&decision),
        can_do: if can_do.is_empty() { remedy(managed, &decision) } else { can_do },
        number: record.map_or(0, |r| r.number),
        last_success: record.and_then(|r| r.last_success),
        next_due,
        overdue: plan::overdue(now, &input, &managed.policy).is_some(),
        failures: record.and_then(|r| r.last_failure.as_ref()).map_or(0, |f| f.attempts),
        pending: record.map(|r| r.later.iter().map(pending).collect()).unwrap_or_default(),
        due: matches!(decision, Decision::Due { .. }),
        reason: reason.to_owned(),
    }
}

fn next_words(decision: &Decision) -> String {
    plan::explain(decision)
}

fn remedy(managed: &Managed, decision: &Decision) -> String {
    let name = &managed.spec.name;
    match decision {
        Decision::Wait { reason: Reason::NeedsPerson, .. } => format!("keyward supply {name}"),
        Decision::Wait { reason: Reason::GivenUp | Reason::MissedAlert, .. } => format!("keyward rotate {name}"),
        _ => String::new(),
    }
}

type Words = (&'static str, String, String, String);

fn words(managed: &Managed, read: Result<&Stored, &str>, record: Option<&Record>) -> Words {
    let name = &managed.spec.name;
    let Some(record) = record else {
        return match read {
            Err(why) => ("unknown", "its record cannot be read".into(), why.to_owned(), "keyward check".into()),
            Ok(_) => ("idle", "not seen before".into(), "nothing was rotated yet".into(), String::new()),
        };
    };
    match &record.phase {
        Phase::Idle => idle_words(record),
        Phase::Paused { by, why, since } => ("paused", format!("paused by {by} at {since}"), why.clone(), format!("keyward resume {name}")),
        Phase::Staged(attempt) => (
            "rotating",
            format!("rotation {} began at {}", attempt.rotation, attempt.staged_at),
            "the new value is stored in Vault; the published one is in force until it is replaced".into(),
            String::new(),
        ),
        Phase::Back(attempt) => (
            "rotating",
            format!("rotation {} failed ({})", attempt.rotation, attempt.facts.get("failed").map_or("", String::as_str)),
            "it is being rolled back to the published value".into(),
            String::new(),
        ),
        Phase::Stuck { attempt, reason, why, since, .. } => (
            "stuck",
            format!("rotation {} stopped at {since}: {why}", attempt.rotation),
            reason.says().to_owned(),
            format!("look at the cause, then: keyward resume {name}"),
        ),
    }
}

fn idle_words(record: &Record) -> Words {
    match (&record.last_failure, record.last_success) {
        (Some(failure), _) => (
            "idle",
            format!("the last rotation failed at {} and was rolled back ({} in a row): {}", failure.at, failure.attempts, failure.why),
            "the old value is in force and was put back".into(),
            format!("keyward rotate {} tries at once", record.secret),
        ),
        (None, Some(at)) => ("idle", format!("rotated and proved at {at}"), "the published value is in force".into(), String::new()),
        (None, None) => ("idle", format!("first seen at {}", record.first_seen), "not rotated by Keyward yet".into(), String::new()),
    }
}

fn pending(later: &Later) -> String {
    let at = later.not_before();
    match later {
        Later::Retire { role, .. } => format!("retire the user {role}, not before {at}"),
        Later::Revoke { what, .. } => format!("revoke {what}, not before {at}"),
        Later::Promote { .. } => format!("make the next key the current one, not before {at}"),
        Later::Prune { .. } => format!("remove the previous value, not before {at}"),
        Later::Sweep { label, .. } => format!("end what else may have been issued under {label}, not before {at}"),
    }
}
