//! How long a sandbox takes from the order to start to the last trace being gone, beside a bare process, bubblewrap and a
//! container engine in the same run.
//!
//! Two programs: one that ends at once, and an interpreter. Rounds take turns, so that all peers meet the same load;
//! medians and minima in milliseconds, and their ratios to bubblewrap's (`bwrap` on the path, or `PRISM_BWRAP`; without it,
//! to the bare process's). The engine is one that runs, or the one that the tests set up. Its image is made of this host's own
//! files and stays with the engine. Bubblewrap runs with all its namespaces, but has no landlock, no list of system calls, no limits
//! and no control groups.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::panic)]
#[path = "../prism-eval/tests/support/engine.rs"]
mod test_engine;
mod work;

use prism_core::{
    channel::ByteSourceExt,
    sandbox::{Root, Sandbox},
};
use prism_eval::{
    guest::runtime::Runtime,
    sandbox::{
        container::{ContainerConfig, ContainerSandbox, image},
        embedded::{EmbeddedConfig, EmbeddedSandbox},
        launcher,
    },
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};
use test_engine::TestEngine;

const ROUNDS: usize = 30;
/// Engines take half a second: fewer rounds say as much.
const ENGINE_ROUNDS: usize = 8;
const PYTHON: &str = "/usr/bin/python3";

enum Peer {
    Bare,
    Bubblewrap(PathBuf),
    Sandbox(Box<dyn Sandbox>, Root),
}

fn main() {
    launcher::enter();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    runtime.block_on(compare());
}

async fn compare() {
    let root = work::host();
    let bare = EmbeddedConfig { control_groups: false, ..EmbeddedConfig::default() };
    let mut peers = vec![
        ("bare process", Peer::Bare),
        ("embedded", Peer::Sandbox(Box::new(EmbeddedSandbox::new(EmbeddedConfig::default())), root.clone())),
        ("embedded, no control groups", Peer::Sandbox(Box::new(EmbeddedSandbox::new(bare)), root)),
    ];
    match bubblewrap() {
        Some(path) => peers.push(("bubblewrap", Peer::Bubblewrap(path))),
        None => println!("bubblewrap is not installed: no comparison with it"),
    }
    let _engine = match engine().await {
        Ok((held, peer)) => {
            peers.push(("container engine", peer));
            Some(held)
        }
        Err(reason) => {
            println!("no container engine: {reason}");
            None
        }
    };
    for (program, argv) in [("/bin/true", vec!["/bin/true"]), ("python3", vec![PYTHON, "-I", "-S", "-c", "pass"])] {
        let mut times: Vec<Vec<Duration>> = peers.iter().map(|_| Vec::new()).collect();
        for round in 0..ROUNDS {
            for ((_, peer), times) in peers.iter().zip(&mut times) {
                // The image holds an interpreter and nothing else.
                let takes = !is_engine(peer) || (round < ENGINE_ROUNDS && program != "/bin/true");
                if takes {
                    times.push(once(peer, &argv).await);
                }
            }
        }
        report(program, &peers, &mut times);
    }
}

fn is_engine(peer: &Peer) -> bool {
    matches!(peer, Peer::Sandbox(sandbox, _) if sandbox.name() == "container")
}

fn report(program: &str, peers: &[(&str, Peer)], times: &mut [Vec<Duration>]) {
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let mut rows = Vec::new();
    for ((name, peer), times) in peers.iter().zip(times) {
        if times.is_empty() {
            continue;
        }
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or_default();
        let least = times.first().copied().unwrap_or_default();
        rows.push((*name, matches!(peer, Peer::Bubblewrap(_)), millis(median), millis(least)));
    }
    let base = rows.iter().find(|row| row.1).or(rows.first()).copied();
    let Some((base_name, _, base_median, base_least)) = base else { return };
    println!("{program}: ms from start to gone, and times {base_name}");
    for (name, _, median, least) in rows {
        let (times_median, times_least) = (median / base_median, least / base_least);
        println!("  {name:<28} median {median:7.1} ({times_median:5.2} x)  least {least:7.1} ({times_least:5.2} x)");
    }
}

async fn once(peer: &Peer, argv: &[&str]) -> Duration {
    let start = Instant::now();
    match peer {
        Peer::Bare => run(Command::new(argv.first().expect("a program")).args(argv.iter().skip(1))),
        Peer::Bubblewrap(path) => {
            let mut command = Command::new(path);
            command.args(["--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--uid", "65532"]);
            command.args(["--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
            for name in ["/bin", "/lib", "/lib64"] {
                match std::fs::read_link(name) {
                    Ok(target) => command.arg("--symlink").arg(target).arg(name),
                    Err(_) => command.args(["--ro-bind-try", name, name]),
                };
            }
            run(command.args(argv));
        }
        Peer::Sandbox(sandbox, root) => {
            let mut running = sandbox.start(work::spec(root, argv)).await.expect("it starts");
            let (mut source, mut sink) = running.channel().expect("a channel");
            sink.close().await.expect("it closes");
            source.read_all("channel", 1024).await.expect("it ends");
            let outcome = running.wait().await.expect("an outcome");
            assert!(outcome.failure.is_none(), "{}", outcome.reason);
        }
    }
    start.elapsed()
}

fn run(command: &mut Command) {
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().expect("it starts");
    assert!(status.success(), "{command:?} ended with {status}");
}

fn bubblewrap() -> Option<PathBuf> {
    let named = std::env::var_os("PRISM_BWRAP").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.or_else(|| std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|file| file.is_file()))
}

/// An engine that runs, or the one that the tests set up, and an image with this host's programs.
async fn engine() -> Result<(Arc<TestEngine>, Peer), String> {
    let set_up = std::thread::spawn(test_engine::engine);
    let engine = set_up.join().map_err(|_| "none could be set up")?;
    let sockets = vec![engine.socket().to_owned()];
    let sandbox = ContainerSandbox::connect(ContainerConfig::new(sockets.clone(), "bench")).await;
    let sandbox = sandbox.map_err(|e| e.to_string())?;
    let runtime = Runtime {
        python: PYTHON.into(),
        python_version: String::new(),
        torch_version: String::new(),
        cuda: false,
        directories: Vec::new(),
        search: Vec::new(),
        libraries: Vec::new(),
        files: BTreeMap::new(),
    };
    let image = image::build(&sockets, &runtime, |_| {}).await.map_err(|e| e.to_string())?;
    Ok((engine, Peer::Sandbox(Box::new(sandbox), Root::Image { digest: image.digest })))
}
