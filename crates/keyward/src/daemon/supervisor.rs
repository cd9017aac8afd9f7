//! Owns the daemon's tasks: each has a name and is started again when it ends before the daemon does.

use super::shared::Shared;
use crate::metrics::families as f;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// The tasks' names, as in `keyward_task_restarts_total`.
pub const TASKS: [&str; 10] = ["planner", "overdue", "proof", "watch", "token", "reach", "audit", "alerts", "http", "control"];

/// The pause before a task is started again: doubled at each end in a row, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The daemon's tasks.
pub struct Supervisor {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Supervisor {
    /// None yet.
    pub fn new(shared: Arc<Shared>) -> Self {
        for task in TASKS {
            shared.metrics.series(&f::TASK_RESTARTS, &[task]);
        }
        Self { shared, tasks: JoinSet::new() }
    }

    /// Starts a task, and starts it again whenever it ends before the daemon is to stop. A panic is an end like any other.
    pub fn spawn<F>(&mut self, name: &'static str, start: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let mut pause = FIRST_PAUSE;
            loop {
                let ended = tokio::spawn(start()).await;
                if shared.is_stopping() {
                    return;
                }
                let why = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
                tracing::error!(task = name, error = why, "A task ended and is started again.");
                shared.metrics.inc(&f::TASK_RESTARTS, &[name]);
                tokio::select! {
                    () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                    () = shared.stopped() => return,
                }
            }
        });
    }

    /// Waits until every task has ended, at most so long; `false`: some were cut off.
    pub async fn drain(mut self, limit: Duration) -> bool {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        let drained = tokio::time::timeout(limit, all).await.is_ok();
        if !drained {
            self.tasks.shutdown().await;
        }
        drained
    }
}
