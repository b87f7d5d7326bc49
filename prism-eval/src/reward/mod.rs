//! What standings pay.
mod decay;
mod frontier;
mod ownership;
mod pools;

pub use frontier::{FrontierPools, title_holders};
pub use ownership::OwnershipSplit;
