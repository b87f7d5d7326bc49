//! All signals of one track of a submission, for whoever shows them.
use super::{
    Diagnostic, DiagnosticThresholds,
    curve::{self, host, uniform},
    diagnostics,
};
use crate::score::{Measured, deviation_over_seeds, mean_bits_per_byte, recipe_run, runs_of, tuned_reference};
use prism_core::{
    Evidence, Finite,
    evidence::{Estimate, Series},
    score::Track,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one run and its repeats show. Of a run that counts alone, but for `reproducibility`, which is over all.
///
/// None of these numbers is worth anything by itself: a score compares them with a baseline's on the same rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// Runs: the one that counts, and its repeats.
    pub seeds: u32,
    /// Bits per byte of rows predicted before they were trained on, over the points that count: the area under the
    /// learning curve. Lower is better.
    pub prequential: Option<Estimate>,
    /// Bits per byte of the held-out rows after training. Lower is better.
    pub held_out: Option<Estimate>,
    /// Bits per byte learnt per doubling of tokens, from `log2 V`. Higher is faster.
    pub learning_speed: Option<Finite>,
    /// Deviation of the training loss around its trend, bits per byte. Lower is smoother.
    pub roughness: Option<Finite>,
    /// Bits per byte given back between points, summed. Lower is better.
    pub relapse: Option<Finite>,
    /// Of the gradient's norm, around its recent median: above 0, at most 1. Higher is steadier.
    pub gradient_steadiness: Option<Finite>,
    /// Fraction of steps whose gradient norm is above three times its recent median.
    pub gradient_spikes: Option<Finite>,
    /// Fraction of steps whose activations' norm is above three times its recent median.
    pub activation_spikes: Option<Finite>,
    /// Held-out bits per byte minus those of the last quarter of the points. Above its noise, what was learnt holds for
    /// the training text alone.
    pub memorization_gap: Option<Estimate>,
    /// Bits per byte below a uniform guess on the held-out rows, for each doubling of floating-point operations from one.
    /// Higher is better.
    pub compute_efficiency: Option<Finite>,
    /// The same for each doubling of the bytes that prediction needs.
    pub parameter_efficiency: Option<Finite>,
    /// Standard deviation over seeds of the prequential mean, bits per byte. Lower is better.
    pub reproducibility: Option<Finite>,
    /// Norm of all weights at the last point. For show: a snapshot may hold more than predictions need.
    pub weight_norm: Option<Finite>,
    /// Norm of the weights' change since the point before, over their norm. Of snapshots that the host keeps.
    pub update_norm: Option<Finite>,
    /// The seven diagnostics by name.
    pub diagnostics: BTreeMap<String, Diagnostic>,
    /// Why a signal is not there, by name.
    pub absent: BTreeMap<String, String>,
}

impl Signals {
    /// The signals of the run that counts, the first of these, and its repeats; `None` without a run.
    #[must_use]
    pub fn of(runs: &[&Evidence], thresholds: &DiagnosticThresholds) -> Option<Self> {
        let run = *runs.first()?;
        let mut absent = BTreeMap::new();
        let mut read = Reader { absent: &mut absent };
        let steps = |name: &str, value: fn(&Series) -> Option<f64>| host(run, name).and_then(value);
        let spikes = |name: &str| host(run, name).and_then(|series| curve::spikes(series, NORM_SPIKE));
        let unseen = "no curve of at least 16 steps that the host witnessed";
        let signals = Self {
            seeds: u32::try_from(runs.len()).unwrap_or(u32::MAX),
            prequential: read.estimate("prequential", mean_bits_per_byte(run, Measured::Prequential)),
            held_out: read.estimate("held_out", mean_bits_per_byte(run, Measured::HeldOut)),
            learning_speed: read.number("learning_speed", curve::learning_speed(run), "no point after two batches"),
            roughness: read.number("roughness", steps("train_bits_per_byte", curve::roughness), unseen),
            relapse: read.number("relapse", curve::relapse(run), "fewer than three points"),
            gradient_steadiness: read.number("gradient_steadiness", steps("gradient_norm", curve::steadiness), unseen),
            gradient_spikes: read.number("gradient_spikes", spikes("gradient_norm"), unseen),
            activation_spikes: read.number("activation_spikes", spikes("activation_rms"), unseen),
            memorization_gap: read.estimate("memorization_gap", memorization_gap(run)),
            compute_efficiency: read.number(
                "compute_efficiency",
                operations(run).and_then(|count| learnt_per_doubling(run, count)),
                "no count of operations, or no held-out rows",
            ),
            parameter_efficiency: read.number(
                "parameter_efficiency",
                count(run, "snapshot_bytes").and_then(|bytes| learnt_per_doubling(run, bytes)),
                "no size, or no held-out rows",
            ),
            reproducibility: read.estimate("reproducibility", deviation_over_seeds(runs, Measured::Prequential)),
            weight_norm: read.number("weight_norm", last(run, "weight_norm"), "no weights were read"),
            update_norm: read.number("update_norm", last(run, "update_norm"), "fewer than two snapshots were kept"),
            diagnostics: diagnostics(run, thresholds).into_iter().map(|(name, d)| (name.to_owned(), d)).collect(),
            absent: BTreeMap::new(),
        };
        Some(Self { absent, ..signals })
    }

    /// The signals of a submission's tracks: of its tuned reference, and of its own recipe.
    #[must_use]
    pub fn by_track(runs: &[Evidence], thresholds: &DiagnosticThresholds) -> BTreeMap<Track, Self> {
        let heads = [(Track::Architecture, tuned_reference(runs)), (Track::Training, recipe_run(runs))];
        let tracks =
            heads.into_iter().filter_map(|(track, head)| Some((track, Self::of(&runs_of(runs, head?), thresholds)?)));
        tracks.collect()
    }
}

