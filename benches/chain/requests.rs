//! What checking a signed request costs, against the sr25519 verification alone: shape, digest of the body, freshness,
//! signature within the verifier's limits, and the nonce. One request after the other gives the rate of a core, hand-over
//! between threads included; all at once that of the machine. Nonces in memory show what the crate costs, nonces in SQLite,
//! each on the disk before it counts, what a validator pays.
use prism_chain::{
    Keypair,
    request::{
        HEADER_HOTKEY, HEADER_NONCE, HEADER_SIGNATURE, HEADER_TIMESTAMP, Signed, Unsigned, Verifier, VerifierLimits,
    },
    signer::verify,
};
use prism_core::{Digest, Hotkey, Nonces, Result};
use prism_neurons::store::Store;
use std::{
    collections::HashSet,
    hint::black_box,
    sync::{Arc, Mutex},
    time::{Instant, SystemTime},
};
use tokio::task::JoinSet;

const REQUESTS: usize = 4000;
const KEYS: usize = 64;
const BODY: usize = 4096;
/// Runs of each, of which the quickest counts.
const ROUNDS: usize = 5;

/// A request as it came.
struct Request {
    headers: [(&'static str, String); 4],
    body: Vec<u8>,
}

/// Nonces that nobody forgets.
#[derive(Debug, Default)]
struct Remembered(Mutex<HashSet<(Hotkey, String)>>);

#[async_trait::async_trait]
impl Nonces for Remembered {
    async fn spend(&self, hotkey: Hotkey, nonce: &str, _: SystemTime) -> Result<bool> {
        Ok(self.0.lock().expect("lock").insert((hotkey, nonce.to_owned())))
    }
}

/// Requests per second, and how far below bare verification they are.
pub(crate) async fn requests() {
    let now = SystemTime::now();
    let keys: Vec<_> = (0..KEYS).map(|n| Keypair::from_uri(&format!("//miner//{n}")).expect("key")).collect();
    let body = vec![7; BODY];
    let requests: Arc<[_]> = (0..REQUESTS).map(|n| signed(&keys[n % KEYS], n, &body, now)).collect();

    let lines: Vec<_> = requests.iter().map(|request| parsed(request, now)).collect();
    let bare = best(async || {
        for (signed, line) in &lines {
            assert!(black_box(verify(&signed.hotkey, line.as_bytes(), &signed.signature)));
        }
    })
    .await;
    println!("{REQUESTS} signed requests with bodies of {BODY} bytes, best of {ROUNDS}, per second:");
    println!("  sr25519 verification alone, one core   {bare:9.0}");
    let show = |what: &str, rate: f64| println!("  {what:<38} {rate:9.0}  ({:.2} of bare)", rate / bare);

    let one = Verifier::new(VerifierLimits { workers: 1, ..VerifierLimits::default() });
    let alone = best(async || all(&one, Arc::new(Remembered::default()), &requests, now, 1).await).await;
    show("whole check, one after the other", alone);

    let cores = VerifierLimits::default().workers;
    let many = Verifier::default();
    let together = best(async || all(&many, Arc::new(Remembered::default()), &requests, now, 64).await).await;
    show(&format!("whole check, 64 at once, {cores} cores"), together);

    let folder = tempfile::tempdir().expect("folder");
    let fewer: Arc<[_]> = (0..REQUESTS / 4).map(|n| signed(&keys[n % KEYS], n, &body, now)).collect();
    let mut round = 0;
    let stored = best(async || {
        round += 1;
        let store = Store::open(folder.path().join(format!("{round}.sqlite"))).expect("store");
        all(&many, Arc::new(store), &fewer, now, 64).await;
    })
    .await;
    show("the same with nonces in SQLite", stored / 4.0);
}

fn signed(key: &Keypair, number: usize, body: &[u8], now: SystemTime) -> Request {
    let request = Unsigned::new(key.hotkey(), format!("n{number}"), now, Digest::of(body));
    let signature = hex::encode(key.sign(request.line().as_bytes()));
    let headers = [
        (HEADER_HOTKEY, request.hotkey.ss58()),
        (HEADER_NONCE, request.nonce),
        (HEADER_TIMESTAMP, request.timestamp.to_string()),
        (HEADER_SIGNATURE, signature),
    ];
    Request { headers, body: body.to_vec() }
}

fn parsed(request: &Request, now: SystemTime) -> (Signed, String) {
    let signed = shape(request);
    let line = Unsigned {
        hotkey: signed.hotkey,
        nonce: signed.nonce.clone(),
        timestamp: signed.timestamp,
        digest: Digest::of(&request.body),
    };
    assert!(signed.verify(&line.digest, now).is_ok());
    (signed, line.line())
}

fn shape(request: &Request) -> Signed {
    let header = |name| request.headers.iter().filter(|(n, _)| *n == name).map(|(_, value)| value.as_str()).collect();
    Signed::from_headers(header).expect("headers")
}

/// Checks all requests, so many at once.
async fn all(verifier: &Verifier, nonces: Arc<dyn Nonces>, requests: &Arc<[Request]>, now: SystemTime, at_once: usize) {
    let mut clients = JoinSet::new();
    for first in 0..at_once {
        let (verifier, nonces, requests) = (verifier.clone(), Arc::clone(&nonces), Arc::clone(requests));
        clients.spawn(async move {
            for request in requests.iter().skip(first).step_by(at_once) {
                let signed = shape(request);
                let proof = signed.proof(&Digest::of(&request.body), now).expect("fresh");
                let admitted = verifier.admit(proof, &nonces, &signed.nonce, Signed::keep_nonce_until(now)).await;
                assert_eq!(admitted.expect("good"), signed.hotkey);
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client.expect("client");
    }
}

/// Requests per second in the quickest round.
async fn best(mut work: impl AsyncFnMut()) -> f64 {
    let mut best = 0.0_f64;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work().await;
        best = best.max(REQUESTS as f64 / start.elapsed().as_secs_f64());
    }
    best
}
