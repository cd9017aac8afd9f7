//! Whether this machine's clock can be relied on: nothing is staged while it and Vault's differ by more than a limit.
//!
//! What a slot is, when a grace is over and when a key may sign are all said by this clock. One that is wrong by a day would use up
//! slots that have not come, and no later look at the right time could take that back.

use super::shared::Live;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Why nothing may be staged now; `None`: the clocks agree, or Vault does not tell its time (then nothing can be staged anyway).
/// Asks `sys/health`, which needs no token and leaves no line in the audit log.
pub async fn objection(live: &Live) -> Option<String> {
    let config = &live.config.vault;
    let health = live.vault.client().health(config.address.as_str()).await;
    judge(Timestamp::now(), health.server_time?, health.took, config.clock_skew_limit)
}

/// `theirs` was read within the last `took`, in whole seconds: only what is beyond that is certainly a difference.
fn judge(now: Timestamp, theirs: Timestamp, took: Duration, limit: Duration) -> Option<String> {
    let ahead = now.duration_since(theirs);
    let slack = SignedDuration::try_from(took).unwrap_or(SignedDuration::MAX).saturating_add(SignedDuration::from_secs(1));
    let limit = SignedDuration::try_from(limit).unwrap_or(SignedDuration::MAX);
    let (which, by) = if ahead.is_negative() { ("behind", ahead.abs()) } else { ("ahead of", ahead.saturating_sub(slack)) };
    (by > limit).then(|| {
        format!("this machine's clock is {} s {which} Vault's, more than the {} s that are allowed", by.as_secs(), limit.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(ahead_ms: i64, took_ms: u64) -> Option<String> {
        let theirs = Timestamp::from_second(1_800_000_000).unwrap_or_default();
        let now = Timestamp::from_millisecond(theirs.as_millisecond() + ahead_ms).unwrap_or_default();
        judge(now, theirs, Duration::from_millis(took_ms), Duration::from_mins(1))
    }

    #[test]
    fn only_what_is_surely_beyond_the_limit_objects() {
        for (ahead, took) in [(0, 0), (900, 0), (60_900, 0), (-60_000, 0), (64_000, 3_500)] {
            assert_eq!(objects(ahead, took), None, "{ahead} ms ahead, answered in {took} ms");
        }
        for (ahead, took, says) in [
            (62_000, 0, "this machine's clock is 61 s ahead of Vault's, more than the 60 s that are allowed"),
            (-61_000, 3_000, "this machine's clock is 61 s behind Vault's, more than the 60 s that are allowed"),
            (86_400_000, 0, "this machine's clock is 86399 s ahead of Vault's, more than the 60 s that are allowed"),
        ] {
            assert_eq!(objects(ahead, took).as_deref(), Some(says));
        }
    }
}
