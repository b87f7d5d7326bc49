//! Calls that go wrong on request, between the wire and the methods.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use jsonrpsee::MethodResponse;
use jsonrpsee::core::middleware::{Batch, Notification, RpcServiceT};
use jsonrpsee::types::{ErrorObject, Request};

use crate::devnet::line::Line;

/// As nodes have it (`sc-rpc-server`, its rate limiter).
const RATE_LIMIT: i32 = -32_999;

/// When a submission breaks the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::devnet) enum Cut {
    BeforePool,
    AfterPool,
}

#[derive(Debug, Default)]
struct Planned {
    cuts: VecDeque<Cut>,
    refused: u32,
}

/// What is planned to go wrong. Clones share it.
#[derive(Debug, Clone)]
pub(in crate::devnet) struct Interference {
    planned: Arc<Mutex<Planned>>,
    line: Line,
}

impl Interference {
    pub(in crate::devnet) fn new(line: Line) -> Self {
        Self { planned: Arc::default(), line }
    }

    fn planned(&self) -> std::sync::MutexGuard<'_, Planned> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans for the next submission that nothing is planned for.
    pub(in crate::devnet) fn cut(&self, cut: Cut) {
        self.planned().cuts.push_back(cut);
    }

    /// Refuses this many calls more.
    pub(in crate::devnet) fn refuse(&self, calls: u32) {
        let mut planned = self.planned();
        planned.refused = planned.refused.saturating_add(calls);
    }

    /// Forgets all plans.
    pub(in crate::devnet) fn clear(&self) {
        *self.planned() = Planned::default();
    }

    fn is_refused(&self) -> bool {
        let mut planned = self.planned();
        let is_refused = planned.refused > 0;
        planned.refused = planned.refused.saturating_sub(1);
        is_refused
    }

    fn next_cut(&self, method: &str) -> Option<Cut> {
        if method.starts_with("author_submit") { self.planned().cuts.pop_front() } else { None }
    }
}

/// A service whose calls go wrong as planned.
#[derive(Debug, Clone)]
pub(super) struct Interfered<S> {
    pub(super) service: S,
    pub(super) interference: Interference,
}

impl<S> RpcServiceT for Interfered<S>
where
    S: RpcServiceT<MethodResponse = MethodResponse> + Clone + Send + Sync + 'static,
{
    type MethodResponse = MethodResponse;
    type NotificationResponse = S::NotificationResponse;
    type BatchResponse = S::BatchResponse;

    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let Self { service, interference } = self.clone();
        async move {
            let refuse = |request: Request<'_>| {
                let error = ErrorObject::owned(RATE_LIMIT, "RPC rate limit exceeded", None::<()>);
                MethodResponse::error(request.id, error)
            };
            if interference.is_refused() {
                return refuse(request);
            }
            match interference.next_cut(request.method_name()) {
                None => service.call(request).await,
                Some(Cut::BeforePool) => {
                    interference.line.cut();
                    // Nobody hears this: the wire was cut before.
                    refuse(request)
                }
                Some(Cut::AfterPool) => {
                    let response = service.call(request).await;
                    interference.line.cut();
                    response
                }
            }
        }
    }

    fn batch<'a>(&self, requests: Batch<'a>) -> impl Future<Output = Self::BatchResponse> + Send + 'a {
        self.service.batch(requests)
    }

    fn notification<'a>(
        &self,
        notification: Notification<'a>,
    ) -> impl Future<Output = Self::NotificationResponse> + Send + 'a {
        self.service.notification(notification)
    }
}
