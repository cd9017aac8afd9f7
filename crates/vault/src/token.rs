//! Our own token's life, and how one is had: AppRole login, wrapped secret ids. Tokens leave this module as [`Secret`] only.

use crate::call::{Call, Identity, Raw, seconds};
use crate::client::{Client, valid_token};
use crate::kv::maybe_time;
use crate::{Kind, VaultError, path};
use jiff::Timestamp;
use keyward_secret::{Fields, Secret};
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use vaultrs::api::token::requests::{LookupTokenSelfRequest, RenewTokenSelfRequest, RevokeTokenSelfRequest};
use zeroize::Zeroizing;

/// Five wrong logins lock a role for a quarter of an hour, right credentials or not (Vault 1.13 and later).
const LOCKOUT: &str =
    "after five refused logins Vault refuses the role for 15 minutes even with the right secret id (user lockout): do not retry at once";
const BAD_LOGIN: &str = "the role id or secret id is wrong, expired or used up: issue a new secret id";
const BAD_WRAPPING: &str =
    "the wrapping token is used up, expired or unknown: if nobody here unwrapped it, somebody else may hold the secret id; revoke it";

/// What Vault knows about the token that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenInfo {
    /// What is left; zero for a token that never expires.
    pub ttl: Duration,
    /// What it was issued with; zero for a token that never expires.
    pub creation_ttl: Duration,
    /// When it ends; `None`: never.
    pub expire_time: Option<Timestamp>,
    /// Whether renewal can prolong it.
    pub renewable: bool,
    /// Every renewal sets the life to this; `None`: renewals end at the maximum of its role or mount.
    pub period: Option<Duration>,
    /// Beyond this age no renewal helps; `None`: no such limit of its own.
    pub explicit_max_ttl: Option<Duration>,
    /// All policies, those of its identity too.
    pub policies: Vec<String>,
    /// A handle that cannot be used as a token.
    pub accessor: String,
    /// As it stands in the audit log.
    pub display_name: String,
    /// The identity's entity, as it stands in the audit log; empty where the token has none.
    pub entity_id: String,
    /// Whether it survives the token that made it.
    pub orphan: bool,
    /// `service` or `batch`; a batch token can neither be renewed nor hold leases beyond its own life.
    pub token_type: String,
    /// How many uses are left; zero: no limit.
    pub num_uses: u64,
    /// Where it was issued: `auth/token/create`, `auth/approle/login`.
    pub path: String,
    /// What was noted with it, or with the secret id that logged in for it.
    pub meta: BTreeMap<String, String>,
}

impl TokenInfo {
    /// Whether it never expires (a root token).
    pub fn never_expires(&self) -> bool {
        self.expire_time.is_none() && self.ttl.is_zero()
    }
}

/// What a renewal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewed {
    /// The life from now on. Where this no longer grows, the maximum is near: log in again.
    pub ttl: Duration,
    /// Whether it can be renewed again.
    pub renewable: bool,
}

/// A fresh token.
#[derive(Debug)]
pub struct Login {
    /// The token, for [`Client::set_token`].
    pub token: Secret,
    /// Its handle.
    pub accessor: String,
    /// Its life.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Its policies.
    pub policies: Vec<String>,
}

/// What may be done at each path that was asked about.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Capabilities(pub BTreeMap<String, Vec<String>>);

impl Capabilities {
    /// Whether `capability` (`read`, `update`, `patch`, …) is granted at `path`; `root` grants all, `deny` wins over all.
    pub fn allows(&self, path: &str, capability: &str) -> bool {
        let Some(granted) = self.0.get(path) else { return false };
        !granted.iter().any(|c| c == "deny") && granted.iter().any(|c| c == capability || c == "root")
    }
}

#[derive(Deserialize)]
pub(crate) struct LookupData {
    #[serde(default)]
    ttl: i64,
    #[serde(default)]
    creation_ttl: i64,
    #[serde(default, deserialize_with = "maybe_time")]
    expire_time: Option<Timestamp>,
    renewable: Option<bool>,
    period: Option<i64>,
    #[serde(default)]
    explicit_max_ttl: i64,
    policies: Option<Vec<String>>,
    identity_policies: Option<Vec<String>>,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    entity_id: String,
    #[serde(default)]
    orphan: bool,
    #[serde(default, rename = "type")]
    token_type: String,
    #[serde(default)]
    num_uses: u64,
    #[serde(default)]
    path: String,
    meta: Option<BTreeMap<String, String>>,
}

