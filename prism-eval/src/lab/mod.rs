//! The incentive lab: what strategies earn under a policy.
//!
//! Worlds of cohorts are played out with miners who have ideas and miners who would rather not. What ideas are worth is drawn,
//! and so is all noise, as the house measures it: seeds, rows, the error that is estimated from three seeds, and the one
//! seed of a confirmation at the larger budget. From the score card on nothing is made up: [`Standings`], confirmation,
//! title holders and the [`RewardPolicy`] are the validator's own.
//!
//! A strategy's *profit* is what it earns beyond its honest twin: the same miner in the same world, with the same ideas and
//! the same luck, who shows them at once under one hotkey; who has no ideas stays idle. It is stated at equal cost, as a part
//! of what an honest discoverer earns. Worlds are drawn again and again, for a confidence interval.
//!
//! Not in the lab: what the tracks' advantages are made of (`tests/red_team.rs` and the scorer's tests), and rules of
//! identity: copies and variants are taken to pass every check for duplicates, so that the table says what money alone does.
//!
//! ```
//! use prism_core::Seed;
//! use prism_eval::lab::{Simulation, Strategy, simulate};
//! use prism_eval::reward::{FrontierPools, OwnershipSplit};
//! let few = Simulation { strategies: vec![Strategy::TrivialVariant], worlds: 4, ..Simulation::new(Seed::of("lab", &[])) };
//! let under_frontier = simulate(&few, &FrontierPools)?;
//! let under_ownership = simulate(&few, &OwnershipSplit)?;
//! assert!(under_frontier.rows[1].profit.mean < under_ownership.rows[1].profit.mean);
//! # Ok::<_, prism_core::Error>(())
//! ```
mod game;
mod miner;
mod strategy;
mod table;
#[cfg(test)]
mod tests;
mod world;

pub use strategy::{Strategy, UnknownStrategy};
pub use table::{Row, Spread, Table};
pub use world::WorldNumbers;

use crate::policy::PrismPolicy;
use game::{Outcome, play};
use prism_core::{Result, RewardPolicy, Seed, Standings};

/// What is played.
#[derive(Debug, Clone)]
pub struct Simulation {
    /// Plan, score and reward numbers.
    pub policy: PrismPolicy,
    /// What the world is like.
    pub world: WorldNumbers,
    /// Who is tried; the honest discoverer always is, for he is what the others are compared with.
    pub strategies: Vec<Strategy>,
    /// Worlds for each strategy, at least two.
    pub worlds: u32,
    /// Root of all draws.
    pub seed: Seed,
    /// Showings on record when a world begins: of a validator, or none.
    pub start: Standings,
}

impl Simulation {
    /// All strategies under the default policy, from an empty record.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            policy: PrismPolicy::default(),
            world: WorldNumbers::default(),
            strategies: Strategy::ALL.to_vec(),
            worlds: 24,
            seed,
            start: Standings::new(),
        }
    }
}

/// Plays every strategy in the same worlds.
///
/// # Errors
/// A policy or a world with a number out of range; errors of the reward policy.
pub fn simulate(simulation: &Simulation, reward: &dyn RewardPolicy) -> Result<Table> {
    simulation.policy.check()?;
    simulation.world.check()?;
    let worlds = simulation.worlds.max(2);
    let played = |strategy: Strategy| -> Result<Vec<Outcome>> {
        (0..worlds).map(|world| play(simulation, strategy, world, reward)).collect()
    };
    let honest = played(Strategy::HonestDiscoverer)?;
    let mut table = Table::new(reward.name(), simulation, &honest);
    for strategy in &simulation.strategies {
        if *strategy != Strategy::HonestDiscoverer {
            table.push(*strategy, &played(*strategy)?, &honest);
        }
    }
    Ok(table)
}
