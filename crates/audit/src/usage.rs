//! Who reads which managed secret, and who has not read it since a given moment. Never a secret's value, never Keyward's own reads.
//!
//! It answers one question before an old value is made invalid: who may still hold it? It knows only what it was shown; how far
//! back that reaches is for the caller to know.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fact::Fact;
use crate::finding::printable;
use crate::identity::Own;
use crate::managed::{Managed, Touch};
use crate::words::Outcome;

/// How many pairs of identity and address one secret remembers; beyond, the one that read longest ago is forgotten.
pub const MAX_READERS_PER_SECRET: usize = 512;
/// How many all secrets remember together; beyond, no new one is taken in.
pub const MAX_READERS: usize = 65_536;
/// Longest identity or address kept, in bytes; a longer one is cut.
const MAX_NAME: usize = 256;

/// One identity that read a secret from one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// What tells it from others: entity id, else display name.
    pub identity: String,
    /// What people call it.
    pub name: String,
    /// From where.
    pub address: String,
    /// First read seen.
    pub first_read: Timestamp,
    /// Latest read seen.
    pub last_read: Timestamp,
    /// How many reads were seen.
    pub reads: u64,
}

/// The readers of all managed secrets.
#[derive(Debug, Default)]
pub struct Usage {
    secrets: HashMap<String, Readers>,
    count: usize,
    forgotten: u64,
}

#[derive(Debug)]
struct Readers {
    since: Timestamp,
    /// By identity, then by address.
    by_identity: HashMap<String, HashMap<String, Reader>>,
    count: usize,
}

/// A [`Usage`] at rest. Versioned from the first day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format")]
pub enum UsageSnapshot {
    /// The first format.
    #[serde(rename = "1")]
    V1 {
        /// One row per secret.
        secrets: Vec<SecretReaders>,
        /// See [`Usage::forgotten`].
        forgotten: u64,
    },
}

/// The readers of one secret at rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretReaders {
    /// The secret's name.
    pub secret: String,
    /// When it was first seen read.
    pub since: Timestamp,
    /// Its readers.
    pub readers: Vec<Reader>,
}

impl Usage {
    /// Takes one fact in: a successful read of a managed secret by somebody else than Keyward. Show it to the rules first.
    pub fn observe(&mut self, fact: &Fact<'_>, managed: Option<Managed<'_>>, own: &Own) {
        let Some(Managed { secret, touch: Touch::Read }) = managed else { return };
        if !fact.counts() || fact.outcome != Outcome::Ok || own.made(fact) {
            return;
        }
        let (identity, address) = (cut(fact.identity.key()), cut(fact.address));
        if let Some(reader) = self.reader_mut(secret, identity, address) {
            reader.last_read = reader.last_read.max(fact.time);
            reader.reads += 1;
            return;
        }
        let reader = Reader {
            identity: identity.to_owned(),
            name: printable(&fact.who()),
            address: address.to_owned(),
            first_read: fact.time,
            last_read: fact.time,
            reads: 1,
        };
        self.take_in(secret, fact.time, reader);
    }

    /// Whether an identity (see [`crate::Identity::key`]) is remembered as a reader of a secret.
    pub fn knows(&self, secret: &str, identity: &str) -> bool {
        self.secrets.get(secret).is_some_and(|readers| readers.by_identity.contains_key(cut(identity)))
    }

    /// Since when a secret's readers are known: the first read that was seen.
    pub fn since(&self, secret: &str) -> Option<Timestamp> {
        self.secrets.get(secret).map(|readers| readers.since)
    }

    /// All remembered readers of a secret, latest first.
    pub fn readers(&self, secret: &str) -> Vec<Reader> {
        let readers = self.secrets.get(secret).into_iter().flat_map(|readers| readers.by_identity.values().flat_map(HashMap::values));
        let mut readers: Vec<Reader> = readers.cloned().collect();
        readers.sort_by(|a, b| b.last_read.cmp(&a.last_read).then_with(|| (&a.name, &a.address).cmp(&(&b.name, &b.address))));
        readers
    }

    /// Those who read a secret before `changed` and have not read it since: they may still use the value of then.
    pub fn laggards(&self, secret: &str, changed: Timestamp) -> Vec<Reader> {
        let mut readers = self.readers(secret);
        readers.retain(|reader| reader.last_read < changed);
        readers
    }

