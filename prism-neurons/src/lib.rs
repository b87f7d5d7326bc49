//! Running PRISM.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod clock;
pub mod config;
mod deadline;
pub mod directory;
pub mod http;
pub mod intake;
pub mod miner;
pub mod store;
pub mod validator;
pub mod wire;
