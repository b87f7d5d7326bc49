//! Whether training runs smoothly.
use super::{
    Pair, Read,
    steps::{Signal, difference, spiking},
};
use crate::measure::signals::{NORM_SPIKE, curve};
use prism_core::Evidence;

/// Times its recent median above which a loss spikes.
const LOSS_SPIKE: f64 = 1.25;

/// Smoother than the baseline: `1/2 + 1/2 · mean` over those of the following that the host witnessed on both sides, each
/// in `[-1, 1]` and zero within its scatter over seeds; above one half only with an advantage in bits.
///
/// | signal | full marks for |
/// |---|---|
/// | roughness of the training loss, bits per byte | a tenth of the scale of an advantage less |
/// | what is given back between measuring points, bits per byte | the scale of an advantage less |
/// | steadiness of the gradient's norm | 0.25 more |
/// | steps at which the training loss spikes | a fraction of 0.1 less |
/// | steps at which the gradient's norm spikes | a fraction of 0.1 less |
///
/// Of submitted code only the points are the host's own. A slow learner is smooth: that is why it wins nothing here.
pub(in crate::score) fn stability(pair: &Pair<'_>) -> Read {
    let scale = pair.numbers.scale.get();
    let rough = |run: &Evidence| curve::roughness(curve::host(run, "train_bits_per_byte")?);
    let unsteady = |run: &Evidence| Some(1.0 - curve::steadiness(curve::host(run, "gradient_norm")?)?);
    let losses = |run: &Evidence| spiking(run, "train_bits_per_byte", LOSS_SPIKE);
    let norms = |run: &Evidence| spiking(run, "gradient_norm", NORM_SPIKE);
    let signals: [(Signal<'_>, f64); 5] =
        [(&rough, scale / 10.0), (&curve::relapse, scale), (&unsteady, 0.25), (&losses, 0.1), (&norms, 0.1)];
    let read = signals.into_iter().filter_map(|(signal, scale)| difference(pair, signal, scale));
    let (sum, count) = read.fold((0.0, 0u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 {
        return Err("no curve that the host witnessed on both sides".into());
    }
    pair.gated(0.5 + 0.5 * sum / f64::from(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::ScoreNumbers, score::fixture::run};
    use prism_core::{
        Finite,
        evidence::{Series, Witness},
    };

    fn with(saved: f64, witness: Witness, noise: f64, norms: f64) -> Evidence {
        let mut run = run("any");
        for bits in run.points.iter_mut().flat_map(|point| &mut point.row_bits) {
            *bits = Finite::new(bits.get() - 8.0 * saved).unwrap();
        }
        let series = |value: &dyn Fn(u32) -> f64| Series {
            witness,
            steps: (0..64).collect(),
            values: (0..64).map(|step| Finite::new(value(step)).unwrap()).collect(),
        };
        let sign = |step: u32| if step.is_multiple_of(2) { 1.0 } else { -1.0 };
        run.series = [
            ("train_bits_per_byte".to_owned(), series(&|step| 4.0 + noise * sign(step))),
            ("gradient_norm".to_owned(), series(&|step| 1.0 + norms * sign(step))),
        ]
        .into();
        run
    }

    fn value(subject: &[Evidence], baseline: &Evidence) -> f64 {
        let pair = Pair::of(subject.iter().collect(), vec![baseline], ScoreNumbers::default()).unwrap();
        stability(&pair).unwrap().value.get()
    }

    #[test]
    fn a_smoother_curve_wins_only_with_an_advantage_and_a_rough_one_loses_anyway() {
        let baseline = with(0.0, Witness::Host, 0.01, 0.1);
        assert_eq!(value(std::slice::from_ref(&baseline), &baseline), 0.5);
        // An alternation of 0.01 is a roughness of 0.0163, against full marks of 0.025.
        let smooth = 0.5 + 0.5 * ((8.0f64 / 3.0).sqrt() * 0.01 / 0.025) / 5.0;
        assert!((value(&[with(0.5, Witness::Host, 0.0, 0.1)], &baseline) - smooth).abs() < 1e-9);
        assert_eq!(value(&[with(0.0, Witness::Host, 0.0, 0.1)], &baseline), 0.5);
        for saved in [0.0, 0.5] {
            assert!(value(&[with(saved, Witness::Host, 0.2, 0.1)], &baseline) < 0.45);
            assert!(value(&[with(saved, Witness::Host, 0.01, 0.5)], &baseline) < 0.48);
        }
    }

    #[test]
    fn of_submitted_code_the_points_alone_are_read() {
        let baseline = with(0.0, Witness::Host, 0.01, 0.1);
        let mut guest = with(0.5, Witness::Guest, 9.0, 0.9);
        assert_eq!(value(&[guest.clone()], &baseline), 0.5);
        for bits in &mut guest.points[3].row_bits {
            *bits = Finite::new(bits.get() - 8.0 * 0.5).unwrap();
        }
        // Half a bit is won at one point, and a quarter given back at the next.
        assert_eq!(value(&[guest], &baseline), 0.0);
    }

    #[test]
    fn what_scatters_over_seeds_as_much_as_it_differs_counts_nothing() {
        let baseline = with(0.0, Witness::Host, 0.01, 0.1);
        let shaky = [0.0, 0.05, 0.0].map(|noise| with(0.0, Witness::Host, noise, 0.1));
        assert_eq!(value(&shaky, &baseline), 0.5);
    }
}
