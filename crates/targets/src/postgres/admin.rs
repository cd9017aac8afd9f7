//! The admin: changes a role's password through the fence, reads the fence, sees who is connected.
//!
//! It never sends a clear password anywhere but for its own login, and never writes outside the schema `keyward` and the roles it is told to change.
//! It connects directly to the server: a transaction pooler would refuse its start-up options.

use super::failure::{FailureClass, LoginFailure};
use super::session::{Connected, Login, bounded};
use super::url::{ChannelBinding, Endpoint, PostgresUrl, SslMode, UrlError};
use super::verifier::{unusable_verifier, verifier_of};
use keyward_secret::{GeneratorError, Secret, Source};
use std::fmt::Write as _;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

/// Attempts of one change against locks and concurrent changes of the same role, pauses doubling from [`FIRST_PAUSE`].
const ATTEMPTS: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(25);
/// More sessions than this are not listed.
const SESSIONS_LISTED: i64 = 1_000;

/// What an actor does to a role, in the order in which it may do it within one rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The candidate's verifier is set.
    Apply = 0,
    /// The old password's verifier is set again.
    Undo = 1,
    /// The role is made unusable.
    Retire = 2,
}

/// Who changes which role: what the fence judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The role, unquoted.
    pub role: &'a str,
    /// The secret's name; a role belongs to one secret.
    pub secret: &'a str,
    /// The secret's number, from 1, never down.
    pub number: u64,
    /// What is done.
    pub phase: Phase,
    /// The rotation's id: whoever takes the same rotation over may repeat it.
    pub rotation: &'a str,
}

/// The highest change that ever passed for a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceRow {
    /// The secret that the role belongs to.
    pub secret: String,
    /// Its number.
    pub number: u64,
    /// Its phase.
    pub phase: Phase,
    /// Its rotation's id.
    pub rotation: String,
}

/// What the fence said to a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FenceAnswer {
    /// Passed, and the password is changed: both committed.
    Applied,
    /// A later actor has been here; nothing was changed.
    Fenced(FenceRow),
    /// The role belongs to another secret; nothing was changed.
    Foreign {
        /// The secret that it belongs to.
        secret: String,
    },
}

/// Somebody connected as a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Where, as `host:port`.
    pub endpoint: String,
    /// Process id on that server.
    pub pid: i32,
    /// What the client calls itself; may be empty.
    pub application_name: String,
    /// The client's address; `None` for a local socket, and without `pg_read_all_stats`.
    pub client_addr: Option<String>,
    /// When it connected, RFC 3339 in UTC; `None` without `pg_read_all_stats`.
    pub backend_start: Option<String>,
}

/// Why the admin could not do what was asked. Nothing was changed, unless the class is [`FailureClass::Timeout`] or
/// [`FailureClass::Unreachable`]: then it is unknown, and repeating the same change is safe.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] LoginFailure),
    /// There is no fence in this database.
    #[error("the fence is not installed in the database of {endpoint}; run `keyward init`")]
    NotInstalled {
        /// The endpoint, as `host:port`.
        endpoint: String,
    },
    /// The fence needs a schema of its own, and the role that Keyward logs in with may not make one.
    #[error("{failure}; the database's owner can allow it: GRANT CREATE ON DATABASE … TO the role that Keyward logs in with")]
    MayNotCreate {
        /// The server's refusal.
        failure: LoginFailure,
    },
    /// A newer Keyward was here.
    #[error("the fence at {endpoint} has format {found}, this version knows {known}; use the newer Keyward")]
    NewerFormat {
        /// The endpoint, as `host:port`.
        endpoint: String,
        /// The format found.
        found: i32,
        /// The format known.
        known: i32,
    },
    /// Somebody else owns the schema; calling into it would run their code with our rights.
    #[error("schema keyward at {endpoint} belongs to {owner}, not to the role that Keyward logs in with; give it to that role")]
    ForeignSchema {
        /// The endpoint, as `host:port`.
        endpoint: String,
        /// The schema's owner.
        owner: String,
    },
    /// The fence refuses such a role: superuser, replication, our own, absent, or barred from logging in.
    #[error("the fence does not change this role: {why}")]
    RoleRefused {
        /// The fence's own words.
        why: String,
    },
    /// The server's answer is not what the fence answers.
    #[error("the fence at {endpoint} gave an answer of another shape; somebody changed schema keyward")]
    Answer {
        /// The endpoint, as `host:port`.
        endpoint: String,
    },
    /// A role that we did not make, so that others may log in with it.
    #[error("the role {name} is there, and Keyward did not make it; its password stays what it is")]
    ForeignUser {
        /// The role.
        name: String,
    },
    /// A schema that is named in the configuration.
    #[error("the database of {endpoint} has no schema {schema}; make it, or take it out of the configuration")]
    NoSchema {
        /// The endpoint, as `host:port`.
        endpoint: String,
        /// The schema's name.
        schema: String,
    },
    /// The server took the grants without an error and granted less: the administrator owns not all of it.
    #[error("the administrator cannot grant this, because it is not the owner: {lacking}")]
    StillLacking {
        /// What is missing.
        lacking: String,
    },
    /// A number beyond what PostgreSQL's `bigint` holds.
    #[error("rotation number {0} is out of range")]
    Number(u64),
    /// No random value could be made.
    #[error(transparent)]
    Random(#[from] GeneratorError),
}

