//! `keyward reconcile`: what is true of a secret now, what would mend it, and doing that when a person says so.
//!
//! Time may have run backwards (a restored Vault, a restored database), or somebody changed a password by hand. Then Vault and the
//! target disagree, and the *published* value decides, because it is what consumers read: the target is made to accept it, under a
//! number above the fence.

use crate::drive::{Ask, Engine, Outcome, Spec};
use crate::failure::{Class, Failure};
use crate::job::Job;
use crate::kind::Kind;
use crate::known::{is_foreign, known};
use crate::ports::Document;
use crate::prove::Proof;
use crate::published::{judge, named};
use crate::recording::Put;
use crate::stored::{Held, Stored};
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_rotation::record::{Author, Phase, Purpose, Record};
use keyward_rotation::saga::{Live, Saga, Stuck};
use keyward_rotation::table::{MANUAL, RECONCILE};

/// Whether what consumers read is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Works,
    /// It is refused.
    Refused(Failure),
    /// The system could not be asked, or a rotation was under way.
    Unknown(String),
    /// No system can be asked.
    Unprovable,
    /// Nothing was published yet.
    Nothing,
    /// The path was deleted.
    Gone,
}

/// What is true of a secret now.
#[derive(Debug)]
pub struct Truth {
    /// Its record as read for this.
    pub stored: Stored,
    /// The published version.
    pub version: u64,
    /// Whether what is published works.
    pub verdict: Verdict,
    /// Whether somebody else put it there.
    pub foreign: bool,
    /// The highest number that a fence holds; an error where the target could not be asked.
    pub fence: Result<Number, Failure>,
    /// What would mend it.
    pub cure: Cure,
}

/// What would make a secret true again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// Nothing is wrong.
    Nothing,
    /// Only the record has to learn what is true.
    Note,
    /// The target is made to accept what is published.
    Apply,
    /// Only a new value helps.
    Rotate,
    /// The rotation that stands still can go on.
    Resume,
    /// A person has to do this first.
    Person(String),
}

impl Cure {
    /// The word in JSON and between command and daemon.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Note => "note",
            Self::Apply => "apply",
            Self::Rotate => "rotate",
            Self::Resume => "resume",
            Self::Person(_) => "person",
        }
    }

    /// Whether `keyward reconcile` does it.
    pub const fn acts(&self) -> bool {
        matches!(self, Self::Note | Self::Apply | Self::Rotate | Self::Resume)
    }
}

/// The record from which a reconciliation sets out. It ends the rotation that stood still, and inherits what that one would have left for
/// later: the old value's end if the new one is what consumers read, else the end of the new one.
pub(crate) fn inherited(kind: &dyn Kind, job: &Job, live: &Document, now: Timestamp) -> Record {
    let mut record = job.record.clone();
    let Ok(work) = job.work() else { return record };
    if !matches!(work.attempt.purpose, Purpose::Rotate { .. }) {
        return record;
    }
    if judge(live, work.held) == Live::Candidate {
        record.later.extend(kind.later(work, now));
        record.kept = kind.keeps(work);
    } else {
        record.later.extend(kind.abandoned(work));
    }
    record
}

/// What the choice of a cure depends on.
struct Case<'a> {
    name: &'a str,
    record: &'a Record,
    verdict: &'a Verdict,
    foreign: bool,
    /// The fence holds a higher number than the record: time ran backwards.
    backwards: bool,
    /// The published fields are the candidate of the rotation that stands still.
    is_candidate: bool,
    can_apply: bool,
    is_manual: bool,
}

fn choose(case: &Case<'_>) -> Cure {
    let name = case.name;
    match (&case.record.phase, case.verdict) {
        (Phase::Staged(_) | Phase::Back(_), _) => {
            Cure::Person("a rotation is under way; the daemon finishes it or takes it up within seconds".into())
        }
        (_, Verdict::Gone) => Cure::Person("bring the path back first: vault kv undelete (or kv rollback)".into()),
        (_, Verdict::Unknown(why)) => Cure::Person(format!("it cannot be told whether it works: {why}; see to that first")),
        (Phase::Stuck { .. }, Verdict::Works) if case.is_candidate => Cure::Resume,
        (Phase::Stuck { reason: Stuck::ForeignValue | Stuck::Unproved | Stuck::UndoFailed, .. }, _) if case.can_apply => Cure::Apply,
        (Phase::Stuck { .. }, _) => Cure::Resume,
        (_, Verdict::Works | Verdict::Unprovable) => {
            let amiss = case.foreign || case.backwards || case.record.diverged.is_some();
            if amiss { Cure::Note } else { Cure::Nothing }
        }
        (_, Verdict::Nothing) => Cure::Nothing,
        (Phase::Paused { .. }, Verdict::Refused(_)) => Cure::Person(format!("it is paused: keyward resume {name}, then this again")),
        (Phase::Idle, Verdict::Refused(_)) if case.can_apply => Cure::Apply,
        (Phase::Idle, Verdict::Refused(_)) if case.is_manual => Cure::Person(format!("bring a value that works: keyward supply {name}")),
        (Phase::Idle, Verdict::Refused(_)) => Cure::Rotate,
    }
}

impl Truth {
    /// The record holds a lower number than the target's fence: Vault, or its records, were restored from the past.
    pub fn ran_backwards(&self) -> bool {
        let number = self.stored.record.as_ref().map_or(0, |r| r.number);
        self.fence.as_ref().is_ok_and(|fence| *fence > number)
    }
}

