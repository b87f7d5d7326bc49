//! What the boards show, and when.
use super::*;
use crate::{
    intake::{IntakeLimits, IntakeParts, IntakeSource},
    store::{FileArtifacts, intake::Arrival},
    validator::{Baseline, Validator},
    wire::{ArchitectureFiles, Architectures, Curve, Epochs, Leaderboard, Refused, SubmissionView, TrainingVariants},
};
use prism_core::{
    Artifacts, Cancel, Digest, Hotkey, MechanismId, Netuid, SubmissionId,
    artifacts::ArtifactsExt,
    plan::{DataRef, RunRole},
    submission::{SubmissionKind, SubmissionStatus},
    testing::{
        fakes::{FakeChain, ManualClock, RecordingSetter, Script, ScriptedTrainer},
        sample,
    },
};
use prism_eval::{
    bundle,
    graph::baselines,
    policy::PrismPolicy,
    run_manifest::{RunManifest, architecture::canonical_json},
};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use tower::ServiceExt;

const NETUID: Netuid = Netuid(7);
const ALICE: Hotkey = Hotkey([1; 32]);
const BOB: Hotkey = Hotkey([2; 32]);

async fn get<T: DeserializeOwned>(router: &Router, path: &str) -> Result<T, (StatusCode, Refused)> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    if status.is_success() {
        return Ok(serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{path}: {e}: {body:?}")));
    }
    Err((status, serde_json::from_slice(&body).unwrap()))
}

fn packed(manifest: &str, file: (&str, &str)) -> Vec<u8> {
    let files = [("prism.yaml", manifest), file].map(|(name, text)| (name.to_owned(), text.to_owned()));
    bundle::pack(&BTreeMap::from(files)).unwrap()
}

