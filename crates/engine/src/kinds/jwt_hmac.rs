//! `jwt-hmac`: a symmetric key set in three fields. `current` signs; `previous` and `next` only verify.
//!
//! A rotation publishes a fresh key as `next`; when every verifier has had time to read it, housekeeping makes it
//! `current` and the old one `previous`; when the last token signed by that has expired, it is removed. So no token ever
//! meets a verifier that does not know its key. (RFC 7518 §3.2: the key is at least as long as the hash.)

use super::{fresh, no_such_step};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::Document;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{JWT_HMAC, Step, Table};
use keyward_secret::{Fields, Generator, Secret, Source, Values};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The names of the three fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtFields {
    /// The key that signs.
    pub current: String,
    /// The key that signed before.
    pub previous: String,
    /// The key that will sign.
    pub next: String,
}

/// One secret of this kind.
pub struct JwtHmac {
    /// Where consumers read.
    pub path: String,
    /// The fields they read, each an object `{kid, alg, key, not_before, retire_after}`.
    pub fields: JwtFields,
    /// `HS256`, `HS384` or `HS512`.
    pub algorithm: String,
    /// How a key is made: at least as many random bits as the hash has.
    pub generator: Generator,
    /// How long a token lives: for so long the previous key must still verify.
    pub token_lifetime: Duration,
    /// How long verifiers may take to read a new key.
    pub propagation: Duration,
}

/// What of a key can be said without its value.
#[derive(Deserialize)]
struct Key {
    kid: String,
    not_before: Timestamp,
    retire_after: Option<Timestamp>,
}

impl JwtHmac {
    fn key(live: &Document, field: &str) -> Result<Option<Key>, Failure> {
        let Some(json) = live.fields.as_ref().and_then(|f| f.json(field)) else { return Ok(None) };
        let malformed = |_| Failure::lasting(Class::Invalid, format!("the field {field} is no key object {{kid, alg, key, not_before}}"));
        serde_json::from_str(json.expose()).map(Some).map_err(malformed)
    }

    /// A key object's text with `retire_after` set: built by hand, so that the key goes through no other type.
    fn retiring(live: &Document, field: &str, at: Timestamp) -> Option<Secret> {
        let mut key = Fields::parse(live.fields.as_ref()?.json(field)?).ok()?;
        key.set_text("retire_after", &Secret::new(at.to_string()));
        Some(key.to_json_text())
    }

    fn fresh_key(&self, not_before: Timestamp, random: &dyn Source) -> Result<Secret, Failure> {
        let mut kid = [0_u8; 8];
        random.fill(&mut kid).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
        let kid = kid.iter().fold(String::new(), |text, b| text + &format!("{b:02x}"));
        let mut key = Fields::new();
        key.set_text("kid", &Secret::new(kid));
        key.set_text("alg", &Secret::new(self.algorithm.as_str()));
        key.set_text("key", &fresh(&self.generator, random)?);
        key.set_text("not_before", &Secret::new(not_before.to_string()));
        Ok(key.to_json_text())
    }

    /// `next` signs from now on; the former `current` verifies until its last token has expired.
    fn promote(&self, live: &Document, now: Timestamp) -> Result<Tended, Failure> {
        match Self::key(live, &self.fields.next)? {
            None => return Ok(Tended::Done),
            Some(next) if next.not_before > now => {
                return Ok(Tended::NotYet(format!("verifiers may not have read the next key before {}", next.not_before)));
            }
            Some(_) => {}
        }
        // Whoever signs learns of the new key as late as whoever verifies: until then the old one still signs.
        let until = now.saturating_add(self.propagation.saturating_add(self.token_lifetime)).unwrap_or(Timestamp::MAX);
        let next = live.fields.as_ref().and_then(|f| f.json(&self.fields.next));
        let (Some(next), Some(previous)) = (next, Self::retiring(live, &self.fields.current, until)) else { return Ok(Tended::Done) };
        let mut fields = Fields::new();
        fields.set_json(&self.fields.current, next.duplicate());
        fields.set_json(&self.fields.previous, previous);
        fields.set_json(&self.fields.next, Secret::new("null"));
        Ok(Tended::Publish(fields, vec![Later::Prune { not_before: until }]))
    }

    fn prune(&self, live: &Document, now: Timestamp) -> Result<Tended, Failure> {
        match Self::key(live, &self.fields.previous)? {
            None => Ok(Tended::Done),
            Some(key) if key.retire_after.is_some_and(|at| at > now) => {
                Ok(Tended::NotYet("tokens that it signed may still be valid".into()))
            }
            Some(_) => {
                let mut fields = Fields::new();
                fields.set_json(&self.fields.previous, Secret::new("null"));
                Ok(Tended::Publish(fields, Vec::new()))
            }
        }
    }
}

#[async_trait]
impl Kind for JwtHmac {
    fn table(&self) -> &'static Table {
        &JWT_HMAC
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        vec![self.fields.current.clone(), self.fields.previous.clone(), self.fields.next.clone()]
    }

    async fn preflight(&self, live: &Document, now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        Self::key(live, &self.fields.current)?;
        if Self::key(live, &self.fields.next)?.is_some() {
            return Err(Failure::lasting(Class::InUse, "the key of the last rotation still waits as `next` to become the current one"));
        }
        if let Some(until) = Self::key(live, &self.fields.previous)?.and_then(|k| k.retire_after).filter(|at| *at > now) {
            return Err(Failure::lasting(Class::InUse, format!("tokens signed with the previous key may be valid until {until}")));
        }
        Ok(())
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let first = Self::key(input.live, &self.fields.current)?.is_none();
        let from = if first { input.now } else { input.now.saturating_add(self.propagation).unwrap_or(Timestamp::MAX) };
        let key = self.fresh_key(from, input.random)?;
        let mut publish = Fields::new();
        publish.set_json(if first { &self.fields.current } else { &self.fields.next }, key);
        let facts = BTreeMap::from([("from".into(), from.to_string()), ("first".into(), first.to_string())]);
        Ok(Draft { new: Values::new(), publish, facts })
    }

    async fn act(&self, step: Step, _work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        if step != Step::Confirm {
            return Err(no_such_step(step));
        }
        let current = Self::key(live, &self.fields.current)?;
        let next = Self::key(live, &self.fields.next)?;
        let same = current.as_ref().zip(next.as_ref()).is_some_and(|(c, n)| c.kid == n.kid);
        if current.is_none() || same {
            return Err(Failure::lasting(Class::Invalid, "the published key set has no current key, or one key twice").into());
        }
        Ok(())
    }

    fn later(&self, work: Work<'_>, _now: Timestamp) -> Vec<Later> {
        let facts = &work.attempt.facts;
        let from = facts.get("from").and_then(|t| t.parse().ok());
        match from {
            Some(not_before) if facts.get("first").is_some_and(|f| f == "false") => vec![Later::Promote { not_before }],
            _ => Vec::new(),
        }
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        match later {
            Later::Promote { .. } => self.promote(live, now),
            Later::Prune { .. } => self.prune(live, now),
            _ => Ok(Tended::Done),
        }
    }
}
