//! Secrets for services, from Vault as Keyward keeps it: read, written with check-and-set, watched, leased and renewed.
//!
//! It never caches a secret behind your back, never writes without the version that the write is based on, never rotates (the daemon does:
//! [`Daemon`]), and never falls back to an environment variable without saying so. No value stands in an error or a log.
//!
//! ```no_run
//! # async fn service() -> Result<(), keyward_client::Error> {
//! use keyward_client::{Client, Settings};
//! let client = Client::connect(Settings::from_environment()?).await?;
//! let key = client.field("secret/integrations/openai", "api_key").await?; // never cached
//! let database = client.dynamic_credentials("database", "shop").await?; // renews itself
//! let url = database.current().url("postgresql://{username}:{password}@db.example.com/shop")?;
//! # let _ = (key, url); Ok(()) }
//! ```
//!
//! [`Live`] is what changes by itself: a watched secret ([`Client::watch`]), the credential of a static role
//! ([`Client::static_credentials`]), leased credentials ([`Client::dynamic_credentials`]). `current()` is what holds now, `changed()` waits
//! for the next, `refresh()` looks at once: call it when a login is refused, then try again.
//!
//! **Invariant:** a [`Live`] that was opened always has a value; what cannot be renewed for a while is logged and tried again, and the
//! last value stays.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that fails here should say so loudly"))]

mod client;
mod configuration;
mod daemon;
mod document;
mod dynamic;
mod error;
mod live;
mod session;
mod settings;
mod statics;
mod transit;
mod watch;

pub use client::Client;
pub use configuration::{CameFrom, Configuration, Fallback, Setting};
pub use daemon::{Daemon, Due, Rotated};
pub use document::{Based, Delete, Document};
pub use dynamic::DatabaseCredential;
pub use error::Error;
pub use keyward_secret::{Fields, Secret};
pub use keyward_vault::{Kind, KvMetadata, Listing, Options, Timeouts, VaultError};
pub use live::Live;
pub use session::Session;
pub use settings::{Login, Settings, Source};
pub use statics::StaticCredential;
