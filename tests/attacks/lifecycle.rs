//! Attacks on how work begins and ends, and on a host that dies.
use super::{
    Verdict,
    attempt::{Attempt, ensure},
    suite::HostThatDies,
    world::{World, gone, survivors},
};
use prism_core::{
    Kind,
    sandbox::{Running, SandboxSpec},
    submission::FailureClass::{Cancelled, Infrastructure, MinerCode, Policy},
};
use std::{collections::BTreeMap, fs, path::Path, time::Duration};
use tokio::time::{sleep, timeout};

/// Every text that a host might believe, with every exit code that might mean something.
pub(crate) async fn claims(world: &World) -> Verdict {
    for code in ["0", "1", "125", "127", "137", "159"] {
        let end = Attempt::new(world, "kernel.claim", &[code]).run().await?;
        end.class(if code == "0" { None } else { Some(MinerCode) })?;
        ensure!(
            end.outcome.exit.map(|exit| exit.to_string()).as_deref() == Some(code),
            "{code} is seen as {:?}",
            end.outcome.exit
        );
    }
    Ok("0 is success, 5 others are miner code".into())
}

pub(crate) async fn nothing(world: &World) -> Verdict {
    let end = Attempt::new(world, "files.nothing", &[]).run().await?;
    end.well()?;
    ensure!(end.outcome.artifacts.is_empty() && end.said.is_empty(), "something from nothing: {end:?}");
    Ok("no artifact, no word; the caller misses both".into())
}

pub(crate) async fn clocks(world: &World) -> Verdict {
    let end = Attempt::new(world, "kernel.clock", &[]).run().await?;
    end.well()?;
    let count = end.each("", &["EPERM"])?;
    let (counted, ours) = (u128::from(end.outcome.usage.wall_millis), end.took.as_millis());
    ensure!(counted <= ours + 50, "{counted} ms counted within {ours} ms");
    Ok(format!("EPERM, {count} calls"))
}

pub(crate) async fn gpus(world: &World) -> Verdict {
    let end = Attempt::new(world, "kernel.devices", &[]).run().await?;
    end.well()?;
    let names = [
        "nvidia",
        "/dev/dri",
        "/dev/kfd",
        "/dev/kvm",
        "/dev/vfio",
        "/dev/fuse",
        "/dev/loop",
        "/dev/mem",
        "/dev/vda",
        "/dev/sda",
    ];
    let seen: Vec<_> = end.lines.keys().filter(|key| names.iter().any(|name| key.contains(name))).collect();
    ensure!(seen.is_empty(), "devices of the host: {seen:?}");
    if Path::new("/dev/nvidia0").exists() {
        return Ok("no device without asking".into());
    }
    let mut attack = Attempt::new(world, "files.nothing", &[]);
    attack.spec.gpus = vec!["0".into()];
    match world.backend.sandbox.start(attack.spec).await {
        Err(error) => {
            let miner = error.fault() == prism_core::Fault::Miner;
            ensure!(!miner, "a processor that isn't there is called the miner's fault: {error:?}");
            Ok(format!("no device; asking for one is refused: {:?}", error.kind()))
        }
        Ok(running) => {
            let outcome = running.wait().await.map_err(|error| format!("{error:?}"))?;
            ensure!(
                outcome.failure == Some(Infrastructure),
                "ran without the processor that was asked for: {outcome:?}"
            );
            Ok("no device; asking for one is infrastructure".into())
        }
    }
}

/// Eight at once, each of them nasty, and all of them killed at different moments.
pub(crate) async fn many(world: &World) -> Verdict {
    let one = async |pause: u64| {
        let mut started = Attempt::new(world, "resources.deaf", &[]).limits(|l| l.processes = 16).start().await?;
        started.hear("deaf").await?;
        let killer = started.running.killer();
        sleep(Duration::from_millis(pause)).await;
        killer.kill(Cancelled, "enough");
        let end = started.end().await?;
        end.class(Some(Cancelled))?;
        Ok::<_, String>(())
    };
    tokio::try_join!(one(0), one(50), one(100), one(150))?;
    tokio::try_join!(one(0), one(1), one(2), one(3))?;
    Ok("8 killed, nothing left".into())
}

/// A host with four runs is killed with SIGKILL; its successor sweeps.
pub(crate) async fn host_killed(world: &World) -> Verdict {
    let mut host = HostThatDies::start(world).map_err(|error| format!("another host did not start: {error}"))?;
    host.ready()?;
    let alive = survivors(&host.markers).len();
    ensure!(alive >= 4, "only {alive} processes of it run");
    host.kill();
    let by_itself = gone(&host.markers, Duration::from_secs(5)).await.is_ok();
    let swept = timeout(Duration::from_secs(40), world.backend.sandbox.sweep()).await;
    let swept = swept.map_err(|_| "sweep takes longer than 40 s")?.map_err(|error| format!("sweep: {error:?}"))?;
    gone(&host.markers, Duration::from_secs(10)).await?;
    ensure!(world.backend.kind.outlives_its_host() || by_itself, "runs go on without their host");
    let again = world.backend.sandbox.sweep().await.map_err(|error| format!("sweep: {error:?}"))?;
    ensure!(again == 0, "a second sweep finds {again} more");
    Ok(format!("{}; swept {swept}", if by_itself { "dead with their host" } else { "dead after sweep" }))
}

