//! One errand of a daemon in a small world: it looks at the record, and does what is called for.

use crate::daemon::{Asked, Daemon};
use keyward_engine::agenda::Errand;
use keyward_engine::ports::Clock;
use keyward_rotation::plan::{self, Decision};
use keyward_rotation::record::{Phase, Record};

/// Looks once, acts once. `bold`: it finds that the owner of what is under way has been silent for the lease. `watches`: where nothing
/// else is called for, it sees whether what is published works.
pub(crate) async fn errand(daemon: Daemon, bold: bool, watches: bool) {
    let Some(managed) = daemon.secrets.first().cloned() else { return };
    let Ok(stored) = daemon.engine.load_or_create(&managed.spec.name).await else { return };
    let Some(record) = stored.record.clone() else { return };
    if let Some(attempt) = record.attempt().filter(|_| record.way().is_some()) {
        if bold || attempt.owner == daemon.engine.owner() {
            let version = stored.version;
            daemon.act(&managed, Errand::TakeOver(version), stored).await;
        }
        return;
    }
    if matches!(record.phase, Phase::Stuck { .. }) || record.diverged.is_some() {
        return Box::pin(daemon.asked(0, Asked::Reconcile)).await; // whoever is paged
    }
    let now = Clock::now(&daemon.port);
    if let Decision::Due { slot, .. } = plan::decide(now, &managed.input(Some(&record), now), &managed.policy) {
        let ended = daemon.act(&managed, Errand::Rotate(slot.0), stored).await;
        if ended.refused && watches {
            daemon.prove().await;
        }
    } else if is_left(&record, now) {
        daemon.act(&managed, Errand::Tend, stored).await;
    } else {
        daemon.act(&managed, Errand::Sweep, stored).await;
        if watches {
            daemon.prove().await;
        }
    }
}

fn is_left(record: &Record, now: jiff::Timestamp) -> bool {
    record.later.iter().any(|later| later.not_before() <= now)
}
