//! The way of a submission through the store, cut off at every place and taken up again.
use super::{
    claims::{Claim, Next, Terms},
    cohorts::{CohortStatus, Entrant, EntrantRole},
    intake::{Arrival, NotAccepted},
    payments::{AllocationRecord, ReceiptRecord},
    policy::Policy,
    runs::RunStatus,
    scores::Settlement,
    submissions::{Examined, Reason},
    *,
};
use prism_core::{
    Block, Digest, Epoch, Evidence, FamilyId, Finite, Hotkey, MechanismId, Netuid, Nonces, Receipt, ScoreCard, Seed,
    Standings, SubmissionId, TrainTask, Uid, WeightIntent,
    evidence::{EVIDENCE_SCHEMA, Estimate, RunOutcome, Work},
    plan::{Budget, DataRef, MeasuringPlan, RunMode, RunRole, Subject, TASK_SCHEMA},
    receipt::{RECEIPT_SCHEMA, Stage},
    reward::Allocation,
    score::{Track, TrackScore},
    source::{Batch, Cursor},
    standings::{Class, FamilyFacts},
    submission::{Precedence, Submission, SubmissionKind, SubmissionStatus},
};
use prism_eval::policy::{ExecutionTargets, GpuPolicy};
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const ALICE: Hotkey = Hotkey([1; 32]);
const BOB: Hotkey = Hotkey([2; 32]);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn arrival(hotkey: Hotkey, nonce: &str, code: &[u8]) -> Arrival {
    Arrival {
        hotkey,
        nonce: nonce.into(),
        keep_nonce_until: now() + Duration::from_secs(600),
        name: Some("better".into()),
        kind: SubmissionKind::Full,
        archive: Digest::of(code),
        bytes: code.len() as u64,
        block: Block(7),
        quota: 3,
        received_at: now(),
    }
}

fn submission(place: u32) -> Submission {
    let precedence = Precedence { block: Block(7), extrinsic: place, hotkey: ALICE, local: true };
    Submission::bundle(ALICE, precedence, Digest::of(&place.to_le_bytes()), 4)
}

fn task(seed: &str) -> TrainTask {
    TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::default(),
        role: RunRole::Recipe,
        subject: Subject::Native { graph: Digest::of(b"graph"), recipe: Digest::of(b"recipe") },
        data: DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 },
        measuring: MeasuringPlan {
            points: vec![0],
            counts_from: 0,
            rows: 2,
            audits: vec![0],
            held_out_rows: 0,
            alarm_bits: Finite::ONE,
        },
        budget: Budget { tokens: 8, steps: 1, batch: 1, sequence: 8, wall_millis: 1, cpu_millis: 1, peak_memory: 1 },
        context: BTreeMap::new(),
        seed: Seed::of("test", &[seed.as_bytes()]),
        cohort: Seed::of("test", &[b"cohort"]),
        policy: Digest::of(b"policy"),
    }
}

fn evidence(task: &TrainTask) -> Evidence {
    Evidence {
        schema: EVIDENCE_SCHEMA,
        task: task.clone(),
        outcome: RunOutcome::Completed,
        points: vec![],
        held_out: None,
        series: BTreeMap::new(),
        counters: BTreeMap::new(),
        tasks: BTreeMap::new(),
        artifacts: BTreeMap::new(),
        engine: "test/1".into(),
        device: "cpu".into(),
        resumed: 0,
        work: Work::default(),
    }
}

fn receipt(epoch: u64, stage: Stage) -> Receipt {
    Receipt {
        schema: RECEIPT_SCHEMA,
        intent: WeightIntent {
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            epoch: Epoch(epoch),
            shares: [(ALICE, Finite::ONE)].into(),
            burn: Finite::ZERO,
            version_key: 0,
            policy: Digest::of(b"policy"),
        },
        signed: vec![1, 2, 3],
        hash: Digest::of(b"signed"),
        nonce: 4,
        pinned: Block(10),
        vector: [(Uid(2), 65535)].into(),
        holders: [(Uid(2), ALICE)].into(),
        commitment: None,
        stage,
        history: vec![],
        alarms: vec![],
    }
}

