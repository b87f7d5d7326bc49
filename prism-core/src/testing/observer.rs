//! The suite of [`Observer`].
use super::{Broken, Check, Report};
use crate::{
    evidence::{Audit, Point},
    finite::Finite,
    id::{SubmissionId, TaskId},
    observer::{Event, Observer},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

/// Events at once; more than any buffer that would only hide a wait.
const BURST: u64 = 5000;
/// An observer that is still busy by then waits for something.
const GIVE_UP: Duration = Duration::from_secs(5);

/// Looks at an observer from behind.
pub trait ObserverDriver: Send + Sync {
    /// The observer under test.
    fn observer(&self) -> Arc<dyn Observer>;
    /// How many events it has seen, where that can be told. Waits for what is still under way.
    fn seen(&self) -> Option<u64>;
}

/// Checks every clause, each on a fresh driver.
pub fn run<D: ObserverDriver>(fresh: impl Fn() -> D) -> Report {
    let mut report = Report::new("Observer");
    report.check_now(1, "clause_1_never_blocks", || clause_1_never_blocks(&fresh()));
    report.check_now(2, "clause_2_no_event_makes_it_fail", || clause_2_no_event_makes_it_fail(&fresh()));
    report.check_now(3, "clause_3_sees_everything_once", || clause_3_sees_everything_once(&fresh()));
    report
}

fn task() -> TaskId {
    TaskId::of_parts("observer suite", &[])
}

/// Thousands of events at once, of which nobody takes notice.
pub fn clause_1_never_blocks(driver: &dyn ObserverDriver) -> Check {
    let observer = driver.observer();
    let (done, end) = mpsc::channel();
    let burst = move || {
        for step in 0..BURST {
            observer.on(&Event::Progress { task: task(), done: step, of: BURST });
        }
        // The other end is gone when this came too late.
        let _ = done.send(());
    };
    thread::Builder::new().spawn(burst).map_err(|error| Broken(format!("no thread: {error}")))?;
    match end.recv_timeout(GIVE_UP) {
        Err(mpsc::RecvTimeoutError::Timeout) => {
            Err(Broken(format!("{BURST} events at once were not dealt with in {} s", GIVE_UP.as_secs())))
        }
        // A panic is another clause's.
        Ok(()) | Err(mpsc::RecvTimeoutError::Disconnected) => Ok(()),
    }
}

/// Odd events of every kind, from four threads at once.
pub fn clause_2_no_event_makes_it_fail(driver: &dyn ObserverDriver) -> Check {
    let huge = Finite::new(f64::MAX).unwrap_or_default();
    let tiny = Finite::new(f64::MIN_POSITIVE).unwrap_or_default();
    let long = "ü\u{0}\u{1b}[2J{}%s\n".repeat(10_000);
    let empty = Point { step: 0, tokens: 0, row_bits: vec![], row_bytes: vec![], audits: vec![] };
    let odd = Point {
        step: u64::MAX,
        tokens: u64::MAX,
        row_bits: vec![huge, huge, tiny],
        row_bytes: vec![0, u32::MAX],
        audits: vec![Audit { row: u32::MAX, position: u32::MAX, claimed: huge, audited: tiny }],
    };
    let submission = SubmissionId::of_parts("observer suite", &[]);
    let progress = |done, of| Event::Progress { task: task(), done, of };
    let events = [
        Event::Phase { submission, phase: "" },
        Event::Phase { submission, phase: &long },
        progress(0, 0),
        progress(u64::MAX, 0),
        progress(u64::MAX, 1),
        progress(0, u64::MAX),
        progress(u64::MAX, u64::MAX),
        Event::Measured { task: task(), point: &empty },
        Event::Measured { task: task(), point: &odd },
    ];
    let observer = driver.observer();
    let all = || events.iter().all(|event| catch_unwind(AssertUnwindSafe(|| observer.on(event))).is_ok());
    let fine = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(all)).collect();
        threads.into_iter().all(|thread| thread.join().unwrap_or(false))
    });
    ensure!(fine, "an odd event made it panic");
    Ok(())
}

/// Counts what four threads told, equal events included. Sees nothing where the driver can't count.
pub fn clause_3_sees_everything_once(driver: &dyn ObserverDriver) -> Check {
    let observer = driver.observer();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for step in 0..25 {
                    observer.on(&Event::Progress { task: task(), done: step / 2, of: 13 });
                }
            });
        }
    });
    match driver.seen() {
        None | Some(100) => Ok(()),
        Some(seen) => Err(Broken(format!("of 100 events {seen} were seen"))),
    }
}
