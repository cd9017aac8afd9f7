//! The four answers in words, for every state a secret can be in. For somebody woken at three: plain, whole, and with the command.

use super::{Beside, Recent, is_tried_again, whole_seconds};
use crate::assembly::Managed;
use jiff::Timestamp;
use keyward_engine::stored::Stored;
use keyward_rotation::plan::{self, Decision, Reason};
use keyward_rotation::record::{Attempt, Author, Phase, Purpose, Record};
use keyward_rotation::saga::Stuck;

/// What a secret's record says, and what follows.
pub(super) struct Words {
    pub state: &'static str,
    pub happened: String,
    pub now: String,
    /// What happens next, where the planner's reason does not say it.
    pub next: Option<String>,
    /// What a person can do; empty where the planner's reason says it.
    pub can_do: String,
}

impl Words {
    fn new(state: &'static str, happened: String, now: impl Into<String>) -> Self {
        Self { state, happened, now: now.into(), next: None, can_do: String::new() }
    }

    fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }

    fn can_do(self, can_do: String) -> Self {
        Self { can_do, ..self }
    }
}

pub(super) fn of(managed: &Managed, read: Result<&Stored, &str>, beside: Beside<'_>, decision: &Decision) -> Words {
    let name = &managed.spec.name;
    let record = match read {
        Ok(stored) => stored.record.as_ref(),
        Err(why) => {
            return Words::new("unknown", "its record in Vault cannot be read".into(), why)
                .next("it is read again every few seconds; nothing is rotated until then")
                .can_do("keyward check".into());
        }
    };
    let Some(record) = record else {
        return Words::new(
            "idle",
            "it was not seen before".into(),
            "nothing of it was rotated yet; what is published is as others left it",
        );
    };
    match &record.phase {
        Phase::Paused { by, why, since } => {
            let happened = format!("{by} paused it at {}{}", whole_seconds(*since), reason(why));
            Words::new("paused", happened, value(record)).can_do(format!("keyward resume {name}    lets its schedule go on"))
        }
        Phase::Stuck { attempt, reason, why, since, back } => stuck(name, attempt, *reason, why, *since, *back),
        Phase::Staged(attempt) => under_way(attempt, beside.recent),
        Phase::Back(attempt) => going_back(attempt, beside.recent),
        Phase::Idle => match &record.diverged {
            Some(diverged) => Words::new(
                "diverged",
                format!("since {} what is published is refused: {}", whole_seconds(diverged.since), diverged.why),
                "consumers that connect with what they read from Vault fail; Vault and the target disagree about the value",
            )
            .next("its schedule is held; it is proved again at its interval, and goes on by itself if it works again")
            .can_do(format!("keyward reconcile {name}    makes the target accept what is published")),
            None => idle(managed, record, beside.recent, decision),
        },
    }
}

fn idle(managed: &Managed, record: &Record, recent: Option<&Recent>, decision: &Decision) -> Words {
    let name = &record.secret;
    if let Some(recent) = recent.filter(|recent| record.last_success.is_none_or(|at| at < recent.at)) {
        let (at, why) = (whole_seconds(recent.at), &recent.why);
        let unchanged = "nothing was changed; what is published is what it was before";
        let out_of_turn =
            (!is_tried_again(decision)).then(|| format!("nothing more of that, which was out of turn; {}", plan::explain(decision)));
        let words = match recent.outcome {
            "deferred" => Words::new("idle", format!("its rotation was put off at {at}: {why}"), unchanged)
                .next("it is tried again after a pause, until nobody uses what it is about to change")
                .can_do(format!("end that use, or wait; keyward rotate {name} tries at once")),
            "clock" => Words::new("idle", format!("its rotation was held at {at}: {why}"), unchanged)
                .next("it is tried again after a pause, and goes on when the clocks agree")
                .can_do("set this machine's clock and Vault's right: chronyc tracking".into()),
            _ => Words::new("idle", format!("its rotation was refused at {at}, before anything was changed: {why}"), unchanged)
                .next("it is tried again after a pause that grows with every refusal")
                .can_do(format!("remove the cause; keyward rotate {name} --dry-run shows whether it is gone")),
        };
        return Words { next: out_of_turn.or(words.next), ..words };
    }
    let happened = match (&record.last_failure, record.last_success, &record.published) {
        (Some(failure), ..) => {
            let often = if failure.attempts > 1 { format!(" ({} in a row)", failure.attempts) } else { String::new() };
            let happened = format!("the last rotation failed at {} and was rolled back{often}: {}", whole_seconds(failure.at), failure.why);
            return Words::new("idle", happened, "the old value is in force; it was put back, and what is published is what it was before")
                .can_do(format!("remove the cause; keyward rotate {name} tries again at once"));
        }
        (None, _, Some(known)) if known.by == Author::SomebodyElse => {
            format!("somebody else published another value; it was seen, found to work and adopted at {}", whole_seconds(known.at))
        }
        (None, Some(at), _) if managed.config.kind.is_unproved() => {
            format!("what a person brought was published at {}; nothing here can prove it", whole_seconds(at))
        }
        (None, Some(at), _) => format!("rotated and proved at {}", whole_seconds(at)),
        (None, None, _) => format!("first seen at {}; not rotated by Keyward yet", whole_seconds(record.first_seen)),
    };
    Words::new("idle", happened, value(record))
}

