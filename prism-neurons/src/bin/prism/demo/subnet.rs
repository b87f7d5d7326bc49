//! The demo's stage: a development chain, registered neurons, a validator that listens.
use super::cast::Role;
use crate::progress::Progress;
use prism_chain::{
    client::{ChainClient, ChainConfig},
    devnet::{BlockPace, Devnet, DevnetConfig, GenesisNeuron, SubnetConfig, SubnetOwner},
    signer::Keypair,
    view::SubtensorView,
    weights::{SetterConfig, SubtensorWeightSetter},
};
use prism_core::{Cancel, ChainView as _, Error, Hotkey, MechanismId, Netuid, Receipt, Result, Uid};
use prism_eval::{data, policy::PrismPolicy, run_manifest::DatasetRecord, trainer::NativeTrainer};
use prism_neurons::{
    clock::SystemClock,
    intake::{IntakeLimits, IntakeSource},
    miner::Miner,
    store::{FileArtifacts, Store},
    validator::{CohortRule, SeedRule, Validator},
};
use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

const NETUID: Netuid = Netuid(1);
/// Short enough for a demonstration, long enough for two cores that train meanwhile.
const BLOCK: Duration = Duration::from_millis(500);
/// 1000 TAO, in rao.
const ENDOWMENT: u64 = 1_000_000_000_000;

/// What the command line says.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) seed: String,
    pub(super) steps: u64,
    pub(super) workers: usize,
}

/// A subnet that runs in this process. Its state is in a folder that goes with it.
#[derive(Debug)]
pub(super) struct Subnet {
    devnet: Devnet,
    client: ChainClient,
    view: Arc<SubtensorView>,
    validator: Validator,
    validator_hotkey: Hotkey,
    watcher: Miner,
    address: String,
    runs: usize,
    listening: Cancel,
    _folder: Folder,
}

/// The secret of a miner, as on every development chain: known to all.
pub(super) fn miner_uri(name: &str) -> String {
    format!("//prism//miner//{name}")
}

impl Subnet {
    pub(super) async fn start(settings: &Settings, cast: &[Role], progress: Arc<Progress>) -> Result<Self> {
        let (owner, validator_key) = (Keypair::from_uri("//prism//owner")?, Keypair::from_uri("//prism//validator")?);
        let coldkey = Keypair::from_uri("//prism//coldkey")?;
        let devnet = Devnet::start(DevnetConfig {
            pace: BlockPace::Every(BLOCK),
            slot: BLOCK,
            endowments: vec![(coldkey.hotkey().0, ENDOWMENT)],
            subnets: vec![SubnetConfig {
                netuid: NETUID,
                owner: Some(SubnetOwner { hotkey: owner.hotkey(), coldkey: coldkey.hotkey().0 }),
                neurons: vec![GenesisNeuron {
                    hotkey: validator_key.hotkey(),
                    coldkey: coldkey.hotkey().0,
                    stake: ENDOWMENT,
                    permit: true,
                }],
                ..SubnetConfig::default()
            }],
            ..DevnetConfig::default()
        })
        .await?;
        let client = ChainClient::connect(ChainConfig::new(devnet.url())).await?;
        let view = Arc::new(SubtensorView::new(client.clone()));
        for role in cast {
            let hotkey = Keypair::from_uri(&miner_uri(role.name))?.hotkey();
            let uid = client.burned_register(&coldkey, NETUID, hotkey).await?;
            progress.say(&format!("{} registered as uid {uid}", role.name));
        }
        // The intake reads finalized state: the last registration has to be in it.
        let registered = view.head().await?.block;
        while view.head().await?.finalized < registered {
            tokio::time::sleep(BLOCK / 2).await;
        }

        let folder = Folder::new()?;
        let store = Store::open(folder.0.join("prism.sqlite"))?;
        let artifacts = Arc::new(FileArtifacts::open(folder.0.join("artifacts"))?);
        let clock = Arc::new(SystemClock::new());
        let corpus = data::fixture::stand_in()?;
        let mut policy = PrismPolicy::smoke();
        policy.plan.steps = settings.steps;
        // Two architectures at every rate and probe, one recipe, and a baseline at more work.
        let plan = &policy.plan;
        let runs = 2 * (plan.rates.len() + plan.probes.len()) + 1 + plan.work.len();

        let validator_hotkey = validator_key.hotkey();
        let setter =
            SubtensorWeightSetter::new(client.clone(), Arc::new(validator_key.clone()), SetterConfig::default());
        let validator = Validator::builder()
            .subnet(NETUID, MechanismId(0))
            .chain(view.clone())
            .source(IntakeSource::new(store.clone()))
            .store(store)
            .artifacts(artifacts)
            .trainer(NativeTrainer::new(Arc::clone(&corpus)))
            .data(corpus.data_ref())
            .dataset(DatasetRecord::of(&corpus, None)?)
            .weight_setter(setter)
            .policy(policy)
            .cohorts(CohortRule { blocks: 1_000_000, seed: SeedRule::Fixed(settings.seed.clone()) })
            .workers(settings.workers)
            .observer(progress)
            .build()?;

        let listening = Cancel::new();
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let address = validator.listen(anywhere, validator_hotkey, IntakeLimits::default(), &listening).await?;
        let address = format!("http://{address}");
        let watcher = Miner::new(Arc::new(validator_key), clock, &address)?;
        Ok(Self {
            devnet,
            client,
            view,
            validator,
            validator_hotkey,
            watcher,
            address,
            runs,
            listening,
            _folder: folder,
        })
    }

    pub(super) fn chain_url(&self) -> &str {
        self.devnet.url()
    }

    pub(super) fn http_url(&self) -> &str {
        &self.address
    }

    pub(super) fn validator(&self) -> &Validator {
        &self.validator
    }

    /// Somebody who asks the validator what became of submissions.
    pub(super) fn watcher(&self) -> &Miner {
        &self.watcher
    }

    /// The runs that this cast causes.
    pub(super) fn expected_runs(&self, _: &[Role]) -> usize {
        self.runs
    }

    /// The newest receipt of the validator's weights.
    pub(super) async fn last_receipt(&self) -> Result<Option<Receipt>> {
        let Some(last) = self.validator.store().allocations(1).await?.into_iter().next() else { return Ok(None) };
        Ok(self.validator.store().receipts(last.epoch).await?.pop().map(|record| record.receipt))
    }

    /// Who holds which slot.
    pub(super) async fn holders(&self) -> Result<BTreeMap<Uid, Hotkey>> {
        let head = self.view.head().await?;
        let neurons = self.view.neurons(NETUID, head.finalized).await?;
        Ok(neurons.into_iter().map(|neuron| (neuron.uid, neuron.hotkey)).collect())
    }

    /// The validator's weights, as a client reads them from the chain.
    pub(super) async fn weights_on_chain(&self) -> Result<BTreeMap<Uid, u16>> {
        match self.client.uid_of(NETUID, self.validator_hotkey).await? {
            Some(uid) => Ok(self.client.weights(NETUID, MechanismId(0), uid, None).await?),
            None => Ok(BTreeMap::new()),
        }
    }

    pub(super) async fn stop(self) {
        self.listening.cancel();
        self.devnet.stop().await;
    }
}

/// A folder that goes when the demo ends.
#[derive(Debug)]
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("prism-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|e| {
            Error::new(
                prism_core::Kind::Unavailable,
                prism_core::Fault::Infrastructure,
                format!("folder {} can't be made", path.display()),
            )
            .because(e)
        })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the system's folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
