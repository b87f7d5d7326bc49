//! Where untrusted code runs: backends of [`Sandbox`](prism_core::Sandbox).
//!
//! - [`embedded`]: Linux namespaces, a read-only tree, landlock, a list of system calls and control groups. Needs nothing
//!   installed; its programs call [`launcher::enter`] first in `main`.
//! - [`container`]: Docker or Podman, over the engine's socket.
//! - [`process`]: a plain process, for development: no wall at all.
//!
//! [`detect`] chooses among them. [`seccomp`] holds the one list of system calls, [`evidence`] the one rule that turns what
//! the host saw into an outcome, [`artifacts`] the collection of what work leaves behind.
pub mod artifacts;
pub mod container;
pub mod detect;
pub mod embedded;
pub mod evidence;
pub mod process;
pub mod seccomp;

pub use embedded::launcher;
pub use process::UnsafeProcessSandbox;
