//! Sandboxes that wait with PyTorch imported and no miner's code yet. Each is used once.
use super::{
    channel::Link,
    protocol::{Hello, Kind, ProtocolError, VERSION, Welcome},
    runner,
    settings::{GuestSettings, MAX_PROCESSES},
};
use prism_core::{
    Error, Fault, Kind as ErrorKind, Result, Sandbox,
    error::Retry,
    sandbox::{Running, SandboxOutcome},
    seed::Seed,
    submission::FailureClass,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc},
    task::JoinHandle,
    time::timeout,
};

/// A guest that was told nothing but hello answers at once.
const GREETING: Duration = Duration::from_secs(10);
/// How long a killed sandbox may take to end.
pub(super) const END: Duration = Duration::from_secs(10);
/// Waiting guests that turn out to be dead before a start is called impossible.
const STALE: usize = 8;

/// A sandbox with PyTorch imported, on the line.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) running: Box<dyn Running>,
    pub(super) link: Link,
    pub(super) said: Welcome,
}

/// Warm guests, started one after the other in the background. Drop kills those that wait.
#[derive(Debug)]
pub struct Pool {
    starter: Arc<Starter>,
    warm: Mutex<mpsc::Receiver<Result<Guest>>>,
    keeper: JoinHandle<()>,
}

/// What starting takes.
#[derive(Debug)]
struct Starter {
    sandbox: Arc<dyn Sandbox>,
    settings: GuestSettings,
    runner: TempDir,
    started: AtomicU64,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Pool {
    /// Starts filling a pool, on the runtime of the caller.
    ///
    /// # Errors
    /// `Invalid` (validator) for a number of processes that isn't 1 to 8; `Unavailable` when the runner can't be put in
    /// its folder, or there is no runtime.
    pub fn new(sandbox: Arc<dyn Sandbox>, settings: GuestSettings) -> Result<Self> {
        if !(1..=MAX_PROCESSES).contains(&settings.processes) || settings.threads == 0 {
            let text = format!("guests of {} processes with {} threads each", settings.processes, settings.threads);
            return Err(Error::new(ErrorKind::Invalid, Fault::Validator, text));
        }
        let unavailable = |text| Error::new(ErrorKind::Unavailable, Fault::Validator, text);
        let folder = tempfile::Builder::new().prefix("runner-").tempdir_in(&settings.folder);
        let folder = folder.and_then(|folder| runner::unpack(folder.path()).map(|()| folder));
        let runner = folder.map_err(|e| unavailable("runner of guests can't be put in its folder").because(e))?;
        let runtime = Handle::try_current().map_err(|e| unavailable("pool of guests needs a runtime").because(e))?;
        let (give, warm) = mpsc::channel(settings.warm.max(1));
        let starter = Arc::new(Starter { sandbox, settings, runner, started: AtomicU64::new(0) });
        let keeper = runtime.spawn(keep(Arc::clone(&starter), give));
        Ok(Self { starter, warm: Mutex::new(warm), keeper })
    }

    /// Under what its guests run.
    #[must_use]
    pub fn settings(&self) -> &GuestSettings {
        &self.starter.settings
    }

    /// A guest that answers, with what PyTorch's own optimizers need where it is asked for. Waits for the next one when
    /// none is ready.
    ///
    /// # Errors
    /// Why starting failed: never the miner's fault, for no miner's code was there.
    pub(super) async fn take(&self, optimizers: bool) -> Result<Guest> {
        let mut last = None;
        for _ in 0..STALE {
            let guest = self.warm.lock().await.recv().await;
            let mut guest = guest.ok_or_else(|| Error::bug("pool of guests has stopped"))??;
            // One that waited long may have met the wall clock of its sandbox.
            let patience = if optimizers { self.starter.settings.start } else { GREETING };
            match timeout(patience, self.starter.greet(&mut guest.link, optimizers)).await {
                Ok(Ok(_)) => return Ok(guest),
                Ok(Err(error)) => last = Some(error),
                Err(_) => last = None,
            }
        }
        let text = "guests of the pool don't answer";
        let error = Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text);
        Err(last.map_or(error, |last| Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text).because(last)))
    }
}

/// Starts guests for as long as somebody takes them.
async fn keep(starter: Arc<Starter>, give: mpsc::Sender<Result<Guest>>) {
    // A place is taken before a start, so that no more than the pool's size wait.
    while let Ok(place) = give.reserve().await {
        place.send(starter.start().await);
    }
}

impl Starter {
    async fn start(&self) -> Result<Guest> {
        let mut running = self.sandbox.start(self.settings.spec(self.runner.path())).await?;
        let channel = running.channel().ok_or_else(|| Error::bug("sandbox has no channel"))?;
        let mut link = Link::new(channel);
        let why = match timeout(self.settings.start, self.greet(&mut link, false)).await {
            Ok(Ok(said)) => return Ok(Guest { running, link, said }),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {} s", self.settings.start.as_secs()),
        };
        let ended = end(running, FailureClass::Infrastructure, &why).await;
        let said = ended.map(|ended| format!("{}: {}", ended.reason, tail(&ended))).unwrap_or_default();
        let text = format!("guest doesn't start: {why}: {said}");
        Err(Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text)
            .retry(Retry::After(Duration::from_secs(10))))
    }

    /// Asks for version and nonce.
    async fn greet(&self, link: &mut Link, optimizers: bool) -> std::result::Result<Welcome, ProtocolError> {
        let count = self.started.fetch_add(1, Ordering::Relaxed);
        // Repeated in the answer: what an earlier guest said can't be taken for it.
        let nonce = Seed::of("prism/guest/nonce", &[&count.to_le_bytes()]).0.to_string();
        let hello = Hello { version: VERSION, nonce, optimizers };
        let (said, _): (Welcome, _) = link.ask(Kind::Hello, &hello, &[], 0).await?;
        if (said.version, &said.nonce) != (hello.version, &hello.nonce) {
            return Err(ProtocolError::Malformed(format!("version {} or nonce differ", said.version)));
        }
        if said.world_size != self.settings.processes {
            return Err(ProtocolError::Malformed(format!("{} processes answer as one", said.world_size)));
        }
        Ok(said)
    }
}

/// Ends a sandbox for this reason, unless it has ended by itself; `None` when it doesn't end.
pub(super) async fn end(running: Box<dyn Running>, class: FailureClass, why: &str) -> Option<SandboxOutcome> {
    running.killer().kill(class, why);
    timeout(END, running.wait()).await.ok()?.ok()
}

/// The last words on standard error, for people.
pub(super) fn tail(outcome: &SandboxOutcome) -> String {
    const MOST: usize = 1000;
    let text = String::from_utf8_lossy(&outcome.stderr_tail);
    let start = text.chars().count().saturating_sub(MOST);
    text.chars().skip(start).filter(|c| !c.is_control() || *c == '\n').collect::<String>().trim().replace('\n', " | ")
}
