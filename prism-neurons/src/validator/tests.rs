//! Whole cohorts over fakes: what becomes of everybody, and that a kill between any two transactions changes nothing of it.
use super::*;
use crate::{
    http::Api,
    intake::{Intake, IntakeLimits, IntakeParts, IntakeSource},
    store::{
        FileArtifacts,
        intake::Arrival,
        payments::AllocationRecord,
        submissions::{Reason, SubmissionRecord},
    },
};
use async_trait::async_trait;
use prism_core::{
    Block, Digest, Epoch, Error, Evidence, Fault, Finite, Hotkey, Kind, Receipt, ScoreCard, SubmissionId, Uid,
    WeightIntent,
    artifacts::ArtifactsExt,
    evidence::Audit,
    plan::{RunRole, Subject},
    receipt::Stage,
    score::Track,
    submission::{SubmissionKind, SubmissionStatus},
    testing::{
        fakes::{FakeChain, ManualClock, RecordingSetter, Script, ScriptedTrainer},
        sample,
    },
};
use prism_eval::{bundle, graph::baselines, policy::Trial};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

const NETUID: Netuid = Netuid(7);
const VALIDATOR: Hotkey = Hotkey([100; 32]);
pub(super) const ALICE: Hotkey = Hotkey([1; 32]);
pub(super) const BOB: Hotkey = Hotkey([2; 32]);
const CAROL: Hotkey = Hotkey([3; 32]);
const DAVE: Hotkey = Hotkey([4; 32]);

const RECIPE: &str = "recipe: prism.recipe/1\noptimizer: { kind: adamw, learning_rate: 0.003 }\n";
const PYTHON: &str = "def build_model(ctx):\n    pass\n\ndef get_recipe(ctx):\n    return {}\n";

/// Whoever sleeps lets the chain make a block.
#[derive(Debug, Clone)]
pub(crate) struct ChainClock {
    pub(crate) chain: FakeChain,
    pub(crate) time: ManualClock,
}

#[async_trait]
impl Clock for ChainClock {
    fn now(&self) -> SystemTime {
        self.time.now()
    }
    fn monotonic(&self) -> Duration {
        self.time.monotonic()
    }
    async fn sleep(&self, span: Duration) {
        self.chain.next_block();
        self.time.advance(span);
        tokio::task::yield_now().await;
    }
}

/// All that outlives a process: the chain and the disk.
pub(super) struct World {
    pub(super) chain: FakeChain,
    pub(super) clock: ChainClock,
    pub(super) folder: tempfile::TempDir,
    setter: RecordingSetter,
    trained: Arc<AtomicU64>,
}

/// What a cohort came to, but for the blocks at which things happened.
#[derive(Debug, PartialEq)]
struct End {
    submissions: BTreeMap<Hotkey, (SubmissionStatus, Option<Reason>)>,
    cards: Vec<ScoreCard>,
    evidence: BTreeMap<SubmissionId, Vec<Evidence>>,
    standings: Vec<(SubmissionId, Track, Finite)>,
    allocation: prism_core::reward::Allocation,
    weights: BTreeMap<Uid, u16>,
    included: usize,
}

impl World {
    pub(super) fn new() -> Self {
        let chain = FakeChain::new(NETUID);
        for hotkey in [VALIDATOR, ALICE, BOB, CAROL, DAVE] {
            chain.register(hotkey, hotkey == VALIDATOR, 1);
        }
        // At the start of an epoch, so that the whole cohort is paid in it.
        while chain.tip().block < Block(10) {
            chain.next_block();
        }
        let clock = ChainClock { chain: chain.clone(), time: ManualClock::default() };
        let setter = RecordingSetter::new(chain.clone(), VALIDATOR);
        Self { chain, clock, folder: tempfile::tempdir().unwrap(), setter, trained: Arc::default() }
    }

    pub(super) fn artifacts(&self) -> Arc<FileArtifacts> {
        Arc::new(FileArtifacts::open(self.folder.path().join("artifacts")).unwrap())
    }

    pub(super) fn store(&self) -> Store {
        Store::open(self.folder.path().join("prism.db")).unwrap()
    }

