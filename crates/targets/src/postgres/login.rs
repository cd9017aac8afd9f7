//! Proofs: can this user log in with this password, over the way that its consumers go, and do what they do?
//!
//! It never changes anything: whatever runs, runs in a read-only transaction that is rolled back. It works through poolers, also PgBouncer in
//! transaction mode: no start-up options, no named statements, nothing outside one transaction.

use super::failure::{FailureClass, LoginFailure};
use super::session::{Connected, Login, bounded, took, without};
use super::url::{ChannelBinding, Endpoint, PostgresUrl};
use keyward_secret::{Generator, GeneratorError, Secret, Source};
use std::time::{Duration, Instant};

/// A login that worked, and a statement that was answered by the database behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginProof {
    /// The endpoint, as `host:port`.
    pub endpoint: String,
    /// From name lookup to the probe's end.
    pub took: Duration,
    /// Whether the connection was encrypted; under `prefer` as far as the server says.
    pub encrypted: bool,
}

/// Why it is not shown that a wrong password is refused.
#[derive(Debug, thiserror::Error)]
pub enum RefusalUnproved {
    /// A random password was let in: `trust`, `peer` or the like. No login on this way proves anything.
    #[error("PostgreSQL at {endpoint} lets {user} in with any password (trust or peer in pg_hba.conf): nothing can be proved on this way")]
    TrustsAnyone {
        /// The endpoint, as `host:port`.
        endpoint: String,
        /// The user.
        user: String,
    },
    /// The attempt failed for another reason than the password.
    #[error(transparent)]
    Unanswered(#[from] LoginFailure),
    /// No random password could be made.
    #[error(transparent)]
    Random(#[from] GeneratorError),
}

/// Logs in at one endpoint and runs `probe` (else `SELECT 1`: a pooler answers a login without asking the database).
///
/// The probe may hold several statements. It runs read-only, its rows are thrown away unread.
///
/// # Errors
/// [`LoginFailure`]; [`FailureClass::InsufficientPrivilege`] and most [`FailureClass::Other`] come from the probe, after a login that worked.
pub async fn login(
    endpoint: &Endpoint,
    user: &str,
    password: &Secret,
    probe: Option<&str>,
    limit: Duration,
) -> Result<LoginProof, LoginFailure> {
    let start = Instant::now();
    bounded(endpoint, limit, async {
        let connected = Connected::open(endpoint, &consumer(user, password)).await?;
        let answered = run_probe(&connected, probe.unwrap_or("SELECT 1"), limit).await;
        let encrypted = connected.encrypted;
        connected.close().await;
        answered.map_err(|e| without(password, LoginFailure::from_probe(endpoint, &e)))?;
        Ok(LoginProof { endpoint: endpoint.to_string(), took: took(start), encrypted })
    })
    .await
}

/// [`login`] at every endpoint of the URL, one after the other; `limit` is for each.
///
/// # Errors
/// The first [`LoginFailure`]. A standby learns a new password only by replication: give it a moment and ask again.
pub async fn login_everywhere(
    url: &PostgresUrl,
    user: &str,
    password: &Secret,
    probe: Option<&str>,
    limit: Duration,
) -> Result<Vec<LoginProof>, LoginFailure> {
    let mut proofs = Vec::new();
    for endpoint in url.endpoints() {
        proofs.push(login(endpoint, user, password, probe, limit).await?);
    }
    Ok(proofs)
}

/// Shows that this way asks for the password at all, by one login with a random wrong one.
///
/// Leaves one failed login in the server's log; call it at preflight, not in a loop (some providers lock accounts).
///
/// # Errors
/// [`RefusalUnproved`].
pub async fn refuses_wrong_password(endpoint: &Endpoint, user: &str, random: &dyn Source, limit: Duration) -> Result<(), RefusalUnproved> {
    let wrong = Generator::password().generate(random)?;
    match login(endpoint, user, &wrong, None, limit).await {
        Err(LoginFailure { class: FailureClass::WrongPassword, .. }) => Ok(()),
        Ok(proof) => Err(RefusalUnproved::TrustsAnyone { endpoint: proof.endpoint, user: user.to_owned() }),
        Err(failure) => Err(failure.into()),
    }
}

/// [`refuses_wrong_password`] at every endpoint of the URL.
///
/// # Errors
/// The first [`RefusalUnproved`].
pub async fn refuses_wrong_password_everywhere(
    url: &PostgresUrl,
    user: &str,
    random: &dyn Source,
    limit: Duration,
) -> Result<(), RefusalUnproved> {
    for endpoint in url.endpoints() {
        refuses_wrong_password(endpoint, user, random, limit).await?;
    }
    Ok(())
}

/// As libpq would: channel binding where it is offered.
pub(super) fn consumer<'a>(user: &'a str, password: &'a Secret) -> Login<'a> {
    Login { user, password, options: None, channel_binding: ChannelBinding::Prefer }
}

async fn run_probe(connected: &Connected, probe: &str, limit: Duration) -> Result<(), tokio_postgres::Error> {
    let limit = limit.as_millis().max(1);
    let begin = format!("BEGIN TRANSACTION READ ONLY; SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {limit}");
    connected.client.batch_execute(&begin).await?;
    // Rows are dropped as they come by `batch_execute`, so that a probe of many rows costs no memory.
    connected.client.batch_execute(probe).await?;
    connected.client.batch_execute("ROLLBACK").await
}
