//! What is kept of a submission, so that later ones can be compared with it.
use super::{
    native,
    sketch::{Sketch, hash_text, mix},
};
use crate::{
    examination::{Content, Examination},
    graph::{self, ResolvedGraph},
    guest::GuestPart,
    review::{PythonError, Review, Sources, similarity::shingles},
};
use prism_core::{Digest, FamilyId};
use serde::{Deserialize, Serialize};

/// A part of a submission that is compared with the same part of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The architecture, and in a bundle of one file of Python all that stands in it.
    Architecture,
    /// Code that trains, in files of its own.
    Hooks,
    /// A declared recipe: a dozen numbers, on which honest miners meet. It is never held for being alike.
    Recipe,
}

impl Part {
    /// The word used in JSON and SQL.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Architecture => "architecture",
            Self::Hooks => "hooks",
            Self::Recipe => "recipe",
        }
    }

    /// The part of that word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Architecture, Self::Hooks, Self::Recipe].into_iter().find(|part| part.as_str() == word)
    }
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartPrint {
    /// Which.
    pub part: Part,
    /// Digest of its canonical, name-free form.
    pub structure: Digest,
    /// Of the set that it is compared by; none of what is too small to be compared.
    pub sketch: Option<Sketch>,
}

/// What is kept of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Digest of the canonical form of all that is run: architecture and recipe, names and formatting gone.
    pub work: Digest,
    /// The family that it belongs to by its structure, or that it targets.
    pub family: FamilyId,
    /// Its parts; at least one.
    pub parts: Vec<PartPrint>,
}

impl Fingerprint {
    /// The fingerprint of an examined bundle. `family` is its own, or the one that it targets.
    ///
    /// # Errors
    /// Python that doesn't parse: none, after an examination.
    pub fn of(examination: &Examination, family: FamilyId) -> Result<Self, PythonError> {
        let parts = match &examination.content {
            Content::Native { graph, recipe } => {
                let recipe = recipe.as_ref().map(|recipe| PartPrint {
                    part: Part::Recipe,
                    structure: recipe.digest(),
                    sketch: Sketch::of(&native::settings(recipe)),
                });
                graph.as_ref().map(declared).into_iter().chain(recipe).collect()
            }
            Content::Python(review) => code(review)?,
        };
        Ok(Self::over(family, parts))
    }

    /// The fingerprint of a published architecture without code.
    #[must_use]
    pub fn of_graph(graph: &ResolvedGraph) -> Self {
        Self::over(graph::family(graph), vec![declared(graph)])
    }

    /// The fingerprint of a published architecture of Python.
    ///
    /// # Errors
    /// Python that doesn't parse.
    pub fn of_code(architecture: &GuestPart, family: FamilyId) -> Result<Self, PythonError> {
        let sketch = sketch(architecture)?;
        let part = PartPrint { part: Part::Architecture, structure: Digest(family.0), sketch };
        Ok(Self::over(family, vec![part]))
    }

    fn over(family: FamilyId, parts: Vec<PartPrint>) -> Self {
        let told: Vec<Vec<u8>> =
            parts.iter().map(|part| [part.part.as_str().as_bytes(), &part.structure.0].concat()).collect();
        let told: Vec<&[u8]> = std::iter::once(&family.0[..]).chain(told.iter().map(Vec::as_slice)).collect();
        Self { work: Digest::of_parts("prism/work/1", &told), family, parts }
    }

    /// Keys under which an index finds a part: equal work, equal structure, and the bands of its sketch. 47 bits, so that
    /// a database keeps each in six bytes; what collides by chance is told apart by what it was kept with.
    pub fn keys(&self, part: &PartPrint) -> Vec<u64> {
        keys(&self.work, part)
    }
}

fn keys(work: &Digest, part: &PartPrint) -> Vec<u64> {
    let word = |digest: &Digest| digest.0.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let kind = hash_text(part.part.as_str());
    let key = |place: u64, value: u64| mix(kind ^ mix(place ^ mix(value))) >> 17;
    let bands = part.sketch.iter().flat_map(Sketch::bands).map(|band| key(3, band));
    [key(1, word(work)), key(2, word(&part.structure))].into_iter().chain(bands).collect()
}

fn declared(graph: &ResolvedGraph) -> PartPrint {
    let sketch = Sketch::of(&native::neighbourhoods(graph));
    PartPrint { part: Part::Architecture, structure: graph.digest(), sketch }
}

/// The parts of a bundle of Python. Hooks in the architecture's own files are compared with it: there is one part then,
/// whose structure is that of the architecture, and the recipe's structure goes into the work alone.
fn code(review: &Review) -> Result<Vec<PartPrint>, PythonError> {
    let mut parts = Vec::new();
    if let (Some(architecture), Some(family)) = (&review.parts.architecture, review.family) {
        let structure = Digest(family.0);
        parts.push(PartPrint { part: Part::Architecture, structure, sketch: sketch(architecture)? });
    }
    if let Some(variant) = review.variant {
        let sketch = review.parts.training.as_ref().map(sketch).transpose()?.flatten();
        parts.push(PartPrint { part: Part::Hooks, structure: variant, sketch });
    }
    Ok(parts)
}

fn sketch(part: &GuestPart) -> Result<Option<Sketch>, PythonError> {
    Ok(Sketch::of(&shingles(&Sources::parse(&part.files)?)))
}
