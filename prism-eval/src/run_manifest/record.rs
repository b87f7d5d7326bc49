//! From what a validator has on record to the manifest and the files beside it: a pure function, for declared
//! architectures and Python alike.
use super::{
    Artifact, Artifacts, BaselineReference, CohortReference, Compute, Dataset, DiagnosticRecord, Evaluation,
    EvaluationSchema, Interval, Label, Loss, LossRedistribution, LossScope, LossUnit, ManifestError, ManifestSchema,
    MetricPoint, Metrics, Mode, Model, Note, PolicyReference, RelativePath, RunManifest, RunReference, Validation,
    architecture::{Architecture, GRAPH_FILE, Known, MERMAID_FILE, METADATA_FILE},
    dataset::DatasetRecord,
    evaluation::COMPLETED,
    metrics::MAX_POINTS,
    run_log,
    score::{self, Shares},
};
use crate::{
    measure::signals::{self, DiagnosticThresholds},
    policy::PolicyError,
    score::{Measured, mean_bits_per_byte, paired_difference, recipe_run, same_rows, tuned_reference},
};
use prism_core::{
    Digest, Evidence, Finite, Hotkey, ScoreCard,
    evidence::{Point, RunOutcome, TaskAnswers},
    plan::{RunRole, Subject},
    scorer::Candidate,
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

/// File name of the log of all runs.
pub const RUN_LOG_FILE: &str = "run_log.jsonl";
/// The key of a scaling probe over size.
const SIZE: &str = "size";

/// What a validator has on record of one entrant of one cohort.
#[derive(Debug, Clone)]
pub struct Record<'a> {
    /// The entrant with its runs.
    pub candidate: &'a Candidate<'a>,
    /// Its card.
    pub card: &'a ScoreCard,
    /// What it was compared with.
    pub baselines: &'a [Candidate<'a>],
    /// Whose rows were seen.
    pub cohort: CohortReference,
    /// What was measured and scored under.
    pub policy: PolicyReference,
    /// Which text.
    pub dataset: &'a DatasetRecord,
    /// Its architecture, or the family's where it brings none.
    pub architecture: &'a Architecture,
    /// Who holds the family's slot.
    pub owner: Option<Hotkey>,
    /// What the run that counts had to itself.
    pub devices: Devices,
    /// How long the run that counts took, by the validator's clock.
    pub wall_clock: Option<Duration>,
    /// The policy's numbers by name, as the round carried them: shares of components, and where diagnostics warn.
    pub numbers: &'a BTreeMap<String, Finite>,
}

/// What a run had to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// Which kind of GPU.
    pub kind: Option<Label>,
    /// In which machine.
    pub server: Option<Label>,
    /// Which of them.
    pub ids: Vec<Label>,
    /// How many.
    pub count: u32,
}

impl Devices {
    /// What the evidence of a run says: processors, or as many devices as it counts; one where it counts none.
    #[must_use]
    pub fn of(run: &Evidence) -> Self {
        if run.work.gpu_millis == 0 {
            return Self::default();
        }
        let count = at_least_one(run.counters.get("devices").copied());
        Self { kind: Some(Label::fitted(&run.device)), count, ..Self::default() }
    }
}

fn at_least_one(count: Option<u64>) -> u32 {
    u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX).max(1)
}

/// A manifest and the files beside it, each as the bytes that its digest is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestFiles {
    /// The manifest.
    pub manifest: RunManifest,
    /// All files by name, [`FILE`](super::FILE) among them.
    pub files: BTreeMap<&'static str, Vec<u8>>,
}

/// The run that stands for a submission: its tuned reference where it brings an architecture, else its own recipe; where
/// neither completed, the first there is.
#[must_use]
pub fn counting_run<'a>(candidate: &Candidate<'a>) -> Option<&'a Evidence> {
    let counting = if candidate.kind.brings_architecture() {
        tuned_reference(candidate.runs).or_else(|| recipe_run(candidate.runs))
    } else {
        recipe_run(candidate.runs)
    };
    counting.or(candidate.runs.first())
}

