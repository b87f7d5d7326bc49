//! Every refusal that HTTP sees: status, rule, what is stored and what became of the nonce.
use super::*;
use crate::{
    http::{Api, router},
    store::FileArtifacts,
    wire::{Refused, SubmissionRequest, SubmissionView},
};
use async_trait::async_trait;
use axum::{
    Router,
    http::{Request, Response, StatusCode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prism_chain::{
    request::{HEADER_HOTKEY, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIMESTAMP, Unsigned, btauth},
    signer::Keypair,
};
use prism_core::{
    Block, Digest, Epoch, Error, Fault, Kind,
    chain_view::{Head as ChainHead, Neuron},
    submission::SubmissionKind,
    testing::fakes::{FakeChain, ManualClock},
};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tower::ServiceExt;

const NETUID: Netuid = Netuid(7);

/// Refuses bundles that begin with `bad`, as a reader of bundles would.
#[derive(Debug)]
struct NotBad;

#[async_trait]
impl Precheck for NotBad {
    async fn check(&self, bundle: &[u8]) -> Result<SubmissionKind, IntakeError> {
        if bundle.starts_with(b"broken") {
            return Err(IntakeError::Check(Error::bug("disk on fire")));
        }
        if bundle.starts_with(b"bad") {
            let message = "entry `a/../b.py` leaves the bundle".to_owned();
            return Err(IntakeError::Bundle { rule: "bundle.traversal".into(), message });
        }
        Ok(SubmissionKind::Full)
    }
}

/// A chain that can be switched off.
#[derive(Debug)]
struct Switched {
    chain: FakeChain,
    off: AtomicBool,
    reads: AtomicU64,
}

impl Switched {
    fn on(&self) -> prism_core::Result<&FakeChain> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.off.load(Ordering::SeqCst) {
            return Err(Error::new(Kind::Unavailable, Fault::Infrastructure, "node at 10.0.0.1 is gone"));
        }
        Ok(&self.chain)
    }
}

#[async_trait]
impl ChainView for Switched {
    async fn head(&self) -> prism_core::Result<ChainHead> {
        self.on()?.head().await
    }
    async fn finalized_hash(&self, block: Block) -> prism_core::Result<[u8; 32]> {
        self.on()?.finalized_hash(block).await
    }
    async fn epoch_at(&self, netuid: Netuid, block: Block) -> prism_core::Result<Epoch> {
        self.on()?.epoch_at(netuid, block).await
    }
    async fn neurons(&self, netuid: Netuid, at: Block) -> prism_core::Result<Vec<Neuron>> {
        self.on()?.neurons(netuid, at).await
    }
}

struct Bench {
    alice: Keypair,
    bob: Keypair,
    mallory: Keypair,
    validator: Keypair,
    chain: Arc<Switched>,
    clock: ManualClock,
    store: Store,
    artifacts: FileArtifacts,
    router: Router,
    _folder: tempfile::TempDir,
}

fn keypair(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

impl Bench {
    async fn new() -> Self {
        Self::with(IntakeLimits { quota: 3, body: 4096, ..IntakeLimits::default() }).await
    }

    async fn with(limits: IntakeLimits) -> Self {
        let [alice, bob, mallory, validator] = ["Alice", "Bob", "Mallory", "Validator"].map(keypair);
        let chain = FakeChain::new(NETUID);
        for key in [&alice, &bob, &validator] {
            chain.register(key.hotkey(), false, 1);
        }
        for _ in 0..5 {
            chain.next_block();
        }
        let chain = Arc::new(Switched { chain, off: AtomicBool::new(false), reads: AtomicU64::new(0) });
        let clock = ManualClock::default();
        let store = Store::in_memory().unwrap();
        store.open_cohort(Block(1)).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let artifacts = FileArtifacts::open(folder.path()).unwrap();
        let intake = Intake::new(IntakeParts {
            netuid: NETUID,
            chain: Arc::clone(&chain) as _,
            store: store.clone(),
            artifacts: Arc::new(artifacts.clone()),
            precheck: Arc::new(NotBad),
            clock: Arc::new(clock.clone()),
            validator: Some(validator.hotkey()),
            limits,
        });
        let api = Api { intake, store: store.clone(), chain: Arc::clone(&chain) as _, clock: Arc::new(clock.clone()) };
        let router = router(api);
        Self { alice, bob, mallory, validator, chain, clock, store, artifacts, router, _folder: folder }
    }

    fn request(&self, key: &Keypair, nonce: &str, bundle: &[u8]) -> SubmissionRequest {
        let unsigned = Unsigned::new(key.hotkey(), nonce, self.clock.now(), Digest::of(bundle));
        SubmissionRequest {
            hotkey: key.hotkey().ss58(),
            signature: hex::encode(key.sign(unsigned.line().as_bytes())),
            timestamp: unsigned.timestamp,
            nonce: nonce.into(),
            code: STANDARD.encode(bundle),
            name: Some("my idea".into()),
        }
    }

    async fn call(&self, request: Request<Body>) -> Response<Body> {
        self.router.clone().oneshot(request).await.unwrap()
    }

    async fn post(&self, body: impl Into<Body>) -> (StatusCode, Vec<u8>) {
        let request = Request::post("/v1/submissions").header("content-type", "application/json");
        read(self.call(request.body(body.into()).unwrap()).await).await
    }

    async fn submit(&self, request: &SubmissionRequest) -> (StatusCode, Vec<u8>) {
        self.post(serde_json::to_vec(request).unwrap()).await
    }

    async fn accept(&self, request: &SubmissionRequest) -> Accepted {
        let (status, body) = self.submit(request).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> (StatusCode, Result<T, Refused>) {
        let response = self.call(Request::get(path).body(Body::empty()).unwrap()).await;
        let (status, body) = read(response).await;
        if status.is_success() {
            return (status, Ok(serde_json::from_slice(&body).unwrap()));
        }
        (status, Err(serde_json::from_slice(&body).unwrap()))
    }

    /// Accepted requests and kept artifacts.
    async fn stored(&self) -> (usize, usize) {
        let kept = walk(self._folder.path());
        (self.store.arrivals_after(0, 100).await.unwrap().len(), kept)
    }
}

fn walk(folder: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}

async fn read(response: Response<Body>) -> (StatusCode, Vec<u8>) {
    let status = response.status();
    (status, axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec())
}

#[track_caller]
fn refused(answer: &(StatusCode, Vec<u8>), status: u16, rule: &str) -> String {
    let (got, body) = answer;
    let text = String::from_utf8_lossy(body);
    let refused: Refused = serde_json::from_slice(body).unwrap_or_else(|e| panic!("{got} {text}: {e}"));
    assert_eq!((got.as_u16(), refused.error.rule.as_str()), (status, rule), "{text}");
    refused.error.message
}

#[tokio::test]
async fn an_accepted_submission_is_kept_shown_and_handed_out_once() {
    let bench = Bench::new().await;
    let accepted = bench.accept(&bench.request(&bench.alice, "n1", b"bundle")).await;
    assert_eq!((accepted.hotkey, accepted.kind), (bench.alice.hotkey(), SubmissionKind::Full));
    assert_eq!(accepted.status, SubmissionStatus::Pending);
    let (status, view) = bench.get::<SubmissionView>(&format!("/v1/submissions/{}", accepted.id)).await;
    let view = view.unwrap();
    assert_eq!((status.as_u16(), view.name.as_deref(), view.status), (200, Some("my idea"), SubmissionStatus::Pending));
    let source = IntakeSource::new(bench.store.clone());
    let batch = prism_core::SubmissionSource::poll(&source, None, 9).await.unwrap();
    assert_eq!(batch.submissions.iter().map(|s| s.id).collect::<Vec<_>>(), [accepted.id]);
    let precedence = batch.submissions[0].precedence;
    assert_eq!((precedence.block, precedence.local), (bench.chain.chain.tip().finalized, true));
    let prism_core::submission::Payload::Bundle { archive, bytes } = batch.submissions[0].payload.clone() else {
        panic!("no bundle")
    };
    assert_eq!(bench.artifacts.read(archive, bytes).await.unwrap(), b"bundle");
    let rest = prism_core::SubmissionSource::poll(&source, Some(&batch.next), 9).await.unwrap();
    assert_eq!(rest.submissions, []);
}

#[tokio::test]
async fn what_is_no_request_is_refused_without_a_trace() {
    let bench = Bench::new().await;
    let good = bench.request(&bench.alice, "n1", b"bundle");
    let without = |field: &str| {
        let mut value = serde_json::to_value(&good).unwrap();
        value.as_object_mut().unwrap().remove(field);
        serde_json::to_vec(&value).unwrap()
    };
    let with = |field: &str, to: serde_json::Value| {
        let mut value = serde_json::to_value(&good).unwrap();
        value.as_object_mut().unwrap().insert(field.into(), to);
        serde_json::to_vec(&value).unwrap()
    };
    let table: Vec<(&str, Vec<u8>, u16, &str, &str)> = vec![
        ("nothing", b"".to_vec(), 400, "request.json", ""),
        ("not JSON", b"code=abc".to_vec(), 400, "request.json", "line 1"),
        ("cut off", b"{\"hotkey\":\"5G".to_vec(), 400, "request.json", ""),
        ("not UTF-8", b"{\"hotkey\":\"\xff\"}".to_vec(), 400, "request.json", ""),
        ("an array", b"[1,2]".to_vec(), 400, "request.field", ""),
        ("no nonce", without("nonce"), 400, "request.field", "`nonce`"),
        ("no code", without("code"), 400, "request.field", "`code`"),
        ("no signature", without("signature"), 400, "request.field", "`signature`"),
        ("unknown field", with("weight", 1.into()), 400, "request.field", "`weight`"),
        ("timestamp is text", with("timestamp", "now".into()), 400, "request.field", "u64"),
        ("timestamp is negative", with("timestamp", (-5).into()), 400, "request.field", ""),
        ("wrong base64", with("code", "YnVuZGxl!".into()), 400, "request.base64", "`code`"),
        ("base64 without padding", with("code", "YnVuZGw".into()), 400, "request.base64", "`code`"),
        ("base64 with a line break", with("code", "YnVu\nZGxl".into()), 400, "request.base64", "`code`"),
        ("no bundle", with("code", "".into()), 400, "bundle.empty", "empty"),
        ("hotkey is none", with("hotkey", "5Grw".into()), 400, "request.hotkey", "`hotkey`"),
        ("signature too short", with("signature", "0xab".into()), 400, "request.shape", "`signature`"),
        ("nonce with a space", with("nonce", "a b".into()), 400, "request.shape", "`nonce`"),
        ("nonce too long", with("nonce", "a".repeat(129).into()), 400, "request.shape", "`nonce`"),
        ("name too long", with("name", "n".repeat(65).into()), 400, "request.name", "`name`"),
        ("name with a bell", with("name", "\u{7}".into()), 400, "request.name", "`name`"),
        ("too large", vec![b' '; 4097], 413, "request.size", "4096"),
    ];
    for (what, body, status, rule, part) in table {
        let message = refused(&bench.post(body).await, status, rule);
        assert!(message.contains(part), "{what}: {message}");
    }
    assert_eq!(bench.stored().await, (0, 0));
    assert_eq!(bench.chain.reads.load(Ordering::SeqCst), 0, "the chain was asked about a request without shape");
    bench.accept(&good).await;
}

#[tokio::test]
async fn a_body_that_announces_less_than_it_brings_is_not_read_to_its_end() {
    let bench = Bench::new().await;
    let pulled = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&pulled);
    let endless = futures::stream::repeat_with(move || {
        count.fetch_add(1, Ordering::SeqCst);
        Ok::<_, std::io::Error>(vec![b' '; 1024])
    });
    refused(&bench.post(Body::from_stream(endless)).await, 413, "request.size");
    assert!(pulled.load(Ordering::SeqCst) <= 6, "{pulled:?}");
    let broken = futures::stream::iter([Ok(vec![b'{']), Err(std::io::Error::other("cable"))]);
    refused(&bench.post(Body::from_stream(broken)).await, 400, "request.body");
}

#[tokio::test]
async fn whoever_can_not_prove_who_he_is_leaves_no_trace() {
    let bench = Bench::new().await;
    let good = bench.request(&bench.alice, "n1", b"bundle");
    let foreign = SubmissionRequest { hotkey: bench.bob.hotkey().ss58(), ..good.clone() };
    let other_code = SubmissionRequest { code: STANDARD.encode(b"bundlf"), ..good.clone() };
    let other_nonce = SubmissionRequest { nonce: "n2".into(), ..good.clone() };
    for forged in [foreign, other_code, other_nonce] {
        refused(&bench.submit(&forged).await, 401, "request.signature");
    }
    let unregistered = bench.request(&bench.mallory, "n1", b"bundle");
    let message = refused(&bench.submit(&unregistered).await, 403, "hotkey.unregistered");
    assert!(message.contains(&bench.mallory.hotkey().ss58()) && message.contains("subnet 7"), "{message}");
    let own = bench.request(&bench.validator, "n1", b"bundle");
    refused(&bench.submit(&own).await, 403, "hotkey.own");

    bench.clock.advance(Duration::from_secs(301));
    refused(&bench.submit(&good).await, 401, "request.stale");
    let mut early = bench.request(&bench.alice, "n1", b"bundle");
    early.timestamp += 301;
    refused(&bench.submit(&early).await, 401, "request.future");
    assert_eq!(bench.stored().await, (0, 0));
    for nonce in ["n1", "n2"] {
        assert!(!bench.store.is_spent(bench.alice.hotkey(), nonce).await.unwrap());
    }
    bench.accept(&bench.request(&bench.alice, "n1", b"bundle")).await;
}

#[tokio::test]
async fn a_replayed_request_is_refused_within_its_window_and_after() {
    let bench = Bench::new().await;
    let good = bench.request(&bench.alice, "n1", b"bundle");
    bench.accept(&good).await;
    refused(&bench.submit(&good).await, 409, "request.nonce");
    let same_work = bench.request(&bench.alice, "n2", b"bundle");
    let message = refused(&bench.submit(&same_work).await, 409, "submission.duplicate");
    assert!(message.contains("as submission"), "{message}");
    // The nonce is forgotten only when the timestamp is stale anyway.
    bench.clock.advance(Duration::from_secs(300));
    refused(&bench.submit(&good).await, 409, "request.nonce");
    bench.clock.advance(Duration::from_secs(400));
    refused(&bench.submit(&good).await, 401, "request.stale");
    assert!(!bench.store.is_spent(bench.alice.hotkey(), "n1").await.unwrap(), "forgotten when its time was over");
    // The same bundle of another hotkey is another submission: identity is settled later, by precedence.
    bench.accept(&bench.request(&bench.bob, "n1", b"bundle")).await;
    assert_eq!(bench.stored().await, (2, 1));
}

#[tokio::test]
async fn a_bundle_that_breaks_a_rule_costs_its_nonce_and_nothing_of_it_is_kept() {
    let bench = Bench::new().await;
    let bad = bench.request(&bench.alice, "n1", b"bad bundle");
    let message = refused(&bench.submit(&bad).await, 422, "bundle.traversal");
    assert!(message.contains("a/../b.py"), "{message}");
    refused(&bench.submit(&bad).await, 409, "request.nonce");
    assert_eq!(bench.stored().await, (0, 0));
    let broken = bench.request(&bench.alice, "n2", b"broken reader");
    let message = refused(&bench.submit(&broken).await, 503, "validator.unavailable");
    assert!(!message.contains("fire"), "our own troubles are not the miner's to read: {message}");
    assert!(!bench.store.is_spent(bench.alice.hotkey(), "n2").await.unwrap(), "not the miner's fault");
}

#[tokio::test]
async fn a_hotkey_has_a_quota_in_each_cohort() {
    let bench = Bench::new().await;
    for number in 0..3 {
        bench.accept(&bench.request(&bench.alice, &format!("n{number}"), format!("{number}").as_bytes())).await;
    }
    let fourth = bench.request(&bench.alice, "n3", b"fourth");
    let message = refused(&bench.submit(&fourth).await, 429, "submission.quota");
    assert!(message.contains('3'), "{message}");
    assert_eq!(bench.stored().await, (3, 3), "what is over the quota takes no room");
    bench.accept(&bench.request(&bench.bob, "n3", b"fourth")).await;
    bench.store.close_cohort(1, Block(9), None).await.unwrap();
    bench.accept(&bench.request(&bench.alice, "n4", b"fourth")).await;
}

#[tokio::test]
async fn without_the_chain_nothing_is_accepted_and_the_same_request_works_later() {
    let bench = Bench::new().await;
    let good = bench.request(&bench.alice, "n1", b"bundle");
    bench.chain.off.store(true, Ordering::SeqCst);
    let response =
        bench.call(Request::post("/v1/submissions").body(Body::from(serde_json::to_vec(&good).unwrap())).unwrap());
    let response = response.await;
    assert_eq!(response.headers()["retry-after"], "10");
    let message = refused(&read(response).await, 503, "chain.unavailable");
    assert!(!message.contains("10.0.0.1"), "{message}");
    assert_eq!(bench.get::<crate::wire::Health>("/healthz").await.0, StatusCode::OK);
    let response = bench.call(Request::get("/readyz").body(Body::empty()).unwrap()).await;
    assert_eq!(
        read(response).await,
        (StatusCode::SERVICE_UNAVAILABLE, b"{\"status\":\"chain can't be read\"}".to_vec())
    );
    let asked = bench.chain.reads.load(Ordering::SeqCst);
    refused(&bench.submit(&good).await, 503, "chain.unavailable");
    assert_eq!(bench.chain.reads.load(Ordering::SeqCst), asked, "many requests share one failure");
    bench.chain.off.store(false, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(1));
    bench.accept(&good).await;
}

#[tokio::test]
async fn the_chain_is_asked_once_for_many_and_again_for_a_newcomer() {
    let bench = Bench::new().await;
    for number in 0..3 {
        bench.accept(&bench.request(&bench.alice, &format!("n{number}"), format!("{number}").as_bytes())).await;
    }
    assert_eq!(bench.chain.reads.load(Ordering::SeqCst), 2, "one head, one list of neurons");
    bench.chain.chain.register(bench.mallory.hotkey(), false, 1);
    for _ in 0..3 {
        bench.chain.chain.next_block();
    }
    let newcomer = bench.request(&bench.mallory, "n1", b"new");
    refused(&bench.submit(&newcomer).await, 403, "hotkey.unregistered");
    assert_eq!(bench.chain.reads.load(Ordering::SeqCst), 2, "strangers can't make it ask more than once a second");
    bench.clock.advance(Duration::from_secs(2));
    bench.accept(&newcomer).await;
}

#[tokio::test]
async fn the_header_form_signs_the_raw_body() {
    let bench = Bench::new().await;
    let send = async |nonce: &str, kind: &str, body: Vec<u8>, signed: &[u8]| {
        let unsigned = Unsigned::new(bench.alice.hotkey(), nonce, bench.clock.now(), Digest::of(signed));
        let request = Request::post("/v1/submissions")
            .header("content-type", kind)
            .header(HEADER_HOTKEY, bench.alice.hotkey().ss58())
            .header(HEADER_NONCE, nonce)
            .header(HEADER_TIMESTAMP, unsigned.timestamp)
            .header(HEADER_SIGNATURE, format!("0x{}", hex::encode(bench.alice.sign(unsigned.line().as_bytes()))))
            .header(HEADER_NAME, "raw");
        read(bench.call(request.body(Body::from(body)).unwrap()).await).await
    };
    let raw = send("n1", "application/zip", b"bundle".to_vec(), b"bundle").await;
    assert_eq!(raw.0, StatusCode::ACCEPTED, "{raw:?}");
    let json = format!("{{\"code\":\"{}\"}}", STANDARD.encode(b"other"));
    let wrapped = send("n2", "application/json; charset=utf-8", json.clone().into(), json.as_bytes()).await;
    assert_eq!(wrapped.0, StatusCode::ACCEPTED, "{wrapped:?}");
    refused(&send("n3", "application/zip", b"third".to_vec(), b"thirt").await, 401, "request.signature");
    refused(&send("n3", "application/json", b"third".to_vec(), b"third").await, 400, "request.json");
    let names: Vec<Option<String>> =
        bench.store.arrivals_after(0, 9).await.unwrap().into_iter().map(|arrival| arrival.name).collect();
    assert_eq!(names, [Some("raw".to_owned()), None]);
    let missing = Request::post("/v1/submissions").header(HEADER_HOTKEY, bench.alice.hotkey().ss58());
    let answer = read(bench.call(missing.body(Body::from("x")).unwrap()).await).await;
    refused(&answer, 400, "request.missing");
}

#[tokio::test]
async fn the_official_scheme_is_understood_and_bound_to_this_validator() {
    let bench = Bench::new().await;
    let send = async |receiver: Hotkey, path: &str, bundle: &[u8]| {
        let nonce = u64::try_from(bench.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()).unwrap();
        let target = btauth::Target { method: "POST", path, body: Digest::of(bundle), receiver };
        let message = btauth::message(&target, nonce, &bench.alice.hotkey());
        let request = Request::post("/v1/submissions")
            .header(btauth::HEADER_VERSION, "1")
            .header(btauth::HEADER_HOTKEY, bench.alice.hotkey().ss58())
            .header(btauth::HEADER_NONCE, nonce)
            .header(btauth::HEADER_RECEIVER, receiver.ss58())
            .header(btauth::HEADER_SIGNATURE, format!("0x{}", hex::encode(bench.alice.sign(message.as_bytes()))));
        read(bench.call(request.body(Body::from(bundle.to_vec())).unwrap()).await).await
    };
    refused(&send(bench.bob.hotkey(), "/v1/submissions", b"bundle").await, 401, "request.receiver");
    refused(&send(bench.validator.hotkey(), "/v1/other", b"bundle").await, 401, "request.signature");
    let accepted = send(bench.validator.hotkey(), "/v1/submissions", b"bundle").await;
    assert_eq!(accepted.0, StatusCode::ACCEPTED, "{accepted:?}");
    refused(&send(bench.validator.hotkey(), "/v1/submissions", b"bundle").await, 409, "request.nonce");
}

#[tokio::test]
async fn more_requests_than_fit_are_told_to_come_back_and_slow_ones_are_let_go() {
    let limits = IntakeLimits { concurrent: 1, deadline: Duration::from_secs(30), ..IntakeLimits::default() };
    let bench = Bench::with(limits).await;
    let silent = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let mut slow = std::pin::pin!(bench.post(silent));
    assert!(futures::poll!(slow.as_mut()).is_pending());
    let good = bench.request(&bench.alice, "n1", b"bundle");
    refused(&bench.submit(&good).await, 503, "intake.busy");
    bench.clock.advance(Duration::from_secs(31));
    refused(&slow.await, 408, "request.deadline");
    bench.accept(&bench.request(&bench.alice, "n1", b"bundle")).await;
}

/// Requests of any shape: pieces of good ones, put together wrongly.
fn any_request() -> impl Strategy<Value = (Vec<(String, String)>, Vec<u8>)> {
    let name = prop::sample::select(vec![
        HEADER_HOTKEY,
        HEADER_NONCE,
        HEADER_SIGNATURE,
        HEADER_TIMESTAMP,
        HEADER_NAME,
        btauth::HEADER_VERSION,
        btauth::HEADER_HOTKEY,
        btauth::HEADER_NONCE,
        btauth::HEADER_RECEIVER,
        "content-type",
        "content-length",
    ]);
    let value = prop_oneof![
        Just(keypair("Alice").hotkey().ss58()),
        Just("1".to_owned()),
        Just("application/json".to_owned()),
        Just("ab".repeat(64)),
        "[ -~]{0,40}",
    ];
    let header = (name.prop_map(str::to_owned), value);
    let body = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        r#"\{"hotkey":"5[a-zA-Z]{47}","code":"[A-Za-z=]{0,9}","timestamp":[0-9]{1,20}\}"#.prop_map(String::into_bytes),
    ];
    (prop::collection::vec(header, 0..8), body)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn no_request_without_a_signature_gets_further_than_a_refusal_of_the_miners_fault((headers, body) in any_request()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            let mut request = Request::post("/v1/submissions");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let (status, body) = read(bench.call(request.body(Body::from(body)).unwrap()).await).await;
            let refused: Refused = serde_json::from_slice(&body).unwrap();
            assert!(status.is_client_error() && refused.error.fault == "miner", "{status} {refused:?}");
            assert_eq!(bench.stored().await, (0, 0));
        });
    }
}

#[tokio::test]
async fn other_routes_and_methods_are_refused_in_the_same_form() {
    let bench = Bench::new().await;
    let refusals = [
        ("/v1/submission", 404, "http.route"),
        ("/v1/submissions/xyz", 400, "board.id"),
        ("/v1/leaderboard?cohort=-1", 400, "board.query"),
        ("/v1/leaderboard?rank=1", 400, "board.query"),
        ("/v1/leaderboard?cohort=3", 404, "cohort.unknown"),
    ];
    for (path, status, rule) in refusals {
        let (got, refused) = bench.get::<SubmissionView>(path).await;
        assert_eq!((got.as_u16(), refused.unwrap_err().error.rule.as_str()), (status, rule), "{path}");
    }
    let unknown = prism_core::SubmissionId([3; 32]);
    let (got, refused) = bench.get::<SubmissionView>(&format!("/v1/submissions/{unknown}")).await;
    assert_eq!((got.as_u16(), refused.unwrap_err().error.rule.as_str()), (404, "submission.unknown"));
    let delete = Request::delete("/v1/submissions").body(Body::empty()).unwrap();
    let answer = read(bench.call(delete).await).await;
    assert_eq!(answer.0, StatusCode::METHOD_NOT_ALLOWED);
}
