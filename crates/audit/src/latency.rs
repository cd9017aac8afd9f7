//! How long calls took, as counts below fixed bounds. Never single durations.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// The upper bounds, in seconds.
pub const LATENCY_BOUNDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

/// A histogram of durations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many durations fell below each bound and above the one before it.
    pub buckets: [u64; LATENCY_BOUNDS.len()],
    /// How many there were, those above the last bound included.
    pub count: u64,
    /// Their sum in nanoseconds, so that it is the same after a rest.
    pub nanoseconds: u64,
}

impl Latency {
    /// Takes in one duration.
    pub fn observe(&mut self, took: SignedDuration) {
        let seconds = took.as_secs_f64();
        if let Some(bucket) = LATENCY_BOUNDS.iter().position(|bound| seconds <= *bound).and_then(|i| self.buckets.get_mut(i)) {
            *bucket += 1;
        }
        self.count += 1;
        self.nanoseconds = self.nanoseconds.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Their sum in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a sum that is shown, not counted on")]
    pub fn seconds(&self) -> f64 {
        self.nanoseconds as f64 / 1e9
    }
}
