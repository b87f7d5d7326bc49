//! Whether a run left everything that its plan asks for.
use super::{Pair, Read, reading};
use prism_core::{Evidence, evidence::Witness, plan::Subject};

/// One half of the fraction of what was asked for that is there: every planned point, every planned row at each of
/// them, the held-out rows, and a host-witnessed curve, which a guest cannot leave and is not asked for. It can only
/// lose.
pub(in crate::score) fn completeness(pair: &Pair<'_>) -> Read {
    let (subject, _) = pair.heads()?;
    let guest = matches!(subject.task.subject, Subject::Guest { .. });
    let there: Vec<bool> = parts(subject).into_iter().take(if guest { 3 } else { 4 }).collect();
    reading(0.5 * there.iter().filter(|part| **part).count() as f64 / there.len() as f64, 0.0)
}

fn parts(run: &Evidence) -> [bool; 4] {
    let plan = &run.task.measuring;
    let rows = |count: usize, planned: u32| u32::try_from(count).is_ok_and(|count| count == planned);
    [
        run.points.iter().map(|point| point.step).eq(plan.points.iter().copied()),
        run.points.iter().all(|point| rows(point.row_bits.len(), plan.rows)),
        run.held_out.as_ref().is_some_and(|point| rows(point.row_bits.len(), plan.held_out_rows)),
        run.series.values().any(|series| series.witness == Witness::Host && !series.values.is_empty()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{policy::ScoreNumbers, score::fixture::run};

    #[test]
    fn a_run_that_left_everything_is_the_baseline_and_a_missing_part_costs_an_eighth() {
        let whole = run("any");
        let value = |run: &Evidence| {
            let pair = Pair::of(vec![run], vec![run], ScoreNumbers::default()).unwrap();
            completeness(&pair).unwrap().value.get()
        };
        assert_eq!(value(&whole), 0.5);
        assert_eq!(value(&Evidence { held_out: None, ..whole.clone() }), 0.375);
        assert_eq!(value(&Evidence { held_out: None, series: [].into(), ..whole }), 0.25);
    }
}
