//! What it takes to find who came first among a million: lookups, insertion, bytes and recall of the index in SQLite, against
//! a linear scan of the same sketches and the same bands in memory.
//!
//! Priors are synthetic: one in five is an idea of its own, sharing a quarter of its shapes with everybody, as code for one
//! contract does; the others are variants, alike by 0.6 to 1, of earlier ones, the popular more often. Minima are drawn as
//! MinHash would give them. `PRISM_PRIORS` sets another number of them. Some minutes.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]
use prism_core::{Block, Digest, FamilyId, Finite, Hotkey, SubmissionId, submission::Precedence};
use prism_eval::{
    duplicate::{Compact, Fingerprint, Part, PartPrint, Sketch, Subject, report},
    policy::DuplicateNumbers,
};
use prism_neurons::store::{Store, duplicates::FingerprintRecord};
use std::{
    path::Path,
    time::{Duration, Instant},
};

const MINIMA: usize = 128;
const BATCH: usize = 250_000;
const LOOKUPS: usize = 1000;
const SCANS: usize = 30;
const INSERTS: u32 = 300;
/// As the store's.
const OLDEST: usize = 32;
/// What everybody shares.
const COMMON: f64 = 0.25;

/// SplitMix64: the draws of a measurement, not of a run.
struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Minima of a set that shares this part of its elements with another.
    fn variant(&mut self, of: &[u32], similarity: f64, into: &mut Vec<u32>) {
        for minimum in of.iter().take(MINIMA) {
            let kept = self.unit() < similarity;
            into.push(if kept { *minimum } else { (self.next() >> 32) as u32 });
        }
    }
}

fn priors(count: usize, draws: &mut Draws) -> Vec<u32> {
    let common: Vec<u32> = (0..MINIMA).map(|_| (draws.next() >> 32) as u32).collect();
    let mut minima: Vec<u32> = Vec::with_capacity(count * MINIMA);
    let mut next = Vec::with_capacity(MINIMA);
    for at in 0..count {
        next.clear();
        if at == 0 || draws.unit() < 0.2 {
            draws.variant(&common, COMMON, &mut next);
        } else {
            // The older an idea, the more variants it has.
            let popular = draws.unit().powi(3);
            let of = (popular * at as f64) as usize;
            let similarity = 0.6 + 0.4 * draws.unit();
            draws.variant(&minima[of * MINIMA..(of + 1) * MINIMA], similarity, &mut next);
        }
        minima.extend(&next);
    }
    minima
}

fn fingerprint(name: u64, minima: &[u32]) -> Fingerprint {
    let structure = Digest::of(&name.to_le_bytes());
    let sketch = Some(Sketch::of_minima(minima.iter().copied()));
    let part = PartPrint { part: Part::Architecture, structure, sketch };
    Fingerprint { work: structure, family: FamilyId(structure.0), parts: vec![part] }
}

fn id(name: u64) -> SubmissionId {
    SubmissionId(Digest::of(&name.to_le_bytes()).0)
}

fn place(name: u64) -> Precedence {
    let mut hotkey = [0; 32];
    hotkey[..8].copy_from_slice(&(name % 4096 + 1).to_le_bytes());
    Precedence { block: Block(name / 100), extrinsic: (name % 100) as u32, hotkey: Hotkey(hotkey), local: true }
}

fn record(name: u64, minima: &[u32]) -> FingerprintRecord {
    let fingerprint = fingerprint(name, minima);
    let (submission, family, precedence) = (id(name), fingerprint.family, place(name));
    FingerprintRecord { submission, family, precedence, published: false, fingerprint }
}

/// The middle and the slowest in a hundred.
fn quantiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:8.3} ms, p99 {:8.3} ms, worst {:8.3} ms", at(0.5), at(0.99), at(1.0))
}

