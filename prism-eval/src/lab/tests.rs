//! The incentive holds under the default policy, and the lab sees where one doesn't.
use super::*;
use crate::{
    reward::{FrontierPools, OwnershipSplit},
    score::{
        PrismScorer,
        fixture::{grid, recipe},
    },
};
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, RewardPolicy, ScoreCard, Scorer, SubmissionId,
    evidence::Estimate,
    reward::{Allocation, RewardContext},
    score::Track,
    scorer::{Candidate, Round},
    standings::{FamilyFacts, Showing},
    submission::{Precedence, SubmissionKind},
};
use std::collections::{BTreeMap, BTreeSet};

fn few(worlds: u32, strategies: &[Strategy]) -> Simulation {
    Simulation { worlds, strategies: strategies.to_vec(), ..Simulation::new(Seed::of("test", &[b"lab"])) }
}

fn profits(table: &Table) -> BTreeMap<Strategy, Spread> {
    table.rows.iter().filter(|row| !row.honest).map(|row| (row.strategy, row.profit)).collect()
}

#[test]
fn no_dishonest_strategy_earns_one_percent_of_an_honest_discoverers_reward_at_equal_cost() {
    let table = simulate(&few(8, &Strategy::ALL), &FrontierPools).unwrap();
    // What a few worlds leave open is asked of many.
    let open = |(strategy, profit): (Strategy, Spread)| (profit.high.get() > 0.01).then_some(strategy);
    let open: Vec<Strategy> = profits(&table).into_iter().filter_map(open).collect();
    let settled = simulate(&few(200, &open), &FrontierPools).unwrap();
    for (strategy, profit) in profits(&settled) {
        assert!(profit.mean.get() <= 0.01, "{strategy}: {profit:?}\n{settled}");
    }
    let of = |strategy| table.rows.iter().find(|row| row.strategy == strategy).unwrap();
    for honest in [Strategy::HonestDiscoverer, Strategy::HonestTuner, Strategy::LateImprover] {
        assert!(of(honest).share.low > Finite::ZERO, "{honest} earns nothing\n{table}");
    }
    // Nobody who has nothing to show takes anything from those who have.
    for row in table.rows.iter().filter(|row| !row.honest && row.strategy.ideas() == strategy::Ideas::Nothing) {
        assert!(row.others.mean.get() > 0.9, "{}: {:?}", row.strategy, row.others);
    }
}

#[test]
fn the_lab_sees_that_the_ownership_split_pays_for_variants_and_sybils() {
    let table = simulate(&few(8, &[Strategy::TrivialVariant, Strategy::NoiseFarmer]), &OwnershipSplit).unwrap();
    for (strategy, profit) in profits(&table) {
        assert!(profit.low.get() > 0.05, "{strategy}: {profit:?}\n{table}");
    }
}

#[test]
fn a_simulation_is_a_function_of_its_seed() {
    let table = |word: &[u8]| {
        let seed = Seed::of("test", &[word]);
        let world = WorldNumbers { cohorts: 30, ..WorldNumbers::default() };
        let strategies = vec![Strategy::Sybil];
        simulate(&Simulation { worlds: 3, strategies, world, ..Simulation::new(seed) }, &FrontierPools).unwrap()
    };
    assert_eq!(table(b"one"), table(b"one"));
    assert_ne!(table(b"one"), table(b"two"));
    let text = serde_json::to_string(&table(b"one")).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&text).unwrap(), table(b"one"));
}

#[test]
fn every_strategy_is_found_by_its_word_and_says_what_it_does() {
    for strategy in Strategy::ALL {
        assert_eq!(strategy.name().parse::<Strategy>().unwrap(), strategy);
        assert_eq!(serde_json::to_value(strategy).unwrap(), strategy.name());
        assert!(strategy.about().ends_with('.') && !strategy.about().starts_with(' '));
    }
    assert_eq!("cheat".parse::<Strategy>().unwrap_err().to_string(), "no strategy is called `cheat`");
}

#[test]
fn a_world_out_of_range_is_refused_by_name() {
    let world = WorldNumbers { idea_rate: Finite::new(2.0).unwrap(), ..WorldNumbers::default() };
    let simulation = Simulation { world, ..few(2, &[]) };
    let error = simulate(&simulation, &FrontierPools).unwrap_err();
    assert_eq!(error.to_string(), "world of the lab: idea_rate must be 0 to 1");
}

/// A candidate that owns its runs.
struct Sent {
    place: u8,
    kind: SubmissionKind,
    family: u8,
    runs: Vec<Evidence>,
}

impl Sent {
    fn candidate(&self) -> Candidate<'_> {
        let hotkey = Hotkey([self.place; 32]);
        Candidate {
            submission: SubmissionId::of_parts("test", &[&[self.place]]),
            kind: self.kind,
            precedence: Precedence { block: Block(u64::from(self.place)), extrinsic: 0, hotkey, local: false },
            family: FamilyId([self.family; 32]),
            runs: &self.runs,
            incumbent: true,
        }
    }
}

