use super::assert_covers;
use crate::{
    observer::{Event, Observer},
    testing::{
        Report,
        fakes::RecordingObserver,
        observer::{ObserverDriver, run},
    },
};
use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, SyncSender, sync_channel},
};

struct Driver {
    record: RecordingObserver,
    observer: Arc<dyn Observer>,
}

impl ObserverDriver for Driver {
    fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.observer)
    }
    fn seen(&self) -> Option<u64> {
        Some(self.record.events().len() as u64)
    }
}

fn report(over: impl Fn(RecordingObserver) -> Arc<dyn Observer>) -> Report {
    run(|| {
        let record = RecordingObserver::new();
        Driver { observer: over(record.clone()), record }
    })
}

/// A queue that nobody empties.
type Full = (SyncSender<()>, Mutex<Receiver<()>>);

#[derive(Debug)]
struct Mutant {
    inner: RecordingObserver,
    breaks: u8,
    queue: Full,
    last: Mutex<u64>,
}

impl Observer for Mutant {
    fn on(&self, event: &Event<'_>) {
        match (self.breaks, event) {
            (1, _) => self.queue.0.send(()).unwrap(),
            (2, Event::Progress { done, of, .. }) => drop(done.wrapping_mul(100) / of),
            // Shows a step once, whoever told it.
            (3, Event::Progress { done, .. }) if std::mem::replace(&mut *self.last.lock().unwrap(), *done) == *done => {
                return;
            }
            _ => {}
        }
        self.inner.on(event);
    }
}

fn mutant(breaks: u8) -> Report {
    report(|inner| {
        let (send, receive) = sync_channel(256);
        Arc::new(Mutant { inner, breaks, queue: (send, Mutex::new(receive)), last: Mutex::new(u64::MAX) })
    })
}

#[test]
fn the_fake_passes_as_itself_in_a_box_and_in_an_arc() {
    report(|observer| Arc::new(observer)).assert_ok();
    report(|observer| Arc::new(Box::new(observer))).assert_ok();
    report(|observer| Arc::new(Arc::new(observer))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../observer.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
}
