//! What is true of one secret, and what of it must not be.

use crate::Millis;
use crate::cases::{Case, What};
use crate::net::ProcId;
use crate::world::World;
use crate::world::kv::{Body, text};
use keyward_rotation::record::{Later, Phase, Purpose, Record};
use keyward_rotation::saga::Way;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// One write of a record.
pub(super) struct Write {
    pub(super) version: u64,
    pub(super) proc: ProcId,
    /// Good time so far.
    pub(super) good: Millis,
    /// Whoever wrote before is dead.
    pub(super) gone: bool,
    /// How long an owner must be silent.
    pub(super) lease: Millis,
}

/// One secret's past and present.
#[derive(Clone, Default)]
pub(crate) struct Truth {
    pub(super) record: Option<Record>,
    version: u64,
    written_at: Millis,
    pub(super) writer: ProcId,
    /// The logins that the record holds: the new one and the old one.
    new: Option<String>,
    old: Option<String>,
    highest: u64,
    rotations: BTreeSet<String>,
    slots: BTreeSet<jiff::Timestamp>,
    candidates: BTreeSet<String>,
    published: BTreeSet<String>,
    under_way_since: Option<(String, Millis)>,
    pub(super) broken_since: Option<Millis>,
    values_left_since: Option<Millis>,
    pub(super) meddled: bool,
    pub(super) ever_meddled: bool,
    /// Vault was restored from the past.
    restored: bool,
    pub(super) read_by: BTreeMap<ProcId, Option<String>>,
}

impl Truth {
    /// Forgets what Vault has forgotten.
    pub(super) fn restored(&mut self, record: Option<Record>, version: u64, now: Millis) {
        let last = record.as_ref().and_then(|r| r.last_slot);
        self.slots.retain(|slot| last.is_some_and(|last| *slot <= last));
        self.highest = record.as_ref().map_or(0, |r| r.number);
        self.record = record;
        self.version = version;
        self.written_at = now;
        self.under_way_since = None;
        self.values_left_since = None;
        self.restored = true;
        self.meddled = true;
        self.ever_meddled = true;
    }

    pub(super) fn digest(&self, into: &mut impl Hasher) {
        (self.version, self.writer, &self.new, &self.old, self.highest, &self.rotations).hash(into);
        (&self.slots, &self.candidates, &self.published, &self.read_by).hash(into);
        (self.meddled, self.ever_meddled, self.restored).hash(into);
    }

    /// What a write of the record must not do.
    pub(super) fn written(&mut self, world: &World, case: usize, after: Record, body: &Body, write: Write) -> Option<String> {
        let before = self.record.take();
        let wrong = self.wrong_write(world, case, before.as_ref(), &after, &write);
        self.note_values(world, case, body);
        let rotation = after.way().and_then(|_| after.attempt()).map(|a| a.rotation.clone());
        self.under_way_since = match (self.under_way_since.take(), rotation) {
            (Some((same, since)), Some(rotation)) if same == rotation => Some((same, since)),
            (_, Some(rotation)) => Some((rotation, write.good)),
            (_, None) => None,
        };
        self.values_left_since = (after.phase == Phase::Idle).then(|| self.values_left_since.unwrap_or(write.good));
        (self.version, self.written_at, self.writer) = (write.version, world.now, write.proc);
        self.record = Some(after);
        wrong
    }

    fn wrong_write(&mut self, world: &World, case: usize, before: Option<&Record>, after: &Record, write: &Write) -> Option<String> {
        if write.version != self.version + 1 {
            return Some(format!("the record's version went from {} to {}: it was deleted", self.version, write.version));
        }
        let before = before?;
        if self.restored {
            return None; // versions come again after a restore, and so may whoever was frozen over it
        }
        if after.number < before.number {
            return Some(format!("the number went down from {} to {}", before.number, after.number));
        }
        self.highest = self.highest.max(before.number);
        if before.way().is_some()
            && let Some(wrong) = self.barged_in(world, write)
        {
            return Some(wrong);
        }
        match (before.attempt(), after.attempt()) {
            // `keyward reconcile` begins anew where one stands still.
            (Some(was), Some(is)) if was.rotation != is.rotation && before.way().is_some() => {
                return Some(format!("rotation {} was overwritten by {} before it ended", was.rotation, is.rotation));
            }
            (Some(was), Some(_)) if before.way() == Some(Way::Back) && after.way() == Some(Way::Forward) => {
                return Some(format!("rotation {} was to be rolled back, and goes forward again", was.rotation));
            }
            (None, Some(is)) => return self.staged(world, case, after, &is.rotation),
            (Some(was), None) => {
                let Purpose::Rotate { slot } = was.purpose else { return None };
                let success = after.last_success != before.last_success || after.last_slot != before.last_slot;
                if success || after.last_failure.is_none() {
                    let again = !self.slots.insert(slot);
                    return again.then(|| format!("the slot of {slot} was rotated twice"));
                }
            }
            _ => {}
        }
        self.highest = self.highest.max(after.number);
        None
    }

