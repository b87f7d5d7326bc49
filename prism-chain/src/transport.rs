//! One websocket at a time, with a deadline on every call, and a new one when it breaks.
//!
//! subxt talks through this: it sees an RPC client that doesn't break. A call that only reads is asked again on a new
//! connection; a call that submits is handed over once, and what became of it is for the chain to show.
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

/// How to reach the chain.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChainConfig {
    /// Websocket addresses, tried in order and from the next one after a failure.
    pub endpoints: Vec<String>,
    /// The genesis hash that an endpoint must show. Without it, the first endpoint's is the one.
    pub genesis: Option<[u8; 32]>,
    /// Deadline of one connection attempt, TLS and handshake included.
    pub connect: Duration,
    /// Deadline of one call, reconnecting included.
    pub response: Duration,
    /// How many connections one reading call may use up.
    pub attempts: u32,
    /// Pause between websocket pings.
    pub ping: Duration,
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
    line: Mutex<Line>,
}

#[derive(Debug)]
struct Line {
    client: Option<Arc<Client>>,
    /// Index of the endpoint in use, or to be tried next.
    endpoint: usize,
    /// The chain, once known.
    genesis: Option<[u8; 32]>,
}

impl Transport {
    pub(crate) fn new(config: ChainConfig) -> Result<Self, ChainError> {
        let endpoints: Vec<_> = config.endpoints.iter().map(|url| parse(url)).collect::<Result<_, _>>()?;
        if endpoints.is_empty() {
            return Err(ChainError::NoEndpoint);
        }
        let line = Mutex::new(Line { client: None, endpoint: 0, genesis: config.genesis });
        Ok(Self { config, endpoints, line })
    }

    /// The genesis hash of the connected chain; connects when there is no connection yet.
    pub(crate) async fn genesis(&self) -> Result<[u8; 32], ChainError> {
        let fetch = || async {
            self.connected().await?;
            self.line.lock().await.genesis.ok_or(ChainError::NoEndpoint)
        };
        timeout(self.config.response, self.patiently(fetch)).await.unwrap_or_else(|_| self.late("chain_getBlockHash"))
    }

    async fn request(&self, method: &str, params: Option<Box<RawValue>>) -> Result<Box<RawValue>, ChainError> {
        let ask = || async {
            let (client, url) = self.connected().await?;
            match client.request::<Box<RawValue>, _>(method, Params(params.clone())).await {
                Ok(answer) => Ok(answer),
                Err(error) => Err(self.failed(&client, url, method, error).await),
            }
        };
        let answer = if method.starts_with("author_") {
            timeout(self.config.response, ask()).await
        } else {
            timeout(self.config.response, self.patiently(ask)).await
        };
        match answer {
            Ok(answer) => answer,
            Err(_) => {
                // A socket that doesn't answer may never do so again.
                self.line.lock().await.client = None;
                self.late(method)
            }
        }
    }

    async fn subscribe(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
        end: &str,
    ) -> Result<RawRpcSubscription, ChainError> {
        let ask = async {
            let (client, url) = self.connected().await?;
            let stream = client.subscribe::<Box<RawValue>, _>(method, Params(params), end).await;
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) => return Err(self.failed(&client, url, method, error).await),
            };
            let id = match stream.kind() {
                SubscriptionKind::Subscription(SubscriptionId::Str(id)) => Some(id.clone().into_owned()),
                _ => None,
            };
            let stream = stream.map_err(|e| subxt::rpcs::Error::Client(Box::new(e)));
            // A subscription ends with its client, which therefore has to live as long.
            let stream = stream
                .map(move |item| {
                    let _alive = &client;
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

    /// Repeats what a broken connection spoiled.
    async fn patiently<T, F: Future<Output = Result<T, ChainError>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, ChainError> {
        let mut pause = BACKOFF;
        let mut left = self.config.attempts.max(1);
        loop {
            left -= 1;
            match attempt().await {
                Err(ChainError::Connect { url, reason }) if left > 0 => {
                    tracing::warn!(url, reason, "chain endpoint not reachable, trying again");
                }
                Err(ChainError::Broken { url, call, reason }) if left > 0 => {
                    tracing::warn!(url, call, reason, "chain connection broke, trying again");
                }
                Err(ChainError::WrongChain { url, .. }) if left > 0 && self.endpoints.len() > 1 => {
                    tracing::error!(url, "chain endpoint is on another chain, trying the next one");
                }
                answer => return answer,
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_BACKOFF);
        }
    }

    /// What an error means, and that the connection is gone if it is.
    async fn failed(&self, client: &Arc<Client>, url: &str, method: &str, error: WsError) -> ChainError {
        match error {
            WsError::Call(error) => ChainError::Node {
                call: method.to_owned(),
                code: error.code(),
                message: error.message().to_owned(),
                data: error.data().and_then(|data| serde_json::from_str(data.get()).ok()),
            },
            error => {
                let mut line = self.line.lock().await;
                if line.client.as_ref().is_some_and(|current| Arc::ptr_eq(current, client)) {
                    line.client = None;
                }
                ChainError::Broken { url: url.to_owned(), call: method.to_owned(), reason: error.to_string() }
            }
        }
    }

    /// The live connection, or a new one to the endpoint whose turn it is.
    async fn connected(&self) -> Result<(Arc<Client>, &str), ChainError> {
        let mut line = self.line.lock().await;
        let index = line.endpoint % self.endpoints.len();
        let Some((name, url)) = self.endpoints.get(index) else { return Err(ChainError::NoEndpoint) };
        if let Some(client) = line.client.as_ref().filter(|client| client.is_connected()) {
            return Ok((Arc::clone(client), name));
        }
        line.client = None;
        // Whatever goes wrong from here on, the next attempt goes to the next endpoint.
        line.endpoint = (index + 1) % self.endpoints.len();
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
        let expected = *line.genesis.get_or_insert(found);
        if found != expected {
            return Err(ChainError::WrongChain {
                url: name.clone(),
                found: format!("0x{}", hex::encode(found)),
                expected: format!("0x{}", hex::encode(expected)),
            });
        }
        let client = Arc::new(client);
        line.client = Some(Arc::clone(&client));
        line.endpoint = index;
        tracing::debug!(url = name, "connected to chain");
        Ok((client, name))
    }

    async fn open(&self, url: Url) -> Result<Client, String> {
        let (sender, receiver) = WsTransportClientBuilder::default()
            .connection_timeout(self.config.connect)
            .build(url)
            .await
            .map_err(|error| error.to_string())?;
        let ping = jsonrpsee::core::client::async_client::PingConfig::new()
            .ping_interval(self.config.ping)
            .inactive_limit(self.config.ping * 2);
        Ok(Client::builder()
            .request_timeout(self.config.response)
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
        other => Err(wrong(format!("scheme is {other}"))),
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
