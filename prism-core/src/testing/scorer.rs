//! The suite of [`Scorer`].
use super::{
    Broken, Check, Report,
    sample::{RecordedCandidate, RecordedRound},
};
use crate::{
    error::{Kind, Result},
    evidence::{Evidence, Point, RunOutcome, Series, Witness},
    finite::Finite,
    score::ScoreCard,
    scorer::Scorer,
    submission::FailureClass,
};
use std::{collections::BTreeMap, thread};

/// Makes the scorer under test, as often as asked.
pub type Fresh<'a> = &'a (dyn Fn() -> Box<dyn Scorer> + Sync);

/// Checks every clause. The round is one that the scorer takes, with a total for at least one candidate:
/// [`sample::round`](super::sample::round) where nothing special is wanted.
pub fn run(fresh: Fresh<'_>, round: &RecordedRound) -> Report {
    let mut report = Report::new("Scorer");
    type Clause = (u8, &'static str, fn(Fresh<'_>, &RecordedRound) -> Check);
    let clauses: [Clause; 6] = [
        (1, "clause_1_the_same_round_gives_the_same_cards", clause_1_the_same_round_gives_the_same_cards),
        (2, "clause_2_one_card_for_each_candidate_in_order", clause_2_one_card_for_each_candidate_in_order),
        (3, "clause_3_the_order_of_candidates_does_not_matter", clause_3_the_order_of_candidates_does_not_matter),
        (4, "clause_4_totals_are_shares_or_absent_with_a_reason", clause_4_totals_are_shares_or_absent_with_a_reason),
        (5, "clause_5_what_a_guest_says_changes_nothing", clause_5_what_a_guest_says_changes_nothing),
        (
            6,
            "clause_6_odd_evidence_is_scored_or_named_and_never_panics",
            clause_6_odd_evidence_is_scored_or_named_and_never_panics,
        ),
    ];
    for (number, name, clause) in clauses {
        report.check_now(number, name, || clause(fresh, round));
    }
    report
}

fn score(scorer: &dyn Scorer, round: &RecordedRound) -> Result<Vec<ScoreCard>> {
    round.with(|round| scorer.score(round))
}

/// Breaks the clause when two rounds of cards differ, with the first pair that does.
fn same(how: &str, again: &[ScoreCard], cards: &[ScoreCard]) -> Check {
    ensure!(again.len() == cards.len(), "{how} there are {} cards instead of {}", again.len(), cards.len());
    for (again, card) in again.iter().zip(cards) {
        ensure!(again == card, "{how} a card is {again:?} instead of {card:?}");
    }
    Ok(())
}

fn in_order_of_submission(mut cards: Vec<ScoreCard>) -> Vec<ScoreCard> {
    cards.sort_by_key(|card| card.submission);
    cards
}

/// Twice by one scorer, once by another, once on another thread. A clock, a file or a thread that leaves no mark on the
/// cards isn't seen.
pub fn clause_1_the_same_round_gives_the_same_cards(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    let scorer = fresh();
    let cards = score(&*scorer, round)?;
    let elsewhere = thread::scope(|scope| scope.spawn(|| score(&*scorer, round)).join());
    let elsewhere = elsewhere.map_err(|_| Broken("panicked on another thread".into()))?;
    for (how, again) in [
        ("scored again,", score(&*scorer, round)?),
        ("scored by another,", score(&*fresh(), round)?),
        ("scored on another thread,", elsewhere?),
    ] {
        same(how, &again, &cards)?;
    }
    Ok(())
}

/// The whole round, one without candidates, one with the first alone.
pub fn clause_2_one_card_for_each_candidate_in_order(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    for count in [round.candidates.len(), 0, 1] {
        let mut round = round.clone();
        round.candidates.truncate(count);
        let cards = score(&*fresh(), &round)?;
        let got: Vec<_> = cards.iter().map(|card| (card.submission, card.family)).collect();
        let wanted: Vec<_> = round.candidates.iter().map(|c| (c.submission, c.family)).collect();
        ensure!(got == wanted, "the cards are for {got:?}, the candidates are {wanted:?}");
    }
    Ok(())
}

