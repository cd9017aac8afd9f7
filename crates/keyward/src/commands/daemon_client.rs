//! The command line's end of the control socket.

use crate::daemon::board::Status;
use crate::daemon::control::Said;
use crate::ports::SecretUsage;
use anyhow::{Context, Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long the daemon may take to answer what needs no work.
const LIMIT: Duration = Duration::from_secs(10);
/// How long it may take where it asks a secret's target first.
const PATIENT: Duration = Duration::from_mins(2);
/// A single line of an answer is at most this long.
const LONGEST_LINE: usize = 1 << 20;

/// A running daemon.
pub struct Daemon {
    socket: PathBuf,
}

impl Daemon {
    /// The daemon behind this socket; `None` when none runs there.
    ///
    /// # Errors
    /// When one may run there, but this user may not ask it.
    pub async fn find(socket: &Path) -> Result<Option<Self>> {
        match tokio::time::timeout(LIMIT, UnixStream::connect(socket)).await {
            Ok(Ok(_)) => Ok(Some(Self { socket: socket.to_owned() })),
            Ok(Err(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => Ok(None),
            Ok(Err(error)) => {
                Err(error).with_context(|| format!("cannot ask the daemon at {}; run this as the daemon's user", socket.display()))
            }
            Err(_) => bail!("the daemon at {} does not answer", socket.display()),
        }
    }

    /// What the daemon knows now.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn status(&self) -> Result<Status> {
        let body = tokio::time::timeout(LIMIT, self.whole(Method::GET, "/status")).await.context("the daemon does not answer")??;
        serde_json::from_slice(&body).context("the daemon's status is of another version of Keyward")
    }

    /// Who reads a secret.
    ///
    /// # Errors
    /// When it does not answer, or is of a version that cannot say.
    pub async fn usage(&self, name: &str) -> Result<SecretUsage> {
        let path = format!("/usage/{name}");
        let body = tokio::time::timeout(LIMIT, self.whole(Method::GET, &path)).await.context("the daemon does not answer")??;
        serde_json::from_slice(&body).context("the daemon's answer is of another version of Keyward")
    }

    /// Has it send a test notice by every way.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn alert_test(&self) -> Result<Vec<(String, Result<(), String>)>> {
        let body = self.whole(Method::POST, "/alert/test").await?;
        serde_json::from_slice(&body).context("the daemon's answer is of another version of Keyward")
    }

    /// A question that changes nothing, answered as one JSON document. Examining a secret may log in to its target.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        let body = tokio::time::timeout(PATIENT, self.whole(Method::GET, path)).await.context("the daemon does not answer")??;
        serde_json::from_slice(&body).context("the daemon's answer is of another version of Keyward")
    }

    async fn whole(&self, method: Method, path: &str) -> Result<Bytes> {
        let response = self.send(method, path, Bytes::new()).await?;
        let status = response.status();
        let body = response.into_body().collect().await.context("the daemon broke off")?.to_bytes();
        if status != StatusCode::OK {
            bail!("the daemon answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// Asks for something that takes time; `each` gets every line as it comes.
    ///
    /// # Errors
    /// When the daemon goes away before the last line: what it began is then taken up at its next start.
    pub async fn ask(&self, path: &str, body: Bytes, mut each: impl FnMut(Said)) -> Result<()> {
        let response = self.send(Method::POST, path, body).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut rest: Vec<u8> = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.context("the daemon went away in the middle; it takes the rotation up when it is started again")?;
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                each(serde_json::from_slice(&line).context("the daemon's answer is of another version of Keyward")?);
            }
            if rest.len() > LONGEST_LINE {
                bail!("the daemon's answer is no answer of Keyward");
            }
        }
        if status != StatusCode::OK {
            bail!("the daemon answered {status}: {}", String::from_utf8_lossy(&rest));
        }
        Ok(())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<hyper::Response<hyper::body::Incoming>> {
        let stream =
            UnixStream::connect(&self.socket).await.with_context(|| format!("the daemon at {} went away", self.socket.display()))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.context("the daemon does not speak HTTP")?;
        tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "keyward")
            .header("x-keyward-person", person())
            .body(Full::new(body))
            .context("the request cannot be built")?;
        sender.send_request(request).await.context("the daemon does not answer")
    }
}

/// Who sits at the keyboard, as far as the environment tells.
pub fn person() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "unknown".into());
    name.chars().filter(char::is_ascii_graphic).take(64).collect()
}
