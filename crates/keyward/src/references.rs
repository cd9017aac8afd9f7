//! Resolves references to secrets: files and variables here, Vault paths through the client.

use crate::config::{Environment, SecretRef, resolve_local};
use crate::ports::VaultPort;
use keyward_engine::ports::Vault;
use keyward_engine::{Class, Failure};
use keyward_secret::Secret;
use std::sync::Arc;

/// Resolves at each use, so that a rotated reference is never stale.
pub struct Resolver {
    environment: Environment,
    vault: Arc<VaultPort>,
}

impl Resolver {
    /// Over the process's environment and this Vault.
    pub fn new(environment: Environment, vault: Arc<VaultPort>) -> Self {
        Self { environment, vault }
    }

    /// The value.
    ///
    /// # Errors
    /// Where it was looked for and why it is not there; never what.
    pub async fn resolve(&self, reference: &SecretRef) -> Result<Secret, Failure> {
        let SecretRef::Vault { path, field } = reference else {
            return resolve_local(reference, &self.environment).map_err(|e| Failure::lasting(Class::NotFound, e.to_string()));
        };
        let document = self.vault.read(path).await.map_err(|f| f.during(&format!("reading {path}")))?;
        let text = document.fields.as_ref().and_then(|fields| fields.text(field));
        text.ok_or_else(|| Failure::lasting(Class::NotFound, format!("{path} in Vault has no text in the field {field}")))
    }
}
