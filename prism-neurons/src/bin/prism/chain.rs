//! Which chain and subnet, on the command line and in the configuration.
use super::config;
use clap::Args;
use prism_chain::client::{ChainClient, ChainConfig};
use prism_core::{Error, Fault, Kind, Result};
use prism_neurons::config::{Overrides, ValidatorConfig};
use std::path::PathBuf;

/// Which chain and subnet.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChainArgs {
    /// The configuration file; `prism config print` shows what it may hold.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A node's websocket address, instead of those of the configuration.
    #[arg(long)]
    endpoint: Option<String>,
    /// The subnet.
    #[arg(long)]
    netuid: Option<u16>,
}

impl ChainArgs {
    /// The configuration with what these and other flags say instead.
    pub(crate) fn over(&self, flags: Overrides) -> Result<ValidatorConfig> {
        let flags = flags
            .set_some("chain.endpoints", self.endpoint.as_ref().map(|endpoint| vec![endpoint]))
            .set_some("chain.netuid", self.netuid);
        config::load(self.config.as_deref(), &flags)
    }
}

/// Connects to the chain that a configuration names.
pub(crate) async fn connect(config: &ValidatorConfig) -> Result<ChainClient> {
    Ok(ChainClient::connect(client(config)?).await?)
}

fn client(config: &ValidatorConfig) -> Result<ChainConfig> {
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
