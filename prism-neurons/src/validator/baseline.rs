//! Published architectures that every cohort measures: what a submission is compared with.
use super::{
    Validator,
    material::{BUNDLE, GRAPH},
};
use crate::store::{
    families::{FamilyRecord, PublishedFamily},
    submissions::Material,
};
use prism_core::{Error, FamilyId, Result, SubmissionId, artifacts::ArtifactsExt};
use prism_eval::{
    duplicate::Fingerprint,
    graph::{Context, GraphSpec, Limits, baselines, family},
    guest::{self, GuestBundle, GuestPart},
};

/// A published architecture.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// Its name; a `training_for_arch` may target it by this.
    pub name: String,
    /// The architecture.
    pub architecture: Published,
}

/// What a baseline is made of.
#[derive(Debug, Clone)]
pub enum Published {
    /// An architecture without code.
    Declared(GraphSpec),
    /// One of Python, under the family that a bundle of it would have. It stands for a baseline's work where submissions
    /// in Python are compared.
    Code(GuestPart, FamilyId),
}

impl Baseline {
    /// A baseline that ships with PRISM: see [`baselines`].
    ///
    /// # Errors
    /// `Bug` for a name that does not ship.
    pub fn shipped(name: &str) -> Result<Self> {
        let architecture = match (baselines::spec(name), guest::baselines::architecture(name)) {
            (Some(graph), _) => Published::Declared(graph?),
            (None, Some(code)) => code.map(|(part, family)| Published::Code(part, family))?,
            (None, None) => return Err(Error::bug(format!("no baseline named {name:?} ships"))),
        };
        Ok(Self { name: name.to_owned(), architecture })
    }
}

/// The id under which a baseline's runs are recorded; never a submission's.
pub(super) fn baseline_id(family: FamilyId) -> SubmissionId {
    SubmissionId::of_parts("prism/baseline/1", &[&family.0])
}

impl Validator {
    /// The numbers that architectures may depend on, at the base size.
    pub(super) fn context(&self) -> Context {
        self.0.policy.plan.context(self.0.data.vocabulary)
    }

    /// The bounds that architectures are held to.
    pub(super) fn limits(&self) -> Limits {
        self.0.policy.plan.limits().within(&self.context())
    }

    /// Resolves the baselines and puts them on record as families.
    pub(super) async fn publish_baselines(&self) -> Result<()> {
        let (mut families, mut fingerprints) = (Vec::new(), Vec::new());
        for baseline in &self.0.baselines {
            let mut material = Material::new();
            let (id, name, digest) = match &baseline.architecture {
                Published::Declared(spec) => {
                    material = self.keep_probes(spec).await?;
                    let graph = spec.resolve(&self.context(), &self.limits())?;
                    fingerprints.push((baseline_id(family(&graph)), Fingerprint::of_graph(&graph)));
                    (family(&graph), GRAPH, self.0.artifacts.keep_bytes(&graph.canonical_bytes()).await?)
                }
                Published::Code(part, family) => {
                    let alone = GuestBundle { architecture: part.clone(), training: None };
                    fingerprints.push((baseline_id(*family), Fingerprint::of_code(part, *family)?));
                    (*family, BUNDLE, self.keep_guest(&alone).await?)
                }
            };
            material.insert(name.to_owned(), digest);
            families.push(PublishedFamily { id, name: baseline.name.clone(), submission: baseline_id(id), material });
        }
        self.0.store.publish_families(families, self.0.clock.now()).await?;
        self.keep_published(fingerprints).await
    }

    /// The baselines, as on record.
    pub(super) async fn published_families(&self) -> Result<Vec<FamilyRecord>> {
        let mut families = Vec::new();
        for baseline in &self.0.baselines {
            families.extend(self.0.store.family(&baseline.name).await?);
        }
        Ok(families)
    }
}
