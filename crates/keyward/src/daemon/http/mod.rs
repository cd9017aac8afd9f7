//! The daemon's HTTP side: metrics, health, status. It only tells; whoever wants something done uses the control socket.
//!
//! Every connection, header and answer has a time limit, and a stop waits for open answers a few seconds at most.

use super::pulse;
use super::shared::Shared;
use crate::metrics::families as f;
use anyhow::{Context, Result};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::Handle;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;

/// From a connection, or from one answer to the next request's last header line.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// From a request's header to its answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long a stop waits for open answers.
const DRAIN: Duration = Duration::from_secs(3);
/// Nothing here takes a body.
const LARGEST_BODY_BYTES: usize = 1024;
/// The longest header that is read.
const LARGEST_HEADER_BYTES: usize = 16 * 1024;
/// Answers at once; further requests are told to come back.
const AT_ONCE: usize = 32;

/// The port, taken.
#[derive(Debug)]
pub struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Where it listens: with the port that was given where the configuration asked for any.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Takes the port, so that a start fails at once where it cannot be had.
///
/// # Errors
/// The address, and why it cannot be had.
pub fn bind(address: SocketAddr) -> Result<Listener> {
    let cannot =
        || format!("cannot listen on {address}: see that no other program (another keyward?) has it, or name another one in [http] listen");
    let tcp = TcpListener::bind(address).with_context(cannot)?;
    let address = tcp.local_addr().with_context(cannot)?;
    Ok(Listener { tcp, address })
}

/// Serves until the daemon stops. May be started again on the same listener.
pub async fn serve(listener: Arc<Listener>, shared: Arc<Shared>) {
    if let Err(error) = try_serve(&listener, &shared).await {
        tracing::error!(%error, address = %listener.address, "HTTP is not served any more.");
    }
}

async fn try_serve(listener: &Listener, shared: &Arc<Shared>) -> io::Result<()> {
    let handle = Handle::new();
    let mut server =
        axum_server::from_tcp(listener.tcp.try_clone()?)?.http1_only().first_request_timeout(HEADER_LIMIT).handle(handle.clone());
    server.http_builder().http1().header_read_timeout(HEADER_LIMIT).max_buf_size(LARGEST_HEADER_BYTES);
    tracing::info!(address = %listener.address, "HTTP is served.");
    let served = server.serve(router(Arc::clone(shared)).into_make_service());
    tokio::pin!(served);
    tokio::select! {
        ended = &mut served => ended,
        () = shared.stopped() => {
            handle.graceful_shutdown(Some(DRAIN));
            served.await
        }
    }
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/api/v1/status", get(status))
        .with_state(shared)
        .layer(RequestBodyLimitLayer::new(LARGEST_BODY_BYTES))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, ANSWER_LIMIT))
        .layer(middleware::from_fn_with_state(Arc::new(Semaphore::new(AT_ONCE)), few_at_once))
}

async fn few_at_once(State(places): State<Arc<Semaphore>>, request: Request, next: Next) -> Response {
    match places.try_acquire() {
        Ok(_place) => next.run(request).await,
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], "too many requests at once\n").into_response(),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    shared.metrics.set(&f::READY, &[], f64::from(u8::from(shared.board.is_ready())));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.page()).into_response()
}

/// Whether a restart would help: not asked of Vault or of anything else outside.
async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    match pulse::standing_still(&shared) {
        None => "ok\n".into_response(),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// A latch: once everything was reached, a Vault that is sealed later does not make the daemon unready, or nobody could ask it why.
async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let missing = shared.board.status().missing();
    if missing.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for:\n{}\n", missing.join("\n"))).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(shared.board.status())).into_response()
}

#[cfg(test)]
mod tests;
