//! The line to one sandbox: its time, its end, and what its end means.
use super::{
    channel::Link,
    pool::{END, end, tail},
    protocol::{Empty, Kind, ProtocolError},
    spool::Spooled,
};
use prism_core::{
    Error, Fault, Kind as ErrorKind, Result,
    error::Retry,
    sandbox::{Running, SandboxOutcome, Usage},
    submission::FailureClass,
};
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, error::Elapsed, timeout};

/// How long a guest that hung up may take to be gone.
const GRACE: Duration = Duration::from_secs(5);

/// A sandbox with a miner's code in it. A call is [`Line::begin`], the exchange under the time that is left, and
/// [`Line::settle`]; when the exchange is dropped half way, the line is out of step and serves no further call.
#[derive(Debug)]
pub(super) struct Line {
    /// Only ever reached through `&mut`; the lock makes the line `Sync`, which channels are not.
    link: Mutex<Link>,
    /// `None` once it has ended.
    running: Option<Box<dyn Running>>,
    /// What it had used before it got its assignment, and, once it has ended, until then.
    before: Usage,
    ended: Option<Usage>,
    /// Time in which it was asked something, and how much of it there may be.
    asked: Duration,
    allowed: Duration,
    since: Option<Instant>,
}

impl Line {
    pub(super) async fn new(link: Link, running: Box<dyn Running>, allowed: Duration) -> Result<Self> {
        let before = running.usage().await?;
        let asked = Duration::ZERO;
        Ok(Self { link: Mutex::new(link), running: Some(running), before, ended: None, asked, allowed, since: None })
    }

    /// The link, and how long it may be asked.
    pub(super) fn begin(&mut self) -> Result<(&mut Link, Duration)> {
        if self.running.is_none() || self.since.is_some() {
            return Err(Error::bug("guest was used after it failed, or after a call was dropped"));
        }
        self.since = Some(Instant::now());
        let link = self.link.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok((link, self.allowed.saturating_sub(self.asked)))
    }

    /// What the exchange gave, or why it failed. A failure ends the guest, and its class is the sandbox's.
    pub(super) async fn settle<T>(
        &mut self,
        what: &str,
        exchange: Result<Result<T, ProtocolError>, Elapsed>,
    ) -> Result<T> {
        self.asked += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        let (class, why) = match exchange {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(ProtocolError::Spool(error))) => {
                self.end(FailureClass::Infrastructure, "host can't keep its state").await;
                let text = "state of a guest can't be kept on this host";
                return Err(Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text).because(error));
            }
            Ok(Err(ProtocolError::Closed)) => {
                let why = format!("guest ended its channel when it should {what}");
                return Err(self.hung_up(&why).await);
            }
            Ok(Err(ProtocolError::Failed(message))) => (FailureClass::MinerCode, format!("{what}: {message}")),
            Ok(Err(error)) => (FailureClass::MinerCode, format!("{what}: {error}")),
            Err(_) => {
                let seconds = self.allowed.as_secs_f64();
                (FailureClass::Resource, format!("{what}: no answer within the run's {seconds} s"))
            }
        };
        Err(match self.end(class, &why).await {
            Some(outcome) => failure(&outcome, class, &why),
            None => lost(),
        })
    }

    /// Sends a file in parts.
    pub(super) async fn give(&mut self, what: &str, kind: Kind, spooled: &Spooled) -> Result<()> {
        let mut file = spooled.open().await?;
        let (link, left) = self.begin()?;
        let given = timeout(left, link.give::<Empty>(kind, spooled.bytes(), &mut file)).await;
        self.settle(what, given).await.map(|Empty {}| ())
    }

    /// Ends the sandbox for this reason; what came of it, unless it had ended before.
    pub(super) async fn end(&mut self, class: FailureClass, why: &str) -> Option<SandboxOutcome> {
        let outcome = end(self.running.take()?, class, why).await?;
        self.ended = Some(outcome.usage);
        Some(outcome)
    }

    /// A guest that hung up may be about to end by itself, and then its end says why.
    async fn hung_up(&mut self, why: &str) -> Error {
        let Some(running) = self.running.take() else { return lost() };
        let killer = running.killer();
        let mut ending = running.wait();
        let outcome = match timeout(GRACE, &mut ending).await {
            Ok(outcome) => Some(outcome),
            Err(_) => {
                killer.kill(FailureClass::MinerCode, why);
                timeout(END, ending).await.ok()
            }
        };
        match outcome {
            Some(Ok(outcome)) => {
                self.ended = Some(outcome.usage);
                failure(&outcome, FailureClass::MinerCode, why)
            }
            Some(Err(error)) => error,
            None => lost(),
        }
    }

    pub(super) fn running(&self) -> Option<&dyn Running> {
        self.running.as_deref()
    }

    /// What it used so far, or until its end.
    pub(super) async fn usage(&self) -> Result<Usage> {
        match &self.running {
            Some(running) => running.usage().await,
            None => Ok(self.ended.unwrap_or(self.before)),
        }
    }

    /// What it had used before it got its assignment.
    pub(super) fn before(&self) -> Usage {
        self.before
    }

    /// Time in which it was asked something.
    pub(super) fn asked(&self) -> Duration {
        self.asked
    }
}

/// The error of a sandbox's end. The class is the sandbox's own; a guest that ended well before it was told to has failed
/// as `expected`.
fn failure(outcome: &SandboxOutcome, expected: FailureClass, why: &str) -> Error {
    let class = outcome.failure.unwrap_or(expected);
    let mut text = why.to_owned();
    if !outcome.reason.is_empty() && !outcome.reason.contains(why) {
        text = format!("{text}: {}", outcome.reason);
    }
    let said = tail(outcome);
    if !said.is_empty() && !text.contains(&said) {
        text = format!("{text}; standard error ends: {said}");
    }
    match class {
        FailureClass::Cancelled => Error::new(ErrorKind::Cancelled, Fault::Policy, text),
        FailureClass::Resource => Error::new(ErrorKind::Limit, Fault::Miner, text),
        FailureClass::Policy => Error::new(ErrorKind::Refused, Fault::Policy, text),
        FailureClass::MinerCode => Error::new(ErrorKind::Invalid, Fault::Miner, text),
        _ => Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text).retry(Retry::Now),
    }
}

/// A sandbox that doesn't end is no miner's fault.
fn lost() -> Error {
    let text = format!("sandbox of a guest did not end within {} s", END.as_secs());
    Error::new(ErrorKind::Unavailable, Fault::Infrastructure, text).retry(Retry::Now)
}
