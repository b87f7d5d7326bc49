//! `prism check`: what a validator says about a bundle before it measures anything.
use clap::Args;
use prism_core::{Error, Result};
use prism_eval::{
    examination::{Content, Examination},
    graph,
    policy::PlanPolicy,
};
use prism_neurons::miner::{PackError, pack_folder};
use serde_json::json;
use std::path::PathBuf;

/// Byte vocabulary.
const VOCABULARY: u32 = 256;

/// Say what a validator would say about a bundle before it measures anything.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// A folder, a ZIP archive, or a Python file.
    bundle: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Hold it to the small limits of the demo instead of the official ones.
    #[arg(long)]
    smoke: bool,
}

impl Check {
    pub(crate) fn run(self) -> Result<()> {
        let plan = if self.smoke { PlanPolicy::smoke() } else { PlanPolicy::default() };
        let (context, limits) = (plan.context(VOCABULARY), plan.limits());
        let examined = match pack_folder(&self.bundle) {
            Ok(archive) => Examination::of(&archive, &context, &limits),
            Err(PackError::Bundle(error)) => Err(error.into()),
            Err(error) => return Err(error.into()),
        };
        let examination = match examined {
            Ok(examination) => examination,
            Err(error) => {
                if self.json {
                    println!("{}", json!({ "accepted": false, "rule": error.rule(), "reason": error.to_string() }));
                }
                return Err(Error::from(error));
            }
        };
        let report = describe(&examination);
        if self.json {
            println!("{report}");
            return Ok(());
        }
        let lines = report.as_object().into_iter().flatten();
        for (key, value) in lines.filter(|(_, value)| !value.is_null()) {
            println!("{key:<16} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        Ok(())
    }
}

/// What is known of a bundle before anything of it runs, as one JSON object.
pub(crate) fn describe(examination: &Examination) -> serde_json::Value {
    let kind = serde_json::to_value(examination.kind()).unwrap_or_default();
    let (graph, recipe) = match &examination.content {
        Content::Native { graph, recipe } => (graph.as_ref(), recipe.as_ref()),
        Content::Python => (None, None),
    };
    json!({
        "accepted": true,
        "kind": kind,
        "archive": examination.bundle.archive().to_string(),
        "files": examination.bundle.files().len(),
        "native": examination.bundle.is_native(),
        "target": examination.target(),
        "family": examination.family().map(|family| family.to_string()),
        "parameters": graph.map(graph::parameters),
        "layers": graph.map(graph::layers),
        "flops_per_token": graph.map(graph::flops_per_token),
        "recipe": recipe.map(|recipe| recipe.digest().to_string()),
        "note": (!examination.bundle.is_native()).then_some("a bundle of Python is held until a validator has a sandbox"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::Kind;

    #[test]
    fn a_bundle_that_is_not_there_is_named() {
        let check = Check { bundle: "no/such/bundle".into(), json: false, smoke: false };
        let error = check.run().unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("no/such/bundle"));
    }
}
