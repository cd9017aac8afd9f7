//! The network between processes and servers, and the one thread that runs it all.
//!
//! Every call of a port leaves its process, reaches its server and comes back as events in one queue, ordered by time. What
//! becomes of it on the way (lost, late, answered into the void) is drawn from the seed, or chosen by an explorer.

use crate::Millis;
use crate::chance::Chance;
use crate::explore::script::{Answered, Script};
use crate::world::World;
use keyward_engine::ports::WriteFailure;
use keyward_engine::{Class, Failure};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// How long a caller waits for an answer.
const LIMIT: Millis = 10_000;

pub(crate) type TaskId = usize;
pub(crate) type SlotId = usize;
pub(crate) type ProcId = usize;
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a call asks, and of whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    Vault,
    Database,
}

/// What becomes of a call when it reaches its server.
#[derive(Debug)]
pub(crate) enum Fate {
    /// It is done, and answered.
    Done,
    /// It is done, and the answer is lost.
    Lost,
    /// It is not done, and the caller is told so.
    Refused(Failure),
}

type Effect = Box<dyn FnOnce(&mut World, &Fate) + Send>;

/// Something that a task waits for.
struct Slot {
    task: TaskId,
    proc: ProcId,
    done: bool,
    dropped: bool,
    effect: Option<Effect>,
    give_up: Option<Box<dyn FnOnce() + Send>>,
    server: Server,
    what: String,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    /// A call reaches its server; `true`: its answer will be lost.
    Arrive(SlotId, bool),
    /// A call's answer, or the end of a wait, reaches its task.
    Wake(SlotId),
    /// A caller gives up waiting.
    Expire(SlotId),
    /// A new task runs for the first time.
    Begin(TaskId),
    /// The numbered event of whoever drives the world.
    Outside(u32),
}

/// One process: a daemon, or a command.
#[derive(Clone, Debug)]
pub(crate) struct Proc {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) alive: bool,
    pub(crate) frozen: bool,
    /// When its monotonic clock began, and for how long it stood still while the machine was suspended.
    pub(crate) started: Millis,
    pub(crate) suspended: Millis,
    /// Since when it stands still with its machine.
    pub(crate) stands_since: Option<Millis>,
    /// Its wall clock is so far ahead.
    pub(crate) skew: i64,
}

/// How often what goes wrong, in a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) lost_request: u32,
    pub(crate) lost_answer: u32,
    pub(crate) late: u32,
    pub(crate) freeze: u32,
    pub(crate) crash: u32,
    /// A wall clock is set.
    pub(crate) jump: u32,
}

/// Everything that happens, behind one lock that is never contended.
pub(crate) struct Core {
    pub(crate) world: World,
    pub(crate) chance: Chance,
    pub(crate) rates: Rates,
    pub(crate) procs: Vec<Proc>,
    /// An explorer decides what happens next, instead of time: what the one process that is there has heard.
    pub(crate) script: Option<Script>,
    /// The call that an explorer is to decide about.
    pub(crate) asked: Option<SlotId>,
    queue: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    sequence: u64,
    slots: Vec<Slot>,
    pub(crate) spawned: Vec<(TaskId, ProcId, Work)>,
    tasks: usize,
    /// The task that is being polled.
    pub(crate) current: (TaskId, ProcId),
}

impl Core {
    pub(crate) fn new(world: World, chance: Chance) -> Self {
        Self {
            world,
            chance,
            rates: Rates::default(),
            procs: Vec::new(),
            script: None,
            asked: None,
            queue: BinaryHeap::new(),
            sequence: 0,
            slots: Vec::new(),
            spawned: Vec::new(),
            tasks: 0,
            current: (0, 0),
        }
    }

    /// The time that processes see: an errand that is brought back sees again what it saw.
    pub(crate) fn now(&self) -> Millis {
        self.script.as_ref().map_or(self.world.now, |script| script.now)
    }

