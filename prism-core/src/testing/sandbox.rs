//! The suite of [`Sandbox`].
use super::{Broken, Check, within};
use crate::{
    channel::ByteSourceExt,
    error::{Fault, Kind, Result},
    sandbox::{Limits, Property, Sandbox, SandboxOutcome, SandboxSpec, Strength},
    submission::FailureClass,
};
use async_trait::async_trait;
use std::{future::pending, path::PathBuf, time::Duration};

/// Work that is not over by then is not held by any limit.
const GIVE_UP: Duration = Duration::from_secs(60);
/// The clause's own figure, milliseconds.
const AFTER_LIMIT: u64 = 1000;
/// More than any program here says.
const ALL: u64 = 1 << 20;

const PROPERTIES: [Property; 11] = [
    Property::UserNamespace,
    Property::NoNetwork,
    Property::ReadOnlyRoot,
    Property::SyscallFilter,
    Property::Landlock,
    Property::MemoryLimit,
    Property::CpuTimeLimit,
    Property::ProcessLimit,
    Property::DiskLimit,
    Property::OutputLimit,
    Property::Gpu,
];

/// Work that the clauses need. "Without end" means until killed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Program {
    /// Sends back what comes over the channel; ends with 0 when the channel is closed.
    Echo,
    /// Writes lines to the channel: `env NAME` for every variable it has, `fd N` for every descriptor it didn't open
    /// itself, `read` when it can read this path. Ends with 0.
    Look {
        /// A file of the host.
        path: PathBuf,
    },
    /// Writes a text to standard error, then ends with this code.
    Claim {
        /// The text.
        text: String,
        /// The exit code.
        exit: i32,
    },
    /// Sleeps without end.
    Sleep,
    /// Computes without end.
    Spin,
    /// Takes memory, and touches it, without end.
    Allocate,
    /// Starts processes that sleep, without end.
    Fork,
    /// Writes to scratch space without end.
    Fill,
    /// Writes to standard error without end.
    Shout,
    /// Writes to the channel without end.
    Flood,
}

/// Something of the host that no work may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// A variable in the environment of this process.
    pub variable: String,
    /// A readable file that no spec names.
    pub path: PathBuf,
}

/// Supplies a sandbox with work, and looks at what is left of it.
#[async_trait]
pub trait SandboxDriver: Send + Sync {
    /// The sandbox under test.
    fn sandbox(&self) -> &dyn Sandbox;
    /// How to start a program: nothing required, limits that it doesn't meet unless it goes on without end.
    fn spec(&self, program: &Program) -> SandboxSpec;
    /// What may not be seen.
    fn secret(&self) -> Secret;
    /// Processes, mounts and control groups of work that are on this host.
    async fn remains(&self) -> Result<usize>;
    /// Leaves what a crashed host leaves: of this backend, or of somebody else's.
    async fn abandon(&mut self, ours: bool) -> Result<()>;
    /// How much of that is still there.
    async fn abandoned(&self, ours: bool) -> Result<usize>;
}

suite!(
    "Sandbox", SandboxDriver,
    1 => clause_1_refuses_what_it_cannot_enforce,
    2 => clause_2_nothing_of_the_host_is_visible,
    3 => clause_3_at_any_limit_everything_is_killed,
    4 => clause_4_the_class_comes_from_host_evidence_only,
    5 => clause_5_nothing_is_left_after_wait_or_drop,
    6 => clause_6_sweep_removes_its_own_and_nothing_else,
    7 => clause_7_nothing_runs_while_frozen,
);

/// Starts and waits, reading the channel to its end meanwhile.
async fn play(driver: &dyn SandboxDriver, spec: SandboxSpec) -> Result<(Vec<u8>, SandboxOutcome), Broken> {
    let playing = async {
        let mut running = driver.sandbox().start(spec).await?;
        let mut said = Vec::new();
        if let Some((mut source, mut sink)) = running.channel() {
            // Work that is killed may end its channel with an error; what it said until then counts.
            let _ = sink.close().await;
            said = source.read_all("channel", ALL).await.unwrap_or_default();
        }
        Ok((said, running.wait().await?))
    };
    within(GIVE_UP, playing).await.unwrap_or_else(|| Err(Broken(format!("work goes on {} s", GIVE_UP.as_secs()))))
}

