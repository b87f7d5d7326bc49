//! Bringing weights to the chain.
use crate::{
    error::Result,
    receipt::{Receipt, WeightIntent},
};
use async_trait::async_trait;
use std::{fmt::Debug, sync::Arc};

/// Prepares a signed weight vector, then advances its receipt, at most one outside effect at a time. The caller persists
/// the receipt after every call and before the next one.
///
/// 1. `prepare` touches nothing on the chain: it conforms, preflights at one pinned block, and signs.
/// 2. `advance` makes at most one step and has at most one outside effect: sending `signed`, or the reveal that its
///    stage holds.
/// 3. Called again with an older receipt of the same intent (a crash before the caller could persist) it reaches the
///    same end and no second vector lands.
/// 4. A stage is entered only when the chain shows it.
/// 5. Returns the receipt unchanged when nothing moved; waiting is the caller's, with its clock.
/// 6. After a terminal stage it does nothing.
#[async_trait]
pub trait WeightSetter: Debug + Send + Sync + 'static {
    /// The setter's name.
    fn name(&self) -> &str;
    /// Conforms, preflights and signs.
    async fn prepare(&self, intent: WeightIntent) -> Result<Receipt>;
    /// Moves a receipt on, if the chain has moved.
    async fn advance(&self, receipt: &Receipt) -> Result<Receipt>;
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    #[async_trait]
    impl<T: WeightSetter + ?Sized> WeightSetter for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        async fn prepare(&self, intent: WeightIntent) -> Result<Receipt> {
            (**self).prepare(intent).await
        }
        async fn advance(&self, receipt: &Receipt) -> Result<Receipt> {
            (**self).advance(receipt).await
        }
    }
)* } }
forward!(Box, Arc);
