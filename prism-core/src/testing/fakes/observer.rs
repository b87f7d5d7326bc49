use crate::{
    evidence::Point,
    id::{SubmissionId, TaskId},
    observer::{Event, Observer},
};
use std::sync::{Arc, Mutex, PoisonError};

/// An event that was told, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// [`Event::Phase`].
    Phase {
        /// Which submission.
        submission: SubmissionId,
        /// The phase's name.
        phase: String,
    },
    /// [`Event::Progress`].
    Progress {
        /// Which run.
        task: TaskId,
        /// Steps done.
        done: u64,
        /// Steps in all.
        of: u64,
    },
    /// [`Event::Measured`].
    Measured {
        /// Of which run.
        task: TaskId,
        /// The point.
        point: Point,
    },
}

/// Keeps all it is told, in order.
#[derive(Debug, Clone, Default)]
pub struct RecordingObserver(Arc<Mutex<Vec<Recorded>>>);

impl RecordingObserver {
    /// Told nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it was told.
    #[must_use]
    pub fn events(&self) -> Vec<Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for RecordingObserver {
    fn on(&self, event: &Event<'_>) {
        let recorded = match event {
            Event::Phase { submission, phase } => {
                Recorded::Phase { submission: *submission, phase: (*phase).to_owned() }
            }
            Event::Progress { task, done, of } => Recorded::Progress { task: *task, done: *done, of: *of },
            Event::Measured { task, point } => Recorded::Measured { task: *task, point: (*point).clone() },
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
    }
}
