use super::{
    architecture::{Architecture, ArchitectureGraph, ArchitectureMetadata, GRAPH_FILE, METADATA_FILE, Source},
    *,
};
use crate::{
    graph::{Context, Limits, baselines},
    guest::GuestPart,
    policy::ScoreNumbers,
    score::{PrismScorer, fixture},
};
use prism_core::{
    Block, Digest, Epoch, Evidence, FamilyId, Finite, Hotkey, ScoreCard, Scorer as _, SubmissionId,
    evidence::RunOutcome,
    plan::{RunMode, Subject},
    scorer::{Candidate, Round},
    submission::{FailureClass, Precedence, SubmissionKind},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::LazyLock};

const PLAIN: &str = include_str!("fixture/plain.v1.json");
const SCHEMA: &str = include_str!("../../../docs/prism_run_manifest.v1.schema.json");

fn plain() -> Value {
    serde_json::from_str(PLAIN).unwrap()
}

fn read(value: &Value) -> Result<RunManifest, ManifestError> {
    RunManifest::read(&serde_json::to_vec_pretty(value).unwrap())
}

/// The value at a JSON place, as `a.b[0].c`. A part in the map of what was not measured has dots of its own.
fn at<'a>(value: &'a mut Value, place: &str) -> &'a mut Value {
    let pointer = format!("/{}", place.replace('[', "/").replace(']', "").replace('.', "/"));
    value.pointer_mut(&pointer).unwrap_or_else(|| panic!("{place}"))
}

fn with(place: &str, new: Value) -> Value {
    let mut value = plain();
    *at(&mut value, place) = new;
    value
}

fn without(place: &str) -> Value {
    let mut value = plain();
    let (parent, key) = place.rsplit_once('.').unwrap_or(("", place));
    let parent = if parent.is_empty() { &mut value } else { at(&mut value, parent) };
    parent.as_object_mut().unwrap().remove(key).unwrap();
    value
}

fn candidate<'a>(runs: &'a [Evidence], kind: SubmissionKind, name: &str) -> Candidate<'a> {
    let precedence = Precedence { block: Block(7), extrinsic: 0, hotkey: Hotkey([1; 32]), local: false };
    let family = FamilyId::of_parts("test", &[name.as_bytes()]);
    let submission = SubmissionId::of_parts("test", &[name.as_bytes()]);
    Candidate { submission, kind, precedence, family, runs, incumbent: false }
}

fn card(candidate: &Candidate<'_>, baselines: &[Candidate<'_>]) -> ScoreCard {
    let numbers =
        ScoreNumbers { require_confirmation: Finite::ZERO, pay_smoke: Finite::ONE, ..ScoreNumbers::default() }
            .numbers();
    let candidates = [candidate.clone()];
    PrismScorer.score(&Round::new(Epoch(3), &numbers, &candidates, baselines)).unwrap().remove(0)
}

fn declared(name: &str) -> Architecture {
    let graph = baselines::spec(name).unwrap().unwrap().resolve(&Context::new(256, 32), &Limits::default()).unwrap();
    Architecture::of(Source::Declared(&graph)).unwrap()
}

fn dataset() -> DatasetRecord {
    DatasetRecord {
        name: Label::fitted("text"),
        revision: Label::fitted("1"),
        train: Some(Digest::of(b"train")),
        validation: Some(Digest::of(b"validation")),
        test: Some(Digest::of(b"test")),
        tokenizer_kind: Label::fitted("bytes"),
        contamination: RelativePath::new("CONTAMINATION.json").ok(),
    }
}

fn files(candidate: &Candidate<'_>, baselines: &[Candidate<'_>], architecture: &Architecture) -> ManifestFiles {
    let (card, dataset) = (card(candidate, baselines), dataset());
    let policy = PolicyReference { digest: Digest::of(b"policy"), version: 2, plan: candidate.runs[0].task.policy };
    let seed = candidate.runs[0].task.cohort.0;
    RunManifest::of(&Record {
        candidate,
        card: &card,
        baselines,
        cohort: CohortReference { number: 3, seed, confirmation: false },
        policy,
        dataset: &dataset,
        architecture,
        owner: None,
        devices: Devices::of(&candidate.runs[0]),
        wall_clock: None,
        numbers: &BTreeMap::new(),
    })
    .unwrap()
}

