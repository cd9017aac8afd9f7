//! Who still lives on an old value, as the followed audit logs tell. It never says "unused" where it cannot see.
//!
//! Vault writes a call's line before it answers the call, so that a log which was read to its end after a value was published
//! holds every read of the value before it. What may be missing (a gap, a node that is not followed, a reader forgotten for lack of
//! room) makes the answer [`Laggards::Unknown`].

use crate::config::Via;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_audit::{Reader, Usage, UsageSnapshot};
use keyward_engine::kinds::{Laggards, Readers};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What one node's audit log has shown of the managed secrets, and how far that can be relied on.
#[derive(Debug, Default)]
pub struct Coverage {
    /// Who reads what.
    pub usage: Usage,
    watched: BTreeMap<String, Watched>,
    pending: bool,
    caught_up: Option<Timestamp>,
    blind: Option<String>,
}

/// Since when every read of a secret has been seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Watched {
    /// Where it was looked for; another path begins anew.
    paths: String,
    /// Absent until the first entry after the beginning.
    since: Option<Timestamp>,
}

/// A [`Coverage`] at rest.
#[derive(Debug, Serialize, Deserialize)]
pub struct CoverageState {
    usage: UsageSnapshot,
    watched: BTreeMap<String, Watched>,
}

impl Coverage {
    /// The coverage that was at rest. It holds from the saved place in the log on.
    pub fn restore(state: CoverageState) -> Self {
        let pending = state.watched.values().any(|w| w.since.is_none());
        Self { usage: Usage::restore(state.usage), watched: state.watched, pending, ..Self::default() }
    }

    /// This coverage at rest.
    pub fn state(&self) -> CoverageState {
        CoverageState { usage: self.usage.snapshot(), watched: self.watched.clone() }
    }

    /// From the next line on, exactly these secrets are looked for, each at these paths. What was watched already goes on.
    pub fn watch(&mut self, secrets: &BTreeMap<String, String>) {
        self.watched.retain(|secret, watched| secrets.get(secret) == Some(&watched.paths));
        for (secret, paths) in secrets {
            let fresh = || Watched { paths: paths.clone(), since: None };
            self.watched.entry(secret.clone()).or_insert_with(fresh);
        }
        self.pending = self.watched.values().any(|w| w.since.is_none());
    }

    /// The log was read up to an entry of this time; what is watched anew is seen from here on.
    pub fn reached(&mut self, time: Timestamp) {
        if self.pending {
            for watched in self.watched.values_mut() {
                watched.since.get_or_insert(time);
            }
            self.pending = false;
        }
    }

    /// The log was read to its end by a look that began at this moment.
    pub fn caught_up(&mut self, began: Timestamp) {
        self.reached(began);
        self.caught_up = Some(began);
        self.blind = None;
    }

    /// Lines before this moment may be missing.
    pub fn lost(&mut self, now: Timestamp) {
        for watched in self.watched.values_mut() {
            watched.since = Some(now);
        }
        self.pending = false;
    }

    /// For the time being nothing is seen, for this reason.
    pub fn is_blind(&mut self, why: &str) {
        why.clone_into(self.blind.get_or_insert_default());
    }

    /// Since when every read of a secret has been seen, gaps apart that [`Coverage::doubt`] knows of.
    pub(super) fn watched_since(&self, secret: &str) -> Option<Timestamp> {
        self.watched.get(secret).and_then(|watched| watched.since)
    }

    /// Why this log cannot tell who read `secret` before `published`; `None`: it can.
    pub(super) fn doubt(&self, secret: &str, published: Timestamp) -> Option<&str> {
        if let Some(why) = &self.blind {
            Some(why)
        } else if self.usage.forgotten() > 0 {
            Some("more identities read than can be remembered")
        } else if self.watched.get(secret).and_then(|w| w.since).is_none_or(|since| since > published) {
            Some("it was not followed without a gap since before the new value was published")
        } else if self.caught_up.is_none_or(|at| at < published) {
            Some("it is not read to its end yet")
        } else {
            None
        }
    }
}

/// The coverage of every node. A node whose log is not followed is a blind spot, and is said to be one.
#[derive(Default)]
pub struct UsageReaders {
    nodes: Mutex<BTreeMap<String, Option<Arc<Mutex<Coverage>>>>>,
    /// Secret → who reads it for others.
    via: Mutex<BTreeMap<String, Vec<Via>>>,
}

impl UsageReaders {
    /// Replaces what is known of the nodes: each with its coverage, or none where its log is not followed.
    pub fn set_nodes(&self, nodes: BTreeMap<String, Option<Arc<Mutex<Coverage>>>>) {
        *self.nodes.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
    }

