//! What a failure costs: nothing of what others are at.
use super::{
    tests::{ALICE, BOB, World, packed},
    *,
};
use crate::store::{
    claims::{Next, Terms},
    runs::{RunRecord, RunStatus},
};
use async_trait::async_trait;
use prism_core::{
    Block, Epoch, Evidence, TrainTask,
    chain_view::{Head, Neuron},
    submission::SubmissionKind,
    testing::{
        fakes::{FakeChain, Script, ScriptedTrainer},
        sample,
    },
    trainer::{Surroundings, TrainerInfo},
};
use prism_eval::policy::{ExecutionTargets, GpuPolicy};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

/// A chain that may be out of reach.
#[derive(Debug)]
struct Away {
    chain: FakeChain,
    away: Arc<AtomicBool>,
}

impl Away {
    fn on(&self) -> Result<&FakeChain> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Unavailable, Fault::Infrastructure, "no node answers"));
        }
        Ok(&self.chain)
    }
}

#[async_trait]
impl ChainView for Away {
    async fn head(&self) -> Result<Head> {
        self.on()?.head().await
    }
    async fn finalized_hash(&self, block: Block) -> Result<[u8; 32]> {
        self.on()?.finalized_hash(block).await
    }
    async fn epoch_at(&self, netuid: Netuid, block: Block) -> Result<Epoch> {
        self.on()?.epoch_at(netuid, block).await
    }
    async fn neurons(&self, netuid: Netuid, at: Block) -> Result<Vec<Neuron>> {
        self.on()?.neurons(netuid, at).await
    }
}

/// A cohort with a submission, about to be measured.
async fn seeded(world: &World, store: &Store, validator: &Validator) {
    validator.start().await.unwrap();
    world.submit(store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await;
    validator.take_in_step().await.unwrap();
    validator.examine_step(&Cancel::new()).await.unwrap();
    validator.close_now().await.unwrap();
    for _ in 0..9 {
        world.chain.next_block();
    }
    assert!(validator.seed_step().await.unwrap());
}

async fn runs(store: &Store) -> Vec<RunRecord> {
    let mut runs = Vec::new();
    for entrant in store.entrants(1).await.unwrap() {
        runs.extend(store.runs(1, entrant.submission).await.unwrap());
    }
    runs
}

#[tokio::test]
async fn a_chain_that_is_out_of_reach_stops_no_run_of_a_seeded_cohort() {
    let world = World::new();
    let store = world.store();
    let away: Arc<AtomicBool> = Arc::default();
    let (gone, time) = (Arc::clone(&away), world.clock.time.clone());
    let trainer = ScriptedTrainer::new(move |task| {
        gone.store(true, Ordering::SeqCst);
        time.advance(Duration::from_secs(3600));
        Script::Shows(Box::new(sample::evidence(task, 4.0)))
    });
    let chain = Away { chain: world.chain.clone(), away };
    let validator = world.builder(&store, trainer.with_python(false)).chain(chain).build().unwrap();
    seeded(&world, &store, &validator).await;
    assert!(validator.evaluate_step(&Cancel::new()).await.unwrap());
    assert!(runs(&store).await.iter().all(|run| run.status == RunStatus::Done));
}

/// Goes on until it is stopped, the second run some time longer.
#[derive(Debug)]
struct Stopped {
    cancel: Cancel,
    going: AtomicU64,
}

#[async_trait]
impl Trainer for Stopped {
    fn info(&self) -> TrainerInfo {
        let (name, version) = ("stopped".into(), "1".into());
        TrainerInfo { name, version, native: true, guest: false, devices: vec![], same_bits: true }
    }

    async fn train(&self, _: &TrainTask, around: &Surroundings) -> Result<Evidence> {
        let second = self.going.fetch_add(1, Ordering::SeqCst) == 1;
        if second {
            self.cancel.cancel();
        }
        around.cancel.cancelled().await;
        if second {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        Err(Error::new(Kind::Cancelled, Fault::Policy, "stopped"))
    }
}

#[tokio::test]
async fn a_stop_hands_back_every_run_that_was_going_on_and_none_of_its_tries() {
    let world = World::new();
    let store = world.store();
    let cancel = Cancel::new();
    let trainer = Stopped { cancel: cancel.clone(), going: AtomicU64::new(0) };
    let validator = world.builder(&store, trainer).build().unwrap();
    seeded(&world, &store, &validator).await;
    assert_eq!(validator.evaluate_step(&cancel).await.unwrap_err().kind(), Kind::Cancelled);
    let runs = runs(&store).await;
    assert!(runs.iter().all(|run| run.status == RunStatus::Pending), "{runs:?}");
    assert_eq!(runs.iter().filter(|run| run.attempts == 1).count(), 2);
    let (gpu, targets) = (GpuPolicy::default(), ExecutionTargets::default());
    let terms = Terms { lease: Duration::from_secs(60), gpu, targets };
    let Next::Run(claim) = store.claim_run(1, terms, world.clock.now()).await.unwrap() else { panic!("no run") };
    assert_eq!((claim.attempt, claim.tries), (2, 1));
}

#[tokio::test]
async fn evidence_waits_for_a_database_that_another_process_has() {
    let world = World::new();
    let store = world.store();
    let (busy, once) = (store.clone(), AtomicBool::new(false));
    let trainer = ScriptedTrainer::new(move |task| {
        if !once.swap(true, Ordering::SeqCst) {
            busy.busy_for(3);
        }
        Script::Shows(Box::new(sample::evidence(task, 4.0)))
    });
    let validator = world.builder(&store, trainer.with_python(false)).workers(1).build().unwrap();
    seeded(&world, &store, &validator).await;
    assert!(validator.evaluate_step(&Cancel::new()).await.unwrap());
    let runs = runs(&store).await;
    assert!(runs.iter().all(|run| (run.status, run.attempts) == (RunStatus::Done, 1)), "{runs:?}");
}

#[tokio::test]
async fn evidence_that_cannot_be_read_keeps_no_validator_from_starting() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    for graph in ["llama", "recurrent"] {
        for hotkey in [ALICE, BOB] {
            world.submit(&store, hotkey, &packed(MANIFEST, graph), SubmissionKind::ArchitectureOnly).await;
        }
        validator.run_cohort(&Cancel::new()).await.unwrap();
    }
    let db = rusqlite::Connection::open(world.folder.path().join("prism.db")).unwrap();
    let spoil = |cohort: u32| {
        let of = "SELECT task FROM entrant_runs WHERE cohort = ?1";
        db.execute(&format!("UPDATE runs SET evidence = x'00' WHERE task IN ({of})"), [cohort]).unwrap();
    };
    spoil(1);
    db.execute("DELETE FROM manifests", []).unwrap();
    validator.start().await.unwrap();
    assert_eq!(store.unwritten_cohorts(9).await.unwrap(), [1], "the second is written");
    spoil(2);
    db.execute("UPDATE duplicate_reports SET report = json_remove(report, '$.losses')", []).unwrap();
    assert!(!store.reports_without_losses(2).await.unwrap().is_empty());
    validator.start().await.unwrap();
}
