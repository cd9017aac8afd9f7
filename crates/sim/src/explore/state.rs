//! A small world at one moment, and everything that can happen next.

use super::Small;
use super::actor::{Actor, Then};
use crate::net::Fate;
use crate::person::Deed;
use crate::plan::HOUR;
use crate::world::{Snapshot, World, database::Database};
use keyward_engine::{Class, Failure};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What happened last, and before.
pub(crate) struct Step {
    what: String,
    before: Option<Arc<Self>>,
}

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) world: World,
    actors: Vec<Actor>,
    /// Calls of processes that gave up on them, or are gone: they may still arrive.
    late: Vec<Actor>,
    /// What may still go wrong.
    spare: Small,
    past: Arc<(Snapshot, Database)>,
    path: Option<Arc<Step>>,
}

impl State {
    /// The beginning: the secret is known and works, and its first slot is due.
    pub(crate) fn first(mut world: World, small: Small) -> Self {
        let mut founder = Actor::at_rest(0, false);
        founder.sets_out(&world, false);
        while founder.is_busy {
            world = founder.step(world, &Then::Happens(Fate::Done));
        }
        world.move_clock(HOUR);
        let past = Arc::new((world.snapshot(), world.database.clone()));
        let actors = (0..2).map(|proc| Actor::at_rest(proc, small.watches())).collect();
        Self { world, actors, late: Vec::new(), spare: Small { slots: small.slots.saturating_sub(1), ..small }, past, path: None }
    }

    pub(crate) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.world.digest(&mut hasher);
        self.spare.hash(&mut hasher);
        self.actors.iter().chain(&self.late).for_each(|actor| actor.digest(&mut hasher));
        hasher.finish()
    }

    /// The same, of what stands in the servers alone.
    pub(crate) fn world_hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.world.digest(&mut hasher);
        hasher.finish()
    }

    /// How it came to be, a line each.
    pub(crate) fn story(&self) -> String {
        let mut lines = Vec::new();
        let mut step = self.path.as_ref();
        while let Some(this) = step {
            lines.push(this.what.clone());
            step = this.before.as_ref();
        }
        lines.reverse();
        lines.join("\n")
    }

    fn then(&self, what: String) -> Self {
        let path = Some(Arc::new(Step { what, before: self.path.clone() }));
        Self { path, ..self.clone() }
    }

    /// Every state that may come next.
    pub(crate) fn successors(&self) -> Vec<Self> {
        let mut all = Vec::new();
        for at in 0..self.actors.len() {
            self.of_an_actor(at, &mut all);
        }
        for at in 0..self.late.len() {
            let mut next = self.then(format!("late: {}", self.late[at].asks)); // in bounds: counted just now
            let mut late = next.late.remove(at);
            next.world = late.step(next.world, &Then::Lands);
            all.push(next);
        }
        self.of_the_world(&mut all);
        all
    }

    fn of_an_actor(&self, at: usize, all: &mut Vec<Self>) {
        let Some(actor) = self.actors.get(at) else { return };
        let name = format!("daemon-{}", at + 1);
        if !actor.is_busy {
            all.push(self.sets_out(at, false, format!("{name} sets out")));
            if self.spare.takeovers > 0 && self.is_anothers(at) {
                let mut next = self.sets_out(at, true, format!("{name} finds the other one silent"));
                next.spare.takeovers -= 1;
                all.push(next);
            }
            return;
        }
        let asks = &actor.asks;
        all.push(self.goes_on(at, &Then::Happens(Fate::Done), format!("{name} {asks}")));
        if self.spare.crashes > 0 {
            let mut next = self.then(format!("{name} dies before it {asks}"));
            next.spare.crashes -= 1;
            next.actors[at] = Actor::at_rest(at, actor.watches()); // in bounds: found above
            all.push(next);
        }
        if is_change(asks) && self.spare.lost > 0 {
            let mut next = self.goes_on(at, &Then::Happens(Fate::Lost), format!("{name} {asks} (done; the answer is lost)"));
            next.spare.lost -= 1;
            all.push(next);
        }
        if is_change(asks) && self.spare.late > 0 {
            let mut next = self.goes_on(at, &Then::GivenUp, format!("{name} {asks} (on its way; given up)"));
            next.spare.late -= 1;
            next.late.push(actor.clone());
            all.push(next);
        }
        let is_proof = asks.starts_with("logs in") && self.world.record(0).is_some_and(|r| r.way().is_some());
        if is_proof && self.spare.refusals > 0 {
            let refused = Failure::lasting(Class::WrongPassword, "it is refused");
            let mut next = self.goes_on(at, &Then::Happens(Fate::Refused(refused)), format!("{name} {asks} (refused)"));
            next.spare.refusals -= 1;
            all.push(next);
        }
    }

    fn sets_out(&self, at: usize, bold: bool, what: String) -> Self {
        let mut next = self.then(what);
        next.actors[at].sets_out(&next.world, bold); // in bounds: asked for by its number
        next.world = next.actors[at].step(next.world, &Then::Happens(Fate::Done)); // the same
        next
    }

    fn goes_on(&self, at: usize, then: &Then, what: String) -> Self {
        let mut next = self.then(what);
        next.world = next.actors[at].step(next.world, then); // in bounds: asked for by its number
        next
    }

    fn is_anothers(&self, at: usize) -> bool {
        let owner = format!("machine-{}", at + 1);
        self.world.record(0).is_some_and(|r| r.way().is_some() && r.attempt().is_some_and(|a| a.owner != owner))
    }

    fn of_the_world(&self, all: &mut Vec<Self>) {
        let spare = self.spare;
        let mut may = |left: u8, what: &str, less: fn(&mut Small), happen: &dyn Fn(&mut Self)| {
            if left > 0 {
                let mut next = self.then(what.to_owned());
                less(&mut next.spare);
                happen(&mut next);
                all.push(next);
            }
        };
        may(spare.slots, "an hour passes", |s| s.slots -= 1, &|next| next.world.move_clock(next.world.now + HOUR));
        for (left, deed, less) in [
            (spare.beside, Deed::EditBeside, (|s| s.beside -= 1) as fn(&mut Small)),
            (spare.foreign, Deed::EditOurs, |s| s.foreign -= 1),
            (spare.foreign, Deed::PutBack, |s| s.foreign -= 1),
        ] {
            may(left, &format!("somebody: {deed:?}"), less, &|next| drop(next.world.does(deed, 0)));
        }
        may(spare.restores, "Vault is restored from the beginning", |s| s.restores -= 1, &|next| {
            let past = Arc::clone(&next.past);
            next.world.restore(&past.0);
        });
        may(spare.restores, "the database is restored from the beginning", |s| s.restores -= 1, &|next| {
            let past = Arc::clone(&next.past);
            next.world.restore_database(&past.1);
        });
    }
}

/// Whether a call changes something, so that it matters whether its answer was heard.
fn is_change(asks: &str) -> bool {
    ["writes the record", "patches", "races for", "applies", "takes back", "retires"].iter().any(|what| asks.contains(what))
}
