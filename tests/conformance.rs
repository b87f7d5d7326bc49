//! The conformance kit from outside: core's own implementations, then those that ship above it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use async_trait::async_trait;
use prism_core::{
    Artifacts, Block, ChainView, Clock, Digest, Epoch, Finite, Hotkey, MechanismId, Netuid, Nonces, Observer, Result,
    Reviewer, RewardPolicy, ScoreCard, SubmissionId, SubmissionSource, TrainTask, Trainer, WeightIntent, WeightSetter,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    observer::Unobserved,
    plan::Subject,
    reviewer::{Finding, Grade},
    reward::{Allocation, BurnAll, reward_fn},
    scorer_fn,
    submission::{FailureClass, Precedence, Submission},
    testing::{
        artifacts::{self, ArtifactsDriver},
        block_on,
        chain_view::{self, ChainViewDriver},
        clock::{self, ClockDriver},
        fakes::{
            FakeChain, ManualClock, MemoryNonces, MemorySource, Reading, RecordingObserver, RecordingSetter, Script,
            ScriptedReviewer, ScriptedTrainer,
        },
        nonces::{self, NoncesDriver},
        observer::{self, ObserverDriver},
        reviewer::{self, Files, ReviewerDriver},
        reward, sample, scorer,
        source::{self, SourceDriver},
        trainer::{self, TrainerDriver},
        weight_setter::{self, Ledger, WeightSetterDriver},
    },
};
use prism_eval::{
    reward::{FrontierPools, OwnershipSplit},
    score::{PrequentialScorer, PrismScorer},
};
use prism_neurons::store::{FileArtifacts, Store};
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

const NETUID: Netuid = Netuid(1);

struct Memory(MemorySource, u64);

