//! What standings pay.
mod frontier;
mod ownership;
mod pools;

pub use frontier::FrontierPools;
pub use ownership::OwnershipSplit;
