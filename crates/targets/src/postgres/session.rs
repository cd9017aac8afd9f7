//! One connection for one task, opened, used and closed inside one limit.
//!
//! It never outlives its call: dropping a [`Connected`] ends the task that drives it, and with it the socket.

use super::failure::{FailureClass, LoginFailure};
use super::url::{ChannelBinding, Endpoint, SslMode};
use crate::tls::{self, Trust};
use keyward_secret::Secret;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Config, config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How a polite end (the protocol's Terminate) may hold us up; afterwards the socket is simply closed.
const CLOSING: Duration = Duration::from_millis(500);

/// Who logs in, and how. Server settings go in `options`, which poolers refuse.
pub(super) struct Login<'a> {
    pub user: &'a str,
    pub password: &'a Secret,
    pub options: Option<&'a str>,
    /// Where the URL says nothing about channel binding.
    pub channel_binding: ChannelBinding,
}

/// A connection and the task that drives it.
pub(super) struct Connected {
    pub client: Client,
    pub encrypted: bool,
    /// Major version of the server, 0 where it did not say.
    pub major: u32,
    driver: Driver,
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connected {
    /// Logs in. Not bounded by itself: callers go through [`bounded`].
    pub async fn open(endpoint: &Endpoint, login: &Login<'_>) -> Result<Self, LoginFailure> {
        let config = configuration(endpoint, login);
        let tls = connector(endpoint)?;
        let fail = |e: tokio_postgres::Error| without(login.password, LoginFailure::from_driver(endpoint, &e));
        let (client, connection) = config.connect(tls).await.map_err(fail)?;
        let major = connection.parameter("server_version").map_or(0, major_version);
        // Errors of the connection reach whoever uses the client; there is nobody else to tell.
        let driver = Driver(tokio::spawn(async move { drop(connection.await) }));
        let encrypted = !endpoint.is_local_socket() && endpoint.ssl_mode != SslMode::Disable && is_encrypted(endpoint, &client).await;
        Ok(Self { client, encrypted, major, driver })
    }

    /// Ends the connection politely, so that the server logs no broken one.
    pub async fn close(self) {
        let Self { client, mut driver, .. } = self;
        drop(client);
        drop(tokio::time::timeout(CLOSING, &mut driver.0).await);
    }
}

/// Runs `work` within `limit`; what has not ended then is dropped, connection and all.
pub(super) async fn bounded<T>(
    endpoint: &Endpoint,
    limit: Duration,
    work: impl Future<Output = Result<T, LoginFailure>>,
) -> Result<T, LoginFailure> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(LoginFailure::timeout(endpoint, limit)))
}

/// A failure as it may be shown even if the server sent our password back.
pub(super) fn without(password: &Secret, failure: LoginFailure) -> LoginFailure {
    if password.expose().is_empty() || !failure.detail.contains(password.expose()) {
        return failure;
    }
    LoginFailure { detail: "message withheld, it repeats the password".into(), ..failure }
}

/// Milliseconds since `start`, for reports only.
pub(super) fn took(start: Instant) -> Duration {
    start.elapsed()
}

fn configuration(endpoint: &Endpoint, login: &Login<'_>) -> Config {
    let mut config = Config::new();
    config.host(&endpoint.host).port(endpoint.port).user(login.user).password(login.password.expose()).application_name("keyward");
    config.dbname(endpoint.database.as_deref().unwrap_or(login.user));
    if let Some(options) = login.options {
        config.options(options);
    }
    config.ssl_mode(match endpoint.ssl_mode {
        _ if endpoint.is_local_socket() => config::SslMode::Disable,
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    });
    config.channel_binding(match endpoint.channel_binding.unwrap_or(login.channel_binding) {
        ChannelBinding::Disable => config::ChannelBinding::Disable,
        ChannelBinding::Prefer => config::ChannelBinding::Prefer,
        ChannelBinding::Require => config::ChannelBinding::Require,
    });
    config
}

fn connector(endpoint: &Endpoint) -> Result<MakeRustlsConnect, LoginFailure> {
    let roots = endpoint.ssl_root_cert.as_deref();
    let trust = match endpoint.ssl_mode {
        SslMode::Disable | SslMode::Prefer => Trust::Anyone,
        // libpq: "require" with a root certificate at hand behaves as verify-ca.
        SslMode::Require if roots.is_some() => Trust::Authority,
        SslMode::Require => Trust::Anyone,
        SslMode::VerifyCa => Trust::Authority,
        SslMode::VerifyFull => Trust::AuthorityAndName,
    };
    let config = tls::client_config(trust, roots).map_err(|e| LoginFailure::new(endpoint, FailureClass::Tls, e.to_string()))?;
    Ok(MakeRustlsConnect::new(config))
}

/// With `prefer` only the server knows. Through a pooler this is the pooler's own connection, so unknown counts as not encrypted.
async fn is_encrypted(endpoint: &Endpoint, client: &Client) -> bool {
    if endpoint.ssl_mode != SslMode::Prefer {
        return true;
    }
    let row = client.query_typed_opt("SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()", &[]).await;
    matches!(row, Ok(Some(row)) if row.try_get(0).unwrap_or(false))
}

/// `15.18 (Debian 15.18-1)` → 15.
fn major_version(text: &str) -> u32 {
    text.split(|c: char| !c.is_ascii_digit()).next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_from_the_server_s_own_text() {
        for (text, major) in [("15.18 (Debian 15.18-1)", 15), ("17.0", 17), ("18beta1", 18), ("", 0), ("x", 0)] {
            assert_eq!(major_version(text), major, "{text}");
        }
    }

    #[test]
    fn a_password_sent_back_by_the_server_is_withheld() {
        let failure = LoginFailure::new("db:1", FailureClass::Other("XX000".into()), "you said hunter2");
        assert!(!without(&Secret::new("hunter2"), failure.clone()).to_string().contains("hunter2"));
        assert!(without(&Secret::new("other"), failure).to_string().contains("you said"));
    }
}
