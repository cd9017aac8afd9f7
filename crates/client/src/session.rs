//! The session with Vault: the token, kept alive as long as it can be, and had anew where that ends.
//!
//! Never tries a refused login quickly again: five refusals lock an AppRole for everybody who uses it.

use crate::settings::{Login, Settings};
use crate::{Error, Secret};
use keyward_vault::{Client as Vault, Kind, TokenInfo, VaultError};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

/// After a refused login; after five of them Vault locks the role for a quarter of an hour.
const AFTER_REFUSAL: Duration = Duration::from_mins(5);
/// After a failure that may pass, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
/// A token that never ends is looked at this often, in case it was revoked.
const ENDLESS: Duration = Duration::from_hours(1);

/// What is known of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// When the token ends unless it is renewed; `None`: never.
    pub ends: Option<Instant>,
    /// Why it could not be renewed or had anew, the last time that was tried; `None`: all is well.
    pub trouble: Option<Error>,
}

/// What a token's life is.
#[derive(Clone, Copy, Debug)]
struct Life {
    ttl: Duration,
    since: Instant,
    renewable: bool,
    /// Whether the token may look itself up: else a dead one cannot be told from one that is denied something.
    can_look: bool,
}

pub(crate) struct Keeper {
    pub vault: Vault,
    login: Login,
    session: watch::Sender<Session>,
    /// Counts the tokens that there were: what hangs on one ends with it.
    tokens: watch::Sender<u64>,
    /// Counts logins, and remembers the last refusal.
    logins: Mutex<Logins>,
}

#[derive(Default)]
struct Logins {
    count: u64,
    token: Option<Secret>,
    life: Option<Life>,
    refused: Option<(Instant, Error)>,
}

/// Ends the task that renews.
pub(crate) struct Renewal(JoinHandle<()>);

impl Drop for Renewal {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What to do with a token when two thirds of its life are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Renew,
    LogIn,
}

impl Keeper {
    /// Logs in.
    pub async fn open(settings: Settings) -> Result<Arc<Self>, Error> {
        let vault = Vault::new(&settings.options)?;
        let session = watch::Sender::new(Session { ends: None, trouble: None });
        let keeper = Arc::new(Self { vault, login: settings.login, session, tokens: watch::Sender::new(0), logins: Mutex::default() });
        keeper.log_in(0).await?;
        Ok(keeper)
    }

    /// Begins to keep the session alive.
    pub fn keep(keeper: &Arc<Self>) -> Renewal {
        let keeper = Arc::clone(keeper);
        Renewal(tokio::spawn(async move { keeper.run().await }))
    }

    pub fn session(&self) -> Session {
        self.session.borrow().clone()
    }

    /// How many logins there were: what a call saw that found its token dead.
    pub async fn count(&self) -> u64 {
        self.logins.lock().await.count
    }

    /// How many tokens there were, by which one hears of the next.
    pub fn tokens(&self) -> watch::Receiver<u64> {
        self.tokens.subscribe()
    }

    /// Logs in, unless somebody else has done so since `seen`.
    pub async fn log_in(&self, seen: u64) -> Result<(), Error> {
        let mut logins = self.logins.lock().await;
        if logins.count > seen {
            return Ok(());
        }
        if let Some((at, error)) = &logins.refused
            && at.elapsed() < self.after_refusal()
        {
            return Err(error.clone());
        }
        match self.try_log_in().await {
            Ok((token, life)) => {
                // A file may hold the same one still.
                let is_new = !logins.token.as_ref().is_some_and(|before| before.same_as(&token));
                *logins = Logins { count: logins.count + 1, token: Some(token), life: Some(life), refused: None };
                self.tell(Some(life), None);
                if is_new {
                    self.tokens.send_modify(|count| *count += 1);
                }
                Ok(())
            }
            Err(error) => {
                if error.is_denied() {
                    logins.refused = Some((Instant::now(), error.clone()));
                }
                self.tell(logins.life, Some(error.clone()));
                Err(error)
            }
        }
    }

    /// Whether the token is dead, asked because a call was denied. That may be the policy's doing, and then a login would not help.
    pub async fn is_dead(&self) -> bool {
        let life = self.logins.lock().await.life;
        match life {
            Some(life) if !life.can_look => !life.ttl.is_zero() && life.since.elapsed() >= life.ttl,
            _ => is_denied(&self.vault.lookup_self().await),
        }
    }

    async fn try_log_in(&self) -> Result<(Secret, Life), Error> {
        let since = Instant::now();
        match &self.login {
            Login::Token(source) => {
                let token = source.read("the token")?;
                self.vault.set_token(&token)?;
                let info = self.vault.lookup_self().await?;
                Ok((token, Life { ttl: left(&info), since, renewable: info.renewable, can_look: true }))
            }
            Login::AppRole { mount, role_id, secret_id } => {
                let login = self.vault.approle_login(mount, role_id, &secret_id.read("the secret id")?).await?;
                self.vault.set_token(&login.token)?;
                let can_look = !is_denied(&self.vault.lookup_self().await);
                Ok((login.token, Life { ttl: login.ttl, since, renewable: login.renewable, can_look }))
            }
        }
    }

