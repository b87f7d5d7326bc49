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
pub async fn serve(listener: TcpListener, router: Router, limits: ServeLimits, cancel: &Cancel) {
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
            // Out of descriptors or memory, or an error of the new connection that Linux passes on: later ones may come.
            Err(error) => {
                tracing::error!(%error, "connection not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    let ended = async { while connections.join_next().await.is_some() {} };
    // What is still open then is dropped with the set.
    drop(tokio::time::timeout(limits.grace, ended).await);
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
    tokio::spawn(async move { serve(listener, router, ServeLimits::default(), &cancel).await });
    Ok(bound)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        sync::Notify,
    };

    const PATIENCE: Duration = Duration::from_secs(30);

    async fn answer(stream: &mut TcpStream, until: &str) -> String {
        let mut text = String::new();
        let mut chunk = [0; 1024];
        while !text.contains(until) {
            let count = stream.read(&mut chunk).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&chunk[..count]).unwrap());
        }
        text
    }

    struct Served {
        address: std::net::SocketAddr,
        cancel: Cancel,
        entered: Arc<Notify>,
        go: Arc<Notify>,
        task: tokio::task::JoinHandle<()>,
    }

    /// `/` answers at once, `/slow` when it is told to.
    async fn served(limits: ServeLimits) -> Served {
        let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, wait) = (Arc::clone(&entered), Arc::clone(&go));
        let slow = get(move || async move {
            enter.notify_one();
            wait.notified().await;
            "late"
        });
        let router = Router::new().route("/", get(async || "hello")).route("/slow", slow);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cancel = Cancel::new();
        let stop = cancel.clone();
        let task = tokio::spawn(async move { serve(listener, router, limits, &stop).await });
        Served { address, cancel, entered, go, task }
    }

    async fn ended(served: Served) {
        tokio::time::timeout(PATIENCE, served.task).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_connection_carries_several_requests_and_one_under_way_is_answered_at_the_end() {
        let served = served(ServeLimits { grace: PATIENCE, ..ServeLimits::default() }).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        for _ in 0..2 {
            stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert!(answer(&mut stream, "hello").await.starts_with("HTTP/1.1 200 OK"));
        }
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        served.entered.notified().await;
        served.cancel.cancel();
        served.go.notify_one();
        answer(&mut stream, "late").await;
        let address = served.address;
        ended(served).await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn who_says_nothing_is_let_go_and_makes_room() {
        let limits = ServeLimits { connections: 1, head: Duration::from_millis(50), ..ServeLimits::default() };
        let served = served(limits).await;
        let mut silent = TcpStream::connect(served.address).await.unwrap();
        let mut next = TcpStream::connect(served.address).await.unwrap();
        next.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        tokio::time::timeout(PATIENCE, answer(&mut next, "hello")).await.unwrap();
        let mut rest = Vec::new();
        tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap().unwrap();
        served.cancel.cancel();
        ended(served).await;
    }

    #[tokio::test]
    async fn a_request_that_never_ends_does_not_keep_the_process() {
        let served = served(ServeLimits { grace: Duration::from_millis(50), ..ServeLimits::default() }).await;
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        served.entered.notified().await;
        served.cancel.cancel();
        ended(served).await;
    }
}
