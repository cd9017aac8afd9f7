//! The HTTP client below everything: no redirects, no proxy, our own trust, a limit on every wait and on every body.
//!
//! vaultrs' own way of sending copies answers into its errors and reads bodies without a limit, so its endpoints and its
//! middleware are used here, and its sending is not. Buffers that we own are wiped; what the HTTP and TLS libraries buffered is beyond reach.

use crate::error::clean;
use crate::{Kind, VaultError, tls};
use bytes::Bytes;
use reqwest::redirect::Policy;
use std::error::Error as StdError;
use std::time::Duration;
use url::{Host, Url};
use zeroize::Zeroizing;

/// Vault refuses requests beyond 32 MiB by default; answers beyond that are none that we ask for.
const MAX_BODY_BYTES: usize = 32 << 20;
/// A longer `Retry-After` is cut to this.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(1);
/// Idle connections are closed before common load balancers do it (60 s).
const POOL_IDLE: Duration = Duration::from_secs(50);
const POOL_SIZE: usize = 8;

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection with its TLS handshake.
    pub connect: Duration,
    /// For one request as a whole, its connection included.
    pub request: Duration,
    /// For one request that makes Vault talk to a database (rotation, verification of a connection).
    pub database: Duration,
}

impl Default for Timeouts {
    /// 5 s, 15 s and 60 s.
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), request: Duration::from_secs(15), database: Duration::from_mins(1) }
    }
}

/// Where Vault is and how it is trusted.
#[derive(Clone, Default)]
pub struct Options {
    /// `https://host:port`, without a path. `http` only to loopback, or when [`Self::insecure`] is set.
    pub address: String,
    /// The namespace for every call (Vault Enterprise, OpenBao).
    pub namespace: Option<String>,
    /// PEM text of the CA certificates that count, and no others. `None`: the system's roots.
    pub ca_pem: Option<Vec<u8>>,
    /// Accepts any server certificate (`VAULT_SKIP_VERIFY`).
    pub insecure_skip_verify: bool,
    /// Allows `http` beyond loopback: the token and every secret then travel in clear.
    pub insecure: bool,
    /// The limits.
    pub timeouts: Timeouts,
}

/// What came back, whatever its status.
pub(crate) struct Answer {
    pub status: u16,
    pub body: Zeroizing<Vec<u8>>,
    pub retry_after: Option<Duration>,
    /// The server's own certificate (DER), when TLS was spoken.
    pub certificate: Option<Vec<u8>>,
}

/// Why nothing came back.
pub(crate) struct Broken {
    pub kind: Kind,
    pub why: String,
    /// Whether the request may have reached the server.
    pub sent: bool,
}

/// An address that may be spoken to: scheme, host and port alone.
pub(crate) fn address(text: &str, insecure: bool) -> Result<Url, VaultError> {
    // The text is not repeated: it could hold a password.
    let bad = |why: &str| VaultError::new(Kind::Invalid, "use the Vault address", why);
    let url = Url::parse(text.trim()).map_err(|_| bad("it is no URL; write https://host:port"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("a user or password in it is not understood by Vault"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(bad("a path, query or fragment in it is not supported; write https://host:port"));
    }
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err(bad("it names no host")),
    };
    match url.scheme() {
        "https" => Ok(url),
        "http" if loopback || insecure => Ok(url),
        "http" => Err(bad("plain http beyond loopback would show the token; use https, or set `insecure = true`")),
        _ => Err(bad("its scheme is neither https nor http")),
    }
}

pub(crate) struct Transport {
    http: reqwest::Client,
}

impl Transport {
    pub fn new(options: &Options) -> Result<Self, VaultError> {
        let tls = tls::config(options.ca_pem.as_deref(), options.insecure_skip_verify)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .tls_info(true)
            .redirect(Policy::none()) // a redirect would carry the token to another host
            .retry(reqwest::retry::never())
            .no_proxy()
            .connect_timeout(options.timeouts.connect)
            .timeout(options.timeouts.request)
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| VaultError::new(Kind::Tls, "set up the HTTP client for Vault", innermost(&e)))?;
        Ok(Self { http })
    }

    /// Sends one request once, with `body` in place of its own where there is one, and gives the answer before its body is read.
    /// `limit` is for everything, the answer's body included.
    pub async fn open(
        &self,
        request: http::Request<Vec<u8>>,
        body: Option<reqwest::Body>,
        limit: Duration,
    ) -> Result<reqwest::Response, Broken> {
        let (head, _) = request.into_parts();
        let url = Url::parse(&head.uri.to_string()).map_err(|_| unsendable())?;
        let mut outgoing = reqwest::Request::new(head.method, url);
        *outgoing.headers_mut() = head.headers;
        *outgoing.timeout_mut() = Some(limit);
        *outgoing.body_mut() = body;
        self.http.execute(outgoing).await.map_err(|e| broken(&e))
    }

    /// Sends one request once. The body is wiped when the HTTP library lets go of it.
    pub async fn send(&self, request: http::Request<Vec<u8>>, limit: Duration) -> Result<Answer, Broken> {
        let (head, body) = request.into_parts();
        let body = Zeroizing::new(body);
        let url = Url::parse(&head.uri.to_string()).map_err(|_| unsendable())?;
        let mut outgoing = reqwest::Request::new(head.method, url);
        *outgoing.headers_mut() = head.headers;
        *outgoing.timeout_mut() = Some(limit);
        if !body.is_empty() {
            *outgoing.body_mut() = Some(Bytes::from_owner(WipedBody(body)).into());
        }
        let response = self.http.execute(outgoing).await.map_err(|e| broken(&e))?;
        receive(response).await
    }
}

