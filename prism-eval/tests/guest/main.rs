//! Python in a sandbox, with a real PyTorch: few sandboxes, one after the other, in one process.
//!
//! The runtime is that of the file named by `PRISM_GUEST_RUNTIME`, or one that is installed into the cache folder. The
//! sandbox is the embedded one; `PRISM_GUEST_SANDBOX=process` takes plain processes. An argument picks cases by name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
use async_trait::async_trait;
use prism_core::{
    Digest, Error, Fault, Finite, Kind, Observer, Sandbox, Seed, TrainTask, Trainer,
    artifacts::{ArtifactsExt, MemoryArtifacts},
    evidence::{Point, RunOutcome},
    observer::Event,
    plan::{Budget, DataRef, MeasuringPlan, RunMode, RunRole, Subject, TASK_SCHEMA},
    sandbox::{Capabilities, Killer, Running, SandboxSpec},
    submission::FailureClass,
    trainer::{Checkpoints, Surroundings},
};
use prism_eval::{
    bundle::{Bundle, pack},
    data::{Corpus, fixture::stand_in, tokenizer::Bytes},
    graph::Context,
    guest::{Assignment, GuestBundle, GuestPart, GuestPlayer, GuestSettings, GuestTrainer, Pool},
    measure::Checkpoint,
    player::{Measuring, Player, Rows},
    recipe::{Recipe, RecipeSpec},
    sandbox::{
        UnsafeProcessSandbox,
        embedded::{EmbeddedConfig, EmbeddedSandbox},
        launcher,
    },
    score::{Measured, mean_bits_per_byte},
};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[path = "../../../tests/support/guest_runtime.rs"]
mod support;

use support::guest_runtime;

const GPT: &str = include_str!("gpt.py");
const BLOCKS: &str = include_str!("blocks.py");
const PREFIX: &str = include_str!("prefix.py");

fn main() {
    launcher::enter();
    let runtime = guest_runtime();
    let folder = tempfile::tempdir().unwrap();
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sandbox: Arc<dyn Sandbox> = match std::env::var("PRISM_GUEST_SANDBOX").as_deref() {
        Ok("process") => Arc::new(UnsafeProcessSandbox::new(folder.path().to_owned())),
        _ => Arc::new(EmbeddedSandbox::new(EmbeddedConfig { label: "guest-test".into(), ..EmbeddedConfig::default() })),
    };
    tokio.block_on(async {
        let filter = std::env::args().nth(1).filter(|argument| !argument.starts_with('-')).unwrap_or_default();
        let wanted = |name: &str| name.contains(&filter);
        let mut settings = GuestSettings::new(runtime, folder.path().to_owned());
        settings.limits.stderr = 256 << 10;
        settings.warm = 2;
        let cold = Instant::now();
        let stage = Stage { pool: Arc::new(Pool::new(Arc::clone(&sandbox), settings.clone()).unwrap()) };
        macro_rules! cases { ($($name:ident),* $(,)?) => { $(
            if wanted(stringify!($name)) {
                let started = Instant::now();
                $name(&stage).await;
                println!("test {} ... ok ({:.1} s)", stringify!($name), started.elapsed().as_secs_f64());
            }
        )* } }
        if wanted("first_prediction") {
            first_prediction(&stage, cold).await;
        }
        cases!(
            a_small_gpt_learns_and_its_auditor_gives_the_same_bits,
            hooks_are_called_and_a_checkpoint_is_resumed,
            a_declared_recipe_is_resumed_to_the_same_bits,
            a_recipe_for_a_family_replaces_nothing_of_its_model,
            what_is_wrong_with_an_answer_is_said_and_is_the_miners_fault,
            leaving_early_is_the_miners_fault,
            floods_and_sleep_end_in_their_class,
            frames_that_are_not_due_are_the_miners_fault,
            bytes_written_to_standard_output_reach_nobody,
            claims_forged_in_the_runner_change_no_auditors_logits,
            a_dropped_call_ends_the_guest,
        );
        drop(stage);
        if wanted("a_task_is_carried_out_with_audits") {
            settings.limits.stderr = 1 << 20;
            a_task_is_carried_out_with_audits(Arc::clone(&sandbox), settings.clone()).await;
        }
        settings.limits.stderr = 1 << 20;
        if wanted("a_run_goes_on_in_another_sandbox_after_its_own_was_killed") {
            a_run_goes_on_in_another_sandbox_after_its_own_was_killed(Arc::clone(&sandbox), settings.clone()).await;
        }
        if wanted("a_model_without_causal_answers_is_measured_by_prefixes") {
            a_model_without_causal_answers_is_measured_by_prefixes(Arc::clone(&sandbox), settings.clone()).await;
        }
        if wanted("two_processes_train_as_one") {
            settings.processes = 2;
            two_processes_train_as_one(sandbox, settings).await;
        }
    });
}

