//! Where untrusted code runs: backends of [`Sandbox`](prism_core::Sandbox).
pub mod process;
pub use process::UnsafeProcessSandbox;
