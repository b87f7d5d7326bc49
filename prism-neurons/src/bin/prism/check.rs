//! `prism check`: what a validator says about a bundle before it measures anything.
use clap::Args;
use prism_core::{
    Error, Result,
    reviewer::{Finding, Grade},
};
use prism_eval::{
    bundle::Bundle,
    examination::{Content, Examination, ExaminationError},
    graph::{self, GraphSpec},
    policy::{PlanPolicy, Probe},
    review::Review,
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
        let archive = match pack_folder(&self.bundle) {
            Ok(archive) => archive,
            Err(PackError::Bundle(error)) => return self.refuse(error.into(), &[]),
            Err(error) => return Err(error.into()),
        };
        let examination = match Examination::of(&archive, &context, &limits) {
            Ok(examination) => examination,
            Err(error) => {
                // One finding rejects; its author wants to see all of them.
                let review = Bundle::read(&archive).ok().and_then(|bundle| Review::of(&bundle, u64::MAX).ok());
                return self.refuse(error, &review.map(|review| review.findings).unwrap_or_default());
            }
        };
        let mut report = describe(&examination);
        if let (Some(report), Some(spec)) = (report.as_object_mut(), examination.bundle.graph()?) {
            report.insert("probes".into(), probes(&plan, &spec));
        }
        if self.json {
            println!("{report}");
            return Ok(());
        }
        let lines = report.as_object().into_iter().flatten();
        for (key, value) in lines.filter(|(key, value)| !value.is_null() && *key != "findings" && *key != "hooks") {
            println!("{key:<16} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        if let Content::Python(review) = &examination.content {
            for hook in &review.hooks {
                let unchecked = if hook.checked { "" } else { " (parameters unknown)" };
                println!("{:<16} {}:{} {}{unchecked}", "hook", hook.file, hook.line, hook.name);
            }
            print_findings(&review.findings);
        }
        Ok(())
    }

    fn refuse(&self, error: ExaminationError, findings: &[Finding]) -> Result<()> {
        if self.json {
            let (rule, reason) = (error.rule(), error.to_string());
            println!("{}", json!({ "accepted": false, "rule": rule, "reason": reason, "findings": findings }));
        } else {
            print_findings(findings);
        }
        Err(Error::from(error))
    }
}

fn print_findings(findings: &[Finding]) {
    for Finding { rule, file, line, text, grade } in findings {
        let grade = match grade {
            Grade::Note => "note",
            Grade::Suspicion => "suspicion",
            Grade::Proof => "proof",
        };
        println!("{grade:<16} {file}:{line} {rule}: {text}");
    }
}

/// What the scaling probes of a plan will find: the parameters at each, or why it is lost.
fn probes(plan: &PlanPolicy, spec: &GraphSpec) -> serde_json::Value {
    let at = |probe: &Probe| {
        let context = plan.probe_context(*probe, VOCABULARY);
        let found = match spec.resolve(&context, &plan.probe_limits(*probe).within(&context)) {
            Ok(graph) => json!(graph::parameters(&graph)),
            Err(error) => json!(format!("lost: {error}")),
        };
        (probe.to_string(), found)
    };
    plan.probes.iter().map(at).collect::<serde_json::Map<_, _>>().into()
}

/// What is known of a bundle before anything of it runs, as one JSON object.
pub(crate) fn describe(examination: &Examination) -> serde_json::Value {
    let kind = serde_json::to_value(examination.kind()).unwrap_or_default();
    let (graph, recipe, review) = match &examination.content {
        Content::Native { graph, recipe } => (graph.as_ref(), recipe.as_ref(), None),
        Content::Python(review) => (None, None, Some(review)),
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
        "variant": review.and_then(|review| review.variant).map(|variant| variant.to_string()),
        "compressed_bytes": review.map(|review| review.mass),
        "hooks": review.map(|review| &review.hooks),
        "findings": review.map(|review| &review.findings),
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
