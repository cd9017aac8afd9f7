//! An entry to a fact: what happened, in words that rules, metrics and usage share. Never a decision whether it matters.

use jiff::Timestamp;

use crate::entry::{Auth, Entry, Request, Response};
use crate::identity::Identity;
use crate::time;
use crate::words::{ErrorClass, Operation, Outcome};

/// Which of the lines of a call this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// The request's line of a call whose response's line follows. Does not count.
    Announced,
    /// The response's line. Counts.
    Completed,
    /// The only line the call will ever have: `sys/seal`, `sys/step-down`, and what a rate limit refused. Counts.
    Alone,
    /// The line that a device writes when it is enabled: request only, nobody called. Does not count.
    Probe,
    /// A line of an unknown type. Does not count.
    Unknown,
}

/// A token that a call made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    /// It has the root policy.
    pub root: bool,
    /// It outlives its maker.
    pub orphan: bool,
    /// It never expires.
    pub endless: bool,
}

/// What one line says happened. Borrowed from the entry; nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct Fact<'a> {
    /// When, by the server's clock; lines are only nearly in order.
    pub time: Timestamp,
    /// Which of a call's lines.
    pub phase: Phase,
    /// What was done.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// What kind of error, if it did not end well.
    pub error: Option<ErrorClass>,
    /// `secret/`; empty for unknown mounts.
    pub mount_point: &'a str,
    /// `kv`; empty for unknown mounts.
    pub mount_type: &'a str,
    /// Empty for the root namespace, else with a slash at its end.
    pub namespace: &'a str,
    /// The path within the namespace.
    pub path: &'a str,
    /// The call's id, common to its lines; may be empty.
    pub request_id: &'a str,
    /// Who called.
    pub identity: Identity<'a>,
    /// From where.
    pub address: &'a str,
    /// With a root token.
    pub root: bool,
    /// The call is a login.
    pub login: bool,
    /// The call made a token (not by logging in).
    pub new_token: Option<NewToken>,
    /// The answer was wrapped: whoever unwraps it reads the value.
    pub wrapped: bool,
    /// The answer came with a lease.
    pub leased: bool,
    /// The status of a raw answer: reading a deleted version says 404 here and no error anywhere.
    pub http_status: Option<u16>,
    entry: &'a Entry<'a>,
}

impl<'a> Fact<'a> {
    /// What `entry` says. `received` stands in for a time that cannot be read.
    pub fn of(entry: &'a Entry<'a>, received: Timestamp) -> Self {
        let request = &entry.request;
        let path: &str = &request.path;
        let operation = Operation::of(&request.operation);
        let phase = phase(entry, path);
        let login = is_login(request);
        let http_status = entry.response.as_ref().and_then(Response::http_status);
        let (outcome, error) = outcome(entry, operation, http_status);
        let nobody = Identity::default();
        Self {
            time: time::read(&entry.time).unwrap_or(received),
            phase,
            operation,
            outcome,
            error,
            mount_point: &request.mount_point,
            mount_type: &request.mount_type,
            namespace: request.namespace.as_ref().map_or("", |namespace| namespace.path.as_ref()),
            path,
            request_id: &request.id,
            identity: entry.auth.as_ref().map_or(nobody, |auth| identity(auth, request)),
            address: &request.remote_address,
            root: entry.auth.as_ref().is_some_and(|auth| auth.root),
            login,
            new_token: new_token(entry, path, login),
            wrapped: entry.response.as_ref().is_some_and(|response| response.wrap_info.is_some()),
            leased: entry.response.as_ref().is_some_and(Response::has_lease),
            http_status,
            entry,
        }
    }

    /// Whether this line is the one by which its call counts.
    pub fn counts(&self) -> bool {
        matches!(self.phase, Phase::Completed | Phase::Alone)
    }

    /// The caller for people's eyes: `approle/rotator`, `token-alice`, or `nobody`. Allocates; for findings and new readers.
    pub fn who(&self) -> String {
        let Identity { display_name, entity_id, .. } = self.identity;
        let name = if display_name.is_empty() { entity_id } else { display_name };
        match self.entry.auth.as_ref().and_then(Auth::role_name) {
            _ if name.is_empty() => "nobody".to_owned(),
            Some(role) => format!("{name}/{role}"),
            None => name.to_owned(),
        }
    }
}

fn identity<'a>(auth: &'a Auth<'a>, request: &'a Request<'a>) -> Identity<'a> {
    let accessor = if auth.accessor.is_empty() { &request.client_token_accessor } else { &auth.accessor };
    Identity { display_name: &auth.display_name, entity_id: &auth.entity_id, accessor }
}

fn phase(entry: &Entry<'_>, path: &str) -> Phase {
    match entry.kind.as_ref() {
        "response" => Phase::Completed,
        "request" if path == "sys/audit/test" && entry.request.mount_point.is_empty() => Phase::Probe,
        // The server writes the request's line, acts, and is sealed or no longer active when a response would be due.
        "request" if path == "sys/seal" || path == "sys/step-down" => Phase::Alone,
        // Refused by a quota before it was carried out; written only where the server is told to.
        "request" if entry.error == Some(ErrorClass::RateLimited) => Phase::Alone,
        "request" => Phase::Announced,
        _ => Phase::Unknown,
    }
}

/// `auth/METHOD/login…`. The mount may have several segments.
fn is_login(request: &Request<'_>) -> bool {
    let path: &str = &request.path;
    let within = match path.strip_prefix(request.mount_point.as_ref()) {
        Some(within) if request.mount_point.starts_with("auth/") => within,
        _ => path.strip_prefix("auth/").and_then(|rest| rest.split_once('/')).map_or("", |(_, within)| within),
    };
    within == "login" || within.starts_with("login/")
}

fn outcome(entry: &Entry<'_>, operation: Operation, http_status: Option<u16>) -> (Outcome, Option<ErrorClass>) {
    let refused = entry.auth.as_ref().and_then(|auth| auth.policy_results).is_some_and(|results| !results.allowed);
    if refused || entry.error == Some(ErrorClass::PermissionDenied) {
        return (Outcome::Denied, Some(ErrorClass::PermissionDenied));
    }
    if entry.error.is_some() {
        return (Outcome::Failed, entry.error);
    }
    // A key-value secret of version 1 with the one field `error` reads like a failed validation, which a read there never is.
    let is_value = operation == Operation::Read && matches!(entry.request.mount_type.as_ref(), "kv" | "generic" | "cubbyhole");
    if !is_value && entry.response.as_ref().is_some_and(Response::is_only_an_error) {
        return (Outcome::Failed, Some(ErrorClass::Unstated));
    }
    match http_status {
        Some(404) => (Outcome::Failed, Some(ErrorClass::NotFound)),
        Some(400..) => (Outcome::Failed, Some(ErrorClass::Unstated)),
        _ => (Outcome::Ok, None),
    }
}

fn new_token(entry: &Entry<'_>, path: &str, login: bool) -> Option<NewToken> {
    let made = entry.response.as_ref()?.auth.as_ref()?;
    if login || !path.starts_with("auth/token/create") {
        return None;
    }
    let orphan = path == "auth/token/create-orphan" || entry.request.asks_for_no_parent();
    Some(NewToken { root: made.root, orphan, endless: made.token_ttl == 0 })
}
