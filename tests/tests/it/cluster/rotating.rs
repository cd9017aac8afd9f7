//! Secrets that are rotated again and again, whatever else happens.

use crate::world::{Ended, LONG};
use keyward_harness::{Shop, wait_until};
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A database's two users, a static role of Vault's own engine, and a random value.
pub const SECRETS: [&str; 3] = ["shop-database", "reporting", "webhook-token"];
/// Between two rounds.
const PACE: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Rotating {
    /// When the last rotation of each secret that succeeded was asked for.
    last: Mutex<BTreeMap<&'static str, Instant>>,
    /// What else was answered, but for "not yet".
    odd: Mutex<Vec<(&'static str, Ended)>>,
}

impl Rotating {
    /// Asks for one rotation after the other until the other end of `stop` is gone.
    pub fn run(&self, shop: &Shop<'_>, stop: &Receiver<()>) {
        while stop.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            for secret in SECRETS {
                let asked = Instant::now();
                let ended: Ended = shop.run(&["rotate", secret]).unwrap().into();
                match ended.code {
                    Some(0) => drop(lock(&self.last).insert(secret, asked)),
                    // The grace of the value before is not over, or Vault is away and the rotation waits; or it was away already when this
                    // was asked, and nothing was begun.
                    Some(75 | 69) => {}
                    _ => lock(&self.odd).push((secret, ended)),
                }
            }
        }
    }

    /// Waits until every secret was rotated by a rotation that was asked for from now on.
    pub fn goes_on(&self) {
        let now = Instant::now();
        wait_until("rotations to go on", LONG * 2, || {
            let last = lock(&self.last);
            SECRETS.iter().all(|secret| last.get(secret).is_some_and(|asked| *asked > now)).then_some(())
        });
    }

    /// What was answered beside success and "not yet".
    pub fn odd(&self) -> Vec<(&'static str, Ended)> {
        std::mem::take(&mut *lock(&self.odd))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
