//! The judge: sees every change of the world, and says what must not be.
//!
//! It knows the truth (every server's content), which no actor does. What it demands is design, not mechanism: a value that
//! is handed out works, or works again in bounded time; nothing staged is lost; a slot runs once; what nobody named is
//! untouched; no value leaves its type; numbers never repeat; the record is never deleted; a role that is current is never
//! retired; every rotation ends.

mod secret;

use crate::Millis;
use crate::net::ProcId;
use crate::world::World;
use crate::world::kv::Body;
use keyward_engine::ports::FencePhase;
use keyward_rotation::record::Record;
use secret::{Truth, Write};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};

/// The lease of the simulated daemons.
const LEASE: Millis = 15_000;

/// What is known to be true, and the first thing that was wrong.
#[derive(Clone, Default)]
pub(crate) struct Judge {
    pub(crate) broken: Option<String>,
    /// Time so far in which the world was well and at least one daemon worked.
    good: Millis,
    /// Within so much of such time, everything that is under way must have ended.
    bound: Millis,
    /// An owner may be judged to be silent after so long, no sooner.
    lease: Millis,
    /// How many rotations ended as rotated.
    pub(crate) rotations: u64,
    /// Whether a daemon is alive and not frozen.
    pub(crate) staffed: bool,
    values: Vec<String>,
    proved: BTreeSet<String>,
    /// Processes that are gone.
    dead: BTreeSet<ProcId>,
    truths: Vec<Truth>,
}

impl Judge {
    pub(crate) fn new(secrets: usize) -> Self {
        Self { truths: (0..secrets).map(|_| Truth::default()).collect(), lease: LEASE, ..Self::default() }
    }

    fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(what());
        }
    }

    pub(crate) fn dies(&mut self, proc: ProcId) {
        self.dead.insert(proc);
    }

    /// Whether a process has a rotation in hand, as far as the records tell.
    pub(crate) fn has_in_hand(&self, proc: ProcId) -> bool {
        self.truths.iter().any(|t| t.writer == proc && t.record.as_ref().is_some_and(|r| r.way().is_some()))
    }

    /// Where there is no time, a rotation may be taken over at any moment.
    pub(crate) fn without_lease(&mut self) {
        self.lease = 0;
    }

    pub(crate) fn knows(&self, value: &str) -> bool {
        self.values.iter().any(|known| known == value)
    }

    /// What its verdicts from now on depend on.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        self.proved.hash(into);
        self.truths.iter().for_each(|truth| truth.digest(into));
    }

    pub(crate) fn bound_by(&mut self, bound: Millis) {
        self.bound = bound;
    }

    /// Something is wrong with no secret in particular.
    pub(crate) fn blame_nobody(&mut self, text: String) {
        self.fail(|| text);
    }

    /// How everything stands when all was well for long enough.
    pub(crate) fn settle(&mut self, world: &World) {
        self.look_at_all(world);
        for case in 0..self.truths.len() {
            let wrong = self.truths.get(case).and_then(|t| t.settled(world, case));
            self.blame(world, case, wrong);
        }
    }

    pub(crate) fn pass(&mut self, time: Millis, unwell: bool) {
        if self.staffed && !unwell {
            self.good += time;
        }
    }

    pub(crate) fn record(&self, case: usize) -> Option<&Record> {
        self.truths.get(case)?.record.as_ref()
    }

    /// A value that must be seen nowhere.
    pub(crate) fn know(&mut self, value: &str) {
        if value.len() >= 16 && !self.values.iter().any(|v| v == value) {
            self.values.push(value.to_owned());
        }
    }

    /// A system accepted this value.
    pub(crate) fn proved(&mut self, value: &str) {
        if !self.proved.contains(value) {
            self.proved.insert(value.to_owned());
        }
    }

    /// A text that people may read.
    pub(crate) fn read(&mut self, text: &str) {
        if let Some(value) = self.values.iter().find(|value| text.contains(value.as_str())) {
            let shown = text.replace(value.as_str(), "(the value)");
            self.fail(|| format!("a value left its type: {shown}"));
        }
    }

    /// Somebody other than Keyward changed what belongs to a secret: until it works again, it is not Keyward's doing.
    pub(crate) fn meddled(&mut self, case: usize) {
        if let Some(truth) = self.truths.get_mut(case) {
            truth.meddled = true;
            truth.ever_meddled = true;
        }
    }

    /// Whether a person has had a hand in a secret at any time, or a server was restored. `keyward reconcile` does not count.
    pub(crate) fn was_meddled(&self, case: usize) -> bool {
        self.truths.get(case).is_some_and(|t| t.ever_meddled)
    }

    /// Vault forgot what happened since a snapshot.
    pub(crate) fn restored(&mut self, records: Vec<Option<Record>>, versions: &[u64], now: Millis) {
        for ((truth, record), version) in self.truths.iter_mut().zip(records).zip(versions) {
            truth.restored(record, *version, now);
        }
    }

    /// The database forgot what happened since a backup.
    pub(crate) fn database_restored(&mut self) {
        for truth in &mut self.truths {
            truth.meddled = true;
            truth.ever_meddled = true;
        }
    }

    /// A process read what is published.
    pub(crate) fn has_read(&mut self, case: usize, proc: ProcId, user: Option<String>) {
        if let Some(truth) = self.truths.get_mut(case) {
            truth.read_by.insert(proc, user);
        }
    }

    pub(crate) fn record_written(&mut self, world: &World, case: usize, body: &Body, version: u64, proc: ProcId) {
        let text = body.get("record").map(String::as_str).unwrap_or_default();
        self.read(text);
        let Ok(record) = serde_json::from_str::<Record>(text) else {
            self.fail(|| "a record was written that cannot be read".into());
            return;
        };
        for part in ["new", "old", "publish"] {
            for value in texts(body.get(part)) {
                self.know(&value);
            }
        }
        let (good, lease) = (self.good, self.lease);
        let Some(truth) = self.truths.get_mut(case) else { return };
        let done = truth.record.as_ref().is_some_and(|r| r.last_success != record.last_success);
        let gone = self.dead.contains(&truth.writer);
        let wrong = truth.written(world, case, record, body, Write { version, proc, good, gone, lease });
        self.rotations += u64::from(done);
        self.blame(world, case, wrong);
        self.look(world, case);
    }

    pub(crate) fn patched(&mut self, world: &World, case: usize, before: &Body, named: &Body, proc: ProcId) {
        let Some(truth) = self.truths.get_mut(case) else { return };
        let wrong = truth.patched(world, case, before, named, &self.proved);
        let _ = proc;
        self.blame(world, case, wrong);
        self.look(world, case);
    }

    /// A role's password was changed through the fence.
    pub(crate) fn applied(&mut self, world: &World, role: &str, phase: FencePhase, proc: ProcId) {
        let Some(case) = world.cases.iter().position(|c| c.roles.iter().any(|r| r == role)) else { return };
        let Some(truth) = self.truths.get_mut(case) else { return };
        let wrong = if phase == FencePhase::Retire { truth.retired(world, case, role, proc) } else { None };
        self.blame(world, case, wrong);
        self.look(world, case);
    }

    /// Looks at one secret as it stands now.
    pub(crate) fn look(&mut self, world: &World, case: usize) {
        let (good, bound) = (self.good, self.bound);
        let Some(truth) = self.truths.get_mut(case) else { return };
        let wrong = truth.look(world, case, good, bound);
        self.blame(world, case, wrong);
    }

    /// Looks at everything, and at how long it has been so.
    pub(crate) fn look_at_all(&mut self, world: &World) {
        for case in 0..self.truths.len() {
            self.look(world, case);
            let Some(truth) = self.truths.get(case) else { continue };
            let wrong = truth.overdue(world, case, self.good, self.bound);
            self.blame(world, case, wrong);
        }
    }

    fn blame(&mut self, world: &World, case: usize, wrong: Option<String>) {
        if let Some(wrong) = wrong {
            let name = world.cases.get(case).map_or("", |c| c.name.as_str()).to_owned();
            let kind = world.cases.get(case).map(|c| format!("{:?}", c.what)).unwrap_or_default();
            self.fail(|| format!("{name} ({kind}): {wrong}"));
        }
    }
}

/// The texts in a JSON object, however deep.
fn texts(json: Option<&String>) -> Vec<String> {
    fn walk(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::String(text) => found.push(text.clone()),
            serde_json::Value::Array(all) => all.iter().for_each(|v| walk(v, found)),
            serde_json::Value::Object(all) => all.values().for_each(|v| walk(v, found)),
            _ => {}
        }
    }
    let mut found = Vec::new();
    if let Some(value) = json.and_then(|j| serde_json::from_str(j).ok()) {
        walk(&value, &mut found);
    }
    // Keys have times and ids beside them, which are no secret.
    found.retain(|text| text.len() >= 30 && text.parse::<jiff::Timestamp>().is_err());
    found
}