/// Every rotation, forwards and backwards.
pub fn clause_3_the_order_of_candidates_does_not_matter(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    let cards = in_order_of_submission(score(&*fresh(), round)?);
    for turn in 0..round.candidates.len() {
        let mut turned = round.clone();
        turned.candidates.rotate_left(turn);
        for _ in 0..2 {
            let again = in_order_of_submission(score(&*fresh(), &turned)?);
            same("in another order", &again, &cards)?;
            turned.candidates.reverse();
        }
    }
    Ok(())
}

/// The round as it is, and with every candidate a thousand times better, then worse, than it was.
pub fn clause_4_totals_are_shares_or_absent_with_a_reason(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    let cards = score(&*fresh(), round)?;
    ensure!(cards.iter().any(|card| card.total.is_some()), "no candidate of the round has a total");
    let mut all = cards;
    for factor in [0.001, 1000.0] {
        let mut other = round.clone();
        let runs = other.candidates.iter_mut().flat_map(|candidate| &mut candidate.runs);
        runs.for_each(|run| scale(run, factor));
        all.extend(score(&*fresh(), &other)?);
    }
    for card in all {
        match card.total {
            Some(total) => {
                ensure!(Finite::ZERO <= total && total <= Finite::ONE, "the total is {total}, outside 0 to 1");
            }
            None => {
                ensure!(
                    card.reasons.iter().any(|r| !r.is_empty()),
                    "{:?} has neither total nor reason",
                    card.submission
                );
            }
        }
    }
    Ok(())
}

fn scale(run: &mut Evidence, factor: f64) {
    for bits in run.points.iter_mut().chain(&mut run.held_out).flat_map(|point| &mut point.row_bits) {
        *bits = Finite::new(bits.get() * factor).unwrap_or(*bits);
    }
}

/// Takes away all series of the host and gives the guest the same names, with modest, with wild and without values.
pub fn clause_5_what_a_guest_says_changes_nothing(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    let mut all: Vec<Vec<ScoreCard>> = Vec::new();
    for value in [None, Some(Finite::ONE), Finite::new(-1e6), Finite::new(1e12)] {
        let told = round.with_runs(|run| match value {
            None => run.series.clear(),
            Some(value) => {
                for name in ["train_bits_per_byte", "gradient_norm", "activation_rms", "learning_rate", "score"] {
                    run.series.entry(name.into()).or_insert_with(|| series(vec![]));
                }
                for series in run.series.values_mut() {
                    *series = Series { witness: Witness::Guest, steps: vec![1, 2, 3], values: vec![value; 3] };
                }
            }
        });
        all.push(score(&*fresh(), &told)?);
    }
    for pair in all.windows(2) {
        if let [before, after] = pair {
            same("with other words of the guest", after, before)?;
        }
    }
    Ok(())
}

fn series(values: Vec<Finite>) -> Series {
    Series { witness: Witness::Host, steps: vec![1, 2], values }
}

/// Some twenty oddities, each put into the first candidate, then into the first baseline. Not all oddities there are.
pub fn clause_6_odd_evidence_is_scored_or_named_and_never_panics(fresh: Fresh<'_>, round: &RecordedRound) -> Check {
    for (name, oddity) in oddities() {
        for of_baseline in [false, true] {
            let mut odd = round.clone();
            let side = if of_baseline { &mut odd.baselines } else { &mut odd.candidates };
            let Some(subject) = side.first_mut() else { continue };
            oddity(subject);
            let id = subject.submission;
            match score(&*fresh(), &odd) {
                Ok(cards) => ensure!(
                    cards.len() == odd.candidates.len(),
                    "{name}: {} cards for {} candidates",
                    cards.len(),
                    odd.candidates.len()
                ),
                Err(error) => {
                    ensure!(error.kind() == Kind::Invalid, "{name}: gave {error:?}");
                    ensure!(error.chain().contains(&id.short()), "{name}: the error doesn't name {id:?}: {error:?}");
                }
            }
        }
    }
    for (what, round) in [
        ("baselines", RecordedRound { baselines: vec![], ..round.clone() }),
        ("anything", RecordedRound { baselines: vec![], candidates: vec![], policy: BTreeMap::new(), ..*round }),
    ] {
        match score(&*fresh(), &round) {
            Ok(cards) => ensure!(cards.len() == round.candidates.len(), "without {what}: {} cards", cards.len()),
            Err(error) => ensure!(error.kind() == Kind::Invalid, "without {what}: gave {error:?}"),
        }
    }
    Ok(())
}