fn family() -> FamilyId {
    FamilyId([9; 32])
}

fn examined(founds: bool) -> Examined {
    let material: BTreeMap<String, Digest> = [("graph".to_owned(), Digest::of(b"graph"))].into();
    let founds = founds.then(|| material.clone());
    Examined { kind: SubmissionKind::Full, family: family(), material, founds, provenance: None }
}

fn card(id: SubmissionId, total: f64) -> ScoreCard {
    let finite = |v| Finite::new(v).unwrap();
    let advantage = Estimate { mean: finite(0.2), standard_error: finite(0.01) };
    let track = TrackScore { quality: finite(total), advantage, components: BTreeMap::new() };
    ScoreCard {
        submission: id,
        family: family(),
        scorer: "test/1".into(),
        total: Finite::new(total),
        standard_error: Some(finite(0.01)),
        bits_per_byte: None,
        tracks: [(Track::Architecture, track)].into(),
        eligible: true,
        reasons: vec![],
    }
}

/// The next run of the first cohort, on the processor.
async fn claimed(store: &Store) -> Option<Claim> {
    let (gpu, targets) = (GpuPolicy::default(), ExecutionTargets::default());
    let terms = Terms { lease: Duration::from_secs(60), gpu, targets };
    match store.claim_run(1, terms, now()).await.unwrap() {
        Next::Run(claim) => Some(*claim),
        _ => None,
    }
}

/// A store on disk that is closed and opened again before every step.
struct Reopened {
    folder: tempfile::TempDir,
    open: Option<Store>,
}

impl Reopened {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), open: None }
    }

    fn step(&mut self) -> &Store {
        self.open = None;
        self.open.insert(Store::open(self.folder.path().join("prism.db")).unwrap())
    }
}