    /// The nodes are these now. A fresh coverage replaces a node's former one; a node that had none and gets none stays a blind spot.
    pub fn update_nodes(&self, nodes: impl Iterator<Item = String>, mut fresh: BTreeMap<String, Arc<Mutex<Coverage>>>) {
        let mut known = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        *known = nodes
            .map(|node| {
                let coverage = fresh.remove(&node).or_else(|| known.get(&node).cloned().flatten());
                (node, coverage)
            })
            .collect();
    }

    /// The nodes and their coverages.
    pub(super) fn nodes(&self) -> BTreeMap<String, Option<Arc<Mutex<Coverage>>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who reads which secret for others, from now on.
    pub fn set_via(&self, via: BTreeMap<String, Vec<Via>>) {
        *self.via.lock().unwrap_or_else(PoisonError::into_inner) = via;
    }

    /// Why those behind somebody who reads for others may still hold the old value, though it has read the new one itself.
    fn behind(&self, secret: &str, readers: &[Reader], published: Timestamp, now: Timestamp) -> Option<String> {
        let via = self.via.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |via: &&Via| readers.iter().any(|reader| reader.name == via.name);
        via.get(secret)?.iter().filter(known).find_map(|via| match via.within.map(|within| published.saturating_add(within)) {
            None => Some(format!("{} reads it for others, and what they hold is not seen", via.name)),
            Some(until) => {
                let until = until.unwrap_or(Timestamp::MAX);
                (now < until).then(|| format!("{} reads it for others, who may hold the old one until {until}", via.name))
            }
        })
    }

    fn judge(&self, secret: &str, published: Timestamp, now: Timestamp) -> Laggards {
        let nodes = self.nodes();
        if nodes.is_empty() {
            return Laggards::Unknown("no audit log is followed".into());
        }
        // Who read the old value through one node may have read the new one through another.
        let mut latest: BTreeMap<(String, String), Reader> = BTreeMap::new();
        for (node, coverage) in &nodes {
            let Some(coverage) = coverage else { return Laggards::Unknown(format!("the audit log of {node} is not followed")) };
            let coverage = coverage.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(doubt) = coverage.doubt(secret, published) {
                return Laggards::Unknown(format!("the audit log of {node}: {doubt}"));
            }
            for reader in coverage.usage.readers(secret) {
                let seen = latest.entry((reader.identity.clone(), reader.address.clone())).or_insert_with(|| reader.clone());
                if seen.last_read < reader.last_read {
                    *seen = reader;
                }
            }
        }
        let latest: Vec<Reader> = latest.into_values().collect();
        let mut who: Vec<String> = latest
            .iter()
            .filter(|reader| reader.last_read < published)
            .map(|reader| format!("{} from {}", reader.name, reader.address))
            .collect();
        who.sort_unstable();
        who.dedup();
        match self.behind(secret, &latest, published, now) {
            // Who is surely behind is named first; what cannot be seen matters when nobody is.
            Some(why) if who.is_empty() => Laggards::Unknown(why),
            _ => Laggards::Known(who),
        }
    }
}

