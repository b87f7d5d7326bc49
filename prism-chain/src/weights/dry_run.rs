//! Weights that are worked out and never sent.
use crate::{
    client::ChainClient,
    signer::Signer,
    weights::{
        error::WeightsError,
        setter::{SetterConfig, SubtensorWeightSetter},
    },
};
use async_trait::async_trait;
use prism_core::{Receipt, Result, WeightIntent, WeightSetter, receipt::Stage};
use std::sync::Arc;

/// Conforms, checks and signs as [`SubtensorWeightSetter`] does, and sends nothing: `advance` ends every receipt as
/// `Superseded`, with a reason that says so.
#[derive(Debug)]
pub struct DryRunSetter {
    inner: SubtensorWeightSetter,
}

impl DryRunSetter {
    /// A dry run for one hotkey.
    pub fn new(client: ChainClient, signer: Arc<dyn Signer>, config: SetterConfig) -> Self {
        Self { inner: SubtensorWeightSetter::new(client, signer, config) }
    }
}

#[async_trait]
impl WeightSetter for DryRunSetter {
    fn name(&self) -> &str {
        "dry-run"
    }

    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
        let plan = self.inner.conform(&intent).await?;
        Ok(self.inner.signed(intent, plan).await?)
    }

    async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
        match &receipt.stage {
            Stage::Prepared { .. } => {
                Ok(receipt.enter(receipt.pinned, Stage::Superseded { reason: "dry run: nothing is sent".into() }))
            }
            stage if stage.is_terminal() => Ok(receipt.clone()),
            stage => Err(WeightsError::Receipt(format!("stage {} is not one of a dry run", stage.name())).into()),
        }
    }
}
