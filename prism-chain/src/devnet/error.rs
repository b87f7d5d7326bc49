//! Why a devnet doesn't start, or doesn't do what it is told by hand.

use std::net::SocketAddr;

use prism_core::{Fault, Kind};

/// Why a devnet doesn't start, or doesn't do what it is told by hand.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevnetError {
    /// The address can't be listened on.
    #[error("devnet can't listen on {address}")]
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration contradicts itself or the chain.
    #[error("devnet configuration: {0}")]
    Config(String),
    /// The subnet isn't one of the configuration's.
    #[error("devnet has no subnet {0}")]
    UnknownSubnet(u16),
    /// The subnet has no such neuron.
    #[error("devnet subnet {netuid} has no uid {uid}")]
    UnknownNeuron {
        /// The subnet.
        netuid: u16,
        /// The slot asked for.
        uid: u16,
    },
    /// The hotkey can't get a slot; the name is the chain's error.
    #[error("devnet can't register on subnet {netuid}: {error}")]
    Registration {
        /// The subnet.
        netuid: u16,
        /// The chain's error.
        error: String,
    },
}

impl From<DevnetError> for prism_core::Error {
    fn from(error: DevnetError) -> Self {
        let (kind, fault) = match &error {
            DevnetError::Listen { .. } => (Kind::Unavailable, Fault::Infrastructure),
            DevnetError::Config(_) => (Kind::Invalid, Fault::Validator),
            DevnetError::UnknownSubnet(_) | DevnetError::UnknownNeuron { .. } => (Kind::NotFound, Fault::Validator),
            DevnetError::Registration { .. } => (Kind::Refused, Fault::Policy),
        };
        Self::new(kind, fault, error.to_string()).because(error)
    }
}