    pub(super) fn builder(&self, store: &Store, trainer: impl Trainer) -> ValidatorBuilder {
        Validator::builder()
            .subnet(NETUID, MechanismId(0))
            .chain(self.chain.clone())
            .source(IntakeSource::new(store.clone()))
            .store(store.clone())
            .artifacts(self.artifacts())
            .trainer(trainer)
            .baselines(vec![Baseline::shipped("gpt").unwrap()])
            .weight_setter(self.setter.clone())
            .clock(Arc::new(self.clock.clone()))
            .policy(PrismPolicy::smoke())
            .data(DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 })
            .cohorts(CohortRule { blocks: 100, seed: SeedRule::Chain { delay: 2 } })
            .retry(RetryRule { attempts: 3, pause: Duration::from_secs(1), checkpoint_every: Duration::ZERO })
            .workers(2)
    }

    /// What the HTTP routes look at, for a validator of this world.
    pub(crate) fn api(&self, store: &Store, validator: &Validator, clock: Arc<dyn Clock>) -> Api {
        let chain: Arc<dyn ChainView> = Arc::new(self.chain.clone());
        let intake = Intake::new(IntakeParts {
            netuid: validator.0.netuid,
            chain: Arc::clone(&chain),
            store: store.clone(),
            artifacts: self.artifacts(),
            precheck: Arc::new(validator.clone()),
            clock: Arc::clone(&clock),
            validator: None,
            limits: IntakeLimits::default(),
        });
        Api { intake, store: store.clone(), chain, clock }
    }

    /// Shows an advantage for the Llama-like graph, and a smaller one for any recipe.
    pub(super) fn trainer(&self) -> ScriptedTrainer {
        let trained = Arc::clone(&self.trained);
        let llama = resolved("llama");
        ScriptedTrainer::new(move |task| {
            trained.fetch_add(1, Ordering::SeqCst);
            let better = matches!(task.subject, Subject::Native { graph, .. } if graph == llama);
            let architecture = if better { 3.5 } else { 4.5 };
            let end = if task.role == RunRole::Recipe { architecture - 0.5 } else { architecture };
            let mut evidence = sample::evidence(task, end);
            if matches!(task.subject, Subject::Guest { .. }) {
                for point in evidence.points.iter_mut().chain(&mut evidence.held_out) {
                    let audit = |row| Audit { row, position: 0, claimed: Finite::ONE, audited: Finite::ONE };
                    point.audits = (0..).map(audit).take(point.row_bits.len()).collect();
                }
            }
            Script::Shows(Box::new(evidence))
        })
        .with_python(false)
    }

    /// What came over HTTP before: accepted rows and kept bundles.
    pub(super) async fn submit(
        &self,
        store: &Store,
        hotkey: Hotkey,
        bundle: &[u8],
        kind: SubmissionKind,
    ) -> SubmissionId {
        let archive = self.artifacts().keep_bytes(bundle).await.unwrap();
        let arrival = Arrival {
            hotkey,
            nonce: archive.to_string(),
            keep_nonce_until: self.clock.now(),
            name: None,
            kind,
            archive,
            bytes: bundle.len() as u64,
            block: self.chain.tip().finalized,
            quota: 9,
            received_at: self.clock.now(),
        };
        store.accept(arrival).await.unwrap().unwrap().submission.id
    }

    pub(super) async fn submit_all(&self, store: &Store) {
        let full = packed("kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n", "llama");
        self.submit(store, ALICE, &full, SubmissionKind::ArchitectureOnly).await;
        let recipe = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: recipe.yaml }\n";
        self.submit(store, BOB, &packed(recipe, ""), SubmissionKind::TrainingForArch).await;
        let unknown = recipe.replace("gpt", "rnn");
        self.submit(store, CAROL, &packed(&unknown, ""), SubmissionKind::TrainingForArch).await;
        self.submit(store, DAVE, PYTHON.as_bytes(), SubmissionKind::Full).await;
    }

    async fn end(&self, store: &Store) -> End {
        let records = store.submissions(None, None, 99).await.unwrap();
        let by_hotkey = |record: SubmissionRecord| (record.submission.hotkey, (record.status, record.reason));
        let standings = store.standings().await.unwrap().showings;
        let allocations: Vec<AllocationRecord> = store.allocations(9).await.unwrap();
        End {
            submissions: records.into_iter().map(by_hotkey).collect(),
            cards: store.cards(1).await.unwrap(),
            evidence: store.evidence(1).await.unwrap(),
            standings: standings.into_iter().map(|s| (s.submission, s.track, s.advantage.mean)).collect(),
            allocation: allocations.first().unwrap().allocation.clone(),
            weights: self.chain.weights(VALIDATOR),
            included: self.chain.included().len(),
        }
    }
}

