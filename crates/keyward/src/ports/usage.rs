//! Who reads a secret, for people: each reader, whether it has read since the last rotation, and how far all of it can be relied on.
//!
//! It never says "unused": where a log shows nothing, or not all, it says so for that node.

use super::readers::{Coverage, CoverageState, UsageReaders};
use jiff::Timestamp;
use keyward_audit::Reader;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The readers of one secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretUsage {
    /// When the last rotation was proved; readers are told apart by it.
    pub rotated: Option<Timestamp>,
    /// Who read it, latest first.
    pub readers: Vec<ReaderView>,
    /// What each node's log can tell, in a sentence.
    pub coverage: BTreeMap<String, String>,
}

/// One identity that read a secret from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReaderView {
    /// What people call it.
    pub name: String,
    /// What tells it from others.
    pub identity: String,
    /// From where.
    pub address: String,
    /// First read seen.
    pub first_read: Timestamp,
    /// Latest read seen.
    pub last_read: Timestamp,
    /// How many reads were seen.
    pub reads: u64,
    /// `new`: it has read since the last rotation; `old`: it has not; `only one`: there was no rotation.
    pub knows: String,
}

impl UsageReaders {
    /// What stands in the local store, for when no daemon runs: nothing in it reaches to the present.
    pub fn at_rest(nodes: BTreeMap<String, Option<CoverageState>>) -> Self {
        let readers = Self::default();
        let restored = |state: Option<CoverageState>| state.map(|state| Arc::new(Mutex::new(Coverage::restore(state))));
        readers.set_nodes(nodes.into_iter().map(|(node, state)| (node, restored(state))).collect());
        readers
    }

    /// The readers of a secret whose last rotation was proved at `rotated`.
    pub fn usage(&self, secret: &str, rotated: Option<Timestamp>) -> SecretUsage {
        let mut usage = SecretUsage { rotated, ..SecretUsage::default() };
        let mut latest: BTreeMap<(String, String), Reader> = BTreeMap::new();
        for (node, coverage) in self.nodes() {
            let Some(coverage) = coverage else {
                usage.coverage.insert(node, "unknown: its audit log is not followed here".to_owned());
                continue;
            };
            let coverage = coverage.lock().unwrap_or_else(PoisonError::into_inner);
            usage.coverage.insert(node, coverage.says(secret, rotated));
            for reader in coverage.usage.readers(secret) {
                let key = (reader.identity.clone(), reader.address.clone());
                match latest.get_mut(&key) {
                    None => drop(latest.insert(key, reader)),
                    Some(seen) => {
                        seen.reads += reader.reads;
                        seen.first_read = seen.first_read.min(reader.first_read);
                        seen.last_read = seen.last_read.max(reader.last_read);
                    }
                }
            }
        }
        usage.readers = latest.into_values().map(|reader| view(reader, rotated)).collect();
        usage.readers.sort_by(|a, b| b.last_read.cmp(&a.last_read).then_with(|| a.name.cmp(&b.name)));
        usage
    }
}

impl Coverage {
    /// How far this log can be relied on for a secret.
    fn says(&self, secret: &str, rotated: Option<Timestamp>) -> String {
        let Some(since) = self.watched_since(secret) else { return "unknown: its log does not show this secret yet".to_owned() };
        match self.doubt(secret, rotated.unwrap_or(since)) {
            Some(why) => format!("unknown: {why}"),
            None => format!("every read since {}", crate::view::whole_seconds(since)),
        }
    }
}

fn view(reader: Reader, rotated: Option<Timestamp>) -> ReaderView {
    let knows = match rotated {
        None => "only one",
        Some(rotated) if reader.last_read < rotated => "old",
        Some(_) => "new",
    };
    let Reader { identity, name, address, first_read, last_read, reads } = reader;
    ReaderView { name, identity, address, first_read, last_read, reads, knows: knows.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a scene that cannot be set must fail the test")]

    use super::*;
    use serde_json::json;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + seconds).unwrap()
    }

    fn state(readers: &[(&str, i64)]) -> CoverageState {
        let reader = |(name, read): &(&str, i64)| json!({ "identity": name, "name": name, "address": "10.0.0.1", "first_read": at(0), "last_read": at(*read), "reads": 1 });
        let readers: Vec<_> = readers.iter().map(reader).collect();
        serde_json::from_value(json!({
            "usage": { "format": "1", "secrets": [{ "secret": "db", "since": at(0), "readers": readers }], "forgotten": 0 },
            "watched": { "db": { "paths": "kv/db", "since": at(0) } },
        }))
        .unwrap()
    }

    #[test]
    fn readers_are_told_apart_by_the_last_rotation_over_all_nodes() {
        let mut first = Coverage::restore(state(&[("app", 40), ("batch", 30)]));
        let mut second = Coverage::restore(state(&[("app", 60)]));
        first.caught_up(at(100));
        second.caught_up(at(100));
        let readers = UsageReaders::default();
        let nodes = [("a", Some(first)), ("b", Some(second)), ("c", None)];
        readers.set_nodes(nodes.into_iter().map(|(n, c)| (n.to_owned(), c.map(|c| Arc::new(Mutex::new(c))))).collect());
        let usage = readers.usage("db", Some(at(50)));
        let shown: Vec<_> = usage.readers.iter().map(|r| (r.name.as_str(), r.knows.as_str(), r.reads)).collect();
        assert_eq!(shown, [("app", "new", 2), ("batch", "old", 1)]);
        let says: Vec<&str> = usage.coverage.values().map(String::as_str).collect();
        assert!(says[0].starts_with("every read since 2026-"), "{says:?}");
        assert_eq!(says[2], "unknown: its audit log is not followed here");
        assert_eq!(readers.usage("db", None).readers[0].knows, "only one");
    }

    #[test]
    fn what_is_at_rest_does_not_reach_to_the_present() {
        let readers = UsageReaders::at_rest(BTreeMap::from([("a".to_owned(), Some(state(&[("app", 40)])))]));
        let usage = readers.usage("db", Some(at(50)));
        assert_eq!((usage.readers.len(), usage.coverage["a"].as_str()), (1, "unknown: it is not read to its end yet"));
        assert!(readers.usage("other", Some(at(50))).coverage["a"].starts_with("unknown"));
    }
}