    pub(crate) fn at(&mut self, when: Millis, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((when, self.sequence, event)));
    }

    pub(crate) fn after(&mut self, wait: Millis, event: Event) {
        self.at(self.world.now.saturating_add(wait), event);
    }

    /// The next event, and the clock moved to it.
    pub(crate) fn pop(&mut self, until: Millis) -> Option<Event> {
        let Reverse((when, _, _)) = self.queue.peek()?;
        if *when > until {
            return None;
        }
        let Reverse((when, _, event)) = self.queue.pop()?;
        self.world.move_clock(when);
        Some(event)
    }

    /// A new task of a process; it runs from the next event on.
    pub(crate) fn spawn(&mut self, proc: ProcId, work: Work) -> TaskId {
        let task = self.tasks;
        self.tasks += 1;
        self.spawned.push((task, proc, work));
        if self.script.is_none() {
            self.after(0, Event::Begin(task));
        }
        task
    }

    /// The task that an event lets go on, unless nobody waits for it any more.
    pub(crate) fn woken(&mut self, slot: SlotId) -> Option<(TaskId, ProcId)> {
        let slot = self.slots.get_mut(slot)?;
        if slot.dropped {
            return None;
        }
        slot.done = true;
        Some((slot.task, slot.proc))
    }

    /// Whose task an event is about.
    pub(crate) fn proc_of(&self, slot: SlotId) -> Option<ProcId> {
        self.slots.get(slot).filter(|s| !s.dropped).map(|s| s.proc)
    }

    /// A call reaches its server.
    pub(crate) fn arrive(&mut self, slot: SlotId, lose_answer: bool) {
        let Some(call) = self.slots.get(slot) else { return };
        let fate = match self.world.outage(call.server) {
            Some(failure) => Fate::Refused(failure),
            None if lose_answer => Fate::Lost,
            None => Fate::Done,
        };
        self.happen(slot, &fate);
        if !lose_answer {
            let back = self.chance.between(1, 40);
            self.after(back, Event::Wake(slot));
        }
    }

    /// Lets a call have its effect.
    pub(crate) fn happen(&mut self, slot: SlotId, fate: &Fate) {
        let Some(call) = self.slots.get_mut(slot) else { return };
        let Some(effect) = call.effect.take() else { return };
        let (proc, what) = (call.proc, std::mem::take(&mut call.what));
        let name = self.procs.get(proc).map_or("", |p| p.name.as_str());
        self.world.story.say(self.world.now, name, || format!("{what}{}", said(fate)));
        self.world.acting = proc;
        effect(&mut self.world, fate);
    }

    /// What the call that an explorer is to decide about says.
    pub(crate) fn asks(&self) -> Option<&str> {
        self.slots.get(self.asked?).map(|slot| slot.what.as_str())
    }

    /// Decides about it; `None`: its answer is given up, and it stays on its way.
    pub(crate) fn decide(&mut self, fate: Option<&Fate>) {
        let Some(slot) = self.asked.take() else { return };
        match fate {
            Some(fate) => self.happen(slot, fate),
            None => self.expire(slot),
        }
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.done = true;
        }
    }

    /// A caller gives up: it is told that the answer was lost. The call itself may still be on its way.
    pub(crate) fn expire(&mut self, slot: SlotId) {
        if let Some(give_up) = self.slots.get_mut(slot).and_then(|s| s.give_up.take()) {
            give_up();
        }
    }

    /// Plans a call's way.
    fn send(&mut self, slot: SlotId) {
        if self.script.is_some() {
            self.asked = Some(slot);
            return;
        }
        let up = self.chance.between(1, 40);
        let rates = self.rates;
        if self.chance.per_mille(rates.lost_request) {
            self.after(LIMIT, Event::Expire(slot));
        } else if self.chance.per_mille(rates.lost_answer) {
            self.after(up, Event::Arrive(slot, true));
            self.after(LIMIT, Event::Expire(slot));
        } else if self.chance.per_mille(rates.late) {
            let late = self.chance.pick(&[11_000, 40_000, 300_000, 3_600_000]);
            self.after(late, Event::Arrive(slot, true));
            self.after(LIMIT, Event::Expire(slot));
        } else {
            self.after(up, Event::Arrive(slot, false));
        }
    }

    fn open(&mut self, server: Server, what: String, effect: Option<Effect>, give_up: Option<Box<dyn FnOnce() + Send>>) -> SlotId {
        let (task, proc) = self.current;
        self.slots.push(Slot { task, proc, done: false, dropped: false, effect, give_up, server, what });
        self.slots.len() - 1
    }
}

