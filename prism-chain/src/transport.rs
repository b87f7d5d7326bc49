//! One websocket at a time, with a deadline on every call, and a new one when it breaks.
//!
//! subxt talks through this: it sees an RPC client that doesn't break. A call that only reads is asked again on a new
//! connection, to the next endpoint; a call that submits is handed over once, and what became of it is for the chain to
//! show.
use crate::error::ChainError;
use futures::{StreamExt as _, TryStreamExt as _};
use jsonrpsee::{
    client_transport::ws::{Url, WsTransportClientBuilder},
    core::{
        client::{Client, ClientT as _, Error as WsError, SubscriptionClientT as _, SubscriptionKind},
        traits::ToRpcParams,
    },
    types::SubscriptionId,
};
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};
use subxt::rpcs::client::{RawRpcFuture, RawRpcSubscription, RpcClientT};
use tokio::{
    sync::Mutex,
    time::{sleep, timeout},
};

/// First pause before a new connection; doubled each time.
const BACKOFF: Duration = Duration::from_millis(200);
/// Longest pause before a new connection.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Buffer of one subscription, messages.
const SUBSCRIPTION_BUFFER: usize = 1024;
/// What a node says that counts its callers' calls (`sc-rpc-server`, middleware/rate_limit.rs).
pub(crate) const RATE_LIMITED: i32 = -32999;
/// Longest answer, bytes. The longest honest one is metadata: 0.7 MB in hexadecimal digits.
const LONGEST_ANSWER: u32 = 16 << 20;

/// How to reach the chain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChainConfig {
    /// Websocket addresses, tried in order. Whatever fails, the next connection is to the next one.
    pub endpoints: Vec<String>,
    /// The genesis hash that an endpoint must show. Without it, the first endpoint's is the one.
    pub genesis: Option<[u8; 32]>,
    /// Deadline of one connection attempt, TLS and handshake included.
    pub connect: Duration,
    /// Deadline of one call, reconnecting included. A connection that leaves a call unanswered for a third of it is given
    /// up.
    pub response: Duration,
    /// How many connections one call may use up; at least one to each endpoint.
    pub attempts: u32,
    /// Pause between websocket pings. After two without an answer the connection is given up.
    pub ping: Duration,
    /// How long the best block may stay the same before the next endpoint is asked, where there is one.
    pub stall: Duration,
}

impl ChainConfig {
    /// Defaults for one endpoint: 10 s to connect, 60 s to answer, as the official SDK has them.
    pub fn new(endpoint: impl Into<String>) -> Self {
        Self {
            endpoints: vec![endpoint.into()],
            genesis: None,
            connect: Duration::from_secs(10),
            response: Duration::from_secs(60),
            attempts: 4,
            ping: Duration::from_secs(20),
            stall: Duration::from_secs(180),
        }
    }

    /// The same with further endpoints.
    #[must_use]
    pub fn fallbacks(mut self, endpoints: impl IntoIterator<Item = String>) -> Self {
        self.endpoints.extend(endpoints);
        self
    }

    /// The same with a pinned genesis hash.
    #[must_use]
    pub fn genesis(mut self, genesis: [u8; 32]) -> Self {
        self.genesis = Some(genesis);
        self
    }

