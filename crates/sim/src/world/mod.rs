//! The servers and what stands in them, and the judge who watches every change.

pub(crate) mod database;
pub(crate) mod kv;

use crate::Millis;
use crate::cases::Case;
use crate::consumer::Consumer;
use crate::judge::Judge;
use crate::mutant::Mutant;
use crate::net::{ProcId, Server};
use crate::story::Story;
use database::Database;
use jiff::Timestamp;
use keyward_engine::{Class, Failure};
use keyward_rotation::record::Record;
use kv::{Body, Kv};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

/// The wall clock at the beginning of every world: Friday 15 January 2027, 08:00 UTC.
const EPOCH: i64 = 1_800_000_000;

/// A static role of Vault's database engine.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Static {
    pub(crate) user: String,
    pub(crate) password: String,
    /// Counts rotations; stands for the time of the last one.
    pub(crate) rotations: u64,
}

/// What a snapshot of Vault holds.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    records: Kv,
    published: Kv,
    statics: BTreeMap<String, Static>,
}

/// Everything outside the processes.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) now: Millis,
    /// Keyward's own mount.
    pub(crate) records: Kv,
    /// What consumers read.
    pub(crate) published: Kv,
    pub(crate) statics: BTreeMap<String, Static>,
    pub(crate) database: Database,
    /// Until when which server does not answer, and how that looks.
    pub(crate) vault_out: Option<(Millis, Failure)>,
    pub(crate) database_out: Option<(Millis, Failure)>,
    pub(crate) cases: Vec<Case>,
    pub(crate) consumers: Vec<Consumer>,
    pub(crate) judge: Judge,
    pub(crate) story: Story,
    pub(crate) mutant: Option<Mutant>,
    /// Which process has what is happening done.
    pub(crate) acting: ProcId,
    /// What a process wrote last into a record: for the mutant that does not read again.
    pub(crate) own_writes: BTreeMap<(ProcId, String), (u64, Body)>,
    /// How often Vault was restored.
    pub(crate) epoch: u32,
    /// A counter for values made by people.
    made: u32,
}

impl World {
    pub(crate) fn new(cases: Vec<Case>, story: Story, mutant: Option<Mutant>) -> Self {
        let mut world = Self {
            now: 0,
            records: Kv::default(),
            published: Kv::default(),
            statics: BTreeMap::new(),
            database: Database::default(),
            vault_out: None,
            database_out: None,
            judge: Judge::new(cases.len()),
            cases: Vec::new(),
            consumers: Vec::new(),
            story,
            mutant,
            acting: 0,
            own_writes: BTreeMap::new(),
            epoch: 0,
            made: 0,
        };
        for case in cases {
            case.furnish(&mut world);
            world.cases.push(case);
        }
        world
    }

    pub(crate) fn move_clock(&mut self, to: Millis) {
        let passed = to.saturating_sub(self.now);
        self.now = to;
        self.judge.pass(passed, self.vault_out.is_some() || self.database_out.is_some() || self.database.bars_candidates);
    }

    pub(crate) fn outage(&mut self, server: Server) -> Option<Failure> {
        let out = match server {
            Server::Vault => &mut self.vault_out,
            Server::Database => &mut self.database_out,
        };
        if out.as_ref().is_some_and(|(until, _)| *until <= self.now) {
            *out = None;
        }
        out.as_ref().map(|(_, failure)| failure.clone())
    }

    /// The number of a secret by its name.
    pub(crate) fn case(&self, secret: &str) -> usize {
        self.cases.iter().position(|c| c.name == secret).unwrap_or(0)
    }

    /// The number of the secret that publishes at a path.
    pub(crate) fn case_at(&self, path: &str) -> usize {
        self.cases.iter().position(|c| c.path.as_deref() == Some(path)).unwrap_or(0)
    }

    /// A value that a person thinks up.
    pub(crate) fn made_by_hand(&mut self) -> String {
        self.made += 1;
        format!("made-by-a-person-{:04}", self.made)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { records: self.records.clone(), published: self.published.clone(), statics: self.statics.clone() }
    }

    pub(crate) fn restore_database(&mut self, backup: &Database) {
        self.database = backup.clone();
        self.judge.database_restored();
    }

    pub(crate) fn restore(&mut self, from: &Snapshot) {
        self.epoch += 1;
        self.records = from.records.clone();
        self.published = from.published.clone();
        self.statics = from.statics.clone();
        let records: Vec<Option<Record>> = self.cases.iter().map(|c| record_of(&self.records, &c.name)).collect();
        let versions: Vec<u64> = self.cases.iter().map(|c| self.records.version(&c.name)).collect();
        self.judge.restored(records, &versions, self.now);
    }

    /// The record of a secret as it stands.
    pub(crate) fn record(&self, case: usize) -> Option<&Record> {
        self.judge.record(case)
    }

    /// What is the same in two worlds that no process, no person and no judge could tell apart.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        (self.now, self.epoch, self.made, &self.statics).hash(into);
        self.records.digest(into);
        self.published.digest(into);
        self.database.digest(|value| self.judge.knows(value), into);
        self.judge.digest(into);
    }

    /// Lets the judge see the rest of the world.
    pub(crate) fn judged(&mut self, look: impl FnOnce(&mut Judge, &Self)) {
        let mut judge = std::mem::take(&mut self.judge);
        look(&mut judge, self);
        self.judge = judge;
    }

    /// The first thing that was found wrong.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.judge.broken.as_deref()
    }
}

pub(crate) fn record_of(records: &Kv, secret: &str) -> Option<Record> {
    serde_json::from_str(records.body(secret)?.get("record")?).ok()
}

/// Wall time so long after the beginning, on a clock that is so many milliseconds ahead.
pub(crate) fn wall(now: Millis, skew: i64) -> Timestamp {
    let millis = i64::try_from(now).unwrap_or(i64::MAX).saturating_add(skew);
    Timestamp::from_millisecond(EPOCH * 1000 + millis).unwrap_or(Timestamp::MAX)
}

pub(crate) fn sealed() -> Failure {
    Failure::passing(Class::Sealed, "Vault is sealed")
}

pub(crate) fn unreachable(what: &str) -> Failure {
    Failure::passing(Class::Unreachable, format!("{what} cannot be reached"))
}
