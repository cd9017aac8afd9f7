//! Installs the fence, once.
//!
//! It never changes a fence that is there already: the same format is left alone, a newer one is refused by name.

use super::admin::{Admin, AdminError};
use super::failure::FailureClass;
use super::session::Connected;
use super::url::Endpoint;

/// The format of `sql/fence.sql`, which the database repeats in `keyward.fence_format()`.
pub const FENCE_FORMAT: i32 = 1;

/// The fence itself, for those who install it by hand.
pub const FENCE_SQL: &str = include_str!("../../sql/fence.sql");

/// One at a time, whoever installs ("keyward" as bytes).
const INSTALL_LOCK: &str = "SELECT pg_advisory_xact_lock(x'6b657977617264'::bigint)";

/// What an installation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Installed {
    /// The fence is new.
    Now,
    /// It was there, in our format; nothing was changed.
    Already,
}

impl Admin {
    /// Installs the fence on the primary, in one transaction. Running it again changes nothing.
    ///
    /// # Errors
    /// [`AdminError`]; with `InsufficientPrivilege` the admin needs `CREATE` on the database, or an empty schema `keyward` of its own.
    pub async fn install(&self) -> Result<Installed, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let installed = self.install_on(endpoint, &connected).await;
        // A transaction left open by an error ends with the connection.
        connected.close().await;
        installed
    }

    async fn install_on(&self, endpoint: &Endpoint, connected: &Connected) -> Result<Installed, AdminError> {
        self.within(endpoint, connected.client.batch_execute(&format!("BEGIN; {INSTALL_LOCK}"))).await?;
        if self.installed_format(endpoint, connected).await?.is_some() {
            return Ok(Installed::Already);
        }
        self.within(endpoint, connected.client.batch_execute(FENCE_SQL)).await.map_err(|error| match error {
            AdminError::Server(failure) if failure.class == FailureClass::InsufficientPrivilege => AdminError::MayNotCreate { failure },
            other => other,
        })?;
        self.within(endpoint, connected.client.batch_execute("COMMIT")).await?;
        Ok(Installed::Now)
    }

    /// The format found, if it is one that we can use.
    pub(super) async fn installed_format(&self, endpoint: &Endpoint, connected: &Connected) -> Result<Option<i32>, AdminError> {
        let sql = "SELECT r.rolname::text, n.nspowner = (SELECT oid FROM pg_roles WHERE rolname = current_user), \
                   EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = n.oid AND p.proname = 'fence_format' AND p.pronargs = 0) \
                   FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner WHERE n.nspname = 'keyward'";
        let Some(row) = self.within(endpoint, connected.client.query_typed_opt(sql, &[])).await? else { return Ok(None) };
        let shape = |_| AdminError::Answer { endpoint: endpoint.to_string() };
        let (owner, ours, has_format): (String, bool, bool) =
            (row.try_get(0).map_err(shape)?, row.try_get(1).map_err(shape)?, row.try_get(2).map_err(shape)?);
        if !ours {
            return Err(AdminError::ForeignSchema { endpoint: endpoint.to_string(), owner });
        }
        if !has_format {
            return Ok(None);
        }
        let row = self.within(endpoint, connected.client.query_typed_one("SELECT keyward.fence_format()", &[])).await?;
        match row.try_get::<_, i32>(0).map_err(shape)? {
            found if found > FENCE_FORMAT => Err(AdminError::NewerFormat { endpoint: endpoint.to_string(), found, known: FENCE_FORMAT }),
            found => Ok(Some(found)),
        }
    }
}
