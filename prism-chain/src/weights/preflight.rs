//! The chain's own checks of a weight vector, made before anything is signed.
use crate::{
    epoch::EpochClock,
    error::ChainError,
    metagraph::{Hyperparameters, storage_index},
    runtime::{AtBlock, Entry, account, subnet},
    weights::{
        commit::{COMMIT_VERSION, MAX_UNREVEALED},
        error::WeightsError,
        setter::CommitScheme,
    },
};
use prism_core::{Block, Epoch, Hotkey, Netuid, Uid, receipt::WeightIntent};
use std::time::Duration;

/// The root network, where stake is in TAO.
const ROOT: Netuid = Netuid(0);

/// What one block shows of a subnet and of the hotkey that is to sign.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) netuid: Netuid,
    pub(crate) hotkey: Hotkey,
    /// Where this was read.
    pub(crate) at: Block,
    /// The best block, which rate limits are counted to.
    pub(crate) best: Block,
    pub(crate) block_time: Duration,
    pub(crate) rules: Hyperparameters,
    pub(crate) uid: Option<Uid>,
    pub(crate) owner: Option<Hotkey>,
    pub(crate) permit: bool,
    pub(crate) last_update: u64,
    /// Stake weight in rao; `None` when it can't be told from the hotkey's own stake.
    pub(crate) stake: Option<u64>,
    pub(crate) next_epoch: Option<Block>,
    /// What holds for a commitment; none with commit-reveal off.
    pub(crate) commit: Option<CommitRules>,
}

/// What one block shows of commitments.
#[derive(Debug, Clone)]
pub(crate) struct CommitRules {
    /// How a vector is committed.
    pub(crate) scheme: CommitScheme,
    /// The version of timelocked commitments that the chain takes.
    pub(crate) version: u16,
    /// The epoch of the next block, which the commitment would be in.
    pub(crate) epoch: Epoch,
    /// The block in which it would be revealed; none when no epoch comes.
    pub(crate) reveal: Option<Block>,
    /// Commitments of the hotkey that wait already.
    pub(crate) unrevealed: usize,
}

impl CommitRules {
    /// Rules at `at`, epochs and waiting commitments at the best block: the next one takes the commitment.
    async fn read(
        at: &AtBlock,
        best: &AtBlock,
        hotkey: &Hotkey,
        intent: &WeightIntent,
        scheme: CommitScheme,
    ) -> Result<Self, ChainError> {
        let netuid = intent.netuid;
        let index = storage_index(netuid, intent.mechanism);
        let (version, period, clock): (_, _, EpochClock) =
            tokio::try_join!(at.commit_version(), at.reveal_period(netuid), best.epoch_clock(netuid))?;
        let epoch = clock.epoch_at(Block(best.number.saturating_add(1)), netuid);
        let unrevealed = match scheme {
            CommitScheme::Timelock => {
                best.timelocked(index, epoch).await?.iter().filter(|commit| commit.hotkey == *hotkey).count()
            }
            CommitScheme::Hash => best.hashed(index, hotkey).await?.len(),
        };
        let reveal = clock.first_block_of(Epoch(epoch.0.saturating_add(period)), best.block(), netuid);
        Ok(Self { scheme, version, epoch, reveal, unrevealed })
    }
}

impl Standing {
    /// Reads all figures at one block.
    pub(crate) async fn read(
        at: &AtBlock,
        best: &AtBlock,
        hotkey: Hotkey,
        intent: &WeightIntent,
        scheme: CommitScheme,
    ) -> Result<Self, WeightsError> {
        let netuid = intent.netuid;
        if netuid == ROOT {
            return Err(WeightsError::Root);
        }
        if !at.subnet_exists(netuid).await? {
            return Err(WeightsError::NoSubnet(netuid));
        }
        let (rules, uid, owner, clock) = tokio::try_join!(
            at.hyperparameters(netuid),
            at.uid(netuid, &hotkey),
            at.owner_hotkey(netuid),
            at.epoch_clock(netuid),
        )?;
        let (permit, last_update) = match uid {
            Some(uid) => {
                tokio::try_join!(at.permit(netuid, uid), at.last_update(storage_index(netuid, intent.mechanism), uid))?
            }
            None => (false, 0),
        };
        let commit = match rules.commit_reveal {
            true => Some(CommitRules::read(at, best, &hotkey, intent, scheme).await?),
            false => None,
        };
        let stake = if rules.stake_threshold == 0 { None } else { own_stake(at, netuid, &hotkey).await? };
        Ok(Self {
            netuid,
            hotkey,
            at: at.block(),
            best: best.block(),
            block_time: at.block_time()?,
            rules,
            uid,
            owner,
            permit,
            last_update,
            stake,
            next_epoch: clock.next_epoch_block(at.block(), netuid),
            commit,
        })
    }

