//! The client: one Vault address, one token at a time, and the one way by which every call goes out.

use crate::call::{Call, Identity};
use crate::transport::{Answer, Options, Timeouts, Transport, address};
use crate::{Kind, VaultError};
use keyward_secret::Secret;
use reqwest::header::HeaderValue;
use rustify::endpoint::{Endpoint, MiddleWare};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use vaultrs::api::EndpointMiddleware;
use zeroize::Zeroize;

/// How often a read is sent at most.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; it doubles before the third.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Asks a node that would answer from its own copy to let the active node answer. Where an Enterprise cluster does not allow it
/// (`allow_forwarding_via_header`), a performance standby may answer with what is a moment old; writes with check-and-set are
/// forwarded in any case and then end in a conflict, so nothing is decided wrongly, only later.
const FORWARD: &str = "x-vault-forward";

/// A client for one Vault or OpenBao. Clones share connections and the token.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    transport: Transport,
    base: String,
    namespace: Option<String>,
    insecure: bool,
    timeouts: Timeouts,
    token: RwLock<Option<Arc<Secret>>>,
    /// Set once the server has said that it does not take [`FORWARD`]; open Vault never does, and refuses such a request.
    forward_refused: AtomicBool,
}

impl Client {
    /// A client without a token. Nothing is sent.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for an address or namespace that cannot serve, [`Kind::Tls`] for a CA that cannot.
    pub fn new(options: &Options) -> Result<Self, VaultError> {
        let base = address(&options.address, options.insecure)?.to_string();
        let namespace = options.namespace.as_deref().map(str::trim).filter(|n| !n.is_empty());
        if namespace.is_some_and(|n| !n.bytes().all(|b| b.is_ascii_graphic())) {
            return Err(VaultError::new(Kind::Invalid, "use the Vault namespace", "it may hold printable ASCII characters only"));
        }
        Ok(Self(Arc::new(Inner {
            transport: Transport::new(options)?,
            base,
            namespace: namespace.map(str::to_owned),
            insecure: options.insecure,
            timeouts: options.timeouts,
            token: RwLock::new(None),
            forward_refused: AtomicBool::new(false),
        })))
    }

    /// The address that calls go to, as configured.
    pub fn address(&self) -> &str {
        self.0.base.trim_end_matches('/')
    }

    /// The token for all calls from now on, those of clones too. Blanks around it (a file's last newline) are dropped.
    ///
    /// # Errors
    /// [`Kind::Invalid`] when it is empty or holds anything but printable ASCII; the old token then stays.
    pub fn set_token(&self, token: &Secret) -> Result<(), VaultError> {
        let token = Arc::new(valid_token(token)?);
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(())
    }

    /// Whether a token is set.
    pub fn has_token(&self) -> bool {
        self.token().is_some()
    }

