//! Commitments: what a neuron publishes on the chain, at once or when a beacon's round is out (`pallets/commitments`).

mod data;

use std::collections::BTreeSet;

use codec::{Decode, Encode};
use scale_info::TypeInfo;

pub(in crate::devnet) use data::{CommitmentInfo, Data, MAX_FIELDS, Registration};

use super::subtensor;
use crate::devnet::beacon::{self, DevnetBeacon};
use crate::devnet::dispatch::{DispatchError, Execution, ModuleError};
use crate::devnet::primitives::{AccountId32, NetUid};
use crate::devnet::storage::storage;
use crate::timelock::Ciphertext;

/// Index of the pallet in the runtime.
pub(in crate::devnet) const PALLET_INDEX: u8 = 18;
/// Space that the smallest commitment takes.
const MIN_SPACE: u64 = 100;
/// Revealed values that are kept for an account.
const MAX_REVEALED: usize = 10;

/// Calls of the Commitments pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(non_camel_case_types)]
pub(in crate::devnet) enum Call {
    #[codec(index = 0)]
    set_commitment { netuid: NetUid, info: CommitmentInfo },
}

/// Events of the Commitments pallet.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Event {
    Commitment { netuid: NetUid, who: AccountId32 },
    TimelockCommitment { netuid: NetUid, who: AccountId32, reveal_round: u64 },
    CommitmentRevealed { netuid: NetUid, who: AccountId32 },
}

/// Why the pallet refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) enum Error {
    TooManyFieldsInCommitmentInfo,
    AccountNotAllowedCommit,
    SpaceLimitExceeded,
    UnexpectedUnreserveLeftover,
}

impl From<Error> for DispatchError {
    fn from(error: Error) -> Self {
        Self::Module(ModuleError::new(PALLET_INDEX, &error))
    }
}

/// Space that an account used in an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub(in crate::devnet) struct UsageTracker {
    last_epoch: u64,
    used_space: u64,
}

storage! { "Commitments":
    /// Accounts with something under a timelock.
    TIMELOCKED_INDEX "TimelockedIndex" [] -> BTreeSet<(NetUid, AccountId32)> = BTreeSet::new();
    /// The newest commitment of an account.
    COMMITMENT_OF "CommitmentOf" [Identity NetUid, Twox64Concat AccountId32] -> Registration;
    /// When an account last committed.
    LAST_COMMITMENT "LastCommitment" [Identity NetUid, Twox64Concat AccountId32] -> u32;
    /// When an account last asked for its bonds to be reset.
    LAST_BONDS_RESET "LastBondsReset" [Identity NetUid, Twox64Concat AccountId32] -> u32;
    /// What was revealed, and in which block; the newest ten.
    REVEALED_COMMITMENTS "RevealedCommitments" [Identity NetUid, Twox64Concat AccountId32] -> Vec<(Vec<u8>, u64)>;
    /// Space that an account used.
    USED_SPACE_OF "UsedSpaceOf" [Identity NetUid, Twox64Concat AccountId32] -> UsageTracker;
    /// Space that an account has in an epoch.
    MAX_SPACE "MaxSpace" [] -> u32 = 3100;
}

impl Call {
    pub(in crate::devnet) fn dispatch(
        &self,
        execution: &mut Execution<'_>,
        signer: &AccountId32,
    ) -> Result<(), DispatchError> {
        let Self::set_commitment { netuid, info } = self;
        Ok(commit(execution, signer, *netuid, info)?)
    }
}