#[tokio::test]
async fn boards_show_nothing_of_a_run_before_its_cohort_is_settled_and_all_of_it_afterwards() {
    let chain = FakeChain::new(NETUID);
    for hotkey in [Hotkey([100; 32]), ALICE, BOB] {
        chain.register(hotkey, true, 1);
    }
    while chain.tip().block.0 < 10 {
        chain.next_block();
    }
    let store = Store::in_memory().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let artifacts: Arc<dyn Artifacts> = Arc::new(FileArtifacts::open(folder.path()).unwrap());
    // Blocks come with time: the validator's clock makes them, the intake's stands still.
    let blocks = crate::validator::tests::ChainClock { chain: chain.clone(), time: ManualClock::default() };
    let gpt = {
        let plan = PrismPolicy::smoke().plan;
        let context = plan.context(256);
        let limits = plan.limits().within(&context);
        Digest::of(&baselines::spec("gpt").unwrap().unwrap().resolve(&context, &limits).unwrap().canonical_bytes())
    };
    let trainer = ScriptedTrainer::new(move |task| {
        let base = matches!(&task.subject, prism_core::plan::Subject::Native { graph, .. } if *graph == gpt);
        let end = match (base, &task.role) {
            (true, RunRole::Recipe) => 4.0,
            (true, _) => 4.5,
            _ => 3.5,
        };
        Script::Shows(Box::new(sample::evidence(task, end)))
    });
    let validator = Validator::builder()
        .subnet(NETUID, MechanismId(0))
        .chain(chain.clone())
        .source(IntakeSource::new(store.clone()))
        .store(store.clone())
        .artifacts(Arc::clone(&artifacts))
        .trainer(trainer)
        .baselines(vec![Baseline::shipped("gpt").unwrap()])
        .weight_setter(RecordingSetter::new(chain.clone(), Hotkey([100; 32])))
        .clock(Arc::new(blocks))
        .policy(PrismPolicy::smoke())
        .data(DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 })
        .build()
        .unwrap();
    validator.start().await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::default());
    let chain_view: Arc<dyn ChainView> = Arc::new(chain.clone());
    let intake = Intake::new(IntakeParts {
        netuid: NETUID,
        chain: Arc::clone(&chain_view),
        store: store.clone(),
        artifacts: Arc::clone(&artifacts),
        precheck: Arc::new(validator.clone()),
        clock: Arc::clone(&clock),
        validator: None,
        limits: IntakeLimits::default(),
    });
    let router = router(Api { intake, store: store.clone(), chain: chain_view, clock: Arc::clone(&clock) });
    let submit = async |hotkey: Hotkey, name: &str, bundle: Vec<u8>, kind| -> SubmissionId {
        let archive = artifacts.keep_bytes(&bundle).await.unwrap();
        let arrival = Arrival {
            hotkey,
            nonce: name.into(),
            keep_nonce_until: clock.now(),
            name: Some(name.into()),
            kind,
            archive,
            bytes: bundle.len() as u64,
            block: chain.tip().finalized,
            quota: 9,
            received_at: clock.now(),
        };
        store.accept(arrival).await.unwrap().unwrap().submission.id
    };
    let manifest = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
    let llama = packed(manifest, ("model.graph.yaml", baselines::document("llama").unwrap()));
    let alice = submit(ALICE, "llama", llama, SubmissionKind::ArchitectureOnly).await;
    let manifest = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: recipe.yaml }\n";
    let recipe = "recipe: prism.recipe/1\noptimizer: { kind: adamw, learning_rate: 0.003 }\n";
    let bob = submit(BOB, "recipe", packed(manifest, ("recipe.yaml", recipe)), SubmissionKind::TrainingForArch).await;

    let before: SubmissionView = get(&router, &format!("/v1/submissions/{alice}")).await.unwrap();
    assert_eq!((before.status, before.final_score), (SubmissionStatus::Pending, None));
    let (status, refused) = get::<Curve>(&router, &format!("/v1/submissions/{alice}/curve")).await.unwrap_err();
    assert_eq!((status.as_u16(), refused.error.rule.as_str()), (404, "curve.sealed"));
    let board: Leaderboard = get(&router, "/v1/leaderboard").await.unwrap();
    assert_eq!(board, Leaderboard { cohort: None, entries: vec![] });
    let epochs: Epochs = get(&router, "/v1/epochs").await.unwrap();
    assert_eq!(epochs.epochs, []);

    let (status, refused) =
        get::<serde_json::Value>(&router, &format!("/v1/submissions/{alice}/manifest")).await.unwrap_err();
    assert_eq!((status.as_u16(), refused.error.rule.as_str()), (404, "manifest.sealed"));
    let (status, refused) = get::<ArchitectureFiles>(&router, "/v1/architectures/gpt").await.unwrap_err();
    assert_eq!((status.as_u16(), refused.error.rule.as_str()), (404, "architecture.sealed"));

    validator.run_cohort(&Cancel::new()).await.unwrap();

    for (submission, kind) in [(alice, "architecture_only"), (bob, "training_for_arch")] {
        let manifest: serde_json::Value =
            get(&router, &format!("/v1/submissions/{submission}/manifest")).await.unwrap();
        assert_eq!(manifest["evaluation"]["kind"], kind);
        let manifest = RunManifest::read(manifest.to_string().as_bytes()).unwrap();
        assert_eq!(manifest.submission_id.as_str(), submission.to_string());
        assert!(manifest.validation.passed && !manifest.validation.score_eligible, "{:?}", manifest.validation);
        let files: ArchitectureFiles =
            get(&router, &format!("/v1/architectures/{}", manifest.architecture_id)).await.unwrap();
        assert_eq!(files.graph_sha256, manifest.model.architecture_graph_hash);
        assert_eq!(files.graph_sha256, Digest::of(&canonical_json(&files.graph)));
        assert!(files.mermaid.starts_with("flowchart"));
    }
    let gpt: ArchitectureFiles = get(&router, "/v1/architectures/gpt").await.unwrap();
    assert_eq!(gpt.metadata["identity"]["architecture_graph_hash"], gpt.graph_sha256.to_string());
    let (status, refused) = get::<ArchitectureFiles>(&router, "/v1/architectures/other").await.unwrap_err();
    assert_eq!((status.as_u16(), refused.error.rule.as_str()), (404, "architecture.unknown"));

    let board: Leaderboard = get(&router, "/v1/leaderboard?limit=10").await.unwrap();
    let ranks: Vec<(u32, SubmissionId)> = board.entries.iter().map(|e| (e.rank, e.submission.id)).collect();
    assert_eq!(board.cohort, Some(1));
    assert_eq!(ranks.len(), 2);
    assert!(ranks.contains(&(1, alice)) || ranks.contains(&(1, bob)), "{ranks:?}");
    let scores: Vec<_> = board.entries.iter().map(|e| e.submission.final_score.unwrap()).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
    let view: SubmissionView = get(&router, &format!("/v1/submissions/{alice}")).await.unwrap();
    assert_eq!((view.status, view.name.as_deref()), (SubmissionStatus::Completed, Some("llama")));
    assert!(view.q_arch.is_some() && view.q_recipe.is_none() && view.bits_per_byte.is_some(), "{view:?}");
    let curve: Curve = get(&router, &format!("/v1/submissions/{alice}/curve")).await.unwrap();
    let bits: Vec<f64> = curve.points.iter().map(|point| point.bits_per_byte.get()).collect();
    assert!(bits.len() > 1 && bits.first() > bits.last(), "{bits:?}");

    let architectures: Architectures = get(&router, "/v1/architectures").await.unwrap();
    let families: BTreeMap<Option<String>, _> =
        architectures.architectures.iter().map(|a| (a.name.clone(), (a.hotkey, a.owner))).collect();
    assert_eq!(families, [(None, (Some(ALICE), Some(ALICE))), (Some("gpt".to_owned()), (None, None))].into());
    let variants: TrainingVariants = get(&router, "/v1/training-variants").await.unwrap();
    let found: Vec<SubmissionId> = variants.variants.iter().map(|variant| variant.submission).collect();
    assert_eq!(found, [bob]);
    let family = variants.variants[0].family;
    let of_gpt: TrainingVariants = get(&router, &format!("/v1/training-variants?architecture={family}")).await.unwrap();
    assert_eq!(of_gpt, variants);
    let of_other: TrainingVariants =
        get(&router, &format!("/v1/training-variants?architecture={}", "00".repeat(32))).await.unwrap();
    assert_eq!(of_other.variants, []);

    let epochs: Epochs = get(&router, "/v1/epochs").await.unwrap();
    let paid = &epochs.epochs[0];
    assert_eq!(paid.stage.as_deref(), Some("read_back"));
    let hotkeys: Vec<Hotkey> = paid.shares.as_ref().unwrap().keys().copied().collect();
    assert_eq!(hotkeys, [ALICE, BOB]);
}
