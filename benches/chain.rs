//! What the chain's side costs. `metagraph`: one selective metagraph of 256 members, decoded by field name through the
//! metadata, against the same bytes read by position; and the whole read over the websocket of a devnet. `weights`: from
//! shares to a signed commitment. `requests`: signed requests checked. Names choose; all without.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::unwrap_used, clippy::indexing_slicing)]
use prism_chain::{
    ChainClient, ChainConfig, Runtime,
    devnet::{Devnet, DevnetConfig, GenesisNeuron, SubnetConfig},
};
use prism_core::{Block, Hotkey, Netuid};
use std::{hint::black_box, time::Instant};

#[path = "chain/requests.rs"]
mod requests;
#[path = "chain/weights.rs"]
mod weights;

const MEMBERS: u16 = 256;
const NETUID: Netuid = Netuid(1);
/// The fields that the client asks for.
const FIELDS: [u16; 14] = [52, 53, 55, 56, 57, 59, 60, 61, 62, 63, 66, 67, 68, 69];
const ROUNDS: usize = 200;
/// Milliseconds that decoding may take.
const TARGET: f64 = 5.0;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        metagraph().await;
        weights::weights().await;
        requests::requests().await;
    });
}

async fn metagraph() {
    let account = |uid: u16, half: u8| {
        let mut bytes = [half; 32];
        bytes[..2].copy_from_slice(&uid.to_le_bytes());
        bytes
    };
    let neurons = (0..MEMBERS).map(|uid| GenesisNeuron {
        hotkey: Hotkey(account(uid, 1)),
        coldkey: account(uid, 2),
        stake: 1_000_000_000 * u64::from(uid),
        permit: uid < 64,
    });
    let subnet = SubnetConfig { netuid: NETUID, neurons: neurons.collect(), ..SubnetConfig::default() };
    let devnet = Devnet::start(DevnetConfig { subnets: vec![subnet], ..DevnetConfig::default() }).await.unwrap();
    devnet.produce_blocks(3).await;
    let client = ChainClient::connect(ChainConfig::new(devnet.url())).await.unwrap();
    let known = client.runtime().await.unwrap();
    let answer = answer(&client).await;

    let members = known.metagraph(NETUID, Block(1), &answer).unwrap().expect("a subnet").members;
    let bare = by_position(&answer).expect("the chain's layout");
    assert_eq!(members.len(), usize::from(MEMBERS));
    assert!(
        members.iter().zip(&bare).all(|(member, bare)| member.hotkey.0 == bare.hotkey && member.stake == bare.stake)
    );

    let (named, position) = (best(|| decode(&known, &answer)), best(|| by_position(&answer)));
    println!("metagraph of {MEMBERS} members, {} bytes, best of {ROUNDS}:", answer.len());
    println!("  by field name through the metadata {:8.3} ms (target {TARGET} ms)", named * 1e3);
    println!("  by position, without metadata      {:8.3} ms", position * 1e3);
    println!("  ratio                              {:8.1}", named / position);
    assert!(named * 1e3 < TARGET, "decoding takes {:.3} ms", named * 1e3);

    let mut whole = f64::INFINITY;
    for _ in 0..20 {
        let start = Instant::now();
        black_box(client.metagraph(NETUID, None).await.unwrap());
        whole = whole.min(start.elapsed().as_secs_f64());
    }
    println!("  the whole read from a devnet       {:8.3} ms", whole * 1e3);
}

fn decode(runtime: &Runtime, answer: &[u8]) -> Option<usize> {
    runtime.metagraph(NETUID, Block(1), answer).ok().flatten().map(|metagraph| metagraph.members.len())
}

/// What the runtime answers, as it comes from the wire.
async fn answer(client: &ChainClient) -> Vec<u8> {
    let mut input = NETUID.0.to_le_bytes().to_vec();
    input.push(u8::try_from(FIELDS.len() << 2).expect("few fields"));
    input.extend(FIELDS.iter().flat_map(|field| field.to_le_bytes()));
    let online = client.subxt().await.unwrap();
    let at = online.at_current_block().await.unwrap();
    at.runtime_apis().call_raw("SubnetInfoRuntimeApi_get_selective_metagraph", Some(&input)).await.unwrap()
}

/// The quickest of many rounds, seconds.
fn best<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        black_box(work());
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}

/// A member, as far as positions are read.
struct Bare {
    hotkey: [u8; 32],
    stake: u64,
}

/// The chain's answer by position, as a client that is compiled against one runtime reads it: fields 1 to 73 in their
/// order, those that weren't asked for empty.
fn by_position(mut bytes: &[u8]) -> Option<Vec<Bare>> {
    let input = &mut bytes;
    flag(input)?;
    compact(input)?;
    let (mut hotkeys, mut stakes) = (Vec::new(), Vec::new());
    for field in 1..=73 {
        if !flag(input)? {
            continue;
        }
        match field {
            52 => hotkeys = list(input, array::<32>)?,
            53 => drop(black_box(list(input, array::<32>)?)),
            55 => drop(black_box(list(input, array::<34>)?)),
            56 | 57 => drop(black_box(list(input, array::<1>)?)),
            59..=68 => drop(black_box(list(input, compact)?)),
            69 => stakes = list(input, compact)?,
            _ => return None,
        }
    }
    Some(hotkeys.into_iter().zip(stakes).map(|(hotkey, stake)| Bare { hotkey, stake }).collect())
}

fn list<T>(input: &mut &[u8], one: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    (0..compact(input)?).map(|_| one(input)).collect()
}

fn array<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = input.split_first_chunk::<N>()?;
    *input = rest;
    Some(*head)
}

fn flag(input: &mut &[u8]) -> Option<bool> {
    let [byte] = array(input)?;
    Some(byte == 1)
}

/// A number in SCALE's compact form.
fn compact(input: &mut &[u8]) -> Option<u64> {
    let [first] = array(input)?;
    let more = |count: usize, input: &mut &[u8]| -> Option<u64> {
        let (head, rest) = input.split_at_checked(count)?;
        *input = rest;
        Some(head.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    Some(match first & 3 {
        0 => u64::from(first >> 2),
        1 => u64::from(first >> 2) | more(1, input)? << 6,
        2 => u64::from(first >> 2) | more(3, input)? << 6,
        _ => more(usize::from(first >> 2) + 4, input)?,
    })
}
