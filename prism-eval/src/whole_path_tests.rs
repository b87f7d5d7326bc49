//! From documents to shares: real graphs trained on real text, planned, scored and paid by this crate alone.
use crate::{
    data::fixture::stand_in,
    graph::{GraphSpec, baselines, family},
    plan_of_runs::{Architecture, Cohort, Entrant, Training, plan_of_runs},
    policy::{PlanPolicy, PrismPolicy, RewardNumbers},
    recipe::{Recipe, RecipeSpec},
    reward::FrontierPools,
    score::PrismScorer,
    trainer::NativeTrainer,
};
use futures::executor::block_on;
use prism_core::{
    Block, Epoch, Evidence, FamilyId, Finite, Hotkey, RewardPolicy, ScoreCard, Scorer, Seed, Standings, SubmissionId,
    TaskId, Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    reward::{Allocation, RewardContext},
    score::Track,
    scorer::{Candidate, Round},
    standings::FamilyFacts,
    submission::{Precedence, SubmissionKind},
    trainer::Surroundings,
};
use std::{collections::BTreeMap, sync::Arc};

/// Trains what is asked for, each task once.
struct House {
    policy: PrismPolicy,
    cohort: Cohort,
    artifacts: Arc<MemoryArtifacts>,
    trainer: NativeTrainer,
    runs: BTreeMap<TaskId, Evidence>,
}

struct Measured {
    kind: SubmissionKind,
    family: FamilyId,
    place: u8,
    runs: Vec<Evidence>,
}

impl House {
    fn new(policy: PrismPolicy) -> Self {
        let corpus = stand_in().unwrap();
        let artifacts = Arc::new(MemoryArtifacts::new());
        let seed = Seed::of("test", &[b"whole path"]);
        let cohort = block_on(Cohort::new(seed, corpus.data_ref(), &policy.plan, &*artifacts)).unwrap();
        Self { policy, cohort, artifacts, trainer: NativeTrainer::new(corpus), runs: BTreeMap::new() }
    }

    fn measure(&mut self, place: u8, kind: SubmissionKind, graph: &GraphSpec, recipe: Option<&Recipe>) -> Measured {
        let plan = &self.policy.plan;
        let graph = graph.resolve(&plan.context(self.cohort.data.vocabulary), &plan.limits()).unwrap();
        let keep = |bytes: &[u8]| block_on(self.artifacts.keep_bytes(bytes)).unwrap();
        let training = recipe.map(|recipe| Training::Declared(keep(&recipe.canonical_bytes())));
        let entrant = Entrant::new(kind, Architecture::Declared(keep(&graph.canonical_bytes())), training);
        let around = Surroundings::new(Arc::<MemoryArtifacts>::clone(&self.artifacts));
        let tasks = plan_of_runs(plan, &self.cohort, &entrant).unwrap();
        let run = |task: &prism_core::TrainTask| {
            let train = || block_on(self.trainer.train(task, &around)).unwrap();
            self.runs.entry(task.id()).or_insert_with(train).clone()
        };
        Measured { kind, family: family(&graph), place, runs: tasks.iter().map(run).collect() }
    }

    fn score(&self, candidates: &[Measured], baselines: &[Measured]) -> Vec<ScoreCard> {
        let view = |measured: &Measured| -> Vec<Evidence> { measured.runs.clone() };
        let (candidate_runs, baseline_runs): (Vec<_>, Vec<_>) =
            (candidates.iter().map(view).collect(), baselines.iter().map(view).collect());
        let candidates: Vec<_> = candidates.iter().zip(&candidate_runs).map(|(m, runs)| m.candidate(runs)).collect();
        let baselines: Vec<_> = baselines.iter().zip(&baseline_runs).map(|(m, runs)| m.candidate(runs)).collect();
        PrismScorer.score(&Round::new(Epoch(1), &self.policy.numbers(), &candidates, &baselines)).unwrap()
    }

