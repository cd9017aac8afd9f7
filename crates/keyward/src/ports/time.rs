//! The real clock.

use async_trait::async_trait;
use jiff::Timestamp;
use keyward_engine::ports::Clock;
use std::time::{Duration, Instant};

/// Wall time for schedules and people, monotonic time for leases and waits.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}
