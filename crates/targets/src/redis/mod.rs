//! Redis as a target.
//!
//! ACLs live on each node by itself: they are not replicated, and a restart forgets what was not written down. So [`Admin`] speaks to
//! one node, and whoever changes a user does it on every node and persists it there. [`login`] proves a password as a consumer would.
//!
//! A user may have several passwords at once, which is what makes a change without a moment of failure possible. The server is sent their
//! SHA-256 digests only; what names one of them outside is a [`mark`] of that digest, by which it is found again and which opens nothing.

mod admin;
mod digest;
mod failure;
mod login;
mod node;
mod session;

pub use admin::{Admin, Connection, Persistence, Removed};
pub use digest::mark;
pub use failure::{FailureClass, NodeFailure};
pub use login::{RefusalUnproved, login, refuses_wrong_password};
pub use node::{Node, NodeError};
