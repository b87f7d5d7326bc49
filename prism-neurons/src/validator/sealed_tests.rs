//! What guests write reaches nobody before their cohort is settled: not by any route, not by an ordinary log line.
use super::tests::{ALICE, BOB, World, packed, resolved};
use super::*;
use crate::{
    http::{InternalApi, Token, internal_router, router},
    wire::{Architectures, Leaderboard},
};
use async_trait::async_trait;
use axum::{Router, body::Body, http::Request};
use prism_core::{
    evidence::RunOutcome,
    plan::{RunRole, Subject},
    submission::{FailureClass, SubmissionKind, SubmissionStatus},
    testing::{
        fakes::{Script, ScriptedTrainer},
        sample,
    },
};
use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};
use tower::ServiceExt as _;

/// A chain that takes no weights today.
#[derive(Debug)]
struct NoWeights;

#[async_trait]
impl WeightSetter for NoWeights {
    fn name(&self) -> &str {
        "none"
    }
    async fn prepare(&self, _: prism_core::WeightIntent) -> Result<prism_core::Receipt> {
        Err(Error::new(Kind::Refused, Fault::Validator, "no permit"))
    }
    async fn advance(&self, receipt: &prism_core::Receipt) -> Result<prism_core::Receipt> {
        Ok(receipt.clone())
    }
}

const TOKEN: &str = "a-token-of-the-operator";

#[tokio::test]
async fn what_a_cohort_showed_is_the_operators_until_its_weights_are_revealed() {
    let world = World::new();
    let store = world.store();
    let validator = world.builder(&store, world.trainer()).weight_setter(NoWeights).build().unwrap();
    validator.start().await.unwrap();
    world.submit_all(&store).await;
    assert_eq!(validator.run_cohort(&Cancel::new()).await.unwrap_err().kind(), Kind::Refused);

    let clock: Arc<dyn Clock> = Arc::clone(&validator.0.clock);
    let public = router(world.api(&store, &validator, Arc::clone(&clock)));
    let internal = internal_router(InternalApi { store: store.clone(), clock }, Token::new(TOKEN).unwrap());
    let leaderboard = async |text: String| serde_json::from_str::<Leaderboard>(&text).unwrap();
    let owners = async |text: String| {
        let all = serde_json::from_str::<Architectures>(&text).unwrap().architectures;
        let held = |one: &crate::wire::ArchitectureView| one.owner.is_some() || one.training_owner.is_some();
        all.iter().filter(|one| held(one)).count()
    };

    let settled = store.cards(1).await.unwrap();
    assert!(settled.iter().any(|card| card.total.is_some()), "{settled:?}");
    assert_eq!(leaderboard(body(&public, "/v1/leaderboard").await).await.entries, []);
    assert_eq!(leaderboard(operator(&internal, "/internal/v1/leaderboard").await).await.entries.len(), settled.len());
    assert_eq!(owners(body(&public, "/v1/architectures").await).await, 0);
    assert_eq!(owners(operator(&internal, "/internal/v1/architectures").await).await, 2);
    assert!(body(&public, "/v1/training-variants").await.contains("[]"));
    assert!(!operator(&internal, "/internal/v1/training-variants").await.contains("[]"));
    let winner = settled[0].submission;
    assert!(body(&public, &format!("/v1/submissions/{winner}/curve")).await.contains("curve.sealed"));
    assert!(body(&public, &format!("/v1/submissions/{winner}")).await.contains("\"final_score\":null"));
    let score = operator(&internal, &format!("/internal/v1/submissions/{winner}")).await;
    assert!(!score.contains("\"final_score\":null"), "{score}");
    assert!(body(&internal, "/internal/v1/leaderboard").await.contains("internal.token"), "nobody without the token");

    world.builder(&store, world.trainer()).build().unwrap().run_cohort(&Cancel::new()).await.unwrap();
    let board = leaderboard(body(&public, "/v1/leaderboard").await).await;
    assert_eq!(board, leaderboard(operator(&internal, "/internal/v1/leaderboard").await).await);
    assert_eq!(owners(body(&public, "/v1/architectures").await).await, 2);
    assert!(body(&public, &format!("/v1/submissions/{winner}/curve")).await.contains("bits_per_byte"));
}

