//! The clock that wakes the planner: one job, once a second, in UTC. What is due is the planner's to say.
//!
//! `tokio-cron-scheduler` forgets, bursts and shifts with daylight saving (measured), so it carries nothing but this wake-up,
//! and the planner looks by itself when none comes.

use super::shared::Shared;
use std::sync::Arc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// Starts the heartbeat. Without one the daemon works too, a little later each time, so a failure is only said.
pub async fn start(shared: Arc<Shared>) {
    if let Err(error) = try_start(shared).await {
        tracing::error!(%error, "The scheduler could not be started; the planner looks by itself.");
    }
}

async fn try_start(shared: Arc<Shared>) -> Result<(), JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async("* * * * * *", move |_, _| {
        let shared = Arc::clone(&shared);
        Box::pin(async move { shared.wake_planner.notify_one() })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await
}
