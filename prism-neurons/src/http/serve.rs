//! Connections: bounded in number and patience, and let go gracefully.
use axum::Router;
use futures::future::{Either, select};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prism_core::{Cancel, Error, Fault, Kind};
use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

/// How many connections, and how patient with each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections open at the same time; more wait to be accepted.
    pub connections: usize,
    /// Longest wait for a request's head, also between two requests of one connection.
    pub head: Duration,
    /// Longest wait for open connections once it is cancelled.
    pub grace: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self { connections: 256, head: Duration::from_secs(15), grace: Duration::from_secs(5) }
    }
}

/// Serves until cancelled; then no connection is accepted any more, requests under way are answered, and what is still
/// open after the grace is dropped.
///
/// # Errors
/// When the listener fails for another reason than one connection.
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, cancel: &Cancel) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            // Closed never: this is the only handle.
            let permit = Arc::clone(&permits).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        let (permit, accepted) = match select(pin!(next), cancel.cancelled()).await {
            Either::Left((next, _)) => next,
            Either::Right(_) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone(), limits.head, cancel.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) if is_of_one_connection(&error) => {}
            // Out of descriptors or memory: connections that end will give some back.
            Err(error) if matches!(error.raw_os_error(), Some(12 | 23 | 24)) => {
                tracing::error!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error),
        }
        while connections.try_join_next().is_some() {}
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is still open then is dropped with the set.
    drop(tokio::time::timeout(limits.grace, ended).await);
    Ok(())
}

async fn connection(stream: TcpStream, router: Router, head: Duration, cancel: Cancel) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let ended = match select(connection.as_mut(), cancel.cancelled()).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}

/// Binds an address, serves in the background with the usual limits until cancelled, and says where: port 0 takes any free
/// one.
///
/// # Errors
/// `Unavailable` when the address can't be had.
pub async fn listen(router: Router, address: SocketAddr, cancel: &Cancel) -> prism_core::Result<SocketAddr> {
    let failed = |source: io::Error| {
        Error::new(Kind::Unavailable, Fault::Validator, format!("address {address} can't be listened on"))
            .because(source)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    let cancel = cancel.clone();
    tokio::spawn(async move {
        if let Err(error) = serve(listener, router, ServeLimits::default(), &cancel).await {
            tracing::error!(%error, "no longer listening");
        }
    });
    Ok(bound)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
