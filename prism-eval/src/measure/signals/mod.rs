//! What a run shows, beyond its bits: pure functions of evidence, each with its range, its direction and its source.
//!
//! Nothing here is worth anything by itself. A score pairs these with a baseline's, and lets them lift nothing that has
//! no advantage in bits per byte. Only what the host witnessed is read.
pub(crate) mod curve;
pub(crate) mod diagnostic;

pub use crate::policy::DiagnosticThresholds;
pub use diagnostic::{DIAGNOSTICS, Diagnostic, DiagnosticStatus, Redistribution, diagnostics};
