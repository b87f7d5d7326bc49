//! A subnet's rules at one block.
use crate::{
    client::ChainClient,
    error::ChainError,
    metagraph::SUBNETWORK_N,
    runtime::{AtBlock, Entry, subnet},
};
use prism_core::{Block, Netuid};
use serde::Serialize;

const TEMPO: Entry = Entry::subtensor("Tempo");
const WEIGHTS_SET_RATE_LIMIT: Entry = Entry::subtensor("WeightsSetRateLimit");
const WEIGHTS_VERSION_KEY: Entry = Entry::subtensor("WeightsVersionKey");
const MIN_ALLOWED_WEIGHTS: Entry = Entry::subtensor("MinAllowedWeights");
const MAX_WEIGHTS_LIMIT: Entry = Entry::subtensor("MaxWeightsLimit");
const COMMIT_REVEAL_ENABLED: Entry = Entry::subtensor("CommitRevealWeightsEnabled");
const REVEAL_PERIOD_EPOCHS: Entry = Entry::subtensor("RevealPeriodEpochs");
const COMMIT_REVEAL_VERSION: Entry = Entry::subtensor("CommitRevealWeightsVersion");
const MECHANISM_COUNT: Entry = Entry::subtensor("MechanismCountCurrent");
const MAX_ALLOWED_UIDS: Entry = Entry::subtensor("MaxAllowedUids");
const MAX_ALLOWED_VALIDATORS: Entry = Entry::subtensor("MaxAllowedValidators");
const IMMUNITY_PERIOD: Entry = Entry::subtensor("ImmunityPeriod");
const ACTIVITY_CUTOFF: Entry = Entry::subtensor("ActivityCutoff");
const SERVING_RATE_LIMIT: Entry = Entry::subtensor("ServingRateLimit");
const REGISTRATION_ALLOWED: Entry = Entry::subtensor("NetworkRegistrationAllowed");
const BURN: Entry = Entry::subtensor("Burn");
const STAKE_THRESHOLD: Entry = Entry::subtensor("StakeThreshold");

/// A subnet's rules at one block.
///
/// Where a runtime has no such rule, its field has the value that stands for none: no limit, no threshold, one
/// mechanism, a reveal one epoch later. The rules that decide how weights are set must be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// Blocks per epoch.
    pub tempo: u16,
    /// Blocks between two weight vectors of one neuron.
    pub weights_rate_limit: u64,
    /// The least version key that is accepted; zero accepts all.
    pub weights_version_key: u64,
    /// Fewest weights in a vector; no more than there are neurons.
    pub min_allowed_weights: u16,
    /// Largest weight's share of the sum, in 1/65535.
    pub max_weights_limit: u16,
    /// Whether weights must be committed before they are revealed.
    pub commit_reveal: bool,
    /// Epochs from a commitment to its reveal.
    pub reveal_period: u64,
    /// The form of commitment that the chain takes; on all subnets. `None` before there were forms.
    pub commit_reveal_version: Option<u16>,
    /// Number of mechanisms.
    pub mechanisms: u8,
    /// Number of slots that are taken.
    pub neurons: u16,
    /// Number of slots.
    pub max_neurons: u16,
    /// Number of slots with a validator permit.
    pub max_validators: u16,
    /// Blocks for which a new neuron can't be replaced.
    pub immunity_period: u16,
    /// Blocks after its last weights for which a validator counts as active.
    pub activity_cutoff: u64,
    /// Blocks between two announcements of an axon.
    pub serving_rate_limit: u64,
    /// Whether registration is open.
    pub registration_allowed: bool,
    /// Price of a registration, rao.
    pub burn: u64,
    /// Least stake with which weights can be set, rao; on all subnets.
    pub stake_threshold: u64,
}

impl ChainClient {
    /// The subnet's rules at a block; at the newest final one without it.
    ///
    /// # Errors
    /// As [`ChainClient::metagraph`].
    pub async fn hyperparameters(&self, netuid: Netuid, at: Option<Block>) -> Result<Hyperparameters, ChainError> {
        self.at_or_final(at).await?.hyperparameters(netuid).await
    }
}

impl AtBlock {
    /// The subnet's rules, read in one call.
    pub(crate) async fn hyperparameters(&self, netuid: Netuid) -> Result<Hyperparameters, ChainError> {
        let of_subnet = [
            TEMPO,
            WEIGHTS_SET_RATE_LIMIT,
            WEIGHTS_VERSION_KEY,
            MIN_ALLOWED_WEIGHTS,
            MAX_WEIGHTS_LIMIT,
            COMMIT_REVEAL_ENABLED,
            REVEAL_PERIOD_EPOCHS,
            MECHANISM_COUNT,
            SUBNETWORK_N,
            MAX_ALLOWED_UIDS,
            MAX_ALLOWED_VALIDATORS,
            IMMUNITY_PERIOD,
            ACTIVITY_CUTOFF,
            SERVING_RATE_LIMIT,
            REGISTRATION_ALLOWED,
            BURN,
        ];
        let of_chain = [COMMIT_REVEAL_VERSION, STAKE_THRESHOLD];
        let wanted = of_subnet.map(|entry| (entry, vec![subnet(netuid)]));
        let found = self.gather(wanted.into_iter().chain(of_chain.map(|entry| (entry, vec![])))).await?;
        Ok(Hyperparameters {
            tempo: found.get(TEMPO)?,
            weights_rate_limit: found.get(WEIGHTS_SET_RATE_LIMIT)?,
            weights_version_key: found.find(WEIGHTS_VERSION_KEY)?.unwrap_or(0),
            min_allowed_weights: found.get(MIN_ALLOWED_WEIGHTS)?,
            max_weights_limit: found.find(MAX_WEIGHTS_LIMIT)?.unwrap_or(u16::MAX),
            commit_reveal: found.get(COMMIT_REVEAL_ENABLED)?,
            reveal_period: found.find(REVEAL_PERIOD_EPOCHS)?.unwrap_or(1),
            commit_reveal_version: found.find(COMMIT_REVEAL_VERSION)?,
            mechanisms: found.find(MECHANISM_COUNT)?.unwrap_or(1),
            neurons: found.get(SUBNETWORK_N)?,
            max_neurons: found.get(MAX_ALLOWED_UIDS)?,
            max_validators: found.find(MAX_ALLOWED_VALIDATORS)?.unwrap_or(u16::MAX),
            immunity_period: found.find(IMMUNITY_PERIOD)?.unwrap_or(0),
            activity_cutoff: found.find(ACTIVITY_CUTOFF)?.unwrap_or(u64::MAX),
            serving_rate_limit: found.find(SERVING_RATE_LIMIT)?.unwrap_or(0),
            registration_allowed: found.find(REGISTRATION_ALLOWED)?.unwrap_or(true),
            burn: found.find(BURN)?.unwrap_or(0),
            stake_threshold: found.find(STAKE_THRESHOLD)?.unwrap_or(0),
        })
    }
}
