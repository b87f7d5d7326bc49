//! What miners may try.
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! strategies { ($($(#[doc = $about:literal])* $name:ident = $word:literal, $ideas:ident, $hotkeys:literal;)*) => {
    /// A way to go about it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    #[non_exhaustive]
    pub enum Strategy { $($(#[doc = $about])* $name,)* }

    impl Strategy {
        /// All of them, the honest ones first.
        pub const ALL: [Self; [$($word),*].len()] = [$(Self::$name),*];

        /// The word used on the command line and in tables.
        #[must_use]
        pub fn name(self) -> &'static str {
            match self { $(Self::$name => $word,)* }
        }

        /// In a sentence.
        #[must_use]
        pub fn about(self) -> &'static str {
            match self { $(Self::$name => concat!($($about),*).trim_start(),)* }
        }

        pub(super) fn ideas(self) -> Ideas {
            match self { $(Self::$name => Ideas::$ideas,)* }
        }

        pub(super) fn hotkeys(self) -> u32 {
            match self { $(Self::$name => $hotkeys,)* }
        }
    }
} }

/// Whether ideas of one's own come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ideas {
    /// For architectures.
    Architectures,
    /// For recipes.
    Recipes,
    /// None.
    Nothing,
}

strategies! {
    /// Has ideas, adds each to the best that is published and shows it at once.
    HonestDiscoverer = "honest-discoverer", Architectures, 1;
    /// Has ideas for recipes, and shows each at once on a published family.
    HonestTuner = "honest-tuner", Recipes, 1;
    /// As the discoverer, but comes when half of the time is over.
    LateImprover = "late-improver", Architectures, 1;
    /// Sends the leader's bundle, recipe and all, in every cohort.
    Copier = "copier", Nothing, 1;
    /// Sends the bundles of all title holders under other names.
    Renamer = "renamer", Nothing, 1;
    /// Sends the leader with one more norm, another each cohort.
    TrivialVariant = "trivial-variant", Nothing, 1;
    /// Cuts each idea of its own in five, for five hotkeys.
    Sybil = "sybil", Architectures, 5;
    /// Sends variants of the leader under two hotkeys as often as the quota lets it, until one is lucky.
    NoiseFarmer = "noise-farmer", Nothing, 2;
    /// Founds families as often as the quota lets it, each with the best published recipe, and waits.
    FamilySquatter = "family-squatter", Nothing, 1;
    /// Makes the leader worse on purpose, so that the best published recipe with a repair shines on it.
    Sandbagger = "sandbagger", Nothing, 1;
    /// Adds a real step of less than the margin to the leader, another each cohort.
    EpsilonOvertaker = "epsilon-overtaker", Nothing, 1;
    /// Has ideas and lets them out in steps of twice the margin, a week between two.
    DripFeeder = "drip-feeder", Architectures, 1;
    /// Shows the best published recipe again on every family that moves the frontier.
    RecipePorter = "recipe-porter", Nothing, 1;
    /// Reads the bundles of this cohort at the intake and sends them as its own, as they are and with a small step added.
    BundleThief = "bundle-thief", Nothing, 1;
    /// Is a validator that copies the published weights; as a miner it shows nothing.
    WeightCopier = "weight-copier", Nothing, 1;
}

impl Strategy {
    /// Whether it is what the subnet is there for: its profit is zero by definition, and its share is its due.
    #[must_use]
    pub fn is_honest(self) -> bool {
        matches!(self, Self::HonestDiscoverer | Self::HonestTuner | Self::LateImprover)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that names no strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no strategy is called `{0}`")]
pub struct UnknownStrategy(String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|strategy| strategy.name() == word);
        found.ok_or_else(|| UnknownStrategy(word.to_owned()))
    }
}
