//! The systems that must accept a new value: change it there, prove it there, see who is connected there.
//!
//! It never knows Vault or what a rotation is, never keeps a connection between two calls, and never shows a value: no error, `Debug` output or
//! statement text of this crate holds a password, and of a password change the server sees a salted SCRAM verifier only.
//!
//! **Invariant:** every wait has a limit, which covers name lookup, connecting, TLS, authentication and the work itself.
//! A limit that passed means "unknown", never "not done": look before you repeat.
//!
//! - [`postgres`]: the URL as libpq means it, the fence, logins and their failures, sessions, preflight;
//! - [`redis`]: users on every node, logins and their failures, who is connected;
//! - [`http`]: is a key accepted by an HTTP service;
//! - [`key_api`]: a provider's calls by which its keys are made, tried, listed and ended;
//! - [`exec`]: the same by a program;
//! - [`notify`]: tell consumers that a new value was published.

pub mod exec;
pub mod http;
pub mod key_api;
pub mod notify;
pub mod postgres;
pub mod process_group;
pub mod redis;
mod tls;
