//! What goes on, for whoever looks: progress bars, logs, the page.
use crate::{
    evidence::Point,
    id::{SubmissionId, TaskId},
};
use std::{fmt::Debug, sync::Arc};

/// Something that happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A submission entered a phase.
    Phase {
        /// Which.
        submission: SubmissionId,
        /// The phase's name.
        phase: &'a str,
    },
    /// A run moved on.
    Progress {
        /// Which.
        task: TaskId,
        /// Steps done.
        done: u64,
        /// Steps in all.
        of: u64,
    },
    /// A measuring point is complete.
    Measured {
        /// Of which run.
        task: TaskId,
        /// The point.
        point: &'a Point,
    },
}

/// Is told what goes on; what must not be lost goes to the store instead.
///
/// 1. `on` never blocks, however many events come at once.
/// 2. `on` never fails: no event, from no thread, makes it panic.
/// 3. Sees everything once: each call is one event, also when an equal one came before.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Told of each event, from any thread.
    fn on(&self, event: &Event<'_>);
}

/// Looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn on(&self, _: &Event<'_>) {}
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    impl<T: Observer + ?Sized> Observer for $pointer<T> {
        fn on(&self, event: &Event<'_>) {
            (**self).on(event);
        }
    }
)* } }
forward!(Box, Arc);
