//! What strategies earned, side by side.
use super::{Simulation, game::Outcome, strategy::Strategy};
use prism_core::{Digest, Finite};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A mean over worlds with its 95 % confidence interval (normal).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: Finite,
    /// Its lower bound.
    pub low: Finite,
    /// Its upper bound.
    pub high: Finite,
}

impl Spread {
    fn of(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        let error = 1.96 * (squares / (count - 1.0) / count).sqrt();
        let finite = |value: f64| Finite::new(value).unwrap_or_default();
        Self { mean: finite(mean), low: finite(mean - error), high: finite(mean + error) }
    }
}

/// One strategy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Which.
    pub strategy: Strategy,
    /// Whether it is what the subnet is there for.
    pub honest: bool,
    /// Part of all that could be paid that it got.
    pub share: Spread,
    /// What that took, in the world's unit.
    pub cost: Finite,
    /// Its share per cost, as a part of an honest discoverer's.
    pub per_cost: Spread,
    /// What it earned beyond its honest twin in the same world, at the cost of an honest discoverer and as a part of what
    /// one earns.
    pub profit: Spread,
    /// What the honest ones around it earned, as a part of what they earn beside its honest twin.
    pub others: Spread,
}

/// What strategies earned under one policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The reward policy's name.
    pub reward: String,
    /// Digest of the policy's numbers.
    pub policy: Digest,
    /// Worlds for each strategy.
    pub worlds: u32,
    /// Cohorts in each.
    pub cohorts: u32,
    /// The honest discoverer first.
    pub rows: Vec<Row>,
    /// Part of an allocation that is in the newest published one already: what a validator who copies weights gets right.
    pub copied: Spread,
}

impl Table {
    pub(super) fn new(reward: &str, simulation: &Simulation, honest: &[Outcome]) -> Self {
        let copied: Vec<f64> = honest.iter().map(|outcome| outcome.copied).collect();
        let mut table = Self {
            reward: reward.to_owned(),
            policy: simulation.policy.digest(),
            worlds: u32::try_from(honest.len()).unwrap_or(u32::MAX),
            cohorts: simulation.world.cohorts,
            rows: Vec::new(),
            copied: Spread::of(&copied),
        };
        table.push(Strategy::HonestDiscoverer, honest, honest);
        table
    }

    /// Adds a strategy that was played in the same worlds as the honest discoverer.
    pub(super) fn push(&mut self, strategy: Strategy, played: &[Outcome], honest: &[Outcome]) {
        let mean = |of: fn(&Outcome) -> f64, outcomes: &[Outcome]| {
            outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64
        };
        // Never zero: registering costs something, and without any honest reward there is nothing to compare with.
        let due = (mean(|o| o.share, honest) / mean(|o| o.cost, honest)).max(f64::MIN_POSITIVE);
        let cost = mean(|o| o.cost, played).max(f64::MIN_POSITIVE);
        let beside = mean(|o| o.others, honest).max(f64::MIN_POSITIVE);
        let ideas = strategy.ideas() == super::strategy::Ideas::Architectures;
        let twins = played.iter().zip(honest);
        let profit = |(own, twin): (&Outcome, &Outcome)| {
            let twin = if ideas { twin.share } else { 0.0 };
            if strategy.is_honest() { 0.0 } else { (own.share - twin) / cost / due }
        };
        let finite = |value: f64| Finite::new(value).unwrap_or_default();
        self.rows.push(Row {
            strategy,
            honest: strategy.is_honest(),
            share: Spread::of(&played.iter().map(|o| o.share).collect::<Vec<_>>()),
            cost: finite(cost),
            per_cost: Spread::of(&played.iter().map(|o| o.share / cost / due).collect::<Vec<_>>()),
            profit: Spread::of(&twins.map(profit).collect::<Vec<_>>()),
            others: Spread::of(&played.iter().map(|o| o.others / beside).collect::<Vec<_>>()),
        });
    }

    /// The dishonest strategy with the highest mean profit.
    #[must_use]
    pub fn worst(&self) -> Option<&Row> {
        self.rows.iter().filter(|row| !row.honest).max_by_key(|row| row.profit.mean)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reward, worlds, cohorts, .. } = self;
        writeln!(f, "reward policy `{reward}`, {worlds} worlds of {cohorts} cohorts; intervals are of 95 %")?;
        let percent = |spread: &Spread| {
            let [mean, low, high] = [spread.mean, spread.low, spread.high].map(|value| 100.0 * value.get());
            format!("{mean:.1} ({low:.1} to {high:.1})")
        };
        let (share, due, profit) = ("share, %", "per cost, % of due", "profit, %");
        writeln!(f, "{:<19}{share:>24}{:>8}{due:>26}{profit:>26}", "strategy", "cost")?;
        for row in &self.rows {
            let (share, due, profit) = (percent(&row.share), percent(&row.per_cost), percent(&row.profit));
            let profit = if row.honest { "-".to_owned() } else { profit };
            writeln!(f, "{:<19}{share:>24}{:>8.1}{due:>26}{profit:>26}", row.strategy, row.cost.get())?;
        }
        let copied = percent(&self.copied);
        write!(f, "a validator that copies the newest published weights gets {copied} % of them right")
    }
}