    /// A token locks nobody out, and the file that it comes from may hold another one by now.
    fn after_refusal(&self) -> Duration {
        if matches!(self.login, Login::Token(_)) { SHORTEST_PAUSE } else { AFTER_REFUSAL }
    }

    fn tell(&self, life: Option<Life>, trouble: Option<Error>) {
        let ends = life.filter(|life| !life.ttl.is_zero()).map(|life| life.since + life.ttl);
        self.session.send_replace(Session { ends, trouble });
    }

    async fn run(&self) {
        let mut failures = 0;
        loop {
            let life = self.logins.lock().await.life;
            tokio::time::sleep(pause(life, failures)).await;
            match self.turn(life).await {
                Ok(()) => failures = 0,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(%error, "The token for Vault could not be renewed; it is tried again.");
                }
            }
        }
    }

    async fn turn(&self, life: Option<Life>) -> Result<(), Error> {
        let seen = self.count().await;
        if decide(life) == Turn::Renew {
            match self.renew(life).await {
                Err(Error::Vault(VaultError { kind: Kind::Denied | Kind::Invalid, .. })) => {}
                other => return other,
            }
        }
        self.log_in(seen).await
    }

    async fn renew(&self, before: Option<Life>) -> Result<(), Error> {
        let since = Instant::now();
        let life = if before.is_some_and(|life| life.ttl.is_zero()) {
            let info = self.vault.lookup_self().await?;
            Life { ttl: left(&info), since, renewable: true, can_look: true }
        } else {
            let renewed = self.vault.renew_self().await?;
            // The maximum is near where a renewal no longer gives what the first one gave: then only a login helps.
            let grows = before.is_none_or(|life| renewed.ttl * 2 > life.ttl);
            let can_look = before.is_none_or(|life| life.can_look);
            Life { ttl: renewed.ttl, since, renewable: renewed.renewable && grows, can_look }
        };
        self.logins.lock().await.life = Some(life);
        self.tell(Some(life), None);
        Ok(())
    }
}

fn is_denied<T>(outcome: &Result<T, VaultError>) -> bool {
    matches!(outcome, Err(error) if error.kind == Kind::Denied)
}

/// What is left of a token; zero for one that never ends. Vault tells whole seconds, so its zero may be the last one.
fn left(info: &TokenInfo) -> Duration {
    if info.never_expires() { Duration::ZERO } else { info.ttl.max(SHORTEST_PAUSE) }
}

fn decide(life: Option<Life>) -> Turn {
    match life {
        Some(life) if life.renewable || life.ttl.is_zero() => Turn::Renew,
        _ => Turn::LogIn,
    }
}

/// Two thirds of what is left, the first time; less after each failure, down to what does no harm.
fn pause(life: Option<Life>, failures: u32) -> Duration {
    let Some(life) = life.filter(|life| !life.ttl.is_zero()) else {
        return if failures == 0 { ENDLESS } else { LONGEST_PAUSE };
    };
    let left = life.ttl.saturating_sub(life.since.elapsed());
    if failures == 0 {
        return (left * 2 / 3).max(SHORTEST_PAUSE);
    }
    let backoff = (SHORTEST_PAUSE * 2_u32.saturating_pow(failures.min(6))).min(LONGEST_PAUSE);
    // Once it is over, whoever calls logs in again; a Vault that is sealed for hours is not asked every other second.
    if left.is_zero() { backoff } else { backoff.min((left / 3).max(SHORTEST_PAUSE * 4)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(ttl: u64, renewable: bool) -> Life {
        Life { ttl: Duration::from_secs(ttl), since: Instant::now(), renewable, can_look: true }
    }

    #[test]
    fn a_token_is_renewed_at_two_thirds_and_sooner_after_failures() {
        let near = |life, failures, seconds: f64| {
            let found = pause(Some(life), failures).as_secs_f64();
            assert!((found - seconds).abs() < 0.1, "{found} is not {seconds}");
        };
        near(life(90, true), 0, 60.0);
        near(life(90, true), 1, 1.0);
        near(life(90, true), 9, 30.0);
        near(Life { ttl: Duration::from_nanos(1), ..life(90, true) }, 9, 30.0);
        near(life(0, false), 0, 3600.0);
        near(life(0, false), 1, 30.0);
        assert_eq!(decide(Some(life(90, true))), Turn::Renew);
        assert_eq!(decide(Some(life(90, false))), Turn::LogIn);
        assert_eq!(decide(Some(life(0, false))), Turn::Renew);
    }
}