    /// A process writes into a rotation that another one has in hand, alive and not silent for the lease.
    fn barged_in(&self, world: &World, write: &Write) -> Option<String> {
        let silent = world.now.saturating_sub(self.written_at);
        let barged = self.writer != write.proc && !write.gone && silent < write.lease;
        barged.then(|| format!("somebody took over from a daemon that was silent for {silent} ms only"))
    }

    fn staged(&mut self, world: &World, case: usize, after: &Record, rotation: &str) -> Option<String> {
        if after.number <= self.highest {
            return Some(format!("the number {} was used before", after.number));
        }
        self.highest = after.number;
        let roles = world.cases.get(case).map(|c| c.roles.clone()).unwrap_or_default();
        let above = roles.iter().filter_map(|r| world.database.fence(r)).map(|f| f.number).max();
        // The fences were read a moment before: nobody else may have raised them since, unless he is done here for good.
        if !self.ever_meddled && above.is_some_and(|n| n >= after.number) {
            return Some(format!("the number {} is not above the fence's {}", after.number, above.unwrap_or_default()));
        }
        if !self.rotations.insert(rotation.to_owned()) {
            return Some(format!("the rotation id {rotation} was used before"));
        }
        None
    }

    fn note_values(&mut self, world: &World, case: usize, body: &Body) {
        let part = |name: &str, value: &str| {
            let part: serde_json::Value = serde_json::from_str(body.get(name)?).ok()?;
            Some(part.get(value)?.as_str()?.to_owned())
        };
        let rotates_a_login = world.cases.get(case).is_some_and(|c| !c.roles.is_empty());
        if rotates_a_login {
            self.new = part("new", "password").or_else(|| part("publish", "password"));
            self.old = part("old", "password");
            if let (Some(new), true) = (&self.new, body.contains_key("new")) {
                self.candidates.insert(new.clone());
            }
        }
    }

    /// What a PATCH of the published path must not do.
    pub(super) fn patched(&mut self, world: &World, case: usize, before: &Body, named: &Body, proved: &BTreeSet<String>) -> Option<String> {
        let case = world.cases.get(case)?;
        let path = case.path.as_deref()?;
        let after = world.published.body(path)?;
        let ours = |field: &String| case.fields.contains(field);
        let changed = before.keys().chain(after.keys()).find(|f| !ours(f) && before.get(*f) != after.get(*f));
        if let Some(field) = changed {
            return Some(format!("the field {field} was changed, which nobody named"));
        }
        if named.is_empty() || self.restored {
            return None;
        }
        let held = world.records.body(&case.name)?;
        if self.record.as_ref().and_then(Record::attempt).is_none() {
            return Some("something was published that stands in no record".into());
        }
        let stands = |part: &str| held.get(part).and_then(|json| serde_json::from_str::<BTreeMap<String, serde_json::Value>>(json).ok());
        let matches = |part: &str, body: &Body| {
            stands(part).is_some_and(|fields| {
                !fields.is_empty()
                    && fields.iter().all(|(name, value)| match body.get(name) {
                        Some(json) => serde_json::from_str::<serde_json::Value>(json).is_ok_and(|json| json == *value),
                        None => value.is_null(),
                    })
            })
        };
        if !matches("old", before) && !matches("publish", before) {
            return Some("a value that somebody else had put there was overwritten".into());
        }
        if !matches("publish", after) {
            return Some("what was published is not what the record holds".into());
        }
        self.unproved(case, after, proved)
    }

    fn unproved(&mut self, case: &Case, after: &Body, proved: &BTreeSet<String>) -> Option<String> {
        let value = match case.what {
            What::Password | What::TwoUsers(_) => text(after, "password"),
            What::Manual => text(after, "api_key"),
            What::StaticRole | What::StaticRoleCopied | What::Random | What::Jwt => None,
        }?;
        self.published.insert(value.clone());
        (!proved.contains(&value)).then(|| "a value was published that nobody has proved".into())
    }

