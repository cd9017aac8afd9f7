//! What the rotation of Vault's own login needs beyond the fence: barring a change for ever, and seeing that a role was altered.

use super::admin::{Admin, AdminError, Change, Phase};
use super::failure::{FailureClass, LoginFailure};
use tokio_postgres::types::{ToSql, Type};

impl Admin {
    /// Makes this change impossible from now on, unless it has passed already: raises the fence without touching the role. A change that
    /// is under way just now is waited for.
    ///
    /// `false`: it has passed, and the role has its password. Safe to repeat.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn bar(&self, change: &Change<'_>) -> Result<bool, AdminError> {
        let number = i64::try_from(change.number).map_err(|_| AdminError::Number(change.number))?;
        let (endpoint, connected) = self.primary().await?;
        let sql = "INSERT INTO keyward.role_fence AS f (role, secret, number, phase, rotation) VALUES ($1, $2, $3, $4, $5) \
                   ON CONFLICT ON CONSTRAINT role_fence_pkey DO UPDATE \
                   SET number = excluded.number, phase = excluded.phase, rotation = excluded.rotation, changed_at = now() \
                   WHERE f.secret = excluded.secret AND f.number < excluded.number";
        let undo = Phase::Undo as i16;
        let arguments: [(&(dyn ToSql + Sync), Type); 5] = [
            (&change.role, Type::TEXT),
            (&change.secret, Type::TEXT),
            (&number, Type::INT8),
            (&undo, Type::INT2),
            (&change.rotation, Type::TEXT),
        ];
        let barred = self.within(endpoint, connected.client.query_typed(sql, &arguments)).await;
        connected.close().await;
        barred?;
        Ok(!self.has_passed(change).await?)
    }

    /// Whether the fence stands exactly where this change put it: then the role has its password.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn has_passed(&self, change: &Change<'_>) -> Result<bool, AdminError> {
        let row = self.fence(change.role).await?;
        Ok(row.is_some_and(|row| {
            (row.number, row.phase) == (change.number, change.phase) && row.secret == change.secret && row.rotation == change.rotation
        }))
    }

    /// What changes whenever the role is altered: `xmin` of its row in `pg_authid`. Needs `GRANT SELECT ON pg_authid`
    /// in this very database, or a superuser.
    ///
    /// # Errors
    /// [`AdminError`]; [`FailureClass::InsufficientPrivilege`] without that right.
    pub async fn row_version(&self, role: &str) -> Result<String, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let sql = "SELECT xmin::text FROM pg_catalog.pg_authid WHERE rolname = $1";
        let row = self.within(endpoint, connected.client.query_typed_opt(sql, &[(&role, Type::TEXT)])).await;
        connected.close().await;
        let absent = || LoginFailure::new(endpoint, FailureClass::Other(String::new()), format!("there is no role {role}"));
        row?.ok_or_else(absent)?.try_get(0).map_err(|_| AdminError::Answer { endpoint: endpoint.to_string() })
    }
}
