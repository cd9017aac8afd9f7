//! Dynamic credentials of Vault's database engine behind the engine's port, and the database that they are for.

use super::postgres::{LIMIT, login_failure, login_on_every_way};
use super::vault::{VaultPort, failure_of};
use async_trait::async_trait;
use keyward_engine::Failure;
use keyward_engine::ports::{ConsumerDatabase, Leased, Leases, Minted, Session, TokenRole};
use keyward_secret::{Secret, Values};
use keyward_targets::postgres::{self as target, PostgresUrl};
use keyward_vault::{Minting, VaultError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One dynamic role.
pub struct LeasePort {
    /// Vault.
    pub vault: Arc<VaultPort>,
    /// The database engine's mount.
    pub mount: String,
    /// The dynamic role below it.
    pub role: String,
    /// The token role (`auth/token/roles/NAME`).
    pub token_role: String,
}

/// What changes nothing that a second try could not change again leaves nothing unknown.
fn repeatable(error: &VaultError) -> Failure {
    Failure { unknown: false, ..failure_of(error) }
}

#[async_trait]
impl Leases for LeasePort {
    async fn token_role(&self) -> Result<Option<TokenRole>, Failure> {
        let found = self.vault.client().token_role(&self.token_role).await.map_err(|e| repeatable(&e))?;
        Ok(found.map(|r| TokenRole { orphan: r.orphan, renewable: r.renewable, period: r.period, end: r.explicit_max_ttl }))
    }

    async fn longest(&self) -> Result<Option<Duration>, Failure> {
        let client = self.vault.client();
        let Some(role) = client.dynamic_role(&self.mount, &self.role).await.map_err(|e| repeatable(&e))? else { return Ok(None) };
        let mount = client.mount_of(&self.mount).await.map_err(|e| repeatable(&e))?.max_lease_ttl;
        Ok(Some(role.max_ttl.map_or(mount, |role| role.min(mount))))
    }

    async fn mint(&self, name: &str, notes: &BTreeMap<&str, &str>) -> Result<Minted, Failure> {
        let minting = Minting { role: &self.token_role, display_name: name, meta: notes.clone(), num_uses: 0 };
        // A token that nobody heard of has leased nothing, and ends after its period: asking again does no harm.
        let made = self.vault.client().mint_token(&minting).await.map_err(|e| repeatable(&e))?;
        Ok(Minted { token: made.token, accessor: made.accessor })
    }

    async fn issue(&self, token: &Secret) -> Result<Leased, Failure> {
        let lease = self.vault.client().issue_lease(&self.mount, &self.role, Some(token)).await.map_err(|e| failure_of(&e))?;
        let values = Values::from([("username".into(), lease.username.into()), ("password".into(), lease.password)]);
        Ok(Leased { lease: lease.id, values })
    }

    async fn renew(&self, accessor: &str, lease: Option<&str>) -> Result<Option<Duration>, Failure> {
        let client = self.vault.client();
        let Some(token) = client.renew_accessor(accessor).await.map_err(|e| repeatable(&e))? else { return Ok(None) };
        let Some(lease) = lease else { return Ok(Some(token.ttl)) };
        let Some(found) = client.lease(lease).await.map_err(|e| repeatable(&e))? else { return Ok(None) };
        if !found.renewable {
            return Ok(Some(found.ttl.min(token.ttl)));
        }
        // As long as the role allows: Vault cuts what is too long.
        let left = client.renew_lease(lease, token.ttl).await.map_err(|e| repeatable(&e))?;
        Ok(left.map(|left| left.min(token.ttl)))
    }

    async fn revoke(&self, accessor: &str, lease: Option<&str>) -> Result<(), Failure> {
        let client = self.vault.client();
        if let Some(lease) = lease {
            client.revoke_lease(lease).await.map_err(|e| repeatable(&e))?;
        }
        client.revoke_accessor(accessor).await.map_err(|e| repeatable(&e))
    }
}

/// A PostgreSQL as its consumers meet it.
pub struct ConsumerPostgres {
    /// The ways on which consumers log in, and what they must be able to do there.
    pub logins: Vec<(PostgresUrl, Option<String>)>,
}

#[async_trait]
impl ConsumerDatabase for ConsumerPostgres {
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        login_on_every_way(&self.logins, user, password).await
    }

    async fn sessions(&self, user: &str, password: &Secret, whom: &str) -> Result<Option<Vec<Session>>, Failure> {
        let mut all = None;
        for endpoint in self.logins.iter().flat_map(|(url, _)| url.endpoints()) {
            let seen = target::sessions_seen_by(endpoint, user, password, whom, LIMIT).await.map_err(|e| login_failure(&e))?;
            let session = |s: target::Session| Session { endpoint: s.endpoint, address: s.client_addr, application: s.application_name };
            if let Some(sessions) = seen {
                all.get_or_insert_with(Vec::new).extend(sessions.into_iter().map(session));
            }
        }
        Ok(all)
    }
}
