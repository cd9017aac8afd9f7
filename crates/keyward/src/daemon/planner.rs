//! The planner's task: looks at every secret's record, and starts what is due, under way without an owner, or left for later.
//!
//! Records are kept in memory between looks and read again before anything is done: what decides is always the reading
//! that the stage is then checked against.

use super::errand::{self, Done};
use super::live::forget_others;
use super::shared::{Live, Shared};
use super::unreadable;
use crate::assembly::Managed;
use crate::metrics::families as f;
use crate::records;
use crate::view::{self, Beside, Recent, STATES};
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::agenda::{Errand, FRESH, Memory};
use keyward_engine::stored::{Held, Stored};
use keyward_engine::{Class, Failure};
use keyward_rotation::plan::{self, Decision, Reason};
use keyward_rotation::record::Record;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The heartbeat wakes the planner every second; without one it looks by itself.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// Reads of records in one look; the rest has its turn at the next.
const READS: usize = 200;

/// The planner's task. Ends when the daemon stops and what it started has ended or been parked.
pub async fn run(shared: Arc<Shared>) {
    let mut planner = Planner {
        shared,
        live: None,
        logged_in: false,
        classes: HashMap::new(),
        notes: HashMap::new(),
        memory: HashMap::new(),
        running: JoinSet::new(),
        busy: BTreeSet::new(),
    };
    loop {
        planner.look().await;
        tokio::select! {
            () = planner.shared.wake_planner.notified() => {}
            () = tokio::time::sleep(BY_ITSELF) => {}
            Some(done) = planner.running.join_next(), if !planner.running.is_empty() => planner.reap(done),
            () = planner.shared.stopped() => break,
        }
    }
    planner.drain().await;
}

/// What is told of a secret beside its record, until its next errand.
#[derive(Default)]
struct Notes {
    /// What was tried last, where the record says nothing of it.
    recent: Option<Recent>,
    /// Why an older value is kept though its grace is over.
    still_used: Option<String>,
}

struct Planner {
    shared: Arc<Shared>,
    /// The configuration of the last look.
    live: Option<Arc<Live>>,
    /// Whether there was a login at the last look.
    logged_in: bool,
    /// When the pause of each class was read.
    classes: HashMap<String, Instant>,
    notes: HashMap<String, Notes>,
    memory: HashMap<String, Memory>,
    running: JoinSet<Done>,
    busy: BTreeSet<String>,
}