struct WipedBody(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for WipedBody {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(crate) async fn receive(mut response: reqwest::Response) -> Result<Answer, Broken> {
    let status = response.status().as_u16();
    let retry_after = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
    let certificate = response.extensions().get::<reqwest::tls::TlsInfo>().and_then(|t| t.peer_certificate()).map(<[u8]>::to_vec);
    let too_long = || Broken { kind: Kind::Internal, why: "the answer is longer than 32 MiB".into(), sent: true };
    let expected = usize::try_from(response.content_length().unwrap_or(0)).unwrap_or(usize::MAX);
    if expected > MAX_BODY_BYTES {
        return Err(too_long());
    }
    // At its full size from the start where that is known, so that growing leaves no copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(expected));
    while let Some(chunk) = response.chunk().await.map_err(|e| broken(&e))? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    let retry_after = retry_after.map(|s| Duration::from_secs(s).min(MAX_RETRY_AFTER));
    Ok(Answer { status, body, retry_after, certificate })
}

fn unsendable() -> Broken {
    Broken { kind: Kind::Invalid, why: "the request cannot be built".into(), sent: false }
}

pub(crate) fn broken(error: &reqwest::Error) -> Broken {
    let sent = !error.is_connect();
    if let Some(tls) = tls_cause(error) {
        return Broken { kind: Kind::Tls, why: tls, sent };
    }
    let kind = if error.is_timeout() && sent { Kind::Timeout } else { Kind::Unreachable };
    let why = if kind == Kind::Timeout { String::new() } else { innermost(error) };
    Broken { kind, why, sent }
}

/// The TLS library's own words, if it is to blame. An `io::Error` hides what it wraps from `source()`, so it is asked itself.
fn tls_cause(error: &(dyn StdError + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.to_string());
        }
        if let Some(wrapped) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)
            && let Some(found) = tls_cause(wrapped)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The last cause's text: the operating system's or resolver's, which knows no URL, header or body.
fn innermost(error: &reqwest::Error) -> String {
    let mut last: Option<&dyn StdError> = error.source();
    while let Some(inner) = last.and_then(StdError::source) {
        last = Some(inner);
    }
    last.map(|e| clean([e.to_string()], &[]).concat()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, insecure: bool, accepted: bool) {
        assert_eq!(address(text, insecure).is_ok(), accepted, "{text}");
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        for local in ["http://127.0.0.1:8200", "http://127.9.9.9", "http://[::1]:8200", "http://localhost:8200/"] {
            check(local, false, true);
        }
        check("https://vault.example.com:8200", false, true);
        check("http://vault.example.com:8200", false, false);
        check("http://127.0.0.1.example.com", false, false);
        check("http://vault.example.com:8200", true, true);
    }

    #[test]
    fn an_address_is_scheme_host_and_port_alone() {
        for bad in ["", "vault:8200", "ftp://vault", "https://u:hunter2@vault", "https://vault/v1", "https://vault?x", "https://vault#x"] {
            check(bad, true, false);
            let error = address(bad, true).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