    /// The same with other deadlines.
    #[must_use]
    pub fn deadlines(mut self, connect: Duration, response: Duration) -> Self {
        (self.connect, self.response) = (connect, response);
        self
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Transport {
    config: ChainConfig,
    endpoints: Vec<(String, Url)>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    line: Option<Line>,
    /// Index of the endpoint to be tried next.
    next: usize,
    /// The chain, once known.
    genesis: Option<[u8; 32]>,
}

/// A live connection. Its task in the background owns the socket, and ends with the last clone.
#[derive(Debug, Clone)]
struct Line {
    client: Arc<Client>,
    endpoint: usize,
    url: Arc<str>,
}

/// Whether a method has effects, so that asking twice isn't the same as asking once.
fn submits(method: &str) -> bool {
    method.starts_with("author_") || method.starts_with("transaction")
}

impl Transport {
    pub(crate) fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let endpoints: Vec<_> = config.endpoints.iter().map(|url| parse(url)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        let state = Mutex::new(State { line: None, next: 0, genesis: config.genesis });
        Ok(Self { config, endpoints, state })
    }

    /// The genesis hash of the connected chain; connects when there is no connection yet.
    pub(crate) async fn genesis(&self) -> Result<[u8; 32], ChainError> {
        let fetch = || async {
            self.connected().await?;
            self.state.lock().await.genesis.ok_or(ChainError::NoEndpoint)
        };
        timeout(self.config.response, self.patiently(fetch)).await.unwrap_or_else(|_| self.late("chain_getBlockHash"))
    }

    async fn request(&self, method: &str, params: Option<Box<RawValue>>) -> Result<Box<RawValue>, ChainError> {
        let work = async {
            if submits(method) {
                // Nothing is sent before there is a connection; after that, once.
                let line = self.patiently(|| self.connected()).await?;
                self.ask(line, method, params.clone()).await
            } else {
                self.patiently(|| async { self.ask(self.connected().await?, method, params.clone()).await }).await
            }
        };
        timeout(self.config.response, work).await.unwrap_or_else(|_| self.late(method))
    }

    async fn ask(&self, line: Line, method: &str, params: Option<Box<RawValue>>) -> Result<Box<RawValue>, ChainError> {
        match line.client.request::<Box<RawValue>, _>(method, Params(params)).await {
            Ok(answer) => Ok(answer),
            Err(error) => Err(self.failed(&line, method, error).await),
        }
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
        end: &str,
    ) -> Result<RawRpcSubscription, ChainError> {
        let ask = async {
            let line = self.patiently(|| self.connected()).await?;
            let stream = line.client.subscribe::<Box<RawValue>, _>(method, Params(params), end).await;
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => return Err(self.failed(&line, method, error).await),
            };
            let id = match stream.kind() {
                SubscriptionKind::Subscription(SubscriptionId::Str(id)) => Some(id.clone().into_owned()),
                _ => None,
            };
            let stream = stream.map_err(|e| subxt::rpcs::Error::Client(Box::new(e)));
            // A subscription ends with its client, which therefore has to live as long.
            let stream = stream
                .map(move |item| {
                    let _alive = &line;
                    item
                })
                .boxed();
            Ok(RawRpcSubscription { stream, id })
        };
        timeout(self.config.response, ask).await.unwrap_or_else(|_| self.late(method))
    }

    fn late<T>(&self, method: &str) -> Result<T, ChainError> {
        Err(ChainError::Deadline { call: method.to_owned(), after: self.config.response })
    }

    /// Gives up the connection: the next call goes to the next endpoint. Does nothing where there is only one.
    pub(crate) async fn rotate(&self) {
        if self.endpoints.len() < 2 {
            return;
        }
        let mut state = self.state.lock().await;
        if let Some(line) = state.line.take() {
            state.next = line.endpoint + 1;
        }
    }

    /// How long the best block may stay the same.
    pub(crate) fn stall(&self) -> Duration {
        self.config.stall
    }

    /// Repeats what a connection spoiled.
    async fn patiently<T, F: Future<Output = Result<T, ChainError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, ChainError> {
        let mut pause = BACKOFF;
        let mut left = usize::try_from(self.config.attempts).unwrap_or(usize::MAX).max(self.endpoints.len());
        loop {
            left -= 1;
            let error = match attempt().await {
                Err(error) if left > 0 => error,
                answer => return answer,
            };
            match &error {
                ChainError::Connect { .. }
                | ChainError::Broken { .. }
                | ChainError::Deadline { .. }
                | ChainError::Node { code: RATE_LIMITED, .. } => {
                    tracing::warn!(%error, "trying the chain again");
                }
                ChainError::WrongChain { .. } if self.endpoints.len() > 1 => {
                    tracing::error!(%error, "trying the next chain endpoint");
                }
                _ => return Err(error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_BACKOFF);
        }
    }

    /// What an error means, and that the connection is gone if it is.
    async fn failed(&self, line: &Line, method: &str, error: WsError) -> ChainError {
        if let WsError::Call(error) = error {
            return ChainError::Node {
                call: method.to_owned(),
                code: error.code(),
                message: error.message().to_owned(),
                data: error.data().and_then(|data| serde_json::from_str(data.get()).ok()),
            };
        }
        let mut state = self.state.lock().await;
        if state.line.as_ref().is_some_and(|current| Arc::ptr_eq(&current.client, &line.client)) {
            state.line = None;
            state.next = line.endpoint + 1;
        }
        match error {
            WsError::RequestTimeout => ChainError::Deadline { call: method.to_owned(), after: self.patience() },
            error => {
                ChainError::Broken { url: line.url.to_string(), call: method.to_owned(), reason: error.to_string() }
            }
        }
    }

    /// How long one connection may leave a call unanswered.
    fn patience(&self) -> Duration {
        self.config.response / 3
    }

    /// The live connection, or a new one to the endpoint whose turn it is.
    async fn connected(&self) -> Result<Line, ChainError> {
        let mut state = self.state.lock().await;
        match state.line.take() {
            Some(line) if line.client.is_connected() => return Ok(state.line.insert(line).clone()),
            Some(line) => state.next = line.endpoint + 1,
            None => {}
        }
        let endpoint = state.next % self.endpoints.len();
        let Some((name, url)) = self.endpoints.get(endpoint) else { return Err(ChainError::NoEndpoint) };
        // Whatever goes wrong from here on, the next attempt goes to the next endpoint.
        state.next = endpoint + 1;
        let connect = |reason: String| ChainError::Connect { url: name.clone(), reason };
        let opening = self.open(url.clone());
        let client = timeout(self.config.connect, opening)
            .await
            .map_err(|_| connect(format!("no handshake within {:?}", self.config.connect)))?
            .map_err(connect)?;
        let found = timeout(self.config.connect, genesis(&client))
            .await
            .map_err(|_| connect(format!("no genesis hash within {:?}", self.config.connect)))?
            .map_err(connect)?;
        let expected = *state.genesis.get_or_insert(found);
        if found != expected {
            return Err(ChainError::WrongChain {
                url: name.clone(),
                found: format!("0x{}", hex::encode(found)),
                expected: format!("0x{}", hex::encode(expected)),
            });
        }
        tracing::debug!(url = name, "connected to chain");
        let line = Line { client: Arc::new(client), endpoint, url: name.as_str().into() };
        Ok(state.line.insert(line).clone())
    }

    async fn open(&self, url: Url) -> Result<Client, String> {
        let (sender, receiver) = WsTransportClientBuilder::default()
            .connection_timeout(self.config.connect)
            .max_response_size(LONGEST_ANSWER)
            .build(url)
            .await
            .map_err(|error| error.to_string())?;
        let ping = jsonrpsee::core::client::async_client::PingConfig::new()
            .ping_interval(self.config.ping)
            .inactive_limit(self.config.ping * 2);
        Ok(Client::builder()
            .request_timeout(self.patience())
            .max_buffer_capacity_per_subscription(SUBSCRIPTION_BUFFER)
            .enable_ws_ping(ping)
            .build_with_tokio(sender, receiver))
    }
}

fn parse(url: &str) -> Result<(String, Url), ChainError> {
    let wrong = |reason: String| ChainError::Endpoint { url: url.to_owned(), reason };
    let parsed = Url::parse(url).map_err(|error| wrong(error.to_string()))?;
    match parsed.scheme() {
        "ws" | "wss" => Ok((shown(&parsed), parsed)),
        other => Err(ChainError::Endpoint { url: shown(&parsed), reason: format!("scheme is {other}") }),
    }
}

/// The address without user, path and query, where providers want their customers' keys.
fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{host}{port}", url.scheme())
}

async fn genesis(client: &Client) -> Result<[u8; 32], String> {
    let answer: String =
        client.request("chain_getBlockHash", jsonrpsee::rpc_params![0]).await.map_err(|error| error.to_string())?;
    let mut hash = [0; 32];
    hex::decode_to_slice(answer.strip_prefix("0x").unwrap_or(&answer), &mut hash)
        .map_err(|error| format!("genesis hash is not 32 bytes of hexadecimal digits: {error}"))?;
    Ok(hash)
}

struct Params(Option<Box<RawValue>>);

impl ToRpcParams for Params {
    fn to_rpc_params(self) -> Result<Option<Box<RawValue>>, serde_json::Error> {
        Ok(self.0)
    }
}

fn boxed(error: ChainError) -> subxt::rpcs::Error {
    subxt::rpcs::Error::Client(Box::new(error))
}

impl RpcClientT for Transport {
    fn request_raw<'a>(&'a self, method: &'a str, params: Option<Box<RawValue>>) -> RawRpcFuture<'a, Box<RawValue>> {
        Box::pin(async move { self.request(method, params).await.map_err(boxed) })
    }

    fn subscribe_raw<'a>(
        &'a self,
        method: &'a str,
        params: Option<Box<RawValue>>,
        end: &'a str,
    ) -> RawRpcFuture<'a, RawRpcSubscription> {
        Box::pin(async move { self.subscribe(method, params, end).await.map_err(boxed) })
    }
}

/// Takes the error that [`Transport`] gave out of subxt's.
pub(crate) fn unboxed(call: &str, error: subxt::rpcs::Error) -> ChainError {
    use subxt::rpcs::Error as E;
    match error {
        E::Client(inner) => match inner.downcast::<ChainError>() {
            Ok(error) => *error,
            Err(error) => ChainError::Answer { call: call.to_owned(), reason: error.to_string() },
        },
        E::User(error) => ChainError::Node {
            call: call.to_owned(),
            code: error.code,
            message: error.message,
            data: error.data.and_then(|data| serde_json::from_str(data.get()).ok()),
        },
        error => ChainError::Answer { call: call.to_owned(), reason: error.to_string() },
    }
}
