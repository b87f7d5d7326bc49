//! The suite of [`Clock`].
use super::{Broken, Check, drive::poll_times, within};
use crate::clock::Clock;
use async_trait::async_trait;
use std::{sync::Arc, thread, time::Duration};

/// Long for a computer, short for whoever waits.
const SPAN: Duration = Duration::from_millis(40);
/// A sleep of [`SPAN`] that is not over by then never ends.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Lets time pass.
#[async_trait]
pub trait ClockDriver: Send + Sync {
    /// The clock under test.
    fn clock(&self) -> Arc<dyn Clock>;
    /// Whether the clock stands still unless moved.
    fn is_manual(&self) -> bool {
        false
    }
    /// Lets at least this span pass; exactly this span on a manual clock. The default waits in real time.
    async fn pass(&mut self, span: Duration) {
        thread::sleep(span);
    }
}

suite!(
    "Clock", ClockDriver,
    1 => clause_1_monotonic_time_never_goes_back,
    2 => clause_2_a_sleep_ends_after_its_span_and_not_before,
    3 => clause_3_a_manual_clock_moves_all_three_together,
);

/// Reads it a thousand times on one thread, with time passing now and then.
pub async fn clause_1_monotonic_time_never_goes_back(driver: &mut dyn ClockDriver) -> Check {
    let clock = driver.clock();
    let mut last = clock.monotonic();
    for read in 0..1000 {
        if read % 250 == 0 {
            driver.pass(Duration::from_millis(1)).await;
        }
        let now = clock.monotonic();
        ensure!(now >= last, "monotonic time went from {last:?} back to {now:?}");
        last = now;
    }
    Ok(())
}

/// Looks at a sleep at its start, in its middle and after its end.
pub async fn clause_2_a_sleep_ends_after_its_span_and_not_before(driver: &mut dyn ClockDriver) -> Check {
    let clock = driver.clock();
    let start = clock.monotonic();
    let mut sleep = clock.sleep(SPAN);
    for pause in [Duration::ZERO, SPAN / 2] {
        driver.pass(pause).await;
        let done = poll_times(&mut sleep, 1).await.is_some();
        let grown = clock.monotonic().saturating_sub(start);
        ensure!(!done || grown >= SPAN, "a sleep of {SPAN:?} ended after {grown:?}");
        if done {
            return Ok(());
        }
    }
    driver.pass(SPAN).await;
    if within(GIVE_UP, sleep).await.is_none() {
        return Err(Broken(format!("a sleep of {SPAN:?} never ended")));
    }
    let grown = clock.monotonic().saturating_sub(start);
    ensure!(grown >= SPAN, "a sleep of {SPAN:?} ended after {grown:?}");
    Ok(())
}

/// Moves a manual clock by an hour; sees nothing of a clock that moves by itself.
pub async fn clause_3_a_manual_clock_moves_all_three_together(driver: &mut dyn ClockDriver) -> Check {
    if !driver.is_manual() {
        return Ok(());
    }
    let hour = Duration::from_secs(3600);
    let clock = driver.clock();
    let (wall, monotonic) = (clock.now(), clock.monotonic());
    let mut sleep = clock.sleep(hour);
    ensure!(poll_times(&mut sleep, 1).await.is_none(), "a sleep of an hour ended at once");
    driver.pass(hour).await;
    let grown = clock.monotonic().saturating_sub(monotonic);
    ensure!(grown == hour, "after an hour monotonic time has grown by {grown:?}");
    let grown = clock.now().duration_since(wall).unwrap_or_default();
    ensure!(grown == hour, "after an hour wall time has grown by {grown:?}");
    ensure!(within(GIVE_UP, sleep).await.is_some(), "after an hour a sleep of an hour goes on");
    Ok(())
}
