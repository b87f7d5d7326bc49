//! Measuring for PRISM: what came in, where it runs, what it learns from, what the host sees, and what that is worth.
//!
//! The way of a submission: [`bundle`] (unpacked, counted) → [`graph`] and [`recipe`] (checked before a byte is
//! allocated) → [`native`] (played by trusted code) → [`measure`] (the host deals rows and does the arithmetic) →
//! [`score`] → [`reward`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic))]

pub mod benchmark;
pub mod bundle;
pub mod data;
pub mod document;
pub mod duplicate;
pub mod examination;
pub mod graph;
pub mod guest;
pub mod lab;
pub mod measure;
pub mod native;
pub mod plan_of_runs;
pub mod player;
pub mod policy;
pub mod recipe;
pub mod review;
pub mod reward;
pub mod run_manifest;
pub mod sandbox;
pub mod score;
pub mod trainer;
#[cfg(test)]
mod whole_path_tests;
