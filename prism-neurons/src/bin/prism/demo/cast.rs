//! Who takes part in the demo, and what each sends.
use prism_core::Result;
use prism_eval::{bundle, graph::baselines};
use std::collections::BTreeMap;

/// One miner of the demo.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// As on the leaderboard.
    pub(super) name: &'static str,
    /// What it sends.
    pub(super) payload: Vec<u8>,
    /// Whether it sends the very same request a second time.
    pub(super) replays: bool,
}

const FULL: &str = "kind: full\narchitecture: { entrypoint: model.graph.yaml }\n";
const ARCHITECTURE: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";
const RECIPE: &str = "kind: training_for_arch\narchitecture_id: gpt\ntraining: { entrypoint: recipe.yaml }\n";
const PYTHON: &str = "kind: full\narchitecture: { entrypoint: src/model.py }\n";

/// The cast, in the order in which it acts.
pub(super) fn cast() -> Result<Vec<Role>> {
    let gpt = baselines::document("gpt").unwrap_or_default();
    let better = include_str!("bundles/better.graph.yaml");
    let renamed = include_str!("bundles/renamed.graph.yaml");
    let role = |name, files: &[(&str, &str)], replays| -> Result<Role> {
        let files: BTreeMap<String, String> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Ok(Role { name, payload: bundle::pack(&files)?, replays })
    };
    let mut cast = vec![
        role("gpt", &[("prism.yaml", FULL), ("model.graph.yaml", gpt)], true)?,
        role("rotary-shift", &[("prism.yaml", ARCHITECTURE), ("model.graph.yaml", better)], false)?,
        role("renamed-copy", &[("prism.yaml", ARCHITECTURE), ("model.graph.yaml", renamed)], false)?,
        role(
            "muon-recipe",
            &[("prism.yaml", RECIPE), ("recipe.yaml", include_str!("bundles/muon.recipe.yaml"))],
            false,
        )?,
        role("python-gpt", &[("prism.yaml", PYTHON), ("src/model.py", include_str!("bundles/model.py"))], false)?,
    ];
    // A bundle that was cut off on its way.
    let mut torn = role("torn-bundle", &[("prism.yaml", FULL), ("model.graph.yaml", gpt)], false)?;
    torn.payload.truncate(torn.payload.len() / 2);
    cast.push(torn);
    Ok(cast)
}
