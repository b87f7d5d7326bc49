//! From tasks to evidence: the plan of runs.
use super::{
    Validator,
    material::{BUNDLE, GRAPH, HOOKS, RECIPE, probe_name},
};
use crate::store::cohorts::{CohortRecord, CohortStatus, Entrant, EntrantRole};
use prism_core::{Cancel, Error, Result, SubmissionId};
use prism_eval::{
    plan_of_runs::{self, Architecture, Cohort, Measured, Role, Training, plan_further, plan_of_runs},
    policy::PlanPolicy,
};

/// What of an entrant is measured.
fn measured(policy: &PlanPolicy, entrant: &Entrant) -> Result<plan_of_runs::Entrant> {
    let material = |name: &str| entrant.material.get(name).copied();
    let declared = material(GRAPH).map(Architecture::Declared);
    let architecture = declared.or(material(BUNDLE).map(Architecture::Code));
    let architecture =
        architecture.ok_or_else(|| Error::bug(format!("entrant {} has no architecture", entrant.submission)))?;
    let training = material(RECIPE).map(Training::Declared).or(material(HOOKS).map(Training::Code));
    let role = match entrant.role {
        EntrantRole::Candidate => Role::Candidate,
        EntrantRole::Baseline => Role::Baseline,
        EntrantRole::Incumbent => Role::Incumbent,
    };
    let probes = policy.probes.iter().filter_map(|probe| Some((*probe, material(&probe_name(probe))?))).collect();
    Ok(plan_of_runs::Entrant { role, kind: entrant.kind, architecture, training, probes })
}

impl Validator {
    /// Plans the runs of the seeded cohort and carries out those that are due. Whether anything was done.
    pub(super) async fn evaluate_step(&self, cancel: &Cancel) -> Result<bool> {
        let seeded = self.0.store.unsettled_cohort().await?.filter(|c| c.status == CohortStatus::Seeded);
        let Some(cohort) = seeded else { return Ok(false) };
        let entrants = self.0.store.entrants(cohort.number).await?;
        let shared = self.shared_by(&cohort).await?;
        let mut field = Vec::new();
        for entrant in &entrants {
            field.push((entrant.submission, measured(self.plan_policy(&cohort), entrant)?));
        }
        let mut plans = Vec::new();
        for (submission, entrant) in &field {
            plans.push((*submission, plan_of_runs(self.plan_policy(&cohort), &shared, entrant)?));
        }
        let mut planned = self.0.store.plan_runs(cohort.number, plans).await?;
        let mut done = self.carry_out(&cohort, cancel).await?;
        loop {
            let further = self.plan_further(&cohort, &shared, &field).await?;
            if further == 0 {
                return Ok(planned + done > 0);
            }
            planned += further;
            done += self.carry_out(&cohort, cancel).await?;
        }
    }

    /// The plan that a cohort was seeded under: rows and configuration that came since don't change what is measured.
    fn plan_policy<'a>(&'a self, cohort: &'a CohortRecord) -> &'a PlanPolicy {
        &self.policy_of(cohort).plan
    }

    async fn shared_by(&self, cohort: &CohortRecord) -> Result<Cohort> {
        let Some(seed) = cohort.seed else {
            return Err(Error::bug(format!("cohort {} is seeded and has no seed", cohort.number)));
        };
        Ok(Cohort::new(seed, self.0.data.clone(), self.plan_policy(cohort), &*self.0.artifacts)
            .await?
            .under(self.policy_of(cohort).digest()))
    }

    /// Plans what follows from the evidence so far. How many runs are new.
    async fn plan_further(
        &self,
        cohort: &CohortRecord,
        shared: &Cohort,
        field: &[(SubmissionId, plan_of_runs::Entrant)],
    ) -> Result<usize> {
        let evidence = self.0.store.evidence(cohort.number).await?;
        let mut measured = Vec::new();
        for (submission, entrant) in field {
            let runs = evidence.get(submission).map(Vec::as_slice).unwrap_or_default();
            measured.push(Measured { entrant, runs });
        }
        let tasks = plan_further(self.plan_policy(cohort), shared, &measured)?;
        let plans = field.iter().map(|(submission, _)| *submission).zip(tasks).collect();
        Ok(self.0.store.plan_runs(cohort.number, plans).await?)
    }
}
