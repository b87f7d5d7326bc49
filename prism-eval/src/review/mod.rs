//! Reading a miner's Python before anything of it runs.
pub mod error;
pub mod hooks;
pub mod normalise;
pub mod parser;
pub mod sources;
pub mod syntax;
