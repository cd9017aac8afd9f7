//! The database engine's static roles: what they are, what they hand out, and asking for a rotation.
//!
//! Never repeats a rotation: asked twice, Vault rotates twice.

use crate::call::{Call, Raw, checked, seconds};
use crate::client::Client;
use crate::kv::maybe_time;
use crate::{Kind, VaultError};
use jiff::Timestamp;
use keyward_secret::Secret;
use serde::Deserialize;
use std::time::Duration;
use vaultrs::api::database::requests::{ReadRoleRequest, ReadStaticRoleRequest, RotateStaticRoleRequest};

/// A static role: one database user whose password Vault rotates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticRole {
    /// The database user.
    pub username: String,
    /// The connection (`database/config/<name>`).
    pub db_name: String,
    /// When Vault last rotated it, to the nanosecond; `None` before the first time.
    pub last_vault_rotation: Option<Timestamp>,
    /// When Vault rotates it by itself.
    pub schedule: StaticSchedule,
}

/// When Vault rotates a static role by itself; there is no "never".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticSchedule {
    /// So long after the last rotation.
    Period(Duration),
    /// By a cron expression (Vault 1.15 and later, not OpenBao).
    Cron {
        /// Five fields.
        expression: String,
        /// How long after a slot a late rotation may still start.
        window: Option<Duration>,
    },
    /// Neither was shown.
    Unknown,
}

/// What stands under a role's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseRole {
    /// A static role.
    Static(StaticRole),
    /// A dynamic role: it makes a new user for every lease, so there is nothing to rotate.
    Dynamic,
    /// No static role. Whether there is a dynamic one our token may not see.
    NotStatic,
    /// Neither.
    Missing,
}

/// What a static role hands out now.
#[derive(Debug)]
pub struct StaticCredential {
    /// The database user.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// When Vault set this password.
    pub last_vault_rotation: Option<Timestamp>,
    /// Until Vault rotates it by itself; zero: any moment.
    pub ttl: Duration,
}

#[derive(Deserialize)]
struct RoleData {
    username: String,
    #[serde(default)]
    db_name: String,
    #[serde(default, deserialize_with = "maybe_time")]
    last_vault_rotation: Option<Timestamp>,
    rotation_period: Option<i64>,
    rotation_schedule: Option<String>,
    rotation_window: Option<i64>,
}

impl From<RoleData> for StaticRole {
    fn from(data: RoleData) -> Self {
        let positive = |count: Option<i64>| count.map(seconds).filter(|d| !d.is_zero());
        let schedule = match (data.rotation_schedule.filter(|s| !s.is_empty()), positive(data.rotation_period)) {
            (Some(expression), _) => StaticSchedule::Cron { expression, window: positive(data.rotation_window) },
            (None, Some(period)) => StaticSchedule::Period(period),
            (None, None) => StaticSchedule::Unknown,
        };
        Self { username: data.username, db_name: data.db_name, last_vault_rotation: data.last_vault_rotation, schedule }
    }
}

#[derive(Deserialize)]
struct CredentialData {
    username: String,
    password: String,
    #[serde(default, deserialize_with = "maybe_time")]
    last_vault_rotation: Option<Timestamp>,
    #[serde(default)]
    ttl: i64,
}

impl Client {
    /// What stands under a role's name, without any password.
    pub async fn static_role(&self, mount: &str, role: &str) -> Result<DatabaseRole, VaultError> {
        let (mount, role) = checked("GET database static role", mount, role)?;
        let call = Call::read(ReadStaticRoleRequest { mount: mount.into(), name: role.into() });
        let answer = self.ask(&call).await?;
        if answer.is_success() {
            return Ok(DatabaseRole::Static(answer.data::<RoleData>(&call.attempted)?.into()));
        }
        let error = answer.failure(&call.attempted, &[]);
        if error.kind != Kind::NotFound || !error.errors.is_empty() {
            // With a message: no such mount.
            return Err(error);
        }
        let dynamic = Call::read(ReadRoleRequest { mount: mount.into(), name: role.into() });
        match self.run(dynamic).await {
            Ok(_) => Ok(DatabaseRole::Dynamic),
            Err(error) if error.kind == Kind::NotFound => Ok(DatabaseRole::Missing),
            Err(error) if error.kind == Kind::Denied => Ok(DatabaseRole::NotStatic),
            Err(error) => Err(error),
        }
    }

    /// What a static role hands out now: the same answer that its consumers get.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a name that is no static role; [`Kind::Internal`] for one whose credential is no password.
    pub async fn static_creds(&self, mount: &str, role: &str) -> Result<StaticCredential, VaultError> {
        let (mount, role) = checked("GET database static creds", mount, role)?;
        let call = Call::read(Raw::get(format!("{mount}/static-creds/{role}")));
        let attempted = call.attempted.clone();
        let answer = self.run(call).await.map_err(|e| not_found_if(e, "unknown role"))?;
        let data: CredentialData = answer.data(&attempted)?;
        Ok(StaticCredential {
            username: data.username,
            password: Secret::new(data.password),
            last_vault_rotation: data.last_vault_rotation,
            ttl: seconds(data.ttl),
        })
    }

    /// Asks Vault to rotate a static role now. Sent once. After a failure with [`VaultError::outcome_unknown`] (a timeout, a 500) look at
    /// `last_vault_rotation`: Vault also goes on trying by itself.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a name that is no static role, [`Kind::Timeout`] after [`crate::Timeouts::database`].
    pub async fn rotate_role(&self, mount: &str, role: &str) -> Result<(), VaultError> {
        let (mount, role) = checked("POST database rotate-role", mount, role)?;
        let endpoint = RotateStaticRoleRequest { mount: mount.into(), name: role.into() };
        self.run(Call::write(endpoint).database()).await.map(drop).map_err(|e| not_found_if(e, "no static role found"))
    }
}

/// The engine says "unknown role" with 400.
fn not_found_if(mut error: VaultError, text: &str) -> VaultError {
    if error.kind == Kind::Invalid && error.says(text) {
        error.kind = Kind::NotFound;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: &StaticSchedule) {
        let role = StaticRole::from(serde_json::from_str::<RoleData>(json).unwrap());
        assert_eq!(&role.schedule, expected, "{json}");
    }

    #[test]
    fn both_kinds_of_schedules_are_read() {
        check(r#"{"username":"u","rotation_period":3600}"#, &StaticSchedule::Period(Duration::from_hours(1)));
        check(
            r#"{"username":"u","rotation_schedule":"0 0 * * 6","rotation_window":3600}"#,
            &StaticSchedule::Cron { expression: "0 0 * * 6".into(), window: Some(Duration::from_hours(1)) },
        );
        check(r#"{"username":"u"}"#, &StaticSchedule::Unknown);
    }

    #[test]
    fn the_moment_of_a_rotation_keeps_its_nanoseconds() {
        let json = r#"{"username":"u","last_vault_rotation":"2026-11-23T21:20:24.744496901+01:00"}"#;
        let role = StaticRole::from(serde_json::from_str::<RoleData>(json).unwrap());
        assert_eq!(role.last_vault_rotation.map(|t| t.to_string()).as_deref(), Some("2026-11-23T20:20:24.744496901Z"));
        let never = r#"{"username":"u","last_vault_rotation":"0001-01-01T00:00:00Z"}"#;
        assert_eq!(StaticRole::from(serde_json::from_str::<RoleData>(never).unwrap()).last_vault_rotation, None);
    }
}
