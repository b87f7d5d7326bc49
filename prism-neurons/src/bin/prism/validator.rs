//! `prism validator`: run a validator against a chain.
use super::{
    chain::{self, ChainArgs},
    eval::mode,
    key::{self, KeyArgs},
    policy,
};
use clap::Args;
use prism_chain::{
    view::SubtensorView,
    weights::{SetterConfig, SubtensorWeightSetter},
};
use prism_core::{Artifacts, Cancel, Error, Fault, Kind, Result, plan::RunMode};
use prism_eval::{
    data::{self, Corpus},
    policy::PrismPolicy,
    run_manifest::DatasetRecord,
    trainer::NativeTrainer,
};
use prism_neurons::{
    config::{Overrides, ValidatorConfig},
    guests,
    http::Token,
    intake::{IntakeLimits, IntakeSource},
    reviewer::ModelReviewer,
    store::{FileArtifacts, Store},
    validator::{self, CohortRule, RetryRule, SeedRule},
};
use std::{net::SocketAddr, path::PathBuf, sync::Arc};

/// The database's name in the folder of the data.
pub(crate) const DATABASE: &str = "prism.sqlite";

/// Run a validator.
#[derive(Debug, Args)]
pub(crate) struct Validator {
    #[command(flatten)]
    chain: ChainArgs,
    #[command(flatten)]
    key: KeyArgs,
    /// The folder of database and artifacts.
    #[arg(long)]
    data: Option<PathBuf>,
    /// The folder of the dataset, as `prism data prepare` makes it.
    #[arg(long)]
    dataset: Option<PathBuf>,
    /// Measure the text that ships with PRISM, in the mode `local_cpu_smoke`: nothing of it is eligible.
    #[arg(long, conflicts_with = "mode")]
    smoke: bool,
    /// The plan to measure under: `gpu_proxy_eval`, `full_scale_eval` or `local_cpu_smoke`.
    #[arg(long, value_parser = mode)]
    mode: Option<RunMode>,
}

impl Validator {
    pub(crate) async fn run(self) -> Result<()> {
        let flags = Overrides::default().set_some("data.folder", self.data).set_some("data.dataset", self.dataset);
        let mut config = self.chain.over(flags)?;
        config.key = self.key.over(config.key);
        if self.smoke {
            let corpus = data::fixture::stand_in()?;
            let record = DatasetRecord::of(&corpus, None)?;
            return run(&config, policy::own(&config, RunMode::LocalCpuSmoke), corpus, record).await;
        }
        let mode = self.mode.unwrap_or(config.evaluation.mode);
        let Some(folder) = config.data.dataset.clone() else {
            let text = "no dataset: set data.dataset or give --dataset (`prism data prepare` makes one of downloaded \
                        files), or --smoke to measure the text that ships, which is no benchmark";
            return Err(Error::new(Kind::Invalid, Fault::Validator, text));
        };
        let (corpus, record) = dataset(folder).await?;
        run(&config, policy::own(&config, mode), corpus, record).await
    }
}

/// A dataset, read whole and checked on a thread of its own, with what run manifests say of it.
pub(crate) async fn dataset(folder: PathBuf) -> Result<(Arc<Corpus>, DatasetRecord)> {
    let read = tokio::task::spawn_blocking(move || data::dataset::open(&folder, data::Limits::default())).await;
    let read =
        read.map_err(|e| Error::new(Kind::Bug, Fault::Validator, "reading the dataset ended early").because(e))?;
    let (corpus, manifest) = read?;
    let record = DatasetRecord::of(&corpus, Some(&manifest))?;
    Ok((Arc::new(corpus), record))
}

/// Where the operator is answered, and with which token; both or neither.
fn internal(config: &ValidatorConfig) -> Result<Option<(SocketAddr, Token)>> {
    match (config.internal.listen, &config.internal.token_file) {
        (None, _) => Ok(None),
        (Some(address), Some(file)) => Ok(Some((address, Token::from_file(file)?))),
        (Some(_), None) => {
            let text = "internal.listen is set and internal.token_file is not: nobody could be admitted";
            Err(Error::new(Kind::Invalid, Fault::Validator, text))
        }
    }
}

async fn run(config: &ValidatorConfig, policy: PrismPolicy, corpus: Arc<Corpus>, record: DatasetRecord) -> Result<()> {
    let internal = internal(config)?;
    let key = key::load(&config.key)?;
    let hotkey = key.hotkey();
    let client = chain::connect(config).await?;
    let folder = &config.data.folder;
    let made = std::fs::create_dir_all(folder);
    made.map_err(|e| {
        Error::new(Kind::Unavailable, Fault::Validator, format!("folder {} can't be made", folder.display())).because(e)
    })?;
    let store = Store::open(folder.join(DATABASE))?;
    let artifacts = Arc::new(FileArtifacts::open(folder.join("artifacts"))?);
    let mut setter = SetterConfig::default();
    setter.burn_hotkey = config.chain.burn_hotkey;
    setter.commit = config.chain.commit;
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
        .dataset(record)
        .weight_setter(SubtensorWeightSetter::new(client, Arc::new(key), setter))
        .policy(policy)
        .cohorts(CohortRule { blocks: config.cohort.blocks, seed })
        .scorer(config.evaluation.scorer.scorer())
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

    if let Some((address, token)) = internal {
        let address = validator.listen_internal(address, token, &cancel).await?;
        eprintln!("its operator is answered on http://{address}/internal/v1/held");
    }

    let interrupted = cancel.clone();
    tokio::spawn(async move {
        // Without a handler for signals there is nothing to wait for.
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    validator.run(&cancel).await
}
