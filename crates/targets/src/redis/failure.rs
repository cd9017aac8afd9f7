//! Why a node did not do what was asked, told apart by what a person has to do about it. It never repeats a password.

use super::node::Node;
use crate::tls;
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Nobody answered, the connection broke, or the server is loading its data.
    Unreachable,
    /// Not done within the limit. For a change this means unknown.
    Timeout,
    /// The user or the password is wrong, or the user is switched off: the server does not tell them apart.
    WrongPassword,
    /// The user may not run this command.
    InsufficientPrivilege,
    /// An untrusted or wrongly named certificate, or no TLS at all.
    Tls,
    /// The server has no room for another client.
    TooManyConnections,
    /// The user does not exist.
    NoSuchUser,
    /// Anything else that the server said.
    Other,
}

/// A node did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFailure {
    /// The node, as `host:port`.
    pub node: String,
    /// What kind of failure.
    pub class: FailureClass,
    /// The server's or the system's own words, shortened; safe to show.
    pub detail: String,
}

impl fmt::Display for NodeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class {
            FailureClass::Unreachable => "cannot be reached",
            FailureClass::Timeout => "did not answer in time",
            FailureClass::WrongPassword => "refuses this user and password",
            FailureClass::InsufficientPrivilege => "denies this user the command",
            FailureClass::Tls => "failed at TLS",
            FailureClass::TooManyConnections => "has no connection left",
            FailureClass::NoSuchUser => "does not have this user",
            FailureClass::Other => "answered with an error",
        };
        write!(f, "Redis at {} {what}: {}", self.node, self.detail)
    }
}

impl std::error::Error for NodeFailure {}

impl NodeFailure {
    pub(super) fn new(node: &Node, class: FailureClass, detail: impl AsRef<str>) -> Self {
        Self { node: node.to_string(), class, detail: shortened(detail.as_ref()) }
    }

    pub(super) fn timeout(node: &Node, limit: Duration) -> Self {
        Self::new(node, FailureClass::Timeout, format!("nothing after {} ms", limit.as_millis()))
    }

    /// A socket, or TLS upon it.
    pub(super) fn from_socket(node: &Node, error: &std::io::Error) -> Self {
        let class = if tls::is_at_fault(error) { FailureClass::Tls } else { FailureClass::Unreachable };
        Self::new(node, class, error.to_string())
    }

    /// What the client reports of a command that carried `hidden`.
    pub(super) fn from_client(node: &Node, error: &RedisError, hidden: &[&str]) -> Self {
        let said = match (error.code(), error.detail()) {
            (Some(code), Some(detail)) => format!("{code} {detail}"),
            (Some(code), None) => code.to_owned(),
            (None, _) => with_causes(error),
        };
        let repeats = hidden.iter().any(|value| !value.is_empty() && said.contains(value));
        let detail = if repeats { "message withheld, it repeats the password".to_owned() } else { said };
        Self::new(node, classify(error), detail)
    }
}

fn classify(error: &RedisError) -> FailureClass {
    if tls::is_at_fault(error) {
        return FailureClass::Tls;
    }
    match (error.kind(), error.code()) {
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => FailureClass::InsufficientPrivilege,
        (ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown), _) => FailureClass::Unreachable,
        (_, Some("WRONGPASS" | "NOAUTH")) | (ErrorKind::AuthenticationFailed, _) => FailureClass::WrongPassword,
        (_, Some("ERR")) if error.detail().is_some_and(|d| d.contains("max number of clients")) => FailureClass::TooManyConnections,
        (ErrorKind::Io, _) if error.is_timeout() => FailureClass::Timeout,
        (ErrorKind::Io, _) => FailureClass::Unreachable,
        _ => FailureClass::Other,
    }
}

fn with_causes(error: &RedisError) -> String {
    let mut said = error.category().to_owned();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

/// One line of bounded length.
fn shortened(text: &str) -> String {
    const LIMIT: usize = 300;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LIMIT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        Node::parse("redis://host").unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_message_stays_one_short_line() {
        let failure = NodeFailure::new(&node(), FailureClass::Other, "a\nb\u{1b}".repeat(500));
        assert_eq!(failure.detail.chars().count(), 300);
        assert!(!failure.detail.contains(['\n', '\u{1b}']));
    }

    #[test]
    fn a_password_sent_back_by_the_server_is_withheld() {
        let error = redis::make_extension_error("ODD".into(), Some("you said hunter2".into()));
        assert!(NodeFailure::from_client(&node(), &error, &[]).to_string().contains("you said"));
        assert!(!NodeFailure::from_client(&node(), &error, &["x", "hunter2"]).to_string().contains("hunter2"));
    }

    #[test]
    fn the_server_s_code_names_the_class() {
        let class = |code: &str| NodeFailure::from_client(&node(), &redis::make_extension_error(code.into(), None), &[]).class;
        assert_eq!(class("WRONGPASS"), FailureClass::WrongPassword);
        assert_eq!(class("NOAUTH"), FailureClass::WrongPassword);
        assert_eq!(class("MISCONF"), FailureClass::Other);
    }
}
