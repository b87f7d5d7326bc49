//! The wire between clients and the server: a relay that can be cut, or go mute.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Bytes that one direction of a connection carries at a time.
const BUFFER: usize = 64 * 1024;

/// The controls of a relay. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Controls>);

#[derive(Debug)]
struct Controls {
    /// How often all connections were cut.
    cuts: watch::Sender<u64>,
    /// Whether nothing gets through.
    is_mute: watch::Sender<bool>,
}

impl Line {
    pub(super) fn new() -> Self {
        Self(Arc::new(Controls { cuts: watch::Sender::new(0), is_mute: watch::Sender::new(false) }))
    }

    /// Relays what arrives at `listener` to `server`, until the task is aborted.
    pub(super) fn relay(&self, listener: TcpListener, server: SocketAddr) -> JoinHandle<()> {
        let line = self.clone();
        tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    accepted = listener.accept() => match accepted {
                        Ok((client, _)) => {
                            connections.spawn(connection(client, server, line.clone()));
                        }
                        // Out of descriptors, most likely: others have to go first.
                        Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
                    },
                }
            }
        })
    }

    /// Closes every connection, now. What was on its way is lost.
    pub(super) fn cut(&self) {
        self.0.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// From now on connections are accepted and kept, and nothing gets through in either direction.
    pub(super) fn mute(&self) {
        self.0.is_mute.send_replace(true);
    }

    /// Ends [`Line::mute`]. What hung in it is cut.
    pub(super) fn unmute(&self) {
        if *self.0.is_mute.borrow() {
            self.cut();
            self.0.is_mute.send_replace(false);
        }
    }
}

async fn connection(client: TcpStream, server: SocketAddr, line: Line) {
    // Seen from here on: an earlier cut isn't this connection's.
    let mut cuts = line.0.cuts.subscribe();
    let relayed = async {
        let _ = client.set_nodelay(true);
        let Ok(server) = TcpStream::connect(server).await else { return };
        let _ = server.set_nodelay(true);
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        tokio::select! {
            () = pump(from_client, to_server, line.0.is_mute.subscribe()) => {}
            () = pump(from_server, to_client, line.0.is_mute.subscribe()) => {}
        }
    };
    tokio::select! {
        // A cut comes before whatever is ready at the same time: that was to be lost.
        biased;
        _ = cuts.changed() => {}
        () = relayed => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut is_mute: watch::Receiver<bool>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if is_mute.wait_for(|is_mute| !is_mute).await.is_err() {
            return;
        }
        let Some(bytes) = buffer.get(..read) else { return };
        if to.write_all(bytes).await.is_err() {
            return;
        }
    }
}
