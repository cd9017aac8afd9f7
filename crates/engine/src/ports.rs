//! The ports: everything the engine asks of the world, as traits. The binary plugs the real clients in.

mod leases;
mod redis;
mod root;
mod transit;

pub use leases::{ConsumerDatabase, Leased, Leases, Minted, TokenRole};
pub use redis::{Redis, RedisClient};
pub use root::{Canary, Root, RootDatabase};
pub use transit::{Transit, TransitKeyState};

use crate::failure::Failure;
use async_trait::async_trait;
use jiff::Timestamp;
use keyward_rotation::Number;
use keyward_secret::{Fields, Secret, Values};
use std::collections::BTreeMap;
use std::time::Duration;

/// A document of KV version 2 as it is now.
#[derive(Debug, Default)]
pub struct Document {
    /// The newest version; 0 when the path never existed.
    pub version: u64,
    /// Its fields; `None` when the path never existed, or its newest version was deleted.
    pub fields: Option<Fields>,
}

/// How a write with check-and-set went, when it did not win.
#[derive(Debug)]
pub enum WriteFailure {
    /// The version is not the one we named.
    Conflict,
    /// The newest version is deleted: a PATCH does not let it rise again.
    Gone,
    /// The answer was lost, or anything else: see [`Failure::unknown`].
    Failed(Failure),
}

/// A static role of Vault's database engine.
#[derive(Clone, Debug)]
pub struct StaticRole {
    /// The database user that it manages.
    pub username: String,
    /// When Vault last rotated it; `None` before the first time.
    pub last_rotation: Option<String>,
    /// Vault's own period, where it has one.
    pub period: Option<Duration>,
}

/// What `static-creds` returns.
#[derive(Debug)]
pub struct StaticCredential {
    /// `username` and `password`.
    pub values: Values,
    /// When Vault last rotated it, as in [`StaticRole::last_rotation`].
    pub last_rotation: Option<String>,
}

/// Vault, as the engine needs it. Reads ask the active node. Every call has a time limit of its own.
#[async_trait]
pub trait Vault: Send + Sync {
    /// A secret's record, in Keyward's own mount.
    async fn record(&self, secret: &str) -> Result<Document, Failure>;
    /// Writes it whole, with check-and-set; the new version.
    async fn write_record(&self, secret: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure>;
    /// Destroys these versions of it. Destroying what is destroyed already is no error.
    async fn destroy_record(&self, secret: &str, first: u64, last: u64) -> Result<(), Failure>;
    /// The published document at `path` (mount and path in one, as in the configuration).
    async fn read(&self, path: &str) -> Result<Document, Failure>;
    /// Creates the document without fields, if the path never existed.
    async fn create_empty(&self, path: &str) -> Result<u64, WriteFailure>;
    /// Patches named fields (none: only the version moves), with check-and-set; the new version.
    async fn patch(&self, path: &str, cas: u64, fields: &Fields) -> Result<u64, WriteFailure>;
    /// Merges notes for people into the document's custom metadata. Nothing may depend on them.
    async fn annotate(&self, path: &str, notes: &BTreeMap<String, String>) -> Result<(), Failure>;
    /// A static role (`database/static-roles/NAME`), without its password.
    async fn static_role(&self, role: &str) -> Result<StaticRole, Failure>;
    /// Its credential.
    async fn static_credential(&self, role: &str) -> Result<StaticCredential, Failure>;
    /// Asks Vault to rotate it. After a lost answer, look; never repeat blindly.
    async fn rotate_static_role(&self, role: &str) -> Result<(), Failure>;
}

/// What the fence in PostgreSQL is asked to do.
#[derive(Clone, Copy, Debug)]
pub struct FenceCall<'a> {
    /// The role to change.
    pub role: &'a str,
    /// The secret that it belongs to.
    pub secret: &'a str,
    /// The rotation's number.
    pub number: Number,
    /// Apply, undo or retire.
    pub phase: FencePhase,
    /// The rotation's id.
    pub rotation: &'a str,
}

