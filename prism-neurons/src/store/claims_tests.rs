//! The queue under everything that can happen to it: several processes, kills, silence, late answers, retries.
use super::{
    claims::{ASK, Claim, LAST_TURN_OF, MOST_ORPHANED, NEXT_TURN, Next, Terms},
    cohorts::{Entrant, EntrantRole},
    policy::Policy,
    *,
};
use prism_core::{
    Block, Digest, FamilyId, Hotkey, Seed, SubmissionId, TaskId, TrainTask,
    plan::{RunMode, RunRole, Subject},
    submission::{Precedence, SubmissionKind},
    testing::sample,
};
use prism_eval::policy::{ExecutionTarget, ExecutionTargets, GpuPolicy};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const LEASE: Duration = Duration::from_secs(60);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn on_processor() -> Terms {
    Terms { lease: LEASE, gpu: GpuPolicy::default(), targets: ExecutionTargets::default() }
}

fn task(name: &str, python: bool) -> TrainTask {
    let mut task = sample::task();
    let digest = Digest::of(name.as_bytes());
    (task.role, task.mode) = (RunRole::Recipe, RunMode::FullScaleEval);
    task.seed = Seed::of("test", &[name.as_bytes()]);
    task.subject = if python {
        Subject::Guest { bundle: digest, recipe: None }
    } else {
        Subject::Native { graph: digest, recipe: digest }
    };
    task
}

fn entrant(role: EntrantRole, hotkey: u8, place: u32) -> Entrant {
    let family = FamilyId([hotkey; 32]);
    Entrant {
        submission: SubmissionId::of_parts("test", &[&[hotkey], &place.to_le_bytes()]),
        role,
        kind: SubmissionKind::ArchitectureOnly,
        family,
        precedence: Precedence {
            block: Block(u64::from(place)),
            extrinsic: 0,
            hotkey: Hotkey([hotkey; 32]),
            local: true,
        },
        material: BTreeMap::new(),
    }
}

/// A seeded cohort of entrants, each with its runs.
async fn cohort(store: &Store, entrants: Vec<(Entrant, Vec<TrainTask>)>) {
    store.open_cohort(Block(1)).await.unwrap();
    store.close_cohort(1, Block(2), None).await.unwrap();
    let others = entrants.iter().map(|(entrant, _)| entrant.clone()).collect();
    store.seed_cohort(1, Seed::of("t", &[]), Policy::default(), others, at(0)).await.unwrap();
    let plans = entrants.into_iter().map(|(entrant, tasks)| (entrant.submission, tasks)).collect();
    store.plan_runs(1, plans).await.unwrap();
}

async fn next(store: &Store, terms: &Terms, seconds: u64) -> Next {
    store.claim_run(1, terms.clone(), at(seconds)).await.unwrap()
}

async fn claim(store: &Store, terms: &Terms, seconds: u64) -> Claim {
    match next(store, terms, seconds).await {
        Next::Run(claim) => *claim,
        other => panic!("no run: {other:?}"),
    }
}

async fn finish(store: &Store, claim: &Claim, seconds: u64) -> Result<Digest, StoreError> {
    store.finish_run(claim, &sample::evidence(&claim.task, 4.0), at(seconds)).await
}

