use crate::clock::Clock;
use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

/// A clock that stands still unless moved: wall time, monotonic time and sleepers together.
#[derive(Debug, Clone)]
pub struct ManualClock {
    start: SystemTime,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    elapsed: Duration,
    next: u64,
    sleepers: BTreeMap<u64, (Duration, Waker)>,
}

impl ManualClock {
    /// A clock that stands at this wall time.
    #[must_use]
    pub fn new(start: SystemTime) -> Self {
        Self { start, state: Arc::default() }
    }

    /// Lets time pass and wakes whoever has slept enough.
    pub fn advance(&self, span: Duration) {
        let mut state = self.lock();
        state.elapsed = state.elapsed.saturating_add(span);
        let now = state.elapsed;
        let due: Vec<Waker> = state.sleepers.values().filter(|(d, _)| *d <= now).map(|(_, w)| w.clone()).collect();
        drop(state);
        for waker in due {
            waker.wake();
        }
    }

    /// Lets time pass until the next sleeper is due; false when nobody sleeps. A simulated week is a loop over this.
    pub fn advance_to_next(&self) -> bool {
        let state = self.lock();
        let now = state.elapsed;
        let next = state.sleepers.values().map(|(due, _)| due.saturating_sub(now)).filter(|span| !span.is_zero()).min();
        drop(state);
        if let Some(span) = next {
            self.advance(span);
        }
        next.is_some()
    }

    /// How many sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.lock().sleepers.len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for ManualClock {
    /// Stands at the start of 2025.
    fn default() -> Self {
        Self::new(SystemTime::UNIX_EPOCH + Duration::from_secs(1_735_689_600))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        let elapsed = self.lock().elapsed;
        self.start.checked_add(elapsed).unwrap_or(self.start)
    }
    fn monotonic(&self) -> Duration {
        self.lock().elapsed
    }
    async fn sleep(&self, span: Duration) {
        let due = self.lock().elapsed.saturating_add(span);
        Sleep { clock: self, due, slot: None }.await;
    }
}

struct Sleep<'a> {
    clock: &'a ManualClock,
    due: Duration,
    slot: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock;
        let mut state = clock.lock();
        if state.elapsed >= self.due {
            return Poll::Ready(());
        }
        let slot = *self.slot.get_or_insert_with(|| {
            state.next = state.next.wrapping_add(1);
            state.next
        });
        state.sleepers.insert(slot, (self.due, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.clock.lock().sleepers.remove(&slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{block_on, drive::poll_times};

    #[test]
    fn a_week_of_sleeps_passes_by_jumping_from_one_to_the_next() {
        let clock = ManualClock::default();
        let day = Duration::from_secs(86_400);
        let sleeper = clock.clone();
        let mut week = Box::pin(async move {
            for _ in 0..7 {
                sleeper.sleep(day).await;
            }
        });
        while block_on(poll_times(&mut week, 1)).is_none() {
            assert_eq!(clock.sleepers(), 1);
            assert!(clock.advance_to_next());
        }
        assert_eq!(clock.monotonic(), day * 7);
        assert!(!clock.advance_to_next());
    }

    #[test]
    fn a_dropped_sleep_leaves_no_sleeper() {
        let clock = ManualClock::default();
        let mut sleep = clock.sleep(Duration::from_secs(1));
        assert!(block_on(poll_times(&mut sleep, 1)).is_none());
        drop(sleep);
        assert_eq!(clock.sleepers(), 0);
    }
}
