//! The unix socket between the command line and the daemon: HTTP with JSON, open to the socket file's owner alone.
//!
//! `GET /status` · `POST /rotate/{name}` · `/resume/{name}` · `/supply/{name}` · `/pause/{name}` · `/reconcile/{name}` · `/pause-class/{class}`
//! · `/resume-class/{class}` · `/alert/test`, `GET /examine/{name}` · `/use/{name}`. What takes time answers with one JSON object per
//! line: progress as it happens, the result last.

use super::errand;
use super::observer::{Ear, Progress};
use super::requests::{self, Finding, Refusal};
use super::rotations::{self, Work};
use super::shared::{Live, Shared};
use crate::assembly::Managed;
use crate::view::UseView;
use anyhow::{Context, Result};
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State, connect_info::Connected};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::IncomingStream;
use axum::{Json, Router};
use keyward_engine::stored::Stored;
use keyward_secret::{Fields, Secret};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::PermissionsExt;
use std::path::Path as FilePath;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

/// A supplied value is at most this long, in bytes, its JSON included.
const LARGEST_BODY: usize = 128 * 1024;

/// One line of an answer that takes time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A step was worked through.
    Progress(Progress),
    /// How it ended. The last line.
    Result(Answer),
    /// It was not begun. The only line.
    Refused(Refusal),
}

/// How a request ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// `rotated`, `rolled_back`, `stuck`, `refused`, `deferred`, `lost`, `suspended`; or `resumed`, `paused`, `noted`, where nothing ran.
    pub outcome: String,
    /// The rotation's id; empty when there was none.
    pub rotation: String,
    /// The step that failed.
    pub failed_at: Option<String>,
    /// Why.
    pub failure: Option<String>,
    /// The class of the failure.
    pub class: Option<String>,
}

impl Answer {
    /// Done, and nothing ran for it.
    pub fn word(outcome: &str) -> Self {
        Self { outcome: outcome.to_owned(), rotation: String::new(), failed_at: None, failure: None, class: None }
    }

    /// In words for JSON.
    pub fn of(outcome: &keyward_engine::Outcome) -> Self {
        Self {
            outcome: rotations::outcome_word(outcome.end).into(),
            rotation: outcome.rotation.clone(),
            failed_at: outcome.failed_at.map(rotations::state_name),
            failure: outcome.failure.as_ref().map(|f| f.text.clone()),
            class: outcome.failure.as_ref().map(|f| f.class.name().to_owned()),
        }
    }
}

/// Who is at the other end of the socket, by the kernel's word.
#[derive(Clone, Debug)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, Lent>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Lent>) -> Self {
        Self(stream.io().peer_cred().ok().map(|cred| cred.uid()))
    }
}

#[derive(Clone)]
struct App {
    shared: Arc<Shared>,
    ear: Arc<Ear>,
}

/// Opens the socket. A stale one is removed: whoever calls holds the state folder's lock.
///
/// # Errors
/// The path and what the system said.
pub fn bind(path: &FilePath) -> Result<UnixListener> {
    if path.exists() {
        std::fs::remove_file(path).with_context(|| format!("cannot remove the stale socket {}", path.display()))?;
    }
    let listener = UnixListener::bind(path).with_context(|| format!("cannot open the control socket {}", path.display()))?;
    let owner_only = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, owner_only).with_context(|| format!("cannot protect the control socket {}", path.display()))?;
    Ok(listener)
}

/// A listener that several servers in a row may use: the supervisor starts the task again if it ends.
struct Lent(Arc<UnixListener>);