impl RunManifest {
    /// The manifest of an entrant, with the files that it names.
    ///
    /// # Errors
    /// An entrant without any evidence; a manifest that would contradict itself.
    pub fn of(record: &Record<'_>) -> Result<ManifestFiles, ManifestError> {
        let candidate = record.candidate;
        let refused = |problem: &str| ManifestError::Record {
            submission: candidate.submission.to_string(),
            problem: problem.to_owned(),
        };
        let run = counting_run(candidate).ok_or_else(|| refused("there is no evidence of any run"))?;
        let versions = Versions::of(candidate.runs, run).ok_or_else(|| refused("it is of a published model"))?;
        let known = Known {
            family: candidate.family,
            version: versions.architecture,
            policy: record.policy.digest,
            owner: record.owner,
            kind: kind_word(candidate),
            training: Some(&versions.training_summary),
        };
        let mut files = record.architecture.files(&known)?;
        files.insert(RUN_LOG_FILE, run_log::lines(candidate.runs));
        let draft = Draft::of(record, run, &versions).map_err(|error| refused(&error.to_string()))?;
        let manifest = draft.manifest(&files)?;
        files.insert(super::FILE, manifest.to_bytes()?);
        Ok(ManifestFiles { manifest, files })
    }
}

fn kind_word(candidate: &Candidate<'_>) -> &'static str {
    use prism_core::submission::SubmissionKind::{ArchitectureOnly, Full, TrainingForArch};
    match candidate.kind {
        Full => "full",
        ArchitectureOnly => "architecture_only",
        TrainingForArch => "training_for_arch",
    }
}

/// What of a submission was run, by digest.
struct Versions {
    architecture: Digest,
    training: String,
    training_summary: String,
}

impl Versions {
    /// The architecture is that of a run of the reference recipe where there is one: with hooks of its own a bundle has
    /// another digest.
    fn of(runs: &[Evidence], run: &Evidence) -> Option<Self> {
        let alone = |run: &Evidence| match run.task.subject {
            Subject::Native { graph, .. } => Some(graph),
            Subject::Guest { bundle, recipe: Some(_) } => Some(bundle),
            _ => None,
        };
        let own = |run: &Evidence| match run.task.subject {
            Subject::Guest { bundle, .. } => Some(bundle),
            _ => alone(run),
        };
        let architecture = alone(run).or_else(|| runs.iter().find_map(alone)).or_else(|| own(run))?;
        let recipe = runs.iter().find(|run| run.task.role == RunRole::Recipe);
        let (training, training_summary) = match recipe.unwrap_or(run).task.subject {
            Subject::Native { recipe: digest, .. } | Subject::Guest { recipe: Some(digest), .. } => {
                let whose = if recipe.is_some() { "its own declared recipe" } else { "the reference recipe" };
                (digest.to_string(), format!("{whose}, {digest}"))
            }
            Subject::Guest { bundle, recipe: None } => (bundle.to_string(), format!("its own hooks, {bundle}")),
            _ => return None,
        };
        Some(Self { architecture, training, training_summary })
    }
}

/// What the run that counts is compared with.
struct Compared<'a> {
    baseline: Option<&'a Evidence>,
    /// Why it can't be compared.
    incomparable: Option<String>,
}

impl<'a> Compared<'a> {
    /// A recipe is compared with the tuned reference on the same family, an architecture with the hardest baseline: the
    /// one that needs the fewest bits.
    fn of(candidate: &Candidate<'a>, baselines: &[Candidate<'a>], run: &Evidence) -> Self {
        let rivals: Vec<&Evidence> = if run.task.role == RunRole::Recipe {
            tuned_reference(candidate.runs).into_iter().collect()
        } else {
            baselines.iter().filter(|other| !other.incumbent).filter_map(|other| tuned_reference(other.runs)).collect()
        };
        let mut hardest: Option<(Finite, &Evidence)> = None;
        let mut incomparable = None;
        for rival in rivals {
            let bits = mean_bits_per_byte(rival, Measured::Prequential);
            match same_rows(run, rival, Measured::Prequential).and(bits) {
                Ok(bits) if hardest.is_none_or(|(least, _)| bits.mean < least) => hardest = Some((bits.mean, rival)),
                Ok(_) => {}
                Err(error) => incomparable = Some(error.to_string()),
            }
        }
        match hardest {
            Some((_, baseline)) => Self { baseline: Some(baseline), incomparable: None },
            None => {
                let none = || "there is no completed run of a baseline".to_owned();
                Self { baseline: None, incomparable: Some(incomparable.unwrap_or_else(none)) }
            }
        }
    }
}