fn commit(
    execution: &mut Execution<'_>,
    who: &AccountId32,
    netuid: NetUid,
    info: &CommitmentInfo,
) -> Result<(), Error> {
    let state = &mut *execution.state;
    let key = (netuid, who.clone());
    if !subtensor::UIDS.contains(state, key.clone()) {
        return Err(Error::AccountNotAllowedCommit);
    }
    let epoch = subtensor::epoch_at(state, netuid, execution.block);
    let mut usage = USED_SPACE_OF.get(state, key.clone()).unwrap_or_default();
    if usage.last_epoch != epoch {
        usage = UsageTracker { last_epoch: epoch, used_space: 0 };
    }
    let space = info.fields.iter().map(Data::space).sum::<u64>().max(MIN_SPACE);
    usage.used_space = usage.used_space.saturating_add(space);
    if usage.used_space > u64::from(MAX_SPACE.get(state, ())) {
        return Err(Error::SpaceLimitExceeded);
    }
    let block = u32::try_from(execution.block).unwrap_or(u32::MAX);
    if info.fields.contains(&Data::ResetBondsFlag) {
        LAST_BONDS_RESET.put(state, key.clone(), &block);
    }
    USED_SPACE_OF.put(state, key.clone(), &usage);
    COMMITMENT_OF.put(state, key.clone(), &Registration { deposit: 0, block, info: info.clone() });
    LAST_COMMITMENT.put(state, key.clone(), &block);
    let round = info.fields.iter().find_map(|field| match field {
        Data::TimelockEncrypted { reveal_round, .. } => Some(*reveal_round),
        _ => None,
    });
    let who = who.clone();
    if let Some(reveal_round) = round {
        TIMELOCKED_INDEX.mutate(state, (), |index| {
            index.insert(key);
        });
        execution.deposit(Event::TimelockCommitment { netuid, who, reveal_round });
    } else {
        forget(execution, &key);
        execution.deposit(Event::Commitment { netuid, who });
    }
    Ok(())
}

/// Nothing of this account is under a timelock any more.
fn forget(execution: &mut Execution<'_>, key: &(NetUid, AccountId32)) {
    let mut index = TIMELOCKED_INDEX.get(execution.state, ());
    if index.remove(key) {
        TIMELOCKED_INDEX.put(execution.state, (), &index);
    }
}

/// What happens at the start of every block: fields whose round is out are revealed. One that doesn't open is lost
/// without a word, and a commitment of which nothing is left is removed, as on the chain up to spec 445.
pub(in crate::devnet) fn block_step(execution: &mut Execution<'_>, beacon: &DevnetBeacon) {
    for key in TIMELOCKED_INDEX.get(execution.state, ()) {
        match COMMITMENT_OF.get(execution.state, key.clone()) {
            Some(registration) => reveal(execution, &key, registration, beacon),
            None => forget(execution, &key),
        }
    }
}