/// What is true of the published value of a secret that nothing is being done with.
fn value(record: &Record) -> &'static str {
    match (&record.diverged, record.last_success) {
        (Some(_), _) => "what is published is refused by its target; keyward reconcile mends that",
        (None, Some(_)) => "the published value is in force",
        (None, None) => "what is published is as others left it",
    }
}

fn begun(attempt: &Attempt) -> String {
    let what = match attempt.purpose {
        Purpose::Rotate { .. } => "rotation",
        Purpose::Tend { .. } => "housekeeping",
        Purpose::Reconcile => "reconciliation",
    };
    format!("{what} {} began at {}, asked for by {}", attempt.rotation, whole_seconds(attempt.staged_at), attempt.asked_by)
}

fn suspended(recent: Option<&Recent>) -> String {
    let recent = recent.filter(|recent| recent.outcome == "suspended");
    recent.map(|recent| format!("; it was left at {}: {}", whole_seconds(recent.at), recent.why)).unwrap_or_default()
}

fn under_way(attempt: &Attempt, recent: Option<&Recent>) -> Words {
    Words::new(
        "rotating",
        begun(attempt) + &suspended(recent),
        "the new value is stored in Vault; the published one stays in force until it is replaced",
    )
    .next("it goes on by itself; if its owner is gone, another takes it up within seconds of reaching Vault")
}

fn going_back(attempt: &Attempt, recent: Option<&Recent>) -> Words {
    let failed = attempt.facts.get("failed").filter(|why| !why.is_empty()).map(|why| format!(" and failed: {why}")).unwrap_or_default();
    Words::new(
        "rotating",
        begun(attempt) + &failed + &suspended(recent),
        "it is being rolled back; what is published is the old value, which is put in force again",
    )
    .next("the rollback goes on by itself; if its owner is gone, another takes it up within seconds of reaching Vault")
}

fn stuck(name: &str, attempt: &Attempt, reason: Stuck, why: &str, since: Timestamp, back: bool) -> Words {
    let direction = if back { ", on its way back" } else { "" };
    let happened = format!("rotation {} stopped at {}{direction}: {why}", attempt.rotation, whole_seconds(since));
    let now = match reason {
        Stuck::ForeignValue => format!("{}; whether it works, keyward reconcile says", reason.says()),
        Stuck::PathDeleted => format!("{}; consumers find nothing there", reason.says()),
        Stuck::Unproved => format!("{}; consumers that connect with it may fail", reason.says()),
        Stuck::UndoFailed => format!("{}; the target may hold the new value while the old one is published", reason.says()),
        Stuck::Unsettled | Stuck::CannotGoOn => format!("{}; both values are kept in Vault", reason.says()),
    };
    let reconcile = format!("keyward reconcile {name}    says what is true, and makes the target accept what is published");
    let can_do = match reason {
        Stuck::PathDeleted => format!("bring the path back (vault kv undelete), then: keyward resume {name}"),
        Stuck::ForeignValue => reconcile,
        Stuck::Unproved | Stuck::UndoFailed => format!("remove the cause, then: keyward resume {name}; or {reconcile}"),
        Stuck::Unsettled | Stuck::CannotGoOn => format!("remove the cause, then: keyward resume {name}"),
    };
    Words::new("stuck", happened, now).next("nothing: its schedule stands still until a person lets it go on").can_do(can_do)
}

fn reason(why: &str) -> String {
    if why.is_empty() { String::new() } else { format!(": {why}") }
}

/// What happens next: what the state says, else the planner's reason; and that it is late, if it is.
pub(super) fn next(decision: &Decision, overdue: Option<Timestamp>, beside: Beside<'_>, said: Option<String>) -> String {
    let late = overdue.map(|since| format!("overdue since {}; ", whole_seconds(since))).unwrap_or_default();
    let kept = beside.kept.map(|why| format!("; the older value is kept: {why}")).unwrap_or_default();
    format!("{late}{}{kept}", said.unwrap_or_else(|| plan::explain(decision)))
}

/// What a person can do about the planner's reason; empty when nothing is called for.
pub(super) fn remedy(managed: &Managed, decision: &Decision, beside: Beside<'_>, overdue: bool) -> String {
    let name = &managed.spec.name;
    if beside.class_pause.is_some() {
        return format!("keyward resume --class {}    lets its schedule go on", managed.config.class);
    }
    match decision {
        Decision::Wait { reason: Reason::NeedsPerson, .. } => format!("keyward supply {name}"),
        Decision::Wait { reason: Reason::GivenUp | Reason::MissedAlert, .. } => format!("keyward rotate {name}"),
        Decision::Wait { reason: Reason::ClockSkew | Reason::ClockBehind, .. } => {
            "set this machine's clock and Vault's right: chronyc tracking".into()
        }
        Decision::Wait { reason: Reason::Observed, .. } => "set mode = \"act\" to have it rotated".into(),
        _ if overdue && managed.is_manual() => format!("keyward supply {name}"),
        _ if overdue => format!("keyward rotate {name}"),
        _ => String::new(),
    }
}
