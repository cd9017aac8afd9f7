//! The outbox: what is still to be delivered, on which route, and when to try again.
//!
//! It never sends, reads no clock and draws no random number; and it never loses a first, worse or resolved notice: when it is full,
//! repetitions give way first, then waiting notices of one route are merged into one.
//!
//! A delivery keeps its Message-ID across all attempts, so that a mail that was accepted while the answer was lost is recognised.

mod squeeze;

use crate::book::{Notice, after};
use crate::delivery::{Route, SendError};
use crate::stored::{self, StoredError};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most deliveries that wait on one route.
pub const MAX_PER_ROUTE: usize = 200;

/// How long a delivery that is refused for good is tried again, before it is given up (counted, and handed to the caller to be told).
pub const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long to wait between attempts. From configuration, not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After the first transient failure.
    pub min: SignedDuration,
    /// The longest wait between transient failures.
    pub max: SignedDuration,
    /// Between attempts of what was refused for good: somebody may have mended it.
    pub refused: SignedDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self { min: SignedDuration::from_secs(5), max: SignedDuration::from_mins(5), refused: SignedDuration::from_hours(1) }
    }
}

impl Retry {
    /// The wait after the `attempts`-th failure (from 1): doubled each time up to the longest, of which the upper half is left
    /// to `jitter` (0 to 1, anything else is clamped).
    pub fn wait(&self, attempts: u32, permanent: bool, jitter: f64) -> SignedDuration {
        let factor = 1_i32.checked_shl(attempts.saturating_sub(1).min(30)).unwrap_or(i32::MAX);
        let full = if permanent { self.refused } else { self.min.checked_mul(factor).unwrap_or(self.max).min(self.max) };
        let jitter = if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.5 };
        let half = full.as_secs_f64() / 2.0;
        SignedDuration::try_from_secs_f64(half + half * jitter).unwrap_or(full)
    }
}

/// The last failure of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When it failed.
    pub at: Timestamp,
    /// Whether it was refused for good.
    pub permanent: bool,
    /// What was attempted and what came back.
    pub what: String,
}

/// One notice on one route, until it is accepted there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Names this delivery in [`Outbox::sent`] and [`Outbox::failed`].
    pub id: u64,
    /// Where it goes.
    pub route: Route,
    /// Left side of the Message-ID and idempotency key: the same in every attempt, and for every recipient of the notice.
    pub message_id: String,
    /// What is told.
    pub notice: Notice,
    /// When it was put into the outbox.
    pub queued: Timestamp,
    /// Failed attempts so far.
    pub attempts: u32,
    /// Not before.
    pub next_try: Timestamp,
    /// Why the last attempt failed.
    pub last_error: Option<Failure>,
}

/// Totals of one channel since the outbox was made, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxCounts {
    /// Accepted by the other side.
    pub sent: u64,
    /// Attempts that may be repeated.
    pub failed: u64,
    /// Attempts refused for good (repeated slowly).
    pub refused: u64,
    /// Repetitions that gave way to newer ones, and notices merged because the queue was full.
    pub coalesced: u64,
    /// Refused for good over the whole [`GIVE_UP_AFTER`], and then given up.
    pub given_up: u64,
}

/// How one route stands now, for status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteStatus {
    /// Which route.
    pub route: Route,
    /// Deliveries waiting.
    pub waiting: usize,
    /// Of these, those refused for good last time.
    pub refused: usize,
    /// Since when the oldest waits.
    pub oldest: Timestamp,
    /// The latest failure among them.
    pub last_error: Option<Failure>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Queue {
    sequence: u64,
    /// Oldest first.
    deliveries: Vec<Delivery>,
    counts: BTreeMap<String, OutboxCounts>,
}

/// All deliveries that were not accepted yet.
#[derive(Debug, Clone)]
pub struct Outbox {
    retry: Retry,
    queue: Queue,
}

impl Outbox {
    /// An empty outbox.
    pub fn new(retry: Retry) -> Self {
        Self { retry, queue: Queue::default() }
    }

    /// The outbox as it was stored by [`Outbox::to_json`], with the waits of today's configuration.
    pub fn from_json(text: &str, retry: Retry) -> Result<Self, StoredError> {
        Ok(Self { retry, queue: stored::read("alert outbox", text)? })
    }

    /// The outbox for storing.
    pub fn to_json(&self) -> String {
        stored::write(&self.queue)
    }

    /// Takes other waits, after a reload of the configuration.
    pub fn set_retry(&mut self, retry: Retry) {
        self.retry = retry;
    }

    /// Queues a notice for every route. A repetition replaces what waits of earlier ones, and is left out where the first notice
    /// itself still waits. Without any route nothing is queued: the configuration must name one.
    pub fn enqueue(&mut self, notice: &Notice, routes: &[Route], now: Timestamp) {
        for route in routes {
            let (notice, coalesced) = squeeze::admit(&mut self.queue.deliveries, notice, route);
            self.count(route).coalesced += coalesced;
            let Some(notice) = notice else { continue };
            self.push(route.clone(), notice, now);
            let coalesced = squeeze::shrink(&mut self.queue.deliveries, route, MAX_PER_ROUTE);
            self.count(route).coalesced += coalesced;
        }
    }

