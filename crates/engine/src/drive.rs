//! One rotation from its first step to its end: asks the driving function what to do, does it, tells it how it went.

use crate::failure::{Class, Failure};
pub(crate) use crate::job::{Grip, Job};
use crate::kind::{Kind, Trouble};
use crate::observer::{Observer, Told, What};
use crate::ports::{Clock, Vault};
use crate::settings::Settings;
use crate::stored::{Held, Stored};
use jiff::{SignedDuration, Timestamp};
use keyward_rotation::record::{Later, Phase, Record};
use keyward_rotation::saga::{End, Event, Limits, Saga, State};
use keyward_rotation::table::{Step, TEND};
use keyward_secret::{Source, Values};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One configured secret, as the engine needs it.
#[derive(Clone)]
pub struct Spec {
    /// Its name.
    pub name: String,
    /// Its kind, with its targets.
    pub kind: Arc<dyn Kind>,
}

/// Who asks for a rotation, and for which slot.
#[derive(Debug, Default)]
pub struct Ask {
    /// The due time without jitter, or the moment a person asked.
    pub slot: Timestamp,
    /// A person's name; `None` for the schedule.
    pub person: Option<String>,
    /// Values that the person brought (kind `manual`).
    pub supplied: Option<Values>,
}

/// How a rotation ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How.
    pub end: End,
    /// The rotation's id; empty when it never got as far as having one.
    pub rotation: String,
    /// The secret's number now.
    pub number: u64,
    /// The last failure on the way, also of a rotation that ended well.
    pub failure: Option<Failure>,
    /// The step or state at which it failed.
    pub failed_at: Option<State>,
    /// The value that it found published was put there by somebody else.
    pub foreign: bool,
}

/// The secrets that this process works on. Shared by all engines of a process: a new configuration makes a new engine.
#[derive(Clone, Debug, Default)]
pub struct Claims(Arc<Mutex<HashSet<String>>>);

/// The engine. One per process; [`Engine::owner`] tells its records from those of others.
pub struct Engine {
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Source>,
    observer: Arc<dyn Observer>,
    /// Who this process is in a record. After a restart it must be the same only if the former process is surely gone.
    pub(crate) owner: String,
    pub(crate) settings: Settings,
    claims: Claims,
}

/// The fact that an attempt found somebody else's value published.
pub(crate) const FOREIGN: &str = "foreign";

/// What came of one state: what the driving function is told, and why if it went wrong.
pub(crate) type Went = (Event, Option<Failure>);

pub(crate) fn went(result: Result<(), Trouble>) -> Went {
    match result {
        Ok(()) => (Event::Done, None),
        Err(Trouble::Stale) => (Event::Stale, None),
        Err(Trouble::Fenced(number)) => {
            (Event::Fenced, Some(Failure::lasting(Class::Foreign, format!("the fence in the target holds number {number}"))))
        }
        Err(Trouble::Failed(failure)) => (failure.event(), Some(failure)),
    }
}

impl Engine {
    /// An engine over these ports.
    pub fn new(
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Source>,
        observer: Arc<dyn Observer>,
        owner: String,
        settings: Settings,
        claims: Claims,
    ) -> Self {
        Self { vault, clock, random, observer, owner, settings, claims }
    }

    /// The name under which this process stands in records.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// This process's monotonic time, on the clock by which owners are judged to be silent.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Rotates a secret whose record was found idle: `stored` is the very reading by which it was judged to be due.
    pub async fn rotate(&self, spec: &Spec, stored: Stored, ask: Ask) -> Outcome {
        match stored.record {
            Some(record) if record.phase == Phase::Idle => {
                let saga = Saga::begin(spec.kind.table());
                let mut held = Held::default();
                for (name, value) in ask.supplied.iter().flatten() {
                    held.new.insert(name.clone(), value.duplicate());
                }
                self.run(spec, saga, Stored { version: stored.version, record: None, held }, record, ask).await
            }
            record => {
                let text = if record.is_some() { "its record is not idle" } else { "it has no record yet" };
                refused(Failure::lasting(Class::Invalid, format!("{} cannot be rotated: {text}", spec.name)))
            }
        }
    }

