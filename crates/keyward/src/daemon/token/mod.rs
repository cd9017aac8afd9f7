//! Keyward's own session with Vault: logs in, renews in time, notices when the token is dead, and tells before it dies.
//!
//! It never hammers: a login that was refused is left alone for a minute and longer, since Vault locks a role that is refused too often.
//! It never ends a session that works: a token is replaced only after another one was had.

mod pace;
mod words;

use super::board::TokenView;
use super::shared::Shared;
use crate::config::Environment;
use crate::metrics::families as f;
use crate::ports::VaultPort;
use crate::session::{self, Credentials, LoginFailure};
use jiff::{SignedDuration, Timestamp};
use keyward_vault::{TokenInfo, VaultError};
use pace::{LOOK, Life, Trouble};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The longest rest: the configuration may have been replaced meanwhile.
const REST: Duration = Duration::from_secs(1);
/// Renewals that fail in a row before it is told, when there is time for more.
const FAILURES_TOLD: u32 = 3;
/// What readiness waits for.
const LOGGED_IN: &str = "vault login";

/// The task. Ends when the daemon stops.
pub async fn run(shared: Arc<Shared>) {
    for result in ["ok", "failed"] {
        shared.metrics.series(&f::TOKEN_RENEWALS, &[result]);
    }
    let mut keeper = Keeper::new(Arc::clone(&shared));
    tokio::select! {
        () = keeper.keep() => {}
        () = shared.stopped() => {}
    }
}

/// Something to be tried, and how often it failed in a row.
#[derive(Clone, Copy)]
struct Try {
    at: Instant,
    failures: u32,
}

impl Try {
    fn now() -> Self {
        Self { at: Instant::now(), failures: 0 }
    }

    fn after(wait: Duration) -> Self {
        Self { at: Instant::now() + wait, failures: 0 }
    }

    fn is_due(&self) -> bool {
        self.at <= Instant::now()
    }
}

/// A token that was alive when last heard of.
struct Token {
    life: Life,
    ends: Option<Instant>,
    /// Renewal, or the next login where it cannot be renewed.
    renew: Option<Try>,
    look: Instant,
}

impl Token {
    fn new(life: Life) -> Self {
        let now = Instant::now();
        Self { life, ends: life.left.map(|left| now + left), renew: life.renew_after().map(Try::after), look: now + LOOK }
    }

    fn left(&self) -> Option<Duration> {
        self.ends.map(|ends| ends.saturating_duration_since(Instant::now()))
    }
}

struct Keeper {
    shared: Arc<Shared>,
    vault: Arc<VaultPort>,
    credentials: Result<Credentials, String>,
    environment: Environment,
    token: Option<Token>,
    login: Option<Try>,
    /// What was last said of the token: well, or not.
    said_well: Option<bool>,
}

impl Keeper {
    fn new(shared: Arc<Shared>) -> Self {
        let live = shared.live();
        let credentials = session::daemon_credentials(&live.config.vault).map_err(|e| e.to_string());
        let environment = shared.environment.clone();
        Self { vault: Arc::clone(&live.vault), credentials, environment, token: None, login: Some(Try::now()), said_well: None, shared }
    }

    async fn keep(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut live = shared.live();
        loop {
            let now = self.shared.live();
            if !Arc::ptr_eq(&now, &live) {
                live = now;
                self.adopt(&live.vault, session::daemon_credentials(&live.config.vault).map_err(|e| e.to_string()));
            }
            self.step().await;
            self.show();
            tokio::select! {
                () = tokio::time::sleep(self.rest()) => {}
                () = shared.vault_opened.notified() => self.look_again(),
            }
        }
    }

    /// A Vault that was opened may hold other data than the one that refused us: an empty one in its place refuses everybody until its backup
    /// is restored. It counts refusals from none, so one more locks nothing; the waits go on from where they were.
    fn look_again(&mut self) {
        let now = Instant::now();
        if let Some(login) = &mut self.login {
            login.at = now;
        }
        if let Some(token) = &mut self.token {
            token.look = now;
        }
    }

