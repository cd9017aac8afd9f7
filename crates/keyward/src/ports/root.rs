//! The login of Vault's database engine behind the engine's port, and the administrator who may alter it.

use super::postgres::{PostgresPort, admin_failure, login_on_every_way};
use super::vault::{VaultPort, failure_of};
use async_trait::async_trait;
use keyward_engine::ports::{Canary, FenceCall, FencePhase, Root, RootDatabase};
use keyward_engine::{Class, Failure};
use keyward_secret::Secret;
use keyward_targets::postgres::{Change, Phase, PostgresUrl};
use keyward_vault::VaultError;
use std::sync::Arc;

/// One connection of Vault's database engine.
pub struct RootPort {
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// The database engine's mount.
    pub mount: String,
    /// The connection's name below it.
    pub connection: String,
    /// The canary role's name below it.
    pub canary: String,
    /// The ways on which a canary logs in.
    pub logins: Vec<(PostgresUrl, Option<String>)>,
}

fn read_failure(error: &VaultError) -> Failure {
    Failure { unknown: false, ..failure_of(error) }
}

/// What the database says to Vault comes back inside Vault's own error.
fn issue_failure(error: &VaultError) -> Failure {
    let refused = ["password authentication failed", "failed SASL auth", "28P01"];
    if error.errors.iter().any(|said| refused.iter().any(|word| said.contains(word))) {
        let text = format!("the database does not let Vault in: {error}");
        return Failure { unknown: false, ..Failure::passing(Class::WrongPassword, text) };
    }
    // A canary whose answer was lost ends by itself.
    read_failure(error)
}

#[async_trait]
impl Root for RootPort {
    async fn user(&self) -> Result<Option<String>, Failure> {
        let found = self.vault.client().database_connection(&self.mount, &self.connection).await.map_err(|e| read_failure(&e))?;
        Ok(found.map(|connection| connection.username))
    }

    async fn canary(&self) -> Result<Option<Canary>, Failure> {
        let client = self.vault.client();
        let Some(role) = client.dynamic_role(&self.mount, &self.canary).await.map_err(|e| read_failure(&e))? else { return Ok(None) };
        let mount = client.mount_of(&self.mount).await.map_err(|e| read_failure(&e))?.max_lease_ttl;
        let longest = role.max_ttl.map_or(mount, |role| role.min(mount));
        Ok(Some(Canary { is_of_this_connection: role.db_name == self.connection, longest }))
    }

    async fn try_canary(&self) -> Result<(), Failure> {
        let client = self.vault.client();
        let lease = client.issue_lease(&self.mount, &self.canary, None).await.map_err(|e| issue_failure(&e))?;
        let let_in = login_on_every_way(&self.logins, &lease.username, &lease.password).await;
        let revoked = client.revoke_lease(&lease.id).await.map_err(|e| read_failure(&e).during("revoking the canary"));
        let_in.map_err(|f| Failure {
            class: if f.class == Class::WrongPassword { Class::Other } else { f.class },
            ..f.during("the canary")
        })?;
        revoked
    }

    async fn hand_over(&self, password: &Secret) -> Result<(), Failure> {
        let given = self.vault.client().set_connection_password(&self.mount, &self.connection, password).await;
        given.map_err(|e| read_failure(&e).during("handing the password to Vault"))
    }

    async fn rotate(&self) -> Result<(), Failure> {
        self.vault.client().rotate_root(&self.mount, &self.connection).await.map_err(|e| failure_of(&e))
    }
}

fn change<'a>(call: &FenceCall<'a>) -> Change<'a> {
    let phase = match call.phase {
        FencePhase::Apply => Phase::Apply,
        FencePhase::Undo => Phase::Undo,
        FencePhase::Retire => Phase::Retire,
    };
    Change { role: call.role, secret: call.secret, number: call.number, phase, rotation: call.rotation }
}

#[async_trait]
impl RootDatabase for PostgresPort {
    async fn has_passed(&self, call: FenceCall<'_>) -> Result<bool, Failure> {
        self.admin().await?.has_passed(&change(&call)).await.map_err(|e| admin_failure(&e))
    }

    async fn bar(&self, call: FenceCall<'_>) -> Result<bool, Failure> {
        self.admin().await?.bar(&change(&call)).await.map_err(|e| admin_failure(&e))
    }

    async fn row_version(&self, role: &str) -> Result<String, Failure> {
        self.admin().await?.row_version(role).await.map_err(|e| admin_failure(&e))
    }
}