/// What cases share.
struct Stage {
    pool: Arc<Pool>,
}

fn bundle(files: &[(&str, &str)]) -> GuestBundle {
    let files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    GuestBundle {
        architecture: GuestPart { entrypoint: "src/model.py".into(), files, measuring: Measuring::Claims },
        training: None,
    }
}

/// The small GPT with something appended to its entry point.
fn gpt(appended: &str) -> GuestBundle {
    bundle(&[("src/model.py", &format!("{GPT}\n\n{appended}")), ("src/blocks.py", BLOCKS)])
}

/// The small GPT whose forward pass is this.
fn forward(body: &str) -> GuestBundle {
    gpt(&format!("plain = GPT.forward\n\n\ndef forward(self, tokens):\n    {body}\n\n\nGPT.forward = forward\n"))
}

fn task(corpus: &Corpus, steps: u64) -> TrainTask {
    let digest = Digest::of(b"none");
    TrainTask {
        schema: TASK_SCHEMA,
        mode: RunMode::default(),
        role: RunRole::Recipe,
        subject: Subject::Guest { bundle: digest, recipe: None },
        data: DataRef { dataset: corpus.fingerprint(), tokenizer: Bytes::fingerprint(), vocabulary: Bytes::VOCABULARY },
        measuring: MeasuringPlan {
            counts_from: 0,
            points: vec![0, steps / 2],
            rows: 6,
            audits: vec![6, 6],
            held_out_rows: 6,
            alarm_bits: Finite::new(0.5).unwrap(),
        },
        budget: Budget {
            tokens: steps * 4 * 32,
            steps,
            batch: 4,
            sequence: 32,
            wall_millis: 120_000,
            cpu_millis: 120_000,
            peak_memory: 1 << 30,
        },
        context: Context::new(Bytes::VOCABULARY, 32).to_map(),
        seed: Seed::of("test", &[b"run"]),
        cohort: Seed::of("test", &[b"cohort"]),
        policy: digest,
    }
}

fn assignment(bundle: &GuestBundle, recipe: Option<Recipe>, change: impl Fn(&mut TrainTask)) -> Assignment {
    let mut task = task(&stand_in().unwrap(), 60);
    change(&mut task);
    Assignment::new(&task, bundle, recipe, 1).unwrap()
}

impl Stage {
    async fn play(&self, bundle: &GuestBundle) -> Result<GuestPlayer, Error> {
        GuestPlayer::build(Arc::clone(&self.pool), assignment(bundle, None, |_| {})).await
    }

    /// The error of building, or else of predicting.
    async fn error(&self, bundle: &GuestBundle, change: impl Fn(&mut TrainTask)) -> Error {
        match GuestPlayer::build(Arc::clone(&self.pool), assignment(bundle, None, change)).await {
            Err(error) => error,
            Ok(mut player) => {
                let error = player.claim(&rows(6, 0)).await.expect_err("predicted");
                let again = player.claim(&rows(6, 0)).await.expect_err("predicted after a failure");
                assert_eq!(again.kind(), Kind::Bug, "{again:?}");
                assert!(player.spent().await.is_ok(), "what it spent is still known");
                Box::new(player).finish().await.unwrap();
                error
            }
        }
    }
}