fn said(fate: &Fate) -> String {
    match fate {
        Fate::Done => String::new(),
        Fate::Lost => "   (done; the answer is lost)".into(),
        Fate::Refused(failure) => format!("   (refused: {failure})"),
    }
}

/// A handle on everything.
#[derive(Clone)]
pub(crate) struct Net(pub(crate) Arc<Mutex<Core>>);

/// What a call may answer with when it fails.
pub(crate) trait Answer: Answered {
    fn failed(failure: Failure) -> Self;
    /// No answer in time.
    fn lost() -> Self;
}

impl<T: Answered> Answer for Result<T, Failure> {
    fn failed(failure: Failure) -> Self {
        Err(failure)
    }
    /// Reads leave nothing unknown, and every change of a database through the fence may be repeated.
    fn lost() -> Self {
        Err(Failure::passing(Class::Timeout, "no answer within 10 s"))
    }
}

impl<T: Answered> Answer for Result<T, WriteFailure> {
    fn failed(failure: Failure) -> Self {
        Err(WriteFailure::Failed(failure))
    }
    fn lost() -> Self {
        Err(WriteFailure::Failed(Failure::unknown(Class::Timeout, "no answer within 10 s")))
    }
}

impl Net {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One call of a port: sent, done by its server, answered, or not.
    pub(crate) async fn call<R: Answer + Send + 'static>(
        &self,
        server: Server,
        what: impl FnOnce() -> String,
        effect: impl FnOnce(&mut World) -> R + Send + 'static,
    ) -> R {
        if let Some(answer) = self.lock().script.as_mut().and_then(Script::tell) {
            return answer;
        }
        let cell: Arc<Mutex<Option<R>>> = Arc::default();
        let fill = |cell: &Mutex<Option<R>>, answer: R| {
            cell.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(answer);
        };
        let (answered, expired) = (Arc::clone(&cell), Arc::clone(&cell));
        let act: Effect = Box::new(move |world, fate| match fate {
            Fate::Done => fill(&answered, effect(world)),
            Fate::Lost => {
                let _ = effect(world);
                fill(&answered, R::lost());
            }
            Fate::Refused(failure) => fill(&answered, R::failed(failure.clone())),
        });
        let give_up = Box::new(move || fill(&expired, R::lost()));
        let slot = {
            let mut core = self.lock();
            let what = if core.world.story.is_told() || core.script.is_some() { what() } else { String::new() };
            let slot = core.open(server, what, Some(act), Some(give_up));
            core.send(slot);
            slot
        };
        Wait { net: self, slot }.await;
        let answer = cell.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = answer.unwrap_or_else(R::lost); // a wait ends only when the cell is filled
        let mut core = self.lock();
        let now = core.world.now;
        if let Some(script) = core.script.as_mut() {
            script.hear(&answer, now);
        }
        answer
    }

    /// Waits. An explorer has no time: there, pauses between tries end at once, and the heartbeat never beats.
    pub(crate) async fn sleep(&self, time: Millis) {
        let slot = {
            let mut core = self.lock();
            let slot = core.open(Server::Vault, String::new(), None, None);
            if core.script.is_some() {
                if let (true, Some(slot)) = (time > 0, core.slots.get_mut(slot)) {
                    slot.done = true;
                }
            } else {
                core.after(time, Event::Wake(slot));
            }
            slot
        };
        Wait { net: self, slot }.await;
    }
}

/// Waits for a slot.
struct Wait<'a> {
    net: &'a Net,
    slot: SlotId,
}

impl Future for Wait<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.net.lock().slots.get(self.slot).is_none_or(|s| s.done) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.net.lock().slots.get_mut(self.slot) {
            slot.dropped = true;
        }
    }
}
