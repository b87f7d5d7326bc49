//! What `prism eval` shows: one document, as JSON or for people.
use super::signals::SignalTable;
use crate::chart;
use prism_core::{
    Evidence, Finite, ScoreCard,
    evidence::{Estimate, RunOutcome, Work},
    plan::RunRole,
    score::Track,
};
use prism_eval::score::{Measured, mean_bits_per_byte};
use serde::Serialize;
use std::fmt;

/// The whole result.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) bundle: serde_json::Value,
    pub(super) policy: &'static str,
    pub(super) seed: String,
    pub(super) runs: Vec<RunSummary>,
    pub(super) baselines: Vec<RunSummary>,
    pub(super) curve: Vec<CurvePoint>,
    pub(super) baseline_curve: Vec<CurvePoint>,
    pub(super) signals: SignalTable,
    pub(super) score: ScoreCard,
    pub(super) score_eligible: bool,
    pub(super) notes: Vec<String>,
    pub(super) elapsed_seconds: f64,
}

/// One run, in the words of its evidence.
#[derive(Debug, Serialize)]
pub(crate) struct RunSummary {
    pub(crate) task: String,
    pub(crate) role: RunRole,
    pub(crate) engine: String,
    pub(crate) device: String,
    pub(crate) outcome: RunOutcome,
    /// Prequential: over all measuring points.
    pub(crate) bits_per_byte: Option<Estimate>,
    pub(crate) held_out: Option<Estimate>,
    pub(crate) points: usize,
    pub(crate) audits: usize,
    pub(crate) tokens: u64,
    pub(crate) snapshot_bytes: Option<u64>,
    pub(crate) work: Work,
}

/// One measuring point of a run.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct CurvePoint {
    pub(crate) step: u64,
    pub(crate) tokens: u64,
    pub(crate) bits_per_byte: Finite,
}

/// The measuring points of a run.
pub(crate) fn curve(run: &Evidence) -> Vec<CurvePoint> {
    let point = |point: &prism_core::evidence::Point| {
        Some(CurvePoint { step: point.step, tokens: point.tokens, bits_per_byte: point.bits_per_byte()? })
    };
    run.points.iter().filter_map(point).collect()
}

impl RunSummary {
    pub(crate) fn of(run: &Evidence) -> Self {
        let audits = |point: &prism_core::evidence::Point| point.audits.len();
        Self {
            task: run.task.id().to_string(),
            role: run.task.role.clone(),
            engine: run.engine.clone(),
            device: run.device.clone(),
            outcome: run.outcome.clone(),
            bits_per_byte: mean_bits_per_byte(run, Measured::Prequential).ok(),
            held_out: mean_bits_per_byte(run, Measured::HeldOut).ok(),
            points: run.points.len(),
            audits: run.points.iter().chain(&run.held_out).map(audits).sum(),
            tokens: run.counters.get("tokens").copied().unwrap_or_default(),
            snapshot_bytes: run.counters.get("snapshot_bytes").copied(),
            work: run.work,
        }
    }

    /// What the run was for, in a few words.
    fn label(&self) -> String {
        match &self.role {
            RunRole::Reference { rate } => format!("reference recipe, rate ×{rate}"),
            RunRole::Recipe => "own recipe".into(),
            RunRole::Repeat { index, .. } => format!("repeat {index}"),
            RunRole::ScalingProbe { axis, factor } => format!("probe of {axis}, ×{factor}"),
            RunRole::Trial { rate: Some(rate) } => format!("trial, rate ×{rate}"),
            RunRole::Trial { rate: None } => "trial of its own recipe".into(),
            RunRole::LargeBudget { factor, .. } => format!("{factor} times the tokens"),
            RunRole::Work { inner_steps, .. } => format!("{inner_steps} steps per batch"),
            RunRole::Task { name } => name.clone(),
            _ => "another role".into(),
        }
    }
}

impl fmt::Display for RunSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = |value: Option<Estimate>| match value {
            Some(value) => format!("{:.4} ± {:.4}", value.mean.get(), value.standard_error.get()),
            None => "-".into(),
        };
        write!(f, "{:<28} {:>17} {:>17}", self.label(), bits(self.bits_per_byte), bits(self.held_out))?;
        write!(f, " {:>8.1} s", std::time::Duration::from_millis(self.work.cpu_millis).as_secs_f64())?;
        match &self.outcome {
            RunOutcome::Completed => Ok(()),
            RunOutcome::Failed { class, reason } => write!(f, "\n      failed ({}): {reason}", class.as_str()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Bundle")?;
        for (key, value) in self.bundle.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            writeln!(f, "  {key:<18} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))?;
        }
        writeln!(f, "\n{:<30} {:>17} {:>17} {:>10}", "Runs", "bits per byte", "held out", "processor")?;
        for run in &self.runs {
            writeln!(f, "  {run}")?;
        }
        writeln!(f, "\nBaseline")?;
        for run in &self.baselines {
            writeln!(f, "  {run}")?;
        }
        self.curves(f)?;
        write!(f, "{}", self.signals)?;
        self.scores(f)?;
        for note in &self.notes {
            writeln!(f, "\nNote: {note}")?;
        }
        write!(f, "\npolicy {}, seed {:?}, {:.0} s, not eligible", self.policy, self.seed, self.elapsed_seconds)
    }
}

impl Report {
    fn curves(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.curve.iter().chain(&self.baseline_curve).map(|point| point.bits_per_byte.get());
        let (low, high) = all.fold((f64::INFINITY, 0.0), |(low, high), v| (v.min(low), v.max(high)));
        for (name, curve) in [("Curve", &self.curve), ("Curve of the baseline", &self.baseline_curve)] {
            let (Some(first), Some(last)) = (curve.first(), curve.last()) else { continue };
            let (from, to) = (first.bits_per_byte.get(), last.bits_per_byte.get());
            writeln!(f, "\n{name}: {from:.3} to {to:.3} bits per byte over {} steps", last.step)?;
            let values: Vec<f64> = curve.iter().map(|point| point.bits_per_byte.get()).collect();
            // A few points would make a narrow picture: each is drawn as wide as the picture allows.
            let wide = (56 / values.len().max(1)).max(1);
            let values: Vec<f64> = values.iter().flat_map(|value| std::iter::repeat_n(*value, wide)).collect();
            for line in chart::lines(&values, chart::Frame { width: 56, height: 4, low, high }) {
                writeln!(f, "  {line}")?;
            }
        }
        Ok(())
    }

    fn scores(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let card = &self.score;
        match (card.total, card.standard_error) {
            (Some(total), Some(error)) => writeln!(f, "\nScore {:.3} ± {:.3}", total.get(), error.get())?,
            (Some(total), None) => writeln!(f, "\nScore {:.3}", total.get())?,
            (None, _) => writeln!(f, "\nNo score")?,
        }
        for (track, score) in &card.tracks {
            let name = match track {
                Track::Architecture => "architecture",
                Track::Training => "training",
                _ => "other",
            };
            let (mean, error) = (score.advantage.mean.get(), score.advantage.standard_error.get());
            let quality = score.quality.get();
            writeln!(f, "  {name:<14} {quality:.3}, {mean:+.4} ± {error:.4} bits per byte over the baseline")?;
            for (name, part) in &score.components {
                writeln!(f, "    {name:<30} {:.3}  (share {:.2})", part.value.get(), part.share.get())?;
            }
        }
        card.reasons.iter().try_for_each(|reason| writeln!(f, "  {reason}"))
    }
}
