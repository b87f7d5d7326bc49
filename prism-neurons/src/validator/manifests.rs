//! From a settled cohort to run manifests: what each entrant was measured as, kept by digest.
use super::{
    Validator,
    material::{BUNDLE, GRAPH},
    policy::policy_digest,
};
use crate::store::{
    cohorts::{CohortRecord, Entrant, EntrantRole},
    manifests::{ManifestDigests, ManifestRecord},
    policy::Numbers,
};
use prism_core::{
    Digest, Error, Evidence, Result, ScoreCard, SubmissionId, artifacts::ArtifactsExt as _, scorer::Candidate,
};
use prism_eval::{
    graph::{MAX_CANONICAL_BYTES, ResolvedGraph},
    run_manifest::{
        self, CohortReference, Devices, PolicyReference, RUN_LOG_FILE, Record, RunManifest,
        architecture::{Architecture, Known, Source},
        counting_run,
    },
};
use std::collections::BTreeMap;

/// Cohorts that are written at once.
const BATCH: usize = 8;

/// What a cohort's manifests share.
struct Settled {
    cohort: CohortRecord,
    policy: PolicyReference,
    numbers: Numbers,
    entrants: Vec<Entrant>,
    evidence: BTreeMap<SubmissionId, Vec<Evidence>>,
    cards: BTreeMap<SubmissionId, ScoreCard>,
}

impl Settled {
    fn candidate<'a>(&'a self, entrant: &Entrant) -> Candidate<'a> {
        Candidate {
            submission: entrant.submission,
            kind: entrant.kind,
            precedence: entrant.precedence,
            family: entrant.family,
            runs: self.evidence.get(&entrant.submission).map(Vec::as_slice).unwrap_or_default(),
            incumbent: entrant.role == EntrantRole::Incumbent,
        }
    }
}

impl Validator {
    /// Writes the manifests of settled cohorts that have none. One that can't be written is on record with its reason and
    /// in nobody's way: it is logged, and neither scores nor weights wait for it.
    pub(super) async fn write_manifests(&self) {
        if let Err(error) = self.write_unwritten().await {
            tracing::error!(error = error.chain(), "run manifests not written; the next settled cohort tries again");
        }
    }

    async fn write_unwritten(&self) -> Result<()> {
        let mut written = 0;
        // One that can't be read comes again after the next settlement, and is in no other's way.
        for number in self.0.store.unwritten_cohorts(usize::MAX >> 1).await? {
            match self.write_cohort(number).await {
                Ok(()) => written += 1,
                Err(error) => tracing::error!(cohort = number, error = error.chain(), "run manifests not written"),
            }
            if written == BATCH {
                break;
            }
        }
        Ok(())
    }

    async fn write_cohort(&self, number: u64) -> Result<()> {
        let settled = self.settled(number).await?;
        let mut records = Vec::new();
        for entrant in &settled.entrants {
            let files = self.manifest_of(&settled, entrant).await.map_err(|error| {
                let (submission, error) = (entrant.submission, error.chain());
                tracing::error!(%submission, error, "run manifest not written");
                error
            });
            records.push(ManifestRecord { submission: entrant.submission, family: entrant.family, files });
        }
        Ok(self.0.store.record_manifests(number, records, self.0.clock.now()).await?)
    }

    async fn settled(&self, number: u64) -> Result<Settled> {
        let store = &self.0.store;
        let cohort = store.cohort(number).await?;
        let cohort = cohort.ok_or_else(|| Error::bug(format!("settled cohort {number} is not on record")))?;
        let policy = cohort.policy.clone().unwrap_or_default();
        let cards = store.cards(number).await?.into_iter().map(|card| (card.submission, card)).collect();
        Ok(Settled {
            policy: PolicyReference {
                digest: policy_digest(&self.0.policy, &policy),
                version: policy.version,
                plan: self.policy_of(&cohort).plan.digest(),
            },
            entrants: store.entrants(number).await?,
            evidence: store.evidence(number).await?,
            numbers: policy.numbers,
            cards,
            cohort,
        })
    }

    async fn manifest_of(&self, settled: &Settled, entrant: &Entrant) -> Result<ManifestDigests> {
        let architecture = self.architecture(entrant).await?;
        let owner = self.0.store.family(&entrant.family.to_string()).await?.and_then(|family| family.owner);
        let Some(card) = settled.cards.get(&entrant.submission) else {
            let version = [GRAPH, BUNDLE].iter().find_map(|name| entrant.material.get(*name));
            let known = Known {
                family: entrant.family,
                version: version.copied().unwrap_or(Digest(entrant.family.0)),
                policy: settled.policy.digest,
                owner,
                kind: "baseline",
                training: None,
            };
            return self.keep(architecture.files(&known)?).await;
        };
        let seed = settled.cohort.seed.ok_or_else(|| Error::bug("a settled cohort has no seed"))?;
        let candidate = settled.candidate(entrant);
        let others = settled.entrants.iter().filter(|other| other.role == EntrantRole::Baseline);
        let baselines: Vec<Candidate<'_>> = others.map(|other| settled.candidate(other)).collect();
        let run = counting_run(&candidate);
        let wall_clock = match run.filter(|run| run.resumed == 0) {
            Some(run) => self.0.store.run_span(run.task.id()).await?,
            None => None,
        };
        let plan = run.map_or(settled.policy.plan, |run| run.task.policy);
        let record = Record {
            candidate: &candidate,
            card,
            baselines: &baselines,
            cohort: CohortReference {
                number: settled.cohort.number,
                seed: seed.0,
                confirmation: entrant.role == EntrantRole::Incumbent,
            },
            policy: PolicyReference { plan, ..settled.policy.clone() },
            dataset: &self.0.dataset,
            architecture: &architecture,
            owner,
            devices: run.map(Devices::of).unwrap_or_default(),
            wall_clock,
            numbers: &settled.numbers,
        };
        self.keep(RunManifest::of(&record)?.files).await
    }

    /// The architecture that an entrant is measured with: its own, or its family's.
    async fn architecture(&self, entrant: &Entrant) -> Result<Architecture> {
        let architecture = match (entrant.material.get(GRAPH), entrant.material.get(BUNDLE)) {
            (Some(graph), _) => {
                let bytes = self.0.artifacts.read(*graph, MAX_CANONICAL_BYTES as u64).await?;
                let graph = ResolvedGraph::from_canonical_bytes(&bytes, &self.limits())?;
                Architecture::of(Source::Declared(&graph))
            }
            (None, Some(bundle)) => Architecture::of(Source::Python(&self.guest_architecture(*bundle).await?)),
            (None, None) => {
                return Err(Error::bug(format!("entrant {} has no architecture", entrant.submission)));
            }
        };
        Ok(architecture?)
    }

    async fn keep(&self, files: BTreeMap<&'static str, Vec<u8>>) -> Result<ManifestDigests> {
        let mut kept = BTreeMap::new();
        for (name, bytes) in files {
            kept.insert(name, self.0.artifacts.keep_bytes(&bytes).await?);
        }
        let of = |name: &'static str| kept.get(name).copied();
        let must = |name| of(name).ok_or_else(|| Error::bug(format!("manifest without its {name}")));
        Ok(ManifestDigests {
            manifest: of(run_manifest::FILE),
            graph: must(run_manifest::architecture::GRAPH_FILE)?,
            metadata: must(run_manifest::architecture::METADATA_FILE)?,
            mermaid: must(run_manifest::architecture::MERMAID_FILE)?,
            run_log: of(RUN_LOG_FILE),
        })
    }
}