    /// Forgets readers whose last read is older than `age`. A forgotten reader that comes back is a stranger again.
    pub fn expire(&mut self, now: Timestamp, age: SignedDuration) {
        for readers in self.secrets.values_mut() {
            for addresses in readers.by_identity.values_mut() {
                let before = addresses.len();
                addresses.retain(|_, reader| now.duration_since(reader.last_read) <= age);
                readers.count -= before - addresses.len();
                self.count -= before - addresses.len();
            }
            readers.by_identity.retain(|_, addresses| !addresses.is_empty());
        }
    }

    /// Forgets readers that turn out to be Keyward itself: what marks its calls may be known only when the first of them were seen already,
    /// and as nobody who reads again they would count as behind for ever.
    pub fn disown(&mut self, own: &Own) {
        for readers in self.secrets.values_mut() {
            let before = readers.count;
            readers.by_identity.retain(|identity, _| !own.entity_ids.contains(identity) && !own.display_names.contains(identity));
            readers.count = readers.by_identity.values().map(HashMap::len).sum();
            self.count -= before - readers.count;
        }
    }

    /// Forgets every secret that is not among these: the configuration has dropped it.
    pub fn keep_only(&mut self, mut is_managed: impl FnMut(&str) -> bool) {
        self.secrets.retain(|secret, _| is_managed(secret));
        self.count = self.secrets.values().map(|readers| readers.count).sum();
    }

    /// How many readers were forgotten, or never taken in, for lack of room. Above 0, nobody may conclude that a value is unused.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// This usage at rest.
    pub fn snapshot(&self) -> UsageSnapshot {
        let mut secrets: Vec<SecretReaders> = self
            .secrets
            .iter()
            .map(|(secret, readers)| SecretReaders { secret: secret.clone(), since: readers.since, readers: self.readers(secret) })
            .collect();
        secrets.sort_by(|a, b| a.secret.cmp(&b.secret));
        UsageSnapshot::V1 { secrets, forgotten: self.forgotten }
    }

    /// The usage that was at rest.
    pub fn restore(snapshot: UsageSnapshot) -> Self {
        let UsageSnapshot::V1 { secrets, forgotten } = snapshot;
        let mut usage = Self { forgotten, ..Self::default() };
        for SecretReaders { secret, since, readers } in secrets {
            for reader in readers {
                usage.take_in(&secret, since, reader);
            }
            // Kept even without readers: the learning period is over once and for all.
            usage.secrets.entry(secret).or_insert_with(|| Readers::new(since));
        }
        usage
    }

    fn reader_mut(&mut self, secret: &str, identity: &str, address: &str) -> Option<&mut Reader> {
        self.secrets.get_mut(secret)?.by_identity.get_mut(identity)?.get_mut(address)
    }

    fn take_in(&mut self, secret: &str, since: Timestamp, reader: Reader) {
        let readers = self.secrets.entry(secret.to_owned()).or_insert_with(|| Readers::new(since));
        if readers.count >= MAX_READERS_PER_SECRET {
            readers.forget_oldest();
            self.count -= 1;
            self.forgotten += 1;
        }
        if self.count >= MAX_READERS {
            self.forgotten += 1;
            return;
        }
        let addresses = readers.by_identity.entry(reader.identity.clone()).or_default();
        if addresses.insert(reader.address.clone(), reader).is_none() {
            readers.count += 1;
            self.count += 1;
        }
    }
}

impl Readers {
    fn new(since: Timestamp) -> Self {
        Self { since, by_identity: HashMap::new(), count: 0 }
    }

    fn forget_oldest(&mut self) {
        let all = self.by_identity.values().flat_map(HashMap::values);
        let Some(oldest) = all.min_by_key(|reader| reader.last_read).cloned() else { return };
        if let Some(addresses) = self.by_identity.get_mut(&oldest.identity) {
            addresses.remove(&oldest.address);
            if addresses.is_empty() {
                self.by_identity.remove(&oldest.identity);
            }
            self.count -= 1;
        }
    }
}

/// At most [`MAX_NAME`] bytes of a name.
fn cut(name: &str) -> &str {
    name.get(..name.floor_char_boundary(MAX_NAME)).unwrap_or(name)
}
