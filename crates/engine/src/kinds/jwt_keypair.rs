//! `jwt-keypair`: key pairs that sign tokens. The private halves stand in KV for those who sign, the public ones in a JWKS for everybody.
//!
//! **Invariant:** the JWKS holds every key that KV holds, at every instant. A key is added to the JWKS first and read back there; from that
//! moment count the time that verifiers may keep an old copy and what clocks may differ, and not before may it sign. It leaves KV
//! first, when its last token has expired, and the JWKS last.

use super::jwt_keys::{JwtFields, fresh_kid, key, key_object};
use super::{no_such_step, value};
use crate::failure::{Class, Failure};
use crate::kind::{Draft, DraftInput, Kind, Tended, Trouble, Work};
use crate::ports::{Clock, Document, Vault, WriteFailure};
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::record::Later;
use keyward_rotation::table::{JWT_KEYPAIR, Step, Table};
use keyward_secret::keypair::{SigningAlgorithm, sign, verifies};
use keyward_secret::{Fields, Secret, Source, Values};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One secret of this kind.
pub struct JwtKeypair {
    /// Vault, where the JWKS stands too.
    pub vault: Arc<dyn Vault>,
    /// Time: what verifiers may keep counts from the moment at which the key was read back, which may be long after it was asked for.
    pub clock: Arc<dyn Clock>,
    /// Where those who sign read.
    pub path: String,
    /// The fields they read, each an object `{kid, alg, key, not_before, retire_after}`; `key` is PKCS#8 as PEM.
    pub fields: JwtFields,
    /// Where those who verify read: a path of its own, since everybody may.
    pub jwks_path: String,
    /// The field of it that holds `{"keys": […]}`.
    pub jwks_field: String,
    /// What the keys sign with.
    pub algorithm: SigningAlgorithm,
    /// How long a token lives: for so long the previous key must still be verified.
    pub token_lifetime: Duration,
    /// How long verifiers may keep a JWKS that they have read.
    pub cache_lifetime: Duration,
    /// How far clocks may differ.
    pub skew: Duration,
}

/// Tries to change the JWKS on the version that was read; more of them mean that somebody else keeps writing.
const TRIES: u32 = 5;
const PROBE: &[u8] = b"keyward probe";

impl JwtKeypair {
    async fn read_jwks(&self) -> Result<(Document, Vec<Value>), Failure> {
        let document = self.vault.read(&self.jwks_path).await.map_err(|f| f.during(&format!("reading {}", self.jwks_path)))?;
        let Some(json) = document.fields.as_ref().and_then(|f| f.json(&self.jwks_field)) else { return Ok((document, Vec::new())) };
        let malformed = || Failure::lasting(Class::Invalid, format!("{} of {} is no JWKS {{keys}}", self.jwks_field, self.jwks_path));
        let jwks: Value = serde_json::from_str(json.expose()).map_err(|_| malformed())?;
        let keys = jwks.get("keys").and_then(Value::as_array).cloned().ok_or_else(malformed)?;
        Ok((document, keys))
    }

    /// Changes the keys with check-and-set; `change` says whether there is anything to change. Doing it again does no harm.
    async fn change_jwks(&self, change: impl Fn(&mut Vec<Value>) -> bool + Send + Sync) -> Result<(), Failure> {
        for _ in 0..TRIES {
            let (document, mut keys) = self.read_jwks().await?;
            if !change(&mut keys) {
                return Ok(());
            }
            if document.version == 0 {
                match self.vault.create_empty(&self.jwks_path).await {
                    Ok(_) | Err(WriteFailure::Conflict | WriteFailure::Gone) => continue,
                    Err(WriteFailure::Failed(failure)) => return Err(failure.during(&format!("creating {}", self.jwks_path))),
                }
            }
            let mut fields = Fields::new();
            fields.set_json(&self.jwks_field, Secret::new(json!({ "keys": keys }).to_string()));
            match self.vault.patch(&self.jwks_path, document.version, &fields).await {
                Ok(_) => return Ok(()),
                Err(WriteFailure::Conflict) => {}
                Err(WriteFailure::Gone) => {
                    return Err(Failure::lasting(Class::NotFound, format!("{} was deleted; undelete it", self.jwks_path)));
                }
                Err(WriteFailure::Failed(failure)) => return Err(failure.during(&format!("patching {}", self.jwks_path))),
            }
        }
        Err(Failure::passing(Class::Foreign, format!("somebody else keeps writing {}", self.jwks_path)))
    }

