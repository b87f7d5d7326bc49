use super::graphs::{adamw, gpt, recipe};
use super::*;
use crate::player::{Player, Rows};
use futures::executor::block_on;
use prism_core::{Seed, plan::Budget};

#[test]
fn timing() {
    let (b, t) = (16u32, 128u32);
    let d: u32 = std::env::var("D").map_or(64, |v| v.parse().unwrap());
    let l: u32 = std::env::var("L").map_or(2, |v| v.parse().unwrap());
    let threads: usize = std::env::var("T").map_or(1, |v| v.parse().unwrap());
    let steps = 20;
    let budget =
        Budget { tokens: 0, steps, batch: b, sequence: t, wall_millis: 0, cpu_millis: 0, peak_memory: 8 << 30 };
    let run = || {
        let network = Network::new(gpt(d, l, 4, 256, t)).unwrap();
        println!("{:?}", network.cost());
        let settings = PlayerSettings { threads, ..PlayerSettings::default() };
        let r = recipe(adamw(3e-3), adamw(3e-3));
        println!("peak {}", NativePlayer::peak_memory(&network, &r, &budget, threads));
        let flops = network.cost().flops_per_token;
        let mut player = NativePlayer::new(network, &r, &budget, Seed::of("t", &[]), settings).unwrap();
        let tokens: Vec<u32> = (0..b * (t + 1)).map(|i| (i * i / 7) % 256).collect();
        let rows = Rows { tokens, rows: b, columns: t + 1 };
        let start = std::time::Instant::now();
        let mut report = None;
        for _ in 0..steps {
            report = Some(block_on(player.train(&rows)).unwrap());
        }
        let s = start.elapsed().as_secs_f64();
        let toks = f64::from(b * t) * steps as f64 / s;
        println!(
            "{:.0} tok/s {:.1} GFLOP/s {:?} {:?}",
            toks,
            toks * flops as f64 / 1e9,
            report,
            block_on(player.spent())
        );
    };
    if std::env::var("PAR").is_ok() {
        std::thread::scope(|s| {
            s.spawn(run);
            s.spawn(run);
        });
    } else {
        run();
    }
}