    /// Publishes what is held on an idle secret's path as housekeeping, under the same protection as a rotation: where it does
    /// something that was left for later, that is the first of `tending`, and the rest is left in its place.
    pub(crate) async fn run_tend(
        &self,
        spec: &Spec,
        (version, record): (u64, Record),
        publish: Held,
        tending: Option<(Later, Vec<Later>)>,
    ) -> Outcome {
        let Some(claim) = self.claim(&spec.name) else { return claimed(spec) };
        let ask = Ask { slot: self.clock.now(), ..Ask::default() };
        let job = Job::new(Saga::begin(&TEND), self.grip(version), record, publish, ask);
        self.work_through(spec, Job { tending, ..job }, claim).await
    }

    pub(crate) async fn run(&self, spec: &Spec, saga: Saga, at: Stored, record: Record, ask: Ask) -> Outcome {
        match self.claim(&spec.name) {
            Some(claim) => self.run_claimed(spec, saga, at, record, ask, claim).await,
            None => claimed(spec),
        }
    }

    /// The same for who has claimed the secret for itself.
    pub(crate) async fn run_claimed(&self, spec: &Spec, saga: Saga, at: Stored, record: Record, ask: Ask, claim: Claim<'_>) -> Outcome {
        let job = Job::new(saga, self.grip(at.version), record, at.held, ask);
        self.work_through(spec, job, claim).await
    }

    fn grip(&self, version: u64) -> Grip {
        Grip { version, at: self.clock.elapsed() }
    }

    async fn work_through(&self, spec: &Spec, mut job: Job, _claim: Claim<'_>) -> Outcome {
        let recovered = !matches!(job.saga.state, State::Do(_));
        let by = job.ask.person.clone().unwrap_or_else(|| "schedule".into());
        self.tell(spec, &job, What::Began { by: &by, recovered });
        let rotation = self.drive(spec, &mut job).await;
        let end = if let State::Ended(end) = job.saga.state { end } else { End::Suspended };
        self.observer.told(&Told { secret: &spec.name, rotation: &rotation, what: What::Ended(&end) });
        Outcome { end, rotation, number: job.record.number, failure: job.failure, failed_at: job.failed_at, foreign: job.foreign }
    }

    /// The loop; the rotation's id.
    async fn drive(&self, spec: &Spec, job: &mut Job) -> String {
        let mut rotation = job.rotation().to_owned();
        while !matches!(job.saga.state, State::Ended(_)) {
            let state = job.saga.state;
            let began = self.clock.elapsed();
            let (event, failure) = self.step(spec, job).await;
            if rotation.is_empty() {
                job.rotation().clone_into(&mut rotation);
            }
            let took = self.clock.elapsed().saturating_sub(began);
            if event != Event::Lost {
                let what = What::Went { state, took, failure: failure.as_ref() };
                self.observer.told(&Told { secret: &spec.name, rotation: &rotation, what });
            }
            let limits = self.limits(job, failure.as_ref());
            if let Some(failure) = failure {
                job.failed_at = Some(state);
                job.failure = Some(failure);
            }
            match job.saga.next(event, limits) {
                Ok(saga) => job.saga = saga,
                Err(illegal) => {
                    // A defect of ours: leave the record as it is, say so, let the next start take it up.
                    job.failure = Some(Failure::lasting(Class::Invalid, illegal.to_string()));
                    return rotation;
                }
            }
        }
        rotation
    }

    /// Works through one state. Steps in the world run beside the heartbeat; writing the record is its own heartbeat.
    async fn step(&self, spec: &Spec, job: &mut Job) -> Went {
        if !self.is_still_ours(spec, job).await {
            return (Event::Lost, None);
        }
        let pause = self.settings.pause_before(job.saga.attempts);
        if !pause.is_zero()
            && let Err(lost) = self.beside_heartbeat(spec, job, self.clock.sleep(pause)).await
        {
            return lost;
        }
        match job.saga.state {
            State::Do(Step::Stage) => self.stage(spec, job).await,
            // Boxed, so that a rotation that never comes here does not carry them along.
            State::Do(Step::Issue) => Box::pin(self.issue(spec, job)).await,
            State::Do(Step::Announce) => Box::pin(self.announce(spec, job)).await,
            State::Do(Step::Publish) => self.publish(spec, job).await,
            State::Race if job.saga.table().has_race() => self.race(spec, job).await,
            State::Do(Step::Finish) => self.finish(spec, job).await,
            State::Reread(_) => self.reread(spec, job).await,
            State::Recover if job.saga.table().has_race() => self.reread(spec, job).await,
            State::Recheck(way) => self.recheck(spec, job, way).await,
            State::Turn => self.turn(spec, job).await,
            State::Lift(_) => self.lift(spec, job).await,
            State::Close => self.close(spec, job).await,
            State::Park(why) => self.park(spec, job, why).await,
            state => Box::pin(self.in_the_world(spec, job, state)).await,
        }
    }

