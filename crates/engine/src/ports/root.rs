//! The login that Vault's database engine itself has in a database.

use super::{FenceCall, Postgres};
use crate::failure::Failure;
use async_trait::async_trait;
use keyward_secret::Secret;
use std::time::Duration;

/// The dynamic role by which it is proved that Vault can still make users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canary {
    /// Whether it belongs to the very connection.
    pub is_of_this_connection: bool,
    /// For how long its leases live at most: what a lost revocation leaves behind.
    pub longest: Duration,
}

/// One connection of Vault's database engine (`database/config/NAME`).
#[async_trait]
pub trait Root: Send + Sync {
    /// The database user that Vault logs in as; `None` where there is no such connection.
    async fn user(&self) -> Result<Option<String>, Failure>;
    /// The canary role; `None` where there is none.
    async fn canary(&self) -> Result<Option<Canary>, Failure>;
    /// Leases a canary, logs in with it, and revokes it whatever came of the login. `WrongPassword`: the database does not let Vault in.
    async fn try_canary(&self) -> Result<(), Failure>;
    /// Gives Vault this password, which it tries before it keeps it. Giving it twice does no harm.
    async fn hand_over(&self, password: &Secret) -> Result<(), Failure>;
    /// Has Vault make a new password by itself. After a lost answer, look; never repeat blindly.
    async fn rotate(&self) -> Result<(), Failure>;
}

/// A database whose administrator may alter the user that Vault logs in as.
#[async_trait]
pub trait RootDatabase: Postgres {
    /// Whether the fence stands exactly where this change put it.
    async fn has_passed(&self, call: FenceCall<'_>) -> Result<bool, Failure>;
    /// Makes this change impossible for ever. `false`: it has passed already.
    async fn bar(&self, call: FenceCall<'_>) -> Result<bool, Failure>;
    /// What changes whenever the role is altered, by whomever.
    async fn row_version(&self, role: &str) -> Result<String, Failure>;
}
