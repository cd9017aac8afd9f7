//! Taking versions of a KV document away, for services that own their secrets (`keyward-client`). Keyward itself never calls these.

use crate::VaultError;
use crate::call::{Call, Raw, checked};
use crate::client::Client;
use rustify::enums::RequestMethod;

impl Client {
    /// Deletes the newest version; it can be brought back by [`Self::kv_undelete`].
    pub async fn kv_delete_newest(&self, mount: &str, path: &str) -> Result<(), VaultError> {
        let (mount, path) = checked("DELETE KV data", mount, path)?;
        self.run(Call::write(Raw::new(RequestMethod::DELETE, format!("{mount}/data/{path}")))).await.map(drop)
    }

    /// Deletes versions; they can be brought back.
    pub async fn kv_delete(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), VaultError> {
        self.kv_versions("delete", mount, path, versions).await
    }

    /// Brings deleted versions back; destroyed ones stay gone.
    pub async fn kv_undelete(&self, mount: &str, path: &str, versions: &[u64]) -> Result<(), VaultError> {
        self.kv_versions("undelete", mount, path, versions).await
    }

    async fn kv_versions(&self, what: &str, mount: &str, path: &str, versions: &[u64]) -> Result<(), VaultError> {
        let (mount, path) = checked("POST KV versions", mount, path)?;
        if versions.is_empty() {
            return Ok(());
        }
        let body = serde_json::json!({ "versions": versions });
        self.run(Call::write(Raw::new(RequestMethod::POST, format!("{mount}/{what}/{path}")).json(&body))).await.map(drop)
    }

    /// Deletes every version, the history and the custom metadata for good. Version numbers begin at 1 again, so check-and-set on an old
    /// number may match once more: never for a path that anybody still writes.
    pub async fn kv_remove_everything(&self, mount: &str, path: &str) -> Result<(), VaultError> {
        let (mount, path) = checked("DELETE KV metadata", mount, path)?;
        self.run(Call::write(Raw::new(RequestMethod::DELETE, format!("{mount}/metadata/{path}")))).await.map(drop)
    }
}
