//! How fast the native trainer learns, beside how fast the same library multiplies matrices in the same run.
//!
//! Two sizes of the published GPT at byte vocabulary, sequence 128 and batch 16, on one thread and on all. The floating-
//! point operations are those of the matrix products (`prism_eval::graph::flops_per_token`), so the ratio says how much
//! of the machine's matrix speed training gets. About a minute.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used)]
use burn::tensor::{Device, Distribution, Tensor};
use prism_core::{Cancel, Seed, plan::Budget};
use prism_eval::{
    graph::{Context, Limits, baselines},
    native::{NativePlayer, Network, PlayerSettings},
    player::{Player, Rows},
    recipe::Recipe,
};
use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

const SEQUENCE: u32 = 128;
const BATCH: u32 = 16;
const VOCABULARY: u32 = 256;
/// Side of the matrices of the peer.
const SIDE: usize = 512;
const MATMUL_TIME: Duration = Duration::from_secs(2);
const LOOKS: u32 = 10;
const TRAINING_TIME: Duration = Duration::from_secs(10);

fn main() {
    let all = available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime starts");
    for threads in if all > 1 { vec![1, all] } else { vec![1] } {
        let peak = matmul(threads);
        println!("matmul {SIDE}x{SIDE}x{SIDE}, {threads} threads: {:.1} GFLOP/s", peak / 1e9);
        for (name, width_factor, depth_factor) in [("d128 L4 h4", 2, 2), ("d256 L6 h4", 4, 3)] {
            let context = Context { width_factor, depth_factor, ..Context::new(VOCABULARY, SEQUENCE) };
            let Speed { tokens, flops, look } = runtime.block_on(training(&context, threads));
            println!(
                "train {name}, {threads} threads: {tokens:.0} tokens/s, {:.1} GFLOP/s, {:.0} % of matmul; a look inside \
                 takes as long as {look:.2} steps",
                flops / 1e9,
                100.0 * flops / peak
            );
        }
    }
}

/// Floating-point operations per second of products of square matrices.
fn matmul(threads: usize) -> f64 {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
    pool.install(|| {
        let device = Device::flex();
        let matrix = || Tensor::<2>::random([SIDE, SIDE], Distribution::Default, &device);
        let (a, b) = (matrix(), matrix());
        let rate = per_second(MATMUL_TIME, || {
            let product = a.clone().matmul(b.clone());
            assert_eq!(product.dims(), [SIDE, SIDE]);
        });
        rate * 2.0 * (SIDE as f64).powi(3)
    })
}

/// Of whole training steps.
struct Speed {
    /// Per second.
    tokens: f64,
    /// Per second.
    flops: f64,
    /// Steps that take as long as looking inside at one measuring point.
    look: f64,
}

async fn training(context: &Context, threads: usize) -> Speed {
    let spec = baselines::spec("gpt").expect("the baseline is known").expect("the baseline is well-formed");
    let graph = spec.resolve(context, &Limits::default()).expect("the baseline resolves");
    let network = Network::new(graph).expect("a resolved graph runs");
    let flops = network.cost().flops_per_token;
    let per_step = u64::from(BATCH) * u64::from(SEQUENCE);
    let budget = Budget {
        tokens: 1000 * per_step,
        steps: 1000,
        batch: BATCH,
        sequence: SEQUENCE,
        wall_millis: u64::MAX,
        cpu_millis: u64::MAX,
        peak_memory: 8 << 30,
    };
    let seed = Seed::of("bench", &[]);
    let settings = PlayerSettings { threads, cancel: Cancel::new() };
    let mut player =
        NativePlayer::new(network, &Recipe::reference(), &budget, seed, settings).expect("a player starts");
    let mut draws = seed.draws();
    let count = BATCH * (SEQUENCE + 1);
    let tokens = (0..count).map(|_| u32::try_from(draws.below(u64::from(VOCABULARY))).expect("below 256")).collect();
    let rows = Rows { tokens, rows: BATCH, columns: SEQUENCE + 1 };
    // The first step allocates.
    player.train(&rows).await.expect("a step is taken");
    let (start, mut steps) = (Instant::now(), 0u32);
    while start.elapsed() < TRAINING_TIME {
        player.train(&rows).await.expect("a step is taken");
        steps += 1;
    }
    let step = start.elapsed().as_secs_f64() / f64::from(steps);
    let start = Instant::now();
    for _ in 0..LOOKS {
        player.observe(&rows).await.expect("a network can be looked at");
    }
    let look = start.elapsed().as_secs_f64() / f64::from(LOOKS) / step;
    let tokens = per_step as f64 / step;
    Speed { tokens, flops: tokens * flops as f64, look }
}

/// How often a call is done per second, over a span at least.
fn per_second(span: Duration, mut call: impl FnMut()) -> f64 {
    call();
    let (start, mut calls) = (Instant::now(), 0u32);
    while start.elapsed() < span {
        call();
        calls += 1;
    }
    f64::from(calls) / start.elapsed().as_secs_f64()
}
