use super::assert_covers;
use crate::{
    clock::Clock,
    testing::{
        Report, block_on,
        clock::{ClockDriver, run},
        fakes::ManualClock,
        within,
    },
};
use async_trait::async_trait;
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

struct Driver {
    hand: ManualClock,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl ClockDriver for Driver {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }
    fn is_manual(&self) -> bool {
        true
    }
    async fn pass(&mut self, span: Duration) {
        self.hand.advance(span);
    }
}

fn report(over: impl Fn(ManualClock) -> Arc<dyn Clock>) -> Report {
    block_on(run(async || {
        let hand = ManualClock::default();
        Ok(Driver { clock: over(hand.clone()), hand })
    }))
}

#[derive(Debug)]
struct Mutant {
    inner: ManualClock,
    breaks: u8,
    reads: AtomicU32,
}

#[async_trait]
impl Clock for Mutant {
    fn now(&self) -> SystemTime {
        if self.breaks == 3 { SystemTime::UNIX_EPOCH } else { self.inner.now() }
    }
    fn monotonic(&self) -> Duration {
        let wrapped = self.breaks == 1 && self.reads.fetch_add(1, Ordering::SeqCst) == 700;
        if wrapped { Duration::ZERO } else { self.inner.monotonic() }
    }
    async fn sleep(&self, span: Duration) {
        self.inner.sleep(if self.breaks == 2 { span / 2 } else { span }).await;
    }
}

fn mutant(breaks: u8) -> Report {
    report(|inner| Arc::new(Mutant { inner, breaks, reads: AtomicU32::new(0) }))
}

/// The operating system's clock, its sleep a deadline.
#[derive(Debug)]
struct RealClock(Instant);

#[async_trait]
impl Clock for RealClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, span: Duration) {
        within(span, pending::<()>()).await;
    }
}

#[test]
fn a_clock_that_moves_by_itself_passes() {
    struct Real(Arc<dyn Clock>);
    impl ClockDriver for Real {
        fn clock(&self) -> Arc<dyn Clock> {
            Arc::clone(&self.0)
        }
    }
    block_on(run(async || Ok(Real(Arc::new(RealClock(Instant::now())))))).assert_ok();
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|clock| Arc::new(clock)).assert_ok();
    report(|clock| Arc::new(Box::new(clock))).assert_ok();
    report(|clock| Arc::new(Arc::new(clock))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../clock.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
}
