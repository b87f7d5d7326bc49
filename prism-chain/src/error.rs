//! Why talking to the chain failed.
use crate::{dispatch::DispatchError, rejection::Rejection, signer::KeyError, transport::RATE_LIMITED};
use prism_core::{Error, Fault, Kind, Retry};
use std::time::Duration;

/// How long to wait before asking a node again that could not answer.
const PAUSE: Duration = Duration::from_secs(6);

/// Why talking to the chain failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The configuration names no endpoint.
    #[error("no chain endpoint is configured")]
    NoEndpoint,
    /// The text is not a websocket address.
    #[error("chain endpoint {url:?} is not a ws:// or wss:// address: {reason}")]
    Endpoint {
        /// As configured.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No websocket to the endpoint.
    #[error("cannot connect to chain endpoint {url}: {reason}")]
    Connect {
        /// The endpoint.
        url: String,
        /// What the network said.
        reason: String,
    },
    /// The endpoint serves another chain.
    #[error("chain endpoint {url} has genesis {found}, expected {expected}")]
    WrongChain {
        /// The endpoint.
        url: String,
        /// The genesis hash it shows.
        found: String,
        /// The one that is configured, or that the first endpoint showed.
        expected: String,
    },
    /// No answer in time.
    #[error("{call} was not answered within {after:?}")]
    Deadline {
        /// The JSON-RPC method.
        call: String,
        /// The deadline.
        after: Duration,
    },
    /// The connection ended before the answer came.
    #[error("connection to {url} broke during {call}: {reason}")]
    Broken {
        /// The endpoint.
        url: String,
        /// The JSON-RPC method.
        call: String,
        /// What the network said.
        reason: String,
    },
    /// The node answered with an error.
    #[error("{call} was refused by the node: {message} (code {code}{})", data.as_ref().map(|d| format!(", {d}")).unwrap_or_default())]
    Node {
        /// The JSON-RPC method.
        call: String,
        /// JSON-RPC error code.
        code: i32,
        /// Its message.
        message: String,
        /// Its data, when that is a text.
        data: Option<String>,
    },
    /// The node answered something else than the method's result.
    #[error("answer to {call} is not understood: {reason}")]
    Answer {
        /// The JSON-RPC method.
        call: String,
        /// Why.
        reason: String,
    },
    /// The runtime lacks something that is looked up by name.
    #[error("runtime at spec {spec} has no {item}")]
    Missing {
        /// Kind and name, such as `storage entry SubtensorModule.Tempo`.
        item: String,
        /// The runtime's spec version.
        spec: u32,
    },
    /// The chain holds nothing under this key.
    #[error("{item} is not set")]
    Unset {
        /// Entry and key.
        item: String,
    },
    /// Bytes of the chain don't have the expected type.
    #[error("{field} cannot be decoded: {reason}")]
    Decode {
        /// Which entry, event field or constant.
        field: String,
        /// Why.
        reason: String,
    },
    /// A value doesn't fit the type that the runtime asks for.
    #[error("{item} cannot be encoded for the runtime at spec {spec}: {reason}")]
    Encode {
        /// Which call or key.
        item: String,
        /// The runtime's spec version.
        spec: u32,
        /// Why.
        reason: String,
    },
    /// The node knows no such block.
    #[error("block {0} is not known to the node")]
    UnknownBlock(String),
    /// The node is behind what another one, or itself, has shown before.
    #[error("node is behind: block {block} is {what}, {expected} was seen before")]
    Behind {
        /// Which head.
        what: &'static str,
        /// Where it is.
        block: u64,
        /// Where it should be at least.
        expected: u64,
    },
    /// The transaction pool refused an extrinsic.
    #[error("transaction pool refused the extrinsic: {0}")]
    Rejected(#[from] Rejection),
    /// The extrinsic is in a block and its call failed.
    #[error("{call} failed in block {block}: {error}")]
    Dispatch {
        /// Which call.
        call: String,
        /// Where.
        block: u64,
        /// Why.
        error: DispatchError,
    },
    /// No block took the extrinsic while its signature was valid.
    #[error("{call} was in no block before {expires}")]
    Expired {
        /// Which call.
        call: String,
        /// The first block in which the signature is void.
        expires: u64,
    },
    /// The signing key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl ChainError {
    /// Whether the node says that it doesn't keep the block that was asked for, or its state (sc-rpc-api,
    /// state/error.rs: errors of the client).
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(self, Self::UnknownBlock(_) | Self::Node { code: 4003, .. })
    }
}

impl From<ChainError> for Error {
    fn from(error: ChainError) -> Self {
        use ChainError as E;
        let (kind, fault, retry) = match &error {
            E::NoEndpoint | E::Endpoint { .. } => (Kind::Invalid, Fault::Validator, Retry::Never),
            E::WrongChain { .. } => (Kind::Refused, Fault::Validator, Retry::Never),
            E::Connect { .. } | E::Broken { .. } | E::Behind { .. } => {
                (Kind::Unavailable, Fault::Infrastructure, Retry::After(PAUSE))
            }
            E::Deadline { .. } => (Kind::Deadline, Fault::Infrastructure, Retry::After(PAUSE)),
            // JSON-RPC 2.0: method not found.
            E::Node { code: -32601, .. } => (Kind::Unsupported, Fault::Infrastructure, Retry::Never),
            E::Node { code: RATE_LIMITED, .. } => (Kind::Limit, Fault::Infrastructure, Retry::After(PAUSE)),
            E::Node { .. } => (Kind::Unavailable, Fault::Infrastructure, Retry::After(PAUSE)),
            E::Answer { .. } | E::Decode { .. } => (Kind::Corrupt, Fault::Infrastructure, Retry::Never),
            E::Missing { .. } | E::Encode { .. } => (Kind::Unsupported, Fault::Validator, Retry::Never),
            E::Unset { .. } | E::UnknownBlock(_) => (Kind::NotFound, Fault::Infrastructure, Retry::Never),
            E::Rejected(rejection) => (rejection.kind(), Fault::Validator, rejection.retry(PAUSE)),
            E::Dispatch { error, .. } => (error.kind(), Fault::Validator, error.retry(PAUSE)),
            E::Expired { .. } => (Kind::Deadline, Fault::Infrastructure, Retry::Now),
            E::Key(_) => (Kind::Invalid, Fault::Validator, Retry::Never),
        };
        Error::new(kind, fault, error.to_string()).retry(retry)
    }
}
