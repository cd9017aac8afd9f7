//! Raft snapshots, taken and put back as streams: never whole in memory, whatever their size.
//!
//! Vault answers these calls on the active node only and never forwards them, so the caller says which node is meant.

use crate::call::{Call, Raw};
use crate::client::Client;
use crate::transport::{self, Broken, address};
use crate::{Kind, VaultError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use rustify::enums::RequestMethod;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;

const PATH: &str = "sys/storage/raft/snapshot";
/// No more than this passes between two pieces of a stream.
const STALL: Duration = Duration::from_mins(2);
const NOT_RAFT: &str = "only Raft storage has snapshots";
/// What became of a server whose answer to a restore is lost.
const LOST: &str = "whether it was restored is unknown; look at the server's log before you do it again";

/// A snapshot on its way to us.
pub struct Snapshot(reqwest::Response);

/// A snapshot on its way to Vault: `length` bytes, in pieces. An error in their place breaks the call off, and nothing is restored.
pub struct Upload {
    /// How many bytes come in all.
    pub length: u64,
    /// The pieces.
    pub pieces: mpsc::Receiver<std::io::Result<Bytes>>,
}

/// Something that is written before a restore and is gone after it, because it is newer than every snapshot.
#[derive(Clone, Debug)]
pub struct Mark(String);

impl Snapshot {
    /// The next piece; `None` when the server has sent everything. That it is whole, the archive itself has to show.
    ///
    /// # Errors
    /// The connection broke, or nothing came for too long.
    pub async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        let attempted = format!("GET {PATH}");
        match tokio::time::timeout(STALL, self.0.chunk()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(told(transport::broken(&error), &attempted)),
            Err(_) => Err(VaultError::new(Kind::Timeout, attempted, "the stream stands still")),
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let piece = ready!(self.pieces.poll_recv(context));
        if let Some(Ok(bytes)) = &piece {
            self.length = self.length.saturating_sub(bytes.len() as u64);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.length)
    }
}

impl Client {
    /// Asks the node at `node` for a snapshot of everything, to be read within `limit`.
    ///
    /// # Errors
    /// [`Kind::Standby`] from a node that is not active, [`Kind::Denied`] without `read` on `sys/storage/raft/snapshot`,
    /// [`Kind::NotFound`] and [`Kind::Invalid`] where the storage is another than Raft.
    pub async fn snapshot(&self, node: &str, limit: Duration) -> Result<Snapshot, VaultError> {
        self.streamed(node, Call::write(Raw::get(PATH)), None, limit).await.map(Snapshot)
    }

    /// Puts a snapshot back on the node at `node`. Vault checks it whole before it changes anything, answers, and restores then:
    /// [`Self::is_marked`] tells when it has. `force` accepts one of another Vault, whose shares it then needs.
    ///
    /// # Errors
    /// [`Kind::Denied`] without `update` on `sys/storage/raft/snapshot` (`-force`), [`Kind::Invalid`] for one that does not fit.
    pub async fn restore(&self, node: &str, upload: Upload, force: bool, limit: Duration) -> Result<(), VaultError> {
        let path = if force { format!("{PATH}-force") } else { PATH.to_owned() };
        let call = Call::write(Raw::new(RequestMethod::POST, path));
        let sent = self.streamed(node, call, Some(reqwest::Body::wrap(upload)), limit).await;
        sent.map(drop).map_err(|e| if e.outcome_unknown() && e.status.is_none() { e.with_hint(LOST) } else { e })
    }

    async fn streamed(
        &self,
        node: &str,
        call: Call<'_, Raw>,
        body: Option<reqwest::Body>,
        limit: Duration,
    ) -> Result<reqwest::Response, VaultError> {
        let base = address(node, self.insecure())?;
        let request = self.request(base.as_str(), &call, false)?;
        let response = self.transport().open(request, body, limit).await.map_err(|b| told(b, &call.attempted))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let answer = transport::receive(response).await.map_err(|b| told(b, &call.attempted))?;
        let error = self.refused(&call, &answer);
        Err(if error.says("unsupported path") || error.says("raft storage is not in use") { error.with_hint(NOT_RAFT) } else { error })
    }

    /// Writes a mark into our token's own cubbyhole, which every token with the default policy may do.
    ///
    /// # Errors
    /// [`Kind::Denied`] for a token that may not.
    pub async fn mark(&self, id: &str) -> Result<Mark, VaultError> {
        let path = crate::path::path("POST cubbyhole", &format!("cubbyhole/{id}"))?.to_owned();
        let body = serde_json::json!({ "keyward": "gone when the restore is done" });
        self.run(Call::write(Raw::new(RequestMethod::POST, path.clone()).json(&body))).await?;
        Ok(Mark(path))
    }

    /// Whether the mark still stands. A token that is not known any more has none.
    ///
    /// # Errors
    /// Everything else than an answer: [`Kind::Sealed`] means that what was restored is sealed.
    pub async fn is_marked(&self, mark: &Mark) -> Result<bool, VaultError> {
        match self.run(Call::write(Raw::get(mark.0.clone()))).await {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Takes a mark away again, where no restore has done so.
    pub async fn unmark(&self, mark: &Mark) {
        // It goes with its token in any case.
        let _ = self.run(Call::write(Raw::new(RequestMethod::DELETE, mark.0.clone()))).await;
    }
}

fn told(broken: Broken, attempted: &str) -> VaultError {
    if broken.sent {
        let errors = if broken.why.is_empty() { Vec::new() } else { vec![broken.why] };
        VaultError::sent(broken.kind, attempted, None, errors)
    } else {
        VaultError::new(broken.kind, attempted, broken.why)
    }
}