/// A full submission that is better than its baseline, with a recipe better still.
fn measured(mode: RunMode) -> ManifestFiles {
    let mut runs = fixture::grid("llama", &[(1.0, 3.6), (3.0, 3.5), (10.0, 3.9)]);
    runs.push(fixture::recipe(&runs[1], 3.3));
    let mut base = fixture::grid("gpt", &[(1.0, 4.1), (3.0, 4.0), (10.0, 4.4)]);
    for run in runs.iter_mut().chain(&mut base) {
        run.task.mode = mode;
        run.counters.insert("tokens".into(), 32_000);
    }
    let baselines = [candidate(&base, SubmissionKind::ArchitectureOnly, "gpt")];
    files(&candidate(&runs, SubmissionKind::Full, "llama"), &baselines, &declared("llama"))
}

static OURS: LazyLock<RunManifest> = LazyLock::new(|| measured(RunMode::GpuProxyEval).manifest);

fn ours() -> Value {
    serde_json::to_value(&*OURS).unwrap()
}

#[test]
fn a_manifest_of_the_first_version_is_read_whole_and_ready_for_rewards() {
    let manifest = RunManifest::read(PLAIN.as_bytes()).unwrap();
    manifest.check_official().unwrap();
    assert_eq!(manifest.evaluation, None);
    assert_eq!(serde_json::to_value(&manifest).unwrap(), plain(), "nothing is lost, nothing added");
    assert_eq!(RunManifest::read(&manifest.to_bytes().unwrap()).unwrap(), manifest);
}

