//! Architectures without code: a declarative graph of operators, checked and resolved before anything is allocated.
pub mod resolved;