    async fn in_the_world(&self, spec: &Spec, job: &mut Job, state: State) -> Went {
        let snapshot = job.snapshot();
        let act = self.act(spec, &snapshot, state);
        self.beside_heartbeat(spec, job, act).await.unwrap_or_else(|lost| lost)
    }

    async fn act(&self, spec: &Spec, job: &Job, state: State) -> Went {
        let kind = spec.kind.as_ref();
        let pivot = job.saga.table().pivot().unwrap_or(Step::Finish);
        match state {
            State::Do(Step::Preflight) => went(self.preflight(spec, job).await.map_err(Trouble::Failed)),
            State::Do(Step::Gate) => match self.live(spec).await {
                Ok(live) => went(kind.gate(&live, &job.record, self.clock.now()).await.map_err(Trouble::Failed)),
                Err(failure) => (failure.event(), Some(failure)),
            },
            State::Do(Step::Confirm) => went(self.confirm(spec, job).await),
            State::Do(Step::Verify) if job.record.attempt().is_none() => went(self.try_supplied(spec, job).await),
            State::Do(step) => match job.work() {
                Ok(work) => went(kind.act(step, work, &crate::ports::Document::default()).await),
                Err(failure) => (failure.event(), Some(failure)),
            },
            State::Undo(step) => match job.work() {
                Ok(work) => went(kind.undo(step, work).await),
                Err(failure) => (failure.event(), Some(failure)),
            },
            State::Race => self.bar(spec, job, pivot).await,
            State::Recover => self.probe(spec, job, pivot).await,
            State::Probe(step) => self.probe(spec, job, step).await,
            other => (Event::Failed { again: false }, Some(Failure::lasting(Class::Invalid, format!("{other:?} is no act")))),
        }
    }

    async fn probe(&self, spec: &Spec, job: &Job, step: Step) -> Went {
        let happened = match job.work() {
            Ok(work) => spec.kind.probe(step, work).await,
            // Nothing is staged: what came before it changed nothing, and may simply be done again.
            Err(_) => Ok(false),
        };
        match happened {
            Ok(true) => (Event::Done, None),
            Ok(false) => (Event::NotHappened, None),
            Err(failure) => (failure.event(), Some(failure)),
        }
    }

    /// The bounds of the next try. An outage says nothing of the value: it is waited for, where stopping would leave things half done.
    fn limits(&self, job: &Job, failure: Option<&Failure>) -> Limits {
        let outage = failure.is_some_and(|f| f.class.is_outage());
        let patience = SignedDuration::try_from(self.settings.patience).unwrap_or(SignedDuration::MAX);
        let young = |staged_at| self.clock.now().duration_since(staged_at) < patience;
        let patient = outage && job.record.attempt().is_some_and(|attempt| young(attempt.staged_at));
        Limits { patient, ..self.settings.limits }
    }

    fn tell(&self, spec: &Spec, job: &Job, what: What<'_>) {
        self.observer.told(&Told { secret: &spec.name, rotation: job.rotation(), what });
    }

    /// Whether nobody in this process works on the secret.
    pub(crate) fn is_free(&self, secret: &str) -> bool {
        !self.claims.0.lock().unwrap_or_else(PoisonError::into_inner).contains(secret)
    }

    /// One rotation per secret and process: the record's owner alone does not tell two tasks of one process apart.
    pub(crate) fn claim(&self, secret: &str) -> Option<Claim<'_>> {
        let mut busy = self.claims.0.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(secret.to_owned()).then(|| Claim { engine: self, secret: secret.to_owned() })
    }
}

/// Held while this process works on a secret.
pub(crate) struct Claim<'a> {
    engine: &'a Engine,
    secret: String,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.engine.claims.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.secret);
    }
}

/// The outcome where this process works on the secret already.
pub(crate) fn claimed(spec: &Spec) -> Outcome {
    let failure = Failure::passing(Class::InUse, format!("{} is being rotated by this process already", spec.name));
    Outcome { end: End::Lost, ..refused(failure) }
}

/// The outcome of what never began.
pub(crate) fn refused(failure: Failure) -> Outcome {
    let (rotation, end) = (String::new(), End::Refused(Step::Preflight));
    Outcome { end, rotation, number: 0, failure: Some(failure), failed_at: None, foreign: false }
}
