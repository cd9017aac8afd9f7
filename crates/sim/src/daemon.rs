//! A daemon: the loop of the real one, over the real planner, agenda and engine, in simulated time.

use crate::Millis;
use crate::cases::{Case, What};
use crate::mutant::Mutant;
use crate::ports::Port;
use jiff::Timestamp;
use keyward_engine::agenda::{self, Ended, Errand, Memory};
use keyward_engine::ports::Clock;
use keyward_engine::stored::Stored;
use keyward_engine::{Ask, Engine, Failure, Outcome, Proof, Spec};
use keyward_rotation::plan::{self, Input};
use keyward_rotation::record::Record;
use keyward_rotation::saga::End;
use keyward_rotation::schedule::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

/// A secret as a process handles it.
#[derive(Clone)]
pub(crate) struct Managed {
    pub(crate) spec: Spec,
    pub(crate) policy: Arc<Policy>,
    pub(crate) manual: bool,
}

impl Managed {
    pub(crate) fn of(case: &Case, port: &Port, mutant: Option<Mutant>) -> Self {
        Self { spec: case.spec(port, mutant), policy: Arc::clone(&case.policy), manual: case.what == What::Manual }
    }

    pub(crate) fn input(&self, record: Option<&Record>, now: Timestamp) -> Input {
        Input { kind_manual: self.manual, ..Input::of(&self.spec.name, "class", record, now) }
    }
}

/// What a daemon's tasks share.
#[derive(Clone)]
pub(crate) struct Daemon {
    pub(crate) port: Port,
    pub(crate) engine: Arc<Engine>,
    pub(crate) secrets: Vec<Managed>,
    /// How long it rests between two looks when nothing is under way.
    pub(crate) pace: Millis,
    ended: Arc<Mutex<Vec<(String, Ended)>>>,
}

impl Daemon {
    pub(crate) fn new(port: Port, engine: Engine, secrets: Vec<Managed>, pace: Millis) -> Self {
        Self { port, engine: Arc::new(engine), secrets, pace, ended: Arc::default() }
    }

