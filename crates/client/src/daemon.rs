//! Keyward's daemon, asked over its unix socket: what is due, and rotate this now. The daemon rotates, never this library.

use crate::Error;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// For an answer that takes no work.
const LIMIT: Duration = Duration::from_secs(15);
/// A rotation has limits of its own in every step; this is beyond all of them together.
const ROTATION: Duration = Duration::from_mins(30);
/// The status of ten thousand secrets is smaller.
const LARGEST: usize = 64 << 20;

/// The daemon behind a socket. Only the user that it runs as may ask it.
#[derive(Clone, Debug)]
pub struct Daemon {
    socket: PathBuf,
}

/// A secret whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// Its name in Keyward's configuration.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Where consumers read it, if Keyward publishes it.
    pub path: Option<String>,
    /// The slot that is next.
    pub next: Option<Timestamp>,
    /// Whether the last success is older than the schedule allows.
    pub overdue: bool,
    /// What happens next, in words.
    pub says: String,
}

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Rotated {
    /// `rotated`, `rolled_back`, `stuck`, `refused`, `deferred`, `lost`, `suspended`.
    pub outcome: String,
    /// Its id; empty when there was none.
    pub rotation: String,
    /// Why it did not succeed.
    pub failure: Option<String>,
}

impl Rotated {
    /// Whether the new value is published and proved.
    pub fn succeeded(&self) -> bool {
        self.outcome == "rotated"
    }
}

#[derive(Deserialize)]
struct Status {
    secrets: BTreeMap<String, SecretView>,
}

#[derive(Deserialize)]
struct SecretView {
    name: String,
    class: String,
    path: Option<String>,
    next: String,
    next_due: Option<Timestamp>,
    overdue: bool,
    due: bool,
}

/// The last line of an answer that takes time; lines before it hold progress.
#[derive(Deserialize)]
struct Said {
    result: Option<Rotated>,
    refused: Option<serde_json::Value>,
}

impl Daemon {
    /// The daemon whose socket is here: `keyward.sock` in its state folder, unless its configuration says otherwise.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The secrets that are due or overdue now.
    ///
    /// # Errors
    /// That the daemon cannot be asked.
    pub async fn due(&self) -> Result<Vec<Due>, Error> {
        let answer = limited(LIMIT, self.send(Method::GET, "/status")).await?;
        let body = limited(LIMIT, whole(answer)).await?;
        let status: Status = serde_json::from_slice(&body).map_err(|_| other_version())?;
        let due = status.secrets.into_values().filter(|secret| secret.due || secret.overdue);
        Ok(due.map(|s| Due { name: s.name, class: s.class, path: s.path, next: s.next_due, overdue: s.overdue, says: s.next }).collect())
    }

    /// Has the daemon rotate a secret now, and waits for how it ends.
    ///
    /// # Errors
    /// That it was not begun, and why; or that the daemon cannot be asked. If it goes away in the middle, it takes the rotation up again when
    /// it is back.
    pub async fn rotate(&self, name: &str) -> Result<Rotated, Error> {
        let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !plain {
            return Err(Error::Daemon(format!("{name:?} is no secret's name: a-z, 0-9 and -")));
        }
        let answer = limited(LIMIT, self.send(Method::POST, &format!("/rotate/{name}"))).await?;
        let body = limited(ROTATION, whole(answer)).await?;
        // The last line is how it ended.
        let last = body.split(|b| *b == b'\n').rfind(|line| !line.is_empty()).ok_or_else(other_version)?;
        let said: Said = serde_json::from_slice(last).map_err(|_| other_version())?;
        match (said.result, said.refused) {
            (Some(rotated), _) => Ok(rotated),
            (None, Some(why)) => Err(Error::Daemon(format!("{name} was not rotated: {}", words(&why)))),
            (None, None) => Err(Error::Daemon("the daemon went away in the middle; it goes on when it is back".to_owned())),
        }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Incoming>, Error> {
        let failed = |what: &str| Error::Daemon(format!("the daemon at {} {what}", shown(&self.socket)));
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| failed(&format!("cannot be asked: {error}")))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| failed("does not speak HTTP"))?;
        // It ends with the answer.
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "keyward")
            .header("x-keyward-person", "keyward-client")
            .body(Full::<Bytes>::default())
            .map_err(|_| failed("cannot be asked this"))?;
        let answer = sender.send_request(request).await.map_err(|_| failed("does not answer"))?;
        if answer.status() == StatusCode::OK {
            return Ok(answer);
        }
        let status = answer.status();
        let text = whole(answer).await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&text).chars().filter(|c| !c.is_control()).take(300).collect();
        Err(failed(&format!("answered {status}: {text}")))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn words(refusal: &serde_json::Value) -> String {
    let text = refusal.as_object().and_then(|kinds| kinds.values().next()).and_then(serde_json::Value::as_str);
    text.map_or_else(|| refusal.to_string(), str::to_owned)
}

fn other_version() -> Error {
    Error::Daemon("the daemon's answer is of another version of Keyward".to_owned())
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(answer.into_body(), LARGEST).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|_| Error::Daemon("the daemon broke off".to_owned()))
}

async fn limited<T>(limit: Duration, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Error::Daemon("the daemon does not answer in time".to_owned())))
}
