//! A key of Vault's transit engine, as the engine needs it.

use crate::failure::Failure;
use async_trait::async_trait;
use std::time::Duration;

/// What a key is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransitKeyState {
    /// Its newest version.
    pub latest: u64,
    /// The oldest version that still opens what it sealed.
    pub oldest: u64,
    /// Vault makes a new version by itself so long after the last; `None`: never.
    pub auto: Option<Duration>,
}

/// One key of Vault's transit engine.
#[async_trait]
pub trait Transit: Send + Sync {
    /// What it is now.
    async fn state(&self) -> Result<TransitKeyState, Failure>;
    /// Asks Vault for a new version. After a lost answer, look; never repeat blindly.
    async fn rotate(&self) -> Result<(), Failure>;
    /// Seals a probe with this version and opens it again.
    async fn probe(&self, version: u64) -> Result<(), Failure>;
    /// From now on nothing that an older version sealed is opened.
    async fn close_before(&self, version: u64) -> Result<(), Failure>;
}