impl Engine {
    /// Says what is true of a secret now. Changes nothing.
    ///
    /// # Errors
    /// When its record cannot be read.
    pub async fn examine(&self, spec: &Spec) -> Result<Truth, Failure> {
        let stored = self.load(&spec.name).await?;
        let Some(record) = stored.record.clone() else {
            let fence = Ok(0);
            return Ok(Truth { stored, version: 0, verdict: Verdict::Nothing, foreign: false, fence, cure: Cure::Nothing });
        };
        let live = self.live(spec).await?;
        let verdict = self.verdict(spec, &record, &live).await;
        let fence = spec.kind.fences().await;
        let foreign = spec.kind.path().is_some() && is_foreign(record.published.as_ref(), &live, &spec.kind.fields());
        let mut truth = Truth { stored, version: live.version, verdict, foreign, fence, cure: Cure::Nothing };
        truth.cure = choose(&Case {
            name: &spec.name,
            record: &record,
            verdict: &truth.verdict,
            foreign,
            backwards: truth.ran_backwards(),
            is_candidate: spec.kind.path().is_none() || judge(&live, &truth.stored.held) == Live::Candidate,
            can_apply: spec.kind.current(&live).is_some(),
            is_manual: *spec.kind.table() == MANUAL,
        });
        Ok(truth)
    }

    async fn verdict(&self, spec: &Spec, record: &Record, live: &Document) -> Verdict {
        if spec.kind.path().is_some() && live.version > 0 && live.fields.is_none() {
            return Verdict::Gone;
        }
        if matches!(record.phase, Phase::Stuck { .. }) {
            return match spec.kind.prove(live).await {
                None => Verdict::Unprovable,
                Some(Ok(())) => Verdict::Works,
                Some(Err(failure)) if failure.again && failure.class != Class::WrongPassword => Verdict::Unknown(failure.to_string()),
                Some(Err(failure)) => Verdict::Refused(failure),
            };
        }
        match self.prove(spec).await {
            Proof::Valid => Verdict::Works,
            Proof::Invalid(failure) => Verdict::Refused(failure),
            Proof::Unknown(failure) => Verdict::Unknown(failure.to_string()),
            Proof::Moving => Verdict::Unknown("it changes right now".into()),
            Proof::NothingToProve if record.published.is_none() && live.version == 0 => Verdict::Nothing,
            Proof::NothingToProve => Verdict::Unprovable,
        }
    }

    /// Does what [`Truth::cure`] says. `None`: only the record had to learn something, and has.
    ///
    /// # Errors
    /// When a person has to act first, or the record could not be written.
    pub async fn reconcile(&self, spec: &Spec, truth: Truth, person: &str) -> Result<Option<Outcome>, Failure> {
        let Truth { stored, fence, cure, .. } = truth;
        let Some(record) = stored.record.clone() else { return Ok(None) };
        let ask = Ask { slot: self.clock.now(), person: Some(person.to_owned()), supplied: None };
        match cure {
            Cure::Nothing => Ok(None),
            Cure::Person(what) => Err(Failure::lasting(Class::Invalid, what)),
            Cure::Note => self.note(spec, stored, record, fence.unwrap_or(0)).await.map(|()| None),
            Cure::Rotate => Ok(Some(Box::pin(self.rotate(spec, stored, ask)).await)),
            Cure::Resume => Box::pin(self.resume(spec, stored)).await,
            Cure::Apply => Ok(Some(Box::pin(self.run(spec, Saga::begin(&RECONCILE), stored, record, ask)).await)),
        }
    }

    /// What works is true: the record learns it, and its number rises to the fence's.
    async fn note(&self, spec: &Spec, stored: Stored, record: Record, fence: Number) -> Result<(), Failure> {
        let live = self.live(spec).await?;
        let names = spec.kind.fields();
        let mut published = record.published.clone();
        if spec.kind.path().is_some() && is_foreign(published.as_ref(), &live, &names) {
            published = Some(known(&named(&live, &names), &names, Author::SomebodyElse, self.clock.now(), self.random.as_ref())?);
        }
        let next = Record { published, diverged: None, number: record.number.max(fence), ..record };
        match self.put(&spec.name, stored.version, &next, &Held::default()).await {
            Put::Won(_) => Ok(()),
            Put::Lost => Err(Failure::passing(Class::Foreign, "somebody else changed the record just now; look again")),
            Put::Failed(failure) => Err(failure),
        }
    }

    /// The schedule is held from now on: what is published was refused by a rotation's preflight.
    ///
    /// # Errors
    /// When the record could not be read or written; the next look of the proof watch says the same.
    pub async fn diverge(&self, spec: &Spec, why: &str) -> Result<(), Failure> {
        let stored = self.load(&spec.name).await?;
        let Some(record) = stored.record.filter(|r| r.phase == Phase::Idle && r.diverged.is_none()) else { return Ok(()) };
        let diverged = Some(keyward_rotation::record::Diverged { why: why.to_owned(), since: self.clock.now() });
        match self.put(&spec.name, stored.version, &Record { diverged, ..record }, &Held::default()).await {
            Put::Won(_) | Put::Lost => Ok(()),
            Put::Failed(failure) => Err(failure),
        }
    }
}

#[cfg(test)]
#[path = "reconcile_tests.rs"]
mod tests;
