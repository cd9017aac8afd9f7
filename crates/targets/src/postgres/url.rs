//! Connection URLs as libpq means them, parsed by ourselves, because the driver knows neither `verify-full` nor `sslrootcert`.
//!
//! It never takes a password: secrets come by reference only. Shape (PostgreSQL manual, 34.1.1.2):
//! `postgresql://[user@]host[:port][,host[:port]…][/database][?sslmode=…&sslrootcert=…&channel_binding=…]`.

use percent_encoding::percent_decode_str;
use std::fmt;
use std::path::PathBuf;

/// Why a text is no URL that we can use. Never repeats the text, which might hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("a PostgreSQL URL starts with postgresql:// (or postgres://)")]
    Scheme,
    /// A password stands in the URL.
    #[error("the URL holds a password; take it out and name where the password is kept instead")]
    Password,
    /// No host at all: libpq would guess a local socket, we do not.
    #[error("the URL names no host; a local socket is written as postgresql://%2Frun%2Fpostgresql/…")]
    NoHost,
    /// A host that is empty or malformed.
    #[error("host {nth} in the URL is empty or malformed")]
    Host {
        /// Which one, counted from 1.
        nth: usize,
    },
    /// A port that is no number from 1 to 65535.
    #[error("the port of host {nth} in the URL is not a number from 1 to 65535")]
    Port {
        /// Which host, counted from 1.
        nth: usize,
    },
    /// A `%` that is not followed by two hexadecimal digits of UTF-8, or a NUL.
    #[error("the URL's {part} is not valid percent-encoded UTF-8")]
    Encoding {
        /// Which part of the URL.
        part: &'static str,
    },
    /// A parameter that Keyward does not follow. Its value is not repeated.
    #[error("the URL parameter {name:?} is not supported; known are sslmode, sslrootcert, channel_binding")]
    Parameter {
        /// The parameter's name.
        name: String,
    },
    /// A parameter's value that is none of the known ones.
    #[error("{name} must be one of {known}")]
    Value {
        /// The parameter's name.
        name: &'static str,
        /// What it may be.
        known: &'static str,
    },
    /// `sslmode=verify-ca` or `verify-full` over a local socket, which has no TLS.
    #[error("a local socket has no TLS: sslmode=verify-ca and verify-full need a host name")]
    SocketWithTls,
    /// The admin's URL must say as whom.
    #[error("the URL names no user; write postgresql://USER@host/…")]
    NoUser,
}

/// How a connection is protected (PostgreSQL manual, 34.19.3). `allow` is not offered: write `prefer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS where the server offers it, nothing verified; libpq's default. Unlike libpq, a failed handshake is not followed by an attempt in clear.
    #[default]
    Prefer,
    /// TLS or nothing; the certificate is verified only where `sslrootcert` is given (then as `verify-ca`, like libpq).
    Require,
    /// TLS, and the certificate must come from a known authority.
    VerifyCa,
    /// TLS, a known authority, and the certificate must name the host.
    VerifyFull,
}

/// Whether SCRAM must be bound to the TLS connection, so that nobody in between can relay it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never: for servers behind something that ends TLS.
    Disable,
    /// Where the server offers it; PgBouncer never does.
    Prefer,
    /// Or no login. Also keeps a false server from asking for the clear password.
    Require,
}

/// One server of a URL: the unit of every proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Name, address, or the folder of a local socket (starts with `/`).
    pub host: String,
    /// Port; 5432 where the URL names none.
    pub port: u16,
    /// The user named in the URL.
    pub user: Option<String>,
    /// The database; libpq takes the user's name where none is given.
    pub database: Option<String>,
    /// Protection of the connection.
    pub ssl_mode: SslMode,
    /// A file of PEM certificates that are the only authorities trusted; `None` means the system's own.
    pub ssl_root_cert: Option<PathBuf>,
    /// As written in the URL. `None`: [`ChannelBinding::Prefer`] for logins, as consumers do it;
    /// [`ChannelBinding::Require`] for the admin wherever TLS is sure.
    pub channel_binding: Option<ChannelBinding>,
}

impl Endpoint {
    /// Whether this is a local socket.
    pub fn is_local_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

/// A parsed URL: one or more endpoints that share everything but host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    // Invariant: at least one.
    endpoints: Vec<Endpoint>,
}

