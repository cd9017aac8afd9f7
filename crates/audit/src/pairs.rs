//! Requests and their responses, brought together by id. Never more than [`MAX_WAITING`] at a time.

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use jiff::{SignedDuration, Timestamp};

use crate::fact::{Fact, Phase};

/// How many requests wait for their responses at most; beyond, the oldest is given up as unmatched.
pub const MAX_WAITING: usize = 65_536;

/// How many of them are kept over a restart at most.
pub const MAX_KEPT: usize = 1_024;

/// What one fact did to the pairing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paired {
    /// A response to a request that was seen; how long it took by the server's clock (never negative).
    After(SignedDuration),
    /// A response whose request was not seen: it stands before the log's beginning, or was given up.
    Orphan,
    /// Nothing to pair.
    Nothing,
}

/// The requests still waiting.
#[derive(Debug, Default)]
pub struct Pairs {
    waiting: HashMap<u64, Timestamp, FixedState>,
    order: VecDeque<(u64, Timestamp)>,
    unmatched: u64,
}

impl Pairs {
    /// Takes one fact in.
    pub fn observe(&mut self, fact: &Fact<'_>) -> Paired {
        if fact.request_id.is_empty() {
            return Paired::Nothing;
        }
        let id = FixedState::default().hash_one(fact.request_id);
        match fact.phase {
            Phase::Announced => {
                self.waiting.insert(id, fact.time);
                self.order.push_back((id, fact.time));
                if self.order.len() > MAX_WAITING {
                    self.give_up_oldest();
                }
                Paired::Nothing
            }
            Phase::Completed => {
                let Some(asked) = self.waiting.remove(&id) else { return Paired::Orphan };
                // Most responses follow their requests at once, so what is over stands at one end or the other.
                if self.order.back().is_some_and(|(last, _)| *last == id) {
                    self.order.pop_back();
                }
                while self.order.front().is_some_and(|(first, _)| !self.waiting.contains_key(first)) {
                    self.order.pop_front();
                }
                Paired::After(fact.time.duration_since(asked).max(SignedDuration::ZERO))
            }
            Phase::Alone | Phase::Probe | Phase::Unknown => Paired::Nothing,
        }
    }

    /// Gives up every request older than `age`. Call it at intervals; it costs only what it removes.
    pub fn expire(&mut self, now: Timestamp, age: SignedDuration) {
        while self.order.front().is_some_and(|(_, asked)| now.duration_since(*asked) > age) {
            self.give_up_oldest();
        }
    }

    /// How many requests never had a response, since this was last asked: the server died, was blocked, refused them by quota, or
    /// lost this very device.
    pub fn take_unmatched(&mut self) -> u64 {
        std::mem::take(&mut self.unmatched)
    }

    /// The requests that wait, oldest first, a bounded number of the newest: each as a hash of its id and its time.
    pub fn waiting(&self) -> Vec<(u64, Timestamp)> {
        let waits = |(id, asked): &&(u64, Timestamp)| self.waiting.get(id) == Some(asked);
        let mut newest: Vec<_> = self.order.iter().rev().filter(waits).take(MAX_KEPT).copied().collect();
        newest.reverse();
        newest
    }

    /// The requests that waited, as [`Pairs::waiting`] told them.
    pub fn restore(waiting: Vec<(u64, Timestamp)>) -> Self {
        Self { waiting: waiting.iter().copied().collect(), order: waiting.into(), unmatched: 0 }
    }

    fn give_up_oldest(&mut self) {
        let Some((id, asked)) = self.order.pop_front() else { return };
        if self.waiting.get(&id) == Some(&asked) {
            self.waiting.remove(&id);
            self.unmatched += 1;
        }
    }
}
