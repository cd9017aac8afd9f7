//! The engine's ports, plugged into the real clients. Only translation: nothing here decides anything.

mod acceptance;
mod postgres;
mod readers;
mod redis;
mod time;
mod vault;

pub use acceptance::{HttpAcceptance, LoginAcceptance};
pub use postgres::{LIMIT as POSTGRES_LIMIT, PostgresPort, admin_failure, login_failure};
pub use readers::{Coverage, CoverageState, UsageReaders};
pub use redis::RedisPort;
pub use time::SystemClock;
pub use vault::{VaultPort, failure_of};