impl PostgresUrl {
    /// Parses a URL. Nothing is looked up and no file is read.
    ///
    /// # Errors
    /// [`UrlError`], which never repeats the URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let rest = text.strip_prefix("postgresql://").or_else(|| text.strip_prefix("postgres://")).ok_or(UrlError::Scheme)?;
        let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = before_query.split_once('/').unwrap_or((before_query, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(UrlError::Password),
            Some((user, hosts)) => (non_empty(decode(user, "user")?), hosts),
            None => (None, authority),
        };
        if hosts.is_empty() {
            return Err(UrlError::NoHost);
        }
        let mut shared = Endpoint {
            host: String::new(),
            port: 5432,
            user,
            database: non_empty(decode(database, "database")?),
            ssl_mode: SslMode::default(),
            ssl_root_cert: None,
            channel_binding: None,
        };
        for pair in query.split('&').filter(|p| !p.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            set_parameter(&mut shared, name, &decode(value, "query")?)?;
        }
        let endpoints = hosts.split(',').enumerate().map(|(i, host)| endpoint(&shared, host, i + 1)).collect::<Result<_, _>>()?;
        Ok(Self { endpoints })
    }

    /// Every server named, in the order of the URL; at least one.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The user named in the URL.
    pub fn user(&self) -> Option<&str> {
        self.endpoints.first().and_then(|e| e.user.as_deref())
    }
}

fn set_parameter(shared: &mut Endpoint, name: &str, value: &str) -> Result<(), UrlError> {
    match name {
        "sslmode" => {
            shared.ssl_mode = match value {
                "disable" => SslMode::Disable,
                "prefer" => SslMode::Prefer,
                "require" => SslMode::Require,
                "verify-ca" => SslMode::VerifyCa,
                "verify-full" => SslMode::VerifyFull,
                _ => return Err(UrlError::Value { name: "sslmode", known: "disable, prefer, require, verify-ca, verify-full" }),
            }
        }
        // `system` is libpq's word (16 and later) for the operating system's authorities.
        "sslrootcert" => shared.ssl_root_cert = (value != "system" && !value.is_empty()).then(|| PathBuf::from(value)),
        "channel_binding" => {
            shared.channel_binding = Some(match value {
                "disable" => ChannelBinding::Disable,
                "prefer" => ChannelBinding::Prefer,
                "require" => ChannelBinding::Require,
                _ => return Err(UrlError::Value { name: "channel_binding", known: "disable, prefer, require" }),
            });
        }
        "password" | "sslpassword" => return Err(UrlError::Password),
        _ => return Err(UrlError::Parameter { name: name.chars().take(40).collect() }),
    }
    Ok(())
}

fn endpoint(shared: &Endpoint, text: &str, nth: usize) -> Result<Endpoint, UrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inner) => {
            let (address, after) = inner.split_once(']').ok_or(UrlError::Host { nth })?;
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UrlError::Host { nth });
            }
            match after.strip_prefix(':') {
                Some(port) => (address, port),
                None if after.is_empty() => (address, ""),
                None => return Err(UrlError::Host { nth }),
            }
        }
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let port = match port {
        "" => 5432,
        digits => digits.parse().ok().filter(|p| *p != 0).ok_or(UrlError::Port { nth })?,
    };
    let host = decode(host, "host")?;
    if host.is_empty() || host.contains(char::is_whitespace) {
        return Err(UrlError::Host { nth });
    }
    let endpoint = Endpoint { host, port, ..shared.clone() };
    if endpoint.is_local_socket() && matches!(endpoint.ssl_mode, SslMode::VerifyCa | SslMode::VerifyFull) {
        return Err(UrlError::SocketWithTls);
    }
    Ok(endpoint)
}

fn decode(text: &str, part: &'static str) -> Result<String, UrlError> {
    let bytes = text.as_bytes();
    let broken = |i: usize| !matches!(bytes.get(i + 1..i + 3), Some(two) if two.iter().all(u8::is_ascii_hexdigit));
    if bytes.iter().enumerate().any(|(i, b)| *b == b'%' && broken(i)) {
        return Err(UrlError::Encoding { part });
    }
    let decoded = percent_decode_str(text).decode_utf8().map_err(|_| UrlError::Encoding { part })?;
    if decoded.contains('\0') { Err(UrlError::Encoding { part }) } else { Ok(decoded.into_owned()) }
}

