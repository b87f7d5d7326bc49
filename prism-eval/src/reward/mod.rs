//! What standings pay.
mod decay;
mod frontier;
mod ownership;
mod pools;

pub use frontier::{FrontierPools, title_holders, to_be_confirmed};
pub use ownership::OwnershipSplit;