pub(super) fn packed(manifest: &str, graph: &str) -> Vec<u8> {
    let mut files = BTreeMap::from([("prism.yaml".to_owned(), manifest.to_owned())]);
    match baselines::document(graph) {
        Some(document) => files.insert("model.graph.yaml".into(), document.into()),
        None => files.insert("recipe.yaml".into(), RECIPE.into()),
    };
    bundle::pack(&files).unwrap()
}

/// Digest of a shipped graph as the smoke policy resolves it.
pub(super) fn resolved(name: &str) -> Digest {
    let plan = PrismPolicy::smoke().plan;
    let context = plan.context(256);
    let graph = baselines::spec(name).unwrap().unwrap().resolve(&context, &plan.limits().within(&context)).unwrap();
    Digest::of(&graph.canonical_bytes())
}

#[tokio::test]
async fn a_cohort_goes_from_bundles_to_weights_on_the_chain() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();

    let end = world.end(&store).await;
    let status = |hotkey| (end.submissions[&hotkey].0, end.submissions[&hotkey].1.as_ref().map(|r| r.rule.as_str()));
    assert_eq!(status(ALICE), (SubmissionStatus::Completed, None));
    assert_eq!(status(BOB), (SubmissionStatus::Completed, None));
    assert_eq!(status(CAROL), (SubmissionStatus::Rejected, Some("family.unknown")));
    assert_eq!(status(DAVE), (SubmissionStatus::Held, Some("sandbox.none")));
    let tracks: Vec<Track> = end.standings.iter().map(|(_, track, _)| *track).collect();
    assert!(tracks.contains(&Track::Architecture) && tracks.contains(&Track::Training), "{tracks:?}");
    // Slots follow the order of registration; Alice and Bob are paid, the rest is burned to slot 0.
    let paid: Vec<u16> = end.weights.keys().map(|uid| uid.0).filter(|uid| *uid != 0).collect();
    assert_eq!((paid, end.included), (vec![1, 2], 1));
    let llama = store.family(&family_of(&store, ALICE).await).await.unwrap().unwrap();
    assert_eq!((llama.owner, llama.name), (Some(ALICE), None));
}

async fn family_of(store: &Store, hotkey: Hotkey) -> String {
    let records = store.submissions(None, None, 99).await.unwrap();
    let own = records.into_iter().find(|record| record.submission.hotkey == hotkey).unwrap();
    own.family.unwrap().to_string()
}

#[tokio::test]
async fn a_kill_between_any_two_transactions_changes_nothing_of_the_end() {
    let run = async |deaths: &[i64]| {
        let world = World::new();
        let store = world.store();
        world.builder(&store, world.trainer()).build().unwrap().start().await.unwrap();
        world.submit_all(&store).await;
        drop(store);
        let mut killed = 0;
        for writes in deaths {
            let store = world.store();
            store.die_after(*writes);
            let validator = world.builder(&store, world.trainer()).build().unwrap();
            if validator.run_cohort(&Cancel::new()).await.is_err() {
                killed += 1;
            }
        }
        let store = world.store();
        let validator = world.builder(&store, world.trainer()).build().unwrap();
        validator.run_cohort(&Cancel::new()).await.unwrap();
        assert!(store.unwritten_cohorts(9).await.unwrap().is_empty(), "a manifest was never written");
        (killed, world.end(&store).await, world.setter.intents().len())
    };
    let (_, whole, _) = run(&[]).await;
    assert_eq!(whole.included, 1);
    let mut kills = 0;
    for writes in 0.. {
        let (killed, end, _) = run(&[writes]).await;
        assert_eq!(end, whole, "killed after {writes} transactions");
        if killed == 0 {
            break;
        }
        kills += killed;
    }
    assert!(kills > 20, "only {kills} places to be killed at were found");
    // Killed again and again, ever a little later.
    let (killed, end, _) = run(&[1, 2, 3, 5, 8, 9, 12]).await;
    assert_eq!((killed > 4, end), (true, whole));
}

#[tokio::test]
async fn a_machine_that_fails_is_tried_again_and_then_given_up_without_blame_on_others() {
    a_machine_fails(PrismPolicy::smoke(), true).await;
}

#[tokio::test]
async fn what_a_machine_gave_up_after_a_trial_was_not_ended_by_that_trial() {
    let mut policy = PrismPolicy::smoke();
    policy.plan.trial = Some(Trial { percent: 50, ..Trial::default() });
    a_machine_fails(policy, false).await;
}

