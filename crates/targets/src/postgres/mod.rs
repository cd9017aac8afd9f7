//! PostgreSQL as a target.
//!
//! Two ways in, kept apart: [`Admin`] changes passwords through the fence (one function in the database, `sql/fence.sql`), directly at the server;
//! [`login`] proves a credential over the very way that its consumers go, poolers included. Neither holds a connection for later.

mod admin;
mod engine;
mod failure;
mod install;
mod login;
mod others;
mod preflight;
mod root;
mod session;
mod url;
mod verifier;

pub use admin::{Admin, AdminError, Change, FenceAnswer, FenceRow, Phase, Session};
pub use engine::{EngineUser, Rights};
pub use failure::{FailureClass, LoginFailure};
pub use install::{FENCE_FORMAT, FENCE_SQL, Installed};
pub use login::{LoginProof, RefusalUnproved, login, login_everywhere, refuses_wrong_password, refuses_wrong_password_everywhere};
pub use others::sessions_seen_by;
pub use preflight::{Check, Subject, Verdict};
pub use url::{ChannelBinding, Endpoint, PostgresUrl, SslMode, UrlError};
pub use verifier::{unusable_verifier, verifier_of};
