//! The wall clock of a run. Every call to a player is under it, whoever plays and whatever clocks it has of its own: it
//! runs from the time that building took on, over training, claims, snapshots and audits, over all attempts.
use futures::future::{Either, select};
use prism_core::{Cancel, Error, Fault, Kind, Result, TrainTask, cancel::Cancelled};
use std::{
    pin::pin,
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

/// What ends a call: somebody who cancels, or the end of the run's time.
#[derive(Debug)]
pub(super) struct Watch {
    cancel: Cancel,
    alarm: Alarm,
    started: Instant,
    /// What was spent before it started.
    before: Duration,
    allowed: Duration,
}

impl Watch {
    /// Starts the clock of a run that has spent some of its time before.
    pub(super) fn start(task: &TrainTask, cancel: &Cancel, before: Duration) -> Result<Self> {
        // The time of a budget is that of one step per batch.
        let inner = u64::from(task.role.inner_steps());
        let allowed = Duration::from_millis(task.budget.wall_millis.saturating_mul(inner));
        let alarm = Alarm::after(allowed.saturating_sub(before))?;
        Ok(Self { cancel: cancel.clone(), alarm, started: Instant::now(), before, allowed })
    }

    /// Time spent, over all attempts.
    pub(super) fn spent(&self) -> Duration {
        self.before.saturating_add(self.started.elapsed())
    }

    /// That neither has happened.
    ///
    /// # Errors
    /// What has.
    pub(super) fn check(&self) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(cancelled());
        }
        if self.spent() > self.allowed { Err(self.over()) } else { Ok(()) }
    }

    /// A call that is dropped when either happens. One that is ready at once counts, late as it may be.
    ///
    /// # Errors
    /// The call's own, or what has happened.
    pub(super) async fn bound<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        match select(pin!(call), select(self.cancel.cancelled(), self.alarm.rings())).await {
            Either::Left((result, _)) => result,
            Either::Right((Either::Left(_), _)) => Err(cancelled()),
            Either::Right((Either::Right(_), _)) => Err(self.over()),
        }
    }

    fn over(&self) -> Error {
        let millis = self.allowed.as_millis();
        Error::new(Kind::Limit, Fault::Miner, format!("run took longer than its {millis} ms"))
    }
}

fn cancelled() -> Error {
    Error::new(Kind::Cancelled, Fault::Policy, "run was cancelled")
}

/// A call with a time of its own; `None` when it ran out.
pub(super) async fn within<T>(span: Duration, call: impl Future<Output = T>) -> Option<T> {
    let alarm = Alarm::after(span).ok()?;
    match select(pin!(call), alarm.rings()).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}

/// Rings once. A thread that sleeps, so that it does under every runtime and under none; it ends when this is dropped.
#[derive(Debug)]
struct Alarm {
    rung: Cancel,
    _sleeper: Sender<()>,
}

impl Alarm {
    fn after(span: Duration) -> Result<Self> {
        let (sleeper, dropped) = mpsc::channel();
        let rung = Cancel::new();
        let ring = rung.clone();
        let sleep = move || {
            if dropped.recv_timeout(span) == Err(RecvTimeoutError::Timeout) {
                ring.cancel();
            }
        };
        thread::Builder::new().name("run-clock".into()).spawn(sleep).map_err(|e| {
            Error::new(Kind::Unavailable, Fault::Infrastructure, "thread of a run's clock not startable").because(e)
        })?;
        Ok(Self { rung, _sleeper: sleeper })
    }

    fn rings(&self) -> Cancelled {
        self.rung.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::fixture::stand_in, measure::tasks::task};
    use futures::{executor::block_on, future::pending};

    fn watch(wall_millis: u64, before: u64, cancel: &Cancel) -> Watch {
        let mut task = task(&stand_in().unwrap());
        task.budget.wall_millis = wall_millis;
        Watch::start(&task, cancel, Duration::from_millis(before)).unwrap()
    }

    #[test]
    fn a_call_that_never_ends_is_ended_by_the_clock_or_by_whoever_cancels() {
        let cancel = Cancel::new();
        for (wall, before) in [(20, 0), (1 << 40, 1 << 40)] {
            let watch = watch(wall, before, &cancel);
            let error = block_on(watch.bound(pending::<Result<()>>())).unwrap_err();
            assert_eq!((error.kind(), error.fault()), (Kind::Limit, Fault::Miner));
            assert!(watch.check().is_err());
        }
        let watch = watch(u64::MAX, 0, &cancel);
        assert!(watch.check().is_ok());
        cancel.cancel();
        assert_eq!(block_on(watch.bound(pending::<Result<()>>())).unwrap_err().kind(), Kind::Cancelled);
    }

    #[test]
    fn what_is_ready_counts_even_when_the_time_is_over() {
        let watch = watch(0, 5, &Cancel::new());
        assert_eq!(block_on(watch.bound(async { Ok(7) })).unwrap(), 7);
        assert_eq!(block_on(within(Duration::ZERO, pending::<()>())), None);
    }
}
