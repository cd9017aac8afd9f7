//! The HTTP client below the webhook and Alertmanager: one POST or GET, bounded, no redirects, no proxy from the environment.
//!
//! It never shows a URL's path or query, which may hold a token, and needs a rustls crypto provider installed by `main`.

use crate::delivery::{Password, SendError, one_line};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use std::error::Error as _;
use std::time::Duration;
use url::{Host, Url};

/// What an HTTP way out is made of.
#[derive(Debug)]
pub struct HttpOptions {
    /// Where to; `https://`, or `http://` to this machine.
    pub url: String,
    /// Sent as `Authorization: Bearer …`.
    pub bearer: Option<Password>,
    /// Certificates (PEM) that alone are trusted, instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// Allows `http://` beyond this machine: whoever listens on the way reads the alerts and the token.
    pub insecure: bool,
    /// From the first packet to the whole answer.
    pub limit: Duration,
}

/// What is wrong with the options. It never repeats the URL.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not a URL.
    #[error("the {0} URL cannot be read ({1}); write https://host/path")]
    Malformed(&'static str, url::ParseError),
    /// Neither http nor https, or no host.
    #[error("the {0} URL must begin with https://, or http:// to this machine")]
    Scheme(&'static str),
    /// Unprotected.
    #[error("the {what} URL is http:// to {host}, readable by everybody on the way; use https:// or say `insecure = true`")]
    Plain {
        /// Which way out.
        what: &'static str,
        /// Where to.
        host: String,
    },
    /// User and password in the URL.
    #[error("the {0} URL holds a user or password; give a token by `token = {{ file = … }}` instead")]
    LoginInUrl(&'static str),
    /// A token that cannot stand in a header.
    #[error("the {0} token has characters that cannot be sent in a header (a line break at its end?)")]
    Token(&'static str),
    /// A certificate file that cannot be used, or no crypto provider.
    #[error("the TLS set-up of the {what} cannot be made: {why}")]
    Tls {
        /// Which way out.
        what: &'static str,
        /// The library's complaint.
        why: String,
    },
}

/// A client for one URL.
pub(crate) struct Poster {
    client: Client,
    url: Url,
    /// `host:port`, fit to be shown.
    pub(crate) place: String,
    what: &'static str,
    bearer: Option<Password>,
}

impl Poster {
    pub(crate) fn new(what: &'static str, options: HttpOptions) -> Result<Self, HttpError> {
        let url = Url::parse(&options.url).map_err(|error| HttpError::Malformed(what, error))?;
        let place = place(what, &url)?;
        if url.scheme() == "http" && !options.insecure && !is_loopback(&url) {
            return Err(HttpError::Plain { what, host: place });
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::LoginInUrl(what));
        }
        if options.bearer.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| (0x20..0x7f).contains(&byte))) {
            return Err(HttpError::Token(what));
        }
        let client = client(what, &options)?;
        Ok(Self { client, url, place, what, bearer: options.bearer })
    }

    /// The URL with further path segments, whatever it ends in.
    pub(crate) fn below(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        let base = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{base}/{path}"));
        url
    }

    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    pub(crate) fn post(&self, url: Url, body: &serde_json::Value) -> RequestBuilder {
        self.authorized(self.client.post(url).json(body))
    }

    pub(crate) fn get(&self, url: Url) -> RequestBuilder {
        self.authorized(self.client.get(url))
    }

    pub(crate) fn head(&self, url: Url) -> RequestBuilder {
        self.authorized(self.client.head(url))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.bearer {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    /// Sends a request, and gives the answer whatever its status.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<Response, SendError> {
        request.send().await.map_err(|error| {
            let what = format!("sending to the {} at {}: {}", self.what, self.place, chain(&error.without_url()));
            SendError::Transient { what: self.scrubbed(what) }
        })
    }

    /// Sends a request that must be answered by a 2xx.
    pub(crate) async fn accepted(&self, request: RequestBuilder) -> Result<(), SendError> {
        let response = self.answer(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let words = one_line(first_words(response).await.trim());
        let what = self.scrubbed(format!("the {} at {} answered {status}: {words}", self.what, self.place));
        Err(if may_pass(status) { SendError::Transient { what } } else { SendError::Permanent { what } })
    }

    fn scrubbed(&self, text: String) -> String {
        self.bearer.as_ref().map_or_else(|| text.clone(), |token| token.scrub(&text))
    }
}

fn client(what: &'static str, options: &HttpOptions) -> Result<Client, HttpError> {
    let unusable = |error: reqwest::Error| HttpError::Tls { what, why: chain(&error.without_url()) };
    let mut builder = Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(options.limit)
        .connect_timeout(options.limit)
        .user_agent(concat!("keyward/", env!("CARGO_PKG_VERSION")));
    if let Some(pem) = &options.ca_pem {
        let authorities = reqwest::Certificate::from_pem_bundle(pem).map_err(unusable)?;
        if authorities.is_empty() {
            return Err(HttpError::Tls { what, why: "the CA file holds no certificate in PEM form".to_owned() });
        }
        builder = builder.tls_certs_only(authorities);
    }
    builder.build().map_err(unusable)
}

fn place(what: &'static str, url: &Url) -> Result<String, HttpError> {
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http" | "https", Some(host), Some(port)) => Ok(format!("{host}:{port}")),
        _ => Err(HttpError::Scheme(what)),
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Whether waiting may help. A redirect is not followed: the configured URL is wrong.
fn may_pass(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// The beginning of an answer's body; no more than one piece of it is read.
async fn first_words(mut response: Response) -> String {
    match response.chunk().await {
        Ok(Some(chunk)) => String::from_utf8_lossy(chunk.get(..1024).unwrap_or(&chunk)).into_owned(),
        Ok(None) | Err(_) => String::new(),
    }
}

/// An error with its causes, which reqwest's own text leaves out.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    one_line(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> HttpOptions {
        HttpOptions { url: url.to_owned(), bearer: None, ca_pem: None, insecure: false, limit: Duration::from_secs(1) }
    }

    #[test]
    fn what_is_refused_and_why() {
        let rows = [
            ("alerts.example.com", "cannot be read"),
            ("ftp://alerts.example.com", "must begin with https://"),
            ("http://alerts.example.com/T0KEN", "http:// to alerts.example.com:80"),
            ("https://user:T0KEN@alerts.example.com", "holds a user or password"),
        ];
        for (url, expected) in rows {
            let error = Poster::new("webhook", options(url)).err().expect(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
            assert!(!error.contains("T0KEN"), "{error}");
        }
    }

    #[test]
    fn a_token_with_a_line_break_is_named_not_sent() {
        let options = HttpOptions { bearer: Some(Password::new("abc\n")), ..options("https://alerts.example.com") };
        assert!(matches!(Poster::new("webhook", options), Err(HttpError::Token("webhook"))));
    }

    #[test]
    fn which_answers_may_pass() {
        let rows =
            [(500, true), (503, true), (429, true), (408, true), (425, true), (501, false), (400, false), (401, false), (301, false)];
        for (code, expected) in rows {
            assert_eq!(may_pass(StatusCode::from_u16(code).unwrap()), expected, "{code}");
        }
    }
}
