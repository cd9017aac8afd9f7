//! Small worlds, explored to the end: two daemons, a slot or two, and everything that may go wrong at every call, in every order.
//!
//! There is no time. Each call of a process waits until the explorer lets it happen, so that a freeze of any length at any call is
//! one order among others; an owner may be found silent at any moment. What else goes wrong is bounded by [`Small`], and all of it is
//! tried. States that no process, server or judge could tell apart are visited once. Every world that is met must be
//! brought to a good end by one more daemon, alone.
//!
//! A state is a copy of the servers, and of each process what it has heard during its errand: being deterministic, it comes
//! back to where it stood when it is told that again ([`script`]). So the engine is the real one here, too.

mod actor;
mod errand;
pub(crate) mod script;
mod state;

use crate::cases::{Case, What};
use crate::judge::Judge;
use crate::mutant::Mutant;
use crate::net::Fate;
use crate::plan::{HOUR, hourly};
use crate::story::Story;
use crate::world::World;
use actor::{Actor, Then};
use keyward_engine::kinds::RetireWhen;
use state::State;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What is explored, and how often which thing may go wrong in one world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Small {
    /// Two users instead of one, retired after a grace that is shorter than a slot.
    pub two_users: bool,
    /// Slots that become due. The first is due at the beginning.
    pub slots: u8,
    /// A process dies, and is started again.
    pub crashes: u8,
    /// A change is made, and its answer lost.
    pub lost: u8,
    /// A process gives up on a change that is still on its way, and may arrive at any time, or never.
    pub late: u8,
    /// A login with a candidate is refused.
    pub refusals: u8,
    /// A daemon finds that another is silent.
    pub takeovers: u8,
    /// Somebody changes a field that is not Keyward's.
    pub beside: u8,
    /// Somebody changes the value by hand, in Vault and in the database, or puts back the one before.
    pub foreign: u8,
    /// Vault, or the database, is restored from the beginning.
    pub restores: u8,
}

impl Small {
    /// Whether the daemons see to it between errands that what is published works.
    fn watches(&self) -> bool {
        self.foreign + self.restores > 0
    }
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Explored {
    /// States that were told apart.
    pub states: usize,
    /// Worlds among them (what stands in the servers, whoever is on his way to what).
    pub worlds: usize,
    /// The first thing that was wrong, and how it came about.
    pub broken: Option<String>,
    /// Whether nothing was left out.
    pub is_complete: bool,
}

/// More errands than one daemon ever needs alone.
const ERRANDS: usize = 24;

/// Explores a small world on all cores, up to so many states.
pub fn explore(small: Small, mutant: Option<Mutant>, most: usize) -> Explored {
    let what = if small.two_users { What::TwoUsers(RetireWhen::AfterGrace) } else { What::Password };
    let mut world = World::new(vec![Case::new(1, what, hourly(), HOUR / 3)], Story::new(false), mutant);
    world.judge.without_lease();
    let first = State::first(world, small);
    let search = Search {
        todo: Mutex::new(vec![first]),
        states: Mutex::default(),
        worlds: Mutex::default(),
        broken: Mutex::default(),
        at_work: AtomicUsize::new(0),
        most,
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| search.work());
        }
    });
    search.explored()
}

struct Search {
    todo: Mutex<Vec<State>>,
    states: Mutex<HashSet<u64>>,
    worlds: Mutex<HashSet<u64>>,
    broken: Mutex<Option<String>>,
    at_work: AtomicUsize,
    most: usize,
}

impl Search {
    fn work(&self) {
        loop {
            let state = {
                let mut todo = lock(&self.todo);
                let state = todo.pop();
                if state.is_some() {
                    self.at_work.fetch_add(1, Ordering::SeqCst);
                }
                state
            };
            let Some(state) = state else {
                if self.at_work.load(Ordering::SeqCst) == 0 && lock(&self.todo).is_empty() {
                    return;
                }
                thread::yield_now();
                continue;
            };
            let is_over = lock(&self.broken).is_some() || lock(&self.states).len() > self.most;
            if !is_over {
                let fresh: Vec<State> = state.successors().into_iter().filter(|next| self.is_new(next)).collect();
                lock(&self.todo).extend(fresh);
            }
            self.at_work.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether a state is to be explored from: it was not seen before, and nothing is wrong with it.
    fn is_new(&self, state: &State) -> bool {
        if !lock(&self.states).insert(state.hash()) {
            return false;
        }
        let mut wrong = state.world.broken().map(str::to_owned);
        if wrong.is_none() && lock(&self.worlds).insert(state.world_hash()) {
            wrong = settled(state.world.clone()).err().map(|why| format!("one more daemon, alone, does not mend it: {why}"));
        }
        let Some(wrong) = wrong else { return true };
        lock(&self.broken).get_or_insert_with(|| format!("{wrong}\n{}", state.story()));
        false
    }

    fn explored(self) -> Explored {
        let states = lock(&self.states).len();
        let broken = lock(&self.broken).take();
        let is_complete = broken.is_none() && states <= self.most;
        let worlds = lock(&self.worlds).len();
        Explored { states, worlds, broken, is_complete }
    }
}

/// What one more daemon makes of a world in which nothing goes wrong any more.
fn settled(mut world: World) -> Result<(), String> {
    let mut last = 0;
    for _ in 0..ERRANDS {
        let mut actor = Actor::at_rest(2, true);
        actor.sets_out(&world, true);
        while actor.is_busy {
            world = actor.step(world, &Then::Happens(Fate::Done));
        }
        let now = digest(&world);
        if now == last {
            break;
        }
        last = now;
    }
    world.judged(Judge::settle);
    world.broken().map_or(Ok(()), |wrong| Err(wrong.to_owned()))
}

fn digest(world: &World) -> u64 {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    world.digest(&mut hasher);
    hasher.finish()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