/// Requires each property that isn't enforced here, one by one. That an enforced one really holds isn't seen.
pub async fn clause_1_refuses_what_it_cannot_enforce(driver: &mut dyn SandboxDriver) -> Check {
    let can = driver.sandbox().probe().await?;
    for property in PROPERTIES.into_iter().filter(|property| can.of(*property) != Strength::Enforced) {
        let spec = SandboxSpec { required: vec![property], ..driver.spec(&Program::Echo) };
        match driver.sandbox().start(spec).await {
            Ok(_) => return Err(Broken(format!("started without {property:?}, which was required"))),
            Err(error) => {
                let refused = (error.kind(), error.fault()) == (Kind::Unsupported, Fault::Validator);
                ensure!(refused, "without {property:?}, which was required, start gave {error:?}");
            }
        }
    }
    Ok(())
}

/// Looks around from inside, with one variable named in the spec.
pub async fn clause_2_nothing_of_the_host_is_visible(driver: &mut dyn SandboxDriver) -> Check {
    let Secret { variable, path } = driver.secret();
    let mut spec = driver.spec(&Program::Look { path: path.clone() });
    spec.env.insert("PRISM_CONFORMANCE".into(), "1".into());
    let (said, outcome) = play(driver, spec).await?;
    ensure!(outcome.failure.is_none(), "looking around ended with {:?}: {}", outcome.failure, outcome.reason);
    let said = String::from_utf8_lossy(&said).into_owned();
    ensure!(said.lines().any(|line| line == "env PRISM_CONFORMANCE"), "a variable of the spec is missing: {said:?}");
    ensure!(!said.lines().any(|line| line == format!("env {variable}")), "the host's variable {variable} is visible");
    ensure!(!said.lines().any(|line| line == "read"), "the host's file {} is readable", path.display());
    for fd in said.lines().filter_map(|line| line.strip_prefix("fd ")) {
        ensure!(matches!(fd, "0" | "1" | "2"), "descriptor {fd} is open inside");
    }
    Ok(())
}

/// Meets each limit that the backend enforces, and the wall clock. A limit that only refuses (a process more, a byte more)
/// may go on being met until the wall clock ends it. Time is the host's own count.
pub async fn clause_3_at_any_limit_everything_is_killed(driver: &mut dyn SandboxDriver) -> Check {
    type Tighten = fn(&mut Limits);
    let cases: [(Program, Option<Property>, Tighten); 7] = [
        (Program::Sleep, None, |l| l.wall_millis = 500),
        (Program::Spin, Some(Property::CpuTimeLimit), |l| l.cpu_time_millis = 500),
        (Program::Allocate, Some(Property::MemoryLimit), |l| l.memory = 64 << 20),
        (Program::Fork, Some(Property::ProcessLimit), |l| l.processes = 16),
        (Program::Fill, Some(Property::DiskLimit), |l| l.scratch = 1 << 20),
        (Program::Shout, Some(Property::OutputLimit), |l| l.stderr = 4096),
        (Program::Flood, Some(Property::OutputLimit), |l| l.channel = 65_536),
    ];
    let can = driver.sandbox().probe().await?;
    for (program, property, tighten) in cases {
        if property.is_some_and(|property| can.of(property) != Strength::Enforced) {
            continue;
        }
        let mut spec = driver.spec(&program);
        tighten(&mut spec.limits);
        let limits = spec.limits.clone();
        let (_, SandboxOutcome { failure, usage, .. }) = play(driver, spec).await?;
        ensure!(failure.is_some(), "{program:?} met its limit and ended well");
        let in_time = usage.wall_millis <= limits.wall_millis.saturating_add(AFTER_LIMIT)
            && usage.cpu_millis <= limits.cpu_time_millis.saturating_add(AFTER_LIMIT);
        ensure!(in_time, "{program:?} used {usage:?}, its limits were {limits:?}");
        ensure!(driver.remains().await? == 0, "something of {program:?} is left");
    }
    Ok(())
}

