//! Driving futures by hand: the kit has no runtime.
use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::{Arc, Condvar, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// A boxed future of some scope.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a future on this thread until it is done, parking in between.
pub fn block_on<F: Future>(future: F) -> F::Output {
    #[derive(Debug)]
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Awaits a future for at most `limit` of real time; `None` when it isn't done by then. Works under any runtime and
/// under none.
pub async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut alarm = Alarm { due: Instant::now().checked_add(limit), shared: None };
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        if alarm.rings(context.waker()) { Poll::Ready(None) } else { Poll::Pending }
    })
    .await
}

/// Wakes a task once, from a thread that ends with it.
struct Alarm {
    due: Option<Instant>,
    shared: Option<Arc<(Mutex<AlarmState>, Condvar)>>,
}

struct AlarmState {
    waker: Waker,
    called_off: bool,
}

impl Alarm {
    fn rings(&mut self, waker: &Waker) -> bool {
        let Some(due) = self.due else { return false };
        if Instant::now() >= due {
            return true;
        }
        if let Some(shared) = &self.shared {
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).waker = waker.clone();
            return false;
        }
        let state = AlarmState { waker: waker.clone(), called_off: false };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let theirs = Arc::clone(&shared);
        let ring = move || {
            let (lock, changed) = &*theirs;
            let mut state = lock.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let left = due.saturating_duration_since(Instant::now());
                if state.called_off {
                    return;
                }
                if left.is_zero() {
                    return state.waker.wake_by_ref();
                }
                state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        };
        self.shared = Some(shared);
        // Without a thread nothing would wake the task: the deadline counts as passed.
        thread::Builder::new().name("prism-testing-alarm".into()).spawn(ring).is_err()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.0.lock().unwrap_or_else(PoisonError::into_inner).called_off = true;
            shared.1.notify_all();
        }
    }
}

/// Polls a future at most `times`, waiting for its waker in between; `None` when it isn't done by then.
pub(super) async fn poll_times<F: Future + Unpin>(future: &mut F, times: u32) -> Option<F::Output> {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match Pin::new(&mut *future).poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Awaits all futures at once, in one task; their outputs in order.
pub(super) async fn join_all<T>(mut futures: Vec<Boxed<'_, T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut waiting = false;
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(value) => *output = Some(value),
                    Poll::Pending => waiting = true,
                }
            }
        }
        if waiting { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

/// Pending once, then done: a point at which others get their turn.
pub(super) async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Awaits a future; a panic inside becomes its message.
pub(super) async fn catching<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(message(payload.as_ref()))),
    })
    .await
}

/// The text of a panic.
pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    #[test]
    fn block_on_is_woken_from_another_thread() {
        let cancel = crate::Cancel::new();
        let theirs = cancel.clone();
        let other = thread::spawn(move || theirs.cancel());
        block_on(cancel.cancelled());
        other.join().unwrap();
    }

    #[test]
    fn a_future_that_never_ends_is_given_up_and_one_that_does_is_not() {
        assert_eq!(block_on(within(Duration::from_millis(5), pending::<()>())), None);
        assert_eq!(block_on(within(Duration::ZERO, ready(7))), Some(7));
        assert_eq!(block_on(within(Duration::MAX, async { yield_once().await })), Some(()));
    }

    #[test]
    fn polls_are_counted() {
        let mut future = Box::pin(yield_once());
        assert_eq!(block_on(poll_times(&mut future, 0)), None);
        assert_eq!(block_on(poll_times(&mut future, 1)), None);
        assert_eq!(block_on(poll_times(&mut future, 1)), Some(()));
    }

    #[test]
    fn joined_futures_take_turns_and_answer_in_order() {
        let order = Mutex::new(Vec::new());
        let note = |n: u8| order.lock().unwrap().push(n);
        let step = |n: u8| -> Boxed<'_, u8> {
            Box::pin(async move {
                note(n);
                yield_once().await;
                note(n + 10);
                n
            })
        };
        assert_eq!(block_on(join_all(vec![step(1), step(2)])), [1, 2]);
        assert_eq!(*order.lock().unwrap(), [1, 2, 11, 12]);
    }

    #[test]
    fn a_panic_becomes_its_message() {
        let caught = block_on(catching(async { panic!("no {}", "luck") }));
        assert_eq!(caught, Err::<(), _>("panicked: no luck".to_owned()));
    }
}
