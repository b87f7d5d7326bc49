//! The signals of a submission beside the baseline's.
use prism_core::{Evidence, Finite, evidence::Estimate, score::Track};
use prism_eval::measure::signals::{Diagnostic, DiagnosticStatus, DiagnosticThresholds, Signals};
use serde::Serialize;
use std::{collections::BTreeMap, fmt};

/// What each track's run shows, and the baseline's tuned reference.
#[derive(Debug, Serialize)]
pub(super) struct SignalTable {
    submission: BTreeMap<Track, Signals>,
    baseline: Option<Signals>,
}

impl SignalTable {
    pub(super) fn of(own: &[Evidence], baseline: Option<&[Evidence]>, thresholds: &DiagnosticThresholds) -> Self {
        let tuned = |runs| Signals::by_track(runs, thresholds).remove(&Track::Architecture);
        Self { submission: Signals::by_track(own, thresholds), baseline: baseline.and_then(tuned) }
    }
}

fn number(value: Option<Finite>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{:.4}", value.get()))
}

fn estimate(value: Option<Estimate>) -> String {
    let text = |value: Estimate| format!("{:.4} ± {:.4}", value.mean.get(), value.standard_error.get());
    value.map_or_else(|| "-".to_owned(), text)
}

/// A signal's name and direction, and its value.
type Row = (&'static str, fn(&Signals) -> String);

const ROWS: [Row; 14] = [
    ("prequential, bits per byte ↓", |s| estimate(s.prequential)),
    ("held out, bits per byte ↓", |s| estimate(s.held_out)),
    ("learnt per doubling of tokens ↑", |s| number(s.learning_speed)),
    ("roughness of the loss ↓", |s| number(s.roughness)),
    ("given back between points ↓", |s| number(s.relapse)),
    ("steadiness of the gradient ↑", |s| number(s.gradient_steadiness)),
    ("steps with gradient spikes ↓", |s| number(s.gradient_spikes)),
    ("steps with activation spikes ↓", |s| number(s.activation_spikes)),
    ("held out above late points ↓", |s| estimate(s.memorization_gap)),
    ("learnt per doubling of FLOPs ↑", |s| number(s.compute_efficiency)),
    ("learnt per doubling of size ↑", |s| number(s.parameter_efficiency)),
    ("deviation over seeds ↓", |s| number(s.reproducibility)),
    ("norm of the weights", |s| number(s.weight_norm)),
    ("last update over that norm", |s| number(s.update_norm)),
];

fn diagnostic(diagnostic: Option<&Diagnostic>) -> String {
    let Some(diagnostic) = diagnostic else { return "-".to_owned() };
    match diagnostic.status {
        DiagnosticStatus::Ok => number(diagnostic.aggregate),
        DiagnosticStatus::Warning => format!("{} !", number(diagnostic.aggregate)),
        DiagnosticStatus::NotApplicable => "n/a".to_owned(),
    }
}

impl fmt::Display for SignalTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (track, signals) in &self.submission {
            let name = if *track == Track::Architecture { "tuned reference" } else { "own recipe" };
            let title = format!("Signals of the {name}");
            writeln!(f, "\n{title:<34} {:>19} {:>19}", "submission", "baseline")?;
            let baseline = |value: fn(&Signals) -> String| self.baseline.as_ref().map_or_else(|| "-".to_owned(), value);
            for (name, value) in ROWS {
                writeln!(f, "  {name:<32} {:>19} {:>19}", value(signals), baseline(value))?;
            }
            for (name, found) in &signals.diagnostics {
                let theirs = self.baseline.as_ref().and_then(|baseline| baseline.diagnostics.get(name));
                writeln!(f, "  {name:<32} {:>19} {:>19}", diagnostic(Some(found)), diagnostic(theirs))?;
            }
            for (name, found) in &signals.diagnostics {
                found.warnings.iter().try_for_each(|warning| writeln!(f, "  {name}: {warning}"))?;
            }
            let absent =
                signals.diagnostics.iter().filter_map(|(name, d)| Some((name, d.not_applicable_reason.as_ref()?)));
            let mut reasons: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (name, reason) in signals.absent.iter().chain(absent) {
                reasons.entry(reason).or_default().push(name);
            }
            for (reason, names) in reasons {
                writeln!(f, "  no {}: {reason}", names.join(", "))?;
            }
        }
        Ok(())
    }
}
