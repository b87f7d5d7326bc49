//! Whole rounds with trials, probes, larger budgets and modes.
use super::{
    PrismScorer,
    fixture::{failed, grid, large, probe, recipe, trial},
};
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer, SubmissionId,
    plan::RunMode,
    score::Track,
    scorer::{Candidate, Round},
    submission::{FailureClass, Precedence, SubmissionKind},
};
use std::collections::BTreeMap;

const RATES: [(f64, f64); 3] = [(1.0, 4.0), (3.0, 3.5), (10.0, 5.0)];

fn one<'a>(name: &str, kind: SubmissionKind, runs: &'a [Evidence], incumbent: bool) -> Candidate<'a> {
    let precedence = Precedence { block: Block(1), extrinsic: 0, hotkey: Hotkey([1; 32]), local: false };
    let (submission, family) = (SubmissionId::of_parts("test", &[name.as_bytes()]), FamilyId([7; 32]));
    Candidate { submission, kind, precedence, family, runs, incumbent }
}

fn score(candidate: Candidate<'_>, baseline: &[Evidence], numbers: &[(&str, f64)]) -> ScoreCard {
    let policy: BTreeMap<String, Finite> =
        numbers.iter().map(|(name, value)| ((*name).to_owned(), Finite::new(*value).unwrap())).collect();
    let baseline = one("gpt", SubmissionKind::ArchitectureOnly, baseline, false);
    PrismScorer.score(&Round::new(Epoch(1), &policy, &[candidate], &[baseline])).unwrap().remove(0)
}

fn saved(by: f64) -> [(f64, f64); 3] {
    RATES.map(|(rate, bits)| (rate, bits - by))
}

fn only(runs: &[Evidence], incumbent: bool) -> Candidate<'_> {
    one("new", SubmissionKind::ArchitectureOnly, runs, incumbent)
}

fn advantage(card: &ScoreCard, track: Track) -> f64 {
    card.tracks[&track].advantage.mean.get()
}

const UNCONFIRMED: [(&str, f64); 1] = [("score.require_confirmation", 0.0)];

#[test]
fn probes_enter_learning_and_robustness_and_never_the_advantage_that_is_paid() {
    let mut baseline = grid("gpt", &RATES);
    let mut runs = grid("new", &saved(0.125));
    let card = |runs: &[Evidence], baseline: &[Evidence]| score(only(runs, false), baseline, &UNCONFIRMED);
    let reason = "no scaling probe is part of the plan";
    let says = |card: &ScoreCard, text: &str| card.reasons.iter().any(|reason| reason.contains(text));
    let without = card(&runs, &baseline);
    assert!(says(&without, reason));
    baseline.extend(["size", "batch"].map(|axis| probe(&baseline[1], axis, 2.0, 3.5)));
    let value = |card: &ScoreCard, name: &str| card.tracks[&Track::Architecture].components[name].value.get();
    let (learning, robustness) = ("learning_and_scaling_dynamics", "robustness");
    let missing = card(&runs, &baseline);
    assert!(says(&missing, "probe of size at factor 2 is lost") && !says(&missing, reason), "{:?}", missing.reasons);
    assert!((value(&missing, learning) - 0.5 * value(&without, learning)).abs() < 1e-9);
    assert!(value(&missing, robustness) < value(&without, robustness));
    runs.extend(["size", "batch"].map(|axis| probe(&runs[1], axis, 2.0, 3.0)));
    let good = card(&runs, &baseline);
    assert!(value(&good, learning) > value(&without, learning));
    assert!(value(&good, robustness) > value(&without, robustness));
    for other in [&missing, &good] {
        assert_eq!(advantage(other, Track::Architecture), advantage(&without, Track::Architecture));
    }
}

#[test]
fn a_title_needs_the_same_sign_at_the_larger_budget_and_counts_as_there() {
    let mut baseline = grid("gpt", &RATES);
    baseline.push(large(&baseline[1], 4, 3.0));
    let holder = |bits: f64| {
        let mut runs = grid("new", &saved(0.25));
        runs.push(large(&runs[1], 4, bits));
        runs
    };
    let card = |runs: &[Evidence], baseline: &[Evidence]| score(only(runs, true), baseline, &[]);
    let better = card(&holder(2.875), &baseline);
    assert!(better.eligible && (advantage(&better, Track::Architecture) - 0.1).abs() < 1e-9);
    let worse = card(&holder(3.25), &baseline);
    assert!((advantage(&worse, Track::Architecture) + 0.2).abs() < 1e-9, "{worse:?}");
    assert!(worse.reasons.iter().any(|reason| reason.contains("does not confirm")));
    let mut crashed = holder(2.0);
    crashed[3] = failed(&crashed[3], FailureClass::MinerCode);
    assert_eq!(advantage(&card(&crashed, &baseline), Track::Architecture), 0.0);
    let missing = card(&holder(2.0)[..3], &baseline);
    assert!(!missing.eligible && missing.total.is_some(), "waits");
    // A baseline that the machine left out would be a rival less.
    let mut two = baseline.clone();
    two[3] = failed(&two[3], FailureClass::Infrastructure);
    let card_of = card(&holder(2.0), &two);
    assert!(!card_of.eligible && card_of.reasons.iter().any(|reason| reason.contains("a baseline was not measured")));
    // Where no baseline ran at it, nobody is asked for it.
    let plain = card(&holder(3.25)[..3], &baseline[..3]);
    assert!(plain.eligible && (advantage(&plain, Track::Architecture) - 0.2).abs() < 1e-9);
    // Who is no incumbent is not judged by it.
    assert!((advantage(&score(only(&holder(3.25), false), &baseline, &[]), Track::Architecture) - 0.2).abs() < 1e-9);
}

