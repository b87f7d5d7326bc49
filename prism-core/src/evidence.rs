//! What a run showed: one versioned, self-contained document. The stored bytes are what is hashed and signed.
use crate::{finite::Finite, id::Digest, plan::TrainTask, submission::FailureClass};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of [`Evidence`] that this crate writes.
pub const EVIDENCE_SCHEMA: u32 = 1;

/// Who says so. What a guest says is shown and scores nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Witness {
    /// Computed where no submitted code runs.
    Host,
    /// Reported by the subject.
    Guest,
}

/// One audited position: what the player claimed, and what a fresh auditor's logits say. The host computed `audited`.
/// Where a model is measured by beginnings of rows alone nothing is claimed, and both are the auditor's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Row within the point.
    pub row: u32,
    /// Predicted position within the row.
    pub position: u32,
    /// Claimed, bits.
    pub claimed: Finite,
    /// Audited, bits.
    pub audited: Finite,
}

/// Work counted by the host: processor time by control group or thread, device time as wall clock of an exclusive one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Processor milliseconds.
    pub cpu_millis: u64,
    /// Device milliseconds.
    pub gpu_millis: u64,
}

/// One measuring point: rows predicted before the player may train on them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// Optimizer steps done.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Bits per row, as claimed; where the point was audited, with the mean of the [`Audit`] differences added for each
    /// of the row's positions.
    pub row_bits: Vec<Finite>,
    /// Bytes of raw text that the predicted positions of each row cover.
    pub row_bytes: Vec<u32>,
    /// The audited positions.
    pub audits: Vec<Audit>,
}

/// A mean and its standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub mean: Finite,
    /// Its standard error.
    pub standard_error: Finite,
}

impl Estimate {
    /// Mean and standard error of values, summed in their order; `None` for fewer than two values.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count < 2 {
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        let n = count as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0);
        Some(Self { mean: Finite::new(mean)?, standard_error: Finite::new((variance / n).sqrt())? })
    }
}

impl Point {
    /// Bits per byte of each row; empty when a row covers no byte.
    #[must_use]
    pub fn row_bits_per_byte(&self) -> Vec<f64> {
        let rows: Option<Vec<f64>> = self
            .row_bits
            .iter()
            .zip(&self.row_bytes)
            .map(|(bits, bytes)| (*bytes > 0).then(|| bits.get() / f64::from(*bytes)))
            .collect();
        rows.filter(|rows| rows.len() == self.row_bytes.len()).unwrap_or_default()
    }

    /// Bits per byte over all rows, every byte counting alike.
    #[must_use]
    pub fn bits_per_byte(&self) -> Option<Finite> {
        let bytes: u64 = self.row_bytes.iter().map(|b| u64::from(*b)).sum();
        if bytes == 0 {
            return None;
        }
        #[allow(clippy::cast_precision_loss)]
        let bytes = bytes as f64;
        Finite::new(self.row_bits.iter().map(|b| b.get()).sum::<f64>() / bytes)
    }
}

impl Point {
    /// Variance that correcting by audits adds to the mean bits per position: `Σ d² / n²` over the differences `d`
    /// between the `n` audits and their claims. Around zero and not around their mean, so that it is never too small
    /// and one audit suffices; zero without audits, and for claims that every audit confirms.
    #[must_use]
    pub fn audit_variance(&self) -> f64 {
        let squares = self.audits.iter().map(|audit| (audit.audited.get() - audit.claimed.get()).powi(2));
        #[allow(clippy::cast_precision_loss)]
        let count = self.audits.len().max(1) as f64;
        squares.sum::<f64>() / (count * count)
    }
}

/// A named sequence of values over steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Series {
    /// Who says so.
    pub witness: Witness,
    /// Optimizer step of each value.
    pub steps: Vec<u64>,
    /// The values.
    pub values: Vec<Finite>,
}

/// What a trained model answered of one evaluation task: questions with several ways to go on, of which the likeliest per
/// byte is its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAnswers {
    /// Digest of the task's file.
    pub file: Digest,
    /// What each question's answer is better than a guess, in order: 1 for the right one, `-1 / (choices - 1)` for a wrong
    /// one, 0 where all choices are alike to the model.
    pub scores: Vec<Finite>,
    /// Rows that were predicted: one for each choice of each question.
    pub rows: u32,
    /// Questions that were not asked, because they don't fit a row or lose something in the tokenizer: the same for all.
    pub left_out: u32,
    /// The audited positions, one of each row's choice, of a subject whose claims need it.
    pub audits: Vec<Audit>,
}

