//! Where untrusted code runs: backends of [`Sandbox`](prism_core::Sandbox).
