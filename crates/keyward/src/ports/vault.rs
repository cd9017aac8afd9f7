//! Vault behind the engine's port.

use async_trait::async_trait;
use keyward_engine::ports::{Document, StaticCredential, StaticRole, Vault, WriteFailure};
use keyward_engine::{Class, Failure};
use keyward_secret::{Fields, Values};
use keyward_vault::{Client, DatabaseRole, Kind, StaticSchedule, VaultError};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// Vault, with the mount of Keyward's own records.
pub struct VaultPort {
    client: Client,
    records: String,
    mounts: Mutex<HashMap<String, (String, String)>>,
}

impl VaultPort {
    /// Over this client; `records` is the KV mount of the records, without slashes at its ends.
    pub fn new(client: Client, records: &str) -> Self {
        Self { client, records: records.to_owned(), mounts: Mutex::default() }
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A configured path as mount and path below it; asked once per path.
    ///
    /// # Errors
    /// What Vault answered, or that the mount is not KV version 2.
    pub async fn split(&self, path: &str) -> Result<(String, String), Failure> {
        if let Some(known) = self.mounts.lock().unwrap_or_else(PoisonError::into_inner).get(path) {
            return Ok(known.clone());
        }
        let mount = self.client.mount_of(path).await.map_err(|e| read_failure(&e))?;
        if mount.kind != "kv" || mount.version != Some(2) {
            let version = mount.version.map_or_else(String::new, |v| format!(" version {v}"));
            let text = format!("the mount {} is {}{version}, Keyward needs KV version 2", mount.path, mount.kind);
            return Err(Failure::lasting(Class::Invalid, text));
        }
        let name = mount.path.trim_matches('/').to_owned();
        let rest = path.trim_matches('/').strip_prefix(name.as_str()).unwrap_or(path).trim_matches('/').to_owned();
        let split = (name, rest);
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), split.clone());
        Ok(split)
    }

    async fn document(&self, mount: &str, path: &str) -> Result<Document, Failure> {
        let read = self.client.kv_read(mount, path).await.map_err(|e| read_failure(&e))?;
        Ok(Document { version: read.version, fields: read.fields })
    }
}

/// A failed call to Vault in the engine's words.
pub fn failure_of(error: &VaultError) -> Failure {
    let class = match error.kind {
        Kind::Unreachable | Kind::RateLimited | Kind::Internal => Class::Unreachable,
        Kind::Timeout => Class::Timeout,
        Kind::Sealed | Kind::Standby | Kind::Uninitialised => Class::Sealed,
        Kind::Denied => Class::Denied,
        Kind::NotFound => Class::NotFound,
        Kind::Conflict => Class::Foreign,
        Kind::Invalid => Class::Invalid,
        Kind::Tls => Class::Tls,
    };
    // A dead token, after a long seal most likely, is replaced within seconds: the next try goes with the new one.
    Failure { class, again: error.retry() || error.says_dead_token(), unknown: error.outcome_unknown(), text: error.to_string() }
}

/// A failed read leaves nothing unknown: it can simply be read again.
fn read_failure(error: &VaultError) -> Failure {
    Failure { unknown: false, ..failure_of(error) }
}

fn write_failure(error: &VaultError) -> WriteFailure {
    match error.kind {
        Kind::Conflict => WriteFailure::Conflict,
        Kind::NotFound => WriteFailure::Gone,
        _ => WriteFailure::Failed(failure_of(error)),
    }
}

/// `database/static-roles/NAME` as mount and name.
fn static_role(role: &str) -> Result<(&str, &str), Failure> {
    let not_a_role = || Failure::lasting(Class::Invalid, format!("{role} is no static role; write MOUNT/static-roles/NAME"));
    role.split_once("/static-roles/").ok_or_else(not_a_role)
}

#[async_trait]
impl Vault for VaultPort {
    async fn record(&self, secret: &str) -> Result<Document, Failure> {
        self.document(&self.records, secret).await
    }

    async fn write_record(&self, secret: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure> {
        self.client.kv_write(&self.records, secret, cas, fields).await.map_err(|e| write_failure(&e))
    }

    async fn destroy_record(&self, secret: &str, first: u64, last: u64) -> Result<(), Failure> {
        let versions: Vec<u64> = (first..=last).collect();
        self.client.kv_destroy(&self.records, secret, &versions).await.map_err(|e| failure_of(&e))
    }

    async fn read(&self, path: &str) -> Result<Document, Failure> {
        let (mount, path) = self.split(path).await?;
        self.document(&mount, &path).await
    }

    async fn create_empty(&self, path: &str) -> Result<u64, WriteFailure> {
        let (mount, path) = self.split(path).await.map_err(WriteFailure::Failed)?;
        self.client.kv_write(&mount, &path, 0, &Fields::new()).await.map_err(|e| write_failure(&e))
    }

    async fn patch(&self, path: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure> {
        let (mount, path) = self.split(path).await.map_err(WriteFailure::Failed)?;
        self.client.kv_patch(&mount, &path, cas, fields).await.map_err(|e| write_failure(&e))
    }

    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), Failure> {
        let (mount, path) = self.split(path).await?;
        self.client.kv_patch_custom_metadata(&mount, &path, notes).await.map_err(|e| failure_of(&e))
    }

    async fn static_role(&self, role: &str) -> Result<StaticRole, Failure> {
        let (mount, name) = static_role(role)?;
        match self.client.static_role(mount, name).await.map_err(|e| read_failure(&e))? {
            DatabaseRole::Static(role) => {
                let period = if let StaticSchedule::Period(period) = role.schedule { Some(period) } else { None };
                Ok(StaticRole { username: role.username, last_rotation: role.last_vault_rotation.map(|t| t.to_string()), period })
            }
            DatabaseRole::Dynamic => {
                let text =
                    format!("{name} is a dynamic role of {mount}: it makes a new user for every lease, so there is nothing to rotate");
                Err(Failure::lasting(Class::Invalid, text))
            }
            DatabaseRole::NotStatic | DatabaseRole::Missing => {
                Err(Failure::lasting(Class::NotFound, format!("there is no static role {name} in {mount}")))
            }
        }
    }

    async fn static_credential(&self, role: &str) -> Result<StaticCredential, Failure> {
        let (mount, name) = static_role(role)?;
        let read = self.client.static_creds(mount, name).await.map_err(|e| read_failure(&e))?;
        let values = Values::from([("username".into(), read.username.into()), ("password".into(), read.password)]);
        Ok(StaticCredential { values, last_rotation: read.last_vault_rotation.map(|t| t.to_string()) })
    }

    async fn rotate_static_role(&self, role: &str) -> Result<(), Failure> {
        let (mount, name) = static_role(role)?;
        self.client.rotate_role(mount, name).await.map_err(|e| failure_of(&e))
    }
}
