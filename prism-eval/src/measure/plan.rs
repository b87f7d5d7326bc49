//! When the host measures: drawn once per cohort, the same for all its runs.
use prism_core::{
    Error, Fault, Finite, Kind, Seed, TrainTask,
    plan::{Budget, MeasuringPlan},
};

/// How often and how much a policy measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cadence {
    /// Measuring points, the one before any training included; at least 1.
    pub points: u32,
    /// Training tokens after which points count.
    pub window_tokens: u64,
    /// Rows per point.
    pub rows: u32,
    /// Audited rows of a point that counts, for players whose claims need it. A point that doesn't gets none but the
    /// first, which shows whether the text was known beforehand.
    pub audits: u32,
    /// Held-out rows after training.
    pub held_out_rows: u32,
    /// An audited position off by more than this many bits fails the run.
    pub alarm_bits: Finite,
}

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
    /// Points so close that their rows would overlap, out of order, or too late for their rows to be trained on.
    #[error("measuring point {point}: its {rows} rows must all be trained on before the next point and the end")]
    Points {
        /// Which point, from 0.
        point: usize,
        /// Rows per point.
        rows: u32,
    },
    /// A point that counts, or the one before training, whose claims nobody would check.
    #[error("measuring point {point} has no audits: claims of untrusted code need them")]
    Unaudited {
        /// Which point, from 0.
        point: usize,
    },
    /// All points lie before the window that counts.
    #[error("no measuring point counts: the window starts at step {counts_from}, the last point is at {last}")]
    Window {
        /// First step that counts.
        counts_from: u64,
        /// Step of the last point.
        last: u64,
    },
    /// A row would be audited twice.
    #[error("measuring point {point} has {audits} audits of {rows} rows: no row is audited twice")]
    Twice {
        /// Which point, from 0.
        point: usize,
        /// Its audits.
        audits: u32,
        /// Rows per point.
        rows: u32,
    },
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

/// Steps that the rows of one point take to be trained on.
fn span(rows: u32, batch: u32) -> u64 {
    u64::from(rows).div_ceil(u64::from(batch.max(1)))
}

impl Cadence {
    /// A plan for a budget. The first point is step 0; the others end equal stretches of the run, each drawn back by
    /// up to half a stretch from the cohort's stream `points`, so that nobody can prepare for a known step. Those
    /// after the window's start weigh alike and are audited alike.
    ///
    /// # Errors
    /// When the run is too short for so many points of so many rows, or no point counts.
    pub fn plan(&self, budget: &Budget, cohort: &Seed) -> Result<MeasuringPlan, PlanError> {
        if self.points == 0 || self.rows == 0 || budget.steps == 0 || budget.batch == 0 {
            return Err(PlanError::Empty);
        }
        let span = span(self.rows, budget.batch);
        let refuse = |point| PlanError::Points { point, rows: self.rows };
        let last = budget.steps.checked_sub(span).ok_or(refuse(0))?;
        let stretches = u64::from(self.points) - 1;
        let mut points = vec![0];
        if let Some(stretch) = last.checked_div(stretches) {
            let slack = stretch.checked_sub(span).ok_or(refuse(1))?;
            let most = slack.min(stretch / 2);
            let mut draws = cohort.stream("points").draws();
            let end = |point: u64| u128::from(point) * u128::from(last) / u128::from(stretches);
            let ends = (1..=stretches).map(|point| u64::try_from(end(point)).unwrap_or(last));
            points.extend(ends.map(|end| end - draws.below(most + 1)));
        }
        let per_step = u64::from(budget.batch).saturating_mul(u64::from(budget.sequence)).max(1);
        let counts_from = self.window_tokens.div_ceil(per_step);
        counting(&points, counts_from)?;
        let audited = |point: &u64| *point == 0 || *point >= counts_from;
        Ok(MeasuringPlan {
            audits: points.iter().map(|point| if audited(point) { self.audits } else { 0 }).collect(),
            points,
            counts_from,
            rows: self.rows,
            held_out_rows: self.held_out_rows,
            alarm_bits: self.alarm_bits,
        })
    }
}

/// At least one point counts.
fn counting(points: &[u64], counts_from: u64) -> Result<(), PlanError> {
    let last = points.last().copied().unwrap_or_default();
    if last < counts_from { Err(PlanError::Window { counts_from, last }) } else { Ok(()) }
}

/// Checks a task's plan and budget against each other.
///
/// # Errors
/// The first contradiction.
pub fn check(task: &TrainTask) -> Result<(), PlanError> {
    let (budget, plan) = (&task.budget, &task.measuring);
    let Budget { tokens, steps, batch, sequence, .. } = *budget;
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
    if let Some(point) = plan.audits.iter().position(|audits| *audits > plan.rows) {
        let audits = plan.audits.get(point).copied().unwrap_or_default();
        return Err(PlanError::Twice { point, audits, rows: plan.rows });
    }
    counting(&plan.points, plan.counts_from)?;
    let span = span(plan.rows, batch);
    let nexts = plan.points.iter().skip(1).chain([&steps]);
    let fits = |(point, next): (&u64, &u64)| point.checked_add(span).is_some_and(|end| end <= *next);
    match plan.points.iter().zip(nexts).position(|pair| !fits(pair)) {
        Some(point) => Err(PlanError::Points { point, rows: plan.rows }),
        None => Ok(()),
    }
}

