//! The canary: a call that Keyward makes of each node at intervals, to find it again in the node's log. How long that takes is the
//! log's lag; that it never happens is silence.
//!
//! The call reads a path of Keyward's own mount that holds a nonce, where nothing stands. A standby forwards it and writes nothing, so
//! that it is found in the active node's log; a node that answers reads by itself writes it into its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A canary that was not found for so long is given up.
const GIVEN_UP: Duration = Duration::from_mins(30);
/// How many are waited for at most.
const MAX_WAITING: usize = 1_024;
/// Without a canary, how long a log of an active node may be silent.
const WITHOUT: Duration = Duration::from_mins(5);
/// However often canaries fly, no log is called silent sooner.
const SHORTEST: Duration = Duration::from_secs(30);

/// The path of a canary, as far as all have it in common; the nonce follows. `mount`: Keyward's own.
pub fn path(mount: &str) -> String {
    format!("{}/data/canary/", mount.trim_matches('/'))
}

/// How long canaries of a node may stay unfound before its log counts as silent.
pub fn patience(interval: Option<Duration>) -> Duration {
    interval.map_or(WITHOUT, |interval| (3 * interval).max(SHORTEST))
}

/// The canaries of all nodes: those under way, and what was found. Shared with the reading threads.
#[derive(Debug, Default)]
pub struct Canaries(Mutex<Flock>);

#[derive(Debug, Default)]
struct Flock {
    /// By nonce.
    waiting: HashMap<String, Instant>,
    /// How many were found in the log of each node.
    found: BTreeMap<String, u64>,
    /// How many each node answered.
    answered: BTreeMap<String, u64>,
}

impl Canaries {
    /// One is about to fly.
    pub fn flies(&self, nonce: &str, now: Instant) {
        let mut flock = self.lock();
        flock.waiting.retain(|_, at| now.duration_since(*at) < GIVEN_UP);
        if flock.waiting.len() < MAX_WAITING {
            flock.waiting.insert(nonce.to_owned(), now);
        }
    }

    /// A node answered one.
    pub fn answered(&self, node: &str) {
        *self.lock().answered.entry(node.to_owned()).or_default() += 1;
    }

    /// A nonce stands in the log of a node. Says how long it took, if it is one of ours that was not found before.
    pub fn found(&self, nonce: &str, node: &str, now: Instant) -> Option<Duration> {
        let mut flock = self.lock();
        let at = flock.waiting.remove(nonce)?;
        *flock.found.entry(node.to_owned()).or_default() += 1;
        Some(now.duration_since(at))
    }

    /// How many a node answered, and how many were found in its log.
    pub fn counts(&self, node: &str) -> (u64, u64) {
        let flock = self.lock();
        let count = |counts: &BTreeMap<String, u64>| counts.get(node).copied().unwrap_or(0);
        (count(&flock.answered), count(&flock.found))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Flock> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_once_and_only_by_its_nonce() {
        let (canaries, now) = (Canaries::default(), Instant::now());
        canaries.flies("n1", now);
        assert_eq!(canaries.found("forged", "vault-1", now), None);
        assert_eq!(canaries.found("n1", "vault-1", now + Duration::from_millis(7)), Some(Duration::from_millis(7)));
        assert_eq!(canaries.found("n1", "vault-2", now), None);
        canaries.answered("vault-2");
        assert_eq!((canaries.counts("vault-1"), canaries.counts("vault-2")), ((0, 1), (1, 0)));
    }

    #[test]
    fn those_never_found_stay_bounded() {
        let (canaries, now) = (Canaries::default(), Instant::now());
        for n in 0..2 * MAX_WAITING {
            canaries.flies(&n.to_string(), now);
        }
        assert_eq!(canaries.lock().waiting.len(), MAX_WAITING);
        canaries.flies("late", now + GIVEN_UP);
        assert_eq!(canaries.lock().waiting.len(), 1);
    }

    #[test]
    fn patience_grows_with_the_interval() {
        assert_eq!([None, Some(1), Some(60)].map(|s| patience(s.map(Duration::from_secs)).as_secs()), [300, 30, 180]);
    }
}
