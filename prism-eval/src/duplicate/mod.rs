//! Whose idea came first: how alike submissions are, and what follows from it.
//!
//! A [`Fingerprint`] is what is kept of a submission: a digest of all that is run, and for each part a digest of its
//! structure and a [`Sketch`] of the set that it is compared by. [`report`] compares it with the earlier ones that an
//! index found, and says how near the nearest is and what to do: attach, attribute, hold for an operator, or nothing.
//!
//! This names and attributes. Money doesn't hang on it: equal work is one task, and increments are paid on the frontier in
//! the order of arrival, so that a copy adds nothing to what it copies, found or not.
mod fingerprint;
pub mod losses;
pub mod native;
mod report;
mod rule;
mod sketch;
#[cfg(test)]
mod tests;

pub use fingerprint::{Fingerprint, Part, PartPrint};
pub use losses::{LossLikeness, likeness};
pub use report::{Action, DUPLICATE_SCHEMA, DuplicateReport, Grade, Match, ReportError, Thresholds};
pub use rule::{Entry, Subject, report, tuned};
pub use sketch::{Compact, Sketch};

pub(crate) use sketch::{hash, hash_text, mix};
