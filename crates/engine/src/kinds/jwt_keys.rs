//! What both kinds of JWT keys share: three fields, of which one key at a time signs.

use crate::failure::{Class, Failure};
use crate::kind::Tended;
use crate::ports::Document;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_secret::{Fields, Secret, Source};
use serde::Deserialize;
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

/// What of a key can be said without its value.
#[derive(Deserialize)]
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) not_before: Timestamp,
    pub(super) retire_after: Option<Timestamp>,
}

/// The key in a field; `None` when there is none.
pub(super) fn key(live: &Document, field: &str) -> Result<Option<Key>, Failure> {
    let Some(json) = live.fields.as_ref().and_then(|f| f.json(field)) else { return Ok(None) };
    let malformed = |_| Failure::lasting(Class::Invalid, format!("the field {field} is no key object {{kid, alg, key, not_before}}"));
    serde_json::from_str(json.expose()).map(Some).map_err(malformed)
}

/// A key's name: random, so that two keys never share one.
pub(super) fn fresh_kid(random: &dyn Source) -> Result<String, Failure> {
    let mut kid = [0_u8; 8];
    random.fill(&mut kid).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
    Ok(kid.iter().fold(String::new(), |text, b| text + &format!("{b:02x}")))
}

/// A key object's text.
pub(super) fn key_object(kid: &str, alg: &str, key: &Secret, not_before: Timestamp) -> Secret {
    let mut object = Fields::new();
    object.set_text("kid", &Secret::new(kid));
    object.set_text("alg", &Secret::new(alg));
    object.set_text("key", key);
    object.set_text("not_before", &Secret::new(not_before.to_string()));
    object.to_json_text()
}

/// A key object's text with `retire_after` set: built by hand, so that the key goes through no other type.
fn retiring(live: &Document, field: &str, at: Timestamp) -> Option<Secret> {
    let mut key = Fields::parse(live.fields.as_ref()?.json(field)?).ok()?;
    key.set_text("retire_after", &Secret::new(at.to_string()));
    Some(key.to_json_text())
}

impl JwtFields {
    /// The three names.
    pub(super) fn names(&self) -> Vec<String> {
        vec![self.current.clone(), self.previous.clone(), self.next.clone()]
    }

    /// What speaks against a new key: one that waits, or one whose tokens may still be valid.
    pub(super) fn room_for_one_more(&self, live: &Document, now: Timestamp) -> Result<(), Failure> {
        key(live, &self.current)?;
        if key(live, &self.next)?.is_some() {
            return Err(Failure::lasting(Class::InUse, "the key of the last rotation still waits as `next` to become the current one"));
        }
        if let Some(until) = key(live, &self.previous)?.and_then(|k| k.retire_after).filter(|at| *at > now) {
            return Err(Failure::lasting(Class::InUse, format!("tokens signed with the previous key may be valid until {until}")));
        }
        Ok(())
    }

    /// That there is a key that signs, and that it is not the next one too.
    pub(super) fn one_signs(&self, live: &Document) -> Result<(), Failure> {
        let (current, next) = (key(live, &self.current)?, key(live, &self.next)?);
        let same = current.as_ref().zip(next.as_ref()).is_some_and(|(c, n)| c.kid == n.kid);
        if current.is_none() || same {
            return Err(Failure::lasting(Class::Invalid, "the published key set has no current key, or one key twice"));
        }
        Ok(())
    }

    /// `next` signs from now on; the former `current` verifies for so long: until the last signer has read of the new one, and until the last
    /// token that it signed by then has expired.
    pub(super) fn promote(&self, live: &Document, now: Timestamp, verifies_for: Duration) -> Result<Tended, Failure> {
        match key(live, &self.next)? {
            None => return Ok(Tended::Done),
            Some(next) if next.not_before > now => {
                return Ok(Tended::NotYet(format!("verifiers may not have read the next key before {}", next.not_before)));
            }
            Some(_) => {}
        }
        let until = now.saturating_add(verifies_for).unwrap_or(Timestamp::MAX);
        let next = live.fields.as_ref().and_then(|f| f.json(&self.next));
        let (Some(next), Some(previous)) = (next, retiring(live, &self.current, until)) else { return Ok(Tended::Done) };
        let mut fields = Fields::new();
        fields.set_json(&self.current, next.duplicate());
        fields.set_json(&self.previous, previous);
        fields.set_json(&self.next, Secret::new("null"));
        Ok(Tended::Publish(fields, vec![Later::Prune { not_before: until }]))
    }

    /// The previous key goes; `then` is what is left to be done about it.
    pub(super) fn prune(&self, live: &Document, now: Timestamp, then: impl FnOnce(Key) -> Vec<Later>) -> Result<Tended, Failure> {
        match key(live, &self.previous)? {
            None => Ok(Tended::Done),
            Some(key) if key.retire_after.is_some_and(|at| at > now) => {
                Ok(Tended::NotYet("tokens that it signed may still be valid".into()))
            }
            Some(key) => {
                let mut fields = Fields::new();
                fields.set_json(&self.previous, Secret::new("null"));
                Ok(Tended::Publish(fields, then(key)))
            }
        }
    }
}
