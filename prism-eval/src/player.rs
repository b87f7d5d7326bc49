//! The one cut below [`Trainer`](prism_core::Trainer): native graph, Python guest and scripted cheat all play the same
//! game, and one host loop deals the rows, audits the claims, does the arithmetic and writes the evidence.
use async_trait::async_trait;
pub use prism_core::manifest::Measuring;
use prism_core::{Artifacts, Digest, Finite, Result, evidence::Work};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};

/// Rows of tokens, row-major. A row of `columns` tokens has `columns - 1` predicted positions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// `rows * columns` ids.
    pub tokens: Vec<u32>,
    /// Number of rows.
    pub rows: u32,
    /// Tokens per row.
    pub columns: u32,
}

/// One negative log-likelihood (nats) per predicted position, as the player says.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims {
    /// `rows * positions` values, row-major.
    pub values: Vec<f32>,
    /// Number of rows.
    pub rows: u32,
    /// Predicted positions per row.
    pub positions: u32,
}

/// Next-token logits, one vector per row.
#[derive(Debug, Clone, PartialEq)]
pub struct Logits {
    /// `rows * vocabulary` values, row-major.
    pub values: Vec<f32>,
    /// Number of rows.
    pub rows: u32,
    /// Values per row.
    pub vocabulary: u32,
}

/// What a player says about one training step, by name. Host-witnessed when the player is trusted code.
///
/// `loss` is the mean over the batch in bits per predicted position, without additions to the objective;
/// `gradient_norm` is that of all gradients before clipping; other names become series as they are.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepReport(pub BTreeMap<&'static str, Finite>);

/// What this host saw of a player's inside, by the name of a series: see [`measure::signals`](crate::measure::signals).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation(pub BTreeMap<String, Finite>);

/// All that prediction needs, by digest; its size is the model's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// Digest of the state.
    pub state: Digest,
    /// Its size.
    pub bytes: u64,
}

/// A model that learns and predicts.
///
/// 1. `claim` and `logits_at` are pure functions of (state, rows).
/// 2. `snapshot` and `save` precede the rows that come next: nothing of them can be in it.
/// 3. `auditor` starts a player that never ran before, from the snapshot and nothing else.
/// 4. While frozen, nothing of the player runs.
#[async_trait]
pub trait Player: Debug + Send {
    /// Whether its arithmetic runs in trusted code: claims need no audit and step reports are the host's own.
    fn trusted(&self) -> bool;
    /// How it wants to be measured. The choice is made once: it is asked for before anything is trained.
    fn measuring(&self) -> Measuring {
        Measuring::Claims
    }
    /// How long it took to build: part of the run's wall clock.
    fn built_in(&self) -> Duration {
        Duration::ZERO
    }
    /// Predicts rows that it has not trained on.
    async fn claim(&mut self, rows: &Rows) -> Result<Claims>;
    /// Next-token logits at one position of each row: auditors, cut-prefix measuring, generation. At position `p` the
    /// model is to know tokens `0..=p`; what stands after them is no continuation of theirs.
    async fn logits_at(&mut self, rows: &Rows, positions: &[u32]) -> Result<Logits>;
    /// Looks inside at measuring points, at rows that were predicted and not trained on. What comes back is this host's
    /// own arithmetic, never what a guest says of itself, and nothing that is predicted or learnt later depends on it.
    async fn observe(&mut self, rows: &Rows) -> Result<Observation> {
        let _ = rows;
        Ok(Observation::default())
    }
    /// One step of the recipe.
    async fn train(&mut self, batch: &Rows) -> Result<StepReport>;
    /// Takes the state that prediction needs.
    async fn snapshot(&mut self) -> Result<Snapshot>;
    /// Keeps all that training goes on from, for another player to take it up; `None` where a retry starts anew.
    async fn save(&mut self, artifacts: &dyn Artifacts) -> Result<Option<Snapshot>> {
        let _ = artifacts;
        Ok(None)
    }
    /// A fresh player from a snapshot; `None` when this one is trusted.
    async fn auditor(&self, snapshot: Snapshot) -> Result<Option<Box<dyn Player>>>;
    /// Stops everything of it.
    async fn freeze(&mut self) -> Result<()>;
    /// Lets it run again.
    async fn thaw(&mut self) -> Result<()>;
    /// Work since the start, counted by the host, over all attempts.
    async fn spent(&mut self) -> Result<Work>;
    /// Ends it.
    async fn finish(self: Box<Self>) -> Result<()>;
}
