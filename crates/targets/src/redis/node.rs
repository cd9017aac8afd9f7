//! One Redis server: where it is and whether TLS is spoken with it.

use std::fmt;
use std::path::PathBuf;

const DEFAULT_PORT: u16 = 6379;

/// A node, from a URL such as `rediss://redis-1.example.com:6379`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; 6379 where the URL has none.
    pub port: u16,
    /// Whether TLS is spoken (`rediss`); chain and name are then always checked.
    pub tls: bool,
    /// Issuers to trust instead of the system's (PEM).
    pub root_cert: Option<PathBuf>,
}

/// Why a text is no node. It repeats nothing of the text: somebody may have written a password into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// Another scheme.
    #[error("must begin with rediss:// (or redis:// without TLS)")]
    Scheme,
    /// A user or a password.
    #[error("must not hold a user or password; they are given beside it")]
    Credential,
    /// A database number, a path, a query.
    #[error("must be scheme, host and port only, such as \"rediss://redis-1.example.com:6379\"")]
    More,
    /// No host.
    #[error("names no host")]
    Host,
    /// A port out of range.
    #[error("has a port that is no number from 1 to 65535")]
    Port,
}

impl Node {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`NodeError`].
    pub fn parse(text: &str) -> Result<Self, NodeError> {
        let (scheme, rest) = text.split_once("://").ok_or(NodeError::Scheme)?;
        let tls = match scheme {
            "rediss" => true,
            "redis" => false,
            _ => return Err(NodeError::Scheme),
        };
        if rest.contains('@') {
            return Err(NodeError::Credential);
        }
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '#', ',']) || place.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(NodeError::More);
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']').ok_or(NodeError::Host)?,
            None => place.find(':').map_or((place, ""), |at| place.split_at(at)),
        };
        if host.is_empty() {
            return Err(NodeError::Host);
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port > 0).ok_or(NodeError::Port)?,
            None if port.is_empty() => DEFAULT_PORT,
            None => return Err(NodeError::Port),
        };
        Ok(Self { host: host.to_owned(), port, tls, root_cert: None })
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') { write!(f, "[{}]:{}", self.host, self.port) } else { write!(f, "{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_scheme_host_and_port() {
        let check = |text: &str, shown: &str, tls: bool| {
            let node = Node::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((node.to_string().as_str(), node.tls), (shown, tls), "{text}");
        };
        check("rediss://redis-1.example.com", "redis-1.example.com:6379", true);
        check("redis://127.0.0.1:7000/", "127.0.0.1:7000", false);
        check("rediss://[::1]:6380", "[::1]:6380", true);
        check("redis://[fe80::1]", "[fe80::1]:6379", false);
    }

    #[test]
    fn everything_else_is_refused_and_never_repeated() {
        for (text, error) in [
            ("redis-1:6379", NodeError::Scheme),
            ("http://hunter2", NodeError::Scheme),
            ("redis://app:hunter2@host", NodeError::Credential),
            ("redis://host/0", NodeError::More),
            ("redis://a,b", NodeError::More),
            ("redis://", NodeError::Host),
            ("redis://:6379", NodeError::Host),
            ("redis://[::1", NodeError::Host),
            ("redis://host:0", NodeError::Port),
            ("redis://host:70000", NodeError::Port),
            ("redis://[::1]x", NodeError::Port),
        ] {
            assert_eq!(Node::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
