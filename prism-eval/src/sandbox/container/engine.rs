//! The engine: where its socket is, and the one thread of this process that talks to it.
use super::error::ContainerError;
use bollard::{API_DEFAULT_VERSION, Docker};
use futures::future::BoxFuture;
use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

/// For one request, seconds. Starting a container on a loaded machine is the slowest.
const REQUEST_SECONDS: u64 = 60;
/// For the first words with a socket.
const HELLO: Duration = Duration::from_secs(5);
/// For what is left to do when nobody holds the sandbox any more.
const AFTERMATH: Duration = Duration::from_secs(30);

/// Where a container engine may listen: the configured path alone, else `DOCKER_HOST` alone, else the usual places of
/// Docker, then of Podman. The caller reads configuration and environment (`XDG_RUNTIME_DIR` for `runtime_dir`).
///
/// # Errors
/// A `DOCKER_HOST` that is not `unix://`: another machine's file system and clock are no evidence.
pub fn candidates(
    configured: Option<&Path>,
    docker_host: Option<&str>,
    runtime_dir: Option<&Path>,
) -> Result<Vec<PathBuf>, ContainerError> {
    if let Some(path) = configured {
        return Ok(vec![path.into()]);
    }
    if let Some(host) = docker_host.filter(|host| !host.is_empty()) {
        let path = host.strip_prefix("unix://").ok_or_else(|| ContainerError::NotASocket(host.into()))?;
        return Ok(vec![path.into()]);
    }
    let mut paths = vec![PathBuf::from("/var/run/docker.sock")];
    paths.extend(runtime_dir.map(|dir| dir.join("podman/podman.sock")));
    paths.push("/run/podman/podman.sock".into());
    Ok(paths)
}

type Job = Box<dyn FnOnce(Docker) -> BoxFuture<'static, ()> + Send>;

/// A connection to an engine: a thread with a runtime of its own, so that containers are watched, killed and removed
/// whether or not the caller's runtime still turns. It ends when nobody holds this any more and all jobs are done.
pub(super) struct Engine {
    jobs: mpsc::UnboundedSender<Job>,
    /// Where it listens.
    pub(super) socket: PathBuf,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Engine {
    /// Connects to the first socket that answers.
    pub(super) async fn connect(sockets: &[PathBuf]) -> Result<Self, ContainerError> {
        let (jobs, todo) = mpsc::unbounded_channel();
        let (answer, connected) = oneshot::channel();
        let sockets = sockets.to_vec();
        let started = thread::Builder::new().name("container-engine".into()).spawn(move || run(sockets, answer, todo));
        started.map_err(|source| ContainerError::Host {
            what: "thread for",
            path: "container engine".into(),
            source,
        })?;
        let socket = connected.await.map_err(|_| ContainerError::Gone)??;
        Ok(Self { jobs, socket })
    }

    /// Starts something on the engine's thread.
    pub(super) fn spawn<F, R>(&self, job: F) -> Result<(), ContainerError>
    where
        F: FnOnce(Docker) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let job: Job = Box::new(move |docker| Box::pin(job(docker)));
        self.jobs.send(job).map_err(|_| ContainerError::Gone)
    }

    /// Has something done on the engine's thread, to its end even if the caller stops waiting.
    pub(super) async fn call<T, F, R>(&self, job: F) -> Result<T, ContainerError>
    where
        T: Send + 'static,
        F: FnOnce(Docker) -> R + Send + 'static,
        R: Future<Output = Result<T, ContainerError>> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.spawn(move |docker| async move {
            // A caller that is gone gets nothing; what the answer owns cleans up in its own drop.
            let _ = answer.send(job(docker).await);
        })?;
        answered.await.map_err(|_| ContainerError::Gone)?
    }
}

/// The thread.
fn run(
    sockets: Vec<PathBuf>,
    answer: oneshot::Sender<Result<PathBuf, ContainerError>>,
    mut todo: mpsc::UnboundedReceiver<Job>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => {
            let path = "container engine".into();
            let _ = answer.send(Err(ContainerError::Host { what: "runtime for", path, source }));
            return;
        }
    };
    runtime.block_on(async {
        let docker = match hello(sockets).await {
            Ok((socket, docker)) => {
                let _ = answer.send(Ok(socket));
                docker
            }
            Err(error) => {
                let _ = answer.send(Err(error));
                return;
            }
        };
        let mut jobs = JoinSet::new();
        loop {
            tokio::select! {
                job = todo.recv() => match job {
                    Some(job) => { jobs.spawn(job(docker.clone())); }
                    None => break,
                },
                Some(_) = jobs.join_next() => {}
            }
        }
        let rest = async { while jobs.join_next().await.is_some() {} };
        if timeout(AFTERMATH, rest).await.is_err() {
            tracing::warn!("container engine left work undone for {} s; a sweep has to remove it", AFTERMATH.as_secs());
        }
    });
}

/// The first socket that answers, with the API version both sides know.
async fn hello(sockets: Vec<PathBuf>) -> Result<(PathBuf, Docker), ContainerError> {
    let mut tried = Vec::new();
    for socket in sockets {
        let connected = Docker::connect_with_unix(&socket.to_string_lossy(), REQUEST_SECONDS, API_DEFAULT_VERSION);
        let greeted = async { connected?.negotiate_version().await };
        match timeout(HELLO, greeted).await {
            Ok(Ok(docker)) => return Ok((socket, docker)),
            Ok(Err(error)) => tried.push((socket, error.to_string())),
            Err(_) => tried.push((socket, format!("no answer within {} s", HELLO.as_secs()))),
        }
    }
    Err(ContainerError::NoEngine { tried })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_socket_is_the_only_one_then_docker_host_then_the_usual_places() {
        let all = candidates(None, None, Some(Path::new("/run/user/7"))).unwrap();
        let usual = ["/var/run/docker.sock", "/run/user/7/podman/podman.sock", "/run/podman/podman.sock"];
        assert_eq!(all, usual.map(PathBuf::from));
        let host = candidates(None, Some("unix:///a.sock"), None).unwrap();
        assert_eq!(host, [PathBuf::from("/a.sock")]);
        let own = candidates(Some(Path::new("/b.sock")), Some("unix:///a.sock"), None).unwrap();
        assert_eq!(own, [PathBuf::from("/b.sock")]);
        assert!(matches!(candidates(None, Some("tcp://10.0.0.1:2375"), None), Err(ContainerError::NotASocket(_))));
    }

    #[tokio::test]
    async fn sockets_that_do_not_answer_are_all_named() {
        let error = Engine::connect(&["/nonexistent/a.sock".into(), "/nonexistent/b.sock".into()]).await.unwrap_err();
        let text = prism_core::Error::from(error).to_string();
        assert!(text.contains("a.sock") && text.contains("b.sock"), "{text}");
    }
}
