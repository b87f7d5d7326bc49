//! What is true in a world, and what a cohort sees of it.
use crate::policy::PrismPolicy;
use prism_core::{
    Error, FamilyId, Fault, Finite, Kind, Result, Seed, evidence::Estimate, score::Track, seed::Draws,
    standings::Class, submission::SubmissionKind,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the world is like. Bits are bits per byte; costs are in any one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldNumbers {
    /// Cohorts in a world.
    pub cohorts: u32,
    /// Blocks in a cohort; 7200 are a day.
    pub cohort_blocks: u32,
    /// Honest discoverers besides whoever is tried.
    pub discoverers: u32,
    /// Honest tuners of recipes besides whoever is tried.
    pub tuners: u32,
    /// The chance that somebody with ideas has one in a cohort.
    pub idea_rate: Finite,
    /// The least that an idea saves, bits.
    pub idea_low: Finite,
    /// The most that an idea saves, bits.
    pub idea_high: Finite,
    /// Standard error of the rows, bits: 0.0031, as measured with 0.9M parameters.
    pub row_error: Finite,
    /// Standard deviation of what a recipe gains on another family, bits.
    pub transfer_deviation: Finite,
    /// Cohorts from the confirmation of a title to its publication with the revealed weights.
    pub sealed_cohorts: u32,
    /// Submissions of a hotkey that a cohort measures.
    pub quota: u32,
    /// What registering a hotkey costs.
    pub registration_cost: Finite,
    /// What a submission costs.
    pub evaluation_cost: Finite,
    /// What having an idea costs.
    pub research_cost: Finite,
}

fn number(value: f64) -> Finite {
    Finite::new(value).unwrap_or_default()
}

impl Default for WorldNumbers {
    /// Four months of daily cohorts, three or four ideas from each who has any. An idea costs as much as forty submissions,
    /// so that who only submits does so daily for what one or two ideas take.
    fn default() -> Self {
        Self {
            cohorts: 120,
            cohort_blocks: 7200,
            discoverers: 2,
            tuners: 1,
            idea_rate: number(0.03),
            idea_low: number(0.03),
            idea_high: number(0.18),
            row_error: number(0.0031),
            transfer_deviation: number(0.01),
            sealed_cohorts: 1,
            quota: 3,
            registration_cost: number(1.0),
            evaluation_cost: number(0.05),
            research_cost: number(2.0),
        }
    }
}

impl WorldNumbers {
    /// Checks that a world can be played.
    ///
    /// # Errors
    /// The first number out of range, by name.
    pub fn check(&self) -> Result<()> {
        let within = |value: Finite, most: f64| (0.0..=most).contains(&value.get());
        let costs = [self.registration_cost, self.evaluation_cost, self.research_cost];
        let rules = [
            (self.cohorts > 0 && self.cohorts <= 100_000, "cohorts must be 1 to 100000"),
            (self.cohort_blocks > 0, "cohort_blocks must be above zero"),
            (self.discoverers <= 64 && self.tuners <= 64, "discoverers and tuners must be at most 64"),
            (within(self.idea_rate, 1.0), "idea_rate must be 0 to 1"),
            (within(self.idea_low, 8.0) && self.idea_low <= self.idea_high, "idea_low must be 0 to idea_high"),
            (within(self.idea_high, 8.0), "idea_high must be 0 to 8"),
            (within(self.row_error, 8.0), "row_error must be 0 to 8"),
            (within(self.transfer_deviation, 8.0), "transfer_deviation must be 0 to 8"),
            (self.quota > 0 && self.quota <= 1000, "quota must be 1 to 1000"),
            (costs.into_iter().all(|cost| within(cost, 1e9)), "costs must be 0 to 1000000000"),
            (self.registration_cost > Finite::ZERO, "registration_cost must be above zero"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            None => Ok(()),
            Some((_, rule)) => Err(Error::new(Kind::Invalid, Fault::Validator, format!("world of the lab: {rule}"))),
        }
    }
}

/// An architecture, as it is and as it is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Architecture {
    /// Whoever builds the same has the same.
    pub(super) family: FamilyId,
    /// What it saves when trained well.
    pub(super) potential: f64,
    /// What it saves under the reference recipe: less, where somebody made it worse on purpose.
    pub(super) shown: f64,
    pub(super) class: Class,
}

/// A recipe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Recipe {
    pub(super) id: u64,
    /// What it saves against the tuned reference, on published families.
    pub(super) gain: f64,
}

impl Recipe {
    /// A recipe known by some digest, never the reference.
    pub(super) fn of(digest: &[u8; 32], gain: f64) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = *digest;
        Self { id: u64::from_le_bytes([a, b, c, d, e, f, g, h]).max(1), gain }
    }
}

/// What is submitted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bundle {
    pub(super) kind: SubmissionKind,
    pub(super) architecture: Architecture,
    pub(super) recipe: Option<Recipe>,
}

/// The published baseline.
pub(super) fn baseline() -> Architecture {
    let family = FamilyId::of_parts("prism/lab/family/1", &[b"published"]);
    Architecture { family, potential: 0.0, shown: 0.0, class: Class::Attention }
}

/// The reference recipe.
pub(super) const REFERENCE: Recipe = Recipe { id: 0, gain: 0.0 };

