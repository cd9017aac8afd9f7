//! One world from its seed to its end.

mod storm;

use crate::Millis;
use crate::chance::{Chance, Dice};
use crate::daemon::{Daemon, Managed};
use crate::mutant::Mutant;
use crate::net::{Core, Event, Net, Proc, ProcId, TaskId, Work};
use crate::plan::{HOUR, MINUTE, Plan, SECOND};
use crate::ports::Port;
use crate::story::Story;
use crate::world::{Snapshot, World, database::Database};
use keyward_engine::{Claims, Engine, Settings};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

/// How one world ended.
#[derive(Debug)]
pub struct Report {
    /// The first thing that was wrong, with the simulated time; `None`: nothing was.
    pub broken: Option<String>,
    /// What happened, if it was to be told.
    pub story: Story,
    /// Rotations that ended as rotated.
    pub rotations: u64,
    /// Events in all.
    pub events: u64,
}

/// Lives one world through. `told`: keep its story. `mutant`: with one rule of the protocol broken.
pub fn run(seed: u64, told: bool, mutant: Option<Mutant>) -> Report {
    let mut chance = Chance::new(seed);
    let plan = Plan::draw(&mut chance);
    let mut world = World::new(plan.cases.clone(), Story::new(told), mutant);
    world.consumers.clone_from(&plan.consumers);
    world.database.lag = plan.lag;
    world.judge.bound_by(2 * HOUR + 6 * plan.pace);
    let net = Net(Arc::new(Mutex::new(Core::new(world, chance.fork()))));
    net.lock().rates = plan.rates;
    let mut run = Run {
        net,
        plan,
        chance,
        tasks: BTreeMap::new(),
        machines: Vec::new(),
        snapshots: Vec::new(),
        backups: Vec::new(),
        commands: 0,
        events: 0,
        is_calm: false,
    };
    run.live();
    run.report()
}

/// A world in which more happens than this goes round in circles.
const MOST_EVENTS: u64 = 200_000;

// The numbered events of a world.
const PERSON: u32 = 0;
const DISTURBANCE: u32 = 1;
const TICK: u32 = 2;
const CALM: u32 = 3;
const BARS: u32 = 4;
const START: u32 = 100;
const THAW: u32 = 1_000;
const CONSUMER: u32 = 100_000;

/// A machine on which a daemon runs, and runs again when it has died.
struct Machine {
    daemon: Option<Daemon>,
    /// What waits for a frozen process.
    held: Vec<Event>,
    skew: i64,
}

struct Run {
    net: Net,
    plan: Plan,
    chance: Chance,
    tasks: BTreeMap<TaskId, (ProcId, Work)>,
    machines: Vec<Machine>,
    snapshots: Vec<Snapshot>,
    backups: Vec<Database>,
    commands: u32,
    events: u64,
    is_calm: bool,
}

impl Run {
    fn live(&mut self) {
        for machine in 0..self.plan.machines {
            let skew = i64::try_from(self.chance.between(0, 2 * self.plan.skew)).unwrap_or(0) - i64::try_from(self.plan.skew).unwrap_or(0);
            self.machines.push(Machine { daemon: None, held: Vec::new(), skew });
            let first = self.chance.between(0, 10 * SECOND);
            self.outside(first, START + number(machine));
        }
        self.outside(self.plan.person_every, PERSON);
        self.outside(MINUTE * 10, TICK);
        self.outside(self.plan.storm, CALM);
        if let Some(every) = self.plan.barred_every {
            self.outside(every, BARS);
        }
        if let Some(every) = self.plan.disturbed_every {
            self.outside(every, DISTURBANCE);
        }
        for consumer in 0..self.plan.consumers.len() {
            self.outside(MINUTE, CONSUMER + number(consumer));
        }
        let end = self.plan.storm + self.plan.calm;
        loop {
            let next = self.net.lock().pop(end);
            let Some(event) = next else { break };
            self.events += 1;
            self.happen(event);
            if self.events > MOST_EVENTS {
                self.net.lock().world.judge.blame_nobody("this world does not come to rest".into());
            }
            if self.net.lock().world.broken().is_some() {
                return;
            }
        }
        self.net.lock().world.judged(super::judge::Judge::settle);
    }