#[tokio::test]
async fn baselines_come_first_then_hotkeys_take_turns_and_each_one_s_oldest_run_is_next() {
    let store = Store::in_memory().unwrap();
    let tasks = |name: &str, count: usize| (0..count).map(|n| task(&format!("{name}{n}"), false)).collect::<Vec<_>>();
    // The first hotkey came first and with the most, under two submissions; one of its runs is another's as well.
    let (a, b, c) = (tasks("a", 5), tasks("b", 2), tasks("c", 1));
    let shared = vec![a[1].clone(), b[0].clone(), b[1].clone()];
    let entrants = vec![
        (entrant(EntrantRole::Incumbent, 1, 3), a[..3].to_vec()),
        (entrant(EntrantRole::Incumbent, 1, 4), a[3..].to_vec()),
        (entrant(EntrantRole::Incumbent, 2, 5), shared),
        (entrant(EntrantRole::Incumbent, 3, 6), c.clone()),
        (entrant(EntrantRole::Baseline, 0, 9), tasks("base", 2)),
    ];
    cohort(&store, entrants).await;
    let terms = on_processor();
    let mut order = Vec::new();
    while let Next::Run(claim) = next(&store, &terms, 0).await {
        order.push(claim.task.clone());
        finish(&store, &claim, 0).await.unwrap();
    }
    let base = tasks("base", 2);
    let expected = [&base[0], &base[1], &a[0], &b[0], &c[0], &a[1], &b[1], &a[2], &a[3], &a[4]];
    assert_eq!(order.iter().collect::<Vec<_>>(), expected);
    assert!(matches!(next(&store, &terms, 0).await, Next::Nothing));
}

#[tokio::test]
async fn a_run_that_always_fails_starves_nobody_and_its_pause_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Store::open(folder.path().join("prism.db")).unwrap();
    let store = open();
    let entrants = vec![
        (entrant(EntrantRole::Incumbent, 1, 1), vec![task("a", false)]),
        (entrant(EntrantRole::Incumbent, 2, 2), vec![task("b0", false), task("b1", false)]),
    ];
    cohort(&store, entrants).await;
    let terms = on_processor();
    let first = claim(&store, &terms, 0).await;
    assert_eq!(first.task, task("a", false));
    store.fail_run(&first, "disk full".into(), Some(at(10)), false, at(0)).await.unwrap();
    for name in ["b0", "b1"] {
        let other = claim(&store, &terms, 1).await;
        assert_eq!(other.task, task(name, false));
        finish(&store, &other, 1).await.unwrap();
    }
    drop(store);
    let store = open();
    assert_eq!(store.recover_runs(at(2)).await.unwrap(), 0);
    assert!(matches!(next(&store, &terms, 9).await, Next::Later { at: Some(when), .. } if when == at(10)));
    let again = claim(&store, &terms, 10).await;
    assert_eq!((again.task.id(), again.attempt), (first.task.id(), 2));
    store.fail_run(&again, "disk full".into(), None, false, at(10)).await.unwrap();
    assert!(matches!(next(&store, &terms, 99).await, Next::Nothing));
}

#[tokio::test]
async fn a_run_whose_lease_expired_is_taken_over_and_its_late_finish_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("prism.db");
    cohort(&Store::open(&place).unwrap(), vec![(entrant(EntrantRole::Incumbent, 1, 1), vec![task("a", false)])]).await;
    let (one, two) = (Store::beside(&place).unwrap(), Store::beside(&place).unwrap());
    let terms = on_processor();
    let held = claim(&one, &terms, 0).await;
    assert!(matches!(next(&two, &terms, 59).await, Next::Later { at: Some(when), .. } if when == at(60)));
    assert!(matches!(next(&one, &terms, 59).await, Next::Nothing), "this process has it");
    assert_eq!(one.beat_run(&held, LEASE, at(50)).await.unwrap(), at(110));
    assert!(matches!(next(&two, &terms, 60).await, Next::Later { .. }));
    let taken = claim(&two, &terms, 110).await;
    assert_eq!((taken.task.id(), taken.attempt), (held.task.id(), 2));
    let text = format!("run {} is running, not running in this attempt", held.task.id());
    assert_eq!(finish(&one, &held, 111).await.unwrap_err().to_string(), text);
    assert_eq!(one.beat_run(&held, LEASE, at(111)).await.unwrap_err().to_string(), text);
    let failed = one.fail_run(&held, "late".into(), None, false, at(111)).await;
    assert_eq!(failed.unwrap_err().to_string(), text);
    finish(&two, &taken, 112).await.unwrap();
    assert_eq!(one.evidence(1).await.unwrap().into_values().flatten().count(), 1);
}