    pub(crate) fn forget_token(&self) {
        *self.0.token.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn insecure(&self) -> bool {
        self.0.insecure
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.0.transport
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.0.timeouts
    }

    fn token(&self) -> Option<Arc<Secret>> {
        self.0.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends a call and demands success.
    pub(crate) async fn run<E: Endpoint>(&self, call: Call<'_, E>) -> Result<Answer, VaultError> {
        let answer = self.ask(&call).await?;
        if answer.is_success() { Ok(answer) } else { Err(self.refused(&call, &answer)) }
    }

    /// Sends a call; a 404 is an answer too, because some carry a body that matters.
    ///
    /// A read is repeated after failures that may pass by themselves; a write never is.
    pub(crate) async fn ask<E: Endpoint>(&self, call: &Call<'_, E>) -> Result<Answer, VaultError> {
        let mut attempt = 1;
        loop {
            let error = match self.once(call).await {
                Ok(answer) if answer.is_success() || answer.status == 404 => return Ok(answer),
                Ok(answer) => self.refused(call, &answer),
                Err(error) => error,
            };
            if !call.idempotent || attempt >= ATTEMPTS || !passes(&error) {
                return Err(error);
            }
            let pause = FIRST_PAUSE * 2_u32.pow(attempt - 1);
            tokio::time::sleep(error.retry_after.map_or(pause, |asked| asked.clamp(pause, Duration::from_secs(2)))).await;
            attempt += 1;
        }
    }

    pub(crate) fn refused<E: Endpoint>(&self, call: &Call<'_, E>, answer: &Answer) -> VaultError {
        let token = self.token();
        let mut hidden = call.hidden.clone();
        hidden.extend(token.as_deref().map(Secret::expose));
        answer.failure(&call.attempted, &hidden)
    }

    /// One attempt; twice on the wire only where the server refuses the forwarding header before it looks at anything else.
    async fn once<E: Endpoint>(&self, call: &Call<'_, E>) -> Result<Answer, VaultError> {
        let forward = call.forward && !self.0.forward_refused.load(Ordering::Relaxed);
        let answer = self.exchange(call, forward).await?;
        if forward && answer.status == 400 && answer.failure(&call.attempted, &[]).says("X-Vault-Forward") {
            self.0.forward_refused.store(true, Ordering::Relaxed);
            return self.exchange(call, false).await;
        }
        Ok(answer)
    }

    async fn exchange<E: Endpoint>(&self, call: &Call<'_, E>, forward: bool) -> Result<Answer, VaultError> {
        self.exchange_at(&self.0.base, call, forward).await
    }

    /// Sends a call once to another node than the configured address; a 404 is an answer too.
    pub(crate) async fn ask_at<E: Endpoint>(&self, base: &str, call: &Call<'_, E>) -> Result<(), VaultError> {
        let answer = self.exchange_at(base, call, false).await?;
        if answer.is_success() || answer.status == 404 { Ok(()) } else { Err(self.refused(call, &answer)) }
    }

    async fn exchange_at<E: Endpoint>(&self, base: &str, call: &Call<'_, E>, forward: bool) -> Result<Answer, VaultError> {
        let request = self.request(base, call, forward)?;
        let limit = if call.database { self.0.timeouts.database } else { self.0.timeouts.request };
        self.0.transport.send(request, limit).await.map_err(|broken| {
            let errors = if broken.why.is_empty() { vec![] } else { vec![broken.why] };
            if broken.sent {
                VaultError::sent(broken.kind, &call.attempted, None, errors)
            } else {
                VaultError::new(broken.kind, &call.attempted, errors.concat())
            }
        })
    }

    /// The request as vaultrs' endpoint and middleware make it (version, token, namespace), and what they lack.
    pub(crate) fn request<E: Endpoint>(&self, base: &str, call: &Call<'_, E>, forward: bool) -> Result<http::Request<Vec<u8>>, VaultError> {
        let own = self.token();
        let token = match call.identity {
            Identity::Own => own.as_deref(),
            Identity::Nobody => None,
            Identity::Other(token) => Some(token),
        };
        let mut stock = EndpointMiddleware {
            token: token.map(|t| t.expose().to_owned()).unwrap_or_default(),
            version: "v1".into(),
            wrap: call.wrap.map(|ttl| format!("{}s", ttl.as_secs().max(1))),
            namespace: self.0.namespace.clone(),
        };
        let mut request = call.endpoint.request(base).map_err(|_| unbuildable(&call.attempted))?;
        let dressed = stock.request(&call.endpoint, &mut request);
        stock.token.zeroize();
        dressed.map_err(|_| unbuildable(&call.attempted))?;
        let headers = request.headers_mut();
        if let Some(token) = headers.get_mut("x-vault-token") {
            token.set_sensitive(true);
        }
        if call.merge_patch {
            headers.insert("content-type", HeaderValue::from_static("application/merge-patch+json"));
        }
        if forward {
            headers.insert(FORWARD, HeaderValue::from_static("active-node"));
        }
        Ok(request)
    }
}

/// A token without blanks around it. One with a line break inside would make vaultrs panic.
pub(crate) fn valid_token(token: &Secret) -> Result<Secret, VaultError> {
    let trimmed = token.expose().trim();
    if trimmed.is_empty() || !trimmed.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(VaultError::new(Kind::Invalid, "use the Vault token", "it is empty or holds characters that no token has"));
    }
    Ok(Secret::new(trimmed))
}

/// The endpoint layer's own errors could quote what it was given.
pub(crate) fn unbuildable(attempted: &str) -> VaultError {
    VaultError::new(Kind::Invalid, attempted, "the request cannot be built")
}

/// Failures that may be over within a second: worth a second attempt of a read. A sealed Vault stays sealed for longer,
/// and a timeout has already taken its time.
fn passes(error: &VaultError) -> bool {
    match error.kind {
        Kind::Unreachable | Kind::RateLimited | Kind::Internal => true,
        Kind::Standby => !error.status.is_some_and(|s| (300..400).contains(&s)),
        _ => false,
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.address()).finish_non_exhaustive()
    }
}
