//! Cohorts: open for some blocks, then closed, then seeded by a block that nobody knew while it was open.
use super::{
    Validator,
    baseline::baseline_id,
    lots::{self, Lot},
};
use crate::store::{
    cohorts::{CohortRecord, CohortStatus, Entrant, EntrantRole},
    policy::Policy,
};
use prism_core::{
    Block, Finite, Hotkey, Kind, Result, Seed, SubmissionId,
    standings::awaits_confirmation,
    submission::{Precedence, Submission, SubmissionKind, SubmissionStatus},
};
use prism_eval::{
    policy::{PlanPolicy, RewardNumbers},
    reward::to_be_confirmed,
};

/// When a cohort closes and what seeds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CohortRule {
    /// Blocks for which a cohort is open.
    pub blocks: u64,
    /// What seeds it.
    pub seed: SeedRule,
}

/// Where the seed of a cohort comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeedRule {
    /// The hash of the block this many after the best one at closing: when the cohort closes nobody knows it.
    Chain {
        /// Blocks after the best one.
        delay: u64,
    },
    /// A word that stands in for the block hash, so that runs replay. For development: rows are known before they are
    /// measured.
    Fixed(String),
}

impl SeedRule {
    /// The seed of a cohort that a word stands for.
    #[must_use]
    pub fn of_word(word: &str, cohort: u64) -> Seed {
        Seed::of("prism/cohort/fixed/1", &[word.as_bytes(), &cohort.to_le_bytes()])
    }
}

impl Default for CohortRule {
    fn default() -> Self {
        Self { blocks: 360, seed: SeedRule::Chain { delay: 3 } }
    }
}

impl Validator {
    pub(super) async fn ensure_open_cohort(&self) -> Result<()> {
        let head = self.0.chain.head().await?;
        self.0.store.open_cohort(head.finalized).await?;
        Ok(())
    }

    /// Whether closing the open cohort would measure anybody: a submission of it, or a winner who waits for confirmation.
    pub(super) async fn has_entrants(&self) -> Result<bool> {
        let open = self.0.store.open_cohort(self.0.chain.head().await?.finalized).await?;
        if !self.0.store.submissions(Some(open.number), Some(SubmissionStatus::Pending), 1).await?.is_empty() {
            return Ok(true);
        }
        let (margin, z) = frontier_numbers(&self.policy_in_force().await?)?;
        Ok(!self.unconfirmed(margin, z).await?.is_empty())
    }

    /// Closes the open cohort at the finalized head. Its seed is the hash of a block that does not exist yet: what was
    /// taken in before can't have been made for the rows that follow from it.
    pub(super) async fn close_now(&self) -> Result<()> {
        let head = self.0.chain.head().await?;
        let open = self.0.store.open_cohort(head.finalized).await?;
        let seed_block = match self.0.cohorts.seed {
            SeedRule::Chain { delay } => Some(Block(head.block.0.saturating_add(delay.max(1)))),
            SeedRule::Fixed(_) => None,
        };
        tracing::info!(cohort = open.number, block = head.finalized.0, "cohort closed");
        Ok(self.0.store.close_cohort(open.number, head.finalized, seed_block).await?)
    }

    /// Closes the open cohort when its blocks have passed. Whether it did.
    pub(super) async fn close_step(&self) -> Result<bool> {
        let finalized = self.0.chain.head().await?.finalized;
        let open = self.0.store.open_cohort(finalized).await?;
        if finalized.0 < open.opened.0.saturating_add(self.0.cohorts.blocks) {
            return Ok(false);
        }
        self.close_now().await?;
        Ok(true)
    }

    /// Seeds the oldest closed cohort when its seed is known. Whether it did.
    pub(super) async fn seed_step(&self) -> Result<bool> {
        let waiting = self.0.store.unsettled_cohort().await?.filter(|c| c.status == CohortStatus::Closed);
        match waiting {
            Some(cohort) => self.seed(&cohort).await,
            None => Ok(false),
        }
    }

