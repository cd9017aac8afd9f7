//! What passes on watched ways to servers, in order, and what is planned to go wrong with one exchange of it.
//!
//! An **exchange** is one question and its answer: a call over HTTP, a login or a statement in PostgreSQL, a command in Redis. Its name
//! says what is asked for and never holds a value. Ways that share a traffic are seen in one order.

use crate::hold::{Barrier, Hold, hold};
use crate::run::lock;
use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What goes wrong with an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection is closed before the question reaches the server.
    NotSent,
    /// The server does it, and its answer is lost.
    AnswerLost,
    /// The question does not reach the server; this HTTP status is the answer.
    Status(u16),
    /// The question does not reach the server; this is its refusal: an SQLSTATE, or the words of Redis. Then the connection ends.
    Refused(&'static str),
    /// The server's answer comes so much later.
    Late(Duration),
}

/// At which moment of an exchange something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The question has not reached the server.
    Before,
    /// The server has done it, nobody has heard of it.
    After,
}

/// How far a fault reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// To exchanges of the same name.
    Alike,
    /// To every exchange on the same way, whatever it is.
    Way,
}

/// An exchange that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub call: String,
    /// What [`Traffic::marked`] was given said when its question was seen.
    pub mark: u64,
}

pub(crate) type Act = Box<dyn FnOnce() + Send>;

/// What a way has to do with an exchange.
pub(crate) enum Plan {
    Fault(Fault),
    /// Done once; the connection is closed afterwards.
    Act(Moment, Act),
    /// Done once before the question is passed on.
    First(Act),
    /// Held up there for as long as a test likes, and then gone on with: as if its sender had been frozen.
    Hold(Moment, Barrier),
}

/// What a way tells its client.
pub(crate) enum Reply {
    /// The connection goes on with this answer.
    Answer(Vec<u8>),
    /// These are its last words; there may be none.
    End(Vec<u8>),
}

impl Reply {
    /// Tells the client; whether the connection goes on.
    pub(crate) fn tell(&self, client: &mut impl Write) -> io::Result<bool> {
        let (Self::Answer(words) | Self::End(words)) = self;
        client.write_all(words)?;
        Ok(matches!(self, Self::Answer(_)))
    }
}

/// Carries out what is planned for one exchange. `send` passes the question on and gives the server's answer; `refuse` words a status or
/// a refusal as the protocol does; `gist` is what a test that held the exchange up may know of the answer.
pub(crate) fn carry_out(
    plan: Option<Plan>,
    send: impl FnOnce() -> io::Result<Vec<u8>>,
    refuse: impl FnOnce(Fault) -> Reply,
    gist: impl FnOnce(&[u8]) -> String,
) -> io::Result<Reply> {
    match plan {
        None => {}
        Some(Plan::First(act)) => act(),
        Some(Plan::Fault(Fault::Late(time))) => {
            let answer = send()?;
            std::thread::sleep(time);
            return Ok(Reply::Answer(answer));
        }
        Some(Plan::Fault(Fault::NotSent)) => return Ok(Reply::End(Vec::new())),
        Some(Plan::Fault(Fault::AnswerLost)) => return send().map(|_| Reply::End(Vec::new())),
        Some(Plan::Fault(fault)) => return Ok(refuse(fault)),
        Some(Plan::Hold(Moment::Before, barrier)) => {
            barrier.wait();
            let answer = send()?;
            barrier.answered(&gist(&answer));
            return Ok(Reply::Answer(answer));
        }
        Some(Plan::Hold(Moment::After, barrier)) => {
            let answer = send()?;
            barrier.wait();
            barrier.answered(&gist(&answer));
            return Ok(Reply::Answer(answer));
        }
        Some(Plan::Act(moment, act)) => {
            if moment == Moment::After {
                send()?;
            }
            act();
            return Ok(Reply::End(Vec::new()));
        }
    }
    send().map(Reply::Answer)
}

/// The exchange for which something is planned.
struct Planned {
    call: String,
    /// So many of these exchanges pass before the one that is meant.
    pass: usize,
    /// So many further exchanges meet the same fault.
    again: usize,
    reach: Reach,
    /// The way on which it has happened.
    on: Option<String>,
    plan: Option<Plan>,
}

type Mark = Box<dyn Fn() -> u64 + Send + Sync>;

/// The exchanges on one way or several.
#[derive(Default)]
pub struct Traffic {
    seen: Mutex<Vec<Seen>>,
    planned: Mutex<Option<Planned>>,
    mark: Option<Mark>,
}

impl fmt::Debug for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traffic").finish_non_exhaustive()
    }
}

