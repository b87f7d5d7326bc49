//! Reading a bundle before it is accepted: nothing of it runs.
use super::IntakeError;
use async_trait::async_trait;
use prism_core::submission::SubmissionKind;
use std::fmt::Debug;

/// Reads a bundle whose request is in order.
///
/// 1. The same bundle gets the same answer, but for families that came meanwhile.
/// 2. Nothing of the bundle runs, and nothing is allocated on its word.
/// 3. What it refuses is `Bundle` with the rule's name; `Check` means that this validator failed.
#[async_trait]
pub trait Precheck: Debug + Send + Sync + 'static {
    /// What the bundle brings, or which rule it breaks.
    async fn check(&self, bundle: &[u8]) -> Result<SubmissionKind, IntakeError>;
}
