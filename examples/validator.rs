//! A validator of forty lines: the parts, composed. Against a development chain in this process, so that it runs anywhere;
//! give `ChainConfig::new` a node's address to run it for real.
#![allow(clippy::print_stdout)]
use prism_chain::{
    client::{ChainClient, ChainConfig},
    devnet::{BlockPace, Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
    signer::Keypair,
    view::SubtensorView,
    weights::{SetterConfig, SubtensorWeightSetter},
};
use prism_core::{Cancel, Error, MechanismId, Netuid, artifacts::MemoryArtifacts};
use prism_eval::{data, policy::PrismPolicy, trainer::NativeTrainer};
use prism_neurons::{
    intake::{IntakeLimits, IntakeSource},
    store::Store,
    validator::{CohortRule, SeedRule, Validator},
};
use std::{sync::Arc, time::Duration};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let key = Keypair::from_uri("//Validator")?;
    let hotkey = key.hotkey();
    let neuron = GenesisNeuron { hotkey, coldkey: [1; 32], stake: 1_000_000_000, permit: true };
    let subnet = SubnetConfig { neurons: vec![neuron], ..SubnetConfig::default() };
    let block = Duration::from_millis(200);
    let config =
        DevnetConfig { pace: BlockPace::Every(block), slot: block, subnets: vec![subnet], ..DevnetConfig::default() };
    let devnet = Devnet::start(config).await?;

    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await?;
    let store = Store::in_memory()?;
    let corpus = data::fixture::stand_in()?;
    let mut setter = SetterConfig::default();
    setter.burn_hotkey = Some(hotkey);
    let validator = Validator::builder()
        .subnet(Netuid(1), MechanismId(0))
        .chain(SubtensorView::new(client.clone()))
        .source(IntakeSource::new(store.clone()))
        .store(store.clone())
        .artifacts(Arc::new(MemoryArtifacts::new()))
        .trainer(NativeTrainer::new(Arc::clone(&corpus)))
        .data(corpus.data_ref())
        .weight_setter(SubtensorWeightSetter::new(client, Arc::new(key), setter))
        .policy(PrismPolicy::smoke())
        .cohorts(CohortRule { blocks: 20, seed: SeedRule::Chain { delay: 3 } })
        .build()?;

    // A real validator runs until it is told to stop; this one for two seconds.
    let cancel = Cancel::new();
    let anywhere = ([127, 0, 0, 1], 0).into();
    let address = validator.listen(anywhere, hotkey, IntakeLimits::default(), &cancel).await?;
    println!("submissions are taken at http://{address}");
    let stop = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cancel.cancel();
        Ok(())
    };
    tokio::try_join!(validator.run(&cancel), stop)?;
    println!("cohort {} is open", store.open_cohort(prism_core::Block(0)).await?.number);
    Ok(())
}
