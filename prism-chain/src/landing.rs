//! For tests: a development chain with some neurons, on which calls land.
use crate::{
    client::{ChainClient, ChainConfig},
    devnet::{Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
    signer::Keypair,
};
use prism_core::Netuid;
use std::{future::Future, time::Duration};

pub(crate) const NETUID: Netuid = Netuid(1);

pub(crate) fn key(name: &str) -> Keypair {
    Keypair::from_uri(&format!("//{name}")).unwrap()
}

/// A chain and a client of it. Blocks come while [`Landing::land`] waits, and when asked.
pub(crate) struct Landing {
    pub(crate) devnet: Devnet,
    pub(crate) client: ChainClient,
}

impl Landing {
    /// With these hotkeys on the subnet; they belong to `//rich`, which has a TAO.
    pub(crate) async fn with(hotkeys: &[&str], subnet: SubnetConfig) -> Self {
        let coldkey = key("rich").hotkey().0;
        let neuron = |name: &&str| GenesisNeuron { hotkey: key(name).hotkey(), coldkey, stake: 0, permit: false };
        let devnet = Devnet::start(DevnetConfig {
            slot: Duration::from_millis(100),
            endowments: vec![(coldkey, 1_000_000_000)],
            subnets: vec![SubnetConfig { neurons: hotkeys.iter().map(neuron).collect(), ..subnet }],
            ..DevnetConfig::default()
        })
        .await
        .unwrap();
        devnet.produce_blocks(1).await;
        let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
        Self { devnet, client }
    }

    /// Makes blocks until the work is done.
    pub(crate) async fn land<T>(&self, work: impl Future<Output = T>) -> T {
        let blocks = async {
            loop {
                tokio::time::sleep(Duration::from_millis(30)).await;
                self.devnet.produce_blocks(1).await;
            }
        };
        tokio::select! { done = work => done, () = blocks => unreachable!() }
    }
}