    /// Signs with a private key and verifies with what the JWKS holds under its name.
    fn proved(&self, kid: &str, private: &Secret, jwks: &[Value]) -> Result<(), Failure> {
        let lacking =
            || Failure::lasting(Class::Invalid, format!("the JWKS at {} lacks the key {kid}, which signs or will sign", self.jwks_path));
        let public = jwks.iter().find(|jwk| is(jwk, kid)).ok_or_else(lacking)?;
        let alg = self.algorithm.name();
        let signed = sign(alg, private, PROBE).map_err(|e| Failure::lasting(Class::Invalid, format!("the key {kid}: {e}")))?;
        if verifies(alg, public, PROBE, &signed) {
            return Ok(());
        }
        Err(Failure::lasting(Class::WrongPassword, format!("what the key {kid} signs is not verified by the JWKS at {}", self.jwks_path)))
    }

    /// Proves every key that is published.
    async fn all_proved(&self, live: &Document) -> Result<(), Failure> {
        let (_, jwks) = self.read_jwks().await?;
        for field in self.fields.names() {
            let Some(found) = key(live, &field)? else { continue };
            let object = live.fields.as_ref().and_then(|f| f.json(&field)).and_then(|json| Fields::parse(json).ok());
            let private = object.and_then(|object| object.text("key"));
            let private = private.ok_or_else(|| Failure::lasting(Class::Invalid, format!("the field {field} holds no key")))?;
            self.proved(&found.kid, &private, &jwks)?;
        }
        Ok(())
    }

    async fn withdraw(&self, kid: &str) -> Result<(), Failure> {
        self.change_jwks(|keys| {
            let before = keys.len();
            keys.retain(|jwk| !is(jwk, kid));
            keys.len() < before
        })
        .await
    }

    fn kid<'a>(work: &Work<'a>) -> Result<&'a str, Failure> {
        Ok(value(&work.held.new, "kid")?.expose())
    }

    fn target<'a>(&'a self, work: &Work<'_>) -> &'a str {
        if work.attempt.facts.get("first").is_some_and(|f| f == "true") { &self.fields.current } else { &self.fields.next }
    }
}

/// Whether a JWK has this name.
fn is(jwk: &Value, kid: &str) -> bool {
    jwk.get("kid").and_then(Value::as_str) == Some(kid)
}

