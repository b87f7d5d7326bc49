//! Architectures without code, trained here: a [`ResolvedGraph`](crate::graph::resolved::ResolvedGraph) executed with
//! Burn, under a [`Recipe`](crate::recipe::Recipe), with nothing of the miner's running.
//!
//! Bits are reproducible on one machine and build: initial values come from named streams of the task's seed (Burn's
//! process-wide generator is never touched), a batch is cut into shards of fixed size whose gradients are added in
//! order, and every run computes in a thread pool of its own, so that neither the number of threads nor a run beside
//! it changes a bit. Gradients are written out per operator: the tests hold them against Burn's autodiff and against
//! finite differences.
mod attention;
#[cfg(test)]
pub(crate) mod graphs;
mod loss;
mod network;
mod observe;
mod operators;
mod optimizer;
mod pass;
mod player;
mod recurrence;
mod schedule;
#[cfg(test)]
mod tests;
mod usage;
mod weights;

pub use network::{Cost, Network, NetworkError};
pub use player::{NativePlayer, PlayerSettings};