/// The parts of a manifest while they are put together.
struct Draft<'a> {
    record: &'a Record<'a>,
    run: &'a Evidence,
    versions: &'a Versions,
    compared: Compared<'a>,
    thresholds: DiagnosticThresholds,
    shares: Shares,
    not_measured: BTreeMap<Label, Note>,
    warnings: Vec<Note>,
}

impl<'a> Draft<'a> {
    fn of(record: &'a Record<'a>, run: &'a Evidence, versions: &'a Versions) -> Result<Self, PolicyError> {
        let compared = Compared::of(record.candidate, record.baselines, run);
        Ok(Self {
            record,
            run,
            versions,
            compared,
            thresholds: DiagnosticThresholds::from_numbers(record.numbers)?,
            shares: Shares::of(record.numbers)?,
            not_measured: BTreeMap::new(),
            warnings: Vec::new(),
        })
    }

    /// A number, or why it is missing.
    fn measured<T>(&mut self, place: &str, value: Option<T>, why: &str) -> Option<T> {
        if value.is_none() {
            self.not_measured.insert(Label::fitted(place), Note::fitted(why));
        }
        value
    }

    fn counter(&self, name: &str) -> Option<u64> {
        self.run.counters.get(name).copied().filter(|count| *count > 0)
    }

    /// Why a count that needs the architecture's operators is missing.
    fn uncounted(&self) -> &'static str {
        match self.run.task.subject {
            Subject::Guest { .. } => "the host can't count it of submitted code, and what the code says is not taken",
            _ => "the run ended before it was counted",
        }
    }

    fn manifest(mut self, files: &BTreeMap<&'static str, Vec<u8>>) -> Result<RunManifest, ManifestError> {
        let (record, run) = (self.record, self.run);
        let dataset = self.dataset();
        let compute = self.compute();
        let parameters = self.counter("parameters");
        let parameters = self.measured("model.parameter_count", parameters, self.uncounted());
        if parameters.is_none() {
            self.measured::<u64>("metrics.parameter_count", None, self.uncounted());
        }
        let model = Model {
            parameter_count: parameters,
            architecture_graph_hash: record.architecture.hash(),
            tokenizer_kind: record.dataset.tokenizer_kind.clone(),
            vocab_size: Some(u64::from(run.task.data.vocabulary)),
            max_sequence_length: u64::from(run.task.budget.sequence),
            snapshot_bytes: self.counter("snapshot_bytes"),
        };
        let metrics = self.metrics(&compute, parameters);
        let artifacts = artifacts(files)?;
        let reference = |run: &Evidence| run_reference(run);
        let runs = record.candidate.runs.iter().map(reference).collect::<Result<_, _>>()?;
        let baselines = record.baselines.iter().map(|baseline| {
            Ok(BaselineReference {
                submission: Digest(baseline.submission.0),
                family: Digest(baseline.family.0),
                runs: baseline.runs.iter().map(reference).collect::<Result<_, _>>()?,
            })
        });
        let baselines = baselines.collect::<Result<_, ManifestError>>()?;
        let score = score::report(record.card, &self.shares);
        let passed = score.total.is_some();
        let validation = Validation {
            passed,
            score_eligible: score.eligible,
            deterministic_evidence: Vec::new(),
            warnings: std::mem::take(&mut self.warnings),
            errors: failures(record.candidate.runs),
        };
        let evaluation = Evaluation {
            schema_version: EvaluationSchema::V1,
            kind: record.candidate.kind.into(),
            policy: record.policy.clone(),
            cohort: record.cohort.clone(),
            loss_unit: LossUnit::BitsPerByte,
            score,
            runs,
            baselines,
            not_measured: self.not_measured,
        };
        let mut manifest = RunManifest {
            schema_version: ManifestSchema::V1,
            submission_id: Label::fitted(&record.candidate.submission.to_string()),
            architecture_id: Label::fitted(&record.candidate.family.to_string()),
            architecture_version_id: Label::fitted(&self.versions.architecture.to_string()),
            training_script_version_id: Label::fitted(&self.versions.training),
            run_id: Label::fitted(&run.task.id().to_string()),
            mode: Mode::from(run.task.mode),
            dataset,
            model,
            compute,
            metrics,
            artifacts,
            validation,
            evaluation: Some(evaluation),
        };
        manifest.withhold_eligibility();
        Ok(manifest)
    }

    fn dataset(&mut self) -> Dataset {
        let record = self.record.dataset;
        let why = "the validator was given a fingerprint of the whole dataset alone";
        let splits =
            [&record.train, &record.validation, &record.test].map(|digest| digest.map(|d| label(d.to_string())));
        let [train, validation, test] = splits;
        let evaluator = Digest::of_parts(
            "prism/evaluator/1",
            &[env!("CARGO_PKG_VERSION").as_bytes(), self.run.engine.as_bytes(), self.record.card.scorer.as_bytes()],
        );
        Dataset {
            name: record.name.clone(),
            revision: record.revision.clone(),
            train_split_fingerprint: self.measured("dataset.train_split_fingerprint", train, why),
            validation_split_fingerprint: self.measured("dataset.validation_split_fingerprint", validation, why),
            test_split_fingerprint: self.measured("dataset.test_split_fingerprint", test, why),
            tokenizer_fingerprint: label(self.run.task.data.tokenizer.to_string()),
            evaluator_fingerprint: label(evaluator.to_string()),
            benchmark_fingerprints: self.benchmarks(|answers| Some(label(answers.file.to_string()))),
            contamination_report_path: record.contamination.clone(),
        }
    }

    fn compute(&mut self) -> Compute {
        let (run, devices) = (self.run, &self.record.devices);
        let tokens = run.counters.get("tokens").copied().unwrap_or_default();
        let flops = self.counter("flops_per_token").and_then(|per_token| {
            Finite::new(per_token as f64 * tokens as f64 * f64::from(run.task.role.inner_steps()))
        });
        let flops = self.measured("compute.estimated_flops", flops, self.uncounted());
        if flops.is_none() {
            self.measured::<Finite>("metrics.estimated_flops", None, self.uncounted());
        }
        let world_size = at_least_one(self.counter("processes"));
        // As the guest's runner chooses it.
        let backend = if devices.count > 0 { "nccl" } else { "gloo" };
        let seconds = self.record.wall_clock.and_then(|span| Finite::new(span.as_secs_f64()));
        Compute {
            gpu_count: devices.count,
            gpu_type: devices.kind.clone(),
            gpu_server: devices.server.clone(),
            gpu_device_ids: devices.ids.clone(),
            world_size,
            rank: 0,
            local_rank: 0,
            distributed_backend: (world_size > 1).then(|| Label::fitted(backend)),
            effective_batch_size: u64::from(run.task.budget.batch),
            gradient_accumulation_steps: 1,
            tokens_seen: tokens,
            estimated_flops: flops,
            wall_clock_seconds: self.measured(
                "compute.wall_clock_seconds",
                seconds,
                "evidence counts work, not the clock on the wall",
            ),
            checkpoint_path: None,
            resume_checkpoint_path: None,
        }
    }

    fn metrics(&mut self, compute: &Compute, parameters: Option<u64>) -> Metrics {
        let run = self.run;
        let curve: Vec<(&Point, Finite)> =
            run.points.iter().take(MAX_POINTS).filter_map(|point| Some((point, point.bits_per_byte()?))).collect();
        let below = curve.iter().filter(|(_, bits)| *bits < Finite::ZERO).count();
        if below > 0 {
            let text = format!("{below} points are left out of the curves: their audits correct them below zero bits");
            self.warnings.push(Note::fitted(&text));
        }
        let curve: Vec<(&Point, Finite)> = curve.into_iter().filter(|(_, bits)| *bits >= Finite::ZERO).collect();
        let over = |x: &dyn Fn(&Point) -> Option<f64>| -> Vec<MetricPoint> {
            let point =
                |(point, loss): &(&Point, Finite)| Some(MetricPoint { x: Finite::new(x(point)?)?, loss: *loss });
            curve.iter().filter_map(point).collect()
        };
        let loss_vs_tokens = over(&|point| Some(point.tokens as f64));
        let operations = self.counter("flops_per_token");
        let inner = f64::from(run.task.role.inner_steps());
        let loss_vs_compute = over(&|point| Some(operations? as f64 * point.tokens as f64 * inner));
        let loss_vs_params = self.sizes();
        let ended = "the run ended before a point could be measured";
        for (place, empty, why) in [
            ("metrics.loss_vs_tokens", loss_vs_tokens.is_empty(), ended),
            (
                "metrics.loss_vs_compute",
                loss_vs_compute.is_empty(),
                if operations.is_some() { ended } else { self.uncounted() },
            ),
            (
                "metrics.loss_vs_params",
                loss_vs_params.is_empty(),
                if parameters.is_some() { ended } else { self.uncounted() },
            ),
        ] {
            self.measured(place, (!empty).then_some(()), why);
        }
        let slope = learning_slope(&loss_vs_tokens);
        let slope = self.measured(
            "metrics.learning_speed_slope",
            slope,
            "fewer than three points were measured after training began",
        );
        let final_loss = loss_vs_tokens.last().map(|point| point.loss);
        let diagnostics = self.diagnostics();
        Metrics {
            learning_speed_slope: slope,
            tokens_seen: compute.tokens_seen,
            estimated_flops: compute.estimated_flops,
            parameter_count: parameters,
            benchmark_scores: self.benchmarks(|answers| Some(answers.estimate()?.mean)),
            benchmark_capability_metadata: self.benchmarks(|answers| {
                let (questions, left_out) = (answers.scores.len(), answers.left_out);
                Some(json!({ "score": "accuracy over chance", "questions": questions, "left_out": left_out }))
            }),
            benchmark_noise_metadata: self
                .benchmarks(|answers| Some(json!({ "standard_error": answers.estimate()?.standard_error }))),
            benchmark_contamination_metadata: self.benchmarks(|_| {
                let report = self.record.dataset.contamination.as_ref()?;
                Some(json!({ "report": report }))
            }),
            diagnostics,
            gpu_count: compute.gpu_count,
            loss: self.loss(curve.last().map(|(point, loss)| (*point, *loss))),
            final_loss,
            loss_vs_tokens,
            loss_vs_compute,
            loss_vs_params,
        }
    }

    /// Loss at the end by size: of the run that counts, and of the probes of other sizes.
    fn sizes(&self) -> Vec<MetricPoint> {
        let probe = |run: &&Evidence| {
            run.is_completed() && matches!(&run.task.role, RunRole::ScalingProbe { axis, .. } if axis == SIZE)
        };
        let runs = std::iter::once(self.run).chain(self.record.candidate.runs.iter().filter(probe));
        let mut sizes: Vec<MetricPoint> = runs
            .filter_map(|run| {
                let count = run.counters.get("parameters").copied().filter(|count| *count > 0)?;
                let loss = run.points.last()?.bits_per_byte().filter(|loss| *loss >= Finite::ZERO)?;
                Some(MetricPoint { x: Finite::new(count as f64)?, loss })
            })
            .collect();
        sizes.sort_by_key(|point| (point.x, point.loss));
        sizes
    }

    fn loss(&mut self, last: Option<(&Point, Finite)>) -> Loss {
        let (run, baseline) = (self.run, self.compared.baseline);
        let ended = "the run ended before its last point";
        let held_out = run.held_out.as_ref().and_then(Point::bits_per_byte).filter(|loss| *loss >= Finite::ZERO);
        let improvement = baseline.and_then(|baseline| paired_difference(run, baseline, Measured::HeldOut).ok());
        let incomparable = self.compared.incomparable.clone();
        let none = incomparable.clone().unwrap_or_default();
        let reduction =
            last.and_then(|(point, loss)| guessing(run, point).and_then(|guess| Finite::new(1.0 - loss.get() / guess)));
        Loss {
            raw_final_loss: self.measured("metrics.loss.raw_final_loss", last.map(|(_, loss)| loss), ended),
            standardized_eval_loss: self.measured(
                "metrics.loss.standardized_eval_loss",
                held_out,
                "no held-out rows were measured",
            ),
            loss_normalization_scope: LossScope::ByteNormalized,
            baseline_run_id: self.measured(
                "metrics.loss.baseline_run_id",
                baseline.map(|baseline| label(baseline.task.id().to_string())),
                &none,
            ),
            relative_loss_reduction: self.measured("metrics.loss.relative_loss_reduction", reduction, ended),
            architecture_normalized_heldout_improvement: self.measured(
                "metrics.loss.architecture_normalized_heldout_improvement",
                improvement.map(|improvement| improvement.mean),
                "held-out rows were not measured of both runs",
            ),
            loss_comparable: baseline.is_some(),
            loss_component_redistribution: LossRedistribution {
                enabled: baseline.is_none(),
                target_track: None,
                reason: incomparable.map(|why| Note::fitted(&why)),
            },
        }
    }

    fn diagnostics(&self) -> BTreeMap<Label, DiagnosticRecord> {
        let all = signals::diagnostics(self.run, &self.thresholds);
        all.iter().map(|(name, diagnostic)| (Label::fitted(name), DiagnosticRecord::of(diagnostic))).collect()
    }

    /// Something about each evaluation task that was answered.
    fn benchmarks<T>(&self, of: impl Fn(&TaskAnswers) -> Option<T>) -> BTreeMap<Label, T> {
        let tasks = self.run.tasks.iter().filter(|(_, answers)| answers.estimate().is_some());
        tasks.filter_map(|(name, answers)| Some((Label::fitted(name), of(answers)?))).collect()
    }
}

