//! The setter under the conformance suite, over a node whose pool can be held.
use super::{tests::*, *};
use crate::{
    client::ChainConfig,
    devnet::{Devnet, DevnetConfig},
};
use jsonrpsee::{
    core::client::{ClientT as _, Error as WsError},
    server::{RpcModule, Server, ServerHandle},
    types::{ErrorObjectOwned, Params},
    ws_client::{WsClient, WsClientBuilder},
};
use prism_core::Uid;
use prism_core::testing::weight_setter::{self, Ledger, WeightSetterDriver};
use std::sync::PoisonError;

/// A node before a devnet that hands everything on, and extrinsics when it isn't told to hold them.
#[derive(Debug)]
struct Node {
    chain: WsClient,
    pool: Guard<Pool>,
}

#[derive(Debug, Default)]
struct Pool {
    holds: bool,
    held: Vec<serde_json::Value>,
    taken: u64,
}

type Answer = Result<serde_json::Value, ErrorObjectOwned>;

fn refusal(error: WsError) -> ErrorObjectOwned {
    match error {
        WsError::Call(error) => error,
        error => panic!("devnet is gone: {error}"),
    }
}

impl Node {
    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn pass(&self, method: &str, params: Vec<serde_json::Value>) -> Answer {
        self.chain.request(method, params).await.map_err(refusal)
    }

    async fn submit(&self, params: Vec<serde_json::Value>) -> Answer {
        let bytes = params[0].clone();
        {
            let mut pool = self.pool();
            if pool.holds && pool.held.contains(&bytes) {
                return Err(ErrorObjectOwned::owned(1013, "Transaction is already imported", None::<()>));
            }
            if pool.holds {
                let raw = hex::decode(bytes.as_str().unwrap().trim_start_matches("0x")).unwrap();
                pool.held.push(bytes);
                pool.taken += 1;
                return Ok(format!("0x{}", hex::encode(extrinsic_hash(&raw))).into());
            }
        }
        let answer = self.pass("author_submitExtrinsic", params).await;
        self.pool().taken += u64::from(answer.is_ok());
        answer
    }

    async fn start(devnet: &Devnet) -> (Arc<Self>, String, ServerHandle) {
        let chain = WsClientBuilder::default().build(devnet.url()).await.unwrap();
        let node = Arc::new(Self { chain, pool: Guard::default() });
        let mut module = RpcModule::from_arc(Arc::clone(&node));
        for method in [
            "chain_getBlock",
            "chain_getBlockHash",
            "chain_getFinalizedHead",
            "chain_getHeader",
            "state_call",
            "state_getStorage",
            "state_queryStorageAt",
        ] {
            let pass = move |params: Params<'static>, node: Arc<Self>, _| async move {
                node.pass(method, params.parse().unwrap_or_default()).await
            };
            module.register_async_method(method, pass).unwrap();
        }
        let submit = |params: Params<'static>, node: Arc<Self>, _| async move {
            node.submit(params.parse().unwrap_or_default()).await
        };
        module.register_async_method("author_submitExtrinsic", submit).unwrap();
        let server = Server::builder().build("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}", server.local_addr().unwrap());
        (node, url, server.start(module))
    }
}

struct Driver {
    devnet: Devnet,
    node: Arc<Node>,
    _server: ServerHandle,
    client: ChainClient,
    setter: SubtensorWeightSetter,
    commit: Option<CommitScheme>,
}

impl Driver {
    /// Over a subnet with commit-reveal, or without.
    async fn new(commit: Option<CommitScheme>) -> Result<Self> {
        // The suite prepares again and again; the rate limit is another test's matter.
        let mut config: DevnetConfig = config();
        let subnet = &mut config.subnets[0];
        (subnet.weights_rate_limit, subnet.commit_reveal) = (0, commit.is_some());
        let devnet = Devnet::start(config).await.unwrap();
        devnet.produce_blocks(10).await;
        let (node, url, server) = Node::start(&devnet).await;
        let client = ChainClient::connect(ChainConfig::new(url)).await?;
        let setter = setter(&client, "validator", SetterConfig::default().commit_by(commit.unwrap_or_default()));
        Ok(Self { devnet, node, _server: server, client, setter, commit })
    }
}

#[async_trait]
impl WeightSetterDriver for Driver {
    fn setter(&self) -> &dyn WeightSetter {
        &self.setter
    }
    async fn restart(&mut self) -> Result<()> {
        let config = SetterConfig::default().commit_by(self.commit.unwrap_or_default());
        self.setter = setter(&self.client, "validator", config);
        Ok(())
    }
    fn intent(&self) -> WeightIntent {
        pay_both()
    }
    async fn next_block(&mut self) -> Result<()> {
        self.devnet.produce_blocks(1).await;
        Ok(())
    }
    async fn withhold(&mut self, yes: bool) -> Result<()> {
        let held = {
            let mut pool = self.node.pool();
            pool.holds = yes;
            std::mem::take(&mut pool.held)
        };
        for bytes in held {
            self.node.pass("author_submitExtrinsic", vec![bytes]).await.unwrap();
        }
        Ok(())
    }
    async fn ledger(&self) -> Result<Ledger> {
        let mut included = Vec::new();
        let places: Vec<(Block, u32)> = match self.commit {
            None => self.devnet.ledger().iter().map(|landed| (landed.block, landed.extrinsic)).collect(),
            Some(_) => self.devnet.commitments_to_weights().iter().map(|one| (one.block, one.extrinsic)).collect(),
        };
        for (block, extrinsic) in places {
            let tip = self.client.tip_at(block).await?;
            let extrinsics = self.client.extrinsics(tip.hash).await?;
            included.push(Digest(extrinsic_hash(&extrinsics[extrinsic as usize])));
        }
        let weights = self.devnet.weights(NETUID, MAIN, Uid(1));
        Ok(Ledger {
            taken: self.node.pool().taken,
            included,
            finalized: Block(self.devnet.finalized().0),
            weights: weights.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect(),
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setter_keeps_its_contract() {
    weight_setter::run(|| Driver::new(None)).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setter_keeps_its_contract_under_a_timelock() {
    weight_setter::run(|| Driver::new(Some(CommitScheme::Timelock))).await.assert_ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setter_keeps_its_contract_with_commitments_by_hash() {
    weight_setter::run(|| Driver::new(Some(CommitScheme::Hash))).await.assert_ok();
}
