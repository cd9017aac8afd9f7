//! Consumers: they log in to PostgreSQL every 50 ms with what they read from Vault, and keep count.

use keyward_harness::Shop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

/// The pace of one consumer.
const PACE: Duration = Duration::from_millis(50);

/// What the consumers saw.
#[derive(Default)]
pub(crate) struct Tally {
    /// Logins that worked.
    pub(crate) ok: AtomicU64,
    /// Logins that failed.
    pub(crate) failed: AtomicU64,
    /// The first failure.
    pub(crate) first: Mutex<Option<String>>,
    stop: AtomicBool,
}

impl Tally {
    /// Tells the consumers to end.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What went wrong first, for the claim.
    pub(crate) fn first_failure(&self) -> String {
        self.first.lock().unwrap_or_else(PoisonError::into_inner).clone().unwrap_or_default()
    }
}

/// Starts two consumers of `path`. One re-reads Vault at every login; the other keeps what it read for half a second, as
/// services do.
pub(crate) fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    shop: &'scope Shop<'scope>,
    path: &'static str,
    tally: &'scope Tally,
) -> [ScopedJoinHandle<'scope, ()>; 2] {
    [Duration::ZERO, Duration::from_millis(500)].map(|keeps| scope.spawn(move || consume(shop, path, keeps, tally)))
}

fn consume(shop: &Shop<'_>, path: &str, keeps: Duration, tally: &Tally) {
    let mut held: Option<(Instant, String, String)> = None;
    while !tally.stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        if held.as_ref().is_none_or(|(read, ..)| read.elapsed() >= keeps) {
            held = read(shop, path).or(held);
        }
        let outcome = match &held {
            Some((_, user, password)) => shop.query_as(user, password).map_err(|e| format!("{e:#}")),
            None => Err("nothing could be read from Vault".to_owned()),
        };
        match outcome {
            Ok(()) => drop(tally.ok.fetch_add(1, Ordering::Relaxed)),
            Err(why) => {
                tally.failed.fetch_add(1, Ordering::Relaxed);
                tally.first.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
            }
        }
        std::thread::sleep(PACE.saturating_sub(began.elapsed()));
    }
}

fn read(shop: &Shop<'_>, path: &str) -> Option<(Instant, String, String)> {
    let read = shop.published(path).ok()?;
    let field = |name: &str| read.get(name)?.as_str().map(str::to_owned);
    Some((Instant::now(), field("username")?, field("password")?))
}