/// Alice's runs fail for good, the trials among them or not, and everybody else's twice.
async fn a_machine_fails(policy: PrismPolicy, trials: bool) {
    let world = World::new();
    let store = world.store();
    let seen: Arc<Mutex<BTreeMap<Digest, u32>>> = Arc::default();
    let llama = resolved("llama");
    let counted = Arc::clone(&seen);
    let trainer = ScriptedTrainer::new(move |task| {
        let Subject::Native { graph, .. } = task.subject else { panic!("no native task") };
        let mut seen = counted.lock().unwrap();
        let tries = seen.entry(Digest(task.id().0)).or_default();
        *tries += 1;
        let passes = !trials && matches!(task.role, RunRole::Trial { .. });
        let fails = (graph == llama && !passes) || *tries < 3;
        if fails {
            let error = Error::new(Kind::Unavailable, Fault::Infrastructure, "out of memory");
            return Script::Fails(error.retry(prism_core::Retry::Now));
        }
        Script::Shows(Box::new(sample::evidence(task, if task.role == RunRole::Recipe { 4.0 } else { 4.5 })))
    });
    let validator = world.builder(&store, trainer.with_python(false)).policy(policy).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let end = world.end(&store).await;
    let (status, reason) = &end.submissions[&ALICE];
    let rule = reason.as_ref().map(|reason| reason.rule.as_str());
    assert_eq!((*status, rule), (SubmissionStatus::Failed, Some("run.infrastructure")));
    assert_eq!(end.submissions[&BOB].0, SubmissionStatus::Completed);
    assert!(seen.lock().unwrap().values().all(|tries| *tries == 3), "{seen:?}");
}

#[tokio::test]
async fn a_cancelled_validator_stops_and_goes_on_where_it_was() {
    let world = World::new();
    let store = world.store();
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let trainer = ScriptedTrainer::new(move |_| {
        stop.cancel();
        Script::Endless
    });
    let validator = world.builder(&store, trainer).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    assert_eq!(validator.run_cohort(&cancel).await.unwrap_err().kind(), Kind::Cancelled);
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(world.end(&store).await.submissions[&ALICE].0, SubmissionStatus::Completed);
}

#[tokio::test]
async fn all_that_was_accepted_before_a_cohort_closes_is_in_it() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    // While another one was measured its blocks passed, and more came than one poll takes.
    for n in 0..70 {
        world.submit(&store, Hotkey([n + 10; 32]), b"no bundle", SubmissionKind::ArchitectureOnly).await;
    }
    for _ in 0..120 {
        world.chain.next_block();
    }
    validator.measure_step(&Cancel::new()).await.unwrap();
    let cohort = store.unsettled_cohort().await.unwrap().unwrap();
    assert_eq!((cohort.number, store.submissions(Some(1), None, 99).await.unwrap().len()), (1, 70));
}

#[tokio::test]
async fn equal_work_is_trained_once() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    let manifest = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
    for hotkey in [ALICE, BOB] {
        world.submit(&store, hotkey, &packed(manifest, "llama"), SubmissionKind::ArchitectureOnly).await;
    }
    world.submit(&store, CAROL, &packed(manifest, "gpt"), SubmissionKind::ArchitectureOnly).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let plan = PrismPolicy::smoke().plan;
    let [rates, probes, work] = [plan.rates.len(), plan.probes.len(), plan.work.len()].map(|count| count as u64);
    let expected = 2 * (rates + probes) + work;
    let text = "one grid and its probes for each graph, and the baseline's further work";
    assert_eq!(world.trained.load(Ordering::SeqCst), expected, "{text}");
    let end = world.end(&store).await;
    let families: Vec<String> = [family_of(&store, ALICE).await, family_of(&store, BOB).await].into();
    assert_eq!(families[0], families[1]);
    let paid: Vec<u16> = end.weights.keys().map(|uid| uid.0).filter(|uid| *uid != 0).collect();
    assert_eq!(paid, [1], "the copy and the baseline are worth nothing");
}