#[tokio::test]
async fn whoever_has_a_store_to_himself_takes_up_what_his_predecessor_left_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("prism.db");
    let tasks = vec![task("a", false), task("b", false)];
    let store = Store::open(&place).unwrap();
    cohort(&store, vec![(entrant(EntrantRole::Incumbent, 1, 1), tasks)]).await;
    let terms = on_processor();
    let beside = Store::beside(&place).unwrap();
    let (mine, others) = (claim(&store, &terms, 0).await, claim(&beside, &terms, 0).await);
    drop((mine, store));
    let store = Store::open(&place).unwrap();
    assert_eq!(store.recover_runs(at(1)).await.unwrap(), 1, "not the run of the process that lives");
    assert_eq!(claim(&store, &terms, 1).await.attempt, 2);
    finish(&beside, &others, 2).await.unwrap();
}

#[tokio::test]
async fn a_run_that_ends_its_process_every_time_is_given_up() {
    let store = Store::in_memory().unwrap();
    cohort(&store, vec![(entrant(EntrantRole::Incumbent, 1, 1), vec![task("a", false)])]).await;
    for attempt in 1..=MOST_ORPHANED {
        // Dropped without an end, as with a worker.
        assert_eq!(claim(&store, &on_processor(), 0).await.attempt, attempt);
    }
    assert!(matches!(next(&store, &on_processor(), 0).await, Next::Nothing));
    let run = store.runs(1, entrant(EntrantRole::Incumbent, 1, 1).submission).await.unwrap().remove(0);
    assert_eq!(run.status, runs::RunStatus::Abandoned);
    assert_eq!(run.error.unwrap(), "its process ended in 8 of 8 attempts");
}

#[tokio::test]
async fn neither_a_restart_nor_a_stop_is_a_try_and_stops_give_no_run_up() {
    let store = Store::in_memory().unwrap();
    cohort(&store, vec![(entrant(EntrantRole::Incumbent, 1, 1), vec![task("a", false)])]).await;
    let terms = on_processor();
    drop(claim(&store, &terms, 0).await);
    for attempt in 2..2 + MOST_ORPHANED {
        let stopped = claim(&store, &terms, 0).await;
        assert_eq!((stopped.attempt, stopped.tries), (attempt, 1));
        store.fail_run(&stopped, "stopped".into(), Some(at(0)), true, at(0)).await.unwrap();
    }
    let failed = claim(&store, &terms, 0).await;
    assert_eq!(failed.tries, 1);
    store.fail_run(&failed, "disk full".into(), Some(at(0)), false, at(0)).await.unwrap();
    drop(claim(&store, &terms, 0).await);
    let last = claim(&store, &terms, 0).await;
    assert_eq!((last.attempt, last.tries), (MOST_ORPHANED + 4, 2));
}

#[tokio::test]
async fn a_claim_reads_no_run_that_nobody_waits_for() {
    let store = Store::in_memory().unwrap();
    for (sql, index) in [(NEXT_TURN, "runs_by_last_turn"), (ASK, "runs_by_asked"), (LAST_TURN_OF, "runs_by_turn")] {
        let plan = format!("EXPLAIN QUERY PLAN {}", sql.replace("?1", "'x'"));
        let plan = store.read(move |db| column::rows(db, &plan, [], |row| row.text("detail"))).await.unwrap();
        assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
        assert!(plan.iter().all(|step| !step.starts_with("SCAN")), "{plan:?}");
    }
}

fn with_devices(count: u32, targets: &[(&str, &[&str])]) -> Terms {
    let target = |(id, devices): &(&str, &[&str])| ExecutionTarget {
        id: (*id).to_owned(),
        devices: devices.iter().map(|&device| device.to_owned()).collect(),
        enabled: true,
        draining: false,
    };
    let gpu = GpuPolicy { full_scale_eval: count, gpu_proxy_eval: count, ..GpuPolicy::default() };
    Terms { lease: LEASE, gpu, targets: ExecutionTargets { targets: targets.iter().map(target).collect() } }
}

