//! The pallets that a neuron touches, each with the calls, events, errors and storage it uses of them.

pub(super) mod aura;
pub(super) mod balances;
pub(super) mod commitments;
pub(super) mod drand;
pub(super) mod subtensor;
pub(super) mod system;
pub(super) mod timestamp;