#[test]
fn what_the_first_version_left_out_may_be_left_out() {
    for place in [
        "compute.checkpoint_path",
        "compute.resume_checkpoint_path",
        "compute.gpu_type",
        "compute.gpu_server",
        "compute.distributed_backend",
        "dataset.contamination_report_path",
        "dataset.benchmark_fingerprints",
        "model.vocab_size",
        "artifacts.metrics",
        "metrics.benchmark_noise_metadata",
        "metrics.final_loss",
        "validation.warnings",
    ] {
        read(&without(place)).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
    let mut none = without("artifacts.checkpoints");
    *at(&mut none, "compute.checkpoint_path") = Value::Null;
    assert_eq!(read(&none).unwrap().artifacts.checkpoints, []);
}

#[test]
fn what_must_be_there_is_missed_by_its_place() {
    for place in [
        "schema_version",
        "mode",
        "dataset.name",
        "dataset.train_split_fingerprint",
        "model.parameter_count",
        "model.architecture_graph_hash",
        "compute.estimated_flops",
        "compute.wall_clock_seconds",
        "compute.world_size",
        "metrics.loss_vs_tokens",
        "metrics.learning_speed_slope",
        "metrics.parameter_count",
        "metrics.gpu_count",
        "metrics.diagnostics.useful_sparsity",
        "metrics.loss",
        "metrics.loss.loss_comparable",
        "metrics.loss.raw_final_loss",
        "metrics.loss.baseline_run_id",
        "artifacts.run_log",
        "validation.passed",
    ] {
        let error = read(&without(place)).unwrap_err();
        let (parent, key) = place.rsplit_once('.').unwrap_or(("document", place));
        let text = error.to_string();
        assert!(text.starts_with(parent) && text.contains(key), "{place}: {text}");
    }
}

/// One field changed, and the place that the error begins with.
fn broken() -> Vec<(Value, &'static str)> {
    let mut all = vec![
        (with("metrics.parameter_count", json!(5)), "metrics.parameter_count is 5, model.parameter_count is 120000"),
        (with("model.parameter_count", json!(6)), "metrics.parameter_count is 120000, model.parameter_count is 6"),
        (with("metrics.gpu_count", json!(1)), "metrics.gpu_count is 1, compute.gpu_count is 2"),
        (with("compute.tokens_seen", json!(1)), "metrics.tokens_seen is 1024, compute.tokens_seen is 1"),
        (with("compute.estimated_flops", json!(1.5)), "metrics.estimated_flops is 737280000, compute"),
        (with("model.architecture_graph_hash", json!("6".repeat(64))), "artifacts.architecture_graph.sha256 is 333"),
        (with("artifacts.architecture_graph.sha256", Value::Null), "artifacts.architecture_graph.sha256 is null"),
        (with("compute.checkpoint_path", json!("checkpoints/other.pt")), "compute.checkpoint_path is"),
        (with("compute.rank", json!(2)), "compute.rank is 2, compute.world_size is 2"),
        (with("compute.world_size", json!(0)), "compute.world_size is 0, below 1"),
        (with("compute.effective_batch_size", json!(0)), "compute.effective_batch_size is 0, below 1"),
        (with("compute.gradient_accumulation_steps", json!(0)), "compute.gradient_accumulation_steps is 0"),
        (with("compute.wall_clock_seconds", json!(-1.0)), "compute.wall_clock_seconds is -1, below 0"),
        (with("model.max_sequence_length", json!(0)), "model.max_sequence_length is 0"),
        (with("model.vocab_size", json!(0)), "model.vocab_size is 0"),
        (with("metrics.loss_vs_tokens[1].x", json!(-1.0)), "metrics.loss_vs_tokens[1].x is -1"),
        (with("metrics.loss_vs_compute[0].loss", json!(-1.0)), "metrics.loss_vs_compute[0].loss is -1"),
        (with("metrics.loss_vs_params", json!([])), "metrics.loss_vs_params is null or empty"),
        (with("metrics.learning_speed_slope", Value::Null), "metrics.learning_speed_slope is null or empty"),
        (with("metrics.loss.raw_final_loss", json!(-1)), "metrics.loss.raw_final_loss is -1"),
        (
            with("metrics.loss.loss_component_redistribution", json!({ "enabled": true, "reason": "r" })),
            "metrics.loss.loss_component_redistribution.enabled is true",
        ),
        (
            with("metrics.diagnostics.useful_sparsity.aggregate", Value::Null),
            "metrics.diagnostics.useful_sparsity.aggregate is null",
        ),
        (
            with("metrics.diagnostics.useful_sparsity.status", json!("warning")),
            "metrics.diagnostics.useful_sparsity.warnings is empty",
        ),
        (
            with("metrics.diagnostics.attention_diversity.status", json!("ok")),
            "metrics.diagnostics.attention_diversity.aggregate is null",
        ),
        (
            with("metrics.diagnostics.attention_diversity.aggregate", json!(1)),
            "metrics.diagnostics.attention_diversity.aggregate is set",
        ),
        (
            with("metrics.diagnostics.attention_diversity.not_applicable_reason", Value::Null),
            "metrics.diagnostics.attention_diversity.not_applicable_reason is missing",
        ),
        (
            with("metrics.diagnostics.attention_diversity.redistribution", Value::Null),
            "metrics.diagnostics.attention_diversity.redistribution is not enabled",
        ),
        (
            with("metrics.diagnostics.attention_diversity.redistribution.target", Value::Null),
            "metrics.diagnostics.attention_diversity.redistribution.target is missing",
        ),
        (with("artifacts.checkpoints[0].attempt", json!(0)), "artifacts.checkpoints[0].attempt is 0"),
        (with("artifacts.checkpoints[0].rank_writer", json!(2)), "artifacts.checkpoints[0].rank_writer is 2"),
        (
            with("artifacts.checkpoints[0].bytes", json!(10_000_000_001u64)),
            "artifacts.checkpoints[0].bytes is 10000000001",
        ),
        (
            with("validation.deterministic_evidence[0].line", Value::Null),
            "validation.deterministic_evidence[0] has neither",
        ),
        (with("validation.deterministic_evidence[0].line", json!(0)), "validation.deterministic_evidence[0].line is 0"),
        (with("mode", json!("local_cpu_smoke")), "validation.score_eligible is true, mode is local_cpu_smoke"),
        // Form.
        (with("mode", json!("official")), "mode: unknown variant `official`"),
        (with("schema_version", json!("prism_run_manifest.v2")), "schema_version: unknown variant"),
        (with("submission_id", json!("")), "submission_id: text is empty"),
        (with("run_id", json!("a\nb")), "run_id: name has a control character"),
        (with("model.architecture_graph_hash", json!("A".repeat(64))), "model.architecture_graph_hash: digest must"),
        (with("compute.gpu_count", json!(-1)), "compute.gpu_count: invalid value"),
        (with("compute.gpu_count", json!(1.5)), "compute.gpu_count: invalid type"),
        (with("metrics.loss_vs_tokens[2].loss", json!("low")), "metrics.loss_vs_tokens[2].loss: invalid type"),
        (with("compute.rank", Value::Null), "compute.rank: invalid type"),
    ];
    for path in [
        "/artifacts/checkpoints/current/model.pt",
        "../model.pt",
        "checkpoints/../model.pt",
        "checkpoints//model.pt",
        "C:/Users/model.pt",
        "checkpoints\\model.pt",
    ] {
        for place in [
            "compute.checkpoint_path",
            "compute.resume_checkpoint_path",
            "artifacts.checkpoints[0].path",
            "artifacts.checkpoints[0].metadata_path",
            "artifacts.run_log.path",
            "dataset.contamination_report_path",
        ] {
            all.push((with(place, json!(path)), place));
        }
    }
    for place in [
        "",
        "dataset",
        "model",
        "compute",
        "metrics",
        "metrics.loss",
        "metrics.loss.loss_component_redistribution",
        "metrics.loss_vs_tokens[0]",
        "metrics.diagnostics.useful_sparsity",
        "metrics.diagnostics.attention_diversity.redistribution",
        "artifacts",
        "artifacts.run_log",
        "artifacts.checkpoints[0]",
        "validation",
        "validation.deterministic_evidence[0]",
    ] {
        let mut value = plain();
        let block = if place.is_empty() { &mut value } else { at(&mut value, place) };
        block.as_object_mut().unwrap().insert("sha512".into(), json!(1));
        all.push((value, place));
    }
    all
}

#[test]
fn one_field_that_breaks_a_rule_is_refused_with_its_place() {
    for (value, place) in broken() {
        let error = read(&value).expect_err(place).to_string();
        assert!(error.starts_with(place), "{place}: {error}");
        assert!(!place.is_empty() || error.starts_with("sha512: unknown field"), "{error}");
    }
}

#[test]
fn a_key_that_stands_there_twice_and_a_number_that_is_none_are_refused() {
    let twice = PLAIN.replacen("\"arc_challenge\": \"arc-1\"", "\"arc_challenge\": \"a\", \"arc_challenge\": \"b\"", 1);
    let error = RunManifest::read(twice.as_bytes()).unwrap_err();
    assert_eq!(error.place(), Some("dataset.benchmark_fingerprints.arc_challenge"));
    for number in ["NaN", "Infinity", "1e999"] {
        let text = PLAIN.replacen("-0.7", number, 1);
        let error = RunManifest::read(text.as_bytes()).unwrap_err();
        assert_eq!(error.place(), Some("metrics.learning_speed_slope"), "{error}");
    }
}

#[test]
fn a_loss_that_can_not_be_compared_is_read_and_earns_nothing() {
    let mut value = with("metrics.loss.loss_comparable", json!(false));
    *at(&mut value, "metrics.loss.loss_component_redistribution") =
        json!({ "enabled": true, "target_track": "non_comparable", "reason": "another tokenizer" });
    let manifest = read(&value).unwrap();
    let error = manifest.check_official().unwrap_err();
    assert_eq!(error.place(), Some("metrics.loss.loss_comparable"));
    at(&mut value, "metrics.loss.loss_component_redistribution").as_object_mut().unwrap().remove("reason");
    let error = read(&value).unwrap_err();
    assert_eq!(error.place(), Some("metrics.loss.loss_component_redistribution.reason"));
    let unreported = read(&with("dataset.contamination_report_path", Value::Null)).unwrap();
    let error = unreported.check_official().unwrap_err();
    assert_eq!(error.to_string(), "dataset.contamination_report_path is null");
}

#[test]
fn what_was_measured_is_what_the_manifest_says() {
    let ManifestFiles { manifest, files } = measured(RunMode::GpuProxyEval);
    assert_eq!(RunManifest::read(&files[FILE]).unwrap(), manifest);
    manifest.check_official().unwrap();
    assert_eq!(manifest.artifacts.architecture_graph.sha256, Some(Digest::of(&files[GRAPH_FILE])));
    assert_eq!(manifest.artifacts.run_log.bytes, Some(files[RUN_LOG_FILE].len() as u64));
    let evaluation = manifest.evaluation.as_ref().unwrap();
    assert_eq!(evaluation.runs.len(), 4);
    // The reference at the best rate counts, and the hardest baseline is the same rate's.
    assert_eq!(manifest.compute.estimated_flops, Finite::new(6000.0 * 32_000.0));
    assert_eq!(manifest.metrics.loss_vs_params.len(), 1);
    assert!(manifest.metrics.learning_speed_slope.unwrap() < Finite::ZERO);
    let improvement = manifest.metrics.loss.architecture_normalized_heldout_improvement.unwrap().get();
    assert!((improvement - 0.5).abs() < 1e-12, "{improvement}");
    assert_eq!(manifest.metrics.final_loss, manifest.metrics.loss.raw_final_loss);
    let tracks: Vec<&str> = evaluation.score.tracks.keys().map(Label::as_str).collect();
    assert_eq!(tracks, ["architecture", "training"]);
    let architecture = &evaluation.score.tracks[&Label::fitted("architecture")];
    let sanity = &architecture.redistributed[&Label::fitted("benchmark_sanity")];
    assert_eq!(sanity.share, Finite::new(0.05).unwrap());
    assert!(sanity.reason.as_str().starts_with("architecture: benchmark_sanity is not measured"), "{}", sanity.reason);
    let mut stored = fixture::grid("gpt", &[(1.0, 4.1)]).remove(0);
    stored.counters.insert("tokens".into(), 32_000);
    let stored = serde_json::to_vec(&stored).unwrap();
    assert_eq!(evaluation.baselines[0].runs[0].evidence, Digest::of(&stored));
    let log = String::from_utf8(files[RUN_LOG_FILE].clone()).unwrap();
    assert!(log.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(log.lines().filter(|line| line.contains("\"event\":\"end\"")).count(), 4);
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    assert_eq!(measured(RunMode::FullScaleEval), measured(RunMode::FullScaleEval));
}

#[test]
fn a_smoke_run_is_never_eligible_and_says_why() {
    let manifest = measured(RunMode::LocalCpuSmoke).manifest;
    assert!(manifest.evaluation.as_ref().unwrap().score.eligible && !manifest.validation.score_eligible);
    let warnings: Vec<&str> = manifest.validation.warnings.iter().map(Note::as_str).collect();
    assert!(warnings.iter().any(|warning| warning.contains("local_cpu_smoke")), "{warnings:?}");
}

#[test]
fn a_run_that_failed_has_a_manifest_without_invented_numbers() {
    let mut runs = fixture::grid("llama", &[(1.0, 3.6)]);
    runs[0] = fixture::failed(&runs[0], FailureClass::Resource);
    runs[0].counters.clear();
    let base = fixture::grid("gpt", &[(1.0, 4.1)]);
    let baselines = [candidate(&base, SubmissionKind::ArchitectureOnly, "gpt")];
    let subject = candidate(&runs, SubmissionKind::ArchitectureOnly, "llama");
    let manifest = files(&subject, &baselines, &declared("llama")).manifest;
    assert!(!manifest.validation.passed && !manifest.metrics.loss.loss_comparable);
    assert!(manifest.metrics.loss_vs_tokens.is_empty() && manifest.metrics.parameter_count.is_none());
    let reasons = &manifest.evaluation.as_ref().unwrap().not_measured;
    assert!(reasons.contains_key(&Label::fitted("metrics.loss.raw_final_loss")));
    assert!(manifest.validation.errors[0].as_str().contains("resource"));
}

#[test]
fn devices_and_processes_are_those_that_the_evidence_counts() {
    let base = fixture::grid("gpt", &[(1.0, 4.1)]);
    let baselines = [candidate(&base, SubmissionKind::ArchitectureOnly, "gpt")];
    let of = |gpu_millis, counters: &[(&str, u64)]| {
        let mut runs = fixture::grid("llama", &[(1.0, 3.6)]);
        runs[0].work.gpu_millis = gpu_millis;
        runs[0].counters.extend(counters.iter().map(|(name, count)| ((*name).to_owned(), *count)));
        let subject = candidate(&runs, SubmissionKind::ArchitectureOnly, "llama");
        let compute = files(&subject, &baselines, &declared("llama")).manifest.compute;
        (compute.gpu_count, compute.world_size, compute.distributed_backend.map(|name| name.to_string()))
    };
    assert_eq!(of(9, &[("devices", 4), ("processes", 4)]), (4, 4, Some("nccl".to_owned())));
    assert_eq!(of(0, &[("devices", 0), ("processes", 2)]), (0, 2, Some("gloo".to_owned())));
    assert_eq!(of(9, &[("devices", 1), ("processes", 1)]), (1, 1, None));
    assert_eq!((of(9, &[]), of(0, &[])), ((1, 1, None), (0, 1, None)));
}

#[test]
fn of_python_nothing_is_taken_that_python_says() {
    let mut runs = fixture::grid("p", &[(1.0, 3.6)]);
    let mut base = fixture::grid("gpt", &[(1.0, 4.1)]);
    for (run, name) in runs.iter_mut().map(|run| (run, "p")).chain(base.iter_mut().map(|run| (run, "g"))) {
        let recipe = Some(Digest::of(b"reference"));
        run.task.subject = Subject::Guest { bundle: Digest::of(name.as_bytes()), recipe };
        run.counters =
            [("guest_reported_parameters".to_owned(), 7), ("tokens".to_owned(), 9), ("snapshot_bytes".to_owned(), 40)]
                .into();
        run.work.cpu_millis = 10;
    }
    let source = "import torch.nn as nn\n\nclass TinyModel(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.head = nn.Linear(64, 256, bias=False)\n    def forward(self, x):\n        return torch.topk(self.head(x), 2)\n\ndef build_model(ctx):\n    return TinyModel()\n\ndef get_recipe(ctx):\n    return {}\n";
    let part = python(source);
    let architecture = Architecture::of(Source::Python(&part)).unwrap();
    let baselines = [candidate(&base, SubmissionKind::ArchitectureOnly, "g")];
    let subject = candidate(&runs, SubmissionKind::ArchitectureOnly, "p");
    let manifest = files(&subject, &baselines, &architecture).manifest;
    assert_eq!((manifest.model.parameter_count, manifest.model.snapshot_bytes), (None, Some(40)));
    assert_eq!(manifest.compute.estimated_flops, None);
    assert_eq!(manifest.architecture_version_id.as_str(), Digest::of(b"p").to_string());
    let collapse = &manifest.metrics.diagnostics[&Label::fitted("representation_collapse")];
    assert_eq!(collapse.status, DiagnosticStatus::NotApplicable);
}

fn python(source: &str) -> GuestPart {
    serde_json::from_value(json!({ "entrypoint": "model.py", "files": { "model.py": source } })).unwrap()
}

#[test]
fn what_is_bound_to_many_names_is_one_block_under_the_first() {
    let targets: String = (0..500).map(|n| format!("a{n} = ")).collect();
    let arguments = vec![format!("'{}'", "x".repeat(190)); 16].join(", ");
    let source = format!(
        "import torch.nn as nn\n\ndef build_model(ctx):\n    {targets}nn.Linear({arguments})\n\ndef get_recipe(ctx): ...\n"
    );
    let architecture = Architecture::of(Source::Python(&python(&source))).unwrap();
    let graph = architecture.graph();
    let names: Vec<&str> = graph.parameterized_blocks.iter().map(|block| block.name.as_str()).collect();
    assert_eq!(names, ["a0"]);
    assert_eq!(ArchitectureGraph::read(&graph.canonical_bytes()).unwrap(), *graph);
}

#[test]
fn a_graph_of_python_is_what_its_source_says() {
    let source = "import torch.nn as nn\nfrom torch import nn as n\n\nclass TinyGPTModel(nn.Module):\n    def __init__(self, d):\n        self.head: nn.Module = nn.Linear(d *\n 2, 256, bias=False)\n        self.x = self.drop.inner(d)\n\ndef build_model(ctx):\n    return torch.nn.functional.topk(TinyGPTModel(3))\n\ndef get_recipe(ctx): ...\ndef infer(model, batch, ctx): ...\n";
    let architecture = Architecture::of(Source::Python(&python(source))).unwrap();
    let graph = architecture.graph();
    assert_eq!(graph.classes, ["gpt"]);
    assert_eq!(graph.functions, ["__init__", "build_model", "get_recipe", "infer"]);
    assert_eq!(graph.imports, ["torch.nn"]);
    assert_eq!(graph.calls, ["TinyGPTModel", "drop.inner", "functional.topk", "nn.Linear"]);
    assert_eq!(graph.parameterized_blocks.len(), 1);
    let block = &graph.parameterized_blocks[0];
    assert_eq!((block.name.as_str(), block.kind.as_str()), ("head", "Linear"));
    assert_eq!(
        (block.args.as_slice(), block.keywords["bias"].as_str()),
        (&["d * 2".to_owned(), "256".to_owned()][..], "False")
    );
    assert!(graph.dynamic_routing.enabled);
    assert_eq!(graph.interface.required, ["build_model", "get_recipe"]);
    assert_eq!(graph.interface.optional_hooks, ["infer"]);
    let again = source.replace("# nothing", "").replace("    return torch", "\n    return torch");
    assert_eq!(Architecture::of(Source::Python(&python(&again))).unwrap().hash(), architecture.hash());
    let drawn = architecture.mermaid();
    assert!(drawn.starts_with("flowchart LR\n") && drawn.contains("C0[\"gpt\"]"), "{drawn}");
    assert!(drawn.contains("F0 --> C0") && drawn.contains("F1([\"get_recipe\"])"), "{drawn}");
}

#[test]
fn the_canonical_graph_is_the_identity_and_everything_else_follows_from_it() {
    let (gpt, llama) = (declared("gpt"), declared("llama"));
    assert_ne!(gpt.hash(), llama.hash());
    let text = std::str::from_utf8(gpt.graph_bytes()).unwrap();
    assert!(text.starts_with("{\"calls\":[") && text.contains("\"schema_version\":\"architecture_graph.v1\""));
    let graph = ArchitectureGraph::read(gpt.graph_bytes()).unwrap();
    assert_eq!((graph.digest(), graph.canonical_bytes().as_slice()), (gpt.hash(), gpt.graph_bytes()));
    // Spelled in another way it is the same.
    let pretty = serde_json::to_vec_pretty(&serde_json::from_str::<Value>(text).unwrap()).unwrap();
    assert_eq!(ArchitectureGraph::read(&pretty).unwrap().digest(), gpt.hash());
    let files = measured(RunMode::GpuProxyEval).files;
    let metadata = ArchitectureMetadata::read(&files[METADATA_FILE]).unwrap();
    assert_eq!(metadata.identity.architecture_graph_hash, llama.hash());
    let forged = String::from_utf8(files[METADATA_FILE].clone()).unwrap();
    let value = format!("\"value\":\"{}\"", llama.hash());
    assert!(forged.contains(&value));
    let forged = forged.replace(&value, &format!("\"value\":\"{}\"", gpt.hash()));
    let error = ArchitectureMetadata::read(forged.as_bytes()).unwrap_err();
    assert_eq!(error.place(), Some("identity.architecture_graph_hash"));
}

#[test]
fn what_stands_behind_the_numbers_must_agree_with_them() {
    let change = |place: &str, new: Value| {
        let mut value = ours();
        *at(&mut value, place) = new;
        read(&value).expect_err(place).to_string()
    };
    let score = "evaluation.score";
    let other = json!(Digest::of(b"other"));
    for (place, new, expected) in [
        ("run_id", json!("other"), "run_id is other, which is no task"),
        ("metrics.loss.baseline_run_id", json!("other"), "metrics.loss.baseline_run_id is other"),
        ("validation.passed", json!(false), "validation.passed is false"),
        ("evaluation.score.eligible", json!(false), "validation.score_eligible is true, evaluation.score.eligible"),
        ("dataset.contamination_report_path", Value::Null, "validation.score_eligible is true, and dataset.contam"),
        ("evaluation.score.total", json!(1.5), "evaluation.score.total is 1.5, outside 0 to 1"),
        ("evaluation.score.bits_per_byte.low", json!(-9.0), "evaluation.score.bits_per_byte.low is -9"),
        (
            "evaluation.score.tracks.architecture.components.robustness.share",
            json!(0.5),
            "evaluation.score.tracks.architecture.components has shares that sum to",
        ),
        ("evaluation.runs[1].outcome", json!("resource"), "evaluation.runs[1].reason is missing"),
        ("evaluation.runs", json!([]), "evaluation.runs is empty"),
        ("compute.wall_clock_seconds", json!(3.0), "evaluation.not_measured.compute.wall_clock_seconds gives a reason"),
        ("metrics.loss_vs_tokens", json!([]), "metrics.loss_vs_tokens is null or empty"),
        ("compute.gpu_device_ids", json!(["0"]), "compute.gpu_device_ids has 1 entries, compute.gpu_count is 0"),
        ("evaluation.runs[0].evidence", json!(7), "evaluation.runs[0].evidence: invalid type"),
    ] {
        let error = change(place, new);
        assert!(error.starts_with(expected), "{place}: {error}");
    }
    let mut twice = ours();
    *at(&mut twice, "evaluation.runs[1].task") = at(&mut twice, "evaluation.runs[0].task").clone();
    assert!(read(&twice).unwrap_err().to_string().starts_with("evaluation.runs[1].task is"));
    let mut tokens = ours();
    *at(&mut tokens, "compute.tokens_seen") = json!(1);
    *at(&mut tokens, "metrics.tokens_seen") = json!(1);
    assert!(read(&tokens).unwrap_err().to_string().starts_with("compute.tokens_seen is 1, the tokens of its run"));
    let mut both = ours();
    let tracks = at(&mut both, &format!("{score}.tracks.architecture.redistributed"));
    tracks["robustness"] = json!({ "share": 0.05, "reason": "r" });
    assert!(read(&both).unwrap_err().to_string().contains("redistributed.robustness stands there, and"));
    let mut odd = ours();
    at(&mut odd, "evaluation.not_measured")["mode"] = json!("r");
    assert!(read(&odd).unwrap_err().to_string().starts_with("evaluation.not_measured.mode is no place"));
    let mut free = ours();
    *at(&mut free, "evaluation.runs[0].evidence") = other;
    read(&free).unwrap();
}

#[test]
fn the_published_schema_is_what_the_types_give() {
    let published: Value = serde_json::from_str(SCHEMA).unwrap();
    let given = schema();
    assert!(published == given, "docs/prism_run_manifest.v1.schema.json should be\n{given:#}");
}

#[test]
fn written_manifests_keep_the_schema_and_broken_ones_do_not() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for manifest in [plain(), ours(), serde_json::to_value(measured(RunMode::LocalCpuSmoke).manifest).unwrap()] {
        let errors: Vec<String> = validator.iter_errors(&manifest).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new());
    }
    // All but what one place says about another.
    let form = broken().into_iter().filter(|(value, _)| {
        let error = RunManifest::read(&serde_json::to_vec(value).unwrap()).unwrap_err();
        matches!(error, ManifestError::Form { .. })
    });
    let mut count = 0;
    for (value, place) in form {
        assert!(!validator.is_valid(&value), "{place}");
        count += 1;
    }
    assert!(count > 50, "{count}");
}