#[tokio::test]
async fn a_submission_walks_through_a_store_that_is_reopened_before_every_step() {
    let mut store = Reopened::new();
    let (first, second) = (submission(1), submission(2));
    store.step().open_cohort(Block(5)).await.unwrap();
    let batch = Batch { submissions: vec![first.clone(), second.clone()], next: Cursor("2".into()) };
    let new = store.step().take_in("http", batch.clone(), now()).await.unwrap();
    assert_eq!(new, [first.id, second.id]);
    assert_eq!(store.step().cursor("http").await.unwrap(), Some(Cursor("2".into())));
    assert_eq!(store.step().take_in("http", batch, now()).await.unwrap(), []);
    assert_eq!(store.step().unexamined(9).await.unwrap().len(), 2);
    store.step().pass(first.id, examined(true), vec![], now()).await.unwrap();
    let reason = Reason::new("bundle.symlink", "entry `x` is a symlink");
    let rejected = SubmissionStatus::Rejected;
    store.step().refuse(second.id, rejected, None, reason.clone(), vec![], now()).await.unwrap();
    store.step().close_cohort(1, Block(9), Some(Block(12))).await.unwrap();
    let cohort = store.step().unsettled_cohort().await.unwrap().unwrap();
    assert_eq!((cohort.status, cohort.seed_block), (CohortStatus::Closed, Some(Block(12))));
    let seed = Seed::of("test", &[b"seed"]);
    let policy = Policy::new(3, prism_eval::policy::PrismPolicy::smoke());
    store.step().seed_cohort(1, seed, policy.clone(), vec![], now()).await.unwrap();
    let cohort = store.step().unsettled_cohort().await.unwrap().unwrap();
    assert_eq!((cohort.seed, cohort.policy), (Some(seed), Some(policy)));
    let entrants = store.step().entrants(1).await.unwrap();
    assert_eq!(entrants.iter().map(|e| e.submission).collect::<Vec<_>>(), [first.id]);

    let tasks = [task("a"), task("b")];
    assert_eq!(store.step().plan_runs(1, vec![(first.id, tasks.to_vec())]).await.unwrap(), 2);
    assert_eq!(store.step().plan_runs(1, vec![(first.id, tasks.to_vec())]).await.unwrap(), 0);
    let first_claim = claimed(store.step()).await.unwrap();
    assert_eq!((first_claim.task.id(), first_claim.attempt), (tasks[0].id(), 1));
    // Killed while running: the attempt stays counted.
    assert_eq!(store.step().recover_runs(now()).await.unwrap(), 1);
    assert_eq!(store.step().recover_runs(now()).await.unwrap(), 0);
    let claim = claimed(store.step()).await.unwrap();
    assert_eq!((claim.task.id(), claim.attempt), (tasks[0].id(), 2));
    let late = store.step().finish_run(&first_claim, &evidence(&tasks[0]), now()).await.unwrap_err();
    assert_eq!(late.to_string(), format!("run {} is running, not running in this attempt", tasks[0].id()));
    let digest = store.step().finish_run(&claim, &evidence(&tasks[0]), now()).await.unwrap();
    assert_eq!(digest, Digest::of(&serde_json::to_vec(&evidence(&tasks[0])).unwrap()));
    let again = store.step().finish_run(&claim, &evidence(&tasks[0]), now()).await.unwrap_err();
    assert_eq!(again.to_string(), format!("run {} is done, not running in this attempt", tasks[0].id()));
    let due = store.step().due_runs(1).await.unwrap();
    assert_eq!(due.iter().map(|run| &run.task).collect::<Vec<_>>(), [&tasks[1]]);
    let claim = claimed(store.step()).await.unwrap();
    let foreign = store.step().finish_run(&claim, &evidence(&tasks[0]), now()).await.unwrap_err();
    assert!(foreign.to_string().ends_with("not its own"), "{foreign}");
    store.step().fail_run(&claim, "disk full".into(), None, false, now()).await.unwrap();
    let statuses: Vec<RunStatus> = store.step().runs(1, first.id).await.unwrap().iter().map(|r| r.status).collect();
    assert_eq!(statuses, [RunStatus::Done, RunStatus::Abandoned]);
    assert_eq!(store.step().evidence(1).await.unwrap()[&first.id], [evidence(&tasks[0])]);

    let mut standings = Standings::new();
    standings.record(&card(first.id, 0.8), ALICE, first.precedence, Block(13), 2);
    let facts = FamilyFacts { published: false, class: Some(Class::Attention) };
    standings.families.insert(family(), facts);
    let settlement = Settlement {
        cards: vec![card(first.id, 0.8)],
        outcomes: vec![(first.id, SubmissionStatus::Completed, None)],
        standings: standings.clone(),
        slots: standings.slots(Finite::ZERO, Finite::ZERO),
    };
    store.step().settle_cohort(1, settlement.clone(), now()).await.unwrap();
    let twice = store.step().settle_cohort(1, settlement, now()).await.unwrap_err();
    assert!(matches!(twice, StoreError::State { what: "cohort", .. }), "{twice}");
    assert_eq!(store.step().standings().await.unwrap(), standings);
    assert_eq!(store.step().cards(1).await.unwrap(), [card(first.id, 0.8)]);
    assert_eq!(store.step().family(&family().to_string()).await.unwrap().unwrap().owner, Some(ALICE));
    let tries = async |store: &mut Reopened, hotkey, since| {
        store.step().tries(hotkey, FamilyId([77; 32]), Block(since)).await.unwrap()
    };
    assert_eq!((tries(&mut store, ALICE, 0).await, tries(&mut store, BOB, 0).await), (1, 0));
    assert_eq!(store.step().tries(BOB, family(), Block(0)).await.unwrap(), 1, "of the family");
    assert_eq!(tries(&mut store, ALICE, 1_000_000).await, 0, "out of the window");
    let done = store.step().submission(first.id).await.unwrap().unwrap();
    assert_eq!((done.status, done.cohort), (SubmissionStatus::Completed, 1));
    let refused = store.step().submission(second.id).await.unwrap().unwrap();
    assert_eq!((refused.status, refused.reason), (rejected, Some(reason)));
}