    /// Nobody may make the password of the role unusable that consumers read right now.
    pub(super) fn retired(&self, world: &World, case: usize, role: &str, proc: ProcId) -> Option<String> {
        let (user, _) = world.cases.get(case)?.login(&world.published)?;
        // A person may put a role back while the retire is on its way: only who had read it so, or never read, is to blame.
        let knew = self.read_by.get(&proc).is_none_or(|read| read.as_deref() == Some(role));
        (user == role && (knew || !self.ever_meddled)).then(|| format!("{role} was retired, and is what consumers read"))
    }

    /// What must hold at every moment.
    pub(super) fn look(&mut self, world: &World, case: usize, good: Millis, bound: Millis) -> Option<String> {
        let case = world.cases.get(case)?;
        let (user, password) = case.login(&world.published)?;
        let target = world.database.password(&user)?;
        let under_way = self.record.as_ref().and_then(Record::attempt).is_some();
        if target == password {
            self.broken_since = None;
            if !self.published.contains(&password) {
                self.published.insert(password);
            }
            if !under_way {
                self.meddled = false;
            }
            return self.lost(world, case);
        }
        let since = *self.broken_since.get_or_insert(good);
        if self.ever_meddled {
            return None; // a frozen actor may rightly undo what a person did: only the end is judged
        }
        match case.what {
            What::TwoUsers(_) => return Some(format!("{user} cannot log in with what consumers read, which two users never allow")),
            What::StaticRole | What::StaticRoleCopied => return None,
            _ if !under_way => return Some("the record is idle, and what Vault hands out does not work".into()),
            _ => {}
        }
        let in_record = |value: &str| self.new.as_deref() == Some(value) || self.old.as_deref() == Some(value);
        // `keyward reconcile` is about to replace what the target holds.
        let reconciles = self.record.as_ref().and_then(Record::attempt).is_some_and(|a| a.purpose == Purpose::Reconcile);
        if !in_record(&password) || !(reconciles || in_record(target)) {
            return Some("a value in use stands nowhere in the record".into());
        }
        let stands_still = self.record.as_ref().is_some_and(|r| matches!(r.phase, Phase::Stuck { .. }));
        (!stands_still && good.saturating_sub(since) > bound)
            .then(|| format!("what Vault hands out has not worked for {} good minutes", (good - since) / 60_000))
    }

    /// A candidate that a target accepts must be in the record, or be published, or have been.
    fn lost(&self, world: &World, case: &Case) -> Option<String> {
        if self.ever_meddled || !matches!(case.what, What::Password | What::TwoUsers(_)) {
            return None;
        }
        // `keyward reconcile` leaves to be retired what a rollback that failed has left behind.
        let later = self.record.iter().flat_map(|r| &r.later);
        let goes: BTreeSet<&String> = later.filter_map(|l| if let Later::Retire { role, .. } = l { Some(role) } else { None }).collect();
        let accepted = |role: &&String| {
            !goes.contains(role)
                && world.database.password(role).is_some_and(|password| {
                    self.candidates.contains(password) && !self.published.contains(password) && self.new.as_deref() != Some(password)
                })
        };
        case.roles.iter().find(accepted).map(|role| format!("{role} accepts a candidate that stands nowhere"))
    }

    /// What must have ended by now.
    pub(super) fn overdue(&self, world: &World, case: usize, good: Millis, bound: Millis) -> Option<String> {
        let name = &world.cases.get(case)?.name;
        if let Some((rotation, since)) = &self.under_way_since
            && good.saturating_sub(*since) > bound
        {
            return Some(format!("rotation {rotation} has not ended after {} good minutes", (good - since) / 60_000));
        }
        if let Some(since) = self.values_left_since
            && good.saturating_sub(since) > bound
            && world.records.older(name).any(|body| body.contains_key("new"))
        {
            return Some("an older version of the record still holds values".into());
        }
        let stale = self.broken_since.is_some_and(|since| good.saturating_sub(since) > bound) && !self.meddled;
        let idle = self.record.as_ref().is_some_and(|r| r.phase == Phase::Idle);
        (stale && idle).then(|| "what Vault hands out does not work, and nobody does anything about it".into())
    }

    /// How it stands when everything was well for long enough.
    pub(super) fn settled(&self, world: &World, case: usize) -> Option<String> {
        let case = world.cases.get(case)?;
        let record = self.record.as_ref()?;
        if record.way().is_some() {
            return Some("a rotation is still under way after a long calm".into());
        }
        if matches!(record.phase, Phase::Stuck { .. }) {
            // What a person did to it by hand may need more than `resume`.
            return (!self.ever_meddled).then(|| "the rotation stands still, though a person let it go on".into());
        }
        let (user, password) = case.login(&world.published)?;
        let works = world.database.lets_in(&user, &password);
        (!works).then(|| "after a long calm, what Vault hands out does not work".into())
    }
}