#[tokio::test]
async fn python_waits_for_a_trainer_that_takes_it_and_then_goes_on() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    world.submit(&store, DAVE, PYTHON.as_bytes(), SubmissionKind::Full).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let status = async || {
        let record = store.submissions(None, None, 9).await.unwrap().remove(0);
        (record.status, record.reason.map(|reason| format!("{}: {}", reason.rule, reason.text)))
    };
    let (held, reason) = status().await;
    assert_eq!(held, SubmissionStatus::Held);
    assert!(reason.as_deref().is_some_and(|reason| reason.starts_with("sandbox.none")), "{reason:?}");

    let baselines = ["gpt", "gpt-python"].map(|name| Baseline::shipped(name).unwrap());
    let python = world.trainer().with_python(true);
    let validator = world.builder(&store, python).baselines(baselines.into()).build().unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(status().await, (SubmissionStatus::Completed, None));
    let cohort = store.unsettled_cohort().await.unwrap().map_or(1, |cohort| cohort.number);
    let cards = store.cards(cohort).await.unwrap();
    let total = cards.iter().find(|card| card.total.is_some());
    assert!(total.is_some(), "{cards:?}");
}

#[tokio::test]
async fn a_title_is_paid_only_after_a_second_cohort_confirms_it() {
    let world = World::new();
    let store = world.store();
    let mut policy = PrismPolicy::smoke();
    policy.score.require_confirmation = Finite::ONE;
    let validator = world.builder(&store, world.trainer()).policy(policy).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    let paid = || world.chain.weights(VALIDATOR).into_keys().filter(|uid| uid.0 != 0).collect::<Vec<Uid>>();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!((store.standings().await.unwrap().showings.len(), paid()), (0, vec![]));
    // The epoch that burned is over.
    let epoch = world.chain.tip().block.0 / 10;
    while world.chain.tip().finalized.0 / 10 <= epoch {
        world.chain.next_block();
    }
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let confirmed: Vec<Hotkey> = store.standings().await.unwrap().showings.iter().map(|s| s.hotkey).collect();
    assert_eq!((confirmed, paid()), (vec![ALICE, BOB], vec![Uid(1), Uid(2)]));
    let cohorts = store.cohorts(9).await.unwrap();
    let seeds: Vec<_> = cohorts.iter().filter_map(|cohort| cohort.seed).collect();
    assert!(seeds.len() == 2 && seeds[0] != seeds[1], "confirmed on other rows: {seeds:?}");
}

/// Commits instead of setting: a commitment is revealed two epochs later, but for the first one's.
#[derive(Debug, Clone)]
struct CommittingSetter {
    inner: RecordingSetter,
    chain: FakeChain,
}

#[async_trait]
impl WeightSetter for CommittingSetter {
    fn name(&self) -> &str {
        "committing"
    }
    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        self.inner.prepare(intent).await
    }
    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        let (head, epoch) = (self.chain.tip(), receipt.intent.epoch);
        let stage = match &receipt.stage {
            Stage::Finalized { .. } => Stage::Committed { round: Some(1), epoch, due: Block(10 * (epoch.0 + 2)) },
            Stage::Committed { due, .. } if head.finalized < *due => return Ok(receipt.clone()),
            Stage::Committed { .. } if self.inner.intents()[0].epoch == epoch => Stage::RevealMissed,
            Stage::Committed { due, .. } => Stage::Revealed { block: *due },
            Stage::Revealed { block } => Stage::ReadBack { block: *block, uids: receipt.vector.clone() },
            _ => return self.inner.advance(receipt).await,
        };
        Ok(receipt.enter(head.block, stage))
    }
}

#[tokio::test]
async fn commitments_follow_each_other_and_a_missed_reveal_is_made_up_for() {
    let world = World::new();
    let store = world.store();
    let setter = CommittingSetter { inner: world.setter.clone(), chain: world.chain.clone() };
    let validator = world.builder(&store, world.trainer()).weight_setter(setter).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();

    let epochs: Vec<u64> = world.setter.intents().iter().map(|intent| intent.epoch.0).collect();
    let first = epochs[0];
    assert!(epochs.len() >= 3, "epoch {first} was not revealed before the next two committed: {epochs:?}");
    assert!(epochs.iter().copied().eq(first..first + epochs.len() as u64), "one vector for each epoch: {epochs:?}");
    let stage = async |epoch| {
        let receipts = store.receipts(Epoch(epoch)).await.unwrap();
        assert_eq!(receipts.len(), 1);
        receipts[0].receipt.stage.name()
    };
    assert_eq!((stage(first).await, stage(first + 1).await), ("reveal_missed", "read_back"));
    assert_eq!(store.last_landed().await.unwrap(), Some(Epoch(first + 1)));
}
