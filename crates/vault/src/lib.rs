//! The API of Vault (and OpenBao) as Keyward needs it: health per node, token life, KV v2 with check-and-set, the database
//! engine, mounts, audit devices, capabilities.
//!
//! It never decides when or whether anything is rotated, never sends a write twice, never follows a redirect (which would carry the
//! token along), and never puts a body, a token or another library's `Debug` into an error.
//!
//! Requests are those of vaultrs where it has them, with its middleware for version, token and namespace, and our own endpoints
//! where it lacks them. How they are sent, and what becomes of an answer, is ours: see the module `transport` for why.
//!
//! **Invariant:** a read may be sent up to three times, a write exactly once. What a failed write did is told by
//! [`VaultError::outcome_unknown`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here should say so loudly"))]

mod approle;
mod call;
mod canary;
mod client;
mod connection;
mod database;
mod error;
mod health;
mod kv;
mod lease;
mod listing;
mod minting;
mod mounts;
mod objects;
mod path;
mod removal;
mod seal;
mod signing;
mod snapshot;
mod sys;
mod tls;
mod token;
mod tokens;
mod transit;
mod transport;

pub use approle::{AppRole, SecretId, SecretIdInfo};
pub use client::Client;
pub use connection::Connection;
pub use database::{DatabaseRole, StaticCredential, StaticRole, StaticSchedule};
pub use error::{Kind, VaultError};
pub use health::{Health, NodeState};
pub use kv::{KvConfig, KvDocument, KvMetadata, KvVersion};
pub use lease::{DynamicRole, Lease, LeaseInfo};
pub use listing::Listing;
pub use minting::{Minting, TokenRole};
pub use mounts::{Mount, Mounts};
pub use seal::{Initialisation, Initialised, SealStatus};
pub use snapshot::{Mark, Snapshot, Upload};
pub use sys::AuditDevice;
pub use token::{Capabilities, Login, Renewed, TokenInfo};
pub use tokens::{NewToken, Wrapped};
pub use transit::{TransitKey, TransitUsage};
pub use transport::{Options, Timeouts};