    async fn seed(&self, cohort: &CohortRecord) -> Result<bool> {
        let number = cohort.number.to_le_bytes();
        let seed = match (&self.0.cohorts.seed, cohort.seed_block) {
            (_, Some(block)) => match self.0.chain.finalized_hash(block).await {
                Ok(hash) => Seed::of("prism/cohort/1", &[&hash, &number]),
                Err(error) if error.kind() == Kind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
            (SeedRule::Fixed(word), None) => SeedRule::of_word(word, cohort.number),
            (SeedRule::Chain { .. }, None) => {
                let text = format!("cohort {} was closed under a fixed seed and has none", cohort.number);
                return Err(prism_core::Error::new(Kind::Conflict, prism_core::Fault::Validator, text));
            }
        };
        let policy = self.policy_in_force().await?;
        let plan = policy.whole.as_ref().map_or(&self.0.policy.plan, |whole| &whole.plan);
        self.postpone(cohort, seed, plan).await?;
        let others = self.others(&policy).await?;
        self.0.store.seed_cohort(cohort.number, seed, policy, others, self.0.clock.now()).await?;
        tracing::info!(cohort = cohort.number, seed = %seed.0, "cohort seeded");
        Ok(true)
    }

    /// Moves whom the budget of a closed cohort does not hold to the open one.
    async fn postpone(&self, cohort: &CohortRecord, seed: Seed, plan: &PlanPolicy) -> Result<()> {
        let Some(budget) = plan.cohort_millis() else { return Ok(()) };
        let pending = self.0.store.submissions(Some(cohort.number), Some(SubmissionStatus::Pending), usize::MAX >> 1);
        let mut lots = Vec::new();
        for record in pending.await? {
            // Its examination comes first; seeding waits for it.
            let Some(kind) = record.kind else { return Ok(()) };
            let Submission { id, hotkey, precedence, .. } = record.submission;
            lots.push(Lot { submission: id, hotkey, block: precedence.block, cost: plan.most_cpu_millis(kind) });
        }
        let waiting = lots::waiting(seed, cohort.opened, &lots, budget);
        if waiting.is_empty() {
            return Ok(());
        }
        tracing::info!(cohort = cohort.number, waiting = waiting.len(), "submissions wait for the next cohort: budget");
        Ok(self.0.store.postpone(cohort.number, waiting, self.0.clock.now()).await?)
    }

    /// Whoever showed an advantage in the newest settled cohort that counts only once it is confirmed in the next.
    async fn unconfirmed(&self, margin: Finite, z: Finite) -> Result<Vec<SubmissionId>> {
        let cohorts = self.0.store.cohorts(64).await?;
        let Some(last) = cohorts.into_iter().find(|cohort| cohort.settled_at.is_some()) else { return Ok(Vec::new()) };
        let cards = self.0.store.cards(last.number).await?;
        let ahead = cards.into_iter().filter(|card| awaits_confirmation(card, margin, z));
        Ok(ahead.map(|card| card.submission).collect())
    }

    /// The published baselines, the title holders (whoever was credited on the frontier), and who is to be confirmed.
    async fn others(&self, policy: &Policy) -> Result<Vec<Entrant>> {
        let mut others = Vec::new();
        for family in self.published_families().await? {
            others.push(Entrant {
                // A family that a miner's submission founded earlier is measured as a baseline under an id of its own.
                submission: baseline_id(family.id),
                role: EntrantRole::Baseline,
                kind: SubmissionKind::ArchitectureOnly,
                family: family.id,
                precedence: Precedence { block: Block(0), extrinsic: 0, hotkey: Hotkey([0; 32]), local: false },
                material: family.material,
            });
        }
        let reward = RewardNumbers::from_numbers(&policy.numbers)?;
        let mut again = to_be_confirmed(&self.0.store.standings().await?, &reward);
        again.extend(self.unconfirmed(reward.margin, reward.z).await?);
        for submission in again {
            if let Some(entrant) = self.0.store.last_entry(submission).await? {
                others.push(Entrant { role: EntrantRole::Incumbent, ..entrant });
            }
        }
        Ok(others)
    }
}

/// Margin and multiple of the standard error at which an advantage counts.
pub(super) fn frontier_numbers(policy: &Policy) -> Result<(Finite, Finite)> {
    let reward = RewardNumbers::from_numbers(&policy.numbers)?;
    Ok((reward.margin, reward.z))
}