type Oddity = (&'static str, Box<dyn Fn(&mut RecordedCandidate)>);

fn oddities() -> Vec<Oddity> {
    fn in_runs(name: &'static str, change: impl Fn(&mut Evidence) + 'static) -> Oddity {
        (name, Box::new(move |candidate| candidate.runs.iter_mut().for_each(&change)))
    }
    fn in_points(name: &'static str, change: impl Fn(&mut Point) + 'static) -> Oddity {
        in_runs(name, move |run| run.points.iter_mut().chain(&mut run.held_out).for_each(&change))
    }
    let huge = Finite::new(f64::MAX).unwrap_or_default();
    let below = Finite::new(-f64::MAX).unwrap_or_default();
    vec![
        ("no runs", Box::new(|candidate| candidate.runs.clear())),
        ("every run twice", Box::new(|candidate| candidate.runs.extend(candidate.runs.clone()))),
        in_runs("no points", |run| run.points.clear()),
        in_runs("one point", |run| run.points.truncate(1)),
        in_runs("points backwards", |run| run.points.reverse()),
        in_runs("no held-out rows", |run| run.held_out = None),
        in_runs("failed with points", |run| {
            run.outcome = RunOutcome::Failed { class: FailureClass::Resource, reason: String::new() };
        }),
        in_runs("no series", |run| run.series.clear()),
        in_runs("series without values", |run| run.series.values_mut().for_each(|s| *s = series(vec![]))),
        in_runs("series longer than their steps", move |run| {
            run.series.values_mut().for_each(|s| *s = series(vec![huge; 5]));
        }),
        in_runs("no counters", |run| run.counters.clear()),
        in_runs("counters of zero", |run| run.counters.values_mut().for_each(|c| *c = 0)),
        in_runs("counters at their end", |run| run.counters.values_mut().for_each(|c| *c = u64::MAX)),
        in_runs("a budget of nothing", |run| {
            let budget = &mut run.task.budget;
            (budget.tokens, budget.steps, budget.batch, budget.sequence) = (0, 0, 0, 0);
            (budget.wall_millis, budget.cpu_millis, budget.peak_memory) = (0, 0, 0);
            run.task.measuring.points.clear();
        }),
        in_runs("a vocabulary of nothing", |run| run.task.data.vocabulary = 0),
        in_runs("work at its end", |run| (run.work.cpu_millis, run.work.gpu_millis) = (u64::MAX, u64::MAX)),
        in_points("no rows", |point| (point.row_bits, point.row_bytes) = (vec![], vec![])),
        in_points("one row", |point| {
            point.row_bits.truncate(1);
            point.row_bytes.truncate(1);
        }),
        in_points("fewer bytes than bits", |point| point.row_bytes.truncate(1)),
        in_points("fewer bits than bytes", |point| point.row_bits.truncate(1)),
        in_points("rows without bytes", |point| point.row_bytes.fill(0)),
        in_points("rows at the end of bytes", |point| point.row_bytes.fill(u32::MAX)),
        in_points("huge bits", move |point| point.row_bits.fill(huge)),
        in_points("bits below zero", move |point| point.row_bits.fill(below)),
        in_points("bits of zero", |point| point.row_bits.fill(Finite::ZERO)),
        in_points("steps at their end", |point| (point.step, point.tokens) = (u64::MAX, u64::MAX)),
    ]
}