impl RunManifest {
    /// What the card lets pass and the rules for rewards do not is not eligible, and the manifest says why.
    fn withhold_eligibility(&mut self) {
        if !self.validation.score_eligible {
            return;
        }
        let against = self.unofficial();
        if !against.is_empty() {
            self.validation.score_eligible = false;
            let told = against.iter().map(|violation| Note::fitted(&format!("not eligible: {violation}")));
            self.validation.warnings.extend(told);
        }
    }
}

fn label(text: String) -> Label {
    Label::fitted(&text)
}

/// Bits per byte of guessing all tokens alike, on the rows of a point.
fn guessing(run: &Evidence, point: &Point) -> Option<f64> {
    let positions = point.row_bytes.len() as f64 * f64::from(run.task.budget.sequence);
    let bytes: u64 = point.row_bytes.iter().map(|bytes| u64::from(*bytes)).sum();
    let bits = f64::from(run.task.data.vocabulary).log2() * positions / bytes as f64;
    (bytes > 0 && bits > 0.0).then_some(bits)
}

/// Least-squares slope of loss over `ln tokens`, on the later half of the points after training began and at least three.
fn learning_slope(curve: &[MetricPoint]) -> Option<Finite> {
    let points: Vec<(f64, f64)> = curve
        .iter()
        .filter(|point| point.x > Finite::ZERO)
        .map(|point| (point.x.get().ln(), point.loss.get()))
        .collect();
    let later = points.get(points.len().saturating_sub(points.len().div_ceil(2).max(3))..)?;
    if later.len() < 3 {
        return None;
    }
    let count = later.len() as f64;
    let (x, y) = later.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / count, y + point.1 / count));
    let (over, under) = later.iter().fold((0.0, 0.0), |(over, under), point| {
        (over + (point.0 - x) * (point.1 - y), under + (point.0 - x) * (point.0 - x))
    });
    Finite::new(over / under)
}

