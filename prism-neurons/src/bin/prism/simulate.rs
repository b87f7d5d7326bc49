//! `prism simulate`: what strategies earn under a policy.
use clap::{Args, ValueEnum};
use prism_core::{Error, Fault, Finite, Kind, Result, RewardPolicy, Seed, Standings};
use prism_eval::{
    lab::{Simulation, Strategy, WorldNumbers, simulate},
    policy::PrismPolicy,
    reward::{FrontierPools, OwnershipSplit},
};
use prism_neurons::store::Store;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Most bytes of a file of numbers.
const MOST: u64 = 1 << 20;

/// Play strategies against a reward policy, and print what each earns: its share of all that could be paid, what that cost,
/// its share per cost as a part of an honest discoverer's, and its profit: what it earns beyond the same miner with the
/// same ideas who shows them at once under one hotkey.
///
/// Exit codes: 0 done; 2 wrong arguments; 3 a number out of range, or with --strict a dishonest profit of more than 1 %.
#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// Plan, score and reward numbers, JSON; what is not there has its default.
    #[arg(long)]
    policy: Option<PathBuf>,
    /// What the world is like, JSON: ideas, noise, costs, cohorts.
    #[arg(long)]
    world: Option<PathBuf>,
    /// Which reward policy.
    #[arg(long, value_enum, default_value = "frontier")]
    reward: Reward,
    /// Which strategies, by name; all of them without it.
    #[arg(long, value_delimiter = ',')]
    strategies: Vec<Strategy>,
    /// Cohorts in a world.
    #[arg(long)]
    cohorts: Option<u32>,
    /// Worlds for each strategy.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    runs: u32,
    /// Word that all draws follow from.
    #[arg(long, default_value = "prism")]
    seed: String,
    /// Begin with what a validator has on record: its database. Without --policy, also under its newest settled numbers.
    #[arg(long)]
    store: Option<PathBuf>,
    /// Refuse a dishonest profit of more than 1 % of an honest discoverer's reward.
    #[arg(long)]
    strict: bool,
    /// Say what the strategies do.
    #[arg(long)]
    explain: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reward {
    /// Pools that pay increments on the frontier.
    Frontier,
    /// The first version's proportional split, for comparison.
    Ownership,
}

impl Simulate {
    pub(crate) async fn run(self) -> Result<()> {
        if self.explain {
            for strategy in Strategy::ALL {
                println!("{:<19}{}", strategy.name(), strategy.about());
            }
            return Ok(());
        }
        let mut simulation = Simulation::new(Seed::of("prism/simulate/1", &[self.seed.as_bytes()]));
        simulation.worlds = self.runs;
        if let Some(path) = &self.store {
            let recorded = recorded(path).await?;
            simulation.start = recorded.standings;
            simulation.policy.score = recorded.score.unwrap_or(simulation.policy.score);
            simulation.policy.reward = recorded.reward.unwrap_or(simulation.policy.reward);
        }
        if let Some(path) = &self.policy {
            simulation.policy = read::<PrismPolicy>(path)?;
        }
        if let Some(path) = &self.world {
            simulation.world = read::<WorldNumbers>(path)?;
        }
        if let Some(cohorts) = self.cohorts {
            simulation.world.cohorts = cohorts;
        }
        if !self.strategies.is_empty() {
            simulation.strategies.clone_from(&self.strategies);
        }
        let policy: Box<dyn RewardPolicy> = match self.reward {
            Reward::Frontier => Box::new(FrontierPools),
            Reward::Ownership => Box::new(OwnershipSplit),
        };
        let table = tokio::task::spawn_blocking(move || simulate(&simulation, &*policy)).await;
        let table = table.map_err(|error| Error::bug("the simulation ended early").because(error))??;
        if self.json {
            println!("{}", serde_json::to_string(&table).map_err(|e| Error::bug("table is not JSON").because(e))?);
        } else {
            println!("{table}");
        }
        let most = Finite::new(0.01).unwrap_or_default();
        match table.worst() {
            Some(row) if self.strict && row.profit.mean > most => {
                let profit = 100.0 * row.profit.mean.get();
                let text =
                    format!("{} earns {profit:.1} % of an honest discoverer's reward beyond its due", row.strategy);
                Err(Error::new(Kind::Refused, Fault::Policy, text))
            }
            _ => Ok(()),
        }
    }
}

/// What a validator has on record.
struct Recorded {
    standings: Standings,
    score: Option<prism_eval::policy::ScoreNumbers>,
    reward: Option<prism_eval::policy::RewardNumbers>,
}

async fn recorded(path: &Path) -> Result<Recorded> {
    let store = Store::beside(path)?;
    let newest = store.cohorts(64).await?.into_iter().find(|cohort| cohort.settled_at.is_some());
    let numbers = newest.and_then(|cohort| cohort.policy).map(|policy| policy.numbers);
    let score = numbers.as_ref().map(prism_eval::policy::ScoreNumbers::from_numbers).transpose()?;
    let reward = numbers.as_ref().map(prism_eval::policy::RewardNumbers::from_numbers).transpose()?;
    Ok(Recorded { standings: store.standings().await?, score, reward })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = super::wallet::read(path, MOST)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::new(Kind::Invalid, Fault::Validator, format!("{}: {error}", path.display())))
}
