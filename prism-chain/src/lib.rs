//! Bittensor for PRISM: reading the chain, bringing weights to it, checking who signed a request, and a chain of one's
//! own to try all that on.
//!
//! | room | what is in it |
//! |---|---|
//! | [`client`] | [`ChainClient`]: one websocket that mends itself, with a deadline on every call |
//! | [`metagraph`], [`epoch`] | who is on a subnet, its rules and its epochs, at one block |
//! | [`doctor`] | what is used against the runtime as it is, and what keeps a hotkey from setting weights |
//! | [`dispatch`], [`rejection`] | what the chain says when it refuses, and what to do about it |
//! | [`view`] | [`SubtensorView`]: the chain as a validator's loop reads it |
//! | [`weights`] | [`SubtensorWeightSetter`]: conform, check, sign, send, and show that they landed |
//! | [`commitments`] | what hotkeys put on the chain for all to read, also as a source of submissions |
//! | [`registration`], [`axon`], [`identity`] | the rest of a neuron's dealings |
//! | [`signer`] | keys |
//! | [`wallet`] | keys on disk, as the official wallet keeps them |
//! | [`timelock`] | bytes that open with a beacon's round |
//! | [`request`] | signed HTTP requests |
//! | [`devnet`] | a development chain in this process |
//!
//! Pallets, calls, entries and errors are looked up by name in the metadata of the runtime in force: numbers drift
//! between runtimes, names hardly do.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]
#![cfg_attr(test, allow(clippy::print_stdout, clippy::print_stderr))]

pub mod axon;
pub mod client;
pub mod commitments;
pub mod devnet;
pub mod dispatch;
pub mod doctor;
pub mod epoch;
mod error;
mod extrinsic;
mod fee;
mod hyperparameters;
pub mod identity;
#[cfg(test)]
mod landing;
pub mod metagraph;
mod record;
pub mod registration;
pub mod rejection;
pub mod request;
mod runtime;
pub mod signer;
mod state;
pub mod timelock;
mod transport;
pub mod view;
pub mod wallet;
pub mod weights;

pub use client::{ChainClient, ChainConfig};
pub use dispatch::DispatchError;
pub use error::ChainError;
pub use runtime::Runtime;
pub use signer::{Keypair, Signer};
pub use view::SubtensorView;
pub use weights::{CommitScheme, DryRunSetter, SetterConfig, SubtensorWeightSetter, WeightsError};
