//! From submissions to what is measured: unpacked, checked, reviewed, named. Nothing of them runs.
use super::{
    Validator,
    holds::BORDERLINE,
    material::{BUNDLE, GRAPH, HOOKS, RECIPE},
};
use crate::{
    intake::{IntakeError, Precheck},
    store::{
        duplicates::Provenance,
        holds::{Holding, Rulings},
        submissions::{Examined, Material, Reason, ReviewerFinding, SubmissionRecord},
    },
};
use async_trait::async_trait;
use prism_core::{
    Cancel, Error, Fault, Kind, Result, SubmissionId,
    artifacts::ArtifactsExt,
    observer::Event,
    reviewer::{Source, Verdict},
    submission::{Payload, SubmissionKind, SubmissionStatus},
};
use prism_eval::{
    bundle::MAX_WIRE_BYTES,
    duplicate::Action,
    examination::{Content, Examination},
    guest::GuestBundle,
    policy::{DuplicateNumbers, PrismPolicy, ReviewPolicy},
    review::Review,
};

/// Submissions that one step examines.
const BATCH: usize = 32;
/// The rule that holds bundles of Python.
pub(super) const NO_SANDBOX: &str = "sandbox.none";
/// What the miner reads meanwhile.
const WAITS: &str = "no sandbox yet: bundles of Python wait until a runtime is installed";
/// The rule that a recipe's target must be a family on record.
const UNKNOWN_FAMILY: &str = "family.unknown";

/// The rule that code trains Python only.
const LANGUAGE: &str = "family.language";
/// The rule that a bundle brings no more than the policy takes.
const TOO_MUCH: &str = "policy.artifact_limits";
/// The rule of a reviewer that failed: an error is not a pass.
pub(super) const REVIEW_FAILED: &str = "review.failed";
/// What its miner reads of a hold for what it resembles. Whose work, and how much, is in the report, for the operator:
/// whoever reads it could feel his way out of the band, and learn what others sent to an open cohort.
const RESEMBLES: &str = "resembles earlier work of another hotkey so much that an operator looks at it first";
/// Under which name the findings of [`prism_eval::review`] are kept.
const STATIC: &str = "static";

/// What an examination comes to.
enum Outcome {
    Passed(Examined),
    Rejected(Option<SubmissionKind>, Reason),
    Held(Holding),
}

fn rejected(kind: Option<SubmissionKind>, rule: &str, text: impl Into<String>) -> Outcome {
    Outcome::Rejected(kind, Reason::new(rule, text))
}

fn held(kind: SubmissionKind, rule: &str, text: impl Into<String>) -> Outcome {
    Outcome::Held(Holding { kind, reason: Reason::new(rule, text), expiry: None, provenance: None })
}

impl Validator {
    /// Examines what nobody has examined yet. Whether there was anything.
    pub(super) async fn examine_step(&self, cancel: &Cancel) -> Result<bool> {
        let records = self.0.store.unexamined(BATCH).await?;
        if records.is_empty() {
            return Ok(false);
        }
        let policy = self.read_policy().await?.policy;
        let numbers = DuplicateNumbers::from_numbers(&policy.numbers)?;
        let policy = policy.whole.as_deref().unwrap_or(&self.0.policy);
        for record in &records {
            let id = record.submission.id;
            let (outcome, findings) = self.examine(record, policy, &numbers, cancel).await?;
            let now = self.0.clock.now();
            match outcome {
                Outcome::Passed(examined) => {
                    self.0.observer.on(&Event::Phase { submission: id, phase: "examined" });
                    self.0.store.pass(id, examined, findings, now).await?;
                }
                Outcome::Rejected(kind, reason) => {
                    let status = SubmissionStatus::Rejected;
                    tracing::info!(submission = %id, rule = reason.rule, "submission rejected");
                    self.0.observer.on(&Event::Phase { submission: id, phase: status.as_str() });
                    self.0.store.refuse(id, status, kind, reason, findings, now).await?;
                }
                Outcome::Held(mut holding) => {
                    tracing::info!(submission = %id, rule = holding.reason.rule, "submission held");
                    self.0.observer.on(&Event::Phase { submission: id, phase: SubmissionStatus::Held.as_str() });
                    holding.expiry = self.expiry(&holding, &numbers, now);
                    self.0.store.hold(id, holding, findings, now).await?;
                }
            }
        }
        Ok(true)
    }