#[tokio::test]
async fn a_receipt_is_on_record_before_every_step_and_only_one_is_on_its_way() {
    let mut store = Reopened::new();
    let record = AllocationRecord {
        epoch: Epoch(3),
        block: Block(20),
        policy: "frontier".into(),
        allocation: Allocation::Pay { shares: [(ALICE, Finite::ONE)].into(), burn: Finite::ZERO },
    };
    assert_eq!(store.step().allocate(record.clone(), now()).await.unwrap(), record);
    let other = AllocationRecord { allocation: Allocation::Burn { reason: "later".into() }, ..record.clone() };
    assert_eq!(store.step().allocate(other, now()).await.unwrap(), record, "the first decision of an epoch stays");

    let prepared = receipt(3, Stage::Prepared { expires: Block(74) });
    let mut begun = store.step().begin_receipt(prepared.clone(), now()).await.unwrap();
    assert_eq!(begun.attempt, 1);
    let second = store.step().begin_receipt(receipt(4, Stage::Prepared { expires: Block(74) }), now()).await;
    assert!(matches!(second, Err(StoreError::State { what: "receipt", .. })));
    begun.receipt = begun.receipt.enter(Block(11), Stage::Submitted { expires: Block(74) });
    store.step().update_receipt(begun.clone(), now()).await.unwrap();
    assert_eq!(store.step().open_receipts().await.unwrap(), std::slice::from_ref(&begun));
    begun.receipt = begun.receipt.enter(Block(80), Stage::Expired);
    store.step().update_receipt(begun.clone(), now()).await.unwrap();
    assert_eq!(store.step().open_receipts().await.unwrap(), []);
    assert_eq!(store.step().begin_receipt(prepared, now()).await.unwrap().attempt, 2);
    assert_eq!(store.step().receipts(Epoch(3)).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_commitment_that_waits_for_its_reveal_lets_other_epochs_follow() {
    let mut store = Reopened::new();
    let prepared = |epoch| receipt(epoch, Stage::Prepared { expires: Block(74) });
    let mut third = store.step().begin_receipt(prepared(3), now()).await.unwrap();
    third.receipt =
        third.receipt.enter(Block(20), Stage::Committed { round: Some(9), epoch: Epoch(3), due: Block(60) });
    store.step().update_receipt(third.clone(), now()).await.unwrap();
    let again = store.step().begin_receipt(prepared(3), now()).await;
    assert!(matches!(again, Err(StoreError::State { what: "receipt", .. })), "one vector for an epoch");
    let fourth = store.step().begin_receipt(prepared(4), now()).await.unwrap();
    assert_eq!(store.step().open_receipts().await.unwrap(), [fourth, third.clone()], "what is on its way comes first");
    // A second extrinsic can't be on record beside the one that is on its way.
    let revealing = Stage::Revealing { signed: vec![1], nonce: 5, birth: Block(60), expires: Block(124) };
    let both = ReceiptRecord { receipt: third.receipt.enter(Block(60), revealing), ..third.clone() };
    assert!(store.step().update_receipt(both, now()).await.is_err());
    assert_eq!(store.step().last_landed().await.unwrap(), None);
    let read = Stage::ReadBack { block: Block(70), uids: third.receipt.vector.clone() };
    third.receipt = third.receipt.enter(Block(70), read);
    store.step().update_receipt(third, now()).await.unwrap();
    assert_eq!(store.step().last_landed().await.unwrap(), Some(Epoch(3)));
}

#[tokio::test]
async fn a_step_out_of_order_changes_nothing_and_names_the_state() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let one = submission(1);
    let batch = Batch { submissions: vec![one.clone()], next: Cursor("1".into()) };
    store.take_in("http", batch, now()).await.unwrap();
    let early = store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), vec![], now()).await.unwrap_err();
    assert!(matches!(early, StoreError::State { what: "submission", .. }), "{early}");
    store.pass(one.id, examined(true), vec![], now()).await.unwrap();
    let open = store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), vec![], now()).await.unwrap_err();
    assert_eq!(open.to_string(), "cohort 1 is open, not closed");
    assert_eq!(store.entrants(1).await.unwrap(), []);
    store.close_cohort(1, Block(2), None).await.unwrap();
    store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), vec![], now()).await.unwrap();
    let late = store.pass(one.id, examined(true), vec![], now()).await.unwrap_err();
    assert_eq!(late.to_string(), format!("submission {} is running, not pending", one.id));
    let unknown = store.pass(submission(2).id, examined(false), vec![], now()).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NotFound { .. }), "{unknown}");
}