async fn operator(router: &Router, path: &str) -> String {
    let request = Request::get(path).header("authorization", format!("Bearer {TOKEN}")).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// As in an exception's text, or at the end of standard error.
const ROW: &str = "the-row-that-a-guest-saw";

#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Alice's runs fail with the row in their text, on this machine first. Bob's doesn't end while it is to wait.
fn trainer(waits: impl Fn() -> bool + Send + Sync + 'static) -> ScriptedTrainer {
    let (llama, failures, shown) = (resolved("llama"), AtomicU32::new(0), AtomicUsize::new(0));
    let (gpt, rates) = (resolved("gpt"), PrismPolicy::smoke().plan.rates.len());
    ScriptedTrainer::new(move |task| {
        let Subject::Native { graph, .. } = task.subject else { panic!("no native task") };
        if graph == llama {
            if failures.fetch_add(1, Ordering::SeqCst) == 0 {
                return Script::Fails(Error::new(Kind::Unavailable, Fault::Infrastructure, ROW));
            }
            let mut evidence = sample::evidence(task, 4.0);
            let reason = format!("train: ValueError: {ROW}");
            evidence.outcome = RunOutcome::Failed { class: FailureClass::MinerCode, reason };
            shown.fetch_add(1, Ordering::SeqCst);
            return Script::Shows(Box::new(evidence));
        }
        if graph == gpt && task.role == RunRole::Recipe {
            // They take turns: his comes again when hers are through.
            if shown.load(Ordering::SeqCst) < rates {
                return Script::Fails(Error::new(Kind::Unavailable, Fault::Infrastructure, "not yet"));
            }
            if waits() {
                return Script::Endless;
            }
        }
        Script::Shows(Box::new(sample::evidence(task, 4.5)))
    })
    .with_python(false)
}

async fn body(router: &Router, path: &str) -> String {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn what_a_guest_wrote_is_sealed_until_its_cohort_is_settled() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::INFO).with_writer(move || writer.clone());
    // While there is one subscriber only, a line first reached by the thread of another test is taken to interest nobody.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let logged = || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();

    let world = World::new();
    let store = world.store();
    let stop = Cancel::new();
    let cancel = stop.clone();
    let waits = move || {
        let first = !cancel.is_cancelled();
        cancel.cancel();
        first
    };
    let validator = world.builder(&store, trainer(waits)).workers(1).build().unwrap();
    validator.start().await.unwrap();
    let architecture = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
    let recipe = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: recipe.yaml }\n";
    let kinds = (SubmissionKind::ArchitectureOnly, SubmissionKind::TrainingForArch);
    let alice = world.submit(&store, ALICE, &packed(architecture, "llama"), kinds.0).await;
    let bob = world.submit(&store, BOB, &packed(recipe, ""), kinds.1).await;
    let clock: Arc<dyn Clock> = Arc::clone(&validator.0.clock);
    let router = router(world.api(&store, &validator, clock));
    let mut routes: Vec<String> = [alice, bob]
        .iter()
        .flat_map(|id| [format!("/v1/submissions/{id}"), format!("/v1/submissions/{id}/curve")])
        .collect();
    let boards = ["leaderboard", "leaderboard?cohort=1", "architectures", "training-variants", "epochs"];
    routes.extend(boards.map(|board| format!("/v1/{board}")));
    routes.extend(["/healthz", "/readyz", "/openapi.json", "/metrics", "/"].map(str::to_owned));

    // Somebody stops it when Alice's runs are through, and Bob's are not.
    let stopped = validator.run_cohort(&stop).await.unwrap_err();
    assert_eq!(stopped.kind(), Kind::Cancelled);
    let runs = store.evidence_of(1, alice).await.unwrap();
    assert!(!runs.is_empty() && runs.iter().all(|run| !run.is_completed()), "the text is in the store");
    for route in &routes {
        let body = body(&router, route).await;
        assert!(!body.contains(ROW), "{route}: {body}");
    }
    assert!(logged().contains("run failed on this machine") && logged().contains("run finished"), "{}", logged());
    assert!(!logged().contains(ROW), "{}", logged());

    // Later rows are others: now it may be told why.
    validator.run_cohort(&Cancel::new()).await.unwrap();
    let record = store.submission(alice).await.unwrap().unwrap();
    assert_eq!(record.status, SubmissionStatus::Failed);
    assert!(body(&router, &format!("/v1/submissions/{alice}")).await.contains(ROW));
    assert!(!logged().contains(ROW), "{}", logged());
}
