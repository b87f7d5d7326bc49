//! Whether a network is healthy: the diagnostics of its layers, and spikes of its norms.
use super::{
    Pair, Read,
    steps::{difference, spiking},
};
use crate::{
    measure::signals::{DIAGNOSTICS, Diagnostic, diagnostic::health as health_of, diagnostics},
    policy::DiagnosticThresholds,
};
use std::collections::BTreeMap;

/// Healthier than the baseline: `1/2 + 1/2 · (D + S) / 2`, above one half only with an advantage in bits.
///
/// `D`, of the diagnostics that the host witnessed on both sides: a health of each is 1/2 at its threshold and 1 from
/// twice as far away on. The worst difference to the baseline's where one is below 0, so that nothing makes up for a
/// part that is dead or collapsed; their mean otherwise.
///
/// `S`, of the norms of gradients and activations: the baseline's fraction of spiking steps minus the subject's, over 0.1.
///
/// Of which only one can be read, that one counts whole. What was left out is said in `notes`.
pub(in crate::score) fn health(pair: &Pair<'_>, thresholds: &DiagnosticThresholds, notes: &mut Vec<String>) -> Read {
    let (subject, baseline) = pair.heads()?;
    let (of_subject, of_baseline) = (diagnostics(subject, thresholds), diagnostics(baseline, thresholds));
    let mut differences = Vec::new();
    let mut left_out: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for name in DIAGNOSTICS {
        let sides = of_subject.get(name).zip(of_baseline.get(name));
        let Some((ours, theirs)) = sides else { continue };
        let healths = health_of(name, ours, thresholds).zip(health_of(name, theirs, thresholds));
        match healths {
            Some((ours, theirs)) => differences.push(ours - theirs),
            None => left_out.entry(why(ours, theirs)).or_default().push(name),
        }
    }
    let spikes: Vec<f64> = ["gradient_norm", "activation_rms"]
        .into_iter()
        .filter_map(|name| difference(pair, &|run| spiking(run, name, thresholds.activation_spike_ratio.get()), 0.1))
        .collect();
    let worst = differences.iter().copied().fold(0.0, f64::min);
    let parts = [if worst < 0.0 { Some(worst) } else { mean(&differences) }, mean(&spikes)];
    let parts: Vec<f64> = parts.into_iter().flatten().collect();
    let value = mean(&parts).ok_or("the host witnessed neither diagnostics nor norms on both sides")?;
    for (why, names) in left_out {
        notes.push(format!("diagnostics without {} ({why}); the others take their place", names.join(", ")));
    }
    pair.gated(0.5 + 0.5 * value.clamp(-1.0, 1.0))
}

fn why<'a>(ours: &'a Diagnostic, theirs: &'a Diagnostic) -> &'a str {
    match (&ours.not_applicable_reason, &theirs.not_applicable_reason) {
        (Some(reason), _) => reason,
        (None, Some(_)) => "the baseline has none",
        (None, None) => "it has no value",
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        policy::ScoreNumbers,
        score::fixture::{run, with_points},
    };
    use prism_core::{
        Evidence, Finite,
        evidence::{Series, Witness},
    };

    fn curve(spikes: usize) -> Series {
        let value = |step| if (10..10 + spikes).contains(&step) { 50.0 } else { 1.0 + 0.01 * step as f64 };
        Series {
            witness: Witness::Host,
            steps: (0..48).collect(),
            values: (0..48).map(|step| Finite::new(value(step)).unwrap()).collect(),
        }
    }

    fn with(bits: f64, series: &[(&str, Series)]) -> Evidence {
        let mut run = with_points(&run("any"), &[&[bits, bits]]);
        run.series = series.iter().map(|(name, series)| ((*name).to_owned(), series.clone())).collect();
        run
    }

    fn told(subject: &Evidence, baseline: &Evidence) -> (Option<f64>, Vec<String>) {
        let pair = Pair::of(vec![subject], vec![baseline], ScoreNumbers::default()).unwrap();
        let mut notes = vec![];
        let read = health(&pair, &DiagnosticThresholds::default(), &mut notes);
        (read.ok().map(|reading| reading.value.get()), notes)
    }

    fn spiked(saved: f64, subject: Series, baseline: Series) -> Option<f64> {
        let with = |bits, series| with(bits, &[("gradient_norm", series)]);
        told(&with(4.0 - saved, subject), &with(4.0, baseline)).0
    }

    #[test]
    fn spikes_lose_and_their_absence_wins_only_with_an_advantage() {
        assert_eq!(spiked(0.5, curve(2), curve(0)), Some(0.25));
        assert_eq!(spiked(0.5, curve(0), curve(2)), Some(0.75));
        assert_eq!(spiked(0.0, curve(0), curve(2)), Some(0.5));
        assert_eq!(spiked(0.0, curve(2), curve(0)), Some(0.25));
    }

    #[test]
    fn what_a_guest_reports_is_not_read() {
        let guest = Series { witness: Witness::Guest, ..curve(0) };
        assert_eq!(spiked(0.5, guest, curve(2)), None);
    }

    fn layers(collapse: f64, sparsity: f64) -> Vec<(&'static str, Series)> {
        let at =
            |value: f64| Series { witness: Witness::Host, steps: vec![100], values: vec![Finite::new(value).unwrap()] };
        vec![("representation_collapse/004_add", at(collapse)), ("useful_sparsity/003_relu", at(sparsity))]
    }

    #[test]
    fn a_part_in_trouble_loses_whatever_the_others_do_and_health_wins_only_with_an_advantage() {
        let value = |saved: f64, ours: (f64, f64), theirs: (f64, f64)| {
            told(&with(4.0 - saved, &layers(ours.0, ours.1)), &with(4.0, &layers(theirs.0, theirs.1))).0.unwrap()
        };
        // At its threshold collapse has a health of a half, and far from it no more than one.
        assert!((value(0.5, (0.95, 0.1), (0.1, 0.999)) - 0.25).abs() < 1e-9);
        assert!((value(0.5, (1.0, 0.1), (0.1, 0.1)) - 0.0).abs() < 1e-9);
        assert_eq!(value(0.5, (0.1, 0.1), (0.5, 0.5)), 0.5);
        // One of two diagnostics is better by a half.
        assert!((value(0.5, (0.1, 0.1), (0.95, 0.1)) - 0.625).abs() < 1e-9);
        assert_eq!(value(0.0, (0.1, 0.1), (0.95, 0.1)), 0.5);
    }

    #[test]
    fn what_does_not_apply_is_left_out_on_both_sides_and_named() {
        let (_, notes) = told(&with(4.0, &layers(0.1, 0.1)), &with(4.0, &layers(0.1, 0.1)));
        assert!(
            notes.iter().any(|note| note.contains("attention_diversity (the network has no attention)")),
            "{notes:?}"
        );
        assert_eq!(told(&with(4.0, &[]), &with(4.0, &layers(0.1, 0.1))), (None, vec![]));
    }
}