#[tokio::test]
async fn a_run_has_its_devices_to_itself_until_it_ends_or_is_lost() {
    let store = Store::in_memory().unwrap();
    let mut tasks: Vec<TrainTask> = (0..4).map(|n| task(&format!("p{n}"), true)).collect();
    tasks.push(task("native", false));
    cohort(&store, vec![(entrant(EntrantRole::Incumbent, 1, 1), tasks.clone())]).await;
    let terms = with_devices(2, &[("a", &["0", "1", "2"]), ("b", &["3", "4"])]);
    let (first, second) = (claim(&store, &terms, 0).await, claim(&store, &terms, 0).await);
    let ids = |claim: &Claim| claim.devices.as_ref().unwrap().ids.clone();
    assert_eq!((ids(&first), ids(&second)), (vec!["3".to_owned(), "4".into()], vec!["0".to_owned(), "1".into()]));
    // The third waits for devices and keeps its place; what needs none goes on.
    let native = claim(&store, &terms, 0).await;
    assert_eq!((&native.task, &native.devices), (&tasks[4], &None));
    assert!(matches!(next(&store, &terms, 0).await, Next::Later { lacking: None, .. }));
    finish(&store, &second, 1).await.unwrap();
    let third = claim(&store, &terms, 1).await;
    assert_eq!((&third.task, ids(&third)), (&tasks[2], vec!["0".to_owned(), "1".into()]));
    // A worker that is dropped gives them back as well.
    drop(first);
    let fourth = claim(&store, &terms, 2).await;
    assert_eq!(ids(&fourth), ["3", "4"]);
    store.fail_run(&third, "lost".into(), None, false, at(3)).await.unwrap();
    // What drains takes no new run, and runs on it end in peace.
    let mut drains = terms.clone();
    drains.targets.targets[0].draining = true;
    assert!(matches!(next(&store, &drains, 3).await, Next::Later { .. }));
    finish(&store, &fourth, 4).await.unwrap();
    assert_eq!(ids(&claim(&store, &drains, 4).await), ["3", "4"]);
}

#[tokio::test]
async fn devices_that_no_target_has_are_told_of() {
    let store = Store::in_memory().unwrap();
    cohort(&store, vec![(entrant(EntrantRole::Incumbent, 1, 1), vec![task("p", true)])]).await;
    let terms = with_devices(4, &[("a", &["0", "1"])]);
    assert!(matches!(next(&store, &terms, 0).await, Next::Later { lacking: Some(4), .. }));
}

#[tokio::test]
async fn the_end_of_a_lost_attempt_does_not_end_the_next_one_of_the_same_process() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("prism.db");
    cohort(&Store::open(&place).unwrap(), vec![(entrant(EntrantRole::Incumbent, 1, 1), vec![task("p", false)])]).await;
    let (one, other) = (Store::beside(&place).unwrap(), Store::beside(&place).unwrap());
    let lost = claim(&one, &on_processor(), 0).await;
    // Its lease is over, another process takes the run and hands it back, and it comes to the first one again.
    let late = LEASE.as_secs() + 1;
    let taken = claim(&other, &on_processor(), late).await;
    other.fail_run(&taken, "failed".into(), Some(at(late)), false, at(late)).await.unwrap();
    let again = claim(&one, &on_processor(), late).await;
    drop(lost);
    assert!(matches!(next(&one, &on_processor(), late).await, Next::Nothing), "claimed while it is carried out");
    finish(&one, &again, late).await.unwrap();
}

/// One thing that happens, to one of the processes.
#[derive(Debug, Clone, Copy)]
enum Act {
    Claim,
    Beat,
    Finish,
    Fail,
    Kill,
    /// A killed process's claim answers after all.
    Late,
    Wait,
}

