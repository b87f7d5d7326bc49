//! Two runs on the same rows: only their differences count.
use prism_core::{
    Evidence,
    evidence::{Estimate, Point},
};

/// Why two runs cannot be paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PairingError {
    /// A run that did not reach its end.
    #[error("a run that failed cannot be paired")]
    Failed,
    /// Rows come from other text or another draw.
    #[error("runs of different cohorts, datasets or tokenizers saw different rows")]
    Rows,
    /// One run had more work or was measured elsewhere.
    #[error("runs of different budgets or measuring plans cannot be compared")]
    Budget,
    /// Evidence whose points do not fit its own task.
    #[error("points of the runs do not lie at the same steps and rows")]
    Points,
}

/// Row-by-row advantages of one run over another, in bits per byte: positive where the first needs fewer.
#[derive(Debug, Clone, PartialEq)]
pub struct Paired {
    /// Per measuring point: tokens trained on, and the advantage on each row.
    pub points: Vec<(u64, Vec<f64>)>,
    /// The advantage on each held-out row.
    pub held_out: Vec<f64>,
}

impl Paired {
    /// Pairs two completed runs of one cohort, dataset, budget and plan.
    ///
    /// # Errors
    /// When they did not see the same rows at the same places.
    pub fn new(run: &Evidence, other: &Evidence) -> Result<Self, PairingError> {
        if !run.is_completed() || !other.is_completed() {
            return Err(PairingError::Failed);
        }
        let (a, b) = (&run.task, &other.task);
        if (a.cohort, &a.data) != (b.cohort, &b.data) {
            return Err(PairingError::Rows);
        }
        let work = |task: &prism_core::TrainTask| {
            let budget = &task.budget;
            (budget.tokens, budget.steps, budget.batch, budget.sequence)
        };
        if work(a) != work(b) || a.measuring != b.measuring {
            return Err(PairingError::Budget);
        }
        let pairs = run.points.iter().zip(&other.points);
        let points: Option<Vec<_>> = pairs.map(|(x, y)| Some((x.tokens, advantages(x, y)?))).collect();
        let held_out = match (&run.held_out, &other.held_out) {
            (Some(x), Some(y)) => advantages(x, y),
            (None, None) => Some(vec![]),
            _ => None,
        };
        match (points, held_out) {
            (Some(points), Some(held_out)) if run.points.len() == other.points.len() => Ok(Self { points, held_out }),
            _ => Err(PairingError::Points),
        }
    }

    /// Advantage over all measured rows of points after at least `tokens` tokens, with the standard error over rows;
    /// `None` for fewer than two rows. Noise of initial values is not in it.
    #[must_use]
    pub fn prequential(&self, tokens: u64) -> Option<Estimate> {
        let late = self.points.iter().filter(|(seen, _)| *seen >= tokens);
        Estimate::of(&late.flat_map(|(_, rows)| rows.iter().copied()).collect::<Vec<_>>())
    }

    /// Advantage on the held-out rows, with the standard error over rows.
    #[must_use]
    pub fn held_out(&self) -> Option<Estimate> {
        Estimate::of(&self.held_out)
    }
}

/// Bits per byte that `other` needs more than `run`, row by row.
fn advantages(run: &Point, other: &Point) -> Option<Vec<f64>> {
    let same = run.step == other.step && run.tokens == other.tokens && run.row_bytes == other.row_bytes;
    let (a, b) = (run.row_bits_per_byte(), other.row_bits_per_byte());
    let fits = same && a.len() == b.len() && a.len() == run.row_bytes.len();
    fits.then(|| a.iter().zip(&b).map(|(a, b)| b - a).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::fixture::stand_in,
        measure::{run::blank, tasks::task},
    };
    use prism_core::{Finite, Seed, evidence::RunOutcome, submission::FailureClass};

    fn evidence(bits: &[f64]) -> Evidence {
        let mut evidence = blank(&task(&stand_in().unwrap()));
        let row_bits: Vec<_> = bits.iter().map(|bits| Finite::new(*bits).unwrap()).collect();
        let row_bytes = vec![4; bits.len()];
        let point = |step: u64| {
            let (row_bits, row_bytes) = (row_bits.clone(), row_bytes.clone());
            Point { step, tokens: step * 128, row_bits, row_bytes, audits: vec![] }
        };
        evidence.points = [0, 5, 10].map(point).into();
        evidence.held_out = Some(point(12));
        evidence
    }

    #[test]
    fn fewer_bits_are_an_advantage_with_the_noise_of_the_differences_alone() {
        let (good, bad) = (evidence(&[8.0, 16.0, 4.0]), evidence(&[12.0, 20.0, 8.0]));
        let paired = Paired::new(&good, &bad).unwrap();
        let all = paired.prequential(0).unwrap();
        assert_eq!((all.mean.get(), all.standard_error.get()), (1.0, 0.0));
        assert_eq!(Paired::new(&bad, &good).unwrap().held_out().unwrap().mean.get(), -1.0);
        assert_eq!(paired.prequential(641).map(|late| late.mean), Some(Finite::ONE));
        assert_eq!(paired.prequential(10_000), None);
    }

    #[test]
    fn runs_on_other_rows_or_budgets_are_refused() {
        let run = evidence(&[1.0, 2.0]);
        let broken = |change: fn(&mut Evidence)| {
            let mut other = run.clone();
            change(&mut other);
            Paired::new(&run, &other).unwrap_err()
        };
        assert_eq!(broken(|e| e.task.cohort = Seed::of("test", &[])), PairingError::Rows);
        assert_eq!(broken(|e| e.task.data.dataset = e.task.data.tokenizer), PairingError::Rows);
        assert_eq!(broken(|e| e.task.budget.steps += 1), PairingError::Budget);
        assert_eq!(broken(|e| e.task.measuring.points = vec![0, 4, 10]), PairingError::Budget);
        assert_eq!(broken(|e| e.points[1].row_bytes = vec![4, 5]), PairingError::Points);
        assert_eq!(broken(|e| drop(e.points.pop())), PairingError::Points);
        assert_eq!(broken(|e| e.held_out = None), PairingError::Points);
        let failed = RunOutcome::Failed { class: FailureClass::Resource, reason: String::new() };
        let other = Evidence { outcome: failed, ..run.clone() };
        assert_eq!(Paired::new(&other, &run), Err(PairingError::Failed));
        let mut reseeded = run.clone();
        reseeded.task.seed = Seed::of("test", &[b"other"]);
        assert!(Paired::new(&run, &reseeded).is_ok(), "another seed sees the same rows");
    }
}
