//! The way to people: tasks raise and resolve conditions here; one task tells them (see [`crate::daemon`]).

use keyward_alert::Alert;
use tokio::sync::{mpsc, oneshot};

/// More conditions than this at once wait; what then does not fit is logged, and raised again by its watch.
pub const QUEUE: usize = 1_024;

/// What the alert task is told.
#[derive(Debug)]
pub enum Command {
    /// A condition holds.
    Raise(Box<Alert>),
    /// It holds no more.
    Resolve {
        /// The condition.
        key: String,
        /// What ended it, in words.
        what: String,
    },
    /// Send a test notice by every way and say how it went: one line per way, and whether it worked.
    Test(oneshot::Sender<Vec<(String, Result<(), String>)>>),
}

/// The handle that tasks hold. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Alerts(mpsc::Sender<Command>);

impl Alerts {
    /// A handle and the end that the alert task reads.
    pub fn channel() -> (Self, mpsc::Receiver<Command>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// A condition holds. Raising it again is how a state says that it lasts.
    pub fn raise(&self, alert: Alert) {
        self.send(Command::Raise(Box::new(alert)));
    }

    /// A condition holds no more. Resolving what was never raised does nothing.
    pub fn resolve(&self, key: impl Into<String>, what: impl Into<String>) {
        self.send(Command::Resolve { key: key.into(), what: what.into() });
    }

    /// Sends a test notice by every way; `None` when nobody listens.
    pub async fn test(&self) -> Option<Vec<(String, Result<(), String>)>> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Command::Test(answer)).await.ok()?;
        answered.await.ok()
    }

    fn send(&self, command: Command) {
        if let Err(error) = self.0.try_send(command) {
            tracing::error!(%error, "An alert could not be queued.");
        }
    }
}
