//! Architectures without code: a declarative graph of operators, checked and resolved before anything is allocated.
//!
//! [`GraphSpec`] is what a miner writes ([`read`]); [`GraphSpec::resolve`] gives the [`ResolvedGraph`]: canonical,
//! name-free, and what is trained, hashed and drawn.
pub mod baselines;
mod canonical;
mod check;
mod class;
pub mod context;
pub mod cost;
pub(crate) mod draft;
pub mod error;
pub mod expression;
mod mermaid;
mod resolve;
pub mod resolved;
pub(crate) mod shape;
mod simplify;
pub mod spec;
mod weights;

pub use canonical::{MAX_CANONICAL_BYTES, family};
pub(crate) use check::ahead;
pub use class::class;
pub use context::{Context, Limits, MAX_SOURCE_BYTES};
pub use cost::{flops_per_token, layers, parameters, peak_bytes};
pub use error::{GraphError, Place};
pub use mermaid::mermaid;
pub use resolve::MAX_NODES;
pub use resolved::ResolvedGraph;
pub use shape::ShapeError;
pub use spec::GraphSpec;

/// Reads the submitted form of an architecture, YAML or JSON by the suffix of the name.
///
/// # Errors
/// What is wrong with the form, with key and line.
pub fn read(bytes: &[u8], name: &str) -> Result<GraphSpec, GraphError> {
    GraphSpec::read(bytes, name)
}
