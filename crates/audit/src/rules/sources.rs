//! From which addresses each identity has come. Bounded, aged, and carried over a restart by [`Sighting`]s.
//!
//! In memory only hashes are kept, under a key of this process. The names go out once, when a pair is first seen, to the one who
//! keeps them; he hands them back at the next start.
//!
//! Invariant: at most [`MAX_PAIRS`] pairs of [`MAX_IDENTITIES`] identities. What finds no room is counted and judged by nobody.

use std::collections::HashMap;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use jiff::{SignedDuration, Timestamp};

/// How many pairs of identity and address are remembered.
pub const MAX_PAIRS: usize = 65_536;
/// How many identities.
pub const MAX_IDENTITIES: usize = 16_384;
/// An identity with more addresses than this has no home: a further address says nothing about it.
pub const MAX_ADDRESSES: u16 = 32;
/// The latest sighting of a known pair goes out again at most so often.
const AGAIN: i64 = 24 * 3600;
/// Longest name kept, in bytes.
const MAX_NAME: usize = 256;

/// An identity at an address, for whoever keeps it over a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// What tells the identity from others: see [`crate::Identity::key`].
    pub identity: String,
    /// From where it came.
    pub address: String,
    /// First seen.
    pub first: Timestamp,
    /// Last seen, to within a day.
    pub last: Timestamp,
}

/// The addresses of all identities.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    hasher: RandomState,
    pairs: HashMap<u64, Pair, RandomState>,
    identities: HashMap<u64, Home, RandomState>,
    news: Vec<Sighting>,
    forgotten: u64,
}

#[derive(Debug)]
struct Pair {
    identity: u64,
    /// Seconds since 1970.
    first: i64,
    last: i64,
}

#[derive(Debug)]
struct Home {
    since: i64,
    addresses: u16,
}

impl Sources {
    /// Takes in that an identity called from an address. Says whether the address is new for an identity that has been known for
    /// `learning`, and has a home.
    pub(crate) fn observe(&mut self, (identity, address): (&str, &str), time: Timestamp, learning: SignedDuration) -> bool {
        let now = time.as_second();
        let id = self.hasher.hash_one(identity);
        let key = self.hasher.hash_one((id, address));
        if let Some(pair) = self.pairs.get_mut(&key) {
            if now - pair.last > AGAIN && self.news.len() < MAX_PAIRS {
                pair.last = now;
                let first = Timestamp::from_second(pair.first).unwrap_or(time);
                self.news.push(sighting(identity, address, first, time));
            }
            return false;
        }
        let Some(home) = self.home(id, now) else { return false };
        if home.addresses >= MAX_ADDRESSES {
            return false;
        }
        let is_known = home.addresses > 0 && now - home.since >= learning.as_secs();
        self.take_in(key, id, now, now);
        // Nobody may be there to take them, as in a dry run over years.
        if self.news.len() < MAX_PAIRS {
            self.news.push(sighting(identity, address, time, time));
        }
        is_known
    }

    /// What has to be kept since the last time this was asked.
    pub(crate) fn take_news(&mut self) -> Vec<Sighting> {
        std::mem::take(&mut self.news)
    }

    /// Takes back what was kept.
    pub(crate) fn remember(&mut self, kept: &[Sighting]) {
        for sighting in kept {
            let id = self.hasher.hash_one(sighting.identity.as_str());
            let key = self.hasher.hash_one((id, sighting.address.as_str()));
            let (first, last) = (sighting.first.as_second(), sighting.last.as_second());
            if self.home(id, first).is_some() && !self.pairs.contains_key(&key) {
                self.take_in(key, id, first, last);
            }
        }
    }