    /// Looks, starts what is called for, rests, until its process ends.
    pub(crate) async fn run(self) {
        let mut memory: BTreeMap<String, Memory> = BTreeMap::new();
        let mut busy: BTreeSet<String> = BTreeSet::new();
        let mut restless: u64 = 0;
        for look in 0_u32.. {
            for (secret, ended) in self.ended.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                busy.remove(&secret);
                memory.entry(secret).or_default().ended(self.engine.elapsed(), ended);
            }
            self.read(&mut memory, &busy).await;
            self.consider(&mut memory, &mut busy);
            if look % 2 == 1 && !moving(&memory, &busy) {
                self.prove().await;
            }
            restless = if moving(&memory, &busy) { restless + 1 } else { 0 };
            self.port.net.sleep(if restless > 0 { 2_000 * (1 + restless / 16).min(30) } else { self.pace }).await;
        }
    }

    async fn read(&self, memory: &mut BTreeMap<String, Memory>, busy: &BTreeSet<String>) {
        for managed in &self.secrets {
            let name = &managed.spec.name;
            let memory = memory.entry(name.clone()).or_default();
            if busy.contains(name) || !memory.is_stale(self.engine.elapsed()) {
                continue;
            }
            let read = self.engine.load_or_create(name).await;
            let unreachable = read.as_ref().is_err_and(|failure| failure.again);
            memory.note(self.engine.elapsed(), read);
            if unreachable {
                return;
            }
        }
    }

    /// The proof watch, as the daemon's own task does it.
    pub(crate) async fn prove(&self) {
        for managed in &self.secrets {
            if let (Proof::Invalid(failure), _) = self.engine.watch(&managed.spec).await {
                self.port.net.lock().world.judge.read(&format!("{failure:?}"));
            }
        }
    }

    fn consider(&self, memory: &mut BTreeMap<String, Memory>, busy: &mut BTreeSet<String>) {
        let now = Clock::now(&self.port);
        let inputs: Vec<Input> = self.secrets.iter().map(|m| m.input(memory.get(&m.spec.name).and_then(Memory::record), now)).collect();
        let decisions = plan::plan(now, inputs.iter().zip(&self.secrets).map(|(input, m)| (input, m.policy.as_ref())));
        for (managed, (name, decision)) in self.secrets.iter().zip(decisions) {
            let Some(memory) = memory.get_mut(&name).filter(|_| !busy.contains(&name)) else { continue };
            let backoff = &managed.policy.backoff;
            let Some(errand) = memory.errand(&self.engine, &decision, backoff, self.engine.elapsed(), now) else { continue };
            busy.insert(name);
            let (daemon, managed) = (self.clone(), managed.clone());
            let work = async move { daemon.carry_out(&managed, errand).await };
            self.port.net.lock().spawn(self.port.proc, Box::pin(work));
        }
    }

    async fn carry_out(&self, managed: &Managed, errand: Errand) {
        let ended = match self.engine.load(&managed.spec.name).await {
            Ok(stored) => self.act(managed, errand, stored).await,
            Err(_) => Ended { refused: true, ..Ended::default() },
        };
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push((managed.spec.name.clone(), ended));
    }

    pub(crate) async fn act(&self, managed: &Managed, errand: Errand, stored: Stored) -> Ended {
        let (engine, spec) = (&self.engine, &managed.spec);
        match errand {
            Errand::Rotate(slot) => {
                let now = Clock::now(&self.port);
                if !agenda::still_due(&managed.input(stored.record.as_ref(), now), &managed.policy, slot, now) {
                    return Ended::default();
                }
                self.refused(&engine.rotate(spec, stored, Ask { slot, ..Ask::default() }).await)
            }
            Errand::TakeOver(version) if agenda::still_silent(engine, &stored, version) => {
                self.refused(&engine.take_over(spec, stored).await)
            }
            Errand::TakeOver(_) => Ended::default(),
            Errand::Tend => {
                let report = engine.tend(spec, stored).await;
                self.port.net.lock().world.judge.read(&format!("{report:?}"));
                Ended { tended: report.changed(), ..Ended::default() }
            }
            Errand::Sweep => Ended { swept: engine.sweep(spec, &stored).await.unwrap_or_default(), ..Ended::default() },
        }
    }

    fn refused(&self, outcome: &Outcome) -> Ended {
        self.note(outcome);
        Ended { refused: outcome.end != End::Rotated, ..Ended::default() }
    }

    fn note(&self, outcome: &Outcome) {
        self.port.net.lock().world.judge.read(&format!("{outcome:?}"));
    }

    /// What `keyward rotate`, `resume` and `supply` do, as the daemon's socket and the command line do it.
    pub(crate) async fn asked(self, number: usize, what: Asked) {
        let Some(managed) = self.secrets.get(number).cloned() else { return };
        let asked: Result<Option<Outcome>, Failure> = match what {
            Asked::Rotate(supplied) => self.rotate(&managed, supplied).await,
            Asked::Resume => match self.engine.load(&managed.spec.name).await {
                Ok(stored) => self.engine.resume(&managed.spec, stored).await,
                Err(failure) => Err(failure),
            },
            Asked::Reconcile => match self.engine.examine(&managed.spec).await {
                Ok(truth) => self.engine.reconcile(&managed.spec, truth, "somebody").await,
                Err(failure) => Err(failure),
            },
        };
        match asked {
            Ok(Some(outcome)) => self.note(&outcome),
            Ok(None) => {}
            Err(failure) => self.port.net.lock().world.judge.read(&format!("{failure:?}")),
        }
    }

    async fn rotate(&self, managed: &Managed, supplied: Option<String>) -> Result<Option<Outcome>, Failure> {
        let stored = self.engine.load_or_create(&managed.spec.name).await?;
        if stored.record.as_ref().is_none_or(|r| r.attempt().is_some()) {
            return Ok(None); // under way or stuck: the person is told so
        }
        let now = Clock::now(&self.port);
        let slot = match plan::decide(now, &managed.input(stored.record.as_ref(), now), &managed.policy) {
            plan::Decision::Due { slot, .. } => slot.0,
            plan::Decision::Wait { .. } => now,
        };
        let supplied = supplied.map(|value| keyward_secret::Values::from([("value".into(), keyward_secret::Secret::new(value))]));
        let ask = Ask { slot, person: Some("somebody".into()), supplied };
        Ok(Some(self.engine.rotate(&managed.spec, stored, ask).await))
    }
}

/// Whether something is under way, or could not be read.
fn moving(memory: &BTreeMap<String, Memory>, busy: &BTreeSet<String>) -> bool {
    !busy.is_empty() || memory.values().any(|m| m.failure().is_some() || m.record().is_none_or(|r| r.way().is_some()))
}

/// What a person asks of a daemon.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// `rotate`, or `supply` with a value.
    Rotate(Option<String>),
    /// `resume`.
    Resume,
    /// `reconcile`, and yes.
    Reconcile,
}
