//! Another scorer in ten lines: it looks at nothing but held-out bits per byte. The rest of the validator stays as it is.
#![allow(clippy::print_stdout)]
use prism_chain::{
    client::{ChainClient, ChainConfig},
    devnet::{BlockPace, Devnet, DevnetConfig, GenesisNeuron, SubnetConfig, SubnetOwner},
    signer::Keypair,
    view::SubtensorView,
    weights::{SetterConfig, SubtensorWeightSetter},
};
use prism_core::{
    Block, Cancel, Error, ScoreCard, Submission,
    artifacts::{ArtifactsExt as _, MemoryArtifacts},
    scorer::scorer_fn,
    submission::Precedence,
    testing::fakes::MemorySource,
};
use prism_eval::{
    bundle, data,
    graph::baselines,
    policy::PrismPolicy,
    score::{Measured::HeldOut, mean_bits_per_byte, paired_difference, single_track, tuned_reference},
    trainer::NativeTrainer,
};
use prism_neurons::{store::Store, validator::Validator};
use std::{sync::Arc, time::Duration};

const MANIFEST: &str = "kind: architecture_only\narchitecture: { entrypoint: model.graph.yaml }\n";

#[tokio::main]
async fn main() -> Result<(), Error> {
    // The swap.
    let held_out = scorer_fn("held-out", 1, |candidate, round| {
        let score = || {
            let run = tuned_reference(candidate.runs)?;
            let baseline = tuned_reference(round.baselines.first()?.runs)?;
            let bits = mean_bits_per_byte(run, HeldOut).ok()?.mean.get();
            let advantage = paired_difference(run, baseline, HeldOut).ok()?;
            Some(single_track(candidate, round, "held-out/1", 1.0 / (1.0 + bits), advantage))
        };
        let without = || ScoreCard::without_total(candidate.submission, candidate.family, "held-out/1", "not measured");
        Ok(score().unwrap_or_else(without))
    });

    // A chain with an owner, a validator and one miner.
    let (validator_key, miner) = (Keypair::from_uri("//Validator")?, Keypair::from_uri("//Miner")?.hotkey());
    let neuron = |hotkey, permit| GenesisNeuron { hotkey, coldkey: [1; 32], stake: 1_000_000_000, permit };
    let subnet = SubnetConfig {
        owner: Some(SubnetOwner { hotkey: Keypair::from_uri("//Owner")?.hotkey(), coldkey: [1; 32] }),
        neurons: vec![neuron(validator_key.hotkey(), true), neuron(miner, false)],
        ..SubnetConfig::default()
    };
    let block = Duration::from_millis(200);
    let config =
        DevnetConfig { pace: BlockPace::Every(block), slot: block, subnets: vec![subnet], ..DevnetConfig::default() };
    let devnet = Devnet::start(config).await?;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await?;

    // One submission: the published llama.
    let artifacts = Arc::new(MemoryArtifacts::new());
    let files = [("prism.yaml", MANIFEST), ("model.graph.yaml", baselines::document("llama").unwrap_or_default())];
    let archive = bundle::pack(&files.map(|(path, text)| (path.to_owned(), text.to_owned())).into())?;
    let digest = artifacts.keep_bytes(&archive).await?;
    let precedence = Precedence { block: Block(0), extrinsic: 0, hotkey: miner, local: true };
    let source = MemorySource::new();
    source.push(Submission::bundle(miner, precedence, digest, archive.len() as u64))?;

    let mut policy = PrismPolicy::smoke();
    policy.plan.steps = 64;
    let corpus = data::fixture::stand_in()?;
    let setter = SubtensorWeightSetter::new(client.clone(), Arc::new(validator_key), SetterConfig::default());
    let validator = Validator::builder()
        .chain(SubtensorView::new(client))
        .source(source)
        .store(Store::in_memory()?)
        .artifacts(artifacts)
        .trainer(NativeTrainer::new(Arc::clone(&corpus)))
        .data(corpus.data_ref())
        .weight_setter(setter)
        .scorer(held_out)
        .policy(policy)
        .workers(2)
        .build()?;
    validator.run_cohort(&Cancel::new()).await?;

    for card in validator.store().cards(1).await? {
        let total = card.total.map(|total| total.get()).unwrap_or_default();
        println!("{} scores {total:.4} under {}", card.submission.short(), card.scorer);
    }
    Ok(())
}
