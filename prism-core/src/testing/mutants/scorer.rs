use super::assert_covers;
use crate::{
    error::Result,
    evidence::Evidence,
    finite::Finite,
    score::ScoreCard,
    scorer::{Candidate, Round, Scorer, scorer_fn},
    testing::{
        Report, sample,
        scorer::{Fresh, run},
    },
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// One minus an eighth of the bits per byte over all points; no run with rows, no total.
fn plain() -> impl Scorer {
    scorer_fn("plain", 1, |candidate, _| {
        let rows: Vec<f64> = candidate.runs.iter().flat_map(Evidence::prequential_rows).collect();
        let mut card = ScoreCard::without_total(candidate.submission, candidate.family, "plain/1", "no rows");
        if !rows.is_empty() {
            let mean = rows.iter().sum::<f64>() / rows.len() as f64;
            card.total = Finite::new(1.0 - mean / 8.0).map(|total| total.clamp(Finite::ZERO, Finite::ONE));
        }
        Ok(card)
    })
}

#[derive(Debug)]
struct Mutant<S> {
    inner: S,
    breaks: u8,
    calls: AtomicU32,
}

impl<S: Scorer> Scorer for Mutant<S> {
    fn name(&self) -> &str {
        "mutant"
    }
    fn version(&self) -> u32 {
        1
    }
    fn score(&self, round: &Round<'_>) -> Result<Vec<ScoreCard>> {
        let mut cards = self.inner.score(round)?;
        let last_value = |candidate: &Candidate<'_>| {
            let series = candidate.runs.first()?.series.get("gradient_norm")?;
            series.values.last().copied()
        };
        match self.breaks {
            1 => {
                let call = self.calls.fetch_add(1, Ordering::SeqCst).to_string();
                cards.iter_mut().for_each(|card| card.reasons.push(call.clone()));
            }
            2 => cards.reverse(),
            3 => cards.iter_mut().take(1).for_each(|card| card.eligible = true),
            4 => cards.iter_mut().for_each(|card| card.total = card.total.and_then(|t| Finite::new(t.get() * 2.0))),
            5 => {
                for (card, candidate) in cards.iter_mut().zip(round.candidates) {
                    card.standard_error = last_value(candidate);
                }
            }
            6 => {
                for candidate in round.candidates.iter().chain(round.baselines) {
                    assert!(!candidate.runs.is_empty(), "every candidate was measured");
                }
            }
            _ => {}
        }
        Ok(cards)
    }
}

fn report(fresh: Fresh<'_>) -> Report {
    run(fresh, &sample::round())
}

fn mutant(breaks: u8) -> Report {
    report(&|| Box::new(Mutant { inner: plain(), breaks, calls: AtomicU32::new(0) }))
}

#[test]
fn a_plain_scorer_passes_as_itself_in_a_box_and_in_an_arc() {
    report(&|| Box::new(plain())).assert_ok();
    report(&|| Box::new(Box::new(plain()))).assert_ok();
    report(&|| Box::new(Arc::new(plain()))).assert_ok();
    assert_covers(&mutant(0), include_str!("../../scorer.rs"));
    mutant(0).assert_ok();
}

mutants! { mutant;
    mutant_1_fails_exactly_clause_1 1
    mutant_2_fails_exactly_clause_2 2
    mutant_3_fails_exactly_clause_3 3
    mutant_4_fails_exactly_clause_4 4
    mutant_5_fails_exactly_clause_5 5
    mutant_6_fails_exactly_clause_6 6
}
