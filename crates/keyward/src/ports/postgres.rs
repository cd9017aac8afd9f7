//! PostgreSQL behind the engine's port: one secret's administrator and its consumers' endpoints.

use crate::config::SecretRef;
use crate::references::Resolver;
use async_trait::async_trait;
use keyward_engine::ports::{FenceAnswer, FenceCall, FencePhase, Postgres, Session};
use keyward_engine::{Class, Failure};
use keyward_rotation::Number;
use keyward_secret::{Secret, SystemRandom};
use keyward_targets::postgres::{
    self as target, Admin, AdminError, Change, FailureClass, LoginFailure, Phase, PostgresUrl, RefusalUnproved, Verdict,
};
use std::sync::Arc;
use std::time::Duration;

/// How long one task with PostgreSQL may take, name lookup and TLS included.
pub const LIMIT: Duration = Duration::from_secs(10);

/// One secret's PostgreSQL.
pub struct PostgresPort {
    /// Where the administrator logs in, with the user in it.
    pub admin: PostgresUrl,
    /// Resolves the administrator's password at each call, so that its own rotation is never in the way.
    pub resolver: Arc<Resolver>,
    /// The administrator's password.
    pub password: SecretRef,
    /// The ways on which consumers log in, and what they must be able to do there.
    pub logins: Vec<(PostgresUrl, Option<String>)>,
}

impl PostgresPort {
    pub(super) async fn admin(&self) -> Result<Admin, Failure> {
        let password = self.resolver.resolve(&self.password).await.map_err(|f| f.during("the administrator's password"))?;
        Admin::new(self.admin.clone(), password, LIMIT).map_err(|e| Failure::lasting(Class::Invalid, e.to_string()))
    }
}

/// Logs in on every way and runs its probe; the first failure ends it.
pub async fn login_on_every_way(ways: &[(PostgresUrl, Option<String>)], user: &str, password: &Secret) -> Result<(), Failure> {
    for (url, probe) in ways {
        target::login_everywhere(url, user, password, probe.as_deref(), LIMIT).await.map_err(|e| login_failure(&e))?;
    }
    Ok(())
}

/// A failed login in the engine's words.
pub fn login_failure(failure: &LoginFailure) -> Failure {
    let class = match failure.class {
        FailureClass::Unreachable | FailureClass::TooManyConnections | FailureClass::PoolerCached | FailureClass::Standby => {
            Class::Unreachable
        }
        FailureClass::Timeout => Class::Timeout,
        FailureClass::Refused => Class::Refused,
        FailureClass::WrongPassword => Class::WrongPassword,
        FailureClass::NoSuchDatabase => Class::NoSuchDatabase,
        FailureClass::Tls => Class::Tls,
        FailureClass::InsufficientPrivilege => Class::InsufficientPrivilege,
        FailureClass::Other(_) => Class::Other,
    };
    // A replica or a pooler may need a moment to learn a new password, so a refusal is tried again too: the bound is the saga's.
    let again = matches!(class, Class::Unreachable | Class::Timeout | Class::WrongPassword);
    Failure { class, again, unknown: false, text: failure.to_string() }
}

/// A failed call as the administrator in the engine's words.
pub fn admin_failure(error: &AdminError) -> Failure {
    match error {
        // A change whose answer was lost may have happened; repeating the same one is safe.
        AdminError::Server(failure) => {
            Failure { again: login_failure(failure).again || matches!(failure.class, FailureClass::Other(_)), ..login_failure(failure) }
        }
        other => Failure::lasting(Class::Invalid, other.to_string()),
    }
}

#[async_trait]
impl Postgres for PostgresPort {
    async fn preflight(&self, roles: &[&str]) -> Result<(), Failure> {
        let checks = self.admin().await?.preflight(roles).await.map_err(|e| admin_failure(&e))?;
        if let Some(failed) = checks.into_iter().find(|c| c.verdict == Verdict::Fail) {
            return Err(Failure::lasting(Class::Invalid, failed.says));
        }
        let Some(role) = roles.first() else { return Ok(()) };
        for (url, _) in &self.logins {
            match target::refuses_wrong_password_everywhere(url, role, &SystemRandom, LIMIT).await {
                Ok(()) => {}
                Err(RefusalUnproved::Unanswered(failure)) => return Err(login_failure(&failure)),
                Err(unproved) => return Err(Failure::lasting(Class::TrustsAnyone, unproved.to_string())),
            }
        }
        Ok(())
    }

    async fn fence(&self, role: &str) -> Result<Option<Number>, Failure> {
        let row = self.admin().await?.fence(role).await.map_err(|e| admin_failure(&e))?;
        Ok(row.map(|row| row.number))
    }

    async fn apply(&self, call: FenceCall<'_>, password: &Secret) -> Result<FenceAnswer, Failure> {
        let phase = match call.phase {
            FencePhase::Apply => Phase::Apply,
            FencePhase::Undo => Phase::Undo,
            FencePhase::Retire => Phase::Retire,
        };
        let change = Change { role: call.role, secret: call.secret, number: call.number, phase, rotation: call.rotation };
        let answer = self.admin().await?.apply(&change, password).await.map_err(|e| admin_failure(&e))?;
        Ok(match answer {
            target::FenceAnswer::Applied => FenceAnswer::Applied,
            target::FenceAnswer::Fenced(row) => FenceAnswer::Fenced { number: row.number },
            target::FenceAnswer::Foreign { secret } => FenceAnswer::Foreign { secret },
        })
    }

    async fn login(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        login_on_every_way(&self.logins, user, password).await
    }

    async fn refuses(&self, user: &str, password: &Secret) -> Result<(), Failure> {
        for endpoint in self.logins.iter().flat_map(|(url, _)| url.endpoints()) {
            match target::login(endpoint, user, password, None, LIMIT).await {
                Err(failure) if failure.class == FailureClass::WrongPassword => {}
                // A replica that has not replayed the change yet still lets the old one in: worth another try.
                Ok(proof) => return Err(Failure::passing(Class::TrustsAnyone, format!("{} still lets it in", proof.endpoint))),
                Err(failure) => return Err(login_failure(&failure)),
            }
        }
        Ok(())
    }

    async fn reassign(&self, role: &str, from: &str, to: &str) -> Result<(), Failure> {
        self.admin().await?.reassign(role, from, to).await.map(|_| ()).map_err(|e| admin_failure(&e))
    }

    async fn sessions(&self, user: &str) -> Result<Vec<Session>, Failure> {
        let admin = self.admin().await?;
        let mut all = Vec::new();
        for (url, _) in &self.logins {
            let sessions = admin.sessions(url, user).await.map_err(|e| admin_failure(&e))?;
            all.extend(sessions.into_iter().map(|s| Session {
                endpoint: s.endpoint,
                address: s.client_addr,
                application: s.application_name,
            }));
        }
        Ok(all)
    }
}