/// Bits at the end of each rate of the grid.
fn rates(bits: f64) -> [(f64, f64); 3] {
    [(1.0, bits + 0.5), (3.0, bits), (10.0, bits + 1.0)]
}

#[test]
fn from_evidence_to_shares_only_what_is_new_is_paid() {
    let (architecture, tuned) = (SubmissionKind::ArchitectureOnly, SubmissionKind::TrainingForArch);
    let with_recipe = |graph: &str, shown: f64, own: f64| {
        let mut runs = grid(graph, &rates(shown));
        runs.push(recipe(&runs[0], own));
        runs
    };
    let gpt = Sent { place: 0, kind: architecture, family: 200, runs: grid("gpt", &rates(4.0)) };
    let sent = [
        // Half a bit better, its copy, and a variant of it.
        Sent { place: 1, kind: architecture, family: 1, runs: grid("new", &rates(3.5)) },
        Sent { place: 2, kind: architecture, family: 1, runs: grid("new", &rates(3.5)) },
        Sent { place: 3, kind: architecture, family: 2, runs: grid("variant", &rates(3.49)) },
        // A recipe for the published family, and the same for the new one.
        Sent { place: 4, kind: tuned, family: 200, runs: with_recipe("gpt", 4.0, 3.7) },
        Sent { place: 5, kind: tuned, family: 1, runs: with_recipe("new", 3.5, 3.2) },
        // The leader made worse, and repaired.
        Sent { place: 6, kind: SubmissionKind::Full, family: 3, runs: with_recipe("sabotaged", 5.0, 3.2) },
    ];
    let policy = PrismPolicy::default();
    let numbers = policy.numbers();
    let candidates: Vec<Candidate<'_>> = sent.iter().map(Sent::candidate).collect();
    let baselines = [Candidate { incumbent: false, ..gpt.candidate() }];
    let cards: Vec<ScoreCard> = PrismScorer.score(&Round::new(Epoch(1), &numbers, &candidates, &baselines)).unwrap();
    let mut standings = Standings::new();
    standings.families.insert(FamilyId([200; 32]), FamilyFacts { published: true, class: None });
    for (candidate, card) in candidates.iter().zip(&cards) {
        assert!(card.eligible, "{:?}", card.reasons);
        for _ in 0..3 {
            standings.record(card, candidate.precedence.hotkey, candidate.precedence, Block(10), 1);
        }
    }
    let registered: BTreeSet<Hotkey> = (0..10).map(|byte| Hotkey([byte; 32])).collect();
    let context = RewardContext::new(Block(10), Epoch(1), &registered, None, &numbers);
    let Allocation::Pay { shares, .. } = FrontierPools.allocate(&standings, &context).unwrap() else { panic!() };
    let paid: Vec<u8> = shares.keys().map(|hotkey| hotkey.0[0]).collect();
    assert_eq!(paid, [1, 4], "{shares:?}");
}

#[test]
fn a_world_that_begins_with_a_record_pays_nobody_for_what_is_on_it() {
    let finite = |value| Finite::new(value).unwrap();
    let showing = |place: u8, family, track, advantage| {
        let hotkey = Hotkey([place; 32]);
        Showing {
            submission: SubmissionId::of_parts("test", &[&[place]]),
            hotkey,
            family: FamilyId([family; 32]),
            track,
            precedence: Precedence { block: Block(u64::from(place)), extrinsic: 0, hotkey, local: false },
            advantage: Estimate { mean: finite(advantage), standard_error: finite(0.005) },
            confirmations: 8,
            since: Block(u64::from(place)),
            trials: 1,
        }
    };
    let mut start = Standings::of(vec![showing(1, 1, Track::Architecture, 0.4), showing(2, 200, Track::Training, 0.3)]);
    start.families.insert(FamilyId([200; 32]), FamilyFacts { published: true, class: None });
    let world = WorldNumbers { cohorts: 30, idea_rate: Finite::ZERO, ..WorldNumbers::default() };
    let strategies = vec![Strategy::Copier, Strategy::Renamer, Strategy::RecipePorter, Strategy::Sandbagger];
    let simulation = Simulation { start, world, ..few(3, &strategies) };
    let table = simulate(&simulation, &FrontierPools).unwrap();
    assert!(table.rows.iter().all(|row| row.share.mean.get() < 0.002), "{table}");
    let variants = Simulation { strategies: vec![Strategy::TrivialVariant], ..simulation };
    let table = simulate(&variants, &OwnershipSplit).unwrap();
    assert!(table.rows[1].share.mean.get() > 0.1, "the leader on record is known, and varied: {table}");
}
