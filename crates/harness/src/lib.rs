//! Real servers for tests, chores and benches: Vault, PostgreSQL, SMTP, Redis, Prometheus, Alertmanager, each on 127.0.0.1.
//!
//! Never part of the daemon, and nothing here outlives the process that asked for it: the module `run` says how.
//!
//! [`servers`] gives the shared ones. Tests in parallel share them and keep apart by mounts, roles, databases and mail addresses,
//! for which [`unique`] makes names. A test that seals, stops or reconfigures a server starts one of its own (`VaultServer::start`
//! and its like).

mod audit_device;
mod beside;
mod full;
mod hold;
mod http;
mod http_way;
mod keyward;
mod leaks;
mod leftovers;
mod listening;
pub mod packages;
mod ports;
mod postgres;
mod postgres_proxy;
mod postgres_way;
mod process;
mod prometheus;
mod random;
mod redis;
mod redis_way;
mod run;
mod servers;
mod shop;
mod smtp;
mod tls;
mod traffic;
mod vault;
mod vault_binary;
mod vault_proxy;

use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub use full::{FULL_ENV, full};
pub use hold::Hold;
pub use http_way::HttpWay;
pub use keyward::{KEYWARD_ENV, keyward_binary};
pub use leaks::Leak;
pub use leftovers::{Leftovers, leftovers};
pub use packages::{haproxy, hvac_python, logrotate, nginx};
pub use ports::free_port;
pub use postgres::{Held, PostgresServer};
pub use postgres_proxy::PostgresProxy;
pub use postgres_way::PostgresWay;
pub use process::{Process, Signal, Stop, clean_command};
pub use prometheus::{AlertmanagerServer, PrometheusServer};
pub use random::unique;
pub use redis::{RedisServer, RedisUsers};
pub use redis_way::RedisWay;
pub use run::{RUN_ENV, end_run, run_folder, run_id};
pub use servers::{SERVERS_ENV, Servers, servers};
pub use shop::{Shop, Wishes};
pub use smtp::{Message, SmtpServer};
pub use tls::foreign_ca;
pub use traffic::{Fault, Moment, Reach, Seen, Traffic};
pub use vault::{DatabaseMount, Options as VaultOptions, VaultServer};
pub use vault_binary::{Product, VAULT_ENV, VAULT_VERSION, found as vault_found, vault_binary};
pub use vault_proxy::VaultProxy;

/// The pause between two looks at something awaited.
const POLL: Duration = Duration::from_millis(20);

/// Looks again and again, with short pauses, until `f` finds something.
///
/// # Panics
/// With `what` when `limit` passes first.
pub fn wait_until<T>(what: &str, limit: Duration, f: impl FnMut() -> Option<T>) -> T {
    match poll(limit, f) {
        Ok(found) => found,
        Err(error) => panic!("waited for {what}: {error}"),
    }
}

/// Tells a person who waits what is going on: one line on standard error, past the test runner's capture.
pub fn say(line: &str) {
    // A closed standard error is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub(crate) fn poll<T>(limit: Duration, mut f: impl FnMut() -> Option<T>) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = f() {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("it did not happen within {} s", limit.as_secs_f32());
        }
        std::thread::sleep(POLL);
    }
}

/// Tests have nobody to hand an error to.
pub(crate) fn or_panic<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:#}"),
    }
}
