//! What is run.
use super::{
    error::PolicyError,
    probe::{Axis, Probe, Trial},
};
use crate::{
    graph::{Context, Limits, MAX_SOURCE_BYTES},
    measure::Cadence,
};
use prism_core::{
    Digest, Finite,
    plan::{Budget, RunMode},
    submission::SubmissionKind,
};
use serde::{Deserialize, Serialize};

/// Budget, measuring, grid and limits of the runs of a cohort. Equal for all that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanPolicy {
    /// Which kind of plan this is. Tasks and cards say so; rewards follow from the official ones alone, which are held to
    /// what a reward needs: three seeds, a window that no smuggled table reaches, a confirmation with more tokens.
    pub mode: RunMode,
    /// Optimizer steps of a run.
    pub steps: u64,
    /// Rows per step.
    pub batch: u32,
    /// Predicted positions per row.
    pub sequence: u32,
    /// Wall clock of a run, milliseconds.
    pub wall_millis: u64,
    /// Processor time of a run, milliseconds.
    pub cpu_millis: u64,
    /// Resident memory of a run, bytes.
    pub peak_memory: u64,
    /// Measuring points; the first is before any training.
    pub points: u32,
    /// Training tokens after which points count. Five hundred times the cap on what a guest receives, so that a table
    /// smuggled in the source can't matter; less is for runs that move no money.
    pub window_tokens: u64,
    /// Rows per point.
    pub rows: u32,
    /// Audited rows of a point that counts. An auditor predicts all rows of a point anyway, so fewer save nothing but
    /// the bytes of their logits.
    pub audits: u32,
    /// Held-out rows after training, each of another document.
    pub held_out_rows: u32,
    /// An audited position off by more than this many bits fails the run.
    pub alarm_bits: Finite,
    /// Multiples of the reference recipe's learning rate that are tried, ascending. The best counts, for submissions
    /// and baselines alike: otherwise a reparametrised weight is a better architecture.
    pub rates: Vec<Finite>,
    /// Further multiples, ascending, each tried only while the highest before it is the best: a grid whose edge is the
    /// best does not contain the optimum, and what moves the effective rate beyond it would pass for an idea.
    pub climb: Vec<Finite>,
    /// Further seeds of the run that counts.
    pub repeats: u32,
    /// Optimizer steps per batch at which baselines are measured besides one, ascending: submissions that work more are
    /// compared with baselines that do.
    pub work: Vec<u32>,
    /// At which other sizes an architecture is measured too.
    pub probes: Vec<Probe>,
    /// What a submission's other runs wait for; none, and everything is run.
    pub trial: Option<Trial>,
    /// Times the tokens with which a title holder, and who waits to become one, is measured besides; 1: not at all.
    pub confirmation_factor: u32,
    /// Processor hours, counted at their limits, that the plans of one cohort's candidates may take: whoever is beyond
    /// them, by lots, waits for the next cohort. 0: no bound.
    pub cohort_hours: u64,
    /// `ctx.max_layers`.
    pub max_layers: u32,
    /// `ctx.max_parameters`.
    pub max_parameters: u64,
    /// Most floating-point operations per trained token that an architecture may take.
    pub max_flops_per_token: u64,
    /// Most bytes, compressed, of what a guest receives of a bundle of Python.
    pub max_source_bytes: u64,
}

impl Default for PlanPolicy {
    /// The official proxy. 25 million tokens, of which the later half counts: from five hundred times the cap of 24 KiB on. Nine hundred audits
    /// there: who claims too little at so few positions that one run in twenty escapes them gains 0.03 bits a byte in
    /// that one, and needs it twice. Predicting the rows is one or two percent of the work.
    fn default() -> Self {
        let probe = |axis, percent| Probe { axis, factor: 2, percent };
        Self {
            mode: RunMode::GpuProxyEval,
            steps: 3_000,
            batch: 32,
            sequence: 256,
            wall_millis: 4 * 3_600_000,
            cpu_millis: 64 * 3_600_000,
            peak_memory: 16 << 30,
            points: 15,
            window_tokens: 500 * 24 * 1024,
            rows: 128,
            audits: 128,
            held_out_rows: 256,
            alarm_bits: fixed(0.5),
            rates: vec![fixed(1.0), fixed(3.0), fixed(10.0)],
            climb: vec![fixed(30.0), fixed(100.0)],
            repeats: 2,
            work: vec![2, 4],
            probes: vec![
                probe(Axis::Size, 50),
                probe(Axis::Depth, 50),
                probe(Axis::Sequence, 50),
                probe(Axis::Batch, 50),
            ],
            trial: Some(Trial::default()),
            confirmation_factor: 4,
            cohort_hours: 100_000,
            max_layers: 96,
            max_parameters: 150_000_000,
            max_flops_per_token: 10_000_000_000,
            max_source_bytes: MAX_SOURCE_BYTES,
        }
    }
}

