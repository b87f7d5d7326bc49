//! Running PRISM: the validator's loop over the seams, its store, its HTTP face, the miner's client, and configuration.
//!
//! [`validator::Validator`] is composed part by part; everything between two of its steps is in the [`store::Store`].
//! Submissions come in through [`intake`], served by [`http`]; [`miner::Miner`] is the other side.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod clock;
pub mod config;
mod deadline;
pub mod directory;
pub mod guests;
pub mod held;
pub mod http;
pub mod hub;
pub mod intake;
pub mod miner;
pub mod receipt_file;
pub mod reviewer;
pub mod store;
mod tls;
pub mod validator;
pub mod wire;

/// The blocks of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
