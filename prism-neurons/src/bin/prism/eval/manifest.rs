//! The run manifest of a measurement at home, and the files beside it, in a folder.
use super::{Bench, Subject};
use prism_core::{Error, Evidence, Fault, Kind, Result, ScoreCard, scorer::Candidate};
use prism_eval::{
    examination::{Content, Examination},
    graph, guest,
    policy::PrismPolicy,
    run_manifest::{
        CohortReference, DatasetRecord, Devices, PolicyReference, Record, RunManifest,
        architecture::{Architecture, Source},
        counting_run,
    },
};
use std::{fs, path::Path};

/// The number of the cohort that a word stands for.
const COHORT: u64 = 1;

/// What was measured at home.
#[derive(Debug)]
pub(super) struct Home<'a> {
    pub(super) examination: &'a Examination,
    pub(super) bench: &'a Bench,
    pub(super) submission: &'a Subject,
    pub(super) dataset: &'a DatasetRecord,
    pub(super) card: &'a ScoreCard,
    pub(super) runs: &'a [Evidence],
    pub(super) baselines: &'a [Candidate<'a>],
}

impl Home<'_> {
    /// Writes manifest, graph, metadata, flowchart and log into a folder, which is made if it isn't there.
    ///
    /// # Errors
    /// A folder that can't be written, and those of [`RunManifest::of`].
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let candidate = self.submission.candidate(self.runs);
        let run = counting_run(&candidate);
        let run = run.ok_or_else(|| Error::invalid("no run gave any evidence, so there is no manifest"))?;
        let policy: &PrismPolicy = self.bench.policy();
        let files = RunManifest::of(&Record {
            candidate: &candidate,
            card: self.card,
            baselines: self.baselines,
            cohort: CohortReference { number: COHORT, seed: run.task.cohort.0, confirmation: false },
            policy: PolicyReference { digest: policy.digest(), version: 0, plan: run.task.policy },
            dataset: self.dataset,
            architecture: &self.architecture()?,
            owner: None,
            devices: Devices::of(run),
            wall_clock: None,
            numbers: &policy.numbers(),
        })?;
        let failed = |e| {
            let text = format!("folder {} can't be written", folder.display());
            Error::new(Kind::Unavailable, Fault::Validator, text).because(e)
        };
        fs::create_dir_all(folder).map_err(failed)?;
        for (name, bytes) in files.files {
            fs::write(folder.join(name), bytes).map_err(failed)?;
        }
        Ok(())
    }

    /// The bundle's own architecture, or that of the published family that it trains.
    fn architecture(&self) -> Result<Architecture> {
        let (context, limits) = (self.bench.context(), self.bench.limits());
        let own = match &self.examination.content {
            Content::Native { graph, .. } => graph.as_ref().map(|graph| Architecture::of(Source::Declared(graph))),
            Content::Python(review) => {
                review.parts.architecture.as_ref().map(|part| Architecture::of(Source::Python(part)))
            }
        };
        if let Some(own) = own {
            return Ok(own?);
        }
        let target = self.examination.target().unwrap_or_default();
        if let Some(spec) = graph::baselines::spec(target) {
            return Ok(Architecture::of(Source::Declared(&spec?.resolve(&context, &limits)?))?);
        }
        match guest::baselines::architecture(target) {
            Some(part) => Ok(Architecture::of(Source::Python(&part?.0))?),
            None => Err(Error::bug("the family that was measured is no published one")),
        }
    }
}
