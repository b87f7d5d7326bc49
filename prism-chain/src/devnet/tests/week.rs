//! A week of a subnet, as fast as it goes.

use std::time::Instant;

use codec::{Compact, Encode as _};

use super::super::pallets::subtensor::{self, Call as Subtensor};
use super::super::primitives::{AccountId32, MechId, MultiAddress, MultiSignature, NetUid, bounded};
use super::super::runtime::RuntimeCall;
use super::*;

const VALIDATORS: u16 = 6;
const NEURONS: u16 = 256;
const BLOCKS: u32 = 50_400;

/// An immortal extrinsic, as a client signs it.
fn signed(chain: &Chain, key: &Key, call: &RuntimeCall) -> Vec<u8> {
    let account = AccountId32::new(key.bytes());
    let version = &chain.runtime().version;
    let genesis = chain.block_at(0).unwrap().hash;
    let mut extra = vec![0_u8];
    (Compact(chain.next_nonce(&account)), Compact(0_u64), 0_u8).encode_to(&mut extra);
    let mut message = [call.encode(), extra.clone()].concat();
    (version.spec_version, version.transaction_version, genesis, genesis, None::<[u8; 32]>).encode_to(&mut message);
    if message.len() > 256 {
        message = sp_crypto_hashing::blake2_256(&message).to_vec();
    }
    let signature = MultiSignature::Sr25519(key.0.sign(&message).0);
    let mut body = vec![0x84];
    (MultiAddress::Id(account), signature).encode_to(&mut body);
    body.extend(extra);
    call.encode_to(&mut body);
    body.encode()
}

/// Every validator commits its weights once an epoch, through the pool; a neuron registers every half epoch.
#[tokio::test]
#[ignore = "measures: a week of 256 neurons"]
async fn a_simulated_week_of_a_subnet_with_256_neurons() {
    let began = Instant::now();
    let validators: Vec<Key> = (0..VALIDATORS).map(|n| Key::new(&format!("validator{n}"))).collect();
    let coldkey = Key::new("Alice");
    let mut neurons: Vec<GenesisNeuron> = Vec::new();
    for n in 0..NEURONS {
        let hotkey = validators.get(usize::from(n)).map_or(Hotkey([n as u8; 32]), Key::hotkey);
        let stake = if n < VALIDATORS { 1_000_000 + u64::from(n) } else { 0 };
        neurons.push(GenesisNeuron { hotkey, coldkey: coldkey.bytes(), stake, permit: n < VALIDATORS });
    }
    let subnet = SubnetConfig { neurons, commit_reveal: true, min_allowed_weights: 100, ..SubnetConfig::default() };
    let devnet = Devnet::start(DevnetConfig {
        endowments: vec![(coldkey.bytes(), 1_000_000_000_000)],
        subnets: vec![subnet],
        ..DevnetConfig::default()
    })
    .await
    .unwrap();
    let beacon = devnet.beacon();
    let started = began.elapsed();
    let mut sealing = Duration::ZERO;
    for block in 1..=BLOCKS {
        if block % 360 == 100 {
            let sealed = Instant::now();
            // The next epoch is 260 blocks away; three more for safety.
            let round = beacon.opening_round(1_767_225_600 + u64::from(block + 263) * 12);
            for (n, validator) in (0_u16..).zip(&validators) {
                let uids: Vec<u16> = (VALIDATORS..NEURONS).collect();
                let values: Vec<u16> = uids.iter().map(|uid| 1 + (uid * 7 + n + (block / 360) as u16) % 1000).collect();
                let payload = (validator.bytes().to_vec(), uids, values, 0_u64).encode();
                let commit = beacon.encrypt(round, &payload, &mut rand::thread_rng()).unwrap();
                let call = RuntimeCall::SubtensorModule(Subtensor::commit_timelocked_mechanism_weights {
                    netuid: NetUid(1),
                    mecid: MechId(0),
                    commit: bounded(commit.to_bytes()),
                    reveal_round: round,
                    commit_reveal_version: 4,
                });
                let mut chain = lock(&devnet.chain);
                let bytes = signed(&chain, validator, &call);
                chain.submit(bytes, None).unwrap();
            }
            sealing += sealed.elapsed();
        }
        // Not before an epoch has paid the validators: until then they are the first to be replaced.
        if block > 720 && block % 180 == 0 {
            let hotkey = AccountId32::new(sp_crypto_hashing::blake2_256(&block.encode()));
            let call = RuntimeCall::SubtensorModule(Subtensor::burned_register { netuid: NetUid(1), hotkey });
            let mut chain = lock(&devnet.chain);
            let bytes = signed(&chain, &coldkey, &call);
            chain.submit(bytes, None).unwrap();
        }
        lock(&devnet.chain).produce();
    }
    let chain = lock(&devnet.chain);
    let epochs = subtensor::SUBNET_EPOCH_INDEX.get(chain.open_state(), (NetUid(1),));
    let landed = chain.ledger().landed().len();
    let paid: u64 = subtensor::EMISSION.get(chain.open_state(), (NetUid(1),)).iter().map(|paid| paid.0).sum();
    println!(
        "a week, {BLOCKS} blocks: {:.1?} ({started:.1?} to start, {sealing:.1?} for clients to encrypt and sign); {epochs} \
         epochs, {landed} vectors opened",
        began.elapsed()
    );
    assert_eq!(epochs, 140);
    assert_eq!(landed, 139 * usize::from(VALIDATORS), "the last are still under their timelock");
    // A neuron that came since the last epoch has taken somebody's place, and got nothing yet.
    assert!(paid > 350 * 820_000_000);
}
