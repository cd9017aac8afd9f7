//! Redis, as the engine needs it.

use crate::failure::Failure;
use async_trait::async_trait;
use keyward_secret::Secret;
use std::time::Duration;

/// A client that is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisClient {
    /// The address it came from.
    pub address: String,
    /// What it calls itself; may be empty.
    pub name: String,
    /// For how long it has been connected.
    pub age: Duration,
}

/// All nodes of one secret's Redis, with their administrator. What is done to a user is done on every node, and written down there.
#[async_trait]
pub trait Redis: Send + Sync {
    /// Every node has the user, refuses a wrong password, can write its users down, and lets the administrator change them.
    async fn preflight(&self, user: &str) -> Result<(), Failure>;
    /// Names a password without revealing it; the same for the same password.
    fn mark(&self, password: &Secret) -> String;
    /// Adds a password to the user's. Adding what is there is no error; before the first is added, every node is seen to write its users down.
    async fn add(&self, user: &str, password: &Secret) -> Result<(), Failure>;
    /// Removes the password of this mark. Removing what is gone is no error.
    async fn remove(&self, user: &str, mark: &str) -> Result<(), Failure>;
    /// Logs in on every node and runs the probe.
    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure>;
    /// The user's clients on every node.
    async fn clients(&self, user: &str) -> Result<Vec<RedisClient>, Failure>;
}