    /// Forgets pairs that were last seen longer ago than `age`, and identities without any.
    pub(crate) fn expire(&mut self, now: Timestamp, age: SignedDuration) {
        let oldest = now.as_second().saturating_sub(age.as_secs());
        let identities = &mut self.identities;
        self.pairs.retain(|_, pair| {
            let stays = pair.last >= oldest;
            if !stays && let Some(home) = identities.get_mut(&pair.identity) {
                home.addresses = home.addresses.saturating_sub(1);
            }
            stays
        });
        identities.retain(|_, home| home.addresses > 0);
    }

    /// How many sightings found no room.
    pub(crate) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The identity's home, if there is room for one more address.
    fn home(&mut self, id: u64, since: i64) -> Option<&mut Home> {
        if self.pairs.len() >= MAX_PAIRS || (!self.identities.contains_key(&id) && self.identities.len() >= MAX_IDENTITIES) {
            self.forgotten += 1;
            return None;
        }
        let home = self.identities.entry(id).or_insert(Home { since, addresses: 0 });
        home.since = home.since.min(since);
        Some(home)
    }

    fn take_in(&mut self, key: u64, identity: u64, first: i64, last: i64) {
        self.pairs.insert(key, Pair { identity, first, last });
        if let Some(home) = self.identities.get_mut(&identity) {
            home.addresses = home.addresses.saturating_add(1);
        }
    }
}

fn sighting(identity: &str, address: &str, first: Timestamp, last: Timestamp) -> Sighting {
    let cut = |name: &str| name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name).to_owned();
    Sighting { identity: cut(identity), address: cut(address), first, last }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test's own numbers")]

    use super::*;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + day * 86_400).unwrap()
    }

    const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

    #[test]
    fn a_new_address_is_told_once_and_only_for_who_is_known() {
        let mut sources = Sources::default();
        assert!(!sources.observe(("a", "1"), day(0), WEEK));
        assert!(!sources.observe(("a", "2"), day(6), WEEK), "still learning");
        assert!(!sources.observe(("b", "1"), day(8), WEEK), "another identity is another home");
        assert!(sources.observe(("a", "3"), day(8), WEEK));
        assert!(!sources.observe(("a", "3"), day(8), WEEK));
        assert_eq!(sources.take_news().len(), 4);
        assert!(!sources.observe(("a", "1"), day(9), WEEK));
        let [again] = &sources.take_news()[..] else { panic!() };
        assert_eq!((again.first, again.last), (day(0), day(9)));
    }

    #[test]
    fn what_is_handed_back_is_known() {
        let mut sources = Sources::default();
        sources.observe(("a", "1"), day(0), WEEK);
        let kept = sources.take_news();
        let mut sources = Sources::default();
        sources.remember(&kept);
        assert!(!sources.observe(("a", "1"), day(8), WEEK));
        assert!(sources.observe(("a", "2"), day(8), WEEK), "learning is over after a restart too");
    }

    #[test]
    fn who_roams_is_passed_over_and_who_was_away_is_forgotten() {
        let mut sources = Sources::default();
        sources.observe(("a", "home"), day(0), WEEK);
        let told = (0..100).filter(|n| sources.observe(("a", &n.to_string()), day(8), WEEK)).count();
        assert_eq!(told, usize::from(MAX_ADDRESSES) - 1);
        sources.expire(day(95), SignedDuration::from_hours(90 * 24));
        assert_eq!((sources.pairs.len(), sources.identities.len()), (usize::from(MAX_ADDRESSES) - 1, 1));
        sources.expire(day(1000), SignedDuration::from_hours(90 * 24));
        assert_eq!((sources.pairs.len(), sources.identities.len()), (0, 0));
    }

    #[test]
    fn a_flood_stays_bounded_and_is_counted() {
        let mut sources = Sources::default();
        for n in 0..80_000 {
            sources.observe((&(n / 10).to_string(), &n.to_string()), day(0), WEEK);
        }
        assert_eq!((sources.pairs.len(), sources.identities.len()), (MAX_PAIRS, 6_554));
        assert!(sources.forgotten() > 14_000);
    }
}
