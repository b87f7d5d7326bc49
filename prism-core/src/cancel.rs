//! Cancellation without a runtime: a blocking loop polls [`Cancel::is_cancelled`], an async one awaits
//! [`Cancel::cancelled`].
use std::{
    future::Future,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// A token that many hold and anyone may cancel, once and for good.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<State>);

#[derive(Debug, Default)]
struct State {
    set: AtomicBool,
    wakers: Mutex<Wakers>,
    parent: Option<Cancel>,
}

#[derive(Debug, Default)]
struct Wakers {
    next: u64,
    waiting: Vec<(u64, Waker)>,
    children: Vec<Weak<State>>,
}

impl Cancel {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A token cancelled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        let child = Arc::new(State { parent: Some(self.clone()), ..State::default() });
        let mut wakers = self.lock();
        wakers.children.retain(|c| c.strong_count() > 0);
        wakers.children.push(Arc::downgrade(&child));
        drop(wakers);
        Self(child)
    }

    /// Cancels this token and its children. Idempotent.
    pub fn cancel(&self) {
        self.0.set.store(true, Ordering::Release);
        let (waiting, children) = {
            let mut wakers = self.lock();
            (mem::take(&mut wakers.waiting), mem::take(&mut wakers.children))
        };
        for (_, waker) in waiting {
            waker.wake();
        }
        for child in children.iter().filter_map(Weak::upgrade) {
            Cancel(child).cancel();
        }
    }

    /// Whether this token, or one it descends from, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.set.load(Ordering::Acquire) || self.0.parent.as_ref().is_some_and(Self::is_cancelled)
    }

    /// Resolves when the token is cancelled.
    #[must_use]
    pub fn cancelled(&self) -> Cancelled {
        Cancelled { cancel: self.clone(), slot: None }
    }

    fn lock(&self) -> MutexGuard<'_, Wakers> {
        self.0.wakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The future of [`Cancel::cancelled`].
#[derive(Debug)]
pub struct Cancelled {
    cancel: Cancel,
    slot: Option<u64>,
}

impl Future for Cancelled {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let cancel = self.cancel.clone();
        let mut wakers = cancel.lock();
        // Checked under the lock: a cancel in between would otherwise miss this waker.
        if cancel.is_cancelled() {
            return Poll::Ready(());
        }
        let slot = *self.slot.get_or_insert_with(|| {
            let slot = wakers.next;
            wakers.next += 1;
            slot
        });
        wakers.waiting.retain(|(s, _)| *s != slot);
        wakers.waiting.push((slot, cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Cancelled {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.cancel.lock().waiting.retain(|(s, _)| *s != slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, task::Wake};

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn cancelling_the_parent_wakes_whoever_awaits_a_child() {
        let parent = Cancel::new();
        let child = parent.child().child();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut future = Box::pin(child.cancelled());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        parent.cancel();
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[test]
    fn cancelling_a_child_leaves_its_parent_alone() {
        let parent = Cancel::new();
        let child = parent.child();
        child.cancel();
        assert!(child.is_cancelled());
        assert!(!parent.is_cancelled());
    }

    #[test]
    fn a_dropped_future_leaves_no_waker_behind() {
        let cancel = Cancel::new();
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut future = Box::pin(cancel.cancelled());
        assert!(future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        drop(future);
        cancel.cancel();
        assert_eq!(count.0.load(Ordering::SeqCst), 0);
    }
}