/// The order within one number: an undo beats the apply, a retire beats both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FencePhase {
    /// The candidate.
    Apply = 0,
    /// The old value again, or nothing usable.
    Undo = 1,
    /// Nothing usable, after the grace.
    Retire = 2,
}

/// What the fence answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FenceAnswer {
    /// The role was changed.
    Applied,
    /// The fence holds something higher; nothing was changed.
    Fenced {
        /// The number it holds.
        number: Number,
    },
    /// The role belongs to another secret; nothing was changed.
    Foreign {
        /// Which.
        secret: String,
    },
}

/// A session of a user, as the database shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Where it was seen (`host:port`).
    pub endpoint: String,
    /// The address it came from, where known.
    pub address: Option<String>,
    /// What the client calls itself.
    pub application: String,
}

/// One secret's PostgreSQL, with its administrator and its consumers' endpoints.
#[async_trait]
pub trait Postgres: Send + Sync {
    /// The fence is installed, the roles exist and are of a kind that may be changed, the administrator may change them.
    async fn preflight(&self, roles: &[&str]) -> Result<(), Failure>;
    /// The number that the fence holds for a role.
    async fn fence(&self, role: &str) -> Result<Option<Number>, Failure>;
    /// Fence and change in one call.
    async fn apply(&self, call: FenceCall<'_>, password: &Secret) -> Result<FenceAnswer, Failure>;
    /// Logs in on every endpoint and runs the probe.
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure>;
    /// Sees that every endpoint refuses this login because of its password.
    async fn refuses(&self, user: &str, password: &Secret) -> Result<(), Failure>;
    /// Hands the fence of a role over to the secret's new name; nothing happens where it does not hold the old one.
    async fn reassign(&self, role: &str, from: &str, to: &str) -> Result<(), Failure>;
    /// The user's sessions on every endpoint.
    async fn sessions(&self, user: &str) -> Result<Vec<Session>, Failure>;
}

/// A system that can say whether it accepts a value (an HTTP call, a login).
#[async_trait]
pub trait Acceptance: Send + Sync {
    /// Tries the values.
    async fn accepts(&self, values: &Values) -> Result<(), Failure>;
}

/// A credential that somebody else made.
#[derive(Debug)]
pub struct Issued {
    /// Its name at the issuer, by which it is ended; never a value.
    pub id: String,
    /// Its values; `value` where there is one alone.
    pub values: Values,
}

/// Who makes a credential that Keyward cannot make itself: a provider's API, a program, an auth method of Vault.
#[async_trait]
pub trait Issuer: Send + Sync {
    /// Sees that it can be asked at all. Changes nothing.
    async fn ready(&self) -> Result<(), Failure>;
    /// Makes one under this label. After a lost answer look with [`Self::labelled`]; never repeat blindly.
    async fn create(&self, label: &str) -> Result<Issued, Failure>;
    /// Whether these values are accepted now. It must not use them up.
    async fn accepts(&self, values: &Values) -> Result<(), Failure>;
    /// Whether they are known to be good, where asking by use has a price (a login, a use counted). Default: by use.
    async fn knows(&self, values: &Values) -> Result<(), Failure> {
        self.accepts(values).await
    }
    /// The ids of those under exactly this label; `None` where nothing can be listed.
    async fn labelled(&self, label: &str) -> Result<Option<Vec<String>>, Failure>;
    /// Ends one. One that is gone already is no error.
    async fn revoke(&self, id: &str) -> Result<(), Failure>;
}

/// A file in which a consumer reads what was issued.
#[async_trait]
pub trait Delivery: Send + Sync {
    /// Sees that it can be replaced.
    async fn ready(&self) -> Result<(), Failure>;
    /// Replaces it whole; readable by its owner alone.
    async fn deliver(&self, value: &Secret) -> Result<(), Failure>;
    /// Whether it holds exactly this.
    async fn holds(&self, value: &Secret) -> Result<bool, Failure>;
}

/// Time, as an argument: the real one in the daemon, a made one in simulations.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Wall time, for schedules and people only.
    fn now(&self) -> Timestamp;
    /// Time since some start, never backwards: for leases and waits.
    fn elapsed(&self) -> Duration;
    /// Waits.
    async fn sleep(&self, time: Duration);
}
