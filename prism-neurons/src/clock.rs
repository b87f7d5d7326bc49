//! The clock of the machine.
use async_trait::async_trait;
use prism_core::Clock;
use std::time::{Duration, Instant, SystemTime};

/// Wall time and monotonic time of the machine; sleeps on tokio's timer.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    #[must_use]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}
