//! Times and bounds of an engine.

use keyward_rotation::saga::Limits;
use std::time::Duration;

/// Times and bounds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// A record whose owner is silent for this long may be taken over.
    pub lease: Duration,
    /// How often things are tried.
    pub limits: Limits,
    /// The first pause between two tries; it doubles.
    pub first_pause: Duration,
    /// The longest one.
    pub longest_pause: Duration,
    /// For so long after its stage, a rotation that cannot go back, or on behind its pivot, because something cannot be reached is taken
    /// up again and again; then it stands still.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            limits: Limits::default(),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(15),
            patience: Duration::from_hours(24),
        }
    }
}

impl Settings {
    /// The pause before a try that follows on so many.
    pub(crate) fn pause_before(&self, attempts: u8) -> Duration {
        if attempts == 0 {
            return Duration::ZERO;
        }
        let doubled = self.first_pause.saturating_mul(1 << u32::from(attempts - 1).min(10));
        doubled.min(self.longest_pause)
    }
}