/// Rows of a text that a model of two layers learns in a few steps.
fn rows(count: u32, from: usize) -> Rows {
    let text = b"the quick brown fox jumps over the lazy dog, and the dog does not mind. ".repeat(3);
    let row = |index: usize| text[(from + index) * 7 % 72..][..33].iter().map(|byte| u32::from(*byte));
    Rows { tokens: (0..count as usize).flat_map(row).collect(), rows: count, columns: 33 }
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

fn is(error: &Error, kind: Kind, fault: Fault) {
    assert_eq!((error.kind(), error.fault()), (kind, fault), "{error:?}");
}

/// How long it takes from the wish for a guest to its first prediction.
async fn first_prediction(stage: &Stage, cold: Instant) {
    let mut player = stage.play(&gpt("")).await.unwrap();
    player.claim(&rows(4, 0)).await.unwrap();
    let cold = cold.elapsed();
    Box::new(player).finish().await.unwrap();
    // The pool fills meanwhile.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let warm = Instant::now();
    let mut player = stage.play(&gpt("")).await.unwrap();
    player.claim(&rows(4, 0)).await.unwrap();
    println!("first prediction: cold {:.2} s, warm {:.3} s", cold.as_secs_f64(), warm.elapsed().as_secs_f64());
    Box::new(player).finish().await.unwrap();
}

async fn a_small_gpt_learns_and_its_auditor_gives_the_same_bits(stage: &Stage) {
    let trap = "raise RuntimeError('imported')";
    let entry = format!("import json\nimport token\n\n{GPT}");
    let bundle = bundle(&[
        ("src/model.py", &entry),
        ("src/blocks.py", BLOCKS),
        ("src/torch.py", trap),
        ("json.py", trap),
        ("src/token.py", trap),
        ("sitecustomize.py", trap),
        ("src/usercustomize.py", trap),
    ]);
    let build = assignment(&bundle, Some(Recipe::reference()), |_| {});
    let mut player = GuestPlayer::build(Arc::clone(&stage.pool), build).await.unwrap();
    let start = player.claim(&rows(6, 0)).await.unwrap();
    assert!((mean(&start.values) - 256f32.ln()).abs() < 0.3, "{}", mean(&start.values));
    for step in 0..60 {
        let report = player.train(&rows(4, step)).await.unwrap();
        assert_eq!(report.0.keys().copied().collect::<Vec<_>>(), ["gradient_norm", "learning_rate", "loss"]);
    }
    let snapshot = player.snapshot().await.unwrap();
    let parameters = player.reported_parameters();
    assert!((parameters * 4..parameters * 4 + 20_000).contains(&snapshot.bytes), "{parameters}: {snapshot:?}");
    let learnt = player.claim(&rows(6, 3)).await.unwrap();
    assert!(mean(&learnt.values) < mean(&start.values) - 1.0, "{}", mean(&learnt.values));
    let positions = [0, 5, 31, 7, 7, 1];
    let logits = player.logits_at(&rows(6, 3), &positions).await.unwrap();
    player.freeze().await.unwrap();
    let mut auditor = player.auditor(snapshot).await.unwrap().unwrap();
    assert_eq!(auditor.claim(&rows(6, 3)).await.unwrap(), learnt);
    assert_eq!(auditor.logits_at(&rows(6, 3), &positions).await.unwrap(), logits);
    is(&auditor.train(&rows(4, 0)).await.unwrap_err(), Kind::Bug, Fault::Validator);
    auditor.finish().await.unwrap();
    player.thaw().await.unwrap();
    // Predicting left no trace, and what is read from logits is what was claimed.
    assert_eq!(player.claim(&rows(6, 3)).await.unwrap(), learnt);
    let row = &logits.values[256..512];
    let target = rows(6, 3).tokens[33 + 6] as usize;
    let nats = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln() - f64::from(row[target]);
    assert!((nats - f64::from(learnt.values[32 + 5])).abs() < 1e-5);
    let before = player.spent().await.unwrap().cpu_millis;
    assert!(before > 0);
    assert!(player.auditor(prism_eval::player::Snapshot { state: Digest::of(b""), bytes: 0 }).await.is_err());
    Box::new(player).finish().await.unwrap();
}

const HOOKS: &str = r#"
import os
from prism import TrainingRecipe

def get_recipe(ctx):
    assert ctx.budget.steps == 60 and ctx.budget.tokens == 60 * 128 and ctx.budget.seconds == 120
    assert (ctx.vocab_size, ctx.sequence_length, ctx.max_layers, ctx.max_parameters) == (256, 32, 96, 150_000_000)
    assert (ctx.rank, ctx.local_rank, ctx.world_size, ctx.distributed_backend, ctx.device) == (0, 0, 1, None, "cpu")
    assert (ctx.checkpoint_api_version, ctx.batch_size) == (1, 4)
    return TrainingRecipe(learning_rate=1e-2)

def configure_optimizer(model, recipe, ctx):
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.learning_rate, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)

def compute_loss(model, batch, ctx):
    assert model.training and batch.tokens.shape == batch["targets"].shape == (4, 32)
    return F.cross_entropy(inference_logits(model, batch, ctx).flatten(0, 1), batch.targets.flatten())

def inference_logits(model, batch, ctx):
    assert model.training or batch.targets is None
    return model(batch.tokens)

def save_checkpoint(model, checkpoint_dir, ctx):
    os.mkdir(os.path.join(checkpoint_dir, "deep"))
    torch.save(model.state_dict(), os.path.join(checkpoint_dir, "deep", "model.pt"))
    return {"path": "deep/model.pt", "metadata": {"learnt": "much"}}

def load_checkpoint(model, checkpoint_dir, ctx):
    assert ctx.is_resume and ctx.checkpoint_metadata["learnt"] == "much" and ctx.attempt == 1
    assert checkpoint_dir == ctx.resume_checkpoint_dir
    model.load_state_dict(torch.load(os.path.join(checkpoint_dir, "deep", "model.pt")))