/// The role that owns the fence, and may alter the roles that are rotated.
#[derive(Debug)]
pub struct Admin {
    pub(super) url: PostgresUrl,
    user: String,
    password: Secret,
    pub(super) limit: Duration,
}

impl Admin {
    /// An admin; nothing is contacted. `limit` bounds every endpoint's connecting, and every task after it, each for itself.
    ///
    /// # Errors
    /// [`UrlError::NoUser`].
    pub fn new(url: PostgresUrl, password: Secret, limit: Duration) -> Result<Self, UrlError> {
        let user = url.user().ok_or(UrlError::NoUser)?.to_owned();
        Ok(Self { url, user, password, limit })
    }

    /// The user that it logs in as.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Sets the role's password through the fence; the server sees a verifier only. Goes to the first endpoint that is no standby.
    ///
    /// Repeating the same change is safe, so after a timeout: repeat, or look at [`Admin::fence`].
    ///
    /// # Errors
    /// [`AdminError`]. Being fenced off is an answer, not an error.
    pub async fn apply(&self, change: &Change<'_>, password: &Secret) -> Result<FenceAnswer, AdminError> {
        self.set(change, &verifier_of(password)).await
    }

    /// Sets a password that nobody knows, through the fence.
    ///
    /// # Errors
    /// As [`Admin::apply`].
    pub async fn make_unusable(&self, change: &Change<'_>, random: &dyn Source) -> Result<FenceAnswer, AdminError> {
        self.set(change, &unusable_verifier(random)?).await
    }