fn failures(runs: &[Evidence]) -> Vec<Note> {
    let failed = runs.iter().filter_map(|run| match &run.outcome {
        RunOutcome::Failed { class, reason } => {
            Some(Note::fitted(&format!("run {} failed ({}): {reason}", run.task.id().short(), class.as_str())))
        }
        RunOutcome::Completed => None,
    });
    failed.take(256).collect()
}

fn artifacts(files: &BTreeMap<&'static str, Vec<u8>>) -> Result<Artifacts, ManifestError> {
    let of = |name: &'static str, content_type: &str| {
        let bytes = files.get(name).ok_or(ManifestError::Unwritable(name))?;
        Ok::<_, ManifestError>(Artifact {
            path: RelativePath::new(name).map_err(|_| ManifestError::Unwritable(name))?,
            sha256: Some(Digest::of(bytes)),
            content_type: Some(Label::fitted(content_type)),
            bytes: Some(bytes.len() as u64),
        })
    };
    Ok(Artifacts {
        architecture_graph: of(GRAPH_FILE, "application/json")?,
        architecture_metadata: of(METADATA_FILE, "application/json")?,
        run_log: of(RUN_LOG_FILE, "application/jsonl")?,
        checkpoints: Vec::new(),
        metrics: None,
        architecture_mermaid: Some(of(MERMAID_FILE, "text/vnd.mermaid")?),
    })
}

