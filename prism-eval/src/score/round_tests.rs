//! Whole rounds through [`PrismScorer`](super::PrismScorer): worked examples, the contract's clauses, foreign evidence.
use super::{
    PrequentialScorer, PrismScorer,
    fixture::{failed, grid, recipe, repeat, run},
};
use prism_core::{
    Block, Digest, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer, SubmissionId,
    evidence::{Audit, Point, RunOutcome, Series, Witness, Work},
    plan::Subject,
    score::Track,
    scorer::{Candidate, Round},
    submission::{FailureClass, Precedence, SubmissionKind},
    testing::{sample, scorer as conformance},
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A candidate that owns its runs.
#[derive(Debug, Clone)]
struct Entry {
    name: &'static str,
    kind: SubmissionKind,
    family: u8,
    place: u64,
    incumbent: bool,
    runs: Vec<Evidence>,
}

impl Entry {
    fn new(name: &'static str, kind: SubmissionKind, family: u8, runs: Vec<Evidence>) -> Self {
        Self { name, kind, family, place: 1, incumbent: false, runs }
    }

    fn candidate(&self) -> Candidate<'_> {
        let hotkey = Hotkey([self.name.as_bytes()[0]; 32]);
        Candidate {
            submission: SubmissionId::of_parts("test", &[self.name.as_bytes()]),
            kind: self.kind,
            precedence: Precedence { block: Block(self.place), extrinsic: 0, hotkey, local: false },
            family: FamilyId([self.family; 32]),
            runs: &self.runs,
            incumbent: self.incumbent,
        }
    }
}

fn score(entries: &[Entry], baselines: &[Entry], numbers: &[(&str, f64)]) -> Vec<ScoreCard> {
    score_by(&PrismScorer, entries, baselines, numbers)
}

fn score_by(scorer: &dyn Scorer, entries: &[Entry], baselines: &[Entry], numbers: &[(&str, f64)]) -> Vec<ScoreCard> {
    let policy: BTreeMap<String, Finite> =
        numbers.iter().map(|(name, value)| ((*name).to_owned(), Finite::new(*value).unwrap())).collect();
    let candidates: Vec<Candidate<'_>> = entries.iter().map(Entry::candidate).collect();
    let baselines: Vec<Candidate<'_>> = baselines.iter().map(Entry::candidate).collect();
    scorer.score(&Round::new(Epoch(1), &policy, &candidates, &baselines)).unwrap()
}

const UNCONFIRMED: [(&str, f64); 1] = [("score.require_confirmation", 0.0)];
const RATES: [(f64, f64); 3] = [(1.0, 4.0), (3.0, 3.5), (10.0, 5.0)];

fn gpt() -> Entry {
    Entry::new("gpt", SubmissionKind::ArchitectureOnly, 1, grid("gpt", &RATES))
}

/// Better by `saved` bits per byte at the end of every rate.
fn better(name: &'static str, graph: &str, saved: f64) -> Entry {
    let rates = RATES.map(|(rate, bits)| (rate, bits - saved));
    Entry::new(name, SubmissionKind::ArchitectureOnly, 2, grid(graph, &rates))
}

fn trained(name: &'static str, place: u64, bits: f64) -> Entry {
    let mut runs = grid("gpt", &RATES);
    runs.push(recipe(&runs[0], bits));
    Entry { place, ..Entry::new(name, SubmissionKind::TrainingForArch, 1, runs) }
}

