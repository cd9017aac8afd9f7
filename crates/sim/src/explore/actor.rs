//! One process of a small world, brought back to where it stood, and taken one call further.

use super::errand::errand;
use super::script::{Heard, Script};
use crate::Millis;
use crate::chance::{Chance, Dice};
use crate::daemon::{Daemon, Managed};
use crate::net::{Core, Fate, Net, Proc, ProcId, Work};
use crate::ports::Port;
use crate::world::World;
use keyward_engine::{Claims, Engine, Settings};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

/// A process between two of its calls.
#[derive(Clone)]
pub(crate) struct Actor {
    /// Which machine's.
    pub(crate) proc: ProcId,
    /// Whether it is at an errand, or at rest.
    pub(crate) is_busy: bool,
    /// What the call that it is about to make says; empty at rest.
    pub(crate) asks: String,
    heard: Vec<Heard>,
    begun: Millis,
    bold: bool,
    watches: bool,
    hash: u64,
    /// What its randomness comes from.
    seed: u64,
}

/// What becomes of the call that an actor is about to make.
pub(crate) enum Then {
    /// It happens like this, and the actor hears of it.
    Happens(Fate),
    /// The actor gives up waiting; the call stays on its way.
    GivenUp,
    /// It happens, and nobody is there to hear of it.
    Lands,
}

/// Calls whose outcome nobody else can change, and which change nothing for others: they happen at once.
const ALONE: [&str; 5] = ["looks at the roles", "counts the sessions", "asks who has not read", "writes notes", "looks at database/"];

/// Vault destroys versions by their number and checks nothing. Whoever stood still right before that, over a restore of Vault, would
/// destroy somebody's newest record: known, named in the docs, and left out where servers are restored.
const DESTROYS: &str = "destroys versions";

impl Actor {
    pub(crate) fn at_rest(proc: ProcId, watches: bool) -> Self {
        Self { proc, is_busy: false, asks: String::new(), heard: Vec::new(), begun: 0, bold: false, watches, hash: 0, seed: 0 }
    }

    /// Sets out on an errand. What it draws by chance is drawn from where the record stands, so that two ways to the same world meet.
    pub(crate) fn sets_out(&mut self, world: &World, bold: bool) {
        (self.is_busy, self.bold, self.begun) = (true, bold, world.now);
        let mut hasher = DefaultHasher::new();
        (self.proc, world.records.version("secret-1"), world.epoch).hash(&mut hasher);
        self.seed = hasher.finish();
        (self.seed, bold, world.now).hash(&mut hasher);
        self.hash = hasher.finish();
    }

    /// Takes it one call further in this world; the world afterwards.
    pub(crate) fn step(&mut self, world: World, then: &Then) -> World {
        let net = self.net(world);
        let mut work = self.work(&net);
        let mut is_over = poll(&net, &mut work, self.watches);
        {
            let mut core = net.lock();
            match then {
                Then::Happens(fate) => core.decide(Some(fate)),
                Then::GivenUp => core.decide(None),
                Then::Lands => core.decide(Some(&Fate::Lost)),
            }
        }
        if matches!(then, Then::Lands) {
            is_over = true;
        } else if !is_over {
            is_over = poll(&net, &mut work, self.watches);
        }
        drop(work); // it holds the network that holds the world
        let mut core = net.lock();
        let script = core.script.take().unwrap_or_default();
        core.asks().unwrap_or_default().clone_into(&mut self.asks);
        (self.heard, self.hash) = (script.heard, script.hash);
        if is_over {
            *self = Self::at_rest(self.proc, self.watches);
        }
        let empty = World::new(Vec::new(), crate::story::Story::default(), None);
        std::mem::replace(&mut core.world, empty)
    }

    /// The network with this process alone in it.
    fn net(&self, world: World) -> Net {
        let mut core = Core::new(world, Chance::new(0));
        core.script = Some(Script::again(self.heard.clone(), self.begun, self.hash));
        for machine in 1..=3 {
            let (name, owner) = (format!("daemon-{machine}"), format!("machine-{machine}"));
            core.procs.push(Proc { name, owner, alive: true, frozen: false, started: 0, suspended: 0, stands_since: None, skew: 0 });
        }
        core.current = (0, self.proc);
        Net(Arc::new(Mutex::new(core)))
    }

    fn work(&self, net: &Net) -> Work {
        let port = Port { net: net.clone(), proc: self.proc };
        let ports = Arc::new(port.clone());
        let random = Arc::new(Dice(Mutex::new(Chance::new(self.seed))));
        let (owner, cases, mutant) = {
            let core = net.lock();
            let owner = core.procs.get(self.proc).map_or_else(String::new, |p| p.owner.clone());
            (owner, core.world.cases.clone(), core.world.mutant)
        };
        // Owners may be found to be silent at any moment, and nothing waits: there is no time.
        let none = Duration::ZERO;
        let settings = Settings { lease: none, first_pause: none, longest_pause: none, ..Settings::default() };
        let engine = Engine::new(ports.clone(), ports.clone(), random, ports, owner, settings, Claims::default());
        let secrets = cases.iter().map(|case| Managed::of(case, &port, mutant)).collect();
        Box::pin(errand(Daemon::new(port, engine, secrets, 0), self.bold, self.watches))
    }

    pub(crate) fn watches(&self) -> bool {
        self.watches
    }

    /// Tells it from others, as far as it matters to what follows.
    pub(crate) fn digest(&self, into: &mut impl Hasher) {
        (self.proc, self.is_busy, self.hash).hash(into);
    }
}

/// Lets it go on up to its next call that others could notice; whether it has come to its end. `at_once`: nobody stands still right
/// before it destroys versions.
fn poll(net: &Net, work: &mut Work, at_once: bool) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if work.as_mut().poll(&mut context).is_ready() {
            return true;
        }
        let mut core = net.lock();
        let alone = core.asks().is_none_or(|asks| ALONE.iter().any(|what| asks.starts_with(what)) || (at_once && asks.contains(DESTROYS)));
        if !alone {
            return false;
        }
        core.decide(Some(&Fate::Done));
    }
}