#[async_trait]
impl Kind for JwtKeypair {
    fn table(&self) -> &'static Table {
        &JWT_KEYPAIR
    }

    fn path(&self) -> Option<&str> {
        Some(&self.path)
    }

    fn fields(&self) -> Vec<String> {
        self.fields.names()
    }

    async fn preflight(&self, live: &Document, now: Timestamp, _by_person: bool) -> Result<(), Failure> {
        self.fields.room_for_one_more(live, now)?;
        self.all_proved(live).await
    }

    async fn draft(&self, input: DraftInput<'_>) -> Result<Draft, Failure> {
        let first = key(input.live, &self.fields.current)?.is_none();
        let pair = self.algorithm.generate(input.random).map_err(|e| Failure::passing(Class::Other, e.to_string()))?;
        let kid = fresh_kid(input.random)?;
        let mut jwk = pair.public;
        jwk.insert("kid".into(), json!(kid));
        jwk.insert("alg".into(), json!(self.algorithm.name()));
        jwk.insert("use".into(), json!("sig"));
        let jwk = Value::Object(jwk).to_string();
        let new = Values::from([("kid".into(), Secret::new(kid)), ("key".into(), pair.private), ("jwk".into(), Secret::new(jwk))]);
        Ok(Draft { new, publish: Fields::new(), facts: BTreeMap::from([("first".into(), first.to_string())]) })
    }

    async fn announce(&self, work: Work<'_>, _now: Timestamp) -> Result<Fields, Trouble> {
        let kid = Self::kid(&work)?;
        let jwk: Value = serde_json::from_str(value(&work.held.new, "jwk")?.expose())
            .map_err(|_| Failure::lasting(Class::Invalid, "the record holds no public key"))?;
        let add = |keys: &mut Vec<Value>| {
            let is_missing = !keys.contains(&jwk);
            if is_missing {
                keys.push(jwk.clone());
            }
            is_missing
        };
        self.change_jwks(add).await?;
        if !self.read_jwks().await?.1.contains(&jwk) {
            return Err(Failure::passing(Class::Invalid, format!("the JWKS at {} does not show the new key", self.jwks_path)).into());
        }
        let from = self.clock.now().saturating_add(self.cache_lifetime.saturating_add(self.skew)).unwrap_or(Timestamp::MAX);
        let mut publish = Fields::new();
        publish.set_json(self.target(&work), key_object(kid, self.algorithm.name(), value(&work.held.new, "key")?, from));
        Ok(publish)
    }

    async fn act(&self, step: Step, work: Work<'_>, live: &Document) -> Result<(), Trouble> {
        match step {
            Step::Verify => {
                let (_, jwks) = self.read_jwks().await?;
                Ok(self.proved(Self::kid(&work)?, value(&work.held.new, "key")?, &jwks)?)
            }
            Step::Confirm => {
                self.fields.one_signs(live)?;
                Ok(self.all_proved(live).await?)
            }
            other => Err(no_such_step(other)),
        }
    }

    async fn undo(&self, step: Step, work: Work<'_>) -> Result<(), Trouble> {
        if step != Step::Announce {
            return Err(no_such_step(step));
        }
        Ok(self.withdraw(Self::kid(&work)?).await?)
    }

    async fn prove(&self, live: &Document) -> Option<Result<(), Failure>> {
        match key(live, &self.fields.current) {
            Ok(None) => None,
            Ok(Some(_)) => Some(self.all_proved(live).await),
            Err(failure) => Some(Err(failure)),
        }
    }

    fn later(&self, work: Work<'_>, _now: Timestamp) -> Vec<Later> {
        let published = Document { version: 0, fields: Some(work.held.publish.duplicate()) };
        match key(&published, &self.fields.next) {
            Ok(Some(next)) => vec![Later::Promote { not_before: next.not_before }],
            _ => Vec::new(),
        }
    }

    async fn tend(&self, _secret: &str, later: &Later, live: &Document, now: Timestamp, _random: &dyn Source) -> Result<Tended, Failure> {
        match later {
            Later::Promote { .. } => {
                // What will sign must be verified by what verifiers read now, not only by what they read then.
                self.all_proved(live).await?;
                // Those who sign learn of it as late as those who verify.
                let lives = self.token_lifetime.saturating_add(self.cache_lifetime).saturating_add(self.skew);
                self.fields.promote(live, now, lives)
            }
            Later::Prune { .. } => self.fields.prune(live, now, |gone| vec![Later::Withdraw { kid: gone.kid, not_before: now }]),
            Later::Withdraw { kid, .. } => {
                for field in self.fields.names() {
                    if key(live, &field)?.is_some_and(|key| key.kid == *kid) {
                        return Ok(Tended::NotYet(format!("{} still holds the key {kid}", self.path)));
                    }
                }
                self.withdraw(kid).await?;
                Ok(Tended::Done)
            }
            _ => Ok(Tended::Done),
        }
    }
}