    /// The role's fence row; `None` if no change ever passed.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn fence(&self, role: &str) -> Result<Option<FenceRow>, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let sql = "SELECT secret, number, phase, rotation FROM keyward.fence($1)";
        let row = self.within(endpoint, connected.client.query_typed_opt(sql, &[(&role, Type::TEXT)])).await;
        connected.close().await;
        row?.map(|row| fence_row(endpoint, &row, 0)).transpose()
    }

    /// Hands a role over to a secret's new name; `false` if it did not belong to the old one.
    ///
    /// # Errors
    /// [`AdminError`].
    pub async fn reassign(&self, role: &str, from_secret: &str, to_secret: &str) -> Result<bool, AdminError> {
        let (endpoint, connected) = self.primary().await?;
        let sql = "SELECT keyward.reassign($1, $2, $3)";
        let arguments: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 3] =
            [(&role, Type::TEXT), (&from_secret, Type::TEXT), (&to_secret, Type::TEXT)];
        let row = self.within(endpoint, connected.client.query_typed_one(sql, &arguments)).await;
        connected.close().await;
        row?.try_get(0).map_err(|_| AdminError::Answer { endpoint: endpoint.to_string() })
    }

    /// Who is connected as `role` now, at every endpoint of `at` (at most 1,000 each); the admin logs in there with its own name and password.
    ///
    /// Sees sessions of the server, so that behind a pooler the client is the pooler. Addresses and times need `GRANT pg_read_all_stats`.
    ///
    /// # Errors
    /// [`AdminError`] of the first endpoint that cannot be asked: a partial answer would look like "unused".
    pub async fn sessions(&self, at: &PostgresUrl, role: &str) -> Result<Vec<Session>, AdminError> {
        let sql = "SELECT pid, coalesce(application_name, ''), host(client_addr), \
                   to_char(backend_start AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
                   FROM pg_catalog.pg_stat_activity \
                   WHERE usename = $1 AND coalesce(backend_type, 'client backend') = 'client backend' ORDER BY pid LIMIT $2";
        let mut sessions = Vec::new();
        for endpoint in at.endpoints() {
            let connected = self.connect(endpoint).await?;
            let rows =
                self.within(endpoint, connected.client.query_typed(sql, &[(&role, Type::TEXT), (&SESSIONS_LISTED, Type::INT8)])).await;
            connected.close().await;
            for row in rows? {
                sessions.push(session(endpoint, &row).map_err(|_| AdminError::Answer { endpoint: endpoint.to_string() })?);
            }
        }
        Ok(sessions)
    }

    async fn set(&self, change: &Change<'_>, verifier: &Secret) -> Result<FenceAnswer, AdminError> {
        let number = i64::try_from(change.number).map_err(|_| AdminError::Number(change.number))?;
        let (endpoint, connected) = self.primary().await?;
        let sql = "SELECT outcome, fence_secret, fence_number, fence_phase, fence_rotation FROM keyward.apply($1, $2, $3, $4, $5, $6)";
        let (phase, verifier) = (change.phase as i16, verifier.expose());
        let arguments: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 6] = [
            (&change.role, Type::TEXT),
            (&change.secret, Type::TEXT),
            (&number, Type::INT8),
            (&phase, Type::INT2),
            (&change.rotation, Type::TEXT),
            (&verifier, Type::TEXT),
        ];
        let attempts = async {
            let mut pause = FIRST_PAUSE;
            let mut attempt = 1;
            loop {
                match connected.client.query_typed_one(sql, &arguments).await {
                    Err(e) if attempt < ATTEMPTS && is_passing(&e) => tokio::time::sleep(pause).await,
                    answer => return answer,
                }
                attempt += 1;
                pause *= 2;
            }
        };
        let row = self.within(endpoint, attempts).await;
        connected.close().await;
        answer(endpoint, &row?)
    }

    /// The first endpoint that takes writes.
    pub(super) async fn primary(&self) -> Result<(&Endpoint, Connected), AdminError> {
        let mut first_failure = None;
        for endpoint in self.url.endpoints() {
            let attempt = async {
                let connected = self.connect(endpoint).await?;
                let standby = self.within(endpoint, prepare(&connected)).await?;
                Ok::<_, AdminError>((connected, standby))
            };
            match attempt.await {
                Ok((connected, false)) => return Ok((endpoint, connected)),
                Ok((connected, true)) => {
                    connected.close().await;
                    let standby =
                        LoginFailure::new(endpoint, FailureClass::Standby, "passwords are changed on the primary; name it in the URL");
                    first_failure.get_or_insert(standby.into());
                }
                Err(failure) => drop(first_failure.get_or_insert(failure)),
            }
        }
        // A parsed URL has at least one endpoint, so that there is a first failure.
        Err(first_failure.unwrap_or(AdminError::Server(LoginFailure::new("", FailureClass::Unreachable, "the URL names no host"))))
    }

    pub(super) async fn connect(&self, endpoint: &Endpoint) -> Result<Connected, AdminError> {
        let options = server_settings(self.limit);
        // Where TLS may be absent, binding to it cannot be demanded.
        let sure_of_tls = !endpoint.is_local_socket() && !matches!(endpoint.ssl_mode, SslMode::Disable | SslMode::Prefer);
        let channel_binding = if sure_of_tls { ChannelBinding::Require } else { ChannelBinding::Prefer };
        let login = Login { user: &self.user, password: &self.password, options: Some(&options), channel_binding };
        Ok(bounded(endpoint, self.limit, Connected::open(endpoint, &login)).await?)
    }

    /// Runs one task on a connection within the limit.
    pub(super) async fn within<T>(
        &self,
        endpoint: &Endpoint,
        task: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, AdminError> {
        match tokio::time::timeout(self.limit, task).await {
            Ok(done) => done.map_err(|e| explain(endpoint, &e)),
            Err(_) => Err(LoginFailure::timeout(endpoint, self.limit).into()),
        }
    }
}

