//! Holding on to a record while a step takes its time, and noticing after a standstill that it is somebody else's.

use crate::drive::{Engine, Spec, Went};
use crate::job::Job;
use crate::recording::Put;
use keyward_rotation::record::{FORMAT, Record};
use keyward_rotation::saga::Event;

impl Engine {
    /// Runs `act` while the record is touched at a third of the lease, so that nobody takes it over meanwhile.
    pub(crate) async fn beside_heartbeat<T>(&self, spec: &Spec, job: &mut Job, act: impl Future<Output = T>) -> Result<T, Went> {
        let mut act = std::pin::pin!(act);
        loop {
            tokio::select! {
                biased;
                done = &mut act => return Ok(done),
                () = self.clock.sleep(self.settings.lease / 3) => {}
            }
            if job.record.way().is_none() {
                continue; // not staged yet: there is nothing to hold
            }
            if !self.is_still_ours(spec, job).await {
                return Err((Event::Lost, None));
            }
            match self.put_own(&spec.name, &mut job.grip, &job.record, &job.held).await {
                Put::Lost => return Err((Event::Lost, None)),
                Put::Won(_) | Put::Failed(_) => {} // the act goes on; if somebody takes over meanwhile, the fence and the race hold
            }
        }
    }

    /// Whether the record still is what this job believes. Asked only after the job has known nothing of it for longer than the lease: its
    /// process stood still, or could not reach Vault.
    ///
    /// Check-and-set alone does not tell that after Vault was restored from the past, when versions come again. What cannot be read
    /// counts as ours: then the fence and the race hold.
    pub(crate) async fn is_still_ours(&self, spec: &Spec, job: &mut Job) -> bool {
        let now = self.clock.elapsed();
        if now.saturating_sub(job.grip.at) <= self.settings.lease {
            return true;
        }
        let Ok(stored) = self.load(&spec.name).await else { return true };
        job.grip.at = now;
        let believed = Record { format: FORMAT, ..job.record.clone() };
        let Some(record) = stored.record else { return false };
        // Before the stage housekeeping may have gone between; the stage makes its own of that.
        let is_same = stored.version == job.grip.version && Record { format: FORMAT, ..record.clone() } == believed;
        is_same || (job.record.attempt().is_none() && record.only_tended_since(&job.record))
    }
}