"#;

async fn hooks_are_called_and_a_checkpoint_is_resumed(stage: &Stage) {
    let bundle = gpt(HOOKS);
    let mut player = stage.play(&bundle).await.unwrap();
    let first = player.train(&rows(4, 0)).await.unwrap().0["loss"].get();
    for step in 1..20 {
        player.train(&rows(4, step)).await.unwrap();
    }
    let last = player.train(&rows(4, 0)).await.unwrap().0["loss"].get();
    assert!(last < first - 0.3, "{first} to {last}");
    let saved = player.checkpoint().await.unwrap().expect("the hook saved");
    let claims = player.claim(&rows(6, 0)).await.unwrap();
    Box::new(player).finish().await.unwrap();
    let build = assignment(&bundle, None, |_| {});
    let mut resumed = GuestPlayer::resume(Arc::clone(&stage.pool), build, &saved, 21).await.unwrap();
    assert_eq!(resumed.claim(&rows(6, 0)).await.unwrap(), claims);
    // A hook that breaks the rules of checkpoints is the end.
    Box::new(resumed).finish().await.unwrap();
    let broken = "def save_checkpoint(model, checkpoint_dir, ctx):\n    return '../model.pt'\n\nload_checkpoint = save_checkpoint\n";
    let mut player = stage.play(&gpt(broken)).await.unwrap();
    let error = player.checkpoint().await.unwrap_err();
    is(&error, Kind::Invalid, Fault::Miner);
    assert!(error.chain().contains("relative to checkpoint_dir"), "{error:?}");
}

async fn a_declared_recipe_is_resumed_to_the_same_bits(stage: &Stage) {
    for optimizer in ["adamw", "muon"] {
        let mut recipe = Recipe::reference();
        if optimizer == "muon" {
            recipe = RecipeSpec::read(MUON.as_bytes(), "recipe.yaml").unwrap().resolve().unwrap();
        }
        let build = || assignment(&gpt(""), Some(recipe.clone()), |_| {});
        let mut player = GuestPlayer::build(Arc::clone(&stage.pool), build()).await.unwrap();
        for step in 0..5 {
            player.train(&rows(4, step)).await.unwrap();
        }
        let saved = player.checkpoint().await.unwrap().expect("the runner saves");
        let mut resumed = GuestPlayer::resume(Arc::clone(&stage.pool), build(), &saved, 5).await.unwrap();
        for step in 5..8 {
            let reports = (player.train(&rows(4, step)).await.unwrap(), resumed.train(&rows(4, step)).await.unwrap());
            assert_eq!(reports.0, reports.1, "{optimizer}");
        }
        assert_eq!(player.snapshot().await.unwrap(), resumed.snapshot().await.unwrap(), "{optimizer}");
        Box::new(player).finish().await.unwrap();
        Box::new(resumed).finish().await.unwrap();
    }
    // What nothing loads is not saved.
    let one_way = "def save_checkpoint(model, checkpoint_dir, ctx):\n    raise RuntimeError('called')\n";
    for bundle in [gpt(one_way), gpt("")] {
        let mut player = stage.play(&bundle).await.unwrap();
        player.train(&rows(4, 0)).await.unwrap();
        assert!(player.checkpoint().await.unwrap().is_none());
        Box::new(player).finish().await.unwrap();
    }
}

const MUON: &str = include_str!("../../../examples/bundles/native-recipe/recipe.yaml");

const TRAINING: &str = r#"
import torch
import blocks
import tricks
from src import more

def build_model(ctx):
    raise RuntimeError("the family's model is the family's")

def get_recipe(ctx):
    return {"learning_rate": tricks.RATE + more.NOTHING}

def configure_optimizer(model, recipe, ctx):
    assert recipe.learning_rate == 0.02 and hasattr(blocks, "Block")
    return torch.optim.SGD(model.parameters(), lr=recipe.learning_rate)
"#;

async fn a_recipe_for_a_family_replaces_nothing_of_its_model(stage: &Stage) {
    let mut bundle = gpt("");
    let files = [
        ("my/train.py", TRAINING),
        ("my/tricks.py", "RATE = 0.02\n"),
        ("my/blocks.py", "raise RuntimeError('imported')\n"),
        ("src/more.py", "NOTHING = 0\n"),
    ];
    let files = files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    bundle.training = Some(GuestPart { entrypoint: "my/train.py".into(), files, measuring: Measuring::Claims });
    let mut player = stage.play(&bundle).await.unwrap();
    assert!(player.train(&rows(4, 0)).await.unwrap().0.contains_key("gradient_norm"));
    let mut plain = stage.play(&gpt("")).await.unwrap();
    let snapshots = (player.snapshot().await.unwrap(), plain.snapshot().await.unwrap());
    assert!(snapshots.0.state != snapshots.1.state && snapshots.0.bytes == snapshots.1.bytes);
    Box::new(plain).finish().await.unwrap();
    Box::new(player).finish().await.unwrap();
}