/// Times its recent median above which a norm spikes.
pub(crate) const NORM_SPIKE: f64 = 3.0;

struct Reader<'a> {
    absent: &'a mut BTreeMap<String, String>,
}

impl Reader<'_> {
    fn number(&mut self, name: &str, value: Option<f64>, why: &str) -> Option<Finite> {
        self.estimate(name, value.and_then(Finite::new).ok_or(why))
    }

    fn estimate<T>(&mut self, name: &str, value: Result<T, impl ToString>) -> Option<T> {
        value.map_err(|why| self.absent.insert(name.to_owned(), why.to_string())).ok()
    }
}

/// Unpaired: rows of the two are of different documents, so that both errors count.
fn memorization_gap(run: &Evidence) -> Result<Estimate, String> {
    let mean = |measured| mean_bits_per_byte(run, measured).map_err(|error| error.to_string());
    let (held_out, late) = (mean(Measured::HeldOut)?, mean(Measured::Late)?);
    let error = held_out.standard_error.get().hypot(late.standard_error.get());
    let finite = |value| Finite::new(value).ok_or_else(|| "numbers too large".to_owned());
    Ok(Estimate { mean: finite(held_out.mean.get() - late.mean.get())?, standard_error: finite(error)? })
}

fn last(run: &Evidence, name: &str) -> Option<f64> {
    host(run, name)?.values.last().map(|value| value.get())
}

fn count(run: &Evidence, name: &str) -> Option<f64> {
    run.counters.get(name).map(|count| *count as f64)
}

/// Floating-point operations of the whole training.
fn operations(run: &Evidence) -> Option<f64> {
    Some(count(run, "flops_per_token")? * count(run, "tokens")? * f64::from(run.task.role.inner_steps()))
}

fn learnt_per_doubling(run: &Evidence, cost: f64) -> Option<f64> {
    let point = run.held_out.as_ref()?;
    let learnt = uniform(run, point)? - point.bits_per_byte()?.get();
    (cost >= 2.0).then(|| learnt / cost.log2())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::fixture::{grid, recipe, repeat, with_held_out, with_points};

    fn of(runs: &[&Evidence]) -> Signals {
        Signals::of(runs, &DiagnosticThresholds::default()).unwrap()
    }

    #[test]
    fn every_signal_is_there_or_says_why_it_is_not() {
        let mut run = grid("graph", &[(1.0, 4.0)]).remove(0);
        for name in ["weight_norm", "update_norm"] {
            run.series.insert(name.to_owned(), run.series["gradient_norm"].clone());
        }
        run.counters.extend([("tokens".to_owned(), 32_000), ("snapshot_bytes".to_owned(), 4096)]);
        let again = [repeat(&run, 1, 4.25), repeat(&run, 2, 3.75)];
        let whole = of(&[&run, &again[0], &again[1]]);
        assert_eq!((whole.seeds, whole.absent.len(), whole.diagnostics.len()), (3, 0, 7), "{:?}", whole.absent);
        assert_eq!(whole.weight_norm, run.series["weight_norm"].values.last().copied());
        // Four of five points scatter by a quarter.
        assert!((whole.reproducibility.unwrap().get() - 0.2).abs() < 1e-9);
        // A uniform guess is at 32 bits per byte, the held-out rows at 4.125; 4096 bytes are twelve doublings.
        assert!((whole.parameter_efficiency.unwrap().get() - (32.0 - 4.125) / 12.0).abs() < 1e-9);
        let flops = (6000.0 * 32_000.0f64).log2();
        assert!((whole.compute_efficiency.unwrap().get() - (32.0 - 4.125) / flops).abs() < 1e-9);
        let bare = Evidence { held_out: None, series: [].into(), points: vec![], counters: [].into(), ..run };
        let bare = of(&[&bare]);
        assert_eq!(bare.absent.len(), 14, "{:?}", bare.absent);
        assert_eq!(bare.absent["reproducibility"], "fewer than three seeds");
        assert_eq!(Signals::of(&[], &DiagnosticThresholds::default()), None);
    }

    #[test]
    fn the_gap_is_what_held_out_rows_cost_above_the_last_points() {
        let run = with_points(&grid("graph", &[(1.0, 4.0)])[0], &[&[9.0, 9.0], &[3.0, 3.5], &[3.0, 3.5], &[2.0, 2.5]]);
        let gap = of(&[&with_held_out(&run, &[4.0, 5.0])]).memorization_gap.unwrap();
        assert!((gap.mean.get() - (4.5 - 2.25)).abs() < 1e-12);
        assert!((gap.standard_error.get() - 0.5f64.hypot(0.25)).abs() < 1e-12);
    }

    #[test]
    fn a_track_has_the_signals_of_the_run_that_counts_for_it() {
        let mut runs = grid("graph", &[(1.0, 4.0), (3.0, 3.5)]);
        runs.push(repeat(&runs[1], 1, 3.5));
        runs.push(recipe(&runs[0], 3.0));
        let tracks = Signals::by_track(&runs, &DiagnosticThresholds::default());
        assert_eq!((tracks[&Track::Architecture].seeds, tracks[&Track::Training].seeds), (2, 1));
        assert!(tracks[&Track::Architecture].held_out.unwrap().mean > tracks[&Track::Training].held_out.unwrap().mean);
        let text = serde_json::to_string(&tracks).unwrap();
        assert_eq!(serde_json::from_str::<BTreeMap<Track, Signals>>(&text).unwrap(), tracks);
    }
}