#[tokio::test]
async fn what_a_rule_held_is_released_into_the_open_cohort_and_nothing_else_is() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let all: Vec<Submission> = (1..=3).map(submission).collect();
    let batch = Batch { submissions: all.clone(), next: Cursor("3".into()) };
    store.take_in("http", batch, now()).await.unwrap();
    let hold = async |one: &Submission, status, rule: &str| {
        store.refuse(one.id, status, None, Reason::new(rule, "why"), vec![], now()).await.unwrap();
    };
    hold(&all[0], SubmissionStatus::Held, "sandbox.none").await;
    hold(&all[1], SubmissionStatus::Held, "review.hold").await;
    hold(&all[2], SubmissionStatus::Rejected, "sandbox.none").await;
    store.close_cohort(1, Block(2), None).await.unwrap();
    assert_eq!(store.release("sandbox.none", now()).await.unwrap(), 1);
    let released = store.submission(all[0].id).await.unwrap().unwrap();
    assert_eq!((released.status, released.cohort, released.reason), (SubmissionStatus::Pending, 2, None));
    assert_eq!(store.unexamined(9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_examination_for_a_family_that_nobody_founded_is_refused_whole() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let one = submission(1);
    let batch = Batch { submissions: vec![one.clone()], next: Cursor("1".into()) };
    store.take_in("http", batch, now()).await.unwrap();
    assert!(store.pass(one.id, examined(false), vec![], now()).await.is_err());
    let still = store.submission(one.id).await.unwrap().unwrap();
    assert_eq!((still.status, still.family), (SubmissionStatus::Pending, None));
}

#[tokio::test]
async fn acceptance_spends_the_nonce_and_keeps_the_row_or_does_neither() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let first = store.accept(arrival(ALICE, "n1", b"a")).await.unwrap().unwrap();
    assert_eq!((first.arrival, first.submission.precedence.block), (1, Block(7)));
    assert_eq!(store.accept(arrival(ALICE, "n1", b"b")).await.unwrap(), Err(NotAccepted::NonceReused));
    let twice = store.accept(arrival(ALICE, "n2", b"a")).await.unwrap();
    assert_eq!(twice, Err(NotAccepted::Duplicate(first.submission.id)));
    // A request that saw an older head, and came later, keeps its later place.
    let late = Arrival { block: Block(6), ..arrival(BOB, "n1", b"a") };
    let late = store.accept(late).await.unwrap().unwrap();
    assert!(late.submission.precedence > first.submission.precedence);
    for code in [b"b", b"c"] {
        let nonce = format!("{code:?}");
        store.accept(arrival(ALICE, &nonce, code)).await.unwrap().unwrap();
    }
    let full = store.accept(arrival(ALICE, "n9", b"d")).await.unwrap();
    assert_eq!(full, Err(NotAccepted::QuotaExhausted { quota: 3 }));
    store.close_cohort(1, Block(8), None).await.unwrap();
    store.accept(arrival(ALICE, "n10", b"d")).await.unwrap().unwrap();
    assert_eq!(store.arrivals_after(0, 99).await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_nonce_is_spent_once_whoever_asks_and_however_often_it_is_reopened() {
    let mut store = Reopened::new();
    let open = store.step().clone();
    let spends = (0..64).map(|_| {
        let open = open.clone();
        tokio::spawn(async move { open.spend(ALICE, "once", now()).await.unwrap() })
    });
    let firsts = futures::future::join_all(spends).await.into_iter().filter(|first| *first.as_ref().unwrap()).count();
    assert_eq!(firsts, 1);
    drop(open);
    assert!(!store.step().spend(ALICE, "once", now()).await.unwrap());
    assert!(store.step().spend(BOB, "once", now()).await.unwrap());
    assert_eq!(store.step().purge_nonces(now() + Duration::from_secs(1), 9).await.unwrap(), 2);
    assert!(!store.step().is_spent(ALICE, "once").await.unwrap());
}

#[tokio::test]
async fn a_second_process_can_not_write_the_same_store() {
    let mut store = Reopened::new();
    store.step();
    let second = Store::open(store.folder.path().join("prism.db"));
    assert!(matches!(second, Err(StoreError::InUse(_))));
}

#[tokio::test]
async fn evidence_that_was_changed_behind_our_back_is_not_handed_out() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let id = submission(1).id;
    let entrant = Entrant {
        submission: id,
        role: EntrantRole::Baseline,
        kind: SubmissionKind::ArchitectureOnly,
        family: family(),
        precedence: submission(1).precedence,
        material: BTreeMap::new(),
    };
    store.close_cohort(1, Block(2), None).await.unwrap();
    store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), vec![entrant], now()).await.unwrap();
    let task = task("a");
    store.plan_runs(1, vec![(id, vec![task.clone()])]).await.unwrap();
    let claim = claimed(&store).await.unwrap();
    store.finish_run(&claim, &evidence(&task), now()).await.unwrap();
    let lie = "UPDATE runs SET evidence = CAST(replace(CAST(evidence AS TEXT), 'completed', 'completee') AS BLOB)";
    store.write(|db| Ok(db.execute(lie, [])?)).await.unwrap();
    let error = store.evidence(1).await.unwrap_err();
    assert!(matches!(error, StoreError::Column { column: "evidence", .. }), "{error}");
}