impl Traffic {
    /// Traffic in which `mark` is asked at every question: how far something else has come at that moment, such as a log.
    pub fn marked(mark: impl Fn() -> u64 + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { mark: Some(Box::new(mark)), ..Self::default() })
    }

    /// The exchanges that passed since this was last asked, in the order of their questions.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.seen))
    }

    /// Plans a fault for the exchange `call` (as in [`Self::seen`]) after `pass` of them, and for `again` more after that.
    pub fn plan(&self, call: &str, pass: usize, again: usize, reach: Reach, fault: Fault) {
        self.set(call, pass, again, reach, Plan::Fault(fault));
    }

    /// Plans an act at a moment of the exchange `call` after `pass` of them. Its connection is closed afterwards.
    pub fn act(&self, call: &str, pass: usize, moment: Moment, act: impl FnOnce() + Send + 'static) {
        self.set(call, pass, 0, Reach::Alike, Plan::Act(moment, Box::new(act)));
    }

    /// Plans an act right before the exchange `call`, which then goes on as if nothing had been.
    pub fn first(&self, call: &str, pass: usize, act: impl FnOnce() + Send + 'static) {
        self.set(call, pass, 0, Reach::Alike, Plan::First(Box::new(act)));
    }

    /// Holds up the exchange `call` after `pass` of them, before it reaches the server or before its answer is seen.
    #[must_use]
    pub fn hold(&self, call: &str, pass: usize, moment: Moment) -> Hold {
        let (held, barrier) = hold(call);
        self.set(call, pass, 0, Reach::Alike, Plan::Hold(moment, barrier));
        held
    }

    fn set(&self, call: &str, pass: usize, again: usize, reach: Reach, plan: Plan) {
        *lock(&self.planned) = Some(Planned { call: call.to_owned(), pass, again, reach, on: None, plan: Some(plan) });
    }

    /// Nothing is planned any more. Whether something was, that did not happen even once.
    pub fn clear(&self) -> bool {
        lock(&self.planned).take().is_some_and(|planned| planned.on.is_none())
    }

    /// Whether what was planned has happened, at least once.
    pub fn has_happened(&self) -> bool {
        lock(&self.planned).as_ref().is_none_or(|planned| planned.on.is_some())
    }

    /// Notes an exchange on the way `way`; what is planned for it.
    pub(crate) fn note(&self, way: &str, call: &str) -> Option<Plan> {
        let mark = self.mark.as_ref().map_or(0, |mark| mark());
        lock(&self.seen).push(Seen { call: call.to_owned(), mark });
        let mut planned = lock(&self.planned);
        let meant = planned.as_mut().filter(|planned| planned.plan.is_some())?;
        let is_it = match (&meant.on, meant.reach) {
            (Some(on), Reach::Way) => on == way,
            _ => meant.call == call,
        };
        if !is_it {
            return None;
        }
        if meant.pass > 0 {
            meant.pass -= 1;
            return None;
        }
        meant.on = Some(way.to_owned());
        if let (1.., Some(Plan::Fault(fault))) = (meant.again, &meant.plan) {
            meant.again -= 1;
            return Some(Plan::Fault(*fault));
        }
        meant.plan.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(plan: Option<Plan>) -> Option<Fault> {
        match plan {
            Some(Plan::Fault(fault)) => Some(fault),
            _ => None,
        }
    }

    #[test]
    fn a_plan_waits_for_its_exchange() {
        let traffic = Traffic::default();
        traffic.plan("a", 1, 0, Reach::Alike, Fault::NotSent);
        assert!(traffic.note("w", "b").is_none() && traffic.note("w", "a").is_none() && !traffic.has_happened());
        assert_eq!(fault(traffic.note("w", "a")), Some(Fault::NotSent));
        assert!(traffic.note("w", "a").is_none() && traffic.has_happened() && !traffic.clear());
        assert_eq!(traffic.seen().len(), 4);
    }

    #[test]
    fn an_outage_reaches_everything_on_its_way_and_nothing_elsewhere() {
        let traffic = Traffic::default();
        traffic.plan("a", 0, 2, Reach::Way, Fault::NotSent);
        assert!(traffic.note("w", "b").is_none(), "it has not begun");
        assert_eq!(fault(traffic.note("w", "a")), Some(Fault::NotSent));
        assert!(traffic.note("v", "a").is_none(), "another way");
        assert_eq!([fault(traffic.note("w", "b")), fault(traffic.note("w", "c"))], [Some(Fault::NotSent); 2]);
        assert!(traffic.note("w", "b").is_none(), "it is over");
        traffic.plan("z", 0, 0, Reach::Way, Fault::NotSent);
        assert!(traffic.clear(), "it never came to that");
    }
}
