//! `prism validator`: run a validator against a chain.
use super::config::load;
use clap::Args;
use prism_chain::{
    client::{ChainClient, ChainConfig},
    signer::Keypair,
    view::SubtensorView,
    weights::{SetterConfig, SubtensorWeightSetter},
};
use prism_core::{Artifacts, Cancel, Error, Fault, Kind, Result};
use prism_eval::{data, policy::PrismPolicy, trainer::NativeTrainer};
use prism_neurons::{
    config::{Overrides, ValidatorConfig},
    guests,
    intake::{IntakeLimits, IntakeSource},
    reviewer::ModelReviewer,
    store::{FileArtifacts, Store},
    validator::{self, CohortRule, RetryRule, SeedRule},
};
use std::{path::PathBuf, sync::Arc};

/// Run a validator.
#[derive(Debug, Args)]
pub(crate) struct Validator {
    /// The configuration file; `prism config print` shows what it may hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A node's websocket address, before those of the configuration.
    #[arg(long)]
    endpoint: Option<String>,
    /// The subnet.
    #[arg(long)]
    netuid: Option<u16>,
    /// A file that holds the hotkey's secret.
    #[arg(long)]
    key: Option<PathBuf>,
    /// The folder of database and artifacts.
    #[arg(long)]
    data: Option<PathBuf>,
    /// Measure the text that ships with PRISM, under a small budget. Not for a chain with money on it.
    #[arg(long)]
    smoke: bool,
}

impl Validator {
    pub(crate) async fn run(self) -> Result<()> {
        let flags = Overrides::default()
            .set_some("chain.endpoints", self.endpoint.map(|endpoint| vec![endpoint]))
            .set_some("chain.netuid", self.netuid)
            .set_some("key.hotkey_file", self.key)
            .set_some("data.folder", self.data);
        let config = load(self.config.as_deref(), &flags)?;
        if !self.smoke {
            let text = "FineWeb-Edu shards are not read yet, and the text that ships is no benchmark: give --smoke to \
                        measure it all the same";
            return Err(Error::new(Kind::Unsupported, Fault::Validator, text));
        }
        run(&config, PrismPolicy::smoke()).await
    }
}

async fn run(config: &ValidatorConfig, policy: PrismPolicy) -> Result<()> {
    let Some(key_file) = &config.key.hotkey_file else {
        return Err(Error::new(Kind::Invalid, Fault::Validator, "no key: set key.hotkey_file or give --key"));
    };
    let key = Keypair::from_file(key_file)?;
    let hotkey = key.hotkey();
    let client = ChainClient::connect(chain_config(config)?).await?;
    let folder = &config.data.folder;
    let made = std::fs::create_dir_all(folder);
    made.map_err(|e| {
        Error::new(Kind::Unavailable, Fault::Validator, format!("folder {} can't be made", folder.display())).because(e)
    })?;
    let store = Store::open(folder.join("prism.sqlite"))?;
    let artifacts = Arc::new(FileArtifacts::open(folder.join("artifacts"))?);
    let corpus = data::fixture::stand_in()?;
    let mut setter = SetterConfig::default();
    setter.burn_hotkey = config.chain.burn_hotkey;
    let seed = match &config.cohort.fixed_seed {
        Some(word) => SeedRule::Fixed(word.clone()),
        None => SeedRule::Chain { delay: config.cohort.delay },
    };
    let environment = guests::EngineEnvironment::of_process();
    let kept: Arc<dyn Artifacts> = Arc::<FileArtifacts>::clone(&artifacts);
    let python = guests::trainer(&config.guest, folder, Arc::clone(&corpus), kept, &environment).await?;
    if python.is_none() {
        eprintln!("bundles of Python wait: no runtime is installed (`prism runtime install`)");
    }
    let mut builder = validator::Validator::builder()
        .subnet(config.chain.netuid, config.chain.mechanism)
        .chain(SubtensorView::new(client.clone()))
        .source(IntakeSource::new(store.clone()))
        .store(store)
        .artifacts(artifacts)
        .trainer(NativeTrainer::new(Arc::clone(&corpus)))
        .data(corpus.data_ref())
        .weight_setter(SubtensorWeightSetter::new(client, Arc::new(key), setter))
        .policy(policy)
        .cohorts(CohortRule { blocks: config.cohort.blocks, seed })
        .workers(config.evaluation.workers as usize)
        .retry(RetryRule {
            attempts: config.evaluation.attempts,
            checkpoint_every: config.evaluation.checkpoint_every.0,
            ..RetryRule::default()
        });
    if let Some(python) = python {
        builder = builder.trainer(python);
    }
    if let Some(reviewer) = ModelReviewer::from_config(&config.review)? {
        builder = builder.reviewer(reviewer);
    }
    let validator = builder.build()?;
    let cancel = Cancel::new();
    let limits = IntakeLimits { quota: config.http.quota, ..IntakeLimits::default() };
    let address = validator.listen(config.http.listen, hotkey, limits, &cancel).await?;
    eprintln!("validator {hotkey} on subnet {} listens on http://{address}; interrupt to stop", config.chain.netuid);

    let interrupted = cancel.clone();
    tokio::spawn(async move {
        // Without a handler for signals there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    validator.run(&cancel).await
}

fn chain_config(config: &ValidatorConfig) -> Result<ChainConfig> {
    let wrong = |text: &str| Error::new(Kind::Invalid, Fault::Validator, text);
    let mut endpoints = config.chain.endpoints.iter().cloned();
    let first = endpoints.next().ok_or_else(|| wrong("chain.endpoints is empty"))?;
    let chain = ChainConfig::new(first).fallbacks(endpoints);
    let Some(text) = &config.chain.genesis else { return Ok(chain) };
    let mut genesis = [0; 32];
    let digits = text.strip_prefix("0x").unwrap_or(text);
    hex::decode_to_slice(digits, &mut genesis).map_err(|_| wrong("chain.genesis is not 0x and 64 digits"))?;
    Ok(chain.genesis(genesis))
}