#[async_trait]
impl Readers for UsageReaders {
    async fn laggards(&self, secret: &str, since: Timestamp) -> Laggards {
        self.judge(secret, since, Timestamp::now())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + seconds).unwrap()
    }

    /// A node's coverage of the secret `db`: followed since 0, read to its end at 100, with these readers (name, last read).
    fn coverage(readers: &[(&str, i64)]) -> Coverage {
        let reader = |(name, read): &(&str, i64)| json!({ "identity": name, "name": name, "address": "10.0.0.1", "first_read": at(0), "last_read": at(*read), "reads": 1 });
        let readers: Vec<_> = readers.iter().map(reader).collect();
        let state = json!({
            "usage": { "format": "1", "secrets": [{ "secret": "db", "since": at(0), "readers": readers }], "forgotten": 0 },
            "watched": { "db": { "paths": "kv/db", "since": at(0) } },
        });
        let mut coverage = Coverage::restore(serde_json::from_value(state).unwrap());
        coverage.caught_up(at(100));
        coverage
    }

    fn judge(nodes: Vec<Option<Coverage>>) -> Laggards {
        let readers = UsageReaders::default();
        let numbered = nodes.into_iter().enumerate();
        readers.set_nodes(numbered.map(|(i, c)| (format!("vault-{i}"), c.map(|c| Arc::new(Mutex::new(c))))).collect());
        readers.judge("db", at(50), at(100))
    }

    fn known(who: &[&str]) -> Laggards {
        Laggards::Known(who.iter().map(|name| format!("{name} from 10.0.0.1")).collect())
    }

    fn unknown(nodes: Vec<Option<Coverage>>, because: &str) {
        match judge(nodes) {
            Laggards::Unknown(why) => assert!(why.contains(because), "{why}"),
            known @ Laggards::Known(_) => panic!("{because}: {known:?}"),
        }
    }

    /// Consumers went on with the old value after a rotation that nobody told them of (vault-secrets-operator#494, vault-k8s#614).
    #[test]
    fn failure_13_who_read_before_and_not_since_is_behind() {
        assert_eq!(judge(vec![Some(coverage(&[("old", 49), ("new", 50), ("both", 70)]))]), known(&["old"]));
        assert_eq!(judge(vec![Some(coverage(&[]))]), known(&[]), "nobody ever read it, and all of it was seen");
    }

    #[test]
    fn who_has_read_since_through_any_node_is_not_behind() {
        let nodes = vec![Some(coverage(&[("app", 40), ("old", 30)])), Some(coverage(&[("app", 60)]))];
        assert_eq!(judge(nodes), known(&["old"]));
    }

    #[test]
    fn what_is_not_seen_is_never_called_unused() {
        unknown(vec![], "no audit log is followed");
        unknown(vec![Some(coverage(&[])), None], "vault-1 is not followed");
        let change = |change: fn(&mut Coverage)| {
            let mut coverage = coverage(&[]);
            change(&mut coverage);
            vec![Some(coverage)]
        };
        unknown(change(|c| c.lost(at(60))), "without a gap");
        unknown(change(|c| c.watch(&BTreeMap::new())), "without a gap");
        unknown(change(|c| c.watch(&BTreeMap::from([("db".into(), "kv/moved".into())]))), "without a gap");
        unknown(change(|c| c.is_blind("the file is missing")), "the file is missing");
        unknown(change(|c| c.caught_up = Some(at(49))), "not read to its end");
        unknown(change(|c| c.caught_up = None), "not read to its end");
    }

    #[test]
    fn what_those_hold_for_whom_somebody_reads_is_unknown_until_it_cannot_be_the_old_one() {
        let via = |within: Option<u64>| {
            let readers = UsageReaders::default();
            let coverage = coverage(&[("agent", 60), ("app", 70)]);
            readers.set_nodes(BTreeMap::from([("vault-0".to_owned(), Some(Arc::new(Mutex::new(coverage))))]));
            let via = Via { name: "agent".into(), within: within.map(std::time::Duration::from_secs) };
            readers.set_via(BTreeMap::from([("db".to_owned(), vec![via])]));
            readers
        };
        let unknown = |readers: UsageReaders, because: &str| match readers.judge("db", at(50), at(100)) {
            Laggards::Unknown(why) => assert!(why.contains(because), "{why}"),
            known @ Laggards::Known(_) => panic!("{because}: {known:?}"),
        };
        unknown(via(None), "agent reads it for others, and what they hold is not seen");
        unknown(via(Some(51)), "may hold the old one until");
        assert_eq!(via(Some(50)).judge("db", at(50), at(100)), known(&[]));
        assert_eq!(
            via(None).judge("other", at(50), at(100)),
            via(Some(0)).judge("other", at(50), at(100)),
            "another secret is not concerned"
        );
        assert_eq!(via(None).judge("db", at(65), at(100)), known(&["agent"]), "itself it is behind, and is named");
    }

    #[test]
    fn a_gap_that_lies_before_does_not_matter() {
        let mut coverage = coverage(&[]);
        coverage.lost(at(40));
        assert_eq!(judge(vec![Some(coverage)]), known(&[]));
    }

    #[test]
    fn a_reader_forgotten_for_lack_of_room_is_not_called_unused() {
        let state =
            json!({ "usage": { "format": "1", "secrets": [], "forgotten": 1 }, "watched": { "db": { "paths": "kv/db", "since": at(0) } } });
        let mut coverage = Coverage::restore(serde_json::from_value(state).unwrap());
        coverage.caught_up(at(100));
        unknown(vec![Some(coverage)], "than can be remembered");
    }

    #[test]
    fn what_is_watched_anew_is_seen_from_the_next_entry_on_and_survives_a_rest() {
        let secrets = BTreeMap::from([("db".to_owned(), "kv/db".to_owned())]);
        let mut coverage = Coverage::default();
        coverage.watch(&secrets);
        coverage.reached(at(10));
        coverage.reached(at(20));
        coverage.watch(&secrets);
        let rested: CoverageState = serde_json::from_str(&serde_json::to_string(&coverage.state()).unwrap()).unwrap();
        assert_eq!(rested.watched["db"].since, Some(at(10)));
        let mut quiet = Coverage::default();
        quiet.watch(&secrets);
        quiet.caught_up(at(30));
        assert_eq!(quiet.state().watched["db"].since, Some(at(30)));
    }
}
