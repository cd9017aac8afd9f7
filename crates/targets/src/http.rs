//! Is a key accepted? One GET with the key in a header (or in the URL), judged by the status code alone.
//!
//! It never follows a redirect (the key would travel to whoever it names), never speaks plain HTTP beyond this machine, never reads the
//! answer's body, and never repeats the URL, a header or what the service said: any of them may hold the key.

use crate::tls::{self, Trust};
use keyward_secret::Secret;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url, redirect};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A request, ready to be sent: its templates are rendered.
#[derive(Debug)]
pub struct HttpProbe {
    /// The whole URL; may hold the key, hence a secret.
    pub url: Secret,
    /// Header names and values.
    pub headers: Vec<(String, Secret)>,
    /// The status that means "accepted".
    pub expect: u16,
    /// A PEM file of the only authorities trusted; `None` means the system's own.
    pub root_cert: Option<PathBuf>,
    /// From name lookup to the status line.
    pub limit: Duration,
}

/// Why a key is not shown to be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpFailure {
    /// Another status than expected. 401 and 403 mean that the key is refused; 429 and 5xx say nothing about it.
    #[error("{host} answered {status} where {expected} was expected")]
    Refused {
        /// Host of the URL.
        host: String,
        /// What it answered.
        status: u16,
        /// What was expected.
        expected: u16,
    },
    /// No connection.
    #[error("{host} cannot be reached")]
    Unreachable {
        /// Host of the URL.
        host: String,
    },
    /// No status line within the limit.
    #[error("{host} did not answer in time")]
    Timeout {
        /// Host of the URL.
        host: String,
    },
    /// The certificate is not trusted or names another host, or the handshake failed.
    #[error("TLS with {host} failed: its certificate must come from a trusted authority and name it")]
    Tls {
        /// Host of the URL.
        host: String,
    },
    /// The exchange broke off, or was no HTTP.
    #[error("the exchange with {host} broke off")]
    Exchange {
        /// Host of the URL.
        host: String,
    },
    /// The answer is not what it should be.
    #[error("the answer of {host} cannot be used: {why}")]
    Answer {
        /// Host of the URL.
        host: String,
        /// Why; fixed words.
        why: &'static str,
    },
    /// The request cannot be sent as it is.
    #[error("the request cannot be sent: {why}")]
    Request {
        /// Why; fixed words.
        why: &'static str,
    },
}

impl HttpProbe {
    /// Sends the request.
    ///
    /// # Errors
    /// [`HttpFailure`], which holds the URL's host and nothing else of the request.
    pub async fn get(&self) -> Result<(), HttpFailure> {
        let url = safe_url(self.url.expose())?;
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| HttpFailure::Request { why: "a header's name is malformed" })?;
            let value = HeaderValue::from_str(value.expose());
            let mut value = value.map_err(|_| HttpFailure::Request { why: "a header's value holds characters that no header may hold" })?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        let host = shown_host(&url);
        let client = client(self.limit, &url, self.root_cert.as_deref())?;
        let sent = client.get(url).headers(headers).send().await;
        let status = sent.map_err(|e| classify(&e, &host))?.status().as_u16();
        if status == self.expect { Ok(()) } else { Err(HttpFailure::Refused { host, status, expected: self.expect }) }
    }
}

/// A URL to which something may be sent: `https`, or `http` on this machine; no user and password in it.
pub(crate) fn safe_url(text: &str) -> Result<Url, HttpFailure> {
    let url = Url::parse(text).map_err(|_| HttpFailure::Request { why: "the URL is malformed" })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(HttpFailure::Request { why: "the URL holds a user or password; use a header" });
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_loopback(&url) => Ok(url),
        _ => Err(HttpFailure::Request { why: "only https is spoken beyond this machine" }),
    }
}

/// One client for one request. A proxy from the environment is followed, but not to this machine.
pub(crate) fn client(limit: Duration, url: &Url, root_cert: Option<&Path>) -> Result<Client, HttpFailure> {
    let tls = tls::client_config(Trust::AuthorityAndName, root_cert);
    let tls = tls.map_err(|_| HttpFailure::Request { why: "the trusted certificates cannot be read" })?;
    let builder = Client::builder().tls_backend_preconfigured(tls).redirect(redirect::Policy::none()).timeout(limit).connect_timeout(limit);
    let builder = if is_loopback(url) { builder.no_proxy() } else { builder };
    builder.build().map_err(|_| HttpFailure::Request { why: "the HTTP client cannot be set up" })
}

pub(crate) fn classify(error: &reqwest::Error, host: &str) -> HttpFailure {
    let host = host.to_owned();
    if error.is_timeout() {
        HttpFailure::Timeout { host }
    } else if tls::is_at_fault(error) {
        HttpFailure::Tls { host }
    } else if error.is_connect() {
        HttpFailure::Unreachable { host }
    } else {
        HttpFailure::Exchange { host }
    }
}

pub(crate) fn shown_host(url: &Url) -> String {
    url.host_str().unwrap_or("?").to_owned()
}

fn is_loopback(url: &Url) -> bool {
    match url.host_str().map(|h| h.trim_matches(['[', ']'])) {
        Some("localhost") => true,
        Some(host) => host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine() {
        for url in ["https://api.example.com/v1", "http://localhost:8080/", "http://127.0.0.9/", "http://[::1]:9/"] {
            assert!(safe_url(url).is_ok(), "{url}");
        }
        for url in [
            "http://api.example.com/",
            "http://localhost.evil.example/",
            "http://127.0.0.1.nip.io/",
            "ftp://localhost/",
            "https://u:p@h/",
            "x",
        ] {
            assert!(safe_url(url).is_err(), "{url}");
        }
    }
}
