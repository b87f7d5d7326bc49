//! Policy rows over whole cohorts: what they change and when, what is refused of them, and what is told of it.
use super::tests::{ALICE, World, packed};
use super::*;
use crate::{
    http::router,
    store::{cohorts::CohortStatus, policy::NewPolicyRow},
    wire::Health,
};
use axum::{Router, body::Body, http::Request};
use prism_core::{
    Evidence,
    submission::{SubmissionKind, SubmissionStatus},
    testing::fakes::{Script, ScriptedTrainer},
};
use prism_eval::policy::Section;
use tower::ServiceExt as _;

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

async fn submit(world: &World, store: &Store) -> prism_core::SubmissionId {
    world.submit(store, ALICE, &packed(MANIFEST, "llama"), SubmissionKind::ArchitectureOnly).await
}

async fn add(world: &World, store: &Store, section: Section, value: &str) -> u64 {
    store.set_policy(NewPolicyRow::new(section, value), world.clock.now()).await.unwrap()
}

fn api(world: &World, store: &Store, validator: &Validator) -> Router {
    // On the clock of the tests a deadline is over as soon as it is set.
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::SystemClock::new());
    router(world.api(store, validator, clock))
}

async fn alarms(router: &Router) -> Vec<String> {
    let request = Request::get("/readyz").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    assert!(response.status().is_success());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    serde_json::from_slice::<Health>(&bytes).unwrap().alarms
}

async fn runs(store: &Store, cohort: u64) -> Vec<Evidence> {
    store.evidence(cohort).await.unwrap().into_values().flatten().collect()
}

#[tokio::test]
async fn an_invalid_row_leaves_the_former_in_force_and_alarms_until_it_is_mended() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    let router = api(&world, &store, &validator);
    add(&world, &store, Section::RewardPools, r#"{"margin": 0.06}"#).await;
    let wrong = add(&world, &store, Section::RewardPools, r#"{"margin": -1}"#).await;
    assert_eq!(alarms(&router).await, Vec::<String>::new());
    submit(&world, &store).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();

    let policy = store.cohort(1).await.unwrap().unwrap().policy.unwrap();
    assert_eq!((policy.version, policy.numbers["reward.margin"].get()), (1, 0.06));
    assert_eq!(alarms(&router).await, ["policy: row 2"]);
    assert!(store.alarms().await.unwrap()[0].text.contains("`reward.margin` is -1, outside"));
    // One digest of all of it: in every task, and in what was signed for the chain.
    let digest = policy.digest();
    assert_eq!(digest, policy.whole.as_ref().unwrap().digest());
    assert!(runs(&store, 1).await.iter().all(|run| run.task.policy == digest));
    let epochs = store.allocations(9).await.unwrap();
    let receipts = store.receipts(epochs[0].epoch).await.unwrap();
    assert_eq!(receipts[0].receipt.intent.policy, digest);

    store.enable_policy(wrong, false).await.unwrap();
    validator.read_policy().await.unwrap();
    assert_eq!(alarms(&router).await, Vec::<String>::new());
}

#[tokio::test]
async fn no_cohort_is_seeded_under_sections_that_do_not_fit_together() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    let row = add(&world, &store, Section::GpuPolicy, r#"{"gpu_proxy_eval": 2}"#).await;
    let id = submit(&world, &store).await;
    validator.take_in_step().await.unwrap();
    validator.examine_step(&Cancel::new()).await.unwrap();
    validator.close_now().await.unwrap();
    for _ in 0..9 {
        world.chain.next_block();
    }
    let error = validator.seed_step().await.unwrap_err();
    assert!(error.to_string().contains("asks for 2 GPUs"), "{error}");
    assert_eq!(store.cohort(1).await.unwrap().unwrap().status, CohortStatus::Closed);
    assert_eq!(store.alarms().await.unwrap()[0].subject, "whole");
    store.enable_policy(row, false).await.unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    assert_eq!(store.submission(id).await.unwrap().unwrap().status, SubmissionStatus::Completed);
}

#[tokio::test]
async fn a_cohort_is_measured_to_its_end_under_the_plan_it_was_seeded_with() {
    let world = World::new();
    let store = world.store();
    let cancel = Cancel::new();
    let stop = cancel.clone();
    let endless = ScriptedTrainer::new(move |_| {
        stop.cancel();
        Script::Endless
    });
    let validator = world.builder(&store, endless).build().unwrap();
    validator.start().await.unwrap();
    submit(&world, &store).await;
    validator.run_cohort(&cancel).await.unwrap_err();
    // In the middle of the cohort a row and another configuration come.
    add(&world, &store, Section::Plan, r#"{"steps": 200, "rates": [1.0]}"#).await;
    let mut policy = PrismPolicy::smoke();
    policy.plan.rows = 16;
    policy.plan.audits = 16;
    let validator = world.builder(&store, world.trainer()).policy(policy).build().unwrap();
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let first = runs(&store, 1).await;
    let base = PrismPolicy::smoke().plan;
    assert!(!first.is_empty() && first.iter().all(|run| run.task.measuring.rows == base.rows), "{}", first.len());
    assert!(first.iter().any(|run| run.task.budget.steps == base.steps));

    world.submit(&store, ALICE, &packed(MANIFEST, "recurrent"), SubmissionKind::ArchitectureOnly).await;
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let second = runs(&store, 2).await;
    assert!(!second.is_empty() && second.iter().all(|run| run.task.measuring.rows == 16), "{}", second.len());
    assert!(second.iter().any(|run| run.task.budget.steps == 200));
    assert!(second.iter().all(|run| run.task.budget.steps <= 200));
}

#[tokio::test]
async fn a_bundle_beyond_the_tightened_limits_is_rejected_by_name() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).build().unwrap();
    validator.start().await.unwrap();
    let id = submit(&world, &store).await;
    add(&world, &store, Section::ArtifactLimits, r#"{"files": 1}"#).await;
    validator.take_in_step().await.unwrap();
    validator.examine_step(&Cancel::new()).await.unwrap();
    let record = store.submission(id).await.unwrap().unwrap();
    let reason = record.reason.unwrap();
    assert_eq!((record.status, reason.rule.as_str()), (SubmissionStatus::Rejected, "policy.artifact_limits"));
    assert_eq!(reason.text, "bundle has 2 files, by policy at most 1 are taken");
}