    fn push(&mut self, route: Route, notice: Notice, now: Timestamp) {
        self.queue.sequence += 1;
        let (id, message_id) = (self.queue.sequence, notice.id.clone());
        let delivery = Delivery { id, route, message_id, notice, queued: now, attempts: 0, next_try: now, last_error: None };
        self.queue.deliveries.push(delivery);
    }

    /// What may be tried now: oldest first, at most `limit`.
    pub fn due(&self, now: Timestamp, limit: usize) -> Vec<Delivery> {
        let horizon = after(now, self.retry.max.max(self.retry.refused));
        // A time beyond the longest wait is the trace of a clock that jumped.
        let is_due = |delivery: &&Delivery| delivery.next_try <= now || delivery.next_try > horizon;
        self.queue.deliveries.iter().filter(is_due).take(limit).cloned().collect()
    }

    /// When [`Outbox::due`] next has something.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.queue.deliveries.iter().map(|delivery| delivery.next_try).min()
    }

    /// The other side accepted it. What waits on the same route after a transient failure is tried at once.
    pub fn sent(&mut self, id: u64, now: Timestamp) {
        let Some(place) = self.queue.deliveries.iter().position(|delivery| delivery.id == id) else { return };
        let route = self.queue.deliveries.remove(place).route;
        self.count(&route).sent += 1;
        for delivery in &mut self.queue.deliveries {
            if delivery.route == route && delivery.last_error.as_ref().is_none_or(|failure| !failure.permanent) {
                delivery.next_try = delivery.next_try.min(now);
            }
        }
    }

    /// The other side did not accept it. Returns the delivery if it was given up by this: tell somebody on another way.
    pub fn failed(&mut self, id: u64, error: &SendError, now: Timestamp, jitter: f64) -> Option<Delivery> {
        let retry = self.retry;
        let place = self.queue.deliveries.iter().position(|delivery| delivery.id == id)?;
        let delivery = self.queue.deliveries.get_mut(place)?;
        let permanent = error.is_permanent();
        delivery.attempts = delivery.attempts.saturating_add(1);
        delivery.next_try = after(now, retry.wait(delivery.attempts, permanent, jitter));
        delivery.last_error = Some(Failure { at: now, permanent, what: error.what().to_owned() });
        let given_up = permanent && after(delivery.queued, GIVE_UP_AFTER) <= now;
        let route = delivery.route.clone();
        let counts = self.count(&route);
        counts.refused += u64::from(permanent);
        counts.failed += u64::from(!permanent);
        counts.given_up += u64::from(given_up);
        given_up.then(|| self.queue.deliveries.remove(place))
    }

    /// Makes everything due now: after a reload of the configuration, which may have mended what was refused.
    pub fn hurry(&mut self, now: Timestamp) {
        for delivery in &mut self.queue.deliveries {
            delivery.next_try = delivery.next_try.min(now);
        }
    }

    /// After a change of routes: what waits for a route that is gone goes to every current route of its channel, or, where the
    /// channel is gone too, to every current route. With no route at all it stays.
    pub fn reroute(&mut self, current: &[Route], now: Timestamp) {
        if current.is_empty() {
            return;
        }
        let known: BTreeSet<&Route> = current.iter().collect();
        let (stay, homeless): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.queue.deliveries).into_iter().partition(|delivery| known.contains(&delivery.route));
        self.queue.deliveries = stay;
        for delivery in homeless {
            let same: Vec<Route> = current.iter().filter(|route| route.channel == delivery.route.channel).cloned().collect();
            let targets = if same.is_empty() { current.to_vec() } else { same };
            let missing = |route: &Route| {
                let waits = |d: &Delivery| d.route == *route && d.notice.id == delivery.notice.id;
                !self.queue.deliveries.iter().any(waits)
            };
            let targets: Vec<Route> = targets.into_iter().filter(missing).collect();
            self.enqueue(&delivery.notice, &targets, now);
        }
        self.queue.deliveries.sort_by_key(|delivery| delivery.notice.at);
    }

    /// How many deliveries wait.
    pub fn len(&self) -> usize {
        self.queue.deliveries.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.deliveries.is_empty()
    }

    /// Totals of a channel; zeros for one that never sent.
    pub fn counts(&self, channel: &str) -> OutboxCounts {
        self.queue.counts.get(channel).copied().unwrap_or_default()
    }

    /// The routes on which something waits.
    pub fn status(&self) -> Vec<RouteStatus> {
        let mut by_route: BTreeMap<&Route, RouteStatus> = BTreeMap::new();
        for delivery in &self.queue.deliveries {
            let empty = RouteStatus { route: delivery.route.clone(), waiting: 0, refused: 0, oldest: delivery.queued, last_error: None };
            let status = by_route.entry(&delivery.route).or_insert(empty);
            status.waiting += 1;
            status.oldest = status.oldest.min(delivery.queued);
            if let Some(failure) = &delivery.last_error {
                status.refused += usize::from(failure.permanent);
                if status.last_error.as_ref().is_none_or(|known| known.at < failure.at) {
                    status.last_error = Some(failure.clone());
                }
            }
        }
        by_route.into_values().collect()
    }

    fn count(&mut self, route: &Route) -> &mut OutboxCounts {
        self.queue.counts.entry(route.channel.clone()).or_default()
    }
}

#[cfg(test)]
mod tests;