impl From<LookupData> for TokenInfo {
    fn from(data: LookupData) -> Self {
        let limit = |count: i64| Some(seconds(count)).filter(|d| !d.is_zero());
        let mut policies = data.policies.unwrap_or_default();
        policies.extend(data.identity_policies.unwrap_or_default());
        policies.sort();
        policies.dedup();
        Self {
            ttl: seconds(data.ttl),
            creation_ttl: seconds(data.creation_ttl),
            expire_time: data.expire_time,
            renewable: data.renewable.unwrap_or(false),
            period: data.period.and_then(limit),
            explicit_max_ttl: limit(data.explicit_max_ttl),
            policies,
            accessor: data.accessor,
            display_name: data.display_name,
            entity_id: data.entity_id,
            orphan: data.orphan,
            token_type: data.token_type,
            num_uses: data.num_uses,
            path: data.path,
            meta: data.meta.unwrap_or_default(),
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct AuthData {
    client_token: String,
    #[serde(default)]
    accessor: String,
    #[serde(default)]
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
    policies: Option<Vec<String>>,
}

#[derive(Deserialize)]
pub(crate) struct RenewData {
    lease_duration: i64,
    renewable: bool,
}

impl From<AuthData> for Login {
    fn from(data: AuthData) -> Self {
        Self {
            token: Secret::new(data.client_token),
            accessor: data.accessor,
            ttl: seconds(data.lease_duration),
            renewable: data.renewable,
            policies: data.policies.unwrap_or_default(),
        }
    }
}

impl From<RenewData> for Renewed {
    fn from(data: RenewData) -> Self {
        Self { ttl: seconds(data.lease_duration), renewable: data.renewable }
    }
}

#[derive(Deserialize)]
struct WrappingData {
    creation_path: String,
}

#[derive(Deserialize)]
struct SecretIdData {
    secret_id: String,
}

impl Client {
    /// What Vault knows about our token.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a token that is expired, revoked or unknown.
    pub async fn lookup_self(&self) -> Result<TokenInfo, VaultError> {
        let call = Call::read(LookupTokenSelfRequest::default());
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.data::<LookupData>(&attempted)?.into())
    }

    /// Renews our token for as long as its role or period allows.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a token that is not renewable, [`Kind::Denied`] for one that is dead.
    pub async fn renew_self(&self) -> Result<Renewed, VaultError> {
        // Renewing twice does no more than renewing once.
        let call = Call::read(RenewTokenSelfRequest::default());
        let attempted = call.attempted.clone();
        Ok(self.run(call).await?.auth::<RenewData>(&attempted)?.into())
    }

    /// Ends our token, and with it all leases that it made. The client is then without one.
    pub async fn revoke_self(&self) -> Result<(), VaultError> {
        self.run(Call::write(RevokeTokenSelfRequest::default())).await?;
        self.forget_token();
        Ok(())
    }

    /// Logs in at `auth/<mount>` and returns the token without using it. Blanks around the ids are dropped. Sent once: a
    /// secret id that may be used once is used up by a login whose answer was lost, too.
    ///
    /// # Errors
    /// [`Kind::Denied`] when Vault refuses the ids, or the role is locked out after too many refusals.
    pub async fn approle_login(&self, mount: &str, role_id: &str, secret_id: &Secret) -> Result<Login, VaultError> {
        let mount = path::mount("POST auth/…/login", mount)?;
        let secret_id = Secret::new(secret_id.expose().trim());
        let mut body = Fields::new();
        body.set_text("role_id", &Secret::new(role_id.trim()));
        body.set_text("secret_id", &secret_id);
        let endpoint = Raw::new(RequestMethod::POST, format!("auth/{mount}/login")).body(wiped(&body));
        let call = Call::write(endpoint).identity(Identity::Nobody).hide(&secret_id);
        let attempted = call.attempted.clone();
        let answer = self.run(call).await.map_err(refused_login)?;
        Ok(answer.auth::<AuthData>(&attempted)?.into())
    }

    /// Unwraps a secret id that was handed over wrapped, after checking that the wrapped answer was made by the AppRole mount
    /// `mount` and is a secret id. It can be done once only.
    ///
    /// # Errors
    /// [`Kind::Denied`] when the token is used up, expired, or wraps something else: then somebody may have replaced or read it.
    pub async fn unwrap_secret_id(&self, wrapping: &Secret, mount: &str) -> Result<Secret, VaultError> {
        let mount = path::mount("POST sys/wrapping/unwrap", mount)?;
        let wrapping = valid_token(wrapping)?;
        let mut body = Fields::new();
        body.set_text("token", &wrapping);
        let lookup = Raw::new(RequestMethod::POST, "sys/wrapping/lookup").body(wiped(&body));
        let lookup = Call::write(lookup).identity(Identity::Nobody).hide(&wrapping);
        let attempted = lookup.attempted.clone();
        let found: WrappingData = self.run(lookup).await.map_err(refused_wrapping)?.data(&attempted)?;
        if !found.creation_path.starts_with(&format!("auth/{mount}/role/")) || !found.creation_path.ends_with("/secret-id") {
            let why = format!("it wraps an answer of {}, not a secret id of auth/{mount}", found.creation_path);
            return Err(VaultError::new(Kind::Denied, attempted, why).with_hint(BAD_WRAPPING));
        }
        let unwrap = Call::write(Raw::new(RequestMethod::POST, "sys/wrapping/unwrap")).identity(Identity::Other(&wrapping)).hide(&wrapping);
        let attempted = unwrap.attempted.clone();
        let data: SecretIdData = self.run(unwrap).await.map_err(refused_wrapping)?.data(&attempted)?;
        Ok(Secret::new(data.secret_id))
    }

    /// What our token may do at each of `paths` (API paths: `secret/data/app`).
    pub async fn capabilities_self(&self, paths: &[&str]) -> Result<Capabilities, VaultError> {
        if paths.is_empty() {
            return Ok(Capabilities::default());
        }
        let body = serde_json::json!({ "paths": paths });
        // A POST that changes nothing.
        let call = Call::read(Raw::new(RequestMethod::POST, "sys/capabilities-self").json(&body));
        let attempted = call.attempted.clone();
        self.run(call).await?.data(&attempted).map(Capabilities)
    }
}

/// A body of secrets in a buffer that is wiped.
pub(crate) fn wiped(body: &Fields) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(body.to_json_text().expose().as_bytes().to_vec())
}

/// A login is refused with 400 (bad ids) or 403 (locked out, or bound to other addresses); both are a matter of credentials.
fn refused_login(mut error: VaultError) -> VaultError {
    match error.kind {
        Kind::Invalid => {
            error.kind = Kind::Denied;
            error.with_hint(BAD_LOGIN)
        }
        Kind::Denied => error.with_hint(LOCKOUT),
        _ => error,
    }
}

fn refused_wrapping(mut error: VaultError) -> VaultError {
    match error.kind {
        Kind::Invalid | Kind::Denied => {
            error.kind = Kind::Denied;
            error.with_hint(BAD_WRAPPING)
        }
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookup_is_read_whatever_is_absent() {
        let root = r#"{"accessor":"a","creation_ttl":0,"expire_time":null,"explicit_max_ttl":0,"orphan":true,"policies":["root"],"ttl":0,"type":"service"}"#;
        let info = TokenInfo::from(serde_json::from_str::<LookupData>(root).unwrap());
        assert!(info.never_expires() && !info.renewable && info.period.is_none() && info.explicit_max_ttl.is_none());
        let periodic = r#"{"ttl":59,"creation_ttl":60,"expire_time":"2026-11-24T04:22:13.4+01:00","renewable":true,"period":60,"policies":["default","b"],"identity_policies":["a","b"]}"#;
        let info = TokenInfo::from(serde_json::from_str::<LookupData>(periodic).unwrap());
        assert_eq!((info.ttl, info.period), (Duration::from_secs(59), Some(Duration::from_mins(1))));
        assert_eq!(info.policies, ["a", "b", "default"]);
        assert!(!info.never_expires());
    }

    #[test]
    fn deny_wins_and_root_grants_all() {
        let map = [("a", vec!["read", "deny"]), ("b", vec!["root"]), ("c", vec!["read"])];
        let map = map.map(|(p, c)| (p.to_owned(), c.into_iter().map(str::to_owned).collect()));
        let capabilities = Capabilities(map.into());
        assert!(!capabilities.allows("a", "read"));
        assert!(capabilities.allows("b", "patch"));
        assert!(capabilities.allows("c", "read") && !capabilities.allows("c", "update"));
        assert!(!capabilities.allows("never asked", "read"));
    }
}
