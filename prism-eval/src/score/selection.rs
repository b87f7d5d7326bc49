//! Which scorer, by name.
use super::{PrequentialScorer, PrismScorer};
use prism_core::Scorer;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr, sync::Arc};

/// A scorer that ships, as a config or a command line names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScorerChoice {
    /// [`PrismScorer`].
    #[default]
    Prism,
    /// [`PrequentialScorer`].
    Prequential,
}

impl ScorerChoice {
    /// All names.
    pub const NAMES: [&'static str; 2] = ["prism", "prequential"];

    /// The scorer.
    #[must_use]
    pub fn scorer(self) -> Arc<dyn Scorer> {
        match self {
            Self::Prism => Arc::new(PrismScorer),
            Self::Prequential => Arc::new(PrequentialScorer),
        }
    }
}

impl fmt::Display for ScorerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prism => "prism",
            Self::Prequential => "prequential",
        })
    }
}

/// A name that no scorer has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scorer is called `{0}` (prism, prequential)")]
pub struct UnknownScorer(String);

impl FromStr for ScorerChoice {
    type Err = UnknownScorer;
    fn from_str(name: &str) -> Result<Self, UnknownScorer> {
        match name {
            "prism" => Ok(Self::Prism),
            "prequential" => Ok(Self::Prequential),
            other => Err(UnknownScorer(other.escape_debug().take(80).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scorer_is_chosen_by_the_name_that_it_has() {
        for name in ScorerChoice::NAMES {
            let choice: ScorerChoice = name.parse().unwrap();
            assert_eq!((choice.to_string().as_str(), choice.scorer().name()), (name, name));
            assert_eq!(serde_json::to_value(choice).unwrap(), name);
        }
        assert_eq!(
            "prizm".parse::<ScorerChoice>().unwrap_err().to_string(),
            "no scorer is called `prizm` (prism, prequential)"
        );
        assert_eq!(ScorerChoice::default().scorer().name(), "prism");
    }
}