async fn what_is_wrong_with_an_answer_is_said_and_is_the_miners_fault(stage: &Stage) {
    let cases = [
        (forward("return plain(self, tokens)[..., :100]"), "shape [4, 32, 100], expected [4, 32, 256]"),
        (forward("return plain(self, tokens) * float('nan')"), "not finite"),
        (forward("return plain(self, tokens) + float('inf')"), "not finite"),
        (forward("raise SystemExit('enough')"), "SystemExit: enough"),
        (gpt("def build_model(ctx):\n    return 7\n"), "type int, expected a torch.nn.Module"),
        (gpt("del build_model"), "build_model is missing"),
        (gpt("import numbers_of_mine"), "No module named 'numbers_of_mine'"),
    ];
    for (bundle, expected) in cases {
        let error = stage.error(&bundle, |_| {}).await;
        is(&error, Kind::Invalid, Fault::Miner);
        assert!(error.chain().contains(expected), "{error:?}");
    }
}

async fn leaving_early_is_the_miners_fault(stage: &Stage) {
    for body in ["import os; os._exit(0)", "import os; os.kill(os.getpid(), 9)"] {
        let error = stage.error(&forward(body), |_| {}).await;
        is(&error, Kind::Invalid, Fault::Miner);
    }
}

async fn floods_and_sleep_end_in_their_class(stage: &Stage) {
    for body in [
        "[print('x' * 1000) for _ in range(10**9)]",
        "import sys; [sys.stderr.write('x' * 1000) for _ in range(10**9)]",
    ] {
        let error = stage.error(&forward(body), |_| {}).await;
        is(&error, Kind::Limit, Fault::Miner);
    }
    let error = stage.error(&forward("import time; time.sleep(600)"), |task| task.budget.wall_millis = 3000).await;
    is(&error, Kind::Limit, Fault::Miner);
    assert!(error.chain().contains("within the run's 3 s"), "{error:?}");
}

async fn frames_that_are_not_due_are_the_miners_fault(stage: &Stage) {
    let write = "import os\n    for fd in range(3, 100):\n        try:\n            while True: os.write(fd, b'\\0' * 65536)\n        except OSError: pass\n    return plain(self, tokens)";
    let error = stage.error(&forward(write), |_| {}).await;
    is(&error, Kind::Invalid, Fault::Miner);
    assert!(error.chain().contains("protocol"), "{error:?}");
}

async fn bytes_written_to_standard_output_reach_nobody(stage: &Stage) {
    let forged = "import os; os.write(1, b'\\x02\\0\\0\\0\\x83\\0\\0\\0\\x1a\\0\\0\\0\\0\\0\\0\\0' + b'{\"rows\":6,\"positions\":32}' * 20); return plain(self, tokens)";
    let mut forging = stage.play(&forward(forged)).await.unwrap();
    let mut honest = stage.play(&gpt("")).await.unwrap();
    assert_eq!(forging.claim(&rows(6, 0)).await.unwrap(), honest.claim(&rows(6, 0)).await.unwrap());
    Box::new(forging).finish().await.unwrap();
    Box::new(honest).finish().await.unwrap();
}

async fn claims_forged_in_the_runner_change_no_auditors_logits(stage: &Stage) {
    let forge = r"
import sys
session = sys.modules['prism_guest.session']
plain_claim = session.Session._claim
def forged(self, header, blob):
    answer = self._link.answer
    self._link.answer = lambda kind, header, blob: answer(kind, header, bytes(len(blob)))
    plain_claim(self, header, blob)
    del self._link.answer
for name, method in list(vars(session.Session).items()):
    if name == '_claim':
        session.Session._claim = forged
import gc
for found in gc.get_objects():
    if type(found) is session.Session:
        found._handlers[session.channel.CLAIM] = lambda header, blob, s=found: forged(s, header, blob)
";
    let mut forging = stage.play(&gpt(forge)).await.unwrap();
    let mut honest = stage.play(&gpt("")).await.unwrap();
    let claims = forging.claim(&rows(6, 0)).await.unwrap();
    assert!(claims.values.iter().all(|nats| *nats == 0.0), "the claims are forged");
    let snapshot = forging.snapshot().await.unwrap();
    let mut auditor = forging.auditor(snapshot).await.unwrap().unwrap();
    let positions = [3; 6];
    let audited = auditor.logits_at(&rows(6, 0), &positions).await.unwrap();
    assert_eq!(audited, honest.logits_at(&rows(6, 0), &positions).await.unwrap());
    auditor.finish().await.unwrap();
    Box::new(forging).finish().await.unwrap();
    Box::new(honest).finish().await.unwrap();
}

