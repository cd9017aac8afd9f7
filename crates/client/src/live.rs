//! A value that changes by itself: one task looks after it, everybody else reads what holds now.

use crate::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Askers that wait for a look at the same time; more wait in line.
const ASKERS: usize = 64;

/// What is looked after: a secret, a credential. Clones see the same value; with the last of them the looking ends.
pub struct Live<T> {
    current: watch::Receiver<Arc<T>>,
    ask: mpsc::Sender<Ask>,
    task: Arc<Task>,
}

/// What a handle asks of the task.
enum Ask {
    /// Look now, and say when that is done.
    Look(oneshot::Sender<Result<(), Error>>),
    /// Come to an end.
    End,
}

struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Where a value comes from.
pub(crate) trait Origin: Send + 'static {
    /// What it yields.
    type Value: Send + Sync + 'static;

    /// Its name in logs.
    fn name(&self) -> String;

    /// Looks. `asked`: somebody found the current value refused. `None`: what holds still holds.
    fn look(&mut self, asked: bool) -> impl Future<Output = Result<Option<Self::Value>, Error>> + Send;

    /// Comes when what holds must be looked at before its time.
    fn overtaken(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// How long to wait until the next look, after so many failures in a row.
    fn pause(&self, failures: u32) -> Duration;

    /// Ends what it holds elsewhere.
    fn close(&mut self) -> impl Future<Output = ()> + Send {
        async {}
    }
}

impl<T: Send + Sync + 'static> Live<T> {
    pub(crate) fn start<O: Origin<Value = T>>(first: T, origin: O) -> Self {
        let (tell, current) = watch::channel(Arc::new(first));
        let (ask, asked) = mpsc::channel(ASKERS);
        let task = Arc::new(Task(tokio::spawn(look_after(origin, tell, asked))));
        Self { current, ask, task }
    }

    /// What holds now. Never waits.
    pub fn current(&self) -> Arc<T> {
        self.current.borrow().clone()
    }

    /// The next value, as soon as there is one that this handle has not handed out by `changed` yet.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub async fn changed(&mut self) -> Result<Arc<T>, Error> {
        self.current.changed().await.map_err(|_| Error::Closed)?;
        Ok(self.current.borrow_and_update().clone())
    }

    /// Looks now instead of at the next interval, because the current value was refused, and returns what holds then.
    ///
    /// # Errors
    /// What kept it from looking; the value is as before.
    pub async fn refresh(&self) -> Result<Arc<T>, Error> {
        let (answer, answered) = oneshot::channel();
        self.ask.send(Ask::Look(answer)).await.map_err(|_| Error::Closed)?;
        answered.await.map_err(|_| Error::Closed)??;
        Ok(self.current())
    }

    /// Whether others still hold a handle.
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.task) > 1
    }

    /// Ends it for all handles, and what it holds elsewhere with it (a lease).
    pub async fn close(self) {
        let Self { ask, mut current, task } = self;
        if ask.send(Ask::End).await.is_ok() {
            // With the task its end of the channel goes.
            while current.changed().await.is_ok() {}
        }
        drop(task);
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { current: self.current.clone(), ask: self.ask.clone(), task: Arc::clone(&self.task) }
    }
}

impl<T> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live")
    }
}

async fn look_after<O: Origin>(mut origin: O, tell: watch::Sender<Arc<O::Value>>, mut asked: mpsc::Receiver<Ask>) {
    let mut failures = 0;
    loop {
        let mut askers = Vec::new();
        let pause = origin.pause(failures);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = origin.overtaken(), if failures == 0 => {}
            ask = asked.recv() => match ask {
                Some(Ask::Look(asker)) => askers.push(asker),
                Some(Ask::End) | None => return origin.close().await,
            },
        }
        // Whoever asks at the same moment is served by the same look.
        while let Ok(ask) = asked.try_recv() {
            match ask {
                Ask::Look(asker) => askers.push(asker),
                Ask::End => return origin.close().await,
            }
        }
        let answer = match origin.look(!askers.is_empty()).await {
            Ok(found) => {
                failures = 0;
                if let Some(found) = found {
                    tell.send_replace(Arc::new(found));
                }
                Ok(())
            }
            Err(error) => {
                failures += 1;
                tracing::warn!(%error, what = %origin.name(), "It could not be looked after; the last value stays, and it is tried again.");
                Err(error)
            }
        };
        for asker in askers {
            // An asker that went away needs no answer.
            let _ = asker.send(answer.clone());
        }
    }
}

/// The pause after failures: one second, doubled up to `longest`.
pub(crate) fn backoff(failures: u32, longest: Duration) -> Duration {
    (Duration::from_millis(500) * 2_u32.saturating_pow(failures.min(10))).min(longest)
}