impl Planner {
    /// One look at everything.
    async fn look(&mut self) {
        let live = self.shared.live();
        if self.live.as_ref().is_some_and(|known| !Arc::ptr_eq(known, &live)) {
            // A look that was under way at the reload may have shown what is configured no more.
            forget_others(&self.shared, &live);
        }
        self.live = Some(Arc::clone(&live));
        self.memory.retain(|name, _| live.secrets.contains_key(name));
        self.notes.retain(|name, _| live.secrets.contains_key(name));
        for name in self.shared.forgotten() {
            self.notes.remove(&name);
            if let Some(memory) = self.memory.get_mut(&name) {
                memory.forget();
            }
        }
        for (name, recent) in self.shared.all_tried() {
            self.notes.entry(name).or_default().recent = recent;
        }
        if self.is_logged_in(&live) {
            self.read_classes(&live).await;
            self.read_records(&live).await;
        }
        let unread: Vec<_> = self.memory.iter().filter_map(|(name, m)| Some((name.as_str(), m.failure()?))).collect();
        unreadable::tell(&self.shared, &unread);
        let now = Timestamp::now();
        let inputs: Vec<_> = live.secrets.values().map(|m| (view::input(m, self.record(m), now), Arc::clone(&m.policy))).collect();
        let decisions = plan::plan(now, inputs.iter().map(|(input, policy)| (input, policy.as_ref())));
        let moving: HashSet<String> = decisions
            .iter()
            .filter(|(name, d)| matches!(d, Decision::Due { .. }) || self.busy.contains(name))
            .map(|(n, _)| n.clone())
            .collect();
        for (name, decision) in decisions {
            if let Some(managed) = live.secrets.get(&name) {
                let decision = self.held_by_class(managed, decision);
                // `after`: what this one waits for goes first, and is then proved or told about.
                if !managed.config.after.iter().any(|first| moving.contains(first)) {
                    self.consider(&live, managed, &decision);
                }
                self.show(managed, now);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        self.shared.metrics.set(&f::PLANNER_TICK, &[], now.as_second() as f64);
        self.shared.planner_looked(Instant::now());
    }

    /// Whether Vault can be asked. Without a login it would refuse everything, and count each refusal; with the first, all is read at once.
    fn is_logged_in(&mut self, live: &Live) -> bool {
        let logged_in = live.vault.client().has_token();
        let was = std::mem::replace(&mut self.logged_in, logged_in);
        if logged_in && !was {
            self.memory.values_mut().for_each(Memory::forget);
        } else if !logged_in {
            const WHY: &str = "Keyward is not logged in to Vault";
            self.shared.board.waits("vault", WHY);
            for name in live.secrets.keys() {
                let memory = self.memory.entry(name.clone()).or_default();
                memory.note(live.engine.elapsed(), Err(Failure::passing(Class::Unreachable, WHY)));
            }
        }
        logged_in
    }

    /// What is due in a class that is paused waits.
    fn held_by_class(&self, managed: &Managed, decision: Decision) -> Decision {
        match self.shared.pause_of(&managed.config.class) {
            Some(pause) => plan::held(decision, Reason::Paused, &format!("the whole class, by {pause}")),
            None => decision,
        }
    }

    /// Reads which classes are paused, as often as records of which nothing is expected. It is read once more before each rotation.
    async fn read_classes(&mut self, live: &Live) {
        let used: BTreeSet<&str> = live.secrets.values().map(|m| m.config.class.as_str()).collect();
        self.classes.retain(|class, _| used.contains(class.as_str()));
        for class in used {
            if self.classes.get(class).is_some_and(|read| read.elapsed() < FRESH) {
                continue;
            }
            match live.engine.class_pause(class).await {
                Ok(pause) => {
                    self.shared.keep_pause(class, pause);
                    self.classes.insert(class.to_owned(), Instant::now());
                }
                Err(failure) => {
                    tracing::debug!(class, error = %failure, "Whether the class is paused could not be read.");
                    return; // as with the records; what was read before still holds
                }
            }
        }
    }

    fn record(&self, managed: &Managed) -> Option<&Record> {
        self.memory.get(&managed.spec.name).and_then(Memory::record)
    }

    /// Reads the records whose time has come, a bounded number at a look.
    async fn read_records(&mut self, live: &Live) {
        let mut left = READS;
        for managed in live.secrets.values() {
            let name = &managed.spec.name;
            let memory = self.memory.entry(name.clone()).or_default();
            if self.busy.contains(name) || left == 0 || !memory.is_stale(live.engine.elapsed()) {
                continue;
            }
            left -= 1;
            let engine = &live.engine;
            let read = if managed.observes() { records::look(engine, managed).await } else { records::take(engine, managed).await };
            let unreachable = read.as_ref().is_err_and(|failure| failure.again);
            match &read {
                Ok(_) => self.shared.board.reached("vault"),
                Err(failure) => self.shared.board.waits("vault", &failure.to_string()),
            }
            memory.note(engine.elapsed(), read);
            if unreachable {
                return; // the others would fare no better, each after its own time limit
            }
        }
    }

    /// Starts what one secret calls for.
    fn consider(&mut self, live: &Arc<Live>, managed: &Managed, decision: &Decision) {
        let name = managed.spec.name.clone();
        let Some(memory) = self.memory.get_mut(&name) else { return };
        if self.busy.contains(&name) || managed.observes() || self.shared.is_stopping() {
            return;
        }
        let now = live.engine.elapsed();
        if let Some(errand) = memory.errand(&live.engine, decision, &managed.policy.backoff, now, Timestamp::now()) {
            self.start(live, managed, errand);
        } else if matches!(decision, Decision::Wait { reason: Reason::NeedsPerson, .. }) {
            self.ask_a_person(managed);
        }
    }

    fn start(&mut self, live: &Arc<Live>, managed: &Managed, errand: Errand) {
        self.busy.insert(managed.spec.name.clone());
        let (shared, live, managed) = (Arc::clone(&self.shared), Arc::clone(live), managed.clone());
        self.running.spawn(async move { Box::pin(errand::run(errand, &shared, &live, &managed)).await });
    }

    fn reap(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(done) => {
                self.busy.remove(&done.secret);
                if let Some(memory) = self.memory.get_mut(&done.secret) {
                    memory.ended(self.shared.live().engine.elapsed(), done.ended);
                }
                let notes = self.notes.entry(done.secret).or_default();
                notes.recent = done.recent;
                if done.looked_at_older {
                    notes.still_used = done.still_used;
                }
            }
            Err(error) => {
                // A task that panicked left its record as it was: forgetting who was busy lets the next look take it up.
                tracing::error!(%error, "A rotation's task ended abnormally.");
                self.busy.clear();
            }
        }
        self.shared.wake_planner.notify_one();
    }

    /// Waits for what runs, within the grace of a stop. What is cut off is taken up at the next start.
    async fn drain(&mut self) {
        let limit = tokio::time::sleep(super::DRAIN);
        tokio::pin!(limit);
        while !self.running.is_empty() {
            tokio::select! {
                _ = self.running.join_next() => {}
                () = &mut limit => {
                    tracing::warn!(rotations = self.running.len(), "Stopping in the middle; the records say how to go on.");
                    self.running.shutdown().await;
                }
            }
        }
    }

    fn ask_a_person(&self, managed: &Managed) {
        let name = &managed.spec.name;
        self.shared.alerts.raise(Alert {
            key: format!("supply-due/{name}"),
            severity: Severity::Warning,
            title: "a new value is due".into(),
            account: Account {
                happened: format!("{name} is due to be replaced, and its provider has no way for a program to do it."),
                now: "The value in Vault is the old one; it still works as far as Keyward knows.".into(),
                next: "This notice is repeated until a new value was supplied.".into(),
                act: format!("Make a new value at the provider, then:\nkeyward supply {name}"),
            },
            owner: managed.config.owner.clone(),
            secret: Some(name.clone()),
            at: Timestamp::now(),
            passes_after: None,
        });
    }

    /// What is known of a secret, on the board and in the figures.
    fn show(&self, managed: &Managed, now: Timestamp) {
        let Some(memory) = self.memory.get(&managed.spec.name) else { return };
        let stored = Stored { version: memory.version(), record: memory.record().cloned(), held: Held::default() };
        let text = memory.failure().map(ToString::to_string);
        let (pause, notes) = (self.shared.pause_of(&managed.config.class), self.notes.get(&managed.spec.name));
        let waits = memory.record().is_some_and(|r| !r.later.is_empty());
        let beside = Beside {
            class_pause: pause.as_ref(),
            recent: notes.and_then(|n| n.recent.as_ref()),
            kept: notes.and_then(|n| n.still_used.as_deref()).filter(|_| waits),
        };
        let seen = view::view(managed, text.as_deref().map_or(Ok(&stored), Err), beside, now);
        let labels = [managed.spec.name.as_str(), managed.config.class.as_str()];
        let metrics = &self.shared.metrics;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let seconds = |at: Option<Timestamp>| at.map_or(0.0, |at| at.as_second() as f64);
        metrics.set(&f::LAST_SUCCESS, &labels, seconds(seen.last_success));
        metrics.set(&f::NEXT_DUE, &labels, seconds(seen.next_due));
        metrics.set(&f::CONSECUTIVE_FAILURES, &labels, f64::from(seen.failures));
        #[expect(clippy::cast_precision_loss, reason = "a handful of entries")]
        metrics.set(&f::RETIRE_PENDING, &labels, seen.pending.len() as f64);
        metrics.one_of(&f::SECRET_STATE, &labels, &STATES, &seen.state);
        self.shared.board.update(|status| {
            status.secrets.insert(managed.spec.name.clone(), seen);
        });
    }
}
