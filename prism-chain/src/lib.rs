//! Bittensor for PRISM: reading the chain, bringing weights to it, checking who signed a request, and a chain of one's
//! own to try all that on.
//!
//! | room | what is in it |
//! |---|---|
//! | [`client`] | [`ChainClient`]: one websocket that mends itself, with a deadline on every call |
//! | [`metagraph`], [`epoch`] | who is on a subnet, its rules and its epochs, at one block |
//! | [`view`] | [`SubtensorView`]: the chain as a validator's loop reads it |
//! | [`weights`] | [`SubtensorWeightSetter`]: conform, check, sign, send, and show that they landed |
//! | [`commitments`] | what hotkeys put on the chain for all to read, also as a source of submissions |
//! | [`registration`], [`axon`], [`identity`] | the rest of a neuron's dealings |
//! | [`signer`] | keys |
//! | [`wallet`] | keys on disk, as the official wallet keeps them |
//! | [`request`] | signed HTTP requests |
//! | [`devnet`] | a development chain in this process |
//!
//! Pallets, calls, entries and errors are looked up by name in the metadata of the runtime in force: numbers drift
//! between runtimes, names hardly do.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod axon;
pub mod client;
// pub mod commitments;
pub mod devnet;
pub mod epoch;
mod error;
mod extrinsic;
pub mod identity;
#[cfg(test)]
mod landing;
pub mod metagraph;
pub mod registration;
pub mod rejection;
pub mod request;
mod runtime;
pub mod signer;
mod transport;
pub mod view;
pub mod wallet;
pub mod weights;

pub use client::{ChainClient, ChainConfig};
pub use error::ChainError;
pub use signer::{Keypair, Signer};
pub use view::SubtensorView;
pub use weights::{DryRunSetter, SetterConfig, SubtensorWeightSetter, WeightsError};
