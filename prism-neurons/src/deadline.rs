//! Waiting no longer than a span of a clock.
use futures::future::{Either, select};
use prism_core::Clock;
use std::{future::Future, pin::pin, time::Duration};

/// What the future gives, or `None` when the span is over first. The future is dropped then.
pub(crate) async fn within<T>(clock: &dyn Clock, span: Duration, future: impl Future<Output = T>) -> Option<T> {
    match select(pin!(future), clock.sleep(span)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
