//! What a commitment to a vector is made of.
use crate::{
    timelock::{Beacon, MAX_CIPHERTEXT_BYTES},
    weights::error::WeightsError,
};
use codec::{Decode, Encode};
use prism_core::{Block, Hotkey};
use rand::{CryptoRng, RngCore};
use sp_crypto_hashing::blake2_256;
use std::time::Duration;

/// The version of timelocked commitments that is made here (subtensor, `CommitRevealWeightsVersion`).
pub const COMMIT_VERSION: u16 = 4;

/// Commitments of one hotkey that the chain keeps unrevealed: within an epoch under a timelock, in all by hash.
pub(crate) const MAX_UNREVEALED: usize = 10;

/// Numbers in a salt, as many as the official SDK takes.
const SALT: usize = 8;

/// Blocks after the first reveal block for which the round is chosen, so that a slow epoch finds it published
/// (bittensor-core, timelock/constants.rs: `SECURITY_BLOCK_OFFSET`).
const SECURITY_BLOCKS: u64 = 3;

/// What is encrypted (subtensor, coinbase/reveal_commits.rs).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct WeightsTlockPayload {
    /// The public key of the hotkey that commits: 32 bytes.
    pub hotkey: Vec<u8>,
    /// Slots.
    pub uids: Vec<u16>,
    /// Their weights; the largest is 65535.
    pub values: Vec<u16>,
    /// The weights version key.
    pub version_key: u64,
}

impl WeightsTlockPayload {
    /// The payload for a round, as the chain takes it.
    ///
    /// # Errors
    /// `CommitTooLong` past the chain's 5,000 bytes, which are reached at 1,178 weights; `Timelock` for a beacon that is
    /// none.
    pub fn seal<R: RngCore + CryptoRng>(
        &self,
        beacon: &Beacon,
        round: u64,
        rng: &mut R,
    ) -> Result<Vec<u8>, WeightsError> {
        let bytes = beacon.encrypt(round, &self.encode(), rng)?.to_bytes();
        if bytes.len() > MAX_CIPHERTEXT_BYTES {
            return Err(WeightsError::CommitTooLong { weights: self.uids.len(), bytes: bytes.len() });
        }
        Ok(bytes)
    }
}

/// The beacon round for a commitment that the chain opens in block `first_reveal`: the one that is out three blocks
/// later, counted from the time of block `head` (milliseconds since 1970).
#[must_use]
pub fn reveal_round(beacon: &Beacon, now_millis: u64, head: Block, first_reveal: Block, block_time: Duration) -> u64 {
    let blocks = first_reveal.0.saturating_add(SECURITY_BLOCKS).saturating_sub(head.0);
    let wait = block_time.as_millis().saturating_mul(blocks.into());
    let unix = wait.saturating_add(now_millis.into()) / 1000;
    beacon.opening_round(u64::try_from(unix).unwrap_or(u64::MAX))
}

/// The hash of a commitment that the hotkey itself reveals: blake2b-256 of account, subnet (as
/// `mechanism * 4096 + netuid`), UIDs, values, salt and version key (subtensor, subnets/weights.rs: `get_commit_hash`).
#[must_use]
pub fn commit_hash(
    hotkey: &Hotkey,
    netuid_index: u16,
    uids: &[u16],
    values: &[u16],
    salt: &[u16],
    version_key: u64,
) -> [u8; 32] {
    blake2_256(&(hotkey.0, netuid_index, uids, values, salt, version_key).encode())
}

pub(crate) fn salt(rng: &mut impl RngCore) -> Vec<u16> {
    // The low half of each number.
    (0..SALT).map(|_| (rng.next_u32() & 0xffff) as u16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timelock::{BeaconKey, Ciphertext, QUICKNET};
    use rand::{SeedableRng, rngs::StdRng};

    fn payload(weights: u16) -> WeightsTlockPayload {
        let uids: Vec<u16> = (0..weights).collect();
        WeightsTlockPayload { hotkey: vec![7; 32], values: vec![65535; uids.len()], uids, version_key: 1 }
    }

    fn seal(payload: &WeightsTlockPayload) -> Result<Vec<u8>, WeightsError> {
        let key = BeaconKey::from_seed(b"a");
        let beacon = Beacon { public_key: key.public_key(), ..QUICKNET };
        let sealed = payload.seal(&beacon, 1000, &mut StdRng::seed_from_u64(7))?;
        let opened = Ciphertext::from_bytes(&sealed).unwrap().decrypt(&key.sign(1000)).unwrap();
        assert_eq!(WeightsTlockPayload::decode(&mut opened.as_slice()).unwrap(), *payload);
        Ok(sealed)
    }

    /// Sizes measured with the official package.
    #[test]
    fn a_commitment_is_as_long_as_the_official_one_and_opens() {
        for (weights, bytes) in [(1, 291), (3, 299), (64, 545), (128, 801), (256, 1313), (1024, 4385)] {
            assert_eq!(seal(&payload(weights)).unwrap().len(), bytes, "{weights} weights");
        }
    }

    #[test]
    fn a_commitment_that_the_chain_would_not_take_is_refused() {
        assert_eq!(seal(&payload(1177)).unwrap().len(), 4997);
        let error = seal(&payload(1178)).unwrap_err();
        assert!(matches!(error, WeightsError::CommitTooLong { weights: 1178, bytes: 5001 }), "{error}");
    }

    /// From the official package: //Alice, subnet 1.
    #[test]
    fn the_hash_of_a_commitment_is_the_official_one() {
        let alice = crate::signer::Keypair::from_uri("//Alice").unwrap();
        let salt: Vec<u16> = (1..=8).collect();
        let hash = commit_hash(&crate::Signer::hotkey(&alice), 1, &[0, 1, 2], &[100, 200, 65535], &salt, 7);
        assert_eq!(hex::encode(hash), "8e5315973b942da75a27492dc34c475d83090def16d7e9ad602c892e01a1eb8f");
    }

    #[test]
    fn the_round_is_the_one_that_is_out_three_blocks_after_the_reveal() {
        let round = |reveal, head, millis| {
            let block_time = Duration::from_secs(12);
            reveal_round(&QUICKNET, 1_692_803_367_000_u64 + millis, Block(head), Block(reveal), block_time)
        };
        assert_eq!(round(1360, 1100, 0), 263 * 4);
        assert_eq!(round(1360, 1100, 2_999), 263 * 4);
        assert_eq!(round(1360, 1100, 3_000), 263 * 4 + 1);
        assert_eq!(reveal_round(&QUICKNET, 0, Block(5), Block(0), Duration::ZERO), 1, "before the beacon began");
        let late = reveal_round(&QUICKNET, u64::MAX, Block(0), Block(u64::MAX), Duration::MAX);
        assert_eq!(late, (u64::MAX - QUICKNET.genesis_unix) / 3);
    }

    #[test]
    fn salts_differ() {
        let mut rng = StdRng::seed_from_u64(7);
        assert_ne!(salt(&mut rng), salt(&mut rng));
        assert_eq!(salt(&mut rng).len(), 8);
    }
}
