//! Every bundle that must not get in, over HTTP, against the reader that a validator has.
use super::*;
use crate::{
    http::{Api, router},
    store::FileArtifacts,
    validator::Validator,
    wire::{Refused, SubmissionRequest},
};
use axum::{
    Router,
    http::{Request, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prism_chain::{request::Unsigned, signer::Keypair};
use prism_core::{
    Digest, MechanismId,
    plan::DataRef,
    testing::{
        fakes::{FakeChain, ManualClock, RecordingSetter, Script, ScriptedTrainer},
        sample,
    },
};
use prism_eval::{graph::baselines, policy::PrismPolicy};
use std::io::{Cursor, Write};
use tower::ServiceExt;
use zip::{ZipWriter, write::SimpleFileOptions};

const NETUID: Netuid = Netuid(7);
const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
const RECIPE: &str = "recipe: prism.recipe/1\noptimizer: { kind: adamw, learning_rate: 0.003 }\n";

struct Gate {
    alice: Keypair,
    clock: ManualClock,
    store: Store,
    router: Router,
    sent: u32,
    _folder: tempfile::TempDir,
}

impl Gate {
    async fn new() -> Self {
        let alice = Keypair::from_uri("//Alice").unwrap();
        let chain = FakeChain::new(NETUID);
        chain.register(alice.hotkey(), false, 1);
        for _ in 0..5 {
            chain.next_block();
        }
        let clock = ManualClock::default();
        let store = Store::in_memory().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let artifacts: Arc<dyn Artifacts> = Arc::new(FileArtifacts::open(folder.path()).unwrap());
        let trainer = ScriptedTrainer::new(|task| Script::Shows(Box::new(sample::evidence(task, 4.0))));
        let validator = Validator::builder()
            .subnet(NETUID, MechanismId(0))
            .chain(chain.clone())
            .source(IntakeSource::new(store.clone()))
            .store(store.clone())
            .artifacts(Arc::clone(&artifacts))
            .trainer(trainer)
            .weight_setter(RecordingSetter::new(chain.clone(), alice.hotkey()))
            .clock(Arc::new(clock.clone()))
            .policy(PrismPolicy::smoke())
            .data(DataRef { dataset: Digest::of(b"text"), tokenizer: Digest::of(b"bytes"), vocabulary: 256 })
            .build()
            .unwrap();
        validator.start().await.unwrap();
        let chain: Arc<dyn ChainView> = Arc::new(chain);
        let intake = Intake::new(IntakeParts {
            netuid: NETUID,
            chain: Arc::clone(&chain),
            store: store.clone(),
            artifacts,
            precheck: Arc::new(validator),
            clock: Arc::new(clock.clone()),
            validator: None,
            limits: IntakeLimits { quota: 100, ..IntakeLimits::default() },
        });
        let router = router(Api { intake, store: store.clone(), chain, clock: Arc::new(clock.clone()) });
        Self { alice, clock, store, router, sent: 0, _folder: folder }
    }

    async fn send(&mut self, bundle: &[u8]) -> (StatusCode, Vec<u8>) {
        self.sent += 1;
        let unsigned = Unsigned::new(self.alice.hotkey(), self.sent.to_string(), self.clock.now(), Digest::of(bundle));
        let request = SubmissionRequest {
            hotkey: self.alice.hotkey().ss58(),
            signature: hex::encode(self.alice.sign(unsigned.line().as_bytes())),
            timestamp: unsigned.timestamp,
            nonce: unsigned.nonce,
            code: STANDARD.encode(bundle),
            name: None,
        };
        let body = Body::from(serde_json::to_vec(&request).unwrap());
        let response = self.router.clone().oneshot(Request::post("/v1/submissions").body(body).unwrap()).await.unwrap();
        let status = response.status();
        (status, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
    }
}

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(text.as_bytes()).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn architecture(graph: &str) -> Vec<u8> {
    archive(&[("prism.yaml", MANIFEST), ("model.graph.yaml", graph)])
}

fn gpt() -> &'static str {
    baselines::document("gpt").unwrap()
}

fn symlink() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("prism.yaml", SimpleFileOptions::default()).unwrap();
    zip.write_all(MANIFEST.as_bytes()).unwrap();
    zip.add_symlink("model.graph.yaml", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    zip.finish().unwrap().into_inner()
}

/// Twenty megabytes of zeros in some twenty kilobytes.
fn bomb() -> Vec<u8> {
    let zeros = "0".repeat(20_000_000);
    archive(&[("prism.yaml", MANIFEST), ("model.graph.yaml", gpt()), ("notes.txt", &zeros)])
}

/// Two entries of one name, which no honest writer makes: the second is renamed in the bytes.
fn twice() -> Vec<u8> {
    let mut bytes = archive(&[("prism.yaml", MANIFEST), ("model.graph.yaml", gpt()), ("model.graph.yamm", gpt())]);
    while let Some(at) = bytes.windows(16).position(|window| window == b"model.graph.yamm") {
        bytes[at + 15] = b'l';
    }
    bytes
}

fn replaced(what: &str, with: &str) -> Vec<u8> {
    let graph = gpt();
    assert!(graph.contains(what), "{what}");
    architecture(&graph.replacen(what, with, 1))
}

#[tokio::test]
async fn each_bundle_that_breaks_a_rule_is_refused_with_the_rule_and_the_place() {
    let mut gate = Gate::new().await;
    let manifest = |text: &str| archive(&[("prism.yaml", text), ("model.graph.yaml", gpt())]);
    let recipe = |target: &str, recipe: &str| {
        let manifest =
            format!("kind: training_for_arch\narchitecture_id: {target}\ntraining: {{ entrypoint: recipe.yaml }}\n");
        archive(&[("prism.yaml", manifest.as_str()), ("recipe.yaml", recipe)])
    };
    let cyclic = "graph: prism.graph/1\nnodes:\n  - { id: table, op: embedding, of: tokens, dim: 8 }\n  - { id: a, op: add, of: [table, b] }\n  - { id: b, op: add, of: [a, table] }\n  - { id: logits, op: linear, of: b, dim: vocab_size }\noutput: logits\n";
    let table: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("not a ZIP", b"\xff\xfe\x00bytes".to_vec(), "bundle.form", "ZIP"),
        ("text that is no module", b"hello".to_vec(), "bundle.form", "build_model"),
        ("half a ZIP", architecture(gpt())[..200].to_vec(), "bundle.archive", ""),
        ("symlink", symlink(), "bundle.symlink", "model.graph.yaml"),
        ("traversal", archive(&[("prism.yaml", MANIFEST), ("../model.graph.yaml", gpt())]), "bundle.path", "../model"),
        ("absolute", archive(&[("prism.yaml", MANIFEST), ("/model.graph.yaml", gpt())]), "bundle.path", "/model"),
        ("bomb", bomb(), "bundle.unpacked", "notes.txt"),
        ("twice", twice(), "bundle.duplicate", "model.graph.yaml"),
        (
            "suffix",
            archive(&[("prism.yaml", MANIFEST), ("model.graph.yaml", gpt()), ("a.so", "x")]),
            "bundle.suffix",
            "a.so",
        ),
        ("no manifest", archive(&[("model.graph.yaml", gpt())]), "bundle.manifest", "prism.yaml"),
        ("unknown key", manifest(&format!("{MANIFEST}author: me\n")), "bundle.manifest", "author"),
        ("unknown kind", manifest(&MANIFEST.replace("architecture_only", "partial")), "bundle.manifest", "partial"),
        ("no such file", manifest(&MANIFEST.replace("model.", "other.")), "bundle.entrypoint", "other.graph.yaml"),
        ("unknown operator", replaced("op: layer_norm", "op: telepathy"), "graph.operator", "telepathy"),
        ("shape", replaced("dim: width }", "dim: width + 1 }"), "graph.shape", ""),
        ("cycle", architecture(cyclic), "graph.cycle", ""),
        ("looks ahead", replaced("heads: 4,", "heads: 4, causal: false,"), "graph.causality", ""),
        ("too many parameters", replaced("width: 64", "width: 4096"), "graph.parameters", "parameters"),
        ("overflow", replaced("width: 64", "width: 9223372036854775807"), "graph.", ""),
        ("recipe out of range", recipe("gpt", &RECIPE.replace("0.003", "-1")), "recipe.range", "learning_rate"),
        ("unknown family by name", recipe("rnn", RECIPE), "family.unknown", "rnn"),
        ("unknown family by id", recipe(&"ab".repeat(32), RECIPE), "family.unknown", "abab"),
    ];
    for (what, bundle, rule, part) in table {
        let (status, body) = gate.send(&bundle).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        let refused: Refused = serde_json::from_slice(&body).unwrap_or_else(|e| panic!("{what}: {status} {text}: {e}"));
        assert_eq!((status.as_u16(), refused.error.fault.as_str()), (422, "miner"), "{what}: {text}");
        assert!(refused.error.rule.starts_with(rule), "{what}: {text}");
        assert!(refused.error.message.contains(part), "{what}: {text}");
    }
    assert_eq!(gate.store.arrivals_after(0, 9).await.unwrap(), []);
    for good in [architecture(gpt()), recipe("gpt", RECIPE)] {
        let (status, body) = gate.send(&good).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&body));
    }
}
