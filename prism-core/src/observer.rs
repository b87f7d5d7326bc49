//! What goes on, for whoever looks: progress bars, logs, the page.
use crate::{
    evidence::Point,
    id::{SubmissionId, TaskId},
};
use std::fmt::Debug;

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

/// Never blocks, never fails, sees everything once; what must not be lost goes to the store instead.
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
