//! Turning standings into shares.
use crate::{
    error::{Error, Fault, Kind, Result},
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, Epoch},
    standings::Standings,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fmt::Debug,
    sync::Arc,
};

/// What a policy may look at besides the standings.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RewardContext<'a> {
    /// Now.
    pub block: Block,
    /// The epoch that is paid.
    pub epoch: Epoch,
    /// Who can be paid.
    pub registered: &'a BTreeSet<Hotkey>,
    /// What the last epoch paid.
    pub previous: Option<&'a Allocation>,
    /// Numbers that an operator may set, by name.
    pub policy: &'a BTreeMap<String, Finite>,
}

impl<'a> RewardContext<'a> {
    /// A context.
    #[must_use]
    pub fn new(
        block: Block,
        epoch: Epoch,
        registered: &'a BTreeSet<Hotkey>,
        previous: Option<&'a Allocation>,
        policy: &'a BTreeMap<String, Finite>,
    ) -> Self {
        Self { block, epoch, registered, previous, policy }
    }

    /// A policy number, or its default.
    #[must_use]
    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.policy.get(name).map_or(default, |value| value.get())
    }
}

/// What is paid. Burning and keeping are answers of their own: an empty vector can't be mistaken for either.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Allocation {
    /// Shares by hotkey, and the share that nobody earned. They sum to 1 within 1e-12.
    Pay {
        /// Above zero, registered hotkeys only.
        shares: BTreeMap<Hotkey, Finite>,
        /// Not negative.
        burn: Finite,
    },
    /// Everything is burned.
    Burn {
        /// Why.
        reason: String,
    },
    /// The last vector stays.
    KeepPrevious {
        /// Why.
        reason: String,
    },
}

/// A pure function from standings and context to [`Allocation`].
///
/// 1. Pure: same standings, same context, same allocation, bit for bit.
/// 2. Shares and burn are non-negative and sum to 1 within 1e-12.
/// 3. Only registered hotkeys are paid.
/// 4. Nothing valid to pay: `Burn` or `KeepPrevious`, by policy; never an empty `Pay`.
/// 5. The order of showings doesn't matter.
/// 6. Equal showings are told apart by precedence, never by the order of a map or of hotkeys.
pub trait RewardPolicy: Debug + Send + Sync + 'static {
    /// The policy's name.
    fn name(&self) -> &str;
    /// What is paid.
    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation>;
}

/// Burns everything: a subnet that pays nobody yet.
#[derive(Debug, Clone, Copy, Default)]
pub struct BurnAll;

impl RewardPolicy for BurnAll {
    fn name(&self) -> &str {
        "burn"
    }
    fn allocate(&self, _: &Standings, _: &RewardContext<'_>) -> Result<Allocation> {
        Ok(Allocation::Burn { reason: "the policy pays nobody".into() })
    }
}

/// A policy from a function: see [`reward_fn`].
pub struct RewardFn<F> {
    name: String,
    allocate: F,
}

impl<F> Debug for RewardFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewardFn").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A policy from a function that returns unnormalised credit by hotkey. Unregistered hotkeys are dropped, the rest is
/// normalised; no credit burns everything.
pub fn reward_fn<F>(name: &str, credit: F) -> RewardFn<F>
where
    F: Fn(&Standings, &RewardContext<'_>) -> BTreeMap<Hotkey, Finite> + Send + Sync + 'static,
{
    RewardFn { name: name.to_owned(), allocate: credit }
}

impl<F> RewardPolicy for RewardFn<F>
where
    F: Fn(&Standings, &RewardContext<'_>) -> BTreeMap<Hotkey, Finite> + Send + Sync + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }
    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
        let mut credit = (self.allocate)(standings, context);
        credit.retain(|hotkey, value| context.registered.contains(hotkey) && value.get() > 0.0);
        let sum: f64 = credit.values().map(|v| v.get()).sum();
        if credit.is_empty() {
            return Ok(Allocation::Burn { reason: "no registered hotkey has credit".into() });
        }
        let text = || Error::new(Kind::Invalid, Fault::Policy, format!("credits of policy {} overflow", self.name));
        let shares =
            credit.into_iter().map(|(hotkey, value)| Ok((hotkey, Finite::new(value.get() / sum).ok_or_else(text)?)));
        Ok(Allocation::Pay { shares: shares.collect::<Result<_>>()?, burn: Finite::ZERO })
    }
}

macro_rules! forward { ($($pointer:ident),*) => { $(
    impl<T: RewardPolicy + ?Sized> RewardPolicy for $pointer<T> {
        fn name(&self) -> &str {
            (**self).name()
        }
        fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
            (**self).allocate(standings, context)
        }
    }
)* } }
forward!(Box, Arc);
