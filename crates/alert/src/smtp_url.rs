//! The address of a mail server: where it is, and how the connection is protected.
//!
//! It never falls back to an unprotected connection, and holds no password: a password in a URL ends up in process lists and logs.

use percent_encoding::percent_decode_str;
use std::net::IpAddr;
use std::str::FromStr;
use url::{Host, Url};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS from the first byte (RFC 8314), port 465 unless said otherwise.
    Tls,
    /// STARTTLS, and nothing is sent if the server does not offer it; port 587 unless said otherwise.
    StartTls,
    /// None. Only to this very machine; port 25 unless said otherwise.
    Plain,
}

/// `smtps://user@host`, `smtp://user@host` (STARTTLS required) or `smtp+plain://localhost`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpUrl {
    /// How the connection is protected.
    pub security: SmtpSecurity,
    /// Name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Who logs in; `None` for a server that wants no login.
    pub user: Option<String>,
}

/// What is wrong with the address of a mail server. It never repeats the address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpUrlError {
    /// Not a URL.
    #[error("the mail server's URL cannot be read ({0}); write smtps://user@host:465 or smtp://user@host:587")]
    Malformed(#[from] url::ParseError),
    /// Another scheme.
    #[error("the mail server's URL begins with {0}://; use smtps:// (TLS), smtp:// (STARTTLS) or, to this machine only, smtp+plain://")]
    Scheme(String),
    /// No host.
    #[error("the mail server's URL names no host; write smtps://user@host:465")]
    NoHost,
    /// A password in the URL.
    #[error("the mail server's URL holds a password; give it by `password = {{ file = … }}` instead")]
    PasswordInUrl,
    /// Something after the host.
    #[error("the mail server's URL has a path, query or fragment; nothing may follow the host and port")]
    Trailing,
    /// Not this machine.
    #[error("smtp+plain:// is not protected and therefore goes to this machine only, not to {0}; use smtps:// or smtp://")]
    PlainBeyondLoopback(String),
    /// A user name that is no UTF-8 after decoding.
    #[error("the user in the mail server's URL is not UTF-8 after percent-decoding")]
    User,
}

impl FromStr for SmtpUrl {
    type Err = SmtpUrlError;

    fn from_str(text: &str) -> Result<Self, SmtpUrlError> {
        let url = Url::parse(text)?;
        let (security, default_port) = match url.scheme() {
            "smtps" => (SmtpSecurity::Tls, 465),
            "smtp" => (SmtpSecurity::StartTls, 587),
            "smtp+plain" => (SmtpSecurity::Plain, 25),
            other => return Err(SmtpUrlError::Scheme(other.to_owned())),
        };
        if url.password().is_some() {
            return Err(SmtpUrlError::PasswordInUrl);
        }
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(SmtpUrlError::Trailing);
        }
        let host = host(&url)?;
        if security == SmtpSecurity::Plain && !is_loopback(&host) {
            return Err(SmtpUrlError::PlainBeyondLoopback(host));
        }
        let user = percent_decode_str(url.username()).decode_utf8().map_err(|_| SmtpUrlError::User)?;
        let user = if user.is_empty() { None } else { Some(user.into_owned()) };
        Ok(Self { security, host, port: url.port().unwrap_or(default_port), user })
    }
}

fn host(url: &Url) -> Result<String, SmtpUrlError> {
    match url.host().ok_or(SmtpUrlError::NoHost)? {
        // Schemes unknown to the URL standard keep the host as written, percent-encoded and not lower-cased.
        Host::Domain(name) => {
            let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
            if name.is_empty() { Err(SmtpUrlError::NoHost) } else { Ok(name) }
        }
        Host::Ipv4(address) => Ok(address.to_string()),
        Host::Ipv6(address) => Ok(address.to_string()),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_ways() {
        let rows = [
            ("smtps://keyward@mail.example.com", SmtpSecurity::Tls, "mail.example.com", 465, Some("keyward")),
            ("smtps://mail.example.com:4650/", SmtpSecurity::Tls, "mail.example.com", 4650, None),
            ("smtp://key%40ward@MAIL.example.com", SmtpSecurity::StartTls, "mail.example.com", 587, Some("key@ward")),
            ("smtp+plain://localhost", SmtpSecurity::Plain, "localhost", 25, None),
            ("smtp+plain://127.0.0.1:1025", SmtpSecurity::Plain, "127.0.0.1", 1025, None),
            ("smtp+plain://[::1]:1025", SmtpSecurity::Plain, "::1", 1025, None),
        ];
        for (text, security, host, port, user) in rows {
            let expected = SmtpUrl { security, host: host.to_owned(), port, user: user.map(str::to_owned) };
            assert_eq!(text.parse::<SmtpUrl>(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_refused_and_why() {
        let rows = [
            ("mail.example.com", "cannot be read"),
            ("https://mail.example.com", "begins with https://"),
            ("smtps://", "names no host"),
            ("smtps://keyward:hunter2@mail.example.com", "holds a password"),
            ("smtps://mail.example.com/inbox", "nothing may follow"),
            ("smtps://mail.example.com?tls=none", "nothing may follow"),
            ("smtp+plain://mail.example.com", "not to mail.example.com"),
            ("smtp+plain://10.0.0.1", "not to 10.0.0.1"),
            ("smtp+plain://localhost.example.com", "not to localhost.example.com"),
            ("smtps://%ff@mail.example.com", "not UTF-8"),
        ];
        for (text, expected) in rows {
            let error = text.parse::<SmtpUrl>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