fn advantage(card: &ScoreCard, track: Track) -> f64 {
    card.tracks[&track].advantage.mean.get()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[test]
fn the_baseline_itself_is_one_half_and_has_no_advantage() {
    let card = &score(&[gpt()], &[gpt()], &UNCONFIRMED)[0];
    assert_eq!(card.total, Finite::new(0.5));
    assert_eq!(advantage(card, Track::Architecture), 0.0);
    assert_eq!(card.scorer, "prism/2");
    assert!(card.eligible);
}

#[test]
fn a_better_architecture_scores_its_paired_advantage_over_the_tuned_baseline() {
    // The curve is 8, b + 1, b + 1/2, b + 1/4, b: 0.125 saved at four of five points is 0.1 in the mean.
    let card = &score(&[better("better", "new", 0.125)], &[gpt()], &UNCONFIRMED)[0];
    assert!(near(advantage(card, Track::Architecture), 0.1));
    let track = &card.tracks[&Track::Architecture];
    let value = |name: &str| track.components[name].value.get();
    // At a scale of a quarter bit: prequential 0.1, held-out 0.125; equal cost, equal health.
    assert!(near(value("learning_and_scaling_dynamics"), 0.7));
    assert!(near(value("standardized_lm_quality"), 0.75));
    assert!(near(value("compute_efficiency"), 0.7));
    assert!(near(value("parameter_efficiency"), 0.7));
    assert!(near(value("robustness"), 0.7));
    assert!(near(value("diagnostics_health"), 0.5));
    let quality = (0.35 * 0.7 + 0.2 * 0.75 + 0.15 * 0.7 + 0.1 * 0.7 + 0.1 * 0.5 + 0.05 * 0.7) / 0.95;
    assert!(near(track.quality.get(), quality));
    assert!(near(card.total.unwrap().get(), 0.7 * quality + 0.3 * 0.5));
    assert!(card.reasons.iter().any(|reason| reason.contains("benchmark_sanity")));
    assert!(card.standard_error.unwrap() > Finite::ZERO);
}

#[test]
fn the_hardest_baseline_counts_wherever_it_stands() {
    let hard = Entry { family: 9, ..better("hard", "hard", 0.25) };
    for baselines in [[gpt(), hard.clone()], [hard, gpt()]] {
        let card = &score(&[better("better", "new", 0.125)], &baselines, &UNCONFIRMED)[0];
        assert!(near(advantage(card, Track::Architecture), -0.1));
    }
}

#[test]
fn a_title_holder_in_the_round_is_no_baseline() {
    let holder = Entry { incumbent: true, ..better("holder", "held", 0.5) };
    let card = &score(&[better("better", "new", 0.125)], &[gpt(), holder], &UNCONFIRMED)[0];
    assert!(near(advantage(card, Track::Architecture), 0.1));
}

/// The same runs as a guest's: every point audited and confirmed, what it says of itself marked as its own.
fn of_python(entry: &Entry) -> Entry {
    let mut guest = entry.clone();
    let confirmed = Audit { row: 0, position: 0, claimed: Finite::ONE, audited: Finite::ONE };
    for run in &mut guest.runs {
        run.task.subject = Subject::Guest { bundle: Digest::of(b"bundle"), recipe: Some(Digest::of(b"recipe")) };
        run.work = Work { cpu_millis: 1000, gpu_millis: 0 };
        run.counters = [("snapshot_bytes".to_owned(), 4000)].into();
        for point in run.points.iter_mut().chain(&mut run.held_out) {
            point.audits = vec![confirmed; 4];
        }
        for series in run.series.values_mut() {
            series.witness = Witness::Guest;
        }
    }
    guest
}

#[test]
fn a_guest_is_scored_from_what_the_host_saw_alone() {
    let python = Entry { family: 7, ..of_python(&gpt()) };
    let baselines = [gpt(), Entry { name: "python gpt", ..python }];
    let guest = of_python(&better("guest", "new", 0.125));
    let card = &score(std::slice::from_ref(&guest), &baselines, &UNCONFIRMED)[0];
    let track = &card.tracks[&Track::Architecture];
    assert!(near(advantage(card, Track::Architecture), 0.1), "{card:?}");
    assert!(!track.components.contains_key("diagnostics_health"));
    let shares: f64 = track.components.values().map(|component| component.share.get()).sum();
    assert!((shares - 1.0).abs() < 1e-9, "what the host did not see goes to the rest");
    assert!(card.reasons.iter().any(|reason| reason.contains("diagnostics_health is not measured")));
    let mut boasting = guest.clone();
    for series in boasting.runs.iter_mut().flat_map(|run| run.series.values_mut()) {
        series.values.fill(Finite::ZERO);
    }
    let mut silent = guest.clone();
    silent.runs.iter_mut().for_each(|run| run.series.clear());
    for other in [boasting, silent] {
        assert_eq!(&score(&[other], &baselines, &UNCONFIRMED)[0], card);
    }
    let mut unaudited = guest;
    unaudited.runs.iter_mut().for_each(|run| run.points[4].audits.clear());
    assert_eq!(score(&[unaudited], &baselines, &UNCONFIRMED)[0].total, None);
}

#[test]
fn a_recipe_is_measured_against_the_tuned_reference_not_the_plain_one() {
    // Better than the rate x1 (4.0), worse than the tuned x3 (3.5).
    let card = &score(&[trained("recipe", 1, 3.75)], &[gpt()], &UNCONFIRMED)[0];
    assert!(near(advantage(card, Track::Training), -0.2));
    assert!(card.total.unwrap().get() < 0.5);
    let card = &score(&[trained("recipe", 1, 3.375)], &[gpt()], &UNCONFIRMED)[0];
    assert!(near(advantage(card, Track::Training), 0.1));
    assert!(!card.tracks.contains_key(&Track::Architecture));
    assert!(near(card.total.unwrap().get(), 0.7 * 0.5 + 0.3 * card.tracks[&Track::Training].quality.get()));
}

#[test]
fn a_recipe_that_repairs_a_bad_architecture_is_measured_against_the_best_baseline() {
    let mut runs = grid("bad", &RATES.map(|(rate, bits)| (rate, bits + 1.0)));
    runs.push(recipe(&runs[0], 3.5));
    let card = &score(&[Entry::new("repair", SubmissionKind::Full, 5, runs)], &[gpt()], &UNCONFIRMED)[0];
    assert!(near(advantage(card, Track::Training), 0.0));
    assert!(near(advantage(card, Track::Architecture), -0.8));
}

#[test]
fn a_later_recipe_is_worth_what_it_adds_to_the_family_and_its_advantage_stays_anchored() {
    let (first, second) = (trained("first", 1, 3.25), trained("second", 2, 3.25));
    let cards = score(&[second.clone(), first.clone()], &[gpt()], &UNCONFIRMED);
    let quality = |card: &ScoreCard| card.tracks[&Track::Training].quality.get();
    assert!(quality(&cards[1]) > 0.6);
    assert!(near(quality(&cards[0]), 0.5));
    assert_eq!(advantage(&cards[0], Track::Training), advantage(&cards[1], Track::Training));
    let alone = score(&[second], &[gpt()], &UNCONFIRMED);
    assert_eq!(quality(&alone[0]), quality(&cards[1]));
}

#[test]
fn a_full_bundle_brings_both_tracks_or_leaves_training_to_the_reference() {
    let mut full = better("full", "new", 0.125);
    full.kind = SubmissionKind::Full;
    let card = &score(&[full.clone()], &[gpt()], &UNCONFIRMED)[0];
    assert_eq!(card.tracks.len(), 1);
    full.runs.push(recipe(&full.runs[0], 3.25));
    let card = &score(&[full.clone()], &[gpt()], &UNCONFIRMED)[0];
    assert_eq!(card.tracks.len(), 2);
    // Its own tuned reference, 3.375, is harder than the baseline.
    assert!(near(advantage(card, Track::Training), 0.1));
    assert!(near(card.bits_per_byte.unwrap().mean.get(), (8.0 + 4.25 + 3.75 + 3.5 + 3.25) / 5.0 + 0.125));
}

#[test]
fn seeds_that_differ_widen_the_error_and_can_take_the_advantage_away() {
    let lucky = better("lucky", "new", 0.125);
    let best = lucky.runs[1].clone();
    let mut shaky = lucky.clone();
    shaky.runs.extend([repeat(&best, 1, 3.0), repeat(&best, 2, 3.75)]);
    let card = &score(&[shaky], &[gpt()], &UNCONFIRMED)[0];
    let track = &card.tracks[&Track::Architecture];
    assert!(track.advantage.standard_error.get() > 0.1);
    assert_eq!(track.components["learning_and_scaling_dynamics"].value.get(), 0.5);
}

#[test]
fn rewards_wait_for_a_confirmation_unless_the_policy_says_otherwise() {
    let winner = better("winner", "new", 0.125);
    let card = &score(std::slice::from_ref(&winner), &[gpt()], &[])[0];
    assert!(!card.eligible && card.total.is_some());
    assert!(card.reasons.iter().any(|reason| reason.contains("waits for a confirmation")));
    let again = Entry { incumbent: true, ..winner.clone() };
    assert!(score(&[again], &[gpt()], &[])[0].eligible);
    let card = &score(&[winner], &[gpt()], &UNCONFIRMED)[0];
    assert!(card.eligible && card.reasons.iter().any(|reason| reason.contains("not for official use")));
}

#[test]
fn a_run_that_was_resumed_is_scored_and_wins_no_title() {
    let mut winner = Entry { incumbent: true, ..better("winner", "new", 0.125) };
    winner.runs[0].resumed = 1;
    for numbers in [&[][..], &UNCONFIRMED] {
        let card = &score(std::slice::from_ref(&winner), &[gpt()], numbers)[0];
        assert!(!card.eligible && card.total.is_some());
        assert!(card.reasons.iter().any(|reason| reason.contains("resumed")), "{:?}", card.reasons);
        assert!(!score_by(&PrequentialScorer, std::slice::from_ref(&winner), &[gpt()], numbers)[0].eligible);
    }
}

#[test]
fn what_was_not_measured_through_on_the_same_rows_has_no_total_and_says_why() {
    let reason = |entry: Entry, baselines: &[Entry]| {
        let card = score(&[entry], baselines, &UNCONFIRMED).remove(0);
        assert!(card.total.is_none() && !card.eligible && card.tracks.is_empty());
        card.reasons.join("; ")
    };
    let with = |change: fn(&mut Entry)| {
        let mut entry = trained("t", 1, 3.0);
        change(&mut entry);
        entry
    };
    assert_eq!(reason(gpt(), &[]), "no published baseline in the round");
    assert_eq!(reason(with(|e| e.runs.clear()), &[gpt()]), "no reference run");
    assert_eq!(reason(with(|e| drop(e.runs.pop())), &[gpt()]), "no run of its own recipe");
    let other = |e: &mut Entry| e.runs.iter_mut().for_each(|r| r.task.cohort = r.task.cohort.stream("other"));
    assert_eq!(reason(with(other), &[gpt()]), "the runs differ in cohort, so they did not see the same rows");
    let one_rate = reason(with(|e| drop(e.runs.remove(0))), &[gpt()]);
    assert_eq!(one_rate, "the reference recipe was tuned over other rates than the baselines'");
    let crash = |e: &mut Entry| e.runs[3] = failed(&e.runs[3], FailureClass::MinerCode);
    assert_eq!(reason(with(crash), &[gpt()]), "run of its own recipe failed (MinerCode): loss is not finite");
    let broken = Entry { runs: vec![failed(&run("gpt"), FailureClass::Infrastructure)], ..gpt() };
    let text = reason(gpt(), &[gpt(), broken]);
    assert!(text.starts_with("baseline 010101010101: reference run at rate 1 failed (Infrastructure)"), "{text}");
}

#[test]
fn a_policy_number_that_does_not_exist_is_an_error() {
    let policy = BTreeMap::from([("score.zed".to_owned(), Finite::ONE)]);
    let error = PrismScorer.score(&Round::new(Epoch(1), &policy, &[], &[])).unwrap_err();
    assert_eq!(error.to_string(), "no policy number is called `score.zed`");
}

#[test]
fn prequential_ranks_by_the_bits_of_the_run_that_counts() {
    let cards = score_by(&PrequentialScorer, &[gpt(), trained("t", 1, 3.25)], &[gpt()], &[]);
    let mean = |bits: f64| (8.0 + 4.0 * bits + 1.75) / 5.0 + 0.125;
    assert!(near(cards[0].total.unwrap().get(), 1.0 / (1.0 + mean(3.5))));
    // A quarter of a bit on held-out rows gives the whole tie-break.
    assert!(near(cards[1].total.unwrap().get(), 1.0 / (1.0 + mean(3.25) - 0.005)));
    assert!(near(advantage(&cards[1], Track::Training), 0.2));
    let empty = Entry { runs: vec![], ..gpt() };
    assert_eq!(score_by(&PrequentialScorer, &[empty], &[gpt()], &[])[0].total, None);
}

#[test]
fn both_scorers_keep_the_contract() {
    let mut unconfirmed = sample::round();
    unconfirmed.policy = UNCONFIRMED.map(|(name, value)| (name.to_owned(), Finite::new(value).unwrap())).into();
    for round in [sample::round(), unconfirmed] {
        conformance::run(&|| Box::new(PrismScorer), &round).assert_ok();
        conformance::run(&|| Box::new(PrequentialScorer), &round).assert_ok();
    }
}

prop_compose! {
    /// Any finite number, most of them of a sane size.
    fn any_finite()(kind in 0u8..8, sane in -4.0f64..80.0, bits: u64) -> Finite {
        let odd = Finite::new(f64::from_bits(bits)).unwrap_or_default();
        if kind == 0 { odd } else { Finite::new(sane).unwrap() }
    }
}

prop_compose! {
    fn any_point()(
        step in 0u64..200, tokens: u64, bits in prop::collection::vec(any_finite(), 0..6), bytes: [u8; 6],
        odd_bytes in 0usize..8,
    ) -> Point {
        let count = if odd_bytes == 0 { 6 } else { bits.len() };
        let row_bytes = bytes.iter().take(count).map(|b| u32::from(*b)).collect();
        Point { step, tokens, row_bits: bits, row_bytes, audits: vec![] }
    }
}

prop_compose! {
    /// A run of the honest plan with up to a few things broken.
    fn any_run()(
        run in 0usize..5, breaks in prop::collection::vec(0u8..12, 0..3), points in prop::collection::vec(any_point(), 0..4),
        number in any_finite(), count: u64, values in prop::collection::vec(any_finite(), 0..40),
    ) -> Evidence {
        let mut entry = trained("any", 1, 3.0).runs;
        entry.push(repeat(&entry[1], 1, 3.4));
        let mut run = entry.swap_remove(run);
        for broken in breaks {
            match broken {
                0 => run.points.clone_from(&points),
                1 => run.held_out = points.first().cloned(),
                2 => run.counters = [("flops_per_token".to_owned(), count), ("parameters".to_owned(), count / 2)].into(),
                3 => {
                    let series = Series { witness: Witness::Host, steps: vec![], values: values.clone() };
                    run.series = [("gradient_norm".to_owned(), series)].into();
                }
                4 => run.points.iter_mut().flat_map(|p| &mut p.row_bits).for_each(|b| *b = number),
                5 => run.points.iter_mut().for_each(|p| p.tokens = count),
                6 => run = failed(&run, FailureClass::MinerCode),
                7 => run = failed(&run, FailureClass::Policy),
                8 => run.outcome = RunOutcome::Completed,
                9 => run.task.role = prism_core::plan::RunRole::Reference { rate: number },
                10 => run.held_out.iter_mut().flat_map(|p| &mut p.row_bits).for_each(|b| *b = number),
                _ => run.task.measuring.points.clear(),
            }
        }
        run
    }
}

prop_compose! {
    fn any_entry()(
        kind in 0u8..3, family in 0u8..3, place in 0u64..4, incumbent: bool,
        honest in 0u8..3, runs in prop::collection::vec(any_run(), 0..6), saved in -1.0f64..2.0,
        name in prop::sample::select(vec!["alpha", "beta", "gamma", "delta", "omega"]),
    ) -> Entry {
        let kind = [SubmissionKind::Full, SubmissionKind::ArchitectureOnly, SubmissionKind::TrainingForArch][kind as usize];
        let runs = if honest > 0 { trained(name, place, 3.5 - saved).runs } else { runs };
        Entry { name, kind, family, place, incumbent, runs }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_round_gives_one_card_each_with_a_total_in_bounds_or_a_reason(
        entries in prop::collection::vec(any_entry(), 0..4), baselines in prop::collection::vec(any_entry(), 0..3),
    ) {
        for scorer in [&PrismScorer as &dyn Scorer, &PrequentialScorer] {
            let cards = score_by(scorer, &entries, &baselines, &UNCONFIRMED);
            prop_assert_eq!(cards.len(), entries.len());
            for (card, entry) in cards.iter().zip(&entries) {
                prop_assert_eq!(card.submission, entry.candidate().submission);
                prop_assert_eq!(card.family, entry.candidate().family);
                match card.total {
                    Some(total) => prop_assert!(total >= Finite::ZERO && total <= Finite::ONE),
                    None => prop_assert!(!card.reasons.is_empty() && !card.eligible),
                }
                for component in card.tracks.values().flat_map(|track| track.components.values()) {
                    prop_assert!(component.value >= Finite::ZERO && component.value <= Finite::ONE);
                }
            }
            prop_assert_eq!(&score_by(scorer, &entries, &baselines, &UNCONFIRMED), &cards);
        }
    }

    #[test]
    fn the_order_of_candidates_and_baselines_does_not_matter(
        mut entries in prop::collection::vec(any_entry(), 0..4), mut baselines in prop::collection::vec(any_entry(), 0..3),
    ) {
        // Submissions are told apart by their id.
        entries.sort_by_key(|entry| entry.name);
        entries.dedup_by_key(|entry| entry.name);
        baselines.sort_by_key(|entry| entry.name);
        baselines.dedup_by_key(|entry| entry.name);
        let cards = score(&entries, &baselines, &UNCONFIRMED);
        entries.reverse();
        let mut backward = score(&entries, &baselines, &UNCONFIRMED);
        backward.reverse();
        prop_assert_eq!(&backward, &cards);
        baselines.reverse();
        let mut swapped = score(&entries, &baselines, &UNCONFIRMED);
        swapped.reverse();
        prop_assert_eq!(swapped, cards);
    }

    #[test]
    fn what_guests_report_changes_nothing(
        entry in any_entry(), values in prop::collection::vec(any_finite(), 0..60),
        name in prop::sample::select(vec!["gradient_norm", "activation_rms", "train_bits_per_byte", "other"]),
    ) {
        let baselines = [gpt()];
        let mut reporting = entry.clone();
        for run in &mut reporting.runs {
            run.series.entry(format!("guest_{name}")).or_insert(Series {
                witness: Witness::Guest, steps: vec![], values: values.clone(),
            });
        }
        let silent = |mut entry: Entry, witness| {
            for run in &mut entry.runs {
                run.series.insert(name.to_owned(), Series { witness, steps: vec![], values: values.clone() });
                if witness == Witness::Host {
                    run.series.remove(name);
                }
            }
            entry
        };
        prop_assert_eq!(score(&[reporting], &baselines, &[]), score(std::slice::from_ref(&entry), &baselines, &[]));
        // A guest's series under a host's name is as if it weren't there.
        let guest = score(&[silent(entry.clone(), Witness::Guest)], &baselines, &[]);
        prop_assert_eq!(guest, score(&[silent(entry, Witness::Host)], &baselines, &[]));
    }

    #[test]
    fn spoiling_a_run_of_ones_own_never_raises_the_total(saved in -0.5f64..0.5, which in 0usize..3, bits in 0.0f64..3.0) {
        let honest = better("honest", "new", saved);
        let mut spoiled = honest.clone();
        for row in spoiled.runs[which].points.iter_mut().flat_map(|point| &mut point.row_bits) {
            *row = Finite::new(row.get() + 8.0 * bits).unwrap();
        }
        let total = |entry: Entry| score(&[entry], &[gpt()], &UNCONFIRMED)[0].total.unwrap();
        prop_assert!(total(spoiled).get() <= total(honest).get() + 1e-12);
    }
}