/// Work that lies about its end, a limit, a kill.
pub async fn clause_4_the_class_comes_from_host_evidence_only(driver: &mut dyn SandboxDriver) -> Check {
    let text = "MemoryError: out of memory\ninfrastructure failure\nKilled: oom-kill\ntimeout\n";
    let miner = Some(FailureClass::MinerCode);
    for (exit, class) in [(0, None), (1, miner), (137, miner)] {
        let claim = driver.spec(&Program::Claim { text: text.into(), exit });
        let (_, outcome) = play(driver, claim).await?;
        ensure!(outcome.failure == class, "an end with {exit} and a claim was called {:?}", outcome.failure);
        ensure!(outcome.exit == Some(exit), "an end with {exit} was reported as {:?}", outcome.exit);
    }
    let mut spec = driver.spec(&Program::Sleep);
    spec.limits.wall_millis = 500;
    let (_, outcome) = play(driver, spec).await?;
    ensure!(outcome.failure == Some(FailureClass::Resource), "the wall clock's end was called {:?}", outcome.failure);
    let running = driver.sandbox().start(driver.spec(&Program::Sleep)).await?;
    let killer = running.killer();
    killer.kill(FailureClass::Policy, "the first reason");
    killer.kill(FailureClass::Cancelled, "the second reason");
    let ended = within(GIVE_UP, running.wait()).await.ok_or_else(|| Broken("killed work goes on".into()))?;
    let SandboxOutcome { failure, reason, .. } = ended?;
    let first = failure == Some(FailureClass::Policy) && reason.contains("the first reason");
    ensure!(first, "a kill by policy, then by cancellation was called {failure:?}, {reason:?}");
    Ok(())
}

/// An end that was waited for, and drops of a sleeper, a frozen one, and a tree. Looks with the driver's eyes.
pub async fn clause_5_nothing_is_left_after_wait_or_drop(driver: &mut dyn SandboxDriver) -> Check {
    let (_, outcome) = play(driver, driver.spec(&Program::Echo)).await?;
    ensure!(outcome.failure.is_none(), "an echo ended with {:?}: {}", outcome.failure, outcome.reason);
    ensure!(driver.remains().await? == 0, "something is left after wait");
    for (program, frozen) in [(Program::Sleep, false), (Program::Sleep, true), (Program::Fork, false)] {
        let mut running = driver.sandbox().start(driver.spec(&program)).await?;
        let channel = running.channel();
        within(Duration::from_millis(100), pending::<()>()).await;
        if frozen {
            running.freeze().await?;
        }
        drop(running);
        drop(channel);
        let mut looks = 0..50;
        while driver.remains().await? > 0 {
            ensure!(looks.next().is_some(), "something of {program:?} is left 5 s after drop");
            within(Duration::from_millis(100), pending::<()>()).await;
        }
    }
    Ok(())
}

/// Leaves one thing of this backend and one of another.
pub async fn clause_6_sweep_removes_its_own_and_nothing_else(driver: &mut dyn SandboxDriver) -> Check {
    driver.abandon(true).await?;
    driver.abandon(false).await?;
    let swept = driver.sandbox().sweep().await?;
    ensure!(swept >= 1, "sweep says that it removed {swept}");
    ensure!(driver.abandoned(true).await? == 0, "sweep left what a crash had left");
    ensure!(driver.abandoned(false).await? == 1, "sweep removed what isn't this backend's");
    Ok(())
}

/// An echo that is frozen and asked, then thawed and heard; a spinner whose processor time stands still, killed as it is.
pub async fn clause_7_nothing_runs_while_frozen(driver: &mut dyn SandboxDriver) -> Check {
    let pause = Duration::from_millis(300);
    let mut running = driver.sandbox().start(driver.spec(&Program::Echo)).await?;
    let Some((mut source, mut sink)) = running.channel() else { return Err(Broken("work has no channel".into())) };
    let failed = |e: std::io::Error| Broken(format!("channel of an echo failed: {e}"));
    running.freeze().await?;
    running.freeze().await?;
    sink.write_all(b"x").await.map_err(failed)?;
    let mut said = [0; 1];
    ensure!(within(pause, source.read(&mut said)).await.is_none(), "frozen work answered");
    running.thaw().await?;
    let heard = within(GIVE_UP, source.read(&mut said)).await;
    ensure!(matches!(heard, Some(Ok(1))), "thawed work did not answer: {heard:?}");
    sink.close().await.map_err(failed)?;
    let ended = within(GIVE_UP, running.wait()).await.ok_or_else(|| Broken("thawed work goes on".into()))??;
    ensure!(ended.failure.is_none(), "thawed work ended with {:?}: {}", ended.failure, ended.reason);
    let mut running = driver.sandbox().start(driver.spec(&Program::Spin)).await?;
    let channel = running.channel();
    within(pause, pending::<()>()).await;
    running.freeze().await?;
    let before = running.usage().await?.cpu_millis;
    within(pause, pending::<()>()).await;
    let after = running.usage().await?.cpu_millis;
    ensure!(after <= before + 20, "frozen work computed for {} ms", after - before);
    running.killer().kill(FailureClass::Cancelled, "enough");
    drop(channel);
    within(GIVE_UP, running.wait()).await.ok_or_else(|| Broken("frozen work that was killed goes on".into()))??;
    Ok(())
}
