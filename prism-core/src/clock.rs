//! Time as a seam, so that a simulated week runs in seconds.
use async_trait::async_trait;
use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Wall time for timestamps, monotonic time for deadlines, sleep for both.
///
/// 1. `monotonic` never goes back.
/// 2. `sleep(d)` ends when `monotonic` has grown by at least `d`, and not before.
/// 3. A manual clock moves all three together.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// Wall time.
    fn now(&self) -> SystemTime;
    /// Time since some fixed moment.
    fn monotonic(&self) -> Duration;
    /// Waits for a span of this clock.
    async fn sleep(&self, span: Duration);
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: Clock + ?Sized> Clock for $pointer<T> {
        fn now(&self) -> SystemTime {
            (**self).now()
        }
        fn monotonic(&self) -> Duration {
            (**self).monotonic()
        }
        async fn sleep(&self, span: Duration) {
            (**self).sleep(span).await;
        }
    }
)* } }
forward!(Box, Arc);