    async fn examine(
        &self,
        record: &SubmissionRecord,
        policy: &PrismPolicy,
        numbers: &DuplicateNumbers,
        cancel: &Cancel,
    ) -> Result<(Outcome, Vec<ReviewerFinding>)> {
        let id = record.submission.id;
        let Payload::Bundle { archive, .. } = record.submission.payload else {
            return Ok((rejected(None, "payload.published", "published models are not measured here"), Vec::new()));
        };
        let bytes = self.0.artifacts.read(archive, MAX_WIRE_BYTES as u64).await?;
        let examination = match Examination::of(&bytes, &self.context(), &self.limits()) {
            Ok(examination) => examination,
            Err(error) => return Ok((rejected(None, error.rule(), error.to_string()), Vec::new())),
        };
        let kind = examination.kind();
        if let Err(error) = policy.artifacts.admit(bytes.len() as u64, &examination.bundle) {
            return Ok((rejected(Some(kind), TOO_MUCH, error.to_string()), Vec::new()));
        }
        let mut rulings = self.0.store.rulings(id).await?;
        let (verdict, findings) = match self.review(id, &examination, &policy.review, cancel).await {
            Ok(reviewed) => reviewed,
            Err(error) if cancel.is_cancelled() => return Err(error),
            Err(error) if rulings.reviewed => {
                tracing::warn!(submission = %id, error = error.chain(), "reviewer failed; an operator looked instead");
                (Verdict::Pass, Vec::new())
            }
            // An error is not a pass.
            Err(error) => return Ok((held(kind, REVIEW_FAILED, error.chain()), Vec::new())),
        };
        let outcome = match verdict {
            Verdict::Reject(finding) => rejected(Some(kind), &finding.rule, place(&finding)),
            Verdict::Hold(finding) if !rulings.reviewed => held(kind, &finding.rule, place(&finding)),
            Verdict::Hold(_) | Verdict::Pass => self.name(&examination).await?,
        };
        let found = match &outcome {
            Outcome::Rejected(..) => None,
            Outcome::Passed(_) | Outcome::Held(_) => self.provenance(record, &examination, numbers).await?,
        };
        let (provenance, own) = found.map_or((None, Vec::new()), |(provenance, own)| (Some(provenance), own));
        // One may always tune what an operator cleared.
        if !rulings.compared
            && let Some(lent) = self.lent(&own).await?
        {
            rulings.compared = true;
            rulings.family = rulings.family.or(lent.family);
        }
        Ok((judged(outcome, provenance, &rulings), findings))
    }

    async fn review(
        &self,
        submission: SubmissionId,
        examination: &Examination,
        policy: &ReviewPolicy,
        cancel: &Cancel,
    ) -> Result<(Verdict, Vec<ReviewerFinding>)> {
        let files: Vec<(String, Vec<u8>)> =
            examination.bundle.files().iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect();
        let source = Source { submission, files: &files };
        let (mut judged, mut findings) = (Vec::new(), Vec::new());
        if let Content::Python(review) = &examination.content {
            judged.extend(review.findings.iter().map(|finding| (true, finding.clone())));
            findings.extend(review.findings.iter().map(|finding| (STATIC.to_owned(), finding.clone())));
        }
        for reviewer in &self.0.reviewers {
            for finding in reviewer.review(&source, cancel).await? {
                judged.push((reviewer.may_prove(), finding.clone()));
                findings.push((reviewer.name().to_owned(), finding));
            }
        }
        Ok((policy.verdict(&judged), findings))
    }

    /// Which family it belongs to and what is measured of it.
    async fn name(&self, examination: &Examination) -> Result<Outcome> {
        let kind = examination.kind();
        let (graph, recipe) = match &examination.content {
            Content::Native { graph, recipe } => (graph, recipe),
            Content::Python(_) if !self.takes_python() => return Ok(held(kind, NO_SANDBOX, WAITS)),
            Content::Python(review) => return self.name_python(examination, review).await,
        };
        let mut material = Material::new();
        if let Some(recipe) = recipe {
            let digest = self.0.artifacts.keep_bytes(&recipe.canonical_bytes()).await?;
            material.insert(RECIPE.to_owned(), digest);
        }
        if let (Some(graph), Some(family)) = (graph, examination.family()) {
            let digest = self.0.artifacts.keep_bytes(&graph.canonical_bytes()).await?;
            let founds = Some([(GRAPH.to_owned(), digest)].into());
            material.insert(GRAPH.to_owned(), digest);
            if let Some(spec) = examination.bundle.graph()? {
                material.extend(self.keep_probes(&spec).await?);
            }
            return Ok(Outcome::Passed(Examined { kind, family, material, founds, provenance: None }));
        }
        let target = examination.target().unwrap_or_default();
        let Some(family) = self.0.store.family(target).await? else {
            return Ok(rejected(Some(kind), UNKNOWN_FAMILY, unknown_family(target)));
        };
        // A declared recipe trains Python, too.
        for name in [GRAPH, BUNDLE] {
            material.extend(family.material.get_key_value(name).map(|(name, digest)| (name.clone(), *digest)));
        }
        if material.contains_key(BUNDLE) && !self.takes_python() {
            return Ok(held(kind, NO_SANDBOX, WAITS));
        }
        Ok(Outcome::Passed(Examined { kind, family: family.id, material, founds: None, provenance: None }))
    }