#[tokio::test]
async fn cards_are_ordered_by_score_on_a_grid_then_by_arrival() {
    let store = Store::in_memory().unwrap();
    store.open_cohort(Block(1)).await.unwrap();
    let all: Vec<Submission> = (1..=4).map(submission).collect();
    let batch = Batch { submissions: all.clone(), next: Cursor("4".into()) };
    store.take_in("http", batch, now()).await.unwrap();
    for one in &all {
        store.pass(one.id, examined(true), vec![], now()).await.unwrap();
    }
    store.close_cohort(1, Block(2), None).await.unwrap();
    store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), vec![], now()).await.unwrap();
    let totals = [0.5, 0.5 + 1e-12, 0.9];
    let mut cards: Vec<ScoreCard> = all.iter().zip(totals).map(|(one, total)| card(one.id, total)).collect();
    cards.push(ScoreCard::without_total(all[3].id, family(), "test/1", "no run completed"));
    let settlement = Settlement { cards, outcomes: vec![], standings: Standings::new(), slots: BTreeMap::new() };
    store.settle_cohort(1, settlement, now()).await.unwrap();
    let order: Vec<SubmissionId> = store.cards(1).await.unwrap().iter().map(|card| card.submission).collect();
    assert_eq!(order, [all[2].id, all[0].id, all[1].id, all[3].id]);
}
