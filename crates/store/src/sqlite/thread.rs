//! The thread that owns the connection, and the handle by which requests reach it.
//!
//! It never drops a request that it accepted, but for one whose caller has gone before its turn came.

use crate::error::StoreError;
use rusqlite::{Connection, ErrorCode};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How many requests wait at most; then callers wait, within their limit.
const QUEUE: usize = 64;

type Work = Box<dyn FnOnce(&mut Connection) + Send>;

enum Request {
    Work(Work),
    Close(oneshot::Sender<rusqlite::Result<()>>),
}

#[derive(Clone)]
pub(super) struct Worker {
    requests: mpsc::Sender<Request>,
    path: Arc<PathBuf>,
    limit: Duration,
}

impl Worker {
    /// Starts the thread, which opens the connection itself, and waits until it is open.
    pub(super) async fn start<X: Send + 'static>(
        what: &'static str,
        path: &Path,
        open_limit: Duration,
        limit: Duration,
        open: impl FnOnce() -> Result<(Connection, X), StoreError> + Send + 'static,
    ) -> Result<(Self, X), StoreError> {
        let (requests, inbox) = mpsc::channel(QUEUE);
        let (opened, answer) = oneshot::channel();
        let run = move || match open() {
            Ok((connection, extra)) => {
                if opened.send(Ok(extra)).is_ok() {
                    serve(connection, inbox);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        };
        let io = |source| StoreError::Io { what: "starting the thread of the store", path: path.to_owned(), source };
        std::thread::Builder::new().name("keyward-store".to_owned()).spawn(run).map_err(io)?;
        let extra = within(what, open_limit, answer).await??;
        Ok((Self { requests, path: Arc::new(path.to_owned()), limit }, extra))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(super) fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    pub(super) async fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let request: Work = Box::new(move |connection| {
            if !reply.is_closed() {
                drop(reply.send(work(connection)));
            }
        });
        let exchange = self.exchange(what, Request::Work(request), answer);
        let limited = tokio::time::timeout(self.limit, exchange).await;
        limited.map_err(|_| StoreError::TimedOut { what, seconds: self.limit.as_secs_f32() })?
    }

    pub(super) async fn close(self) -> Result<(), StoreError> {
        let what = "closing";
        let (reply, answer) = oneshot::channel();
        let exchange = self.exchange(what, Request::Close(reply), answer);
        let limited = tokio::time::timeout(self.limit, exchange).await;
        limited.map_err(|_| StoreError::TimedOut { what, seconds: self.limit.as_secs_f32() })?
    }

    async fn exchange<T>(
        &self,
        what: &'static str,
        request: Request,
        answer: oneshot::Receiver<rusqlite::Result<T>>,
    ) -> Result<T, StoreError> {
        self.requests.send(request).await.map_err(|_| StoreError::Closed { what })?;
        let answer = answer.await.map_err(|_| StoreError::Closed { what })?;
        answer.map_err(|error| classify(what, &self.path, error))
    }
}

async fn within<T>(what: &'static str, limit: Duration, answer: oneshot::Receiver<T>) -> Result<T, StoreError> {
    let limited = tokio::time::timeout(limit, answer).await;
    let answer = limited.map_err(|_| StoreError::TimedOut { what, seconds: limit.as_secs_f32() })?;
    answer.map_err(|_| StoreError::Closed { what })
}

/// Runs until the last handle is dropped or one asks to close. A panic ends the thread: every later call finds it closed.
fn serve(mut connection: Connection, mut inbox: mpsc::Receiver<Request>) {
    while let Some(request) = inbox.blocking_recv() {
        match request {
            Request::Work(work) => work(&mut connection),
            Request::Close(reply) => {
                // Dropping the inbox first: a call that comes now is refused, not lost in the queue.
                drop(inbox);
                drop(reply.send(connection.close().map_err(|(_, error)| error)));
                return;
            }
        }
    }
}

/// Tells a full disk and a damaged file apart from everything else: a person has to act on these.
pub(super) fn classify(what: &'static str, path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::DiskFull { what, path },
        // Where the shared-memory file cannot grow, SQLite says "I/O error" only.
        Some(ErrorCode::SystemIoFailure) if disk_is_full(&path) => StoreError::DiskFull { what, path },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Corrupt { what, path },
        _ => StoreError::Database { what, path, source: error },
    }
}

fn disk_is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail == 0)
}
