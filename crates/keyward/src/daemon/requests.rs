//! What a person asks for: rotate, resume, supply, pause, reconcile. The same judgement whether the daemon answers or a command works
//! alone.

use super::rotations::Work;
use super::shared::Live;
use super::skew;
use crate::assembly::Managed;
use crate::view::UseView;
use crate::{records, view};
use jiff::Timestamp;
use keyward_engine::stored::{Held, Stored};
use keyward_engine::{Ask, Class, Cure, Engine, Failure, Truth, Verdict};
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
pub async fn rotate(live: &Live, managed: &Managed, person: &str, value: Option<Secret>) -> Result<(Stored, Work), Refusal> {
    let (engine, name) = (live.engine.as_ref(), &managed.spec.name);
    match (managed.is_manual(), value.is_some()) {
        (true, false) => return Err(Refusal::Wrong(format!("the values of {name} come from a person: `keyward supply {name}`"))),
        (false, true) => {
            return Err(Refusal::Wrong(format!("{name} is of kind {}: Keyward makes its values itself", managed.config.kind.name())));
        }
        _ if managed.observes() => return Err(Refusal::Wrong(format!("{name} is only observed (mode = \"observe\"); nothing is changed"))),
        _ => {}
    }
    let class = &managed.config.class;
    if let Some(pause) = engine.class_pause(class).await? {
        return Err(Refusal::Wrong(format!("the class {class} was paused by {pause}; `keyward resume --class {class}` lets it go on")));
    }
    if let Some(why) = skew::objection(live).await {
        return Err(Refusal::Later(format!("{why}; a slot used up by a wrong clock could not be given back: set the clocks right first")));
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

/// `pause` of one secret, done at once.
///
/// # Errors
/// [`Refusal`].
pub async fn pause(engine: &Engine, managed: &Managed, person: &str, why: &str) -> Result<(), Refusal> {
    let stored = records::take(engine, managed).await?;
    Ok(engine.pause(&managed.spec, stored, person, why).await?)
}

/// What is true of a secret, and what `reconcile` would do about it, in words that both ends of the socket know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The secret.
    pub secret: String,
    /// What is true, a sentence each.
    pub says: Vec<String>,
    /// The cure's word, see [`Cure::name`].
    pub cure: String,
    /// Whether `reconcile` does it.
    pub acts: bool,
    /// What it would do, or what a person has to do; empty when nothing is wrong.
    pub will: String,
}

impl Finding {
    /// Whether anything is wrong.
    pub fn is_well(&self) -> bool {
        self.cure == Cure::Nothing.name()
    }
}

/// Says what is true of a secret. Changes nothing.
///
/// # Errors
/// [`Refusal`].
pub async fn examine(engine: &Engine, managed: &Managed) -> Result<Finding, Refusal> {
    let truth = engine.examine(&managed.spec).await?;
    Ok(finding(managed, &truth))
}

/// `reconcile`, if what would be done is still what the person agreed to.
///
/// # Errors
/// [`Refusal`].
pub async fn reconcile(live: &Live, managed: &Managed, person: &str, agreed: &str) -> Result<(Stored, Work), Refusal> {
    let name = &managed.spec.name;
    if managed.observes() {
        return Err(Refusal::Wrong(format!("{name} is only observed (mode = \"observe\"); nothing is changed")));
    }
    if let Some(why) = skew::objection(live).await {
        return Err(Refusal::Later(format!("{why}; set the clocks right first")));
    }
    let truth = live.engine.examine(&managed.spec).await?;
    let finding = finding(managed, &truth);
    match &truth.cure {
        Cure::Person(what) => Err(Refusal::Wrong(format!("{name}: {what}"))),
        cure if cure.name() != agreed => {
            Err(Refusal::Later(format!("what is true of {name} has changed meanwhile: {}; look again", finding.says.join("; "))))
        }
        _ => {
            let stored = Stored { version: truth.stored.version, record: truth.stored.record.clone(), held: Held::default() };
            Ok((stored, Work::Reconcile(Box::new(truth), person.to_owned())))
        }
    }
}

fn finding(managed: &Managed, truth: &Truth) -> Finding {
    let mut says = vec![match &truth.verdict {
        Verdict::Works => "what is published works".to_owned(),
        Verdict::Refused(failure) => format!("what is published is refused: {failure}"),
        Verdict::Unknown(why) => format!("whether what is published works is unknown: {why}"),
        Verdict::Unprovable => "no system can say whether what is published works".to_owned(),
        Verdict::Nothing => "nothing was published by Keyward yet".to_owned(),
        Verdict::Gone => "the published path was deleted: consumers find nothing there".to_owned(),
    }];
    let record = truth.stored.record.as_ref();
    let state = match record.map(|r| &r.phase) {
        None => "Keyward has not seen it before",
        Some(Phase::Idle) => "no rotation of it is under way",
        Some(Phase::Staged(_) | Phase::Back(_)) => "a rotation of it is under way",
        Some(Phase::Stuck { .. }) => "a rotation of it stands still",
        Some(Phase::Paused { .. }) => "a person paused it",
    };
    says.push(state.to_owned());
    if truth.foreign {
        says.push("somebody else put it there: it is not what Keyward published".to_owned());
    }
    match &truth.fence {
        Ok(fence) if truth.ran_backwards() => says.push(format!(
            "time ran backwards: the record is at number {}, its target has seen {fence}; Vault was restored from the past",
            record.map_or(0, |r| r.number)
        )),
        Ok(_) => {}
        Err(failure) => says.push(format!("its target cannot be asked for its fence: {failure}")),
    }
    let will = match &truth.cure {
        Cure::Nothing => String::new(),
        Cure::Note if truth.foreign => "adopt what is published; the target is left as it is".to_owned(),
        Cure::Note => "write into its record what is true now; nothing else is touched".to_owned(),
        Cure::Apply => "make the target accept what is published, under a number above its fence, and prove it by a login".to_owned(),
        Cure::Rotate => "rotate it: only a new value helps".to_owned(),
        Cure::Resume => "let the rotation that stands still go on".to_owned(),
        Cure::Person(what) => what.clone(),
    };
    Finding { secret: managed.spec.name.clone(), says, cure: truth.cure.name().to_owned(), acts: truth.cure.acts(), will }
}

/// Who still uses the older values of a secret; asks its targets.
///
/// # Errors
/// [`Refusal`].
pub async fn still_used(engine: &Engine, managed: &Managed) -> Result<Vec<UseView>, Refusal> {
    Ok(engine.still_used(&managed.spec).await?.into_iter().map(UseView::from).collect())
}
