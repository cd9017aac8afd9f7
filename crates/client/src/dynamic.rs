//! Leased database credentials: a user for this service alone, renewed while that goes, and replaced by a fresh one before it ends.
//!
//! A lease is asked for once; a lost answer leaves one behind that ends with its time. The user of before works until its own lease ends, so
//! that connections which are open go on. Vault ends a token's leases with the token, so a session with another token has another user at once.

use crate::live::{Live, Origin, backoff};
use crate::statics::render;
use crate::{Client, Error, Secret};
use keyward_vault::Lease;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Older leases that are remembered, to be ended by [`Live::close`]; each ends by itself.
const MOST_OLD: usize = 8;
const SHORTEST: Duration = Duration::from_millis(200);

/// A user that was made for this service.
#[derive(Debug)]
pub struct DatabaseCredential {
    /// The database user.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// Counts the users that this handle has had, from 1: a pool opens new connections when it grows.
    pub number: u64,
}

impl DatabaseCredential {
    /// A connection URL: `postgresql://{username}:{password}@host/database`, percent-encoded where it has to be.
    ///
    /// # Errors
    /// [`Error::Template`].
    pub fn url(&self, template: &str) -> Result<Secret, Error> {
        render(template, &self.username, &self.password)
    }
}

struct Leased {
    client: Client,
    tokens: watch::Receiver<u64>,
    /// Which of them the lease hangs on.
    token: u64,
    mount: String,
    role: String,
    id: String,
    /// What a lease of this role lives at first.
    whole: Duration,
    ends: Instant,
    renewable: bool,
    number: u64,
    old: Vec<String>,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It lives for so long now.
    Goes,
    /// It is gone, or near the end that no renewal moves: a fresh one is needed.
    Replace,
}

impl Client {
    /// Credentials of a dynamic role of a database engine at `mount`. They are renewed when two thirds of the lease are over, and replaced by
    /// fresh ones before it ends for good, or when the session has another token: [`Live::changed`] tells. [`Live::refresh`] replaces at
    /// once; [`Live::close`] ends the leases, where the policy allows `sys/leases/revoke`.
    ///
    /// # Errors
    /// What Vault answered to the first lease.
    pub async fn dynamic_credentials(&self, mount: &str, role: &str) -> Result<Live<DatabaseCredential>, Error> {
        let mut leased = Leased {
            client: self.clone(),
            tokens: self.tokens(),
            token: 0,
            mount: mount.to_owned(),
            role: role.to_owned(),
            id: String::new(),
            whole: Duration::ZERO,
            ends: Instant::now(),
            renewable: false,
            number: 0,
            old: Vec::new(),
        };
        let first = leased.issue().await?;
        Ok(Live::start(first, leased))
    }
}

impl Leased {
    async fn issue(&mut self) -> Result<DatabaseCredential, Error> {
        let asked = Instant::now();
        let token = AtomicU64::new(0);
        let issue = || {
            // Before the call: a token that comes during it may or may not be the one that was used.
            token.store(*self.tokens.borrow(), Ordering::Relaxed);
            self.client.vault().issue_lease(&self.mount, &self.role, None)
        };
        let lease: Lease = self.client.call(issue).await?;
        self.token = token.into_inner();
        if !self.id.is_empty() {
            if self.old.len() >= MOST_OLD {
                self.old.remove(0);
            }
            self.old.push(std::mem::take(&mut self.id));
        }
        self.id = lease.id;
        (self.whole, self.ends, self.renewable) = (lease.ttl, asked + lease.ttl, lease.renewable);
        self.number += 1;
        Ok(DatabaseCredential { username: lease.username, password: lease.password, number: self.number })
    }

    /// Renews it.
    async fn renew(&mut self) -> Result<Verdict, Error> {
        if !self.renewable {
            return Ok(Verdict::Replace);
        }
        let asked = Instant::now();
        let left = self.client.call(|| self.client.vault().renew_lease(&self.id, self.whole)).await?;
        if let Some(left) = left {
            self.ends = asked + left;
        }
        Ok(judge(self.whole, left))
    }
}

/// A renewal that gives no more than half of a whole lease has met the maximum.
fn judge(whole: Duration, left: Option<Duration>) -> Verdict {
    match left {
        Some(left) if left * 2 > whole => Verdict::Goes,
        _ => Verdict::Replace,
    }
}

impl Origin for Leased {
    type Value = DatabaseCredential;

    fn name(&self) -> String {
        format!("{}/creds/{}", self.mount, self.role)
    }

    async fn look(&mut self, asked: bool) -> Result<Option<DatabaseCredential>, Error> {
        if asked || *self.tokens.borrow() != self.token {
            return self.issue().await.map(Some);
        }
        match self.renew().await {
            Ok(Verdict::Goes) => Ok(None),
            Ok(Verdict::Replace) => self.issue().await.map(Some),
            // Who may not renew may still ask for another one, and a lease that is over needs no renewal.
            Err(error) if error.is_denied() || Instant::now() >= self.ends => self.issue().await.map(Some),
            Err(error) => Err(error),
        }
    }

    async fn overtaken(&mut self) {
        let token = self.token;
        if self.tokens.wait_for(|now| *now != token).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        pause(self.ends.saturating_duration_since(Instant::now()), failures)
    }

    async fn close(&mut self) {
        for id in self.old.drain(..).chain([std::mem::take(&mut self.id)]).filter(|id| !id.is_empty()) {
            if let Err(error) = self.client.vault().revoke_lease(&id).await {
                tracing::warn!(%error, "A lease could not be ended; it ends with its time.");
            }
        }
    }
}

/// Tried often while there is still time, and not too often when there is none left.
fn pause(left: Duration, failures: u32) -> Duration {
    let again = backoff(failures, Duration::from_secs(10));
    match (failures, left.is_zero()) {
        (0, _) => (left * 2 / 3).max(SHORTEST),
        (_, true) => again,
        (_, false) => again.min((left / 4).max(SHORTEST * 5)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_cannot_be_renewed_is_tried_often_while_there_is_time() {
        let check = |left: u64, failures, milliseconds| {
            assert_eq!(pause(Duration::from_secs(left), failures), Duration::from_millis(milliseconds), "{left} {failures}");
        };
        check(60, 0, 40_000);
        check(60, 1, 1_000);
        check(60, 9, 10_000);
        check(8, 9, 2_000);
        check(0, 0, 200);
        check(0, 9, 10_000);
    }

    #[test]
    fn a_lease_is_replaced_when_renewals_stop_helping() {
        let check = |whole: u64, left: Option<u64>, verdict| {
            assert_eq!(judge(Duration::from_secs(whole), left.map(Duration::from_secs)), verdict, "{whole} {left:?}");
        };
        check(60, Some(60), Verdict::Goes);
        check(60, Some(31), Verdict::Goes);
        check(60, Some(30), Verdict::Replace);
        check(60, Some(0), Verdict::Replace);
        check(60, None, Verdict::Replace);
    }
}
