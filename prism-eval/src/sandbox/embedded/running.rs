//! The host's handle on a running sandbox.
use super::warden::{End, Shared};
use crate::sandbox::artifacts::{self, Caps};
use async_trait::async_trait;
use prism_core::{
    Artifacts,
    channel::{ByteSink, ByteSource},
    error::{Error, Fault, Kind, Result, Retry},
    sandbox::{Channel, Killer, Running, SandboxOutcome, Usage},
    submission::FailureClass,
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::unix::pipe,
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

/// How long standing still may take to come about.
const FREEZING: Duration = Duration::from_secs(5);

/// See [`Running`].
#[derive(Debug)]
pub(super) struct EmbeddedRunning {
    pub(super) shared: Arc<Shared>,
    pub(super) ended: Option<oneshot::Receiver<End>>,
    pub(super) channel: Option<(pipe::Receiver, pipe::Sender)>,
    pub(super) artifacts: Option<Arc<dyn Artifacts>>,
    pub(super) caps: Caps,
}

#[derive(Debug)]
struct Output(pipe::Receiver, Arc<Shared>);

#[async_trait]
impl ByteSource for Output {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(into).await?;
        self.1.count(count)?;
        Ok(count)
    }
}

#[derive(Debug)]
struct Input(Option<pipe::Sender>, Arc<Shared>);

#[async_trait]
impl ByteSink for Input {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(pipe) = &mut self.0 else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.1.count(bytes.len())?;
        pipe.write_all(bytes).await
    }
    async fn close(&mut self) -> io::Result<()> {
        self.0 = None;
        Ok(())
    }
}

#[derive(Debug)]
struct Kill(Arc<Shared>);

impl Killer for Kill {
    fn kill(&self, class: FailureClass, reason: &str) {
        self.0.kill(class, reason);
    }
}

impl EmbeddedRunning {
    async fn still(&self, still: bool) -> Result<()> {
        let failed = |e: io::Error| {
            let what = if still { "sandbox not frozen" } else { "sandbox not thawed" };
            Error::new(Kind::Unavailable, Fault::Infrastructure, what).because(e).retry(Retry::Now)
        };
        let mut said = self.shared.frozen();
        // What has ended stands still.
        if self.shared.ending() {
            return Ok(());
        }
        self.shared.freeze(still).map_err(failed)?;
        let by = Instant::now() + FREEZING;
        loop {
            match self.shared.stands(still) {
                Some(true) => return Ok(()),
                _ if self.shared.ending() => return Ok(()),
                _ if Instant::now() >= by => return Err(failed(io::ErrorKind::TimedOut.into())),
                Some(false) => sleep(Duration::from_millis(1)).await,
                None if *said.borrow_and_update() == still => return Ok(()),
                None => drop(timeout(Duration::from_millis(50), said.changed()).await),
            }
        }
    }
}

#[async_trait]
impl Running for EmbeddedRunning {
    fn channel(&mut self) -> Option<Channel> {
        let (output, input) = self.channel.take()?;
        let output = Output(output, Arc::clone(&self.shared));
        let input = Input(Some(input), Arc::clone(&self.shared));
        Some((Box::new(output), Box::new(input)))
    }

    async fn usage(&self) -> Result<Usage> {
        Ok(self.shared.usage())
    }

    async fn freeze(&self) -> Result<()> {
        self.still(true).await
    }

    async fn thaw(&self) -> Result<()> {
        self.still(false).await
    }

    fn killer(&self) -> Box<dyn Killer> {
        Box::new(Kill(Arc::clone(&self.shared)))
    }

    async fn wait(mut self: Box<Self>) -> Result<SandboxOutcome> {
        // An end of the channel that nobody took would never come to its end.
        self.channel = None;
        let Some(ended) = &mut self.ended else { return Err(Error::bug("sandbox waited for twice")) };
        let ended = ended.await.map_err(|_| Error::bug("the thread that watches a sandbox is gone"));
        self.ended = None;
        let End { mut evidence, usage, stderr, scratch } = ended?;
        evidence.killed = evidence.killed.or_else(|| self.shared.channel_over());
        let collected = artifacts::collect(scratch, self.caps, self.artifacts.as_deref()).await;
        let artifacts = match collected {
            Ok(artifacts) => artifacts,
            Err(artifacts::CollectError::Refused(reason)) => {
                evidence.artifacts = Some(reason);
                Default::default()
            }
            Err(artifacts::CollectError::Failed(error)) => return Err(error),
        };
        let (failure, reason) = evidence.classify();
        let stderr_total = stderr.total();
        Ok(SandboxOutcome {
            failure,
            reason,
            exit: evidence.exit,
            signal: evidence.signal,
            usage,
            stderr_tail: stderr.into_bytes(),
            stderr_total,
            artifacts,
        })
    }
}

impl Drop for EmbeddedRunning {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.shared.kill(FailureClass::Cancelled, "its handle was dropped");
        }
    }
}