#[test]
fn a_recipe_is_confirmed_against_the_harder_of_the_baseline_and_its_own_familys_reference() {
    let mut baseline = grid("gpt", &RATES);
    baseline.push(large(&baseline[1], 4, 3.0));
    let mut runs = grid("new", &saved(0.25));
    runs.push(recipe(&runs[1], 3.0));
    runs.extend([large(&runs[1], 4, 2.75), large(&runs[3], 4, 2.5)]);
    let card = score(one("new", SubmissionKind::Full, &runs, true), &baseline, &[]);
    assert!((advantage(&card, Track::Architecture) - 0.2).abs() < 1e-9, "{card:?}");
    assert!((advantage(&card, Track::Training) - 0.2).abs() < 1e-9, "over its own family, not the baseline: {card:?}");
    // Without that reference the whole family's advantage would be the recipe's.
    let own = runs.remove(4);
    let card = score(one("new", SubmissionKind::TrainingForArch, &runs, true), &baseline, &[]);
    assert!(!card.eligible, "{card:?}");
    runs.push(failed(&own, FailureClass::MinerCode));
    let card = score(one("new", SubmissionKind::TrainingForArch, &runs, true), &baseline, &[]);
    assert!(card.eligible && advantage(&card, Track::Training) <= 0.0, "{card:?}");
}

#[test]
fn a_title_holder_whose_own_code_fails_has_shown_nothing_and_one_that_the_machine_failed_was_not_asked() {
    let baseline = grid("gpt", &RATES);
    let broken = |class| {
        let mut runs = grid("new", &saved(0.25));
        runs.push(recipe(&runs[1], 3.0));
        runs[3] = failed(&runs[3], class);
        runs
    };
    let of = |runs: &[Evidence], incumbent| score(one("new", SubmissionKind::Full, runs, incumbent), &baseline, &[]);
    let runs = broken(FailureClass::MinerCode);
    let card = of(&runs, true);
    assert!(card.eligible && card.total == Some(Finite::ZERO), "{card:?}");
    assert_eq!([Track::Architecture, Track::Training].map(|track| advantage(&card, track)), [0.0, 0.0]);
    assert!(!of(&runs, false).eligible);
    assert!(!of(&broken(FailureClass::Infrastructure), true).eligible);
    // Nor where the family is somebody else's and fails under the reference recipe.
    let others: Vec<Evidence> = runs
        .iter()
        .map(|run| if run.task == runs[3].task { run.clone() } else { failed(run, FailureClass::MinerCode) })
        .collect();
    assert!(!score(one("new", SubmissionKind::TrainingForArch, &others, true), &baseline, &[]).eligible);
}

#[test]
fn a_plan_that_its_trial_ended_has_a_card_and_no_title() {
    let mut baseline = grid("gpt", &RATES);
    baseline.extend(RATES.map(|(rate, bits)| trial("gpt", Some(rate), bits + 1.0)));
    let mut runs: Vec<Evidence> = saved(-0.5).map(|(rate, bits)| trial("new", Some(rate), bits + 1.0)).into();
    let card = score(only(&runs, false), &baseline, &UNCONFIRMED);
    assert!(!card.eligible && card.total.unwrap().get() < 0.5);
    assert!((advantage(&card, Track::Architecture) + 0.4).abs() < 1e-9);
    assert!(card.reasons[0].contains("trial"), "{:?}", card.reasons);
    // What was not tried through has no total.
    assert_eq!(score(only(&runs[..2], false), &baseline, &UNCONFIRMED).total, None);
    // With the rest of the plan the trial is not read any more.
    runs.extend(grid("new", &saved(0.25)));
    assert!((advantage(&score(only(&runs, false), &baseline, &UNCONFIRMED), Track::Architecture) - 0.2).abs() < 1e-9);
}

#[test]
fn a_smoke_run_is_never_eligible_unless_the_policy_of_a_development_chain_says_so() {
    let smoke = |runs: Vec<Evidence>| -> Vec<Evidence> {
        let run = |mut run: Evidence| {
            run.task.mode = RunMode::LocalCpuSmoke;
            run
        };
        runs.into_iter().map(run).collect()
    };
    let (baseline, runs) = (smoke(grid("gpt", &RATES)), smoke(grid("new", &saved(0.25))));
    for incumbent in [false, true] {
        let card = score(only(&runs, incumbent), &baseline, &UNCONFIRMED);
        assert!(!card.eligible && card.total.is_some());
        assert!(card.reasons.contains(&"not eligible: measured as local_cpu_smoke".to_owned()), "{:?}", card.reasons);
    }
    let numbers = [UNCONFIRMED[0], ("score.pay_smoke", 1.0)];
    assert!(score(only(&runs, false), &baseline, &numbers).eligible);
}