/// Checks that a plan can measure a player that is not trusted: the point before training and all that count are
/// audited.
///
/// # Errors
/// The first point without audits.
pub fn check_audits(task: &TrainTask) -> Result<(), PlanError> {
    let plan = &task.measuring;
    let lacks = |(point, audits): (&u64, &u32)| *audits == 0 && (*point == 0 || *point >= plan.counts_from);
    match plan.points.iter().zip(&plan.audits).position(lacks) {
        Some(point) => Err(PlanError::Unaudited { point }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::fixture::stand_in, measure::tasks::task};
    use proptest::prelude::*;

    fn cadence(points: u32, rows: u32) -> Cadence {
        Cadence { points, window_tokens: 0, rows, audits: 1, held_out_rows: 8, alarm_bits: Finite::ONE }
    }

    proptest! {
        #[test]
        fn a_plan_that_is_made_always_passes_the_check(points in 1..12u32, rows in 1..70u32, batch in 1..20u32, steps in 1..300u64, salt: u64) {
            let mut task = task(&stand_in().unwrap());
            task.budget.batch = batch;
            task.budget.steps = steps;
            task.budget.tokens = steps * u64::from(batch) * u64::from(task.budget.sequence);
            let cohort = Seed::of("test", &[&salt.to_le_bytes()]);
            let fits = steps >= u64::from(points) * span(rows, batch) + u64::from(points);
            match cadence(points, rows).plan(&task.budget, &cohort) {
                Ok(plan) => {
                    prop_assert_eq!(plan.points.len(), points as usize);
                    prop_assert_eq!(plan.points[0], 0);
                    task.measuring = plan;
                    prop_assert_eq!(check(&task), Ok(()));
                }
                Err(_) => prop_assert!(!fits, "refused {points} points of {rows} rows in {steps} steps of {batch}"),
            }
        }
    }

    #[test]
    fn points_differ_between_cohorts_and_keep_to_their_stretch() {
        let mut task = task(&stand_in().unwrap());
        task.budget.steps = 1000;
        let plan = |cohort: &[u8]| cadence(5, 16).plan(&task.budget, &Seed::of("test", &[cohort])).unwrap().points;
        assert_ne!(plan(b"a"), plan(b"b"));
        assert_eq!(plan(b"a"), plan(b"a"));
        for (point, end) in plan(b"a").into_iter().skip(1).zip([249, 498, 747, 996]) {
            assert!((end - 125..=end).contains(&point), "{point} of {end}");
        }
    }

    #[test]
    fn audits_go_to_the_first_point_and_to_those_that_count() {
        let mut task = task(&stand_in().unwrap());
        task.budget.steps = 1000;
        let plan = |window_tokens| {
            let cadence = Cadence { window_tokens, audits: 7, ..cadence(5, 16) };
            cadence.plan(&task.budget, &Seed::of("test", &[])).unwrap()
        };
        // 128 tokens a step.
        let half = plan(64_000);
        assert_eq!(half.counts_from, 500);
        assert!(half.points[2] < 500 && half.points[3] >= 500, "{:?}", half.points);
        assert_eq!(half.audits, [7, 0, 0, 7, 7]);
        assert_eq!(plan(0).audits, [7; 5]);
        let never = Cadence { window_tokens: 128_000, ..cadence(5, 16) }.plan(&task.budget, &Seed::of("test", &[]));
        assert!(matches!(never, Err(PlanError::Window { counts_from: 1000, .. })));
        task.measuring = half;
        task.budget.tokens = 128_000;
        assert_eq!((check(&task), check_audits(&task)), (Ok(()), Ok(())));
        task.measuring.counts_from = 100;
        assert_eq!(check_audits(&task), Err(PlanError::Unaudited { point: 1 }));
    }

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
        assert_eq!(broken(|t| t.measuring.points = vec![0, 1, 5]), Err(PlanError::Points { point: 0, rows: 6 }));
        assert_eq!(broken(|t| t.measuring.points = vec![5, 0, 9]), Err(PlanError::Points { point: 0, rows: 6 }));
        assert_eq!(broken(|t| t.measuring.points = vec![0, 5, 11]), Err(PlanError::Points { point: 2, rows: 6 }));
        assert_eq!(broken(|t| t.measuring.audits = vec![]), Err(PlanError::Audits { audits: 0, points: 3 }));
        let twice = broken(|t| t.measuring.audits = vec![0, 7, 0]);
        assert_eq!(twice, Err(PlanError::Twice { point: 1, audits: 7, rows: 6 }));
        assert_eq!(broken(|t| t.measuring.counts_from = 11), Err(PlanError::Window { counts_from: 11, last: 10 }));
    }
}