fn reveal(
    execution: &mut Execution<'_>,
    key: &(NetUid, AccountId32),
    mut registration: Registration,
    beacon: &DevnetBeacon,
) {
    let mut revealed = Vec::new();
    let before = registration.info.fields.len();
    registration.info.fields.retain(|field| {
        let Data::TimelockEncrypted { encrypted, reveal_round } = field else { return true };
        let Some(pulse) = beacon.pulse(execution.state, *reveal_round) else { return true };
        let plain = Ciphertext::from_bytes(encrypted).ok();
        let plain = plain.zip(beacon::signature(&pulse)).and_then(|(sealed, key)| sealed.decrypt(&key).ok());
        revealed.extend(plain.filter(|plain| !plain.is_empty()));
        false
    });
    if registration.info.fields.len() == before {
        return;
    }
    if !revealed.is_empty() {
        let mut all = REVEALED_COMMITMENTS.get(execution.state, key.clone()).unwrap_or_default();
        for value in revealed {
            all.push((value, execution.block));
            execution.deposit(Event::CommitmentRevealed { netuid: key.0, who: key.1.clone() });
        }
        all.drain(..all.len().saturating_sub(MAX_REVEALED));
        REVEALED_COMMITMENTS.put(execution.state, key.clone(), &all);
    }
    if registration.info.fields.is_empty() {
        COMMITMENT_OF.remove(execution.state, key.clone());
    } else {
        COMMITMENT_OF.put(execution.state, key.clone(), &registration);
    }
    if !registration.info.fields.iter().any(|field| matches!(field, Data::TimelockEncrypted { .. })) {
        forget(execution, key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::config::BeaconConfig;
    use crate::devnet::primitives::bounded;
    use crate::devnet::state::State;

    const NETUID: NetUid = NetUid(1);

    fn who() -> (NetUid, AccountId32) {
        (NETUID, AccountId32::new([1; 32]))
    }

    fn subnet() -> (State, DevnetBeacon) {
        let mut state = State::default();
        subtensor::TEMPO.put(&mut state, (NETUID,), &10);
        subtensor::UIDS.put(&mut state, who(), &0);
        let beacon = DevnetBeacon::new(&BeaconConfig { genesis_unix: 1_000, ..BeaconConfig::default() });
        beacon.initialize(&mut state, 1_000_000);
        (state, beacon)
    }

    fn set(state: &mut State, block: u64, fields: Vec<Data>) -> Result<(), Error> {
        let info = CommitmentInfo { fields: fields.try_into().unwrap() };
        commit(&mut Execution::new(state, block, 1), &who().1, NETUID, &info)
    }

    fn locked(beacon: &DevnetBeacon, round: u64, plain: &[u8]) -> Data {
        let sealed = beacon.parameters().encrypt(round, plain, &mut rand::thread_rng()).unwrap();
        Data::TimelockEncrypted { encrypted: bounded(sealed.to_bytes()), reveal_round: round }
    }

    #[test]
    fn only_neurons_commit_and_only_as_much_as_an_epoch_has_space_for() {
        let (mut state, _) = subnet();
        let stranger = AccountId32::new([9; 32]);
        let none = CommitmentInfo { fields: vec![].try_into().unwrap() };
        let refused = commit(&mut Execution::new(&mut state, 1, 1), &stranger, NETUID, &none);
        assert_eq!(refused, Err(Error::AccountNotAllowedCommit));
        for _ in 0..31 {
            set(&mut state, 3, vec![Data::Raw(bounded(b"small"))]).unwrap();
        }
        assert_eq!(set(&mut state, 4, vec![]), Err(Error::SpaceLimitExceeded));
        assert_eq!(set(&mut state, 10, vec![Data::BigRaw(bounded([1; 512]))]), Ok(()), "the next epoch");
        assert_eq!(USED_SPACE_OF.get(&state, who()), Some(UsageTracker { last_epoch: 1, used_space: 512 }));
        assert_eq!(LAST_COMMITMENT.get(&state, who()), Some(10));
    }

    #[test]
    fn a_field_is_revealed_when_its_round_is_out_and_the_commitment_goes_with_its_last_field() {
        let (mut state, beacon) = subnet();
        set(&mut state, 3, vec![locked(&beacon, 2, b"soon"), locked(&beacon, 3, b"later")]).unwrap();
        let step = |state: &mut State, block| {
            let mut execution = Execution::new(state, block, 0);
            block_step(&mut execution, &beacon);
            execution.events.len()
        };
        assert_eq!(step(&mut state, 4), 0);
        beacon.store(&mut state, 1_003_000);
        assert_eq!(step(&mut state, 5), 1);
        assert_eq!(COMMITMENT_OF.get(&state, who()).unwrap().info.fields.len(), 1);
        beacon.store(&mut state, 1_006_000);
        assert_eq!(step(&mut state, 6), 1);
        assert_eq!(COMMITMENT_OF.get(&state, who()), None);
        assert!(TIMELOCKED_INDEX.get(&state, ()).is_empty());
        let revealed = REVEALED_COMMITMENTS.get(&state, who()).unwrap();
        assert_eq!(revealed, [(b"soon".to_vec(), 5), (b"later".to_vec(), 6)]);
    }

    #[test]
    fn what_does_not_open_is_lost_what_is_plain_stays_and_ten_reveals_are_kept() {
        let (mut state, beacon) = subnet();
        beacon.store(&mut state, 1_003_000);
        let broken = Data::TimelockEncrypted { encrypted: bounded([7; 300]), reveal_round: 2 };
        set(&mut state, 3, vec![broken, Data::Raw(bounded(b"plain"))]).unwrap();
        block_step(&mut Execution::new(&mut state, 4, 0), &beacon);
        assert_eq!(COMMITMENT_OF.get(&state, who()).unwrap().info.fields.len(), 1);
        assert_eq!(REVEALED_COMMITMENTS.get(&state, who()), None);
        for n in 0..12_u8 {
            let block = u64::from(n) * 10 + 10;
            set(&mut state, block, vec![locked(&beacon, 2, &[n])]).unwrap();
            block_step(&mut Execution::new(&mut state, block, 0), &beacon);
        }
        let revealed = REVEALED_COMMITMENTS.get(&state, who()).unwrap();
        assert_eq!(revealed.iter().map(|(value, _)| value[0]).collect::<Vec<_>>(), (2..12).collect::<Vec<_>>());
    }
}
