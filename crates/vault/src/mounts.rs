//! What is mounted where: which engine serves a path, and the mount points as labels.

use crate::call::{Call, Raw, seconds};
use crate::client::Client;
use crate::{Kind, VaultError, path};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use vaultrs::api::sys::requests::{ListAuthsRequest, ListMountsRequest};

/// The mount that serves a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// With its closing slash: `secret/`.
    pub path: String,
    /// The engine: `kv`, `database`, `transit`, …
    pub kind: String,
    /// For `kv`: 1 or 2.
    pub version: Option<u8>,
    /// The mount's options as Vault gives them.
    pub options: BTreeMap<String, String>,
    /// For how long a lease of it lives at most, unless its role says less.
    pub max_lease_ttl: Duration,
}

/// The mounts known to our token.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Mount point with its closing slash (`secret/`, `auth/approle/`) → type, as both stand in the audit log.
    pub types: BTreeMap<String, String>,
    /// `false`: only those that our token may use, because it may not list them all.
    pub complete: bool,
}

#[derive(Deserialize)]
struct MountData {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    options: Option<BTreeMap<String, String>>,
    #[serde(default)]
    config: MountConfig,
}

#[derive(Deserialize, Default)]
struct MountConfig {
    #[serde(default)]
    max_lease_ttl: i64,
}

#[derive(Deserialize)]
struct TypeOnly {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize, Default)]
struct VisibleData {
    #[serde(default)]
    auth: BTreeMap<String, TypeOnly>,
    #[serde(default)]
    secret: BTreeMap<String, TypeOnly>,
}

impl Client {
    /// The mount that serves `path` (a mount, or a path below one), as Vault's own command line asks for it: any token
    /// that may do anything at all below the mount may ask.
    ///
    /// # Errors
    /// [`Kind::Denied`] when our token may do nothing there, or nothing is mounted there; Vault does not say which.
    pub async fn mount_of(&self, path: &str) -> Result<Mount, VaultError> {
        let path = path::mount("GET sys/internal/ui/mounts", path)?;
        let call = Call::read(Raw::get(format!("sys/internal/ui/mounts/{path}")));
        let attempted = call.attempted.clone();
        let answer = self.run(call).await.map_err(|e| match e.kind {
            Kind::Denied => e.with_hint("nothing is mounted there, or the token may do nothing below that mount"),
            _ => e,
        })?;
        let data: MountData = answer.data(&attempted)?;
        let options = data.options.unwrap_or_default();
        let version = (data.kind == "kv").then(|| options.get("version").and_then(|v| v.parse().ok()).unwrap_or(1));
        Ok(Mount { path: data.path, kind: data.kind, version, options, max_lease_ttl: seconds(data.config.max_lease_ttl) })
    }

    /// All mounts if our token may list them, else those that it may use.
    pub async fn mounts(&self) -> Result<Mounts, VaultError> {
        match self.all_mounts().await {
            Err(error) if error.kind == Kind::Denied => {}
            other => return other,
        }
        let call = Call::read(Raw::get("sys/internal/ui/mounts"));
        let attempted = call.attempted.clone();
        let data: VisibleData = self.run(call).await?.data(&attempted)?;
        Ok(Mounts { types: labelled(data.secret, data.auth), complete: false })
    }

    async fn all_mounts(&self) -> Result<Mounts, VaultError> {
        let call = Call::read(ListMountsRequest::default());
        let attempted = call.attempted.clone();
        let secret: BTreeMap<String, TypeOnly> = self.run(call).await?.data(&attempted)?;
        let call = Call::read(ListAuthsRequest::default());
        let attempted = call.attempted.clone();
        let auth: BTreeMap<String, TypeOnly> = self.run(call).await?.data(&attempted)?;
        Ok(Mounts { types: labelled(secret, auth), complete: true })
    }
}

fn labelled(secret: BTreeMap<String, TypeOnly>, auth: BTreeMap<String, TypeOnly>) -> BTreeMap<String, String> {
    let auth = auth.into_iter().map(|(path, m)| (format!("auth/{path}"), m.kind));
    secret.into_iter().map(|(path, m)| (path, m.kind)).chain(auth).collect()
}
