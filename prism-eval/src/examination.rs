//! What is known of a bundle before anything of it runs: the same answer for the intake, the validator and a miner at
//! home.
use crate::{
    bundle::{Bundle, BundleError},
    graph::{self, Context, GraphError, Limits, ResolvedGraph},
    recipe::{Recipe, RecipeError},
    review::{PythonError, Review},
};
use prism_core::{
    Error, FamilyId, Fault, Kind,
    manifest::{Component, Manifest},
    reviewer::Finding,
    submission::SubmissionKind,
};

/// Why a bundle is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExaminationError {
    /// The bundle or its manifest.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The architecture.
    #[error("{file}: {source}")]
    Graph {
        /// Which file.
        file: String,
        /// What is wrong.
        source: GraphError,
    },
    /// The recipe.
    #[error("{file}: {source}")]
    Recipe {
        /// Which file.
        file: String,
        /// What is wrong.
        source: RecipeError,
    },
    /// The Python of the bundle.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// Something in the Python that no model, recipe or checkpoint needs.
    #[error("{}:{}: {}", .0.file, .0.line, .0.text)]
    Finding(Finding),
}

impl ExaminationError {
    /// The stable name of the rule that was broken, for HTTP bodies and reviews.
    #[must_use]
    pub fn rule(&self) -> &str {
        match self {
            Self::Bundle(error) => error.rule(),
            Self::Graph { source, .. } => source.rule(),
            Self::Recipe { source, .. } => source.rule(),
            Self::Python(error) => error.rule(),
            Self::Finding(finding) => &finding.rule,
        }
    }
}

impl From<ExaminationError> for Error {
    fn from(error: ExaminationError) -> Self {
        let place = error.to_string();
        let inner: Error = match error {
            ExaminationError::Bundle(error) => return error.into(),
            ExaminationError::Graph { source, .. } => source.into(),
            ExaminationError::Recipe { source, .. } => source.into(),
            ExaminationError::Python(error) => return error.into(),
            ExaminationError::Finding(finding) => {
                return Error::new(Kind::Refused, Fault::Miner, format!("{}: {place}", finding.rule));
            }
        };
        Error::new(inner.kind(), inner.fault(), place)
    }
}

/// A bundle that keeps every rule that can be checked without running it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examination {
    /// The bundle's files and manifest.
    pub bundle: Bundle,
    /// What is to be measured.
    pub content: Content,
}

/// What a bundle brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Declared: trained natively, nothing of it runs.
    Native {
        /// The architecture at the base size; none for a `training_for_arch`.
        graph: Option<ResolvedGraph>,
        /// The recipe, where it brings one.
        recipe: Option<Recipe>,
    },
    /// Code: needs a sandbox.
    Python(Box<Review>),
}

impl Examination {
    /// Reads a bundle and checks all that it declares, at the base size of `context` and within `limits`.
    ///
    /// # Errors
    /// The first rule broken, with its place.
    pub fn of(archive: &[u8], context: &Context, limits: &Limits) -> Result<Self, ExaminationError> {
        let bundle = Bundle::read(archive)?;
        let content = if bundle.is_native() {
            declared(&bundle, context, limits)?
        } else {
            let review = Review::of(&bundle, limits.source_bytes)?;
            if let Some(finding) = review.proof() {
                return Err(ExaminationError::Finding(finding.clone()));
            }
            Content::Python(Box::new(review))
        };
        Ok(Self { bundle, content })
    }

    /// What the manifest claims.
    #[must_use]
    pub fn kind(&self) -> SubmissionKind {
        self.manifest().kind
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.bundle.manifest()
    }

    /// The family that a `training_for_arch` targets: an id or a published name.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.manifest().architecture_id.as_deref()
    }

    /// The family of the architecture that it brings.
    #[must_use]
    pub fn family(&self) -> Option<FamilyId> {
        match &self.content {
            Content::Native { graph, .. } => graph.as_ref().map(graph::family),
            Content::Python(review) => review.family,
        }
    }
}

fn declared(bundle: &Bundle, context: &Context, limits: &Limits) -> Result<Content, ExaminationError> {
    let file = |part: &Option<Component>| part.as_ref().map(|part| part.entrypoint.clone()).unwrap_or_default();
    let graph = bundle.graph().and_then(|spec| spec.map(|spec| spec.resolve(context, limits)).transpose());
    let graph =
        graph.map_err(|source| ExaminationError::Graph { file: file(&bundle.manifest().architecture), source })?;
    let recipe = bundle
        .recipe()
        .map_err(|source| ExaminationError::Recipe { file: file(&bundle.manifest().training), source })?;
    Ok(Content::Native { graph, recipe })
}