/// All places of a document that hold no list and no mapping.
fn leaves(value: &Value, place: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            leaves(value, format!("{place}/{}", key.replace('~', "~0").replace('/', "~1")), all);
        }),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(at, value)| leaves(value, format!("{place}/{at}"), all));
        }
        _ => all.push(place),
    }
}

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z./\\\\:\n]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z_]{0,6}", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_replaces_a_value_is_refused_with_a_place_or_written_as_it_was_read(
        ours_not_plain: bool, pick: prop::sample::Index, new in anything(),
    ) {
        let mut value = if ours_not_plain { ours() } else { plain() };
        let mut places = Vec::new();
        leaves(&value, String::new(), &mut places);
        *value.pointer_mut(&places[pick.index(places.len())]).unwrap() = new;
        match read(&value) {
            Ok(manifest) => {
                let bytes = manifest.to_bytes().unwrap();
                prop_assert_eq!(RunManifest::read(&bytes).unwrap(), manifest);
            }
            Err(error) => prop_assert!(error.place().is_some_and(|place| !place.is_empty()), "{}", error),
        }
    }

    #[test]
    fn arbitrary_json_is_refused_without_a_panic(value in anything()) {
        prop_assert!(read(&value).is_err());
        let _ = ArchitectureMetadata::read(value.to_string().as_bytes());
        let _ = ArchitectureGraph::read(value.to_string().as_bytes());
    }

    #[test]
    fn arbitrary_evidence_gives_a_manifest_or_a_reason(
        bits in prop::collection::vec(prop_oneof![any::<f64>(), 0.0f64..9.0], 0..6), tokens: u64, flops: u64,
        failed: bool,
    ) {
        let mut run = fixture::run("any");
        let rows: Vec<f64> = bits.into_iter().filter(|bits| bits.is_finite()).collect();
        run = fixture::with_points(&run, &[&rows, &rows]);
        run.counters = [("tokens".to_owned(), tokens), ("flops_per_token".to_owned(), flops)].into();
        if failed {
            run.outcome = RunOutcome::Failed { class: FailureClass::MinerCode, reason: "\u{0}".into() };
        }
        let (runs, base) = ([run], fixture::grid("gpt", &[(1.0, 4.1)]));
        let baselines = [candidate(&base, SubmissionKind::ArchitectureOnly, "gpt")];
        let subject = candidate(&runs, SubmissionKind::ArchitectureOnly, "llama");
        let written = files(&subject, &baselines, &declared("gpt"));
        prop_assert_eq!(&RunManifest::read(&written.files[FILE]).unwrap(), &written.manifest);
    }
}
