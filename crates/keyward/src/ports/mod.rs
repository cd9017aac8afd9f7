//! The engine's ports, plugged into the real clients. Only translation: nothing here decides anything.

mod acceptance;
mod approle;
mod delivery;
mod exec;
mod http_issuer;
mod leases;
mod postgres;
mod readers;
mod redis;
mod root;
mod time;
mod transit;
mod usage;
mod vault;

pub use acceptance::{HttpAcceptance, LoginAcceptance};
pub use approle::ApproleIssuer;
pub use delivery::FileDelivery;
pub use exec::ExecIssuer;
pub use http_issuer::HttpIssuer;
pub use leases::{ConsumerPostgres, LeasePort};
pub use postgres::{LIMIT as POSTGRES_LIMIT, PostgresPort, admin_failure, login_failure};
pub use readers::{Coverage, CoverageState, UsageReaders};
pub use redis::RedisPort;
pub use root::RootPort;
pub use time::SystemClock;
pub use transit::TransitPort;
pub use usage::{ReaderView, SecretUsage};
pub use vault::{VaultPort, failure_of};
