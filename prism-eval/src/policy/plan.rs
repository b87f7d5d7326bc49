//! What is run.
use super::error::PolicyError;
use crate::graph::{Context, Limits, MAX_SOURCE_BYTES};
use prism_core::{Digest, Finite, plan::Budget};
use serde::{Deserialize, Serialize};

/// Budget, measuring, grid and limits of the runs of a cohort. Equal for all that are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlanPolicy {
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
    /// 25 million tokens, of which the later half counts: from five hundred times the cap of 24 KiB on. Nine hundred audits
    /// there: who claims too little at so few positions that one run in twenty escapes them gains 0.03 bits a byte in
    /// that one, and needs it twice. Predicting the rows is one or two percent of the work.
    fn default() -> Self {
        Self {
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
            max_layers: 96,
            max_parameters: 150_000_000,
            max_flops_per_token: 10_000_000_000,
            max_source_bytes: MAX_SOURCE_BYTES,
        }
    }
}

impl PlanPolicy {
    /// Seconds instead of hours: fewer steps and points, no repeats, no rate beyond the grid, small models only.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
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

fn fixed(value: f64) -> Finite {
    Finite::new(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::baselines;

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

    /// Vocabularies of GPT-2, Llama 2, Llama 3 and the largest that a tokenizer's file may have.
    #[test]
    fn the_published_baselines_fit_the_official_plan_in_the_tokens_of_customary_files() {
        let plan = PlanPolicy::default();
        for vocabulary in [512, 32_000, 50_257, 128_256, 1 << 18] {
            for name in baselines::NAMES {
                let graph = baselines::spec(name).unwrap().unwrap();
                let graph = graph.resolve(&plan.context(vocabulary), &plan.limits()).unwrap();
                assert_eq!(graph.vocabulary, vocabulary, "{name}");
            }
        }
    }

    #[test]
    fn the_published_baselines_fit_both_shipped_plans() {
        for plan in [PlanPolicy::default(), PlanPolicy::smoke()] {
            for name in baselines::NAMES {
                let graph = baselines::spec(name).unwrap().unwrap();
                graph.resolve(&plan.context(256), &plan.limits()).unwrap();
            }
        }
        let dwarf = PlanPolicy { max_parameters: 10_000, ..PlanPolicy::smoke() };
        let graph = baselines::spec("gpt").unwrap().unwrap();
        assert!(graph.resolve(&dwarf.context(256), &dwarf.limits()).is_err());
    }
}