async fn a_dropped_call_ends_the_guest(stage: &Stage) {
    let mut player = stage.play(&forward("import time; time.sleep(600)")).await.unwrap();
    let asked = tokio::time::timeout(Duration::from_millis(300), player.claim(&rows(4, 0))).await;
    assert!(asked.is_err());
    is(&player.claim(&rows(4, 0)).await.unwrap_err(), Kind::Bug, Fault::Validator);
    let finishing = Instant::now();
    Box::new(player).finish().await.unwrap();
    assert!(finishing.elapsed() < Duration::from_secs(5));
}

const TWO: &str = r#"
def compute_loss(model, batch, ctx):
    assert ctx.world_size == 2 and ctx.distributed_backend == "gloo" and len(batch.tokens) == 2
    assert isinstance(model, nn.parallel.DistributedDataParallel)
    return F.cross_entropy(model(batch.tokens).flatten(0, 1), batch.targets.flatten())
"#;

async fn two_processes_train_as_one(sandbox: Arc<dyn Sandbox>, settings: GuestSettings) {
    let started = Instant::now();
    let stage = Stage { pool: Arc::new(Pool::new(sandbox, settings).unwrap()) };
    let mut player = stage.play(&gpt(TWO)).await.unwrap();
    assert_eq!(player.welcome().world_size, 2);
    let start = mean(&player.claim(&rows(6, 0)).await.unwrap().values);
    for step in 0..20 {
        player.train(&rows(4, step)).await.unwrap();
    }
    let snapshot = player.snapshot().await.unwrap();
    let claims = player.claim(&rows(6, 0)).await.unwrap();
    assert!(mean(&claims.values) < start - 0.05, "{start} to {}", mean(&claims.values));
    player.freeze().await.unwrap();
    let mut auditor = player.auditor(snapshot).await.unwrap().unwrap();
    assert_eq!(auditor.claim(&rows(6, 0)).await.unwrap(), claims);
    auditor.finish().await.unwrap();
    player.thaw().await.unwrap();
    Box::new(player).finish().await.unwrap();
    println!("test two_processes_train_as_one ... ok ({:.1} s)", started.elapsed().as_secs_f64());
}

async fn a_task_is_carried_out_with_audits(sandbox: Arc<dyn Sandbox>, settings: GuestSettings) {
    let corpus = stand_in().unwrap();
    let artifacts = Arc::new(MemoryArtifacts::new());
    let trainer = GuestTrainer::new(sandbox, Arc::clone(&corpus), settings).unwrap();
    let started = Instant::now();
    for (bundle, ends_well) in [(gpt(""), true), (forward("return plain(self, tokens)[..., :9]"), false)] {
        let bundle = artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap();
        let recipe = artifacts.keep_bytes(&Recipe::reference().canonical_bytes()).await.unwrap();
        let mut task = task(&corpus, 20);
        task.subject = Subject::Guest { bundle, recipe: Some(recipe) };
        let evidence = trainer.train(&task, &Surroundings::new(artifacts.clone())).await.unwrap();
        if !ends_well {
            assert!(matches!(evidence.outcome, RunOutcome::Failed { .. }), "{:?}", evidence.outcome);
            continue;
        }
        assert_eq!(evidence.outcome, RunOutcome::Completed);
        let point = evidence.points.first().unwrap();
        assert_eq!((evidence.points.len(), point.audits.len()), (2, 6));
        for audit in evidence.points.iter().chain(&evidence.held_out).flat_map(|point| &point.audits) {
            assert!((audit.claimed.get() - audit.audited.get()).abs() < 1e-4, "{audit:?}");
        }
        let bits = |point: &Point| point.bits_per_byte().unwrap().get();
        assert!(bits(evidence.held_out.as_ref().unwrap()) < bits(point), "it learns");
        assert!(evidence.engine.starts_with("guest/") && evidence.work.cpu_millis > 0);
    }
    println!("test a_task_is_carried_out_with_audits ... ok ({:.1} s)", started.elapsed().as_secs_f64());
}

/// Starts what another sandbox starts, and kills all of it when it is told to, as a machine does that fails.
#[derive(Debug)]
struct Frail {
    sandbox: Arc<dyn Sandbox>,
    killers: Mutex<Vec<Box<dyn Killer>>>,
}

