//! The byte channel and the standard error of a container, over the engine's attach streams.
//!
//! Standard output and standard error come over connections of their own, so that a host which is slow on the channel
//! doesn't hold up the other. Nothing is ever read only to be thrown away: at a cap the work is killed and the connection
//! is closed.
use super::running::Shared;
use async_trait::async_trait;
use bollard::{container::LogOutput, errors::Error as EngineError};
use futures::{Stream, StreamExt};
use prism_core::{
    channel::{ByteSink, ByteSource},
    submission::FailureClass,
};
use std::{fmt, io, pin::Pin, sync::Arc};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::{mpsc, oneshot},
};

/// What an attach connection says.
pub(super) type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, EngineError>> + Send>>;
/// Where an attach connection listens.
pub(super) type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Pieces that may lie between the connection and the host's end of the channel.
const PIECES: usize = 8;
/// Bytes in one of them, on the way in.
const PIECE: usize = 64 * 1024;
/// The host's ends of a channel, and what moves its bytes.
pub(super) struct Wires {
    pub(super) source: ChannelSource,
    pub(super) sink: ChannelSink,
    pub(super) spoken: mpsc::Sender<LogOutput>,
    pub(super) heard: mpsc::Receiver<Say>,
}

/// Lays the wires between a channel and its connection.
pub(super) fn wires(shared: &Arc<Shared>) -> Wires {
    let (spoken, pieces) = mpsc::channel(PIECES);
    let (say, heard) = mpsc::channel(PIECES);
    let source = ChannelSource { pieces, piece: None, at: 0 };
    let sink = ChannelSink { say: Some(say), shared: Arc::clone(shared) };
    Wires { source, sink, spoken, heard }
}

/// Carries standard output to the channel until it ends, somebody kills, or nobody wants it any more.
pub(super) async fn carry_out(mut output: Output, spoken: mpsc::Sender<LogOutput>, shared: Arc<Shared>) {
    while let Some(Ok(piece)) = output.next().await {
        if !shared.count(piece.as_ref().len()) {
            return;
        }
        if spoken.send(piece).await.is_err() {
            // Nobody reads any more: the work stands still when the pipes between are full, as with any pipe.
            shared.ended().await;
            return;
        }
    }
}

/// Keeps the end of standard error until it ends or exceeds its cap.
pub(super) async fn keep_stderr(mut output: Output, cap: u64, shared: Arc<Shared>) {
    while let Some(Ok(piece)) = output.next().await {
        let total = shared.stderr(|tail| {
            tail.push(piece.as_ref());
            tail.total()
        });
        if total > cap {
            shared.kill(FailureClass::Resource, &format!("more than {cap} bytes on standard error"));
            return;
        }
    }
}

/// Carries the channel to standard input; its end is the end of standard input.
pub(super) async fn carry_in(mut input: Input, mut heard: mpsc::Receiver<Say>) {
    while let Some(say) = heard.recv().await {
        match say {
            Say::Bytes(bytes) => {
                let written = async {
                    input.write_all(&bytes).await?;
                    input.flush().await
                };
                if written.await.is_err() {
                    return;
                }
            }
            Say::Close(done) => {
                let _ = done.send(input.shutdown().await);
                return;
            }
        }
    }
    let _ = input.shutdown().await;
}

/// What the host says to the work.
#[derive(Debug)]
pub(super) enum Say {
    Bytes(Vec<u8>),
    Close(oneshot::Sender<io::Result<()>>),
}

/// The work's standard output.
pub(super) struct ChannelSource {
    pieces: mpsc::Receiver<LogOutput>,
    piece: Option<LogOutput>,
    at: usize,
}

impl fmt::Debug for ChannelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSource").finish_non_exhaustive()
    }
}

#[async_trait]
impl ByteSource for ChannelSource {
    async fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let rest = self.piece.as_ref().and_then(|piece| piece.as_ref().get(self.at..)).unwrap_or_default();
            if !rest.is_empty() || into.is_empty() {
                let count = rest.len().min(into.len());
                if let (Some(into), Some(from)) = (into.get_mut(..count), rest.get(..count)) {
                    into.copy_from_slice(from);
                }
                self.at += count;
                return Ok(count);
            }
            (self.piece, self.at) = (self.pieces.recv().await, 0);
            if self.piece.is_none() {
                return Ok(0);
            }
        }
    }
}

/// The work's standard input.
#[derive(Debug)]
pub(super) struct ChannelSink {
    say: Option<mpsc::Sender<Say>>,
    shared: Arc<Shared>,
}

#[async_trait]
impl ByteSink for ChannelSink {
    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let closed = || io::Error::new(io::ErrorKind::BrokenPipe, "the work reads no more");
        let say = self.say.as_ref().ok_or_else(closed)?;
        for piece in bytes.chunks(PIECE) {
            if !self.shared.count(piece.len()) {
                return Err(io::Error::other("the channel's limit is reached"));
            }
            say.send(Say::Bytes(piece.to_vec())).await.map_err(|_| closed())?;
        }
        Ok(())
    }

    async fn close(&mut self) -> io::Result<()> {
        let Some(say) = self.say.take() else { return Ok(()) };
        let (done, closed) = oneshot::channel();
        // Work that is over has closed it already.
        if say.send(Say::Close(done)).await.is_err() {
            return Ok(());
        }
        closed.await.unwrap_or(Ok(()))
    }
}
