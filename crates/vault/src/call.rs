//! One call: an endpoint (vaultrs' own where it has one, else [`Raw`]) with what is special about it.

use crate::VaultError;
use crate::error::clean;
use crate::transport::Answer;
use crate::{Kind, path};
use keyward_secret::Secret;
use rustify::endpoint::Endpoint;
use rustify::enums::{RequestMethod, RequestType, ResponseType};
use rustify::errors::ClientError;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;
use zeroize::Zeroizing;

/// What a KV v2 mount answers (with 400) for a moment after it was made.
const SETTING_UP: &str = "Upgrading from non-versioned to versioned";

/// An endpoint that vaultrs lacks, or whose stock request would leave a secret in memory.
pub(crate) struct Raw {
    method: RequestMethod,
    path: String,
    query: Option<String>,
    body: Zeroizing<Vec<u8>>,
}

impl Raw {
    /// The path must have been checked by [`path::path`] or be a constant.
    pub fn new(method: RequestMethod, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), query: None, body: Zeroizing::new(Vec::new()) }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(RequestMethod::GET, path)
    }

    pub fn query(mut self, query: String) -> Self {
        self.query = Some(query);
        self
    }

    pub fn json(mut self, body: &serde_json::Value) -> Self {
        self.body = Zeroizing::new(body.to_string().into_bytes());
        self
    }

    pub fn body(mut self, body: Zeroizing<Vec<u8>>) -> Self {
        self.body = body;
        self
    }
}

impl Endpoint for Raw {
    type Response = ();
    const REQUEST_BODY_TYPE: RequestType = RequestType::JSON;
    const RESPONSE_BODY_TYPE: ResponseType = ResponseType::JSON;

    fn path(&self) -> String {
        self.path.clone()
    }

    fn method(&self) -> RequestMethod {
        self.method.clone()
    }

    fn query(&self) -> Result<Option<String>, ClientError> {
        Ok(self.query.clone())
    }

    fn body(&self) -> Result<Option<Vec<u8>>, ClientError> {
        // This copy becomes the request's body, which the transport wipes.
        Ok(Some(self.body.to_vec()))
    }
}

/// Whose token goes along.
pub(crate) enum Identity<'a> {
    /// The client's own.
    Own,
    /// None: logins, health.
    Nobody,
    /// This one instead (a wrapping token).
    Other(&'a Secret),
}

pub(crate) struct Call<'a, E> {
    pub endpoint: E,
    /// `METHOD path`, for errors.
    pub attempted: String,
    pub identity: Identity<'a>,
    /// Asks a standby that would answer from its own copy to forward (reads that decide).
    pub forward: bool,
    /// May be sent again after a failure: reads only.
    pub idempotent: bool,
    /// Goes out as `application/merge-patch+json`, without which Vault answers 415.
    pub merge_patch: bool,
    /// Makes Vault talk to a database: the longer limit.
    pub database: bool,
    /// Never to stand in an error, wherever Vault repeats it.
    pub hidden: Vec<&'a str>,
    /// The answer is to be wrapped for so long.
    pub wrap: Option<Duration>,
}

impl<'a, E: Endpoint> Call<'a, E> {
    fn new(endpoint: E) -> Self {
        let method: http::Method = endpoint.method().into();
        let attempted = format!("{method} {}", endpoint.path().trim().trim_start_matches('/'));
        Self {
            endpoint,
            attempted,
            identity: Identity::Own,
            forward: false,
            idempotent: false,
            merge_patch: false,
            database: false,
            hidden: Vec::new(),
            wrap: None,
        }
    }

    /// A read that decides something: repeated on passing failures, answered by the active node.
    pub fn read(endpoint: E) -> Self {
        Self { forward: true, idempotent: true, ..Self::new(endpoint) }
    }

    /// Anything that changes something: sent exactly once.
    pub fn write(endpoint: E) -> Self {
        Self::new(endpoint)
    }

    pub fn database(mut self) -> Self {
        self.database = true;
        self
    }

    pub fn merge_patch(mut self) -> Self {
        self.merge_patch = true;
        self
    }

    pub fn wrapped(mut self, ttl: Duration) -> Self {
        self.wrap = Some(ttl);
        self
    }

    pub fn identity(mut self, identity: Identity<'a>) -> Self {
        self.identity = identity;
        self
    }

    pub fn hide(mut self, secret: &'a Secret) -> Self {
        self.hidden.push(secret.expose());
        self
    }
}