impl PlanPolicy {
    /// The plan of a mode.
    #[must_use]
    pub fn of_mode(mode: RunMode) -> Self {
        match mode {
            RunMode::LocalCpuSmoke => Self::smoke(),
            RunMode::GpuProxyEval => Self::default(),
            RunMode::FullScaleEval => Self::full_scale(),
        }
    }

    /// Four times the proxy's tokens, of longer rows, so that three quarters count, and two days a run.
    #[must_use]
    pub fn full_scale() -> Self {
        Self {
            mode: RunMode::FullScaleEval,
            steps: 6_000,
            cohort_hours: 1_000_000,
            sequence: 512,
            wall_millis: 48 * 3_600_000,
            cpu_millis: 768 * 3_600_000,
            window_tokens: 25_000_000,
            ..Self::default()
        }
    }

    /// Seconds instead of hours: fewer steps and points, no repeats, no rate beyond the grid, no trial and no larger
    /// budget, small models only.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            mode: RunMode::LocalCpuSmoke,
            steps: 300,
            batch: 16,
            sequence: 64,
            wall_millis: 120_000,
            cpu_millis: 240_000,
            peak_memory: 1 << 30,
            points: 8,
            window_tokens: 0,
            rows: 32,
            audits: 32,
            held_out_rows: 32,
            climb: vec![],
            repeats: 0,
            work: vec![2],
            probes: [Axis::Size, Axis::Batch].map(|axis| Probe { axis, factor: 2, percent: 50 }).into(),
            trial: None,
            confirmation_factor: 1,
            cohort_hours: 0,
            max_layers: 8,
            max_parameters: 2_000_000,
            max_flops_per_token: 20_000_000,
            ..Self::default()
        }
    }

    /// Checks that the plan can be carried out, and that its numbers stay in bounds that a machine can hold.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), PolicyError> {
        let official = self.mode.is_official();
        let rules = [
            (self.steps > 0 && self.batch > 0 && self.rows > 0, "steps, batch and rows must be above zero"),
            (self.sequence > 1 && self.sequence <= 1 << 20, "sequence must be 2 to 1048576"),
            (self.tokens().is_some(), "steps times batch times sequence overflows"),
            (self.points > 0 && u64::from(self.points) <= self.steps, "points must be 1 to steps"),
            (self.points <= 10_000, "points must be at most 10000"),
            (
                self.tokens().is_some_and(|tokens| self.window_tokens < tokens),
                "window_tokens must be below the tokens of a run",
            ),
            (self.audits <= self.rows, "audits must be at most rows: no row is audited twice"),
            (self.alarm_bits > Finite::ZERO, "alarm_bits must be above zero"),
            (!self.rates.is_empty() && self.rates.len() <= 16, "there must be 1 to 16 rates"),
            (self.rates.iter().all(|rate| *rate > Finite::ZERO), "rates must be above zero"),
            (self.climb.len() <= 16, "there must be at most 16 rates to climb"),
            (self.ladder().is_sorted_by(|a, b| a < b), "rates must be ascending"),
            (self.work.is_sorted_by(|a, b| a < b), "steps per batch must be ascending"),
            (self.work.iter().all(|steps| (2..=64).contains(steps)), "steps per batch must be 2 to 64"),
            (self.repeats <= 64, "repeats must be at most 64"),
            (self.wall_millis > 0 && self.cpu_millis > 0 && self.peak_memory > 0, "limits must be above zero"),
            (self.max_layers > 0 && self.max_parameters > 0, "max_layers and max_parameters must be above zero"),
            (self.max_flops_per_token > 0, "max_flops_per_token must be above zero"),
            (self.max_source_bytes > 0, "max_source_bytes must be above zero"),
            (self.probes.len() <= 16, "there must be at most 16 probes"),
            (self.probes.iter().all(|probe| (2..=16).contains(&probe.factor)), "factors of probes must be 2 to 16"),
            (self.probes.iter().all(|probe| (1..=100).contains(&probe.percent)), "percent of a probe must be 1 to 100"),
            (
                self.probes.is_sorted_by(|a, b| (a.axis, a.factor) < (b.axis, b.factor)),
                "probes must be ascending by axis and factor, each once",
            ),
            (
                self.probes.iter().all(|p| p.axis != Axis::Sequence || self.batch.is_multiple_of(p.factor)),
                "batch must be a multiple of the factor of a probe of sequence, which has as many times fewer rows",
            ),
            (self.trial.is_none_or(|trial| (1..=50).contains(&trial.percent)), "percent of the trial must be 1 to 50"),
            (
                self.trial.is_none_or(|trial| trial.z >= Finite::ZERO && trial.z <= fixed(10.0)),
                "z of the trial must be 0 to 10",
            ),
            (
                self.trial.is_none_or(|t| t.seed_deviation >= Finite::ZERO && t.seed_deviation <= Finite::ONE),
                "seed_deviation of the trial must be 0 to 1",
            ),
            (
                !official || u128::from(self.window_tokens) >= 500 * u128::from(self.max_source_bytes),
                "window_tokens must be at least 500 times max_source_bytes in an official mode",
            ),
            (!official || self.repeats >= 2, "repeats must be at least 2 in an official mode: three seeds"),
            (!official || self.confirmation_factor >= 2, "confirmation_factor must be at least 2 in an official mode"),
            ((1..=64).contains(&self.confirmation_factor), "confirmation_factor must be 1 to 64"),
            (self.large_budget().is_some(), "tokens or limits of the confirmation overflow"),
            (
                self.cohort_millis().is_none_or(|budget| self.most_cpu_millis(SubmissionKind::Full) <= budget),
                "cohort_hours must hold the plan of one submission at its limits",
            ),
            (
                self.budget().is_ok_and(|budget| self.can_measure(&budget)),
                "a run has too few steps for its points, or for one that counts",
            ),
            (
                self.trial_budget().is_none_or(|budget| self.can_measure(&budget)),
                "the trial has too few steps for a point that counts",
            ),
            (
                self.probes.iter().all(|p| self.probe_budget(*p).is_some_and(|budget| self.can_measure(&budget))),
                "a probe has too few steps for a point that counts",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(PolicyError::Plan(rule)),
            None => Ok(()),
        }
    }

    /// Training tokens of a run, if they can be counted.
    #[must_use]
    pub fn tokens(&self) -> Option<u64> {
        self.steps.checked_mul(u64::from(self.batch))?.checked_mul(u64::from(self.sequence))
    }

    /// All rates that may be tried, ascending.
    pub fn ladder(&self) -> impl Iterator<Item = Finite> {
        self.rates.iter().chain(&self.climb).copied()
    }

    /// What each run may spend.
    ///
    /// # Errors
    /// When the tokens overflow.
    pub fn budget(&self) -> Result<Budget, PolicyError> {
        let tokens = self.tokens().ok_or(PolicyError::Plan("steps times batch times sequence overflows"))?;
        Ok(Budget {
            tokens,
            steps: self.steps,
            batch: self.batch,
            sequence: self.sequence,
            wall_millis: self.wall_millis,
            cpu_millis: self.cpu_millis,
            peak_memory: self.peak_memory,
        })
    }

    /// What a run of a probe may spend: the base tokens, times its part of them. Time grows with the work of a token;
    /// memory does not.
    #[must_use]
    pub fn probe_budget(&self, probe: Probe) -> Option<Budget> {
        let (mut steps, mut batch, mut sequence) = (hundredths(self.steps, probe.percent), self.batch, self.sequence);
        match probe.axis {
            Axis::Size | Axis::Depth => {}
            Axis::Sequence => {
                sequence = sequence.checked_mul(probe.factor)?;
                batch = batch.checked_div(probe.factor)?;
            }
            Axis::Batch => {
                batch = batch.checked_mul(probe.factor)?;
                steps = steps.checked_div(u64::from(probe.factor))?;
            }
        }
        self.budget_of(steps, batch, sequence, [probe.work(), u64::from(probe.percent)])
    }

    /// What a run of the trial may spend, where there is one.
    #[must_use]
    pub fn trial_budget(&self) -> Option<Budget> {
        let trial = self.trial?;
        let percent = u64::from(trial.percent);
        self.budget_of(hundredths(self.steps, trial.percent), self.batch, self.sequence, [1, percent])
    }

    /// What a run that confirms a title may spend.
    #[must_use]
    pub fn large_budget(&self) -> Option<Budget> {
        let factor = u64::from(self.confirmation_factor);
        self.budget_of(self.steps.checked_mul(factor)?, self.batch, self.sequence, [factor, 100])
    }

    /// `work` times and `percent` hundredths of the limits on time, and a tenth of them at least: a start takes its own.
    fn budget_of(&self, steps: u64, batch: u32, sequence: u32, [work, percent]: [u64; 2]) -> Option<Budget> {
        let limit = |millis: u64| Some(millis.checked_mul(work)?.checked_mul(percent.max(10))? / 100);
        Some(Budget {
            tokens: steps.checked_mul(u64::from(batch))?.checked_mul(u64::from(sequence))?,
            steps,
            batch,
            sequence,
            wall_millis: limit(self.wall_millis)?.max(1),
            cpu_millis: limit(self.cpu_millis)?.max(1),
            peak_memory: self.peak_memory,
        })
    }

    /// Processor milliseconds that the plan of a candidate takes at most, at the limits of its runs.
    #[must_use]
    pub fn most_cpu_millis(&self, kind: SubmissionKind) -> u64 {
        let recipes = u64::from(kind.brings_recipe());
        let repeats = u64::from(self.repeats).saturating_mul(1 + recipes);
        let base = (self.rates.len() as u64 + self.climb.len() as u64 + recipes).saturating_add(repeats);
        let trial = self.trial_budget().map_or(0, |budget| budget.cpu_millis);
        let trials = trial.saturating_mul(self.rates.len() as u64 + recipes);
        let probes = self.probes.iter().filter(|_| kind.brings_architecture());
        let probes =
            probes.filter_map(|probe| Some(self.probe_budget(*probe)?.cpu_millis)).fold(0, u64::saturating_add);
        self.cpu_millis.saturating_mul(base).saturating_add(trials).saturating_add(probes)
    }

    /// What the candidates' plans of a cohort may take, if that is bounded.
    #[must_use]
    pub fn cohort_millis(&self) -> Option<u64> {
        (self.cohort_hours > 0).then(|| self.cohort_hours.saturating_mul(3_600_000))
    }

    /// Steps that the rows of one point take.
    fn span(&self, budget: &Budget) -> u64 {
        u64::from(self.rows).div_ceil(u64::from(budget.batch.max(1)))
    }

    /// Whether a point counts wherever the cohort's draw puts the last one, and all have room for their rows.
    fn can_measure(&self, budget: &Budget) -> bool {
        let (cadence, span) = (self.cadence(budget), self.span(budget));
        let Some(last) = budget.steps.checked_sub(span) else { return false };
        let earliest = match last.checked_div(u64::from(cadence.points).saturating_sub(1)) {
            None => Some(0),
            Some(stretch) => stretch.checked_sub(span).and_then(|slack| last.checked_sub(slack.min(stretch / 2))),
        };
        let per_step = u64::from(budget.batch).saturating_mul(u64::from(budget.sequence)).max(1);
        earliest.is_some_and(|earliest| earliest >= cadence.window_tokens.div_ceil(per_step))
    }

    /// How often and how much is measured in a run of this budget. A short run has as many points as fit, and what counts
    /// of it is the same part of its tokens as at the base: it moves no advantage that is paid. A longer one counts from
    /// the same token on.
    #[must_use]
    pub fn cadence(&self, budget: &Budget) -> Cadence {
        let fit = (budget.steps / (self.span(budget) + 1)).max(1);
        let window = match self.tokens() {
            Some(tokens) if budget.tokens < tokens => {
                let part = u128::from(self.window_tokens) * u128::from(budget.tokens) / u128::from(tokens.max(1));
                u64::try_from(part).unwrap_or(self.window_tokens)
            }
            _ => self.window_tokens,
        };
        let short = budget.steps < self.steps;
        Cadence {
            points: if short { self.points.min(u32::try_from(fit).unwrap_or(self.points)) } else { self.points },
            window_tokens: window,
            rows: self.rows,
            audits: self.audits,
            held_out_rows: self.held_out_rows,
            alarm_bits: self.alarm_bits,
        }
    }

    /// What an architecture may depend on at a probe. The ceilings stay: a family must keep them at every size.
    #[must_use]
    pub fn probe_context(&self, probe: Probe, vocabulary: u32) -> Context {
        let base = self.context(vocabulary);
        match probe.axis {
            Axis::Size => Context { width_factor: probe.factor, ..base },
            Axis::Depth => Context { depth_factor: probe.factor, ..base },
            Axis::Sequence => Context { sequence_length: self.sequence.saturating_mul(probe.factor), ..base },
            Axis::Batch => base,
        }
    }

    /// What an architecture is held to at a probe.
    #[must_use]
    pub fn probe_limits(&self, probe: Probe) -> Limits {
        let batch = self.probe_budget(probe).map_or(self.batch, |budget| budget.batch);
        Limits { batch, ..self.limits() }
    }

    /// What an architecture of the base size may depend on.
    #[must_use]
    pub fn context(&self, vocabulary: u32) -> Context {
        let (max_layers, max_parameters) = (self.max_layers, self.max_parameters);
        Context { max_layers, max_parameters, ..Context::new(vocabulary, self.sequence) }
    }

    /// What an architecture is held to before anything of it is allocated.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            parameters: self.max_parameters,
            layers: self.max_layers,
            flops_per_token: self.max_flops_per_token,
            peak_bytes: self.peak_memory,
            batch: self.batch,
            source_bytes: self.max_source_bytes,
            ..Limits::default()
        }
    }

    /// The digest that every task carries.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Numbers are finite by type: there is no value that JSON can't carry.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

