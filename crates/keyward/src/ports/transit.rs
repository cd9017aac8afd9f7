//! A transit key behind the engine's port.

use super::{VaultPort, failure_of};
use async_trait::async_trait;
use keyward_engine::Failure;
use keyward_engine::ports::{Transit, TransitKeyState};
use std::sync::Arc;

/// One key of Vault's transit engine.
pub struct TransitPort {
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// The engine's mount.
    pub mount: String,
    /// The key's name.
    pub key: String,
}

#[async_trait]
impl Transit for TransitPort {
    async fn state(&self) -> Result<TransitKeyState, Failure> {
        let key = self.vault.client().transit_key(&self.mount, &self.key).await.map_err(|e| looked(failure_of(&e)))?;
        Ok(TransitKeyState { latest: key.latest_version, oldest: key.min_decryption_version, auto: key.auto_rotate })
    }

    async fn rotate(&self) -> Result<(), Failure> {
        self.vault.client().rotate_transit_key(&self.mount, &self.key).await.map_err(|e| failure_of(&e))
    }

    async fn probe(&self, version: u64) -> Result<(), Failure> {
        let client = self.vault.client();
        let key = client.transit_key(&self.mount, &self.key).await.map_err(|e| looked(failure_of(&e)))?;
        client.transit_probe(&self.mount, &self.key, key.usage, version).await.map_err(|e| looked(failure_of(&e)))
    }

    async fn close_before(&self, version: u64) -> Result<(), Failure> {
        self.vault.client().transit_min_decryption(&self.mount, &self.key, version).await.map_err(|e| failure_of(&e))
    }
}

/// A look changes nothing, so nothing of it is unknown.
fn looked(failure: Failure) -> Failure {
    Failure { unknown: false, ..failure }
}