    /// Takes over the configuration in force: its client, and credentials that somebody may just have put right.
    fn adopt(&mut self, vault: &Arc<VaultPort>, credentials: Result<Credentials, String>) {
        self.credentials = credentials;
        if !Arc::ptr_eq(vault, &self.vault) {
            self.vault = Arc::clone(vault);
            self.token = None;
        }
        if self.token.is_none() || self.login.is_some() || !self.by_approle() {
            self.login = Some(Try::now());
        }
    }

    fn by_approle(&self) -> bool {
        self.credentials.as_ref().is_ok_and(Credentials::makes_a_token)
    }

    /// Does the one thing that is due, if any.
    async fn step(&mut self) {
        if self.token.as_ref().is_some_and(|t| t.left() == Some(Duration::ZERO)) {
            self.bury("its life has ended");
        }
        if self.login.is_some_and(|login| login.is_due()) {
            return self.log_in().await;
        }
        let Some(token) = &self.token else { return };
        if token.renew.is_some_and(|renew| renew.is_due()) && self.login.is_none() {
            if token.life.renewable { self.renew().await } else { self.login = Some(Try::now()) }
        } else if token.look <= Instant::now() {
            self.look().await;
        }
    }

    fn rest(&self) -> Duration {
        let login = self.login.map(|login| login.at);
        let renew = self.token.as_ref().filter(|_| login.is_none()).and_then(|token| token.renew.map(|renew| renew.at));
        let next = login.into_iter().chain(renew).min();
        next.map_or(REST, |at| at.saturating_duration_since(Instant::now())).clamp(Duration::from_millis(10), REST)
    }

    async fn log_in(&mut self) {
        let credentials = match &self.credentials {
            Ok(credentials) => credentials.clone(),
            Err(why) => {
                // Only another configuration can change it.
                let why = why.clone();
                self.login = Some(Try::after(LOOK));
                return self.trouble(&why);
            }
        };
        match session::log_in(self.vault.client(), &credentials, &self.environment).await {
            Ok(info) => self.take_login(&info),
            Err(failure) => self.take_refusal(&failure),
        }
    }

    fn take_login(&mut self, info: &TokenInfo) {
        tracing::info!(accessor = info.accessor, display_name = info.display_name, seconds = info.ttl.as_secs(), "Logged in to Vault.");
        self.login = None;
        let token = self.token.insert(Token::new(Life::of(info)));
        if info.policies.iter().any(|policy| policy == "root") {
            self.shared.alerts.raise(words::root_token(Timestamp::now()));
        } else {
            self.shared.alerts.resolve(words::ROOT_TOKEN, "Keyward uses a token without the policy root");
        }
        let (life, left) = (token.life, token.left());
        self.shared.board.reached(LOGGED_IN);
        self.shared.wake_planner.notify_one();
        self.shared.logged_in.notify_one();
        match left {
            Some(left) if !life.renewable && life.is_short(left) => {
                self.trouble("it cannot be renewed, and no other one was found in its place");
            }
            _ => self.well("Keyward is logged in"),
        }
    }

    fn take_refusal(&mut self, failure: &LoginFailure) {
        let trouble = match failure {
            LoginFailure::Reference(_) => Trouble::Wrong,
            LoginFailure::Vault(error) => Trouble::of(error.kind),
        };
        let failures = self.login.map_or(0, |login| login.failures).saturating_add(1);
        let pause = trouble.pause(failures, self.by_approle());
        tracing::warn!(error = %failure, again_in_seconds = pause.as_secs(), "The login to Vault failed.");
        self.login = Some(Try { at: Instant::now() + pause, failures });
        // A Vault that does not answer is told by the watch of its nodes, unless a token dies meanwhile.
        let dying = self.token.as_ref().is_some_and(|t| t.left().is_some_and(|left| t.life.is_short(left))) && failures >= FAILURES_TOLD;
        let why = format!("the login failed: {failure}");
        if trouble != Trouble::Absent || dying { self.trouble(&why) } else { self.state(&why) }
    }

