//! The planner's task: looks at every secret's record, and starts what is due, under way without an owner, or left for later.
//!
//! Records are kept in memory between looks and read again before anything is done: what decides is always the reading
//! that the stage is then checked against.

use super::rotations::{self, Work};
use super::shared::{Live, Shared};
use super::unreadable;
use crate::assembly::Managed;
use crate::metrics::families as f;
use crate::records;
use crate::view::{self, STATES};
use jiff::Timestamp;
use keyward_alert::{Account, Alert, Severity};
use keyward_engine::agenda::{self, Ended, Errand, Memory};
use keyward_engine::stored::{Held, Stored};
use keyward_engine::{Ask, Outcome, TendReport};
use keyward_rotation::plan::{self, Decision, Reason};
use keyward_rotation::record::Record;
use keyward_rotation::saga::End;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The heartbeat wakes the planner every second; without one it looks by itself.
const BY_ITSELF: Duration = Duration::from_secs(3);
/// Reads of records in one look; the rest has its turn at the next.
const READS: usize = 200;

/// The planner's task. Ends when the daemon stops and what it started has ended or been parked.
pub async fn run(shared: Arc<Shared>) {
    let mut planner = Planner { shared, memory: HashMap::new(), running: JoinSet::new(), busy: BTreeSet::new() };
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

/// How one piece of work left its secret.
struct Done {
    secret: String,
    ended: Ended,
}

struct Planner {
    shared: Arc<Shared>,
    memory: HashMap<String, Memory>,
    running: JoinSet<Done>,
    busy: BTreeSet<String>,
}

impl Planner {
    /// One look at everything.
    async fn look(&mut self) {
        let live = self.shared.live();
        self.memory.retain(|name, _| live.secrets.contains_key(name));
        self.read_records(&live).await;
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
                // `after`: what this one waits for goes first, and is then proved or told about.
                if !managed.config.after.iter().any(|first| moving.contains(first)) {
                    self.consider(&live, managed, &decision);
                }
                self.show(managed, now);
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        self.shared.metrics.set(&f::PLANNER_TICK, &[], now.as_second() as f64);
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
        self.running.spawn(async move { run_errand(errand, &shared, &live, &managed).await });
    }

    fn reap(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(done) => {
                self.busy.remove(&done.secret);
                if let Some(memory) = self.memory.get_mut(&done.secret) {
                    memory.ended(self.shared.live().engine.elapsed(), done.ended);
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
        let seen = view::view(managed, text.as_deref().map_or(Ok(&stored), Err), now);
        let labels = [managed.spec.name.as_str(), managed.config.class.as_str()];
        let metrics = &self.shared.metrics;
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
        let seconds = |at: Option<Timestamp>| at.map_or(0.0, |at| at.as_second() as f64);
        metrics.set(&f::LAST_SUCCESS, &labels, seconds(seen.last_success));
        metrics.set(&f::NEXT_DUE, &labels, seconds(seen.next_due));
        metrics.set(&f::OVERDUE, &labels, f64::from(u8::from(seen.overdue)));
        metrics.set(&f::CONSECUTIVE_FAILURES, &labels, f64::from(seen.failures));
        #[expect(clippy::cast_precision_loss, reason = "a handful of entries")]
        metrics.set(&f::RETIRE_PENDING, &labels, seen.pending.len() as f64);
        metrics.one_of(&f::SECRET_STATE, &labels, &STATES, &seen.state);
        self.tell_overdue(managed, seen.overdue);
        self.shared.board.update(|status| {
            status.secrets.insert(managed.spec.name.clone(), seen);
        });
    }

    fn tell_overdue(&self, managed: &Managed, overdue: bool) {
        let name = &managed.spec.name;
        let key = format!("overdue/{name}");
        if !overdue {
            self.shared.alerts.resolve(key, format!("{name} is within its schedule again"));
            return;
        }
        self.shared.alerts.raise(Alert {
            key,
            severity: Severity::Warning,
            title: "overdue".into(),
            account: Account {
                happened: format!("{name} was not rotated and proved for longer than its schedule allows."),
                now: "The published value is older than it should be; nothing else is known to be wrong with it.".into(),
                next: "The planner goes on as `keyward plan` says.".into(),
                act: format!("keyward status {name}\nkeyward plan"),
            },
            owner: managed.config.owner.clone(),
            secret: Some(name.clone()),
            at: Timestamp::now(),
            passes_after: None,
        });
    }
}

/// Does what one secret calls for.
async fn run_errand(errand: Errand, shared: &Shared, live: &Live, managed: &Managed) -> Done {
    let secret = managed.spec.name.clone();
    // Read again: this very reading is what the first write is checked against.
    let ended = match live.engine.load(&secret).await {
        Ok(stored) => act(errand, shared, live, managed, stored).await,
        Err(error) => {
            tracing::warn!(secret, %error, "The record could not be read.");
            Ended { refused: true, ..Ended::default() }
        }
    };
    Done { secret, ended }
}

async fn act(errand: Errand, shared: &Shared, live: &Live, managed: &Managed, stored: Stored) -> Ended {
    let refused = |outcome: Option<Outcome>| Ended { refused: outcome.is_some_and(|o| o.end != End::Rotated), ..Ended::default() };
    match errand {
        Errand::Rotate(slot) => {
            let now = Timestamp::now();
            if !agenda::still_due(&view::input(managed, stored.record.as_ref(), now), &managed.policy, slot, now) {
                return Ended::default(); // somebody rotated it meanwhile
            }
            refused(rotations::run(shared, live, managed, stored, Work::Rotate(Ask { slot, ..Ask::default() })).await)
        }
        Errand::TakeOver if stored.record.as_ref().is_some_and(|r| r.way().is_some()) => {
            refused(rotations::run(shared, live, managed, stored, Work::TakeOver).await)
        }
        Errand::TakeOver => Ended::default(),
        Errand::Tend => Ended { tended: tend(shared, live, managed, stored).await, ..Ended::default() },
        Errand::Sweep => match live.engine.sweep(&managed.spec, &stored).await {
            Ok(swept) => Ended { swept, ..Ended::default() },
            Err(error) => {
                tracing::warn!(secret = managed.spec.name, %error, "Old versions of the record could not be destroyed.");
                Ended::default()
            }
        },
    }
}

async fn tend(shared: &Shared, live: &Live, managed: &Managed, stored: Stored) -> bool {
    let name = &managed.spec.name;
    let report = live.engine.tend(&managed.spec, stored).await;
    let key = format!("retire-waits/{name}");
    match &report {
        TendReport::Nothing => {}
        TendReport::Done(_) | TendReport::Published(..) => {
            tracing::info!(secret = name, report = ?report, "An older value was taken care of.");
            shared.alerts.resolve(key, "it was taken care of");
        }
        TendReport::NotYet(later, why) => {
            let late = later.not_before().checked_add(managed.config.retire_deadline).is_ok_and(|at| at <= Timestamp::now());
            if late {
                shared.alerts.raise(retire_waits(managed, key, why));
            }
            tracing::info!(secret = name, why, "An older value is kept for now.");
        }
        TendReport::Failed(_, error) => tracing::warn!(secret = name, %error, "An older value could not be taken care of."),
    }
    report.changed()
}

fn retire_waits(managed: &Managed, key: String, why: &str) -> Alert {
    let name = &managed.spec.name;
    Alert {
        key,
        severity: Severity::Warning,
        title: "an old value is still in use".into(),
        account: Account {
            happened: format!("The old value of {name} should be invalid by now, but {why}."),
            now: "Both the old and the new value work.".into(),
            next: "The old one is kept until nobody uses it; the next rotation waits for that.".into(),
            act: format!("Let its users read the secret again. keyward status {name}"),
        },
        owner: managed.config.owner.clone(),
        secret: Some(name.clone()),
        at: Timestamp::now(),
        passes_after: None,
    }
}
