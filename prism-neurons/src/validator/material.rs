//! What is measured of a submission, by the names under which it stands in the store.

/// A canonical architecture.
pub(super) const GRAPH: &str = "graph";
/// A canonical recipe.
pub(super) const RECIPE: &str = "recipe";
/// The guest bundle with an architecture of Python and nothing else.
pub(super) const BUNDLE: &str = "bundle";
/// The guest bundle with hooks that train.
pub(super) const HOOKS: &str = "hooks";