    fn pay(&self, candidates: &[Measured], cards: &[ScoreCard]) -> (BTreeMap<u8, f64>, f64) {
        let mut standings = Standings::new();
        // The first is the published GPT under another name.
        let published = FamilyFacts { published: true, class: None };
        standings.families.extend(candidates.first().map(|same| (same.family, published)));
        for (measured, card) in candidates.iter().zip(cards) {
            standings.record(card, measured.precedence().hotkey, measured.precedence(), Block(10), 1);
        }
        let (registered, numbers) = ((0..9).map(|n| Hotkey([n; 32])).collect(), self.policy.numbers());
        let context = RewardContext::new(Block(10), Epoch(1), &registered, None, &numbers);
        match FrontierPools.allocate(&standings, &context).unwrap() {
            Allocation::Pay { shares, burn } => {
                (shares.iter().map(|(hotkey, share)| (hotkey.0[0], share.get())).collect(), burn.get())
            }
            _ => (BTreeMap::new(), 1.0),
        }
    }
}

impl Measured {
    fn precedence(&self) -> Precedence {
        Precedence { block: Block(u64::from(self.place)), extrinsic: 0, hotkey: Hotkey([self.place; 32]), local: false }
    }

    fn candidate<'a>(&self, runs: &'a [Evidence]) -> Candidate<'a> {
        Candidate {
            submission: SubmissionId::of_parts("test", &[&[self.place]]),
            kind: self.kind,
            precedence: self.precedence(),
            family: self.family,
            runs,
            incumbent: false,
        }
    }
}

fn spec(name: &str) -> GraphSpec {
    baselines::spec(name).unwrap().unwrap()
}

/// Muon on the matrices, as its paper has it, and the reference's optimizer at three times its rate on the rest.
fn muon() -> Recipe {
    let text = r#"{"recipe":"prism.recipe/1","optimizer":{"kind":"adamw","learning_rate":0.003},"clip":1.0,
        "groups":[{"roles":["matrix"],"optimizer":{"kind":"muon","learning_rate":0.02}}],
        "schedule":{"kind":"cosine","warmup":0.05,"floor":0.1}}"#;
    serde_json::from_str::<RecipeSpec>(text).unwrap().resolve().unwrap()
}

#[test]
fn better_work_is_paid_once_and_its_copy_and_the_baseline_nothing() {
    let rates = [1.0, 3.0].map(|rate| Finite::new(rate).unwrap()).to_vec();
    let plan = PlanPolicy {
        steps: 60,
        batch: 8,
        points: 3,
        rows: 16,
        audits: 16,
        held_out_rows: 16,
        rates,
        ..PlanPolicy::smoke()
    };
    // A margin for runs as short as these.
    let margin = Finite::new(0.01).unwrap();
    let reward = RewardNumbers { margin, confirmations: Finite::ONE, ..RewardNumbers::default() };
    let mut house = House::new(PrismPolicy { plan, reward, ..PrismPolicy::smoke() });
    let only = SubmissionKind::ArchitectureOnly;
    let baseline = house.measure(0, only, &spec("gpt"), None);
    let same = house.measure(1, only, &spec("gpt"), None);
    assert_eq!(house.runs.len(), 2, "equal work is one task");
    let better = house.measure(2, only, &spec("llama"), None);
    let recipe = house.measure(3, SubmissionKind::TrainingForArch, &spec("gpt"), Some(&muon()));
    let full = house.measure(4, SubmissionKind::Full, &spec("llama"), Some(&muon()));
    assert_eq!(house.runs.len(), 6, "equal work is one task");

    let candidates = [same, better, recipe, full];
    let cards = house.score(&candidates, &[baseline]);
    let advantage = |card: usize, track| cards[card].tracks.get(&track).map(|score| score.advantage.mean.get());
    let total = |card: usize| cards[card].total.unwrap().get();
    assert_eq!((total(0), advantage(0, Track::Architecture)), (0.5, Some(0.0)));
    assert!(total(1) > 0.5 && advantage(1, Track::Architecture) > Some(0.05));
    assert!(total(2) > 0.5 && advantage(2, Track::Training) > Some(0.05));
    assert_eq!(cards[3].tracks[&Track::Architecture], cards[1].tracks[&Track::Architecture]);

    let (shares, burn) = house.pay(&candidates, &cards);
    assert!((shares.values().sum::<f64>() + burn - 1.0).abs() < 1e-12);
    assert!(!shares.contains_key(&1) && shares[&2] >= 0.59 && shares[&3] > 0.0);
    // The copied architecture brings nothing on its track.
    let without = house.pay(&candidates[..3], &cards[..3]).0;
    assert_eq!(shares[&2], without[&2]);
}