/// Settings of every admin session, whatever the role's or the database's own defaults are.
fn server_settings(limit: Duration) -> String {
    let mut options = String::from(
        "-c search_path=pg_catalog -c standard_conforming_strings=on -c default_transaction_read_only=off \
         -c default_transaction_isolation=read\\ committed -c client_min_messages=warning -c lock_timeout=3s",
    );
    // The server gives up a little before we do: then it is known that nothing was changed.
    let limit = (limit * 4 / 5).as_millis().max(1);
    for name in ["statement_timeout", "idle_in_transaction_session_timeout"] {
        // Writing to a String cannot fail.
        let _ = write!(options, " -c {name}={limit}");
    }
    options
}

/// Says whether this is a standby, and keeps our parameters out of the server's log as far as we are allowed to:
/// on errors from PostgreSQL 13 on; in general as superuser, or from 15 on by `GRANT SET ON PARAMETER log_parameter_max_length`.
async fn prepare(connected: &Connected) -> Result<bool, tokio_postgres::Error> {
    let allowed = if connected.major >= 15 {
        "has_parameter_privilege('log_parameter_max_length', 'SET')"
    } else {
        "current_setting('is_superuser') = 'on'"
    };
    let sql = format!(
        "SELECT pg_is_in_recovery(), (SELECT count(set_config(name, '0', false)) FROM pg_catalog.pg_settings \
         WHERE name = 'log_parameter_max_length_on_error' OR (name = 'log_parameter_max_length' AND {allowed}))"
    );
    connected.client.query_typed_one(&sql, &[]).await?.try_get(0)
}

/// Whether the same statement may well succeed a moment later: `tuple concurrently updated` (which has no code of its own),
/// serialization, deadlock, lock timeout.
fn is_passing(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| matches!(code.code(), "XX000" | "40001" | "40P01" | "55P03"))
}

fn explain(endpoint: &Endpoint, error: &tokio_postgres::Error) -> AdminError {
    match error.code().map(tokio_postgres::error::SqlState::code) {
        // Undefined function, table or schema.
        Some("42883" | "42P01" | "3F000") => AdminError::NotInstalled { endpoint: endpoint.to_string() },
        Some("KW001") => AdminError::RoleRefused { why: LoginFailure::from_driver(endpoint, error).detail },
        _ => LoginFailure::from_driver(endpoint, error).into(),
    }
}

fn answer(endpoint: &Endpoint, row: &Row) -> Result<FenceAnswer, AdminError> {
    let stands = fence_row(endpoint, row, 1)?;
    match row.try_get::<_, &str>(0) {
        Ok("applied") => Ok(FenceAnswer::Applied),
        Ok("fenced") => Ok(FenceAnswer::Fenced(stands)),
        Ok("foreign") => Ok(FenceAnswer::Foreign { secret: stands.secret }),
        _ => Err(AdminError::Answer { endpoint: endpoint.to_string() }),
    }
}

/// Four columns from `first` on: secret, number, phase, rotation.
fn fence_row(endpoint: &Endpoint, row: &Row, first: usize) -> Result<FenceRow, AdminError> {
    let read = || {
        let phase = match row.try_get::<_, i16>(first + 2).ok()? {
            0 => Phase::Apply,
            1 => Phase::Undo,
            2 => Phase::Retire,
            _ => return None,
        };
        let number = u64::try_from(row.try_get::<_, i64>(first + 1).ok()?).ok()?;
        Some(FenceRow { secret: row.try_get(first).ok()?, number, phase, rotation: row.try_get(first + 3).ok()? })
    };
    read().ok_or_else(|| AdminError::Answer { endpoint: endpoint.to_string() })
}

fn session(endpoint: &Endpoint, row: &Row) -> Result<Session, tokio_postgres::Error> {
    Ok(Session {
        endpoint: endpoint.to_string(),
        pid: row.try_get(0)?,
        application_name: row.try_get(1)?,
        client_addr: row.try_get(2)?,
        backend_start: row.try_get(3)?,
    })
}