    async fn name_python(&self, examination: &Examination, review: &Review) -> Result<Outcome> {
        let kind = examination.kind();
        let mut material = Material::new();
        if let (Some(architecture), Some(family)) = (&review.parts.architecture, review.family) {
            let alone = GuestBundle { architecture: architecture.clone(), training: None };
            let digest = self.keep_guest(&alone).await?;
            let founds = Some([(BUNDLE.to_owned(), digest)].into());
            material.insert(BUNDLE.to_owned(), digest);
            if kind.brings_recipe() {
                let whole = GuestBundle { training: review.parts.training.clone(), ..alone };
                material.insert(HOOKS.to_owned(), self.keep_guest(&whole).await?);
            }
            return Ok(Outcome::Passed(Examined { kind, family, material, founds, provenance: None }));
        }
        let target = examination.target().unwrap_or_default();
        let Some(family) = self.0.store.family(target).await? else {
            return Ok(rejected(Some(kind), UNKNOWN_FAMILY, unknown_family(target)));
        };
        let Some(bundle) = family.material.get(BUNDLE).copied() else {
            let text = "the target family is declared, and only declared recipes train it";
            return Ok(rejected(Some(kind), LANGUAGE, text));
        };
        let architecture = self.guest_architecture(bundle).await?;
        let Some(whole) = review.parts.join(Some(&architecture)) else {
            return Err(Error::bug("a reviewed bundle of Python has no part that could run"));
        };
        material.insert(BUNDLE.to_owned(), bundle);
        material.insert(HOOKS.to_owned(), self.keep_guest(&whole).await?);
        Ok(Outcome::Passed(Examined { kind, family: family.id, material, founds: None, provenance: None }))
    }
}

/// What becomes of a named submission when what it resembles and what operators said is known.
fn judged(outcome: Outcome, provenance: Option<Provenance>, rulings: &Rulings) -> Outcome {
    let mut examined = match outcome {
        Outcome::Passed(examined) => examined,
        Outcome::Held(holding) => return Outcome::Held(Holding { provenance, ..holding }),
        Outcome::Rejected(..) => return outcome,
    };
    if let Some(Provenance { report, .. }) = &provenance
        && report.action == Action::Hold
        && !rulings.compared
    {
        let reason = Reason::new(BORDERLINE, RESEMBLES);
        return Outcome::Held(Holding { kind: examined.kind, reason, expiry: None, provenance });
    }
    if let Some(family) = rulings.family.filter(|_| examined.kind.brings_architecture()) {
        (examined.family, examined.founds) = (family, None);
    }
    let family = examined.family;
    examined.provenance = provenance.map(|provenance| Provenance { family, ..provenance });
    Outcome::Passed(examined)
}

fn place(finding: &prism_core::reviewer::Finding) -> String {
    match finding.line {
        0 => format!("{}: {}", finding.file, finding.text),
        line => format!("{}:{line}: {}", finding.file, finding.text),
    }
}

fn unknown_family(target: &str) -> String {
    let shown: String = target.escape_debug().take(80).collect();
    format!("`architecture_id` is {shown}, which is no family on record")
}

/// What the intake asks before it accepts: the same rules, so that a miner hears of a broken one at once.
#[async_trait]
impl Precheck for Validator {
    async fn check(&self, bundle: &[u8]) -> Result<SubmissionKind, IntakeError> {
        let refused = |rule: &str, message: String| IntakeError::Bundle { rule: rule.to_owned(), message };
        let (payload, bundle, context, limits) = (bundle.len(), bundle.to_vec(), self.context(), self.limits());
        // Unpacking and resolving take processor time that belongs on another thread than the requests.
        let examined = tokio::task::spawn_blocking(move || Examination::of(&bundle, &context, &limits)).await;
        let examined = examined.map_err(|error| {
            IntakeError::Check(Error::new(Kind::Bug, Fault::Validator, "examination ended early").because(error))
        })?;
        let examination = examined.map_err(|error| refused(error.rule(), error.to_string()))?;
        let policy = self.read_policy().await.map_err(IntakeError::Check)?.policy;
        let artifacts = policy.whole.as_ref().map_or(&self.0.policy.artifacts, |whole| &whole.artifacts);
        if let Err(error) = artifacts.admit(payload as u64, &examination.bundle) {
            return Err(refused(TOO_MUCH, error.to_string()));
        }
        if let Some(target) = examination.target() {
            let family = self.0.store.family(target).await.map_err(IntakeError::Store)?;
            if family.is_none() {
                return Err(refused(UNKNOWN_FAMILY, unknown_family(target)));
            }
        }
        Ok(examination.kind())
    }
}
