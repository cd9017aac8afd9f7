//! Whether the daemon's heart beats: how long ago the planner last looked. Liveness and the service manager's watchdog judge by it.
//!
//! It never says whether anything goes well, only whether somebody still looks.

use super::shared::Shared;
use crate::metrics::families as f;
use jiff::Timestamp;

/// A planner that has not looked for longer stands still: one look ends within its calls' own time limits.
const STILL_SECONDS: f64 = 60.0;

/// Why the daemon counts as standing still; `None` while it lives.
pub fn standing_still(shared: &Shared) -> Option<String> {
    let gauge = |family| shared.metrics.series(family, &[]).get();
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    let now = Timestamp::now().as_second() as f64;
    judge(gauge(&f::PLANNER_TICK), gauge(&f::START), now)
}

/// Judges by the moment of the last look (0 before the first, then the start counts), in seconds since 1970.
fn judge(tick: f64, start: f64, now: f64) -> Option<String> {
    let (last, what) = if tick > 0.0 { (tick, "the planner last looked") } else { (start, "the planner has not looked since the start") };
    let age = now - last;
    (age > STILL_SECONDS).then(|| format!("{what} {age:.0} s ago"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planner_that_looks_or_has_just_started_is_alive() {
        let rows =
            [((990.0, 100.0, 1000.0), true), ((939.0, 100.0, 1000.0), false), ((0.0, 950.0, 1000.0), true), ((0.0, 900.0, 1000.0), false)];
        for ((tick, start, now), alive) in rows {
            assert_eq!(judge(tick, start, now).is_none(), alive, "{tick} {start} {now}");
        }
    }
}