    fn outside(&self, wait: Millis, event: u32) {
        self.net.lock().after(wait, Event::Outside(event));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(slot, lose) => self.net.lock().arrive(slot, lose),
            Event::Expire(slot) => {
                self.net.lock().expire(slot);
                self.wake(Event::Wake(slot));
            }
            Event::Wake(_) | Event::Begin(_) => self.wake(event),
            Event::Outside(what) => self.happen_outside(what),
        }
    }

    fn happen_outside(&mut self, what: u32) {
        match what {
            PERSON => self.person(),
            DISTURBANCE => self.disturb(),
            TICK => self.tick(),
            CALM => self.calm(),
            BARS => self.bar(),
            CONSUMER.. => {
                let consumer = index(what - CONSUMER);
                self.net.lock().world.consume(consumer);
                let every = self.plan.consumers.get(consumer).map_or(HOUR, |c| c.connects_every);
                self.outside(every, what);
            }
            THAW.. => self.thaw(index(what - THAW)),
            _ => self.start(index(what - START)),
        }
    }

    /// Lets a task go on, unless its process is frozen or dead, or freezes or dies now.
    fn wake(&mut self, event: Event) {
        let proc = match event {
            Event::Wake(slot) => self.net.lock().proc_of(slot),
            Event::Begin(task) => {
                self.adopt();
                self.tasks.get(&task).map(|(proc, _)| *proc)
            }
            _ => None,
        };
        let Some(proc) = proc else { return };
        if self.holds(proc, event) || self.freezes_or_dies(proc, event) {
            return;
        }
        let task = match event {
            Event::Wake(slot) => self.net.lock().woken(slot).map(|(task, _)| task),
            Event::Begin(task) => Some(task),
            _ => None,
        };
        if let Some(task) = task {
            self.poll(task);
        }
    }

    /// Takes over the tasks that were begun.
    fn adopt(&mut self) {
        let spawned = std::mem::take(&mut self.net.lock().spawned);
        for (task, proc, work) in spawned {
            self.tasks.insert(task, (proc, work));
        }
    }

    fn poll(&mut self, task: TaskId) {
        let Some((proc, mut work)) = self.tasks.remove(&task) else { return };
        self.net.lock().current = (task, proc);
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
            self.tasks.insert(task, (proc, work));
        }
    }

    /// Keeps an event for a process that is frozen; drops it for one that is dead.
    fn holds(&mut self, proc: ProcId, event: Event) -> bool {
        let (alive, frozen) = self.net.lock().procs.get(proc).map_or((false, false), |p| (p.alive, p.frozen));
        if alive
            && frozen
            && let Some(machine) = self.machine_of(proc)
        {
            self.machines[machine].held.push(event); // in bounds: found just now
        }
        !alive || frozen
    }

    fn machine_of(&self, proc: ProcId) -> Option<usize> {
        self.machines.iter().position(|m| m.daemon.as_ref().is_some_and(|d| d.port.proc == proc))
    }

    fn freezes_or_dies(&mut self, proc: ProcId, event: Event) -> bool {
        let Some(machine) = self.machine_of(proc) else { return false };
        // Where a rotation is in hand there is more to be lost.
        let (rates, often) = {
            let core = self.net.lock();
            (core.rates, if core.world.judge.has_in_hand(proc) { 3 } else { 1 })
        };
        if self.chance.per_mille(rates.crash * often) {
            self.die(machine, proc);
            return true;
        }
        if self.chance.per_mille(rates.jump) {
            let skew = self.chance.pick(&[-3_600_000, -20_000, 0, 0, 20_000, 3_600_000]);
            self.machines[machine].skew = skew; // in bounds: found just now
            let mut core = self.net.lock();
            if let Some(jumped) = core.procs.get_mut(proc) {
                jumped.skew = skew;
            }
        }
        if self.chance.per_mille(rates.freeze * often) {
            let interval = self.plan.interval;
            let time = self.chance.pick(&[SECOND, 20 * SECOND, 40 * SECOND, 5 * MINUTE, HOUR, interval, 2 * interval]);
            // While a machine is suspended its monotonic clock stands still, too: whoever goes on does not know that time has passed.
            let suspended = self.chance.per_mille(600);
            // What this one is about to do, whoever takes over is best made to do the other way round.
            let barred = self.plan.barred_every.and_then(|_| self.chance.pick(&[None, Some(true), Some(false)]));
            let mut core = self.net.lock();
            let now = core.world.now;
            let database = &mut core.world.database;
            database.bars_candidates = barred.unwrap_or(database.bars_candidates);
            if let Some(frozen) = core.procs.get_mut(proc) {
                frozen.frozen = true;
                frozen.stands_since = suspended.then_some(now);
                let name = frozen.name.clone();
                core.world.story.say(now, &name, || format!("is frozen for {} s", time / SECOND));
            }
            drop(core);
            self.machines[machine].held.push(event); // in bounds: found just now
            self.outside(time, THAW + number(proc));
            self.count_staff();
            return true;
        }
        false
    }

    fn die(&mut self, machine: usize, proc: ProcId) {
        {
            let mut core = self.net.lock();
            let now = core.world.now;
            core.world.judge.dies(proc);
            if let Some(dead) = core.procs.get_mut(proc) {
                dead.alive = false;
                let name = dead.name.clone();
                core.world.story.say(now, &name, || "dies".into());
            }
        }
        // Dropped without the lock: what they waited for is given up, what they sent is on its way all the same.
        let dead: Vec<TaskId> = self.tasks.iter().filter(|(_, (p, _))| *p == proc).map(|(task, _)| *task).collect();
        for task in dead {
            self.tasks.remove(&task);
        }
        let wait = self.chance.pick(&[SECOND, 5 * SECOND, MINUTE, HOUR]);
        if let Some(machine) = self.machines.get_mut(machine) {
            machine.daemon = None;
            machine.held.clear();
        }
        self.outside(wait, START + number(machine));
        self.count_staff();
    }

    /// Starts a machine's daemon. It bears the name of its predecessor, which is surely gone.
    fn start(&mut self, machine: usize) {
        let skew = self.machines.get(machine).map_or(0, |m| m.skew);
        let shared = self.net.lock().world.mutant == Some(Mutant::OwnerNotUnique);
        let owner = if shared { "everybody".to_owned() } else { format!("machine-{}", machine + 1) };
        let daemon = self.process(format!("daemon-{}", machine + 1), owner, skew);
        self.net.lock().spawn(daemon.port.proc, Box::pin(daemon.clone().run()));
        if let Some(place) = self.machines.get_mut(machine) {
            place.daemon = Some(daemon);
        }
        self.count_staff();
    }

    fn process(&mut self, name: String, owner: String, skew: i64) -> Daemon {
        let dice = self.chance.fork();
        let mut core = self.net.lock();
        let now = core.world.now;
        let proc = core.procs.len();
        core.procs.push(Proc {
            name: name.clone(),
            owner: owner.clone(),
            alive: true,
            frozen: false,
            started: now,
            suspended: 0,
            stands_since: None,
            skew,
        });
        core.world.story.say(now, &name, || "starts".into());
        let mutant = core.world.mutant;
        let cases = core.world.cases.clone();
        drop(core);
        let port = Port { net: self.net.clone(), proc };
        let ports = Arc::new(port.clone());
        let random = Arc::new(Dice(Mutex::new(dice)));
        let engine = Engine::new(ports.clone(), ports.clone(), random, ports, owner, Settings::default(), Claims::default());
        let secrets = cases.iter().map(|case| Managed::of(case, &port, mutant)).collect();
        Daemon::new(port, engine, secrets, self.plan.pace)
    }

    fn thaw(&mut self, proc: ProcId) {
        {
            let mut core = self.net.lock();
            let now = core.world.now;
            let Some(frozen) = core.procs.get_mut(proc).filter(|p| p.alive && p.frozen) else { return };
            frozen.frozen = false;
            // For as long as it really was: the calm wakes everybody early.
            frozen.suspended += frozen.stands_since.take().map_or(0, |since| now.saturating_sub(since));
            let name = frozen.name.clone();
            core.world.story.say(now, &name, || "goes on".into());
        }
        if let Some(machine) = self.machine_of(proc).and_then(|m| self.machines.get_mut(m)) {
            let mut core = self.net.lock();
            for event in machine.held.drain(..) {
                core.after(0, event);
            }
        }
        self.count_staff();
    }

    fn count_staff(&self) {
        let mut core = self.net.lock();
        let works = |d: &Daemon| core.procs.get(d.port.proc).is_some_and(|p| p.alive && !p.frozen);
        let staffed = self.machines.iter().any(|m| m.daemon.as_ref().is_some_and(works));
        core.world.judge.staffed = staffed;
    }

    fn report(mut self) -> Report {
        self.tasks.clear(); // they hold the network that holds them
        let mut core = self.net.lock();
        core.spawned.clear();
        let world = &mut core.world;
        let broken = world.broken().map(str::to_owned);
        world.story.say(world.now, "judge", || broken.clone().unwrap_or_else(|| "nothing was wrong".into()));
        Report { broken, story: std::mem::take(&mut world.story), rotations: world.judge.rotations, events: self.events }
    }
}

fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
