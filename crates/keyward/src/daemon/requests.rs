//! What a person asks for: rotate, resume, supply. The same judgement whether the daemon answers or a command works alone.

use super::rotations::Work;
use crate::assembly::Managed;
use crate::{records, view};
use jiff::Timestamp;
use keyward_engine::stored::Stored;
use keyward_engine::{Ask, Class, Engine, Failure};
use keyward_rotation::plan::{self, Decision};
use keyward_rotation::record::{Observation, Phase, Record};
use keyward_secret::{Secret, Values};
use serde::{Deserialize, Serialize};

/// Why a request cannot be carried out, before anything was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The request does not fit the secret.
    #[error("{0}")]
    Wrong(String),
    /// It may be asked again later.
    #[error("{0}")]
    Later(String),
    /// Vault could not be asked.
    #[error("{0}")]
    Unavailable(String),
    /// Vault does not allow it.
    #[error("{0}")]
    Denied(String),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let says = failure.to_string();
        match failure.class {
            Class::Denied => Self::Denied(says),
            _ if failure.again => Self::Unavailable(says),
            _ => Self::Wrong(says),
        }
    }
}

/// `rotate`, and `supply` with a value: what is to be done with the secret as its record stands.
///
/// # Errors
/// [`Refusal`].
pub async fn rotate(engine: &Engine, managed: &Managed, person: &str, value: Option<Secret>) -> Result<(Stored, Work), Refusal> {
    let name = &managed.spec.name;
    match (managed.is_manual(), value.is_some()) {
        (true, false) => return Err(Refusal::Wrong(format!("the values of {name} come from a person: `keyward supply {name}`"))),
        (false, true) => {
            return Err(Refusal::Wrong(format!("{name} is of kind {}: Keyward makes its values itself", managed.config.kind.name())));
        }
        _ if managed.observes() => return Err(Refusal::Wrong(format!("{name} is only observed (mode = \"observe\"); nothing is changed"))),
        _ => {}
    }
    let stored = records::take(engine, managed).await?;
    let Some(record) = &stored.record else { return Err(Refusal::Later(format!("the record of {name} is being written; try again"))) };
    match &record.phase {
        Phase::Idle => {
            let supplied = value.map(|value| Values::from([("value".into(), value)]));
            let ask = Ask { slot: slot(managed, record), person: Some(person.to_owned()), supplied };
            Ok((stored, Work::Rotate(ask)))
        }
        Phase::Staged(_) | Phase::Back(_) => under_way(engine, managed, stored),
        Phase::Stuck { reason, .. } => {
            Err(Refusal::Wrong(format!("{name} is stuck ({}); look at the cause, then `keyward resume {name}`", reason.says())))
        }
        Phase::Paused { by, why, .. } => {
            Err(Refusal::Wrong(format!("{name} was paused by {by} ({why}); `keyward resume {name}` lets it go on")))
        }
    }
}

/// A rotation that is under way is not begun twice: ours is taken up, somebody else's is left alone.
fn under_way(engine: &Engine, managed: &Managed, stored: Stored) -> Result<(Stored, Work), Refusal> {
    if engine.may_take_over(&stored, &mut Observation::default()) {
        return Ok((stored, Work::TakeOver));
    }
    let owner = stored.record.as_ref().and_then(Record::attempt).map_or("", |a| a.owner.as_str());
    let text =
        format!("a rotation of {} is under way by {owner}; if that is gone, the daemon takes it up within seconds", managed.spec.name);
    Err(Refusal::Later(text))
}

/// A person's rotation serves the slot that is due; out of turn it is a slot of its own, now.
fn slot(managed: &Managed, record: &Record) -> Timestamp {
    let now = Timestamp::now();
    match plan::decide(now, &view::input(managed, Some(record), now), &managed.policy) {
        Decision::Due { slot, .. } => slot.0,
        Decision::Wait { .. } => now,
    }
}

/// `resume`.
///
/// # Errors
/// [`Refusal`].
pub async fn resume(engine: &Engine, managed: &Managed) -> Result<(Stored, Work), Refusal> {
    let name = &managed.spec.name;
    let stored = engine.load(name).await?;
    match stored.record.as_ref().map(|r| &r.phase) {
        Some(Phase::Stuck { .. } | Phase::Paused { .. }) => Ok((stored, Work::Resume)),
        Some(Phase::Staged(_) | Phase::Back(_)) => under_way(engine, managed, stored),
        Some(Phase::Idle) | None => Err(Refusal::Wrong(format!("{name} is neither stuck nor paused; there is nothing to resume"))),
    }
}