fn bytes_in(folder: &Path) -> u64 {
    std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

/// The bands in memory: keys and entries in one sorted run.
struct InMemory(Vec<u64>);

impl InMemory {
    fn of(minima: &[u32]) -> Self {
        let mut keys = Vec::with_capacity(minima.len() / MINIMA * 27);
        for (at, own) in minima.chunks_exact(MINIMA).enumerate() {
            let fingerprint = fingerprint(at as u64, own);
            keys.extend(fingerprint.keys(&fingerprint.parts[0]).into_iter().map(|key| (key >> 3) << 20 | at as u64));
        }
        keys.sort_unstable();
        Self(keys)
    }

    fn alike(&self, fingerprint: &Fingerprint) -> Vec<usize> {
        let mut found: Vec<usize> = Vec::new();
        for key in fingerprint.keys(&fingerprint.parts[0]) {
            let from = self.0.partition_point(|one| *one < (key >> 3) << 20);
            let same = self.0[from..].iter().take_while(|one| **one >> 20 == key >> 3).take(OLDEST);
            found.extend(same.map(|one| (*one & 0xf_ffff) as usize));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[tokio::main]
async fn main() {
    let count: usize = std::env::var("PRISM_PRIORS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let count = count.clamp(1000, 1 << 20);
    let mut draws = Draws(42);
    let minima = priors(count, &mut draws);
    let of = |at: usize| &minima[at * MINIMA..(at + 1) * MINIMA];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("prism.sqlite");
    let store = Store::open(&path).unwrap();
    let begun = Instant::now();
    for from in (0..count).step_by(BATCH) {
        let batch = (from..count.min(from + BATCH)).map(|at| record(at as u64, of(at))).collect();
        store.keep_fingerprints(batch).await.unwrap();
        println!("{} of {count} kept after {:.0} s", count.min(from + BATCH), begun.elapsed().as_secs_f64());
    }
    let filled = begun.elapsed();
    drop(store);
    // The writer's thread closes the database, and with it the log, a moment later.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let bytes = bytes_in(folder.path());
    println!(
        "{count} priors in batches: {:.1} s, {:.0} bytes each on disk",
        filled.as_secs_f64(),
        bytes as f64 / count as f64
    );

    let store = Store::open(&path).unwrap();
    let numbers = DuplicateNumbers::default();
    let compact: Vec<Compact> =
        minima.chunks_exact(MINIMA).map(|own| Sketch::of_minima(own.iter().copied()).compact()).collect();
    let memory = InMemory::of(&minima);
    let mut next = Vec::new();
    let name = u64::MAX / 2;
    for similarity in [0.0, 0.65, 0.7, 0.8, 0.9, 0.95, 1.0] {
        let (mut found, mut as_near, mut in_memory, mut candidates) = (0, 0, 0, 0);
        let (mut times, mut peers) = (Vec::new(), Vec::new());
        for n in 0..LOOKUPS {
            let prior = draws.below(count);
            next.clear();
            draws.variant(of(prior), similarity, &mut next);
            let asked = fingerprint(name + n as u64, &next);
            let precedence = Precedence { block: Block(u64::from(u32::MAX)), ..place(1 << 40) };
            let begun = Instant::now();
            let entries = store.alike(&asked).await.unwrap();
            let subject = Subject { submission: id(name), precedence, fingerprint: &asked };
            let closest = report(&subject, &entries, &numbers);
            times.push(begun.elapsed());
            candidates += entries.len();
            let own = asked.parts[0].sketch.as_ref().unwrap().compact();
            let aim = own.similarity(&compact[prior]);
            found += usize::from(entries.iter().any(|entry| entry.submission == id(prior as u64)));
            let nearest = closest.closest.first().map_or(0.0, |one| one.similarity.get());
            as_near += usize::from(nearest + 1e-9 >= aim);
            let begun = Instant::now();
            let peer = memory.alike(&asked).into_iter().map(|at| own.similarity(&compact[at])).fold(0.0, f64::max);
            peers.push(begun.elapsed());
            in_memory += usize::from(peer + 1e-9 >= aim);
        }
        let part = |count: usize| count as f64 / LOOKUPS as f64;
        println!("variants alike by {similarity:.2}:");
        println!("  SQLite      {}, {:.0} candidates", quantiles(&mut times), part(candidates));
        println!("  in memory   {}, {} MiB of keys", quantiles(&mut peers), (memory.0.len() * 8) >> 20);
        if similarity > 0.0 {
            let (found, as_near, in_memory) = (part(found), part(as_near), part(in_memory));
            println!("  recall      {as_near:.3} something as near, {found:.3} the very one; in memory {in_memory:.3}");
        }
    }
    let mut scans = Vec::new();
    let mut nearest = 0.0;
    for _ in 0..SCANS {
        let own = compact[draws.below(count)];
        let begun = Instant::now();
        nearest += compact.iter().map(|other| own.similarity(other)).fold(0.0, f64::max);
        scans.push(begun.elapsed());
    }
    assert!(Finite::new(nearest).is_some_and(|sum| sum.get() > SCANS as f64 - 1e-6));
    println!("linear scan of sketches in memory: {}, {} MiB", quantiles(&mut scans), (compact.len() * MINIMA) >> 20);
    let mut inserts = Vec::new();
    for n in 0..INSERTS {
        let prior = draws.below(count);
        next.clear();
        draws.variant(of(prior), 0.9, &mut next);
        let one = record(name + 1_000_000 + u64::from(n), &next);
        let begun = Instant::now();
        store.keep_fingerprints(vec![one]).await.unwrap();
        inserts.push(begun.elapsed());
    }
    println!("one more, in a transaction of its own: {}", quantiles(&mut inserts));
}
