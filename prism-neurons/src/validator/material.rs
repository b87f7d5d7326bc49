//! What is measured of a submission, by the names under which it stands in the store.
use super::Validator;
use crate::store::submissions::Material;
use prism_core::{Digest, Error, Fault, Kind, Result, artifacts::ArtifactsExt};
use prism_eval::{
    graph::GraphSpec,
    guest::{GuestBundle, GuestPart, bundle::MAX_CANONICAL_BYTES},
    plan_of_runs::keep_probes,
    policy::Probe,
};

/// A canonical architecture.
pub(super) const GRAPH: &str = "graph";
/// A canonical recipe.
pub(super) const RECIPE: &str = "recipe";
/// The guest bundle with an architecture of Python and nothing else.
pub(super) const BUNDLE: &str = "bundle";
/// The guest bundle with hooks that train.
pub(super) const HOOKS: &str = "hooks";

/// Under which name the canonical graph of a probe stands, as in `probe/size/2`.
pub(super) fn probe_name(probe: &Probe) -> String {
    format!("probe/{probe}")
}

impl Validator {
    /// Keeps an architecture's canonical graphs at the probes of the plan.
    pub(super) async fn keep_probes(&self, spec: &GraphSpec) -> Result<Material> {
        let (policy, vocabulary) = (&self.0.policy.plan, self.0.data.vocabulary);
        let probes = keep_probes(policy, vocabulary, spec, &*self.0.artifacts).await?;
        Ok(probes.iter().map(|(probe, digest)| (probe_name(probe), *digest)).collect())
    }

    /// Whether a trainer here takes Python.
    pub(super) fn takes_python(&self) -> bool {
        self.0.trainers.iter().any(|trainer| trainer.info().guest)
    }

    /// Keeps what a guest receives.
    pub(super) async fn keep_guest(&self, bundle: &GuestBundle) -> Result<Digest> {
        let bytes = bundle.canonical_bytes();
        if bytes.len() > MAX_CANONICAL_BYTES {
            let text = format!("guest bundle has {} bytes, at most {MAX_CANONICAL_BYTES} are read", bytes.len());
            return Err(Error::new(Kind::Limit, Fault::Miner, text));
        }
        self.0.artifacts.keep_bytes(&bytes).await
    }

    /// The architecture of a family of Python.
    pub(super) async fn guest_architecture(&self, bundle: Digest) -> Result<GuestPart> {
        let bytes = self.0.artifacts.read(bundle, MAX_CANONICAL_BYTES as u64).await?;
        Ok(GuestBundle::from_canonical_bytes(&bytes)?.architecture)
    }
}