fn hundredths(steps: u64, percent: u32) -> u64 {
    u64::try_from(u128::from(steps) * u128::from(percent) / 100).unwrap_or(steps)
}

fn fixed(value: f64) -> Finite {
    Finite::new(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::baselines;
    use prism_core::Seed;
    use proptest::prelude::*;

    #[test]
    fn a_plan_that_can_not_be_carried_out_is_refused_with_the_rule() {
        let refused = |change: fn(&mut PlanPolicy)| {
            let mut plan = PlanPolicy::smoke();
            change(&mut plan);
            plan.check().unwrap_err().to_string()
        };
        assert_eq!(refused(|p| p.steps = 0), "policy of runs: steps, batch and rows must be above zero");
        assert_eq!(refused(|p| p.points = 301), "policy of runs: points must be 1 to steps");
        assert_eq!(refused(|p| p.steps = u64::MAX), "policy of runs: steps times batch times sequence overflows");
        assert_eq!(refused(|p| p.rates.reverse()), "policy of runs: rates must be ascending");
        assert_eq!(refused(|p| p.climb = vec![fixed(10.0)]), "policy of runs: rates must be ascending");
        assert_eq!(refused(|p| p.rates.clear()), "policy of runs: there must be 1 to 16 rates");
        assert_eq!(refused(|p| p.audits = 33), "policy of runs: audits must be at most rows: no row is audited twice");
    }

    /// Small, and the vocabularies of Llama 2 and GPT-2. That of Llama 3 needs twice the memory of a run.
    #[test]
    fn the_published_baselines_fit_the_official_plan_in_the_tokens_of_customary_files() {
        let plan = PlanPolicy::default();
        for vocabulary in [512, 32_000, 50_257] {
            for name in baselines::NAMES {
                let graph = baselines::spec(name).unwrap().unwrap();
                let graph = graph.resolve(&plan.context(vocabulary), &plan.limits()).unwrap();
                assert_eq!(graph.vocabulary, vocabulary, "{name}");
            }
        }
    }

    #[test]
    fn every_number_of_probes_trial_and_confirmation_is_bounded_by_a_named_rule() {
        let refused = |change: fn(&mut PlanPolicy)| {
            let mut plan = PlanPolicy::default();
            change(&mut plan);
            plan.check().unwrap_err().to_string()
        };
        let rule = |text: &str| format!("policy of runs: {text}");
        assert_eq!(refused(|p| p.probes[0].factor = 17), rule("factors of probes must be 2 to 16"));
        assert_eq!(refused(|p| p.probes[0].percent = 0), rule("percent of a probe must be 1 to 100"));
        assert_eq!(refused(|p| p.probes.swap(0, 1)), rule("probes must be ascending by axis and factor, each once"));
        assert_eq!(
            refused(|p| p.probes = vec![p.probes[0]; 2]),
            rule("probes must be ascending by axis and factor, each once")
        );
        assert_eq!(refused(|p| p.probes = vec![p.probes[0]; 17]), rule("there must be at most 16 probes"));
        assert!(refused(|p| p.probes[2].factor = 3).contains("batch must be a multiple of the factor"));
        let short = |p: &mut PlanPolicy| (p.rows, p.probes[3].percent) = (1024, 1);
        assert_eq!(refused(short), rule("a probe has too few steps for a point that counts"));
        let base = rule("a run has too few steps for its points, or for one that counts");
        assert_eq!(refused(|p| p.points = 1000), base);
        assert_eq!(refused(|p| p.window_tokens = p.tokens().unwrap() - 1), base);
        assert_eq!(refused(|p| p.rows = 2048), rule("the trial has too few steps for a point that counts"));
        let trial = |p: &mut PlanPolicy, change: fn(&mut Trial)| p.trial.iter_mut().for_each(change);
        let refused_trial = |change: fn(&mut Trial)| {
            let mut plan = PlanPolicy::default();
            trial(&mut plan, change);
            plan.check().unwrap_err().to_string()
        };
        assert_eq!(refused_trial(|t| t.percent = 51), rule("percent of the trial must be 1 to 50"));
        assert_eq!(refused_trial(|t| t.z = fixed(11.0)), rule("z of the trial must be 0 to 10"));
        assert_eq!(
            refused_trial(|t| t.seed_deviation = fixed(-1.0)),
            rule("seed_deviation of the trial must be 0 to 1")
        );
        assert_eq!(refused(|p| p.confirmation_factor = 65), rule("confirmation_factor must be 1 to 64"));
        let official = |text: &str| rule(&format!("{text} in an official mode"));
        assert_eq!(refused(|p| p.confirmation_factor = 1), official("confirmation_factor must be at least 2"));
        assert_eq!(refused(|p| p.repeats = 1), official("repeats must be at least 2") + ": three seeds");
        let early = "window_tokens must be at least 500 times max_source_bytes";
        assert_eq!(refused(|p| p.window_tokens -= 1), official(early));
        assert_eq!(
            refused(|p| p.cohort_hours = 1),
            rule("cohort_hours must hold the plan of one submission at its limits")
        );
        assert_eq!(refused(|p| p.cpu_millis = u64::MAX), rule("tokens or limits of the confirmation overflow"));
    }

    proptest! {
        #[test]
        fn a_budget_that_passes_the_check_can_be_measured_in_every_cohort(
            steps in 1u64..600, batch in 1u32..40, rows in 1u32..64, points in 1u32..16, window in 0u64..100, salt: u64,
        ) {
            let plan = PlanPolicy { batch, rows, audits: rows, points, steps: 600, ..PlanPolicy::smoke() };
            let window_tokens = plan.tokens().unwrap() * window / 100;
            let plan = PlanPolicy { window_tokens, ..plan };
            let budget = plan.budget_of(steps, batch, plan.sequence, [1, 100]).unwrap();
            if plan.can_measure(&budget) {
                let made = plan.cadence(&budget).plan(&budget, &Seed::of("test", &[&salt.to_le_bytes()]));
                prop_assert!(made.is_ok(), "{made:?}");
            }
        }
    }

    #[test]
    fn the_published_baselines_fit_all_shipped_plans_at_every_probe() {
        for plan in RunMode::ALL.map(PlanPolicy::of_mode) {
            for name in baselines::NAMES {
                let graph = baselines::spec(name).unwrap().unwrap();
                graph.resolve(&plan.context(256), &plan.limits()).unwrap();
                for probe in &plan.probes {
                    graph.resolve(&plan.probe_context(*probe, 256), &plan.probe_limits(*probe)).unwrap();
                }
            }
        }
        let dwarf = PlanPolicy { max_parameters: 10_000, ..PlanPolicy::smoke() };
        let graph = baselines::spec("gpt").unwrap().unwrap();
        assert!(graph.resolve(&dwarf.context(256), &dwarf.limits()).is_err());
    }
}