impl axum::serve::Listener for Lent {
    type Io = UnixStream;
    type Addr = tokio::net::unix::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                // Out of descriptors, most likely: a pause lets others close theirs.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(200)).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Serves the socket until the daemon stops.
pub async fn run(listener: Arc<UnixListener>, shared: Arc<Shared>, ear: Arc<Ear>) {
    let app = App { shared: Arc::clone(&shared), ear };
    let router = Router::new()
        .route("/status", get(status))
        .route("/usage/{name}", get(usage))
        .route("/rotate/{name}", post(rotate))
        .route("/resume/{name}", post(resume))
        .route("/supply/{name}", post(supply))
        .route("/pause/{name}", post(pause))
        .route("/pause-class/{class}", post(pause_class))
        .route("/resume-class/{class}", post(resume_class))
        .route("/examine/{name}", get(examine))
        .route("/use/{name}", get(still_used))
        .route("/reconcile/{name}", post(reconcile))
        .route("/alert/test", post(alert_test))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(app)
        .into_make_service_with_connect_info::<Peer>();
    // A client that keeps its connection open must not hold the stop: what runs is drained by the planner, not here.
    tokio::select! {
        served = axum::serve(Lent(listener), router) => {
            if let Err(error) = served {
                tracing::error!(%error, "The control socket failed.");
            }
        }
        () = shared.stopped() => {}
    }
}

async fn status(State(app): State<App>) -> Response {
    Json(app.shared.board.status()).into_response()
}

/// The person's name: what the client says it is, and what the kernel says it is.
fn person(headers: &HeaderMap, peer: &Peer) -> String {
    let claimed = headers.get("x-keyward-person").and_then(|v| v.to_str().ok()).unwrap_or("unknown");
    let claimed: String = claimed.chars().filter(|c| !c.is_control()).take(64).collect();
    match peer.0 {
        Some(uid) => format!("{claimed} (uid {uid})"),
        None => claimed,
    }
}

fn managed(live: &Live, name: &str) -> Result<Managed, Refusal> {
    live.secrets.get(name).cloned().ok_or_else(|| Refusal::Wrong(format!("there is no secret {name} in the running configuration")))
}

async fn rotate(State(app): State<App>, ConnectInfo(peer): ConnectInfo<Peer>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let live = app.shared.live();
    let prepared = async {
        let managed = managed(&live, &name)?;
        let (stored, work) = requests::rotate(&live, &managed, &person(&headers, &peer), None).await?;
        Ok((managed, stored, work))
    };
    let prepared = prepared.await;
    answer(app, live, prepared)
}

async fn supply(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let live = app.shared.live();
    let sent = std::str::from_utf8(&body).ok().map(Secret::new);
    let Some(value) = sent.and_then(|sent| Fields::parse(&sent).ok()?.text("value")) else {
        return (StatusCode::BAD_REQUEST, "the body is no supplied value").into_response();
    };
    let prepared = async {
        let managed = managed(&live, &name)?;
        let (stored, work) = requests::rotate(&live, &managed, &person(&headers, &peer), Some(value)).await?;
        Ok((managed, stored, work))
    };
    let prepared = prepared.await;
    answer(app, live, prepared)
}

async fn resume(State(app): State<App>, Path(name): Path<String>) -> Response {
    let live = app.shared.live();
    let prepared = async {
        let managed = managed(&live, &name)?;
        let (stored, work) = requests::resume(&live.engine, &managed).await?;
        Ok((managed, stored, work))
    };
    let prepared = prepared.await;
    answer(app, live, prepared)
}

/// What a request says beside its path.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Words {
    /// Why, for `pause`.
    pub why: String,
    /// The cure that the person agreed to, for `reconcile`.
    pub agreed: String,
}

fn words(body: &Bytes) -> Words {
    let words: Words = serde_json::from_slice(body).unwrap_or_default();
    Words { why: words.why.chars().filter(|c| !c.is_control()).take(200).collect(), ..words }
}

fn at_once(done: Result<&str, Refusal>) -> Response {
    lines(vec![line(&done.map_or_else(Said::Refused, |word| Said::Result(Answer::word(word))))])
}

async fn pause(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let live = app.shared.live();
    let paused = async {
        requests::pause(&live.engine, &managed(&live, &name)?, &person(&headers, &peer), &words(&body).why).await?;
        Ok("paused")
    };
    let paused = paused.await;
    app.shared.forget(&name);
    at_once(paused)
}

fn known_class(live: &Live, class: &str) -> Result<(), Refusal> {
    if live.config.classes.contains_key(class) {
        return Ok(());
    }
    Err(Refusal::Wrong(format!("there is no class {class} in the running configuration")))
}