fn run_reference(run: &Evidence) -> Result<RunReference, ManifestError> {
    let bytes = serde_json::to_vec(run).map_err(|_| ManifestError::Unwritable("evidence"))?;
    let (role, role_details) = role_of(&run.task.role);
    let (outcome, reason) = match &run.outcome {
        RunOutcome::Completed => (COMPLETED, None),
        RunOutcome::Failed { class, reason } => (class.as_str(), Some(Note::fitted(reason))),
    };
    let interval = |measured| mean_bits_per_byte(run, measured).ok().map(Interval::of);
    let audits: usize = run.points.iter().chain(&run.held_out).map(|point| point.audits.len()).sum();
    Ok(RunReference {
        task: Digest(run.task.id().0),
        evidence: Digest::of(&bytes),
        role,
        role_details,
        seed: run.task.seed.0,
        engine: Label::fitted(&run.engine),
        device: Label::fitted(&run.device),
        outcome: Label::fitted(outcome),
        reason,
        resumed: run.resumed,
        tokens: run.counters.get("tokens").copied().unwrap_or_default(),
        cpu_millis: run.work.cpu_millis,
        gpu_millis: run.work.gpu_millis,
        audits: audits as u64,
        bits_per_byte: interval(Measured::Prequential),
        held_out: interval(Measured::HeldOut),
    })
}

/// A role as its JSON calls it, and what it carries.
fn role_of(role: &RunRole) -> (Label, BTreeMap<Label, Label>) {
    let told = |value: &Value| match value {
        Value::String(text) => Label::fitted(text),
        other => Label::fitted(&other.to_string()),
    };
    match serde_json::to_value(role) {
        Ok(Value::String(word)) => (Label::fitted(&word), BTreeMap::new()),
        Ok(Value::Object(fields)) => match fields.iter().next() {
            Some((word, Value::Object(details))) => {
                (Label::fitted(word), details.iter().map(|(key, value)| (Label::fitted(key), told(value))).collect())
            }
            Some((word, _)) => (Label::fitted(word), BTreeMap::new()),
            None => (Label::fitted("unknown"), BTreeMap::new()),
        },
        _ => (Label::fitted("unknown"), BTreeMap::new()),
    }
}