impl Frail {
    fn fail(&self) {
        let mut killers = self.killers.lock().unwrap();
        // But for what waits in the pool.
        let old = killers.len().saturating_sub(2);
        for killer in killers.drain(..old) {
            killer.kill(FailureClass::Infrastructure, "the machine failed");
        }
    }
}

#[async_trait]
impl Sandbox for Frail {
    fn name(&self) -> &str {
        self.sandbox.name()
    }
    async fn probe(&self) -> prism_core::Result<Capabilities> {
        self.sandbox.probe().await
    }
    async fn start(&self, spec: SandboxSpec) -> prism_core::Result<Box<dyn Running>> {
        let running = self.sandbox.start(spec).await?;
        self.killers.lock().unwrap().push(running.killer());
        Ok(running)
    }
    async fn sweep(&self) -> prism_core::Result<usize> {
        self.sandbox.sweep().await
    }
}

/// Lets the machine fail after so many steps.
#[derive(Debug)]
struct FailsAfter(u64, Arc<Frail>);

impl Observer for FailsAfter {
    fn on(&self, event: &Event<'_>) {
        if matches!(event, Event::Progress { done, .. } if *done == self.0) {
            self.1.fail();
        }
    }
}

/// What was told last.
#[derive(Debug, Default)]
struct Newest(Mutex<Option<Digest>>);

#[async_trait]
impl Checkpoints for Newest {
    async fn newest(&self, checkpoint: Digest) -> prism_core::Result<()> {
        *self.0.lock().unwrap() = Some(checkpoint);
        Ok(())
    }
}

async fn a_run_goes_on_in_another_sandbox_after_its_own_was_killed(sandbox: Arc<dyn Sandbox>, settings: GuestSettings) {
    let corpus = stand_in().unwrap();
    let artifacts = Arc::new(MemoryArtifacts::new());
    let frail = Arc::new(Frail { sandbox, killers: Mutex::default() });
    let trainer = GuestTrainer::new(Arc::clone(&frail) as _, Arc::clone(&corpus), settings).unwrap();
    let started = Instant::now();
    let recipe = artifacts.keep_bytes(&Recipe::reference().canonical_bytes()).await.unwrap();
    let mut asked = task(&corpus, 24);
    (asked.measuring.points, asked.measuring.audits) = (vec![0, 8, 16], vec![6; 3]);
    let newest = Arc::new(Newest::default());
    let around =
        || Surroundings::new(artifacts.clone()).with_checkpoints(Arc::<Newest>::clone(&newest), Duration::ZERO);

    // What the miner's own code does is final, checkpoint or not.
    let crashing =
        "self.calls = getattr(self, 'calls', 0) + self.training; assert self.calls < 12; return plain(self, tokens)";
    let bundle = artifacts.keep_bytes(&forward(crashing).canonical_bytes()).await.unwrap();
    let crash = TrainTask { subject: Subject::Guest { bundle, recipe: Some(recipe) }, ..asked.clone() };
    let evidence = trainer.train(&crash, &around()).await.unwrap();
    let crashed = matches!(evidence.outcome, RunOutcome::Failed { class: FailureClass::MinerCode, .. });
    assert!(crashed && evidence.points.len() == 2, "{:?}", evidence.outcome);
    assert!(newest.0.lock().unwrap().take().is_some(), "there was a checkpoint");

    let bundle = artifacts.keep_bytes(&gpt("").canonical_bytes()).await.unwrap();
    asked.subject = Subject::Guest { bundle, recipe: Some(recipe) };
    let watch = Arc::new(FailsAfter(13, Arc::clone(&frail)));
    let error = trainer.train(&asked, &around().observed_by(watch)).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Infrastructure, "{error:?}");
    let checkpoint = newest.0.lock().unwrap().expect("a checkpoint");

    // One whose state is another's is refused, and so is the task's neighbour's.
    let text = artifacts.read(checkpoint, 1 << 24).await.unwrap();
    let from = Checkpoint::open(&*artifacts, checkpoint, &asked).await.unwrap();
    let text = String::from_utf8(text).unwrap().replace(&from.state().state.to_string(), &bundle.to_string());
    let altered = artifacts.keep_bytes(text.as_bytes()).await.unwrap();
    let error = trainer.train(&asked, &around().in_attempt(2, Some(altered))).await.unwrap_err();
    is(&error, Kind::Corrupt, Fault::Validator);
    let error = trainer.train(&crash, &around().in_attempt(2, Some(checkpoint))).await.unwrap_err();
    is(&error, Kind::Corrupt, Fault::Validator);

    let evidence = trainer.train(&asked, &around().in_attempt(2, Some(checkpoint))).await.unwrap();
    assert_eq!(evidence.outcome, RunOutcome::Completed);
    assert_eq!((evidence.resumed, evidence.counters["own_rows_from"]), (1, 8));
    assert_eq!((evidence.counters["devices"], evidence.counters["processes"]), (0, 1));
    assert_eq!(evidence.points.iter().map(|point| point.step).collect::<Vec<_>>(), [0, 8, 16]);
    let first: serde_json::Value = serde_json::from_str(&text).unwrap();
    let kept = serde_json::to_value(&evidence.points[..2]).unwrap();
    assert_eq!(first["points"], kept, "what is on record stays");
    let millis = |name: &str| first[name]["cpu_millis"].as_u64().unwrap();
    assert!(millis("work") > 0 && millis("lost") > 0, "{first}");
    assert!(evidence.work.cpu_millis > millis("work") + millis("lost"));
    // It goes on learning from what it had learnt: no step after the failure is as bad as the first.
    let loss = &evidence.series["train_bits_per_byte"];
    assert_eq!(loss.steps, (1..=24).collect::<Vec<_>>());
    assert!(loss.values[8..].iter().all(|bits| *bits < loss.values[1]), "{:?}", loss.values);
    println!(
        "test a_run_goes_on_in_another_sandbox_after_its_own_was_killed ... ok ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
}

