//! Free TCP ports on 127.0.0.1 for servers that cannot choose one themselves.
//!
//! Never promises that a port stays free: the server's own bind decides, and [`retry_bind`] tries again with another one.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

/// Below the range from which the kernel takes ports for outgoing connections, so that a stopped server finds its port again.
const LOWEST: u16 = 20_000;
/// The first one that is not ours.
const END: u16 = 32_000;
const BIND_ATTEMPTS: u32 = 5;

static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody listens on now and that this process was not given before.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..10_000 {
        let port = crate::random::port()?;
        if !(LOWEST..END).contains(&port) {
            continue;
        }
        if !given.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("found no free TCP port between {LOWEST} and {}", END - 1)
}

/// Runs `start` again, which takes new ports each time, while it fails because somebody else was quicker to bind.
pub(crate) fn retry_bind<T>(mut start: impl FnMut() -> Result<T>) -> Result<T> {
    let mut attempt = 1;
    loop {
        match start() {
            Err(error) if attempt < BIND_ATTEMPTS && format!("{error:#}").contains("ddress already in use") => attempt += 1,
            other => return other,
        }
    }
}