    /// The chain's checks in the chain's order (subtensor, subnets/weights.rs: `internal_set_weights`), but for those
    /// of the vector itself. The owner's hotkey needs neither stake nor permit; a weight for oneself alone needs no
    /// permit. A commitment meets its own checks at once, and all others when it is revealed, where they fail in silence:
    /// here they are made before it.
    pub(crate) fn check(&self, intent: &WeightIntent) -> Result<Uid, WeightsError> {
        let (netuid, hotkey) = (self.netuid, self.hotkey);
        if intent.mechanism.0 >= self.rules.mechanisms {
            return Err(WeightsError::NoMechanism {
                netuid,
                mechanism: intent.mechanism,
                count: self.rules.mechanisms,
            });
        }
        if let Some(rules) = &self.commit {
            self.check_commit(rules)?;
        }
        let uid = self.uid.ok_or(WeightsError::NotRegistered { hotkey, netuid, at: self.at })?;
        let is_owner = self.owner == Some(hotkey);
        if let Some(stake) = self.stake.filter(|stake| *stake < self.rules.stake_threshold && !is_owner) {
            return Err(WeightsError::Stake { hotkey, stake, threshold: self.rules.stake_threshold });
        }
        let required = self.rules.weights_version_key;
        if intent.version_key < required {
            return Err(WeightsError::VersionKey { netuid, key: intent.version_key, required });
        }
        let free = self.last_update.saturating_add(self.rules.weights_rate_limit);
        // The extrinsic is in the next block at the earliest. Who never set weights has 0 here, and no limit.
        let blocks = free.saturating_sub(self.best.0.saturating_add(1));
        if self.last_update > 0 && blocks > 0 {
            let name = match self.commit {
                Some(_) => "CommittingWeightsTooFast",
                None => "SettingWeightsTooFast",
            };
            return Err(WeightsError::TooFast { name, blocks, last: Block(self.last_update), wait: self.span(blocks) });
        }
        if let Some(rules) = self.commit.as_ref().filter(|rules| rules.unrevealed >= MAX_UNREVEALED) {
            return Err(WeightsError::TooManyCommits { count: rules.unrevealed, wait: self.until_epoch() });
        }
        if !(self.permit || is_owner || self.only_self(intent)) {
            return Err(WeightsError::NoPermit { hotkey, netuid, wait: self.until_epoch() });
        }
        Ok(uid)
    }

    fn check_commit(&self, rules: &CommitRules) -> Result<(), WeightsError> {
        if rules.scheme == CommitScheme::Timelock && rules.version != COMMIT_VERSION {
            return Err(WeightsError::CommitVersion(rules.version));
        }
        if rules.reveal.is_none() {
            return Err(WeightsError::NoEpochs(self.netuid));
        }
        Ok(())
    }

    fn until_epoch(&self) -> Option<Duration> {
        self.next_epoch.map(|next| self.span(next.0.saturating_sub(self.best.0)))
    }

    fn only_self(&self, intent: &WeightIntent) -> bool {
        let mut paid = intent.shares.iter().filter(|(_, share)| share.get() > 0.0).map(|(hotkey, _)| *hotkey);
        intent.burn.get() <= 0.0 && paid.next() == Some(self.hotkey) && paid.next().is_none()
    }

    fn span(&self, blocks: u64) -> Duration {
        self.block_time.saturating_mul(u32::try_from(blocks).unwrap_or(u32::MAX))
    }
}

/// Stake weight of a hotkey without parents: its alpha on the subnet, and its TAO on the root network times
/// `TaoWeight / 2^64`. With parents or children the chain's figure is another one, and only the chain can tell.
async fn own_stake(at: &AtBlock, netuid: Netuid, hotkey: &Hotkey) -> Result<Option<u64>, ChainError> {
    for relation in [Entry::subtensor("ParentKeys"), Entry::subtensor("ChildKeys")] {
        if at.has(relation) {
            let related: Vec<(u64, subxt::utils::AccountId32)> =
                at.get(relation, vec![account(hotkey), subnet(netuid)]).await?;
            if !related.is_empty() {
                return Ok(None);
            }
        }
    }
    let (alpha, tao, weight) = tokio::try_join!(
        at.alpha(netuid, hotkey),
        at.alpha(ROOT, hotkey),
        at.get::<u64>(Entry::subtensor("TaoWeight"), vec![]),
    )?;
    let tao = (u128::from(tao) * u128::from(weight)) >> 64;
    Ok(Some(alpha.saturating_add(u64::try_from(tao).unwrap_or(u64::MAX))))
}