/// Standard normal draws (Box, Muller 1958), one of each pair.
pub(super) fn normal(draws: &mut Draws) -> f64 {
    let (radius, angle) = (uniform(draws), uniform(draws));
    (-2.0 * (1.0 - radius).ln()).sqrt() * (2.0 * std::f64::consts::PI * angle).cos()
}

/// In `[0, 1)`.
pub(super) fn uniform(draws: &mut Draws) -> f64 {
    (draws.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Runs of one thing in one cohort: their mean error and the variance of that mean, as the scorer estimates it.
#[derive(Debug, Clone, Copy)]
struct Seeds {
    error: f64,
    variance: f64,
}

/// What a cohort measures. Equal work is one task: who submits it and under which name changes nothing.
#[derive(Debug)]
pub(super) struct Bench {
    seed: Seed,
    runs: u32,
    deviation: f64,
    rows: f64,
    transfer: f64,
    /// Whether a confirmation is one run at a larger budget.
    large: bool,
    seen: BTreeMap<Measured, Seeds>,
}

/// A cohort, whether it confirms, a family and a recipe: what is run once, whoever sends it.
type Measured = (u64, bool, FamilyId, Option<u64>);

impl Bench {
    pub(super) fn new(seed: Seed, policy: &PrismPolicy, world: &WorldNumbers) -> Self {
        Self {
            seed,
            runs: policy.plan.repeats.saturating_add(1),
            deviation: policy.score.seed_deviation.get(),
            rows: world.row_error.get(),
            transfer: world.transfer_deviation.get(),
            large: policy.plan.confirmation_factor > 1,
            seen: BTreeMap::new(),
        }
    }

    /// The advantages of a bundle in a cohort, on the tracks that it brings. A confirmation counts as much as it shows at
    /// the larger budget, where there is one run of everybody.
    pub(super) fn measure(&mut self, cohort: u64, confirms: bool, bundle: &Bundle) -> BTreeMap<Track, Estimate> {
        let Bundle { kind, architecture, recipe } = bundle;
        let family = architecture.family;
        let large = confirms && self.large;
        let base = self.seeds((cohort, large, baseline().family, None));
        let own = self.seeds((cohort, large, family, None));
        let mut tracks = BTreeMap::new();
        if kind.brings_architecture() {
            let rows = self.rows_of((cohort, large, family, None));
            tracks.insert(Track::Architecture, self.estimate(architecture.shown, own, base, rows));
        }
        if let Some(recipe) = recipe.filter(|_| kind.brings_recipe()) {
            // Against the tuned reference on the same family or the best baseline, whichever is harder.
            let anchor = if architecture.shown >= 0.0 { own } else { base };
            let gain = architecture.potential + recipe.gain - architecture.shown.max(0.0);
            let gain = gain + self.transfer_of(family, recipe);
            let subject = self.seeds((cohort, large, family, Some(recipe.id)));
            let rows = self.rows_of((cohort, large, family, Some(recipe.id)));
            tracks.insert(Track::Training, self.estimate(gain, subject, anchor, rows));
        }
        tracks
    }

    fn estimate(&self, truth: f64, subject: Seeds, other: Seeds, rows: f64) -> Estimate {
        let variance = subject.variance + other.variance + self.rows * self.rows;
        Estimate { mean: number(truth + subject.error - other.error + rows), standard_error: number(variance.sqrt()) }
    }

    fn draws(&self, purpose: &str, (cohort, large, family, recipe): Measured) -> Draws {
        let (number, flags) = (recipe.unwrap_or_default().to_le_bytes(), [u8::from(recipe.is_some()), u8::from(large)]);
        let parts: [&[u8]; 6] = [&self.seed.0.0, purpose.as_bytes(), &cohort.to_le_bytes(), &family.0, &number, &flags];
        Seed::of("prism/lab/1", &parts).draws()
    }

    fn seeds(&mut self, measured: Measured) -> Seeds {
        if let Some(seeds) = self.seen.get(&measured) {
            return *seeds;
        }
        let count = if measured.1 { 1 } else { self.runs };
        let mut draws = self.draws("seeds", measured);
        let runs: Vec<f64> = (0..count).map(|_| self.deviation * normal(&mut draws)).collect();
        let (few, count) = (count < 3, f64::from(count));
        let error = runs.iter().sum::<f64>() / count;
        let of_runs = runs.iter().map(|run| (run - error) * (run - error)).sum::<f64>() / (count - 1.0);
        // As the scorer's: what the baselines' repeats show is the least.
        let pooled = self.deviation * self.deviation;
        let variance = if few { pooled } else { of_runs.max(pooled) };
        let seeds = Seeds { error, variance: variance / count };
        // Only what is measured together is asked for again.
        self.seen.retain(|(cohort, ..), _| *cohort == measured.0);
        self.seen.insert(measured, seeds);
        seeds
    }

    fn rows_of(&self, measured: Measured) -> f64 {
        if (measured.2, measured.3) == (baseline().family, None) {
            return 0.0;
        }
        self.rows * normal(&mut self.draws("rows", measured))
    }

    /// What a recipe gains more on this family than on published ones; the same in every cohort.
    fn transfer_of(&self, family: FamilyId, recipe: Recipe) -> f64 {
        if family == baseline().family || recipe.id == REFERENCE.id {
            return 0.0;
        }
        self.transfer * normal(&mut self.draws("transfer", (0, false, family, Some(recipe.id))))
    }
}