/// Checks a mount and a name below it at once.
pub(crate) fn checked<'a>(attempted: &str, mount: &'a str, name: &'a str) -> Result<(&'a str, &'a str), VaultError> {
    Ok((path::mount(attempted, mount)?, path::path(attempted, name)?))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    auth: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Refusal {
    errors: Vec<String>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The `data` of Vault's envelope.
    pub fn data<'a, T: Deserialize<'a>>(&'a self, attempted: &str) -> Result<T, VaultError> {
        self.part(attempted, |e| e.data)
    }

    /// The `auth` of Vault's envelope.
    pub fn auth<'a, T: Deserialize<'a>>(&'a self, attempted: &str) -> Result<T, VaultError> {
        self.part(attempted, |e| e.auth)
    }

    fn part<'a, T: Deserialize<'a>>(
        &'a self,
        attempted: &str,
        pick: impl Fn(Envelope<'a>) -> Option<&'a RawValue>,
    ) -> Result<T, VaultError> {
        let envelope: Envelope<'a> = serde_json::from_slice(&self.body).map_err(|e| self.unreadable(attempted, &e))?;
        let part = pick(envelope).map_or("null", RawValue::get);
        serde_json::from_str(part).map_err(|e| self.unreadable(attempted, &e))
    }

    /// The body itself, for the few endpoints without an envelope.
    pub fn bare<'a, T: Deserialize<'a>>(&'a self, attempted: &str) -> Result<T, VaultError> {
        serde_json::from_slice(&self.body).map_err(|e| self.unreadable(attempted, &e))
    }

    /// Only where it broke: the parser's own words would quote the answer.
    fn unreadable(&self, attempted: &str, error: &serde_json::Error) -> VaultError {
        let why = format!("the answer is not of the expected form ({:?} at column {})", error.classify(), error.column());
        VaultError::sent(Kind::Internal, attempted, Some(self.status), vec![why])
    }

    /// What a status other than success means.
    pub fn failure(&self, attempted: &str, hidden: &[&str]) -> VaultError {
        let refusal = serde_json::from_slice::<Refusal>(&self.body).ok();
        let is_vault = refusal.is_some() || self.body.trim_ascii().is_empty() || serde_json::from_slice::<Envelope>(&self.body).is_ok();
        let errors = clean(refusal.map(|r| r.errors).unwrap_or_default(), hidden);
        let says = |text: &str| errors.iter().any(|e| e.contains(text));
        let kind = match self.status {
            300..=399 | 412 | 472 | 473 => Kind::Standby,
            400 if says("check-and-set parameter did not match") => Kind::Conflict,
            400 if says("initialized") => Kind::Uninitialised,
            400 if says(SETTING_UP) => Kind::Internal,
            400 if self.body.starts_with(b"Client sent an HTTP request to an HTTPS server") => Kind::Tls,
            401 | 403 => Kind::Denied,
            404 if is_vault => Kind::NotFound,
            429 => Kind::RateLimited,
            500 if says("active cluster node not found") || says("node not active") => Kind::Standby,
            501 => Kind::Uninitialised,
            503 if says("sealed") => Kind::Sealed,
            503 if is_vault => Kind::Standby,
            404 | 502..=504 => Kind::Unreachable,
            500.. => Kind::Internal,
            _ => Kind::Invalid,
        };
        let mut error = VaultError::sent(kind, attempted, Some(self.status), errors);
        error.retry_after = self.retry_after;
        match self.status {
            400 if kind == Kind::Internal => error.with_hint("the mount is being set up; try again in a moment"),
            300..=399 => error.with_hint("the answer was a redirect, which is not followed because it would carry the token along"),
            _ => error,
        }
    }
}

/// A pause in seconds that Vault counts in whole seconds; negative ones mean none.
pub(crate) fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: Zeroizing::new(body.as_bytes().to_vec()), retry_after: None, certificate: None }
    }

    fn check(status: u16, body: &str, expected: Kind) {
        assert_eq!(answer(status, body).failure("GET x", &[]).kind, expected, "{status} {body}");
    }

    #[test]
    fn statuses_and_messages_become_kinds() {
        check(400, r#"{"errors":["check-and-set parameter did not match the current version"]}"#, Kind::Conflict);
        check(400, r#"{"errors":["check-and-set parameter required for this call"]}"#, Kind::Invalid);
        check(400, "Client sent an HTTP request to an HTTPS server.\n", Kind::Tls);
        check(400, r#"{"errors":["Upgrading from non-versioned to versioned data. This backend will be unavailable"]}"#, Kind::Internal);
        check(403, r#"{"errors":["permission denied"]}"#, Kind::Denied);
        check(404, r#"{"errors":[]}"#, Kind::NotFound);
        check(404, "", Kind::NotFound);
        check(404, "<html>no such site</html>", Kind::Unreachable);
        check(307, "", Kind::Standby);
        check(429, r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#, Kind::RateLimited);
        check(500, r#"{"errors":["local node not active but active cluster node not found"]}"#, Kind::Standby);
        check(500, r#"{"errors":["internal error"]}"#, Kind::Internal);
        check(503, r#"{"errors":["Vault is sealed"]}"#, Kind::Sealed);
        check(503, "<html>no server is available</html>", Kind::Unreachable);
        check(504, "", Kind::Unreachable);
    }

    #[test]
    fn an_unreadable_answer_is_not_quoted() {
        let wrong = answer(200, r#"{"data":{"password":"hunter2"}}"#);
        let error = wrong.data::<u64>("GET x").unwrap_err();
        assert_eq!(error.kind, Kind::Internal);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        let cut = answer(200, r#"{"data":{"password":"hunter2"#);
        assert!(!format!("{:?}", cut.data::<()>("GET x").unwrap_err()).contains("hunter2"));
    }

    #[test]
    fn a_refusal_hides_what_was_sent() {
        let error = answer(400, r#"{"errors":["cannot use hunter2 here"]}"#).failure("POST x", &["hunter2"]);
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