pub(crate) async fn dropped(world: &World) -> Verdict {
    for what in ["resources.forks", "resources.deaf", "resources.wait_forever"] {
        let arguments: &[&str] = if what == "resources.wait_forever" { &["stop"] } else { &[] };
        let mut started = Attempt::new(world, what, arguments).limits(|l| l.processes = 24).start().await?;
        started
            .hear(match what {
                "resources.forks" => "children",
                "resources.deaf" => "deaf",
                _ => "waiting",
            })
            .await?;
        let marker = started.abandon();
        gone(&marker, Duration::from_secs(10)).await?;
    }
    Ok("3 kinds dead after drop".into())
}

/// Processes that wake themselves and each other and fork while they are frozen, and that compute whenever they run. A
/// backend that can't hold them may end them for it.
pub(crate) async fn frozen(world: &World) -> Verdict {
    let attack = Attempt::new(world, "resources.under_freeze", &["6"]).limits(|l| l.processes = 24);
    let mut started = attack.start().await?;
    started.hear("ready").await?;
    let mut computed = 0;
    for _ in 0..3 {
        sleep(Duration::from_millis(100)).await;
        match frozen_for(&*started.running, &started.marker, Duration::from_millis(400)).await {
            Ok(_) if survivors(&started.marker).is_empty() => {
                let end = started.end().await?;
                end.class(Some(Policy)).map_err(|why| format!("nothing is left of frozen work; {why}"))?;
                return Ok(format!("policy: {}", end.outcome.reason));
            }
            Ok(millis) => computed += millis,
            Err(error) => {
                let end = started.end().await?;
                end.class(Some(Policy)).map_err(|why| format!("{error}; {why}"))?;
                return Ok(format!("policy: {}", end.outcome.reason));
            }
        }
    }
    ensure!(computed <= 30, "frozen work computed for {computed} ms in 1200 ms");
    let before = computing(&started.marker);
    let mut looks = 0..100;
    while computing(&started.marker) == before {
        ensure!(looks.next().is_some(), "thawed work does not go on");
        sleep(Duration::from_millis(50)).await;
    }
    started.running.freeze().await.map_err(|error| format!("freeze: {error:?}"))?;
    let marker = started.abandon();
    gone(&marker, Duration::from_secs(10)).await?;
    Ok(format!("computed {computed} ms in 1200 ms; dead after drop"))
}

/// Processor time of all that runs with a marker, by this host's own eyes: of each process, milliseconds.
fn computing(marker: &str) -> BTreeMap<String, u64> {
    let time = |pid: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = text.rsplit_once(')')?;
        // Ticks of 10 ms, of user and kernel: fields 14 and 15 of proc_pid_stat(5); what follows the name is field 3.
        let ticks = fields.split_whitespace().skip(14 - 3).take(2).filter_map(|field| field.parse::<u64>().ok());
        Some(ticks.sum::<u64>() * 10)
    };
    let pids = survivors(marker).into_iter().filter_map(|process| process.split(' ').next().map(str::to_owned));
    pids.filter_map(|pid| time(&pid).map(|millis| (pid, millis))).collect()
}

/// Processor time spent while frozen, milliseconds; whoever is new counts with all of its own, and 10 ms at least.
async fn frozen_for(running: &dyn Running, marker: &str, span: Duration) -> Result<u64, String> {
    running.freeze().await.map_err(|error| format!("freeze: {error:?}"))?;
    let before = computing(marker);
    sleep(span).await;
    let after = computing(marker);
    running.thaw().await.map_err(|error| format!("thaw: {error:?}"))?;
    let spent = after.iter().map(|(pid, millis)| match before.get(pid) {
        Some(was) => millis.saturating_sub(*was),
        None => (*millis).max(10),
    });
    Ok(spent.sum())
}

/// The host's own mistake must not pass for the miner's, nor hang.
pub(crate) async fn missing_program(world: &World) -> Verdict {
    let attack = Attempt::new(world, "files.nothing", &[]);
    let spec = SandboxSpec { argv: vec!["/no/such/program".into()], ..attack.spec };
    match timeout(Duration::from_secs(40), world.backend.sandbox.start(spec)).await {
        Err(_) => Err("start hangs".into()),
        Ok(Err(error)) => {
            ensure!(error.fault() != prism_core::Fault::Miner, "called the miner's fault: {error:?}");
            Ok(format!("refused: {:?}", error.kind()))
        }
        Ok(Ok(running)) => {
            let ended = timeout(Duration::from_secs(40), running.wait()).await.map_err(|_| "wait hangs")?;
            match ended {
                Ok(outcome) => {
                    ensure!(outcome.failure.is_some(), "ended well: {outcome:?}");
                    Ok(format!("{:?}", outcome.failure))
                }
                Err(error) if error.kind() == Kind::Bug => Err(format!("{error:?}")),
                Err(error) => Ok(format!("refused: {:?}", error.kind())),
            }
        }
    }
}
