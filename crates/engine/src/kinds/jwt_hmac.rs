//! `jwt-hmac`: a symmetric key set in three fields. `current` signs; `previous` and `next` only verify.
//!
//! A rotation publishes a fresh key as `next`; when every verifier has had time to read it, housekeeping makes it
//! `current` and the old one `previous`; when the last token signed by that has expired, it is removed. So no token ever
//! meets a verifier that does not know its key. (RFC 7518 §3.2: the key is at least as long as the hash.)

use super::jwt_keys::{JwtFields, fresh_kid, key, key_object};
use super::{fresh, no_such_step};
use crate::failure::Failure;
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::Document;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{JWT_HMAC, Step, Table};
use keyward_secret::{Fields, Generator, Source, Values};
use std::collections::BTreeMap;
use std::time::Duration;

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

#[async_trait]
impl Kind for JwtHmac {
    fn table(&self) -> &'static Table {
        &JWT_HMAC
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.fields.names()
    }

    async fn preflight(&self, live: &Document, now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        self.fields.room_for_one_more(live, now)
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let first = key(input.live, &self.fields.current)?.is_none();
        let from = if first { input.now } else { input.now.saturating_add(self.propagation).unwrap_or(Timestamp::MAX) };
        let (kid, value) = (fresh_kid(input.random)?, fresh(&self.generator, input.random)?);
        let key = key_object(&kid, &self.algorithm, &value, from);
        let mut publish = Fields::new();
        publish.set_json(if first { &self.fields.current } else { &self.fields.next }, key);
        let facts = BTreeMap::from([("from".into(), from.to_string()), ("first".into(), first.to_string())]);
        Ok(Draft { new: Values::new(), publish, facts })
    }

    async fn act(&self, step: Step, _work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        if step != Step::Confirm {
            return Err(no_such_step(step));
        }
        Ok(self.fields.one_signs(live)?)
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
            Later::Promote { .. } => self.fields.promote(live, now, self.propagation.saturating_add(self.token_lifetime)),
            Later::Prune { .. } => self.fields.prune(live, now, |_| Vec::new()),
            _ => Ok(Tended::Done),
        }
    }
}