async fn pause_class(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(class): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let live = app.shared.live();
    let paused = async {
        known_class(&live, &class)?;
        let pause = live.engine.pause_class(&class, &person(&headers, &peer), &words(&body).why).await?;
        app.shared.keep_pause(&class, Some(pause));
        app.shared.wake_planner.notify_one();
        Ok("paused")
    };
    at_once(paused.await)
}

async fn resume_class(State(app): State<App>, Path(class): Path<String>) -> Response {
    let live = app.shared.live();
    let resumed = async {
        known_class(&live, &class)?;
        live.engine.resume_class(&class).await?;
        app.shared.keep_pause(&class, None);
        app.shared.wake_planner.notify_one();
        Ok("resumed")
    };
    at_once(resumed.await)
}

async fn examine(State(app): State<App>, Path(name): Path<String>) -> Response {
    let live = app.shared.live();
    let examined = async { requests::examine(&live.engine, &managed(&live, &name)?).await };
    Json::<Result<Finding, Refusal>>(examined.await).into_response()
}

async fn still_used(State(app): State<App>, Path(name): Path<String>) -> Response {
    let live = app.shared.live();
    let used = async { requests::still_used(&live.engine, &managed(&live, &name)?).await };
    Json::<Result<Vec<UseView>, Refusal>>(used.await).into_response()
}

async fn reconcile(
    State(app): State<App>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let live = app.shared.live();
    let (who, agreed) = (person(&headers, &peer), words(&body).agreed);
    let prepared = async {
        let managed = managed(&live, &name)?;
        let (stored, work) = requests::reconcile(&live, &managed, &who, &agreed).await?;
        Ok((managed, stored, work))
    };
    let prepared = prepared.await;
    answer(app, live, prepared)
}

/// Runs it in a task of its own: a client that goes away does not cut a rotation off.
fn answer(app: App, live: Arc<Live>, prepared: Result<(Managed, Stored, Work), Refusal>) -> Response {
    let (managed, stored, work) = match prepared {
        Ok(prepared) => prepared,
        Err(refusal) => return lines(vec![line(&Said::Refused(refusal))]),
    };
    let (sender, receiver) = mpsc::channel::<String>(64);
    // Where nothing runs, a reconciliation has written down what is true, and a resumption has ended a pause.
    let quiet = if matches!(work, Work::Reconcile(..)) { "noted" } else { "resumed" };
    let mut progress = app.ear.listen(&managed.spec.name);
    tokio::spawn(async move {
        let running = rotations::run(&app.shared, &live, &managed, stored, work);
        tokio::pin!(running);
        let outcome = loop {
            tokio::select! {
                Some(step) = progress.recv() => { let _ = sender.try_send(line(&Said::Progress(step))); }
                outcome = &mut running => break outcome,
            }
        };
        app.ear.hang_up(&managed.spec.name);
        while let Ok(step) = progress.try_recv() {
            let _ = sender.try_send(line(&Said::Progress(step)));
        }
        // Before the answer: whoever has heard it finds the same in the status.
        app.shared.tried(&managed.spec.name, outcome.as_ref().and_then(errand::recent));
        app.shared.forget(&managed.spec.name);
        let answer = outcome.as_ref().map_or_else(|| Answer::word(quiet), Answer::of);
        let _ = sender.send(line(&Said::Result(answer))).await;
    });
    let stream = ReceiverStream::new(receiver).map(Ok::<_, std::convert::Infallible>);
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(stream)).into_response()
}

fn lines(all: Vec<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/x-ndjson")], all.concat()).into_response()
}

fn line(said: &Said) -> String {
    // These types hold texts only, so they always serialize.
    serde_json::to_string(said).unwrap_or_default() + "\n"
}

async fn usage(State(app): State<App>, Path(name): Path<String>) -> Response {
    let rotated = app.shared.board.status().secrets.get(&name).and_then(|secret| secret.last_success);
    Json(app.shared.readers.usage(&name, rotated)).into_response()
}

async fn alert_test(State(app): State<App>) -> Response {
    match app.shared.alerts.test().await {
        Some(ways) => Json(ways).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the alert task does not answer").into_response(),
    }
}