fn acts() -> impl Strategy<Value = Vec<(Act, usize, usize)>> {
    let act = prop_oneof![
        6 => Just(Act::Claim),
        2 => Just(Act::Beat),
        4 => Just(Act::Finish),
        2 => Just(Act::Fail),
        1 => Just(Act::Kill),
        2 => Just(Act::Late),
        2 => Just(Act::Wait),
    ];
    prop::collection::vec((act, 0usize..3, 0usize..8), 1..60)
}

#[derive(Default)]
struct Model {
    now: u64,
    /// Who holds a run, and until when.
    held: BTreeMap<TaskId, (usize, u64)>,
    done: BTreeMap<TaskId, u32>,
    zombies: Vec<Claim>,
    failed: BTreeMap<TaskId, u32>,
    served: BTreeSet<TaskId>,
}

async fn play(acts: Vec<(Act, usize, usize)>) {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("prism.db");
    let mut tasks = Vec::new();
    let mut entrants = Vec::new();
    for hotkey in 1..=4u8 {
        let own: Vec<TrainTask> = (0..3).map(|n| task(&format!("{hotkey}.{n}"), n != 0)).collect();
        tasks.extend(own.iter().map(TrainTask::id));
        entrants.push((entrant(EntrantRole::Incumbent, hotkey, u32::from(hotkey)), own));
    }
    cohort(&Store::open(&place).unwrap(), entrants).await;
    let terms = with_devices(2, &[("a", &["0", "1", "2"]), ("b", &["3", "4"])]);
    let mut stores: Vec<Store> = (0..3).map(|_| Store::beside(&place).unwrap()).collect();
    let mut claims: Vec<Vec<Claim>> = (0..3).map(|_| Vec::new()).collect();
    let mut model = Model::default();
    // In the end one process that lives is left, and nobody else comes back.
    let ending = (0..400).map(|n| (if n % 2 == 0 { Act::Claim } else { Act::Finish }, 0, 0));
    let closing = [(Act::Kill, 0, 0), (Act::Kill, 1, 0), (Act::Kill, 2, 0)];
    let random = acts.len();
    for (step, (act, who, which)) in acts.into_iter().chain(closing).chain(ending).enumerate() {
        let quiet = step > random + 2;
        if quiet && model.done.len() == tasks.len() {
            break;
        }
        let (store, now) = (stores[who].clone(), model.now);
        match act {
            Act::Claim => match next(&store, &terms, now).await {
                Next::Run(claim) => {
                    let task = claim.task.id();
                    if let Some((holder, expires)) = model.held.get(&task) {
                        assert!(*expires <= now, "{task} was claimed while process {holder} lives and has it");
                    }
                    assert!(!model.done.contains_key(&task), "{task} was claimed though it is done");
                    model.held.insert(task, (who, now + LEASE.as_secs()));
                    model.served.insert(task);
                    claims[who].push(*claim);
                }
                Next::Later { at, .. } => {
                    if quiet {
                        let wait = at.map_or(1, |when| when.duration_since(self::at(now)).unwrap().as_secs());
                        model.now += wait.max(1);
                    }
                }
                Next::Nothing => {}
            },
            Act::Beat if !claims[who].is_empty() => {
                let which = which % claims[who].len();
                let claim = &claims[who][which];
                let ours = model.held.get(&claim.task.id()).is_some_and(|(holder, _)| *holder == who);
                let beaten = store.beat_run(claim, LEASE, at(now)).await;
                if beaten.is_ok() {
                    assert!(ours, "a lost run was extended");
                    model.held.insert(claim.task.id(), (who, now + LEASE.as_secs()));
                } else {
                    claims[who].remove(which);
                }
            }
            Act::Finish if !claims[who].is_empty() => {
                let which = which % claims[who].len();
                let claim = claims[who].remove(which);
                let task = claim.task.id();
                let ours = model.held.get(&task).is_some_and(|(holder, _)| *holder == who);
                let finished = finish(&store, &claim, now).await;
                assert!(finished.is_err() || ours, "a lost run was finished");
                if finished.is_ok() {
                    *model.done.entry(task).or_default() += 1;
                    model.held.remove(&task);
                }
            }
            Act::Fail if !claims[who].is_empty() => {
                let which = which % claims[who].len();
                let claim = claims[who].remove(which);
                let task = claim.task.id();
                if store.fail_run(&claim, "failed".into(), Some(at(now + 5)), false, at(now)).await.is_ok() {
                    model.held.remove(&task);
                    *model.failed.entry(task).or_default() += 1;
                }
            }
            Act::Kill => {
                // What it had on its mind may still reach the database once: as a process that hangs, not one that ends.
                model.zombies.append(&mut claims[who]);
                // One that had the store to itself is known to be gone.
                for (holder, expires) in model.held.values_mut() {
                    *expires = if *holder == who { now } else { *expires };
                }
                stores[who] = Store::beside(&place).unwrap();
            }
            Act::Late if !model.zombies.is_empty() => {
                let which = which % model.zombies.len();
                let claim = model.zombies.remove(which);
                let task = claim.task.id();
                if finish(&store, &claim, now).await.is_ok() {
                    *model.done.entry(task).or_default() += 1;
                    model.held.remove(&task);
                }
            }
            Act::Wait => model.now += 7 * (1 + which as u64),
            Act::Beat | Act::Finish | Act::Fail | Act::Late => {}
        }
        let leased = "SELECT count(*) AS all_of, count(DISTINCT device) AS devices FROM device_leases
                      JOIN runs USING (task) WHERE runs.status = 'running' AND runs.owner = device_leases.owner";
        let count = |row: column::Columns<'_>| Ok((row.number::<u32>("all_of")?, row.number::<u32>("devices")?));
        let (all, distinct) = stores[0].read(move |db| column::first(db, leased, [], count)).await.unwrap().unwrap();
        assert!(all == distinct && all % 2 == 0 && all <= 4, "{all} leases of {distinct} devices");
        let orphans =
            "SELECT count(*) AS n FROM device_leases LEFT JOIN runs USING (task) WHERE runs.status <> 'running'";
        let left = stores[0].read(move |db| column::first(db, orphans, [], |row| row.number::<u32>("n"))).await;
        assert_eq!(left.unwrap(), Some(0), "devices of a run that is over");
    }
    assert!(model.done.values().all(|times| *times == 1), "finished twice: {:?}", model.done);
    assert_eq!(model.served.len(), tasks.len(), "a hotkey was starved");
    let ended: Vec<TaskId> = model.done.keys().copied().collect();
    let mut expected = tasks.clone();
    expected.sort();
    assert_eq!(ended, expected, "a run was lost");
    assert_eq!(stores[0].evidence(1).await.unwrap().into_values().flatten().count(), tasks.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: no run is finished twice, none is lost, no device is shared, nobody starves.
    #[test]
    fn random_interleavings_lose_nothing_and_repeat_nothing(acts in acts()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(play(acts));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_that_claim_at_once_never_have_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("prism.db");
    let tasks: Vec<TrainTask> = (0..40).map(|n| task(&format!("t{n}"), false)).collect();
    cohort(&Store::open(&place).unwrap(), vec![(entrant(EntrantRole::Incumbent, 1, 1), tasks.clone())]).await;
    let workers = (0..4).map(|_| {
        let store = Store::beside(&place).unwrap();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            while let Next::Run(claim) = next(&store, &on_processor(), 0).await {
                finish(&store, &claim, 0).await.unwrap();
                mine.push(claim.task.id());
            }
            mine
        })
    });
    let all = futures::future::join_all(workers).await;
    let mut all: Vec<TaskId> = all.into_iter().flat_map(Result::unwrap).collect();
    let mut expected: Vec<TaskId> = tasks.iter().map(TrainTask::id).collect();
    all.sort();
    expected.sort();
    assert_eq!(all, expected);
}