    async fn renew(&mut self) {
        match self.vault.client().renew_self().await {
            Ok(renewed) => {
                self.shared.metrics.inc(&f::TOKEN_RENEWALS, &["ok"]);
                let Some(full) = self.token.as_ref().map(|token| token.life.full) else { return };
                let life = Life { left: Some(renewed.ttl), full: full.max(renewed.ttl), renewable: renewed.renewable };
                tracing::info!(seconds = renewed.ttl.as_secs(), "Keyward's token was renewed.");
                self.token = Some(Token::new(life));
                if !life.is_worn() {
                    return self.well("the token was renewed");
                }
                if life.is_short(renewed.ttl) && !self.by_approle() {
                    self.trouble("it nears the end of its longest life: renewal no longer prolongs it");
                }
                // Another login, or another token in the same place; the one in use goes on until then.
                if self.by_approle() {
                    self.login = Some(Try::now());
                }
            }
            Err(error) => self.take_failed_renewal(&error),
        }
    }

    fn take_failed_renewal(&mut self, error: &VaultError) {
        self.shared.metrics.inc(&f::TOKEN_RENEWALS, &["failed"]);
        let Some(token) = &mut self.token else { return };
        let failures = token.renew.map_or(0, |renew| renew.failures).saturating_add(1);
        let trouble = Trouble::of(error.kind);
        let pause = trouble.pause(failures, false);
        tracing::warn!(%error, again_in_seconds = pause.as_secs(), "Keyward's token was not renewed.");
        token.renew = Some(Try { at: Instant::now() + pause, failures });
        let urgent = token.left().is_some_and(|left| left < token.life.full / 6);
        let why = format!("it could not be renewed: {error}");
        if trouble != Trouble::Absent {
            // Dead, or not allowed to renew itself: a login decides, and tells.
            self.login = Some(Try::now());
            self.trouble(&why);
        } else if urgent || failures >= FAILURES_TOLD {
            self.trouble(&why);
        } else {
            self.state(&why);
        }
    }

    /// Looks whether the token still lives: it may have been revoked, and this machine may have slept.
    async fn look(&mut self) {
        let looked = self.vault.client().lookup_self().await;
        let Some(token) = &mut self.token else { return };
        token.look = Instant::now() + LOOK;
        match looked {
            Ok(info) => {
                let left = (!info.never_expires()).then_some(info.ttl);
                token.ends = left.map(|left| Instant::now() + left);
                if let (Some(left), Some(renew)) = (left, &mut token.renew)
                    && token.life.is_short(left)
                    && renew.failures == 0
                {
                    renew.at = Instant::now();
                }
            }
            Err(error) if Trouble::of(error.kind) == Trouble::Refused => self.bury(&error.to_string()),
            Err(error) => tracing::debug!(%error, "Keyward's token could not be looked up."),
        }
    }

    /// The token is dead.
    fn bury(&mut self, why: &str) {
        tracing::warn!(why, "Keyward's token is dead; logging in again.");
        self.token = None;
        if self.login.is_none() {
            self.login = Some(Try::now());
        }
        self.state(&format!("dead: {why}"));
    }

    fn well(&mut self, what: &str) {
        if self.said_well != Some(true) {
            self.shared.alerts.resolve(words::TOKEN, what);
        }
        self.said_well = Some(true);
        self.state("ok");
    }

    fn trouble(&mut self, why: &str) {
        let ends = self.expires();
        self.shared.alerts.raise(words::token(why, ends, self.by_approle(), Timestamp::now()));
        self.said_well = Some(false);
        self.state(why);
    }

    fn state(&self, state: &str) {
        let view = TokenView { state: state.to_owned(), expires: self.expires() };
        self.shared.board.update(|status| status.token = view);
        self.shared.board.waits(LOGGED_IN, state);
    }

    fn expires(&self) -> Option<Timestamp> {
        let left = self.token.as_ref()?.left()?;
        Timestamp::now().checked_add(SignedDuration::try_from(left).ok()?).ok()
    }

    fn show(&self) {
        let ttl = match &self.token {
            None => -1.0,
            Some(token) => token.left().map_or(f64::INFINITY, |left| left.as_secs_f64()),
        };
        self.shared.metrics.set(&f::TOKEN_TTL, &[], ttl);
        let expires = self.expires();
        self.shared.board.update(|status| status.token.expires = expires);
    }
}

#[cfg(test)]
mod tests;
