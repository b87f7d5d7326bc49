//! Whether a task can be carried out as it is written.
use prism_core::{Error, Fault, Kind, TrainTask, plan::Budget};

/// A plan or budget that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A run of nothing.
    #[error("steps, batch, sequence and rows per point must be at least 1")]
    Empty,
    /// `tokens` is not the product of the others.
    #[error("budget of {tokens} tokens is not {steps} steps of {batch} rows of {sequence}")]
    Tokens {
        /// As stated.
        tokens: u64,
        /// As stated.
        steps: u64,
        /// As stated.
        batch: u32,
        /// As stated.
        sequence: u32,
    },
    /// Points out of order, or beyond the last step.
    #[error("measuring point {0} must come after the one before it and before the end of training")]
    Points(usize),
    /// Not one number of audits for each point.
    #[error("{audits} numbers of audits for {points} measuring points")]
    Audits {
        /// Numbers of audits.
        audits: usize,
        /// Points.
        points: usize,
    },
}

impl From<PlanError> for Error {
    fn from(error: PlanError) -> Self {
        Self::new(Kind::Invalid, Fault::Validator, "task contradicts itself").because(error)
    }
}

/// Checks a task's plan and budget.
///
/// # Errors
/// The first contradiction.
pub fn check(task: &TrainTask) -> Result<(), PlanError> {
    let plan = &task.measuring;
    let Budget { tokens, steps, batch, sequence, .. } = task.budget;
    if steps == 0 || batch == 0 || sequence == 0 || plan.rows == 0 {
        return Err(PlanError::Empty);
    }
    let product = steps.checked_mul(u64::from(batch)).and_then(|rows| rows.checked_mul(u64::from(sequence)));
    if product != Some(tokens) {
        return Err(PlanError::Tokens { tokens, steps, batch, sequence });
    }
    if plan.audits.len() != plan.points.len() {
        return Err(PlanError::Audits { audits: plan.audits.len(), points: plan.points.len() });
    }
    let nexts = plan.points.iter().skip(1).chain([&steps]);
    match plan.points.iter().zip(nexts).position(|(point, next)| point >= next) {
        Some(point) => Err(PlanError::Points(point + 1)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::fixture::stand_in, measure::tasks::task};

    #[test]
    fn contradictions_are_named() {
        let good = task(&stand_in().unwrap());
        assert_eq!(check(&good), Ok(()));
        let broken = |change: fn(&mut TrainTask)| {
            let mut task = good.clone();
            change(&mut task);
            check(&task)
        };
        assert!(matches!(broken(|t| t.budget.tokens += 1), Err(PlanError::Tokens { .. })));
        assert!(matches!(broken(|t| t.budget.steps = u64::MAX), Err(PlanError::Tokens { .. })));
        assert_eq!(broken(|t| t.budget.batch = 0), Err(PlanError::Empty));
        assert_eq!(broken(|t| t.measuring.points = vec![0, 0, 5]), Err(PlanError::Points(1)));
        assert_eq!(broken(|t| t.measuring.points = vec![0, 9, 5]), Err(PlanError::Points(2)));
        assert_eq!(broken(|t| t.measuring.points = vec![0, 5, 12]), Err(PlanError::Points(3)));
        assert_eq!(broken(|t| t.measuring.audits = vec![]), Err(PlanError::Audits { audits: 0, points: 3 }));
    }
}