impl TaskAnswers {
    /// Accuracy over chance, from 0 (a guess; lower where it is worse than that) to 1; `None` for fewer than two questions.
    #[must_use]
    pub fn estimate(&self) -> Option<Estimate> {
        let scores: Vec<f64> = self.scores.iter().map(|score| score.get()).collect();
        Estimate::of(&scores)
    }
}

/// How a run ended. A subject's failure is evidence, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Trained and measured to the end.
    Completed,
    /// Ended before.
    Failed {
        /// From the host's evidence.
        class: FailureClass,
        /// For people.
        reason: String,
    },
}

/// One run, as recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`EVIDENCE_SCHEMA`].
    pub schema: u32,
    /// The task it answers, in full.
    pub task: TrainTask,
    /// How it ended.
    pub outcome: RunOutcome,
    /// The measuring points, in order.
    pub points: Vec<Point>,
    /// The held-out rows after training.
    pub held_out: Option<Point>,
    /// Curves: `train_bits_per_byte`, `gradient_norm`, `activation_rms`, `learning_rate` and others.
    pub series: BTreeMap<String, Series>,
    /// Counts: `parameters`, `flops_per_token`, `tokens`, `snapshot_bytes` and others.
    pub counters: BTreeMap<String, u64>,
    /// What it answered of the evaluation tasks of its dataset, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tasks: BTreeMap<String, TaskAnswers>,
    /// Files of the run by digest.
    pub artifacts: BTreeMap<String, Digest>,
    /// Name and version of the trainer.
    pub engine: String,
    /// What it ran on.
    pub device: String,
    /// How often it was resumed. Rows after the first resume, whose step is the counter `own_rows_from`, are this run's
    /// own: against another run's they are paired with nothing, and a title needs a run that was not resumed.
    pub resumed: u32,
    /// Work of the whole run, over all attempts that it is made of. Not part of what two runs must agree on: see [`Evidence::without_clock`].
    pub work: Work,
}

impl Evidence {
    /// Whether the run was trained and measured to the end.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        self.outcome == RunOutcome::Completed
    }

    /// The same evidence with the clocks at zero: what a repeat on the same device and build must reproduce.
    #[must_use]
    pub fn without_clock(&self) -> Self {
        Self { work: Work::default(), ..self.clone() }
    }

    /// The measured rows of all points, in order, as bits per byte: the prequential code length's terms.
    #[must_use]
    pub fn prequential_rows(&self) -> Vec<f64> {
        self.points.iter().flat_map(Point::row_bits_per_byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_is_the_textbook_mean_and_standard_error() {
        let estimate = Estimate::of(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!((estimate.mean.get() - 2.5).abs() < 1e-15);
        assert!((estimate.standard_error.get() - (5.0f64 / 3.0 / 4.0).sqrt()).abs() < 1e-15);
        assert_eq!(Estimate::of(&[1.0]), None);
        assert_eq!(Estimate::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn audits_that_confirm_their_claims_add_no_variance() {
        let finite = |v| Finite::new(v).unwrap();
        let audit = |audited: f64| Audit { row: 0, position: 0, claimed: finite(2.0), audited: finite(audited) };
        let with = |audits: Vec<Audit>| Point { step: 0, tokens: 0, row_bits: vec![], row_bytes: vec![], audits };
        assert_eq!(with(vec![]).audit_variance(), 0.0);
        assert_eq!(with(vec![audit(2.0), audit(2.0)]).audit_variance(), 0.0);
        assert_eq!(with(vec![audit(5.0), audit(2.0), audit(-2.0)]).audit_variance(), 25.0 / 9.0);
    }

    #[test]
    fn a_row_without_bytes_gives_no_rate() {
        let finite = |v| Finite::new(v).unwrap();
        let mut point = Point {
            step: 0,
            tokens: 0,
            row_bits: vec![finite(8.0), finite(4.0)],
            row_bytes: vec![4, 4],
            audits: vec![],
        };
        assert_eq!(point.row_bits_per_byte(), [2.0, 1.0]);
        assert_eq!(point.bits_per_byte(), Finite::new(1.5));
        point.row_bytes = vec![4, 0];
        assert!(point.row_bits_per_byte().is_empty());
    }
}