async fn a_model_without_causal_answers_is_measured_by_prefixes(sandbox: Arc<dyn Sandbox>, settings: GuestSettings) {
    let corpus = stand_in().unwrap();
    let artifacts = Arc::new(MemoryArtifacts::new());
    let trainer = GuestTrainer::new(sandbox, Arc::clone(&corpus), settings).unwrap();
    let started = Instant::now();
    let manifest = "kind: full\narchitecture: { entrypoint: prefix.py, measuring: prefixes }\ntraining: { entrypoint: prefix.py }\n";
    let files =
        [("prism.yaml", manifest), ("prefix.py", PREFIX)].map(|(path, text)| (path.to_owned(), text.to_owned()));
    let bundle = Bundle::read(&pack(&files.into()).unwrap()).unwrap();
    let bundle = GuestBundle::of(&bundle).unwrap().unwrap();
    assert_eq!((bundle.architecture.measuring, &bundle.training), (Measuring::Prefixes, &None));
    let bundle = artifacts.keep_bytes(&bundle.canonical_bytes()).await.unwrap();
    let mut task = task(&corpus, 200);
    task.subject = Subject::Guest { bundle, recipe: None };
    (task.measuring.rows, task.measuring.held_out_rows) = (40, 40);
    let evidence = trainer.train(&task, &Surroundings::new(artifacts.clone())).await.unwrap();
    assert_eq!(evidence.outcome, RunOutcome::Completed);
    let bits = |point: &Point| point.bits_per_byte().unwrap().get();
    let (first, last) = (bits(&evidence.points[0]), bits(evidence.held_out.as_ref().unwrap()));
    assert!((6.0..10.0).contains(&first) && last < first - 1.5, "{first} to {last}");
    for point in evidence.points.iter().chain(&evidence.held_out) {
        assert_eq!(point.audits.len(), 40, "one position of every row");
        assert!(point.audits.iter().all(|audit| audit.claimed == audit.audited));
    }
    // It is scored like any other.
    let score = mean_bits_per_byte(&evidence, Measured::Prequential).unwrap();
    assert!(score.mean.get() < first && score.standard_error.get() > 0.0, "{score:?}");
    // What its auditors used is work: without it, a player of the same steps has spent less.
    let audits = evidence.counters["audit_cpu_millis"];
    assert!(audits > 0 && evidence.work.cpu_millis > audits, "{} of {:?}", audits, evidence.work);
    let part = GuestPart {
        entrypoint: "prefix.py".into(),
        files: [("prefix.py".into(), PREFIX.into())].into(),
        measuring: Measuring::Claims,
    };
    let claiming = GuestBundle { architecture: part, training: None };
    let claiming = artifacts.keep_bytes(&claiming.canonical_bytes()).await.unwrap();
    task.subject = Subject::Guest { bundle: claiming, recipe: None };
    let evidence = trainer.train(&task, &Surroundings::new(artifacts.clone())).await.unwrap();
    let why = "claims of whole rows look ahead, and no auditor sees what they see";
    assert!(matches!(evidence.outcome, RunOutcome::Failed { class: FailureClass::MinerCode, .. }), "{why}");
    println!(
        "test a_model_without_causal_answers_is_measured_by_prefixes ... ok ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
}