#[async_trait]
impl SourceDriver for Memory {
    fn source(&self) -> &dyn SubmissionSource {
        &self.0
    }
    async fn add(&mut self) -> Result<SubmissionId> {
        self.1 += 1;
        let hotkey = Hotkey([3; 32]);
        let precedence = Precedence { block: Block(self.1), extrinsic: 0, hotkey, local: false };
        let submission = Submission::bundle(hotkey, precedence, Digest::of(&self.1.to_be_bytes()), 8);
        self.0.push(submission.clone())?;
        Ok(submission.id)
    }
    async fn restart(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn memory_source_conforms() {
    block_on(source::run(async || Ok(Memory(MemorySource::new(), 0)))).assert_ok();
}

struct InMemory(MemoryArtifacts);

#[async_trait]
impl ArtifactsDriver for InMemory {
    fn artifacts(&self) -> &dyn Artifacts {
        &self.0
    }
    async fn spoil(&mut self, _: Digest) -> Result<bool> {
        Ok(false)
    }
}

#[test]
fn memory_artifacts_conform() {
    block_on(artifacts::run(async || Ok(InMemory(MemoryArtifacts::new())))).assert_ok();
}

struct InFolder {
    artifacts: FileArtifacts,
    _folder: tempfile::TempDir,
}

#[async_trait]
impl ArtifactsDriver for InFolder {
    fn artifacts(&self) -> &dyn Artifacts {
        &self.artifacts
    }
    async fn spoil(&mut self, digest: Digest) -> Result<bool> {
        let path = self.artifacts.path(digest);
        let mut bytes = fs::read(&path).unwrap();
        bytes[50_000] ^= 1;
        fs::write(&path, bytes).unwrap();
        Ok(true)
    }
}

#[tokio::test]
async fn file_artifacts_conform() {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        Ok(InFolder { artifacts: FileArtifacts::open(folder.path())?, _folder: folder })
    };
    artifacts::run(fresh).await.assert_ok();
}

struct SpentInMemory(MemoryNonces);

#[async_trait]
impl NoncesDriver for SpentInMemory {
    fn nonces(&self) -> &dyn Nonces {
        &self.0
    }
    async fn restart(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn memory_nonces_conform() {
    let fresh = async || Ok(SpentInMemory(MemoryNonces::new(Arc::new(ManualClock::default()))));
    block_on(nonces::run(fresh)).assert_ok();
}

struct Spent {
    store: Option<Store>,
    folder: tempfile::TempDir,
}

#[async_trait]
impl NoncesDriver for Spent {
    fn nonces(&self) -> &dyn Nonces {
        self.store.as_ref().unwrap()
    }
    async fn restart(&mut self) -> Result<()> {
        self.store = None;
        self.store = Some(Store::open(self.folder.path().join("prism.sqlite"))?);
        Ok(())
    }
}

#[tokio::test]
async fn the_stores_nonces_conform() {
    let fresh = async || {
        let folder = tempfile::tempdir().unwrap();
        let mut spent = Spent { store: None, folder };
        spent.restart().await?;
        Ok(spent)
    };
    nonces::run(fresh).await.assert_ok();
}

struct Hand(ManualClock);

#[async_trait]
impl ClockDriver for Hand {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.0.clone())
    }
    fn is_manual(&self) -> bool {
        true
    }
    async fn pass(&mut self, span: Duration) {
        self.0.advance(span);
    }
}

#[test]
fn manual_clock_conforms() {
    block_on(clock::run(async || Ok(Hand(ManualClock::default())))).assert_ok();
}

#[derive(Debug, Clone, Copy)]
struct Tokio(Instant);

#[async_trait]
impl Clock for Tokio {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

impl ClockDriver for Tokio {
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(*self)
    }
}

#[tokio::test]
async fn a_clock_over_tokio_conforms() {
    clock::run(async || Ok(Tokio(Instant::now()))).await.assert_ok();
}

struct Watched<O>(Arc<O>, fn(&O) -> Option<u64>);

impl<O: Observer> ObserverDriver for Watched<O> {
    fn observer(&self) -> Arc<dyn Observer> {
        Arc::clone(&self.0) as _
    }
    fn seen(&self) -> Option<u64> {
        (self.1)(&self.0)
    }
}

#[test]
fn observers_conform() {
    observer::run(|| Watched(Arc::new(Unobserved), |_| None)).assert_ok();
    observer::run(|| Watched(Arc::new(RecordingObserver::new()), |o| Some(o.events().len() as u64))).assert_ok();
}

#[test]
fn scorers_conform() {
    let nothing = || {
        scorer_fn("nothing", 1, |candidate, _| {
            let mut card =
                ScoreCard::without_total(candidate.submission, candidate.family, "nothing/1", "worth nothing");
            card.total = Some(Finite::ZERO);
            Ok(card)
        })
    };
    scorer::run(&|| Box::new(nothing()), &sample::round()).assert_ok();
    scorer::run(&|| Box::new(PrequentialScorer), &sample::round()).assert_ok();
    scorer::run(&|| Box::new(PrismScorer), &sample::round()).assert_ok();
}

#[test]
fn reward_policies_conform() {
    let evenly = || {
        reward_fn("evenly", |standings, _| {
            let ahead = standings.showings.iter().filter(|s| s.advantage.mean > Finite::ZERO);
            ahead.map(|s| (s.hotkey, Finite::ONE)).collect()
        })
    };
    reward::run(&|| Box::new(BurnAll), &sample::reward_case()).assert_ok();
    reward::run(&|| Box::new(evenly()), &sample::reward_case()).assert_ok();
    let pools: [fn() -> Box<dyn RewardPolicy>; 2] = [|| Box::new(FrontierPools), || Box::new(OwnershipSplit)];
    for fresh in pools {
        let case = sample::reward_case();
        // One that never pays would pass, too.
        let allocation = fresh().allocate(&case.standings, &case.context()).unwrap();
        assert!(matches!(allocation, Allocation::Pay { .. }), "{allocation:?}");
        reward::run(&fresh, &case).assert_ok();
    }
}

struct Advised(ScriptedReviewer);

impl ReviewerDriver for Advised {
    fn reviewer(&self) -> &dyn Reviewer {
        &self.0
    }
    fn guilty(&self) -> Files {
        vec![("train.py".into(), b"exec(input())".to_vec())]
    }
    fn endless(&self) -> Files {
        vec![]
    }
}

#[test]
fn scripted_reviewer_conforms() {
    let script = || {
        ScriptedReviewer::new(true, |source| {
            let Some((file, _)) = source.files.first() else { return Reading::Endless };
            let (rule, text) = ("no-exec".into(), "runs what it reads".into());
            Reading::Found(vec![Finding { rule, file: file.clone(), line: 1, text, grade: Grade::Proof }])
        })
    };
    block_on(reviewer::run(async || Ok(Advised(script())))).assert_ok();
}

struct Told(Arc<MemoryArtifacts>);

impl Told {
    fn task(bundle: &[u8]) -> TrainTask {
        TrainTask { subject: Subject::Guest { bundle: Digest::of(bundle), recipe: None }, ..sample::task() }
    }
}

impl TrainerDriver for Told {
    fn trainer(&self) -> Arc<dyn Trainer> {
        Arc::new(ScriptedTrainer::new(|task| {
            if *task == Self::task(b"endless") {
                return Script::Endless;
            }
            Script::Shows(Box::new(if *task == Self::task(b"failing") {
                sample::failed_evidence(task, FailureClass::MinerCode)
            } else {
                sample::evidence(task, 3.0)
            }))
        }))
    }
    fn artifacts(&self) -> Arc<dyn Artifacts> {
        Arc::clone(&self.0) as _
    }
    fn task(&self) -> TrainTask {
        Self::task(b"fine")
    }
    fn failing_task(&self) -> TrainTask {
        Self::task(b"failing")
    }
    fn endless_task(&self) -> TrainTask {
        Self::task(b"endless")
    }
    fn lying_task(&self) -> Option<(TrainTask, Finite)> {
        None
    }
}

#[test]
fn scripted_trainer_conforms() {
    let fresh = async || {
        let artifacts = Arc::new(MemoryArtifacts::new());
        for bundle in [&b"fine"[..], b"failing", b"endless"] {
            artifacts.keep_bytes(bundle).await?;
        }
        Ok(Told(artifacts))
    };
    block_on(trainer::run(fresh)).assert_ok();
}

struct Fake(FakeChain);

#[async_trait]
impl ChainViewDriver for Fake {
    fn view(&self) -> &dyn ChainView {
        &self.0
    }
    fn netuid(&self) -> Netuid {
        self.0.netuid()
    }
    async fn next_block(&mut self) -> Result<()> {
        self.0.next_block();
        Ok(())
    }
    async fn reorganise(&mut self) -> Result<()> {
        self.0.reorganise();
        Ok(())
    }
}

#[test]
fn fake_chain_conforms() {
    let fresh = async || {
        let chain = FakeChain::new(NETUID);
        chain.register(Hotkey([5; 32]), true, 1);
        chain.register(Hotkey([4; 32]), true, 1);
        Ok(Fake(chain))
    };
    block_on(chain_view::run(fresh)).assert_ok();
}

struct Pays(FakeChain, RecordingSetter);

const VALIDATOR: Hotkey = Hotkey([1; 32]);
const MINER: Hotkey = Hotkey([2; 32]);

#[async_trait]
impl WeightSetterDriver for Pays {
    fn setter(&self) -> &dyn WeightSetter {
        &self.1
    }
    async fn restart(&mut self) -> Result<()> {
        self.1 = RecordingSetter::new(self.0.clone(), VALIDATOR);
        Ok(())
    }
    fn intent(&self) -> WeightIntent {
        WeightIntent {
            netuid: NETUID,
            mechanism: MechanismId(0),
            epoch: Epoch(0),
            shares: [(MINER, Finite::new(0.75).unwrap())].into(),
            burn: Finite::new(0.25).unwrap(),
            version_key: 0,
            policy: Digest::of(b"policy"),
        }
    }
    async fn next_block(&mut self) -> Result<()> {
        self.0.next_block();
        Ok(())
    }
    async fn withhold(&mut self, yes: bool) -> Result<()> {
        self.0.withhold(yes);
        Ok(())
    }
    async fn ledger(&self) -> Result<Ledger> {
        let finalized = self.0.tip().finalized;
        let (taken, included, weights) = (self.0.taken(), self.0.included(), self.0.weights(VALIDATOR));
        Ok(Ledger { taken, included, finalized, weights })
    }
}

#[test]
fn recording_setter_conforms() {
    let fresh = async || {
        let chain = FakeChain::new(NETUID);
        chain.register(VALIDATOR, true, 1);
        chain.register(MINER, false, 0);
        Ok(Pays(chain.clone(), RecordingSetter::new(chain, VALIDATOR)))
    };
    block_on(weight_setter::run(fresh)).assert_ok();
}
