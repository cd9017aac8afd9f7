//! Dynamic database credentials: what a role would hand out, a lease of it, and what becomes of the lease.
//!
//! A lease is never issued twice by itself: a lost answer leaves one behind that only its token's end removes.

use crate::call::{Call, Identity, Raw, checked, seconds};
use crate::client::Client;
use crate::{Kind, VaultError};
use jiff::Timestamp;
use keyward_secret::Secret;
use rustify::enums::RequestMethod;
use serde::Deserialize;
use std::time::Duration;

/// A role that makes a new database user for every lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamicRole {
    /// The connection (`database/config/<name>`).
    pub db_name: String,
    /// How long a lease lasts unless it is renewed; `None`: as the mount says.
    pub default_ttl: Option<Duration>,
    /// How long it lasts at most; `None`: as the mount says.
    pub max_ttl: Option<Duration>,
}

/// A fresh lease and the credential that it stands for.
#[derive(Debug)]
pub struct Lease {
    /// Its name in `sys/leases`.
    pub id: String,
    /// How long it lasts unless it is renewed.
    pub ttl: Duration,
    /// Whether it can be renewed at all.
    pub renewable: bool,
    /// The database user that was made for it.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// A lease that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// What is left of it.
    pub ttl: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// When it ends unless it is renewed.
    pub expire_time: Option<Timestamp>,
}

#[derive(Deserialize)]
struct RoleData {
    db_name: String,
    #[serde(default)]
    default_ttl: i64,
    #[serde(default)]
    max_ttl: i64,
}

#[derive(Deserialize)]
struct LeaseAnswer {
    #[serde(default)]
    lease_id: String,
    #[serde(default)]
    lease_duration: i64,
    #[serde(default)]
    renewable: bool,
    data: Option<LeaseData>,
}

#[derive(Deserialize)]
struct LeaseData {
    username: String,
    password: String,
}

#[derive(Deserialize)]
struct LookupData {
    #[serde(default)]
    ttl: i64,
    #[serde(default)]
    renewable: bool,
    #[serde(default, deserialize_with = "crate::kv::maybe_time")]
    expire_time: Option<Timestamp>,
}

impl Client {
    /// A dynamic role, without any credential; `None` where there is none of this name.
    pub async fn dynamic_role(&self, mount: &str, role: &str) -> Result<Option<DynamicRole>, VaultError> {
        let (mount, role) = checked("GET database role", mount, role)?;
        let call = Call::read(Raw::get(format!("{mount}/roles/{role}")));
        let attempted = call.attempted.clone();
        let answer = match self.run(call).await {
            // With a message: no such mount.
            Err(error) if error.kind == Kind::NotFound && error.errors.is_empty() => return Ok(None),
            other => other?,
        };
        let data: RoleData = answer.data(&attempted)?;
        let limit = |count| Some(seconds(count)).filter(|d| !d.is_zero());
        Ok(Some(DynamicRole { db_name: data.db_name, default_ttl: limit(data.default_ttl), max_ttl: limit(data.max_ttl) }))
    }

    /// Has a role make a new user, under a lease of `token` (our own where `None`): it ends with that token. Sent once.
    ///
    /// # Errors
    /// After one with [`VaultError::outcome_unknown`] there may be a lease that nobody knows.
    pub async fn issue_lease(&self, mount: &str, role: &str, token: Option<&Secret>) -> Result<Lease, VaultError> {
        let (mount, role) = checked("GET database creds", mount, role)?;
        let call = Call::write(Raw::get(format!("{mount}/creds/{role}"))).database();
        let call = match token {
            Some(token) => call.identity(Identity::Other(token)).hide(token),
            None => call,
        };
        let attempted = call.attempted.clone();
        let answer: LeaseAnswer = self.run(call).await?.bare(&attempted)?;
        let data = answer.data.ok_or_else(|| VaultError::new(Kind::Internal, attempted, "the answer holds no credential"))?;
        Ok(Lease {
            id: answer.lease_id,
            ttl: seconds(answer.lease_duration),
            renewable: answer.renewable,
            username: data.username,
            password: Secret::new(data.password),
        })
    }

    /// What is left of a lease; `None` when it is gone.
    pub async fn lease(&self, id: &str) -> Result<Option<LeaseInfo>, VaultError> {
        // A POST that changes nothing.
        let call = Call::read(Raw::new(RequestMethod::POST, "sys/leases/lookup").json(&serde_json::json!({ "lease_id": id })));
        let attempted = call.attempted.clone();
        match self.run(call).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => {
                let data: LookupData = other?.data(&attempted)?;
                Ok(Some(LeaseInfo { ttl: seconds(data.ttl), renewable: data.renewable, expire_time: data.expire_time }))
            }
        }
    }

    /// Prolongs a lease by what its role allows; what is left of it then. `None` when it is gone.
    pub async fn renew_lease(&self, id: &str, by: Duration) -> Result<Option<Duration>, VaultError> {
        #[derive(Deserialize)]
        struct Renewed {
            #[serde(default)]
            lease_duration: i64,
        }
        let body = serde_json::json!({ "lease_id": id, "increment": by.as_secs() });
        // Renewing twice does no more than renewing once.
        let call = Call::read(Raw::new(RequestMethod::POST, "sys/leases/renew").json(&body)).database();
        let attempted = call.attempted.clone();
        match self.run(call).await {
            Err(error) if is_gone(&error) => Ok(None),
            other => Ok(Some(seconds(other?.bare::<Renewed>(&attempted)?.lease_duration))),
        }
    }

    /// Ends a lease and with it its user, before it answers. A lease that is gone already is no error.
    pub async fn revoke_lease(&self, id: &str) -> Result<(), VaultError> {
        let body = serde_json::json!({ "lease_id": id, "sync": true });
        // Revoking twice does no more than revoking once.
        match self.run(Call::read(Raw::new(RequestMethod::POST, "sys/leases/revoke").json(&body)).database()).await {
            Err(error) if is_gone(&error) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Vault says "invalid lease" of one that it does not know (any more), and "lease not found" when it is asked to renew it.
fn is_gone(error: &VaultError) -> bool {
    matches!(error.kind, Kind::Invalid | Kind::NotFound) && (error.says("invalid lease") || error.says("lease not found"))
}
