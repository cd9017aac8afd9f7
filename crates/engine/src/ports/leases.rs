//! Dynamic credentials of Vault's database engine, and the tokens under which they are leased.

use super::Session;
use crate::failure::Failure;
use async_trait::async_trait;
use keyward_secret::{Secret, Values};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a token role makes of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRole {
    /// Whether they outlive whoever made them.
    pub orphan: bool,
    /// Whether they can be renewed.
    pub renewable: bool,
    /// What every renewal sets their life to; `None`: renewals end some day.
    pub period: Option<Duration>,
    /// An age beyond which no renewal helps.
    pub end: Option<Duration>,
}

/// A token that was made for one rotation.
#[derive(Debug)]
pub struct Minted {
    /// The token.
    pub token: Secret,
    /// Its handle, which is no secret.
    pub accessor: String,
}

/// A credential under a lease.
#[derive(Debug)]
pub struct Leased {
    /// The lease's id.
    pub lease: String,
    /// `username` and `password`.
    pub values: Values,
}

/// One dynamic role, and the token role under whose tokens it is leased.
#[async_trait]
pub trait Leases: Send + Sync {
    /// The token role; `None` where there is none.
    async fn token_role(&self) -> Result<Option<TokenRole>, Failure>;
    /// For how long a lease of the dynamic role lives at most; `None` where there is no such role.
    async fn longest(&self) -> Result<Option<Duration>, Failure>;
    /// Makes a token of the token role, with a name and notes by which people know it again. Nothing is leased by that.
    async fn mint(&self, name: &str, notes: &BTreeMap<&str, &str>) -> Result<Minted, Failure>;
    /// Leases a credential under this token: it ends with it.
    async fn issue(&self, token: &Secret) -> Result<Leased, Failure>;
    /// Prolongs the token and the lease; what is left of the shorter one, `None` when either is gone.
    async fn renew(&self, accessor: &str, lease: Option<&str>) -> Result<Option<Duration>, Failure>;
    /// Ends the lease, with its user, and then the token, with whatever else it leased. What is gone already is no error.
    async fn revoke(&self, accessor: &str, lease: Option<&str>) -> Result<(), Failure>;
}

/// A database as its consumers meet it. What they may see of other users is asked with their own login.
#[async_trait]
pub trait ConsumerDatabase: Send + Sync {
    /// Logs in on every endpoint and runs the probe.
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure>;
    /// The sessions of `whom` on every endpoint; `None` where there is no such user.
    async fn sessions(&self, user: &str, password: &Secret, whom: &str) -> Result<Option<Vec<Session>>, Failure>;
}