fn non_empty(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Result<Vec<String>, UrlError> {
        PostgresUrl::parse(url).map(|u| u.endpoints().iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_host_is_an_endpoint_of_its_own() {
        assert_eq!(hosts("postgresql://db"), Ok(vec!["db:5432".into()]));
        assert_eq!(
            hosts("postgres://u@a:1,b,[::1]:3,[fe80::1]/d?sslmode=disable"),
            Ok(vec!["a:1".into(), "b:5432".into(), "[::1]:3".into(), "[fe80::1]:5432".into()])
        );
        assert_eq!(hosts("postgresql://%2Frun%2Fpostgresql/d"), Ok(vec!["/run/postgresql:5432".into()]));
    }

    #[test]
    fn what_is_shared_stands_in_every_endpoint() {
        let url =
            PostgresUrl::parse("postgresql://we%40ird@a,b/my%20db?sslmode=verify-full&sslrootcert=/etc/ca.pem&channel_binding=require");
        let Ok(url) = url else { panic!("{url:?}") };
        assert_eq!(url.user(), Some("we@ird"));
        for endpoint in url.endpoints() {
            assert_eq!(endpoint.database.as_deref(), Some("my db"));
            assert_eq!(endpoint.ssl_mode, SslMode::VerifyFull);
            assert_eq!(endpoint.ssl_root_cert.as_deref(), Some(std::path::Path::new("/etc/ca.pem")));
            assert_eq!(endpoint.channel_binding, Some(ChannelBinding::Require));
        }
    }

    #[test]
    fn absent_means_what_libpq_means() {
        let Ok(url) = PostgresUrl::parse("postgresql://db") else { panic!() };
        let endpoint = &url.endpoints()[0];
        assert_eq!((endpoint.ssl_mode, &endpoint.database, &endpoint.user), (SslMode::Prefer, &None, &None));
        let Ok(url) = PostgresUrl::parse("postgresql://db?sslrootcert=system") else { panic!() };
        assert_eq!(url.endpoints()[0].ssl_root_cert, None);
    }

    #[test]
    fn what_cannot_serve_is_refused() {
        let table = [
            ("mysql://db", UrlError::Scheme),
            ("postgresql://u:hunter2@db/d", UrlError::Password),
            ("postgresql://u:@db/d", UrlError::Password),
            ("postgresql://u:hunt@er2@db/d", UrlError::Password),
            ("postgresql://db/d?password=hunter2", UrlError::Password),
            ("postgresql:///d", UrlError::NoHost),
            ("postgresql://u@/d", UrlError::NoHost),
            ("postgresql://a,,b/d", UrlError::Host { nth: 2 }),
            ("postgresql://[::1/d", UrlError::Host { nth: 1 }),
            ("postgresql://[::1]x/d", UrlError::Host { nth: 1 }),
            ("postgresql://[db]/d", UrlError::Host { nth: 1 }),
            ("postgresql://a,b:0/d", UrlError::Port { nth: 2 }),
            ("postgresql://a:99999/d", UrlError::Port { nth: 1 }),
            ("postgresql://a/d%2", UrlError::Encoding { part: "database" }),
            ("postgresql://%ff@a/d", UrlError::Encoding { part: "user" }),
            ("postgresql://a/d%00", UrlError::Encoding { part: "database" }),
            ("postgresql://a/d?target_session_attrs=any", UrlError::Parameter { name: "target_session_attrs".into() }),
            ("postgresql://%2Frun/d?sslmode=verify-full", UrlError::SocketWithTls),
        ];
        for (url, error) in table {
            assert_eq!(PostgresUrl::parse(url), Err(error.clone()), "{url}");
            assert!(!error.to_string().contains("hunter2"));
        }
        assert!(matches!(PostgresUrl::parse("postgresql://a?sslmode=allow"), Err(UrlError::Value { name: "sslmode", .. })));
        assert!(matches!(PostgresUrl::parse("postgresql://a?channel_binding=x"), Err(UrlError::Value { name: "channel_binding", .. })));
    }
}
