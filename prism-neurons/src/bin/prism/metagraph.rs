//! `prism metagraph`: who is on a subnet, and its rules.
use super::chain::{self, ChainArgs};
use clap::Args;
use prism_chain::metagraph::{Hyperparameters, Member, Metagraph as Members};
use prism_core::{Block, Result};
use prism_neurons::config::Overrides;
use serde_json::json;

/// Show who is on a subnet, and its rules.
#[derive(Debug, Args)]
pub(crate) struct Metagraph {
    #[command(flatten)]
    chain: ChainArgs,
    /// The block; the newest final one without it.
    #[arg(long)]
    block: Option<u64>,
    /// Only those who may set weights.
    #[arg(long)]
    validators: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Metagraph {
    pub(crate) async fn run(self) -> Result<()> {
        let config = self.chain.over(Overrides::default())?;
        let client = chain::connect(&config).await?;
        let netuid = config.chain.netuid;
        let mut members = client.metagraph(netuid, self.block.map(Block)).await?;
        // At the very same block.
        let rules = client.hyperparameters(netuid, Some(members.block)).await?;
        let epochs = client.epochs(netuid, Some(members.block)).await?;
        let next_epoch = epochs.next_epoch_block(members.block, netuid);
        if self.validators {
            members.members.retain(|member| member.validator_permit);
        }
        if self.json {
            let epoch = epochs.epoch(members.block, netuid);
            println!(
                "{}",
                json!({
                    "netuid": netuid,
                    "block": members.block,
                    "epoch": epoch,
                    "next_epoch_block": next_epoch,
                    "hyperparameters": rules,
                    "members": members.members,
                })
            );
            return Ok(());
        }
        print(&members, &rules, next_epoch);
        Ok(())
    }
}

fn print(members: &Members, rules: &Hyperparameters, next_epoch: Option<Block>) {
    let form = if rules.commit_reveal {
        format!("weights are committed and revealed {} epochs later", rules.reveal_period)
    } else {
        "weights are set directly".to_owned()
    };
    let next = next_epoch.map_or_else(|| "no epoch comes".to_owned(), |block| format!("next epoch at block {block}"));
    println!("subnet {} at block {}: {} of {} slots", members.netuid, members.block, rules.neurons, rules.max_neurons);
    println!("tempo {}, {next}; {form}", rules.tempo);
    println!(
        "{} blocks between two vectors, {} weights at least, version key {}, {} mechanisms; registration {} rao{}",
        rules.weights_rate_limit,
        rules.min_allowed_weights,
        rules.weights_version_key,
        rules.mechanisms,
        rules.burn,
        if rules.registration_allowed { "" } else { ", closed" }
    );
    println!(
        "{:>5} {:<48} {:>16} {:<9} {:>9} {:>9} {:>14} {:>10} axon",
        "uid", "hotkey", "stake", "permit", "incentive", "dividends", "emission", "updated"
    );
    for member in &members.members {
        println!("{}", line(member, members.block));
    }
}

fn line(member: &Member, now: Block) -> String {
    let permit = match (member.validator_permit, member.active) {
        (true, true) => "active",
        (true, false) => "inactive",
        (false, _) => "-",
    };
    let share = |of: u16| format!("{:.4}", f64::from(of) / f64::from(u16::MAX));
    // Whole units of 1e-9.
    let coins = |amount: u64| format!("{}.{:04}", amount / 1_000_000_000, amount % 1_000_000_000 / 100_000);
    let axon = member.axon.map_or_else(|| "-".to_owned(), |announced| announced.axon.address.to_string());
    format!(
        "{:>5} {:<48} {:>16} {permit:<9} {:>9} {:>9} {:>14} {:>10} {axon}",
        member.uid.0,
        member.hotkey.ss58(),
        coins(member.stake),
        share(member.incentive),
        share(member.dividends),
        coins(member.emission),
        format!("-{}", now.0.saturating_sub(member.last_update.0)),
    )
}
