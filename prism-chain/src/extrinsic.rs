//! Signed extrinsics: making one, sending its bytes, finding it in a block, and what became of its call.
use crate::{
    client::{ChainClient, Tip},
    dispatch::DispatchError,
    error::ChainError,
    rejection::Rejection,
    runtime::{AtBlock, Runtime},
    signer::{Signer, sign_checked},
    transport::unboxed,
};
use codec::{Compact, Decode as _};
use prism_core::{Block, Hotkey};
use std::{ops::RangeInclusive, time::Duration};
use subxt::{
    config::{DefaultExtrinsicParamsBuilder, Hasher as _, SubstrateConfig, substrate::BlakeTwo256},
    dynamic::Value,
    events::{Events, Phase},
    ext::scale_value::Composite,
    transactions::DynamicPayload,
    utils::{AccountId32, H256, MultiSignature},
};
use tokio::time::{sleep, timeout};

/// A call by name, its arguments by name.
pub(crate) type Call = DynamicPayload<Composite<()>>;

/// A call of Subtensor's own pallet.
pub(crate) fn subtensor<const N: usize>(name: &'static str, arguments: [(&'static str, Value); N]) -> Call {
    subxt::dynamic::tx("SubtensorModule", name, Composite::named(arguments))
}

/// The name of a call, for people.
fn shown(call: &Call) -> String {
    format!("{}.{}", call.pallet_name(), call.call_name())
}

/// A signed extrinsic of version 4 with a mortal era.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signed {
    /// As it travels: length prefix and all.
    pub(crate) bytes: Vec<u8>,
    /// blake2b-256 of `bytes`.
    pub(crate) hash: [u8; 32],
    pub(crate) nonce: u64,
    /// First block in which the signature is void.
    pub(crate) expires: u64,
}

/// Signs a call for the runtime at `tip`, in an era that starts at `birth` and lasts `period` blocks (a power of two
/// from 4 to 4096).
pub(crate) async fn sign(
    tip: &AtBlock,
    birth: Tip,
    period: u64,
    nonce: u64,
    call: &Call,
    signer: &dyn Signer,
) -> Result<Signed, ChainError> {
    sign_for(&tip.runtime, birth, period, nonce, call, signer).await
}

/// The same without a connection.
pub(crate) async fn sign_for(
    runtime: &Runtime,
    birth: Tip,
    period: u64,
    nonce: u64,
    call: &Call,
    signer: &dyn Signer,
) -> Result<Signed, ChainError> {
    let item = shown(call);
    let known = runtime.metadata().pallet_by_name(call.pallet_name());
    if known.and_then(|pallet| pallet.call_variant_by_name(call.call_name())).is_none() {
        return Err(runtime.missing(format!("call {item}")));
    }
    let encode = |error: subxt::error::ExtrinsicError| ChainError::Encode {
        item: item.clone(),
        spec: runtime.spec_version(),
        reason: error.to_string(),
    };
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(period, birth.number, birth.hash)
        .build();
    let transactions = runtime.client().transactions();
    let mut signable = transactions.create_v4_signable_offline(call, params).map_err(encode)?;
    let payload = signable.signer_payload().map_err(encode)?;
    let hotkey = signer.hotkey();
    let signature = sign_checked(signer, &payload).await?;
    let signed = signable
        .sign_with_account_and_signature(&AccountId32(hotkey.0), &MultiSignature::Sr25519(signature))
        .map_err(encode)?;
    let bytes = signed.into_encoded();
    let hash = extrinsic_hash(&bytes);
    Ok(Signed { bytes, hash, nonce, expires: birth.number.saturating_add(period) })
}

/// An extrinsic's hash: blake2b-256 of its wire form.
pub(crate) fn extrinsic_hash(bytes: &[u8]) -> [u8; 32] {
    BlakeTwo256.hash(bytes).0
}

/// Who signed an extrinsic of version 4, by its own word.
pub(crate) fn signer_of(mut bytes: &[u8]) -> Option<Hotkey> {
    const SIGNED_V4: u8 = 0x84;
    const ID: u8 = 0;
    let length = Compact::<u32>::decode(&mut bytes).ok()?.0;
    let (head, key) = (bytes.get(..2)?, bytes.get(2..34)?);
    let whole = usize::try_from(length).is_ok_and(|length| length == bytes.len());
    (whole && head == [SIGNED_V4, ID]).then(|| key.try_into().ok().map(Hotkey))?
}

/// Where an extrinsic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) tip: Tip,
    pub(crate) index: u32,
}

/// How a call ended, with all events of the block. A batch of which an item failed has failed.
#[derive(Debug)]
pub(crate) enum Outcome {
    Success(Events<SubstrateConfig>),
    Failed(DispatchError),
}

impl ChainClient {
    /// Hands the very bytes to the node, once. That the pool has them already is success.
    pub(crate) async fn send(&self, bytes: &[u8]) -> Result<(), ChainError> {
        const CALL: &str = "author_submitExtrinsic";
        match self.rpc().author_submit_extrinsic(bytes).await {
            Ok(hash) if hash.0 == extrinsic_hash(bytes) => Ok(()),
            Ok(hash) => {
                Err(ChainError::Answer { call: CALL.into(), reason: format!("it names another extrinsic: {hash:?}") })
            }
            Err(error) => match Rejection::of(unboxed(CALL, error)) {
                ChainError::Rejected(Rejection::AlreadyKnown) => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Looks for the bytes in these blocks of the best chain, oldest first.
    pub(crate) async fn locate(&self, bytes: &[u8], blocks: RangeInclusive<u64>) -> Result<Option<Place>, ChainError> {
        for number in blocks {
            let tip = self.tip_at(Block(number)).await?;
            if let Some(index) = self.index_in(bytes, tip.hash).await? {
                return Ok(Some(Place { tip, index }));
            }
        }
        Ok(None)
    }

    /// The place of the bytes in a block, if they are in it.
    pub(crate) async fn index_in(&self, bytes: &[u8], block: H256) -> Result<Option<u32>, ChainError> {
        let extrinsics = self.extrinsics(block).await?;
        let index = extrinsics.iter().position(|other| other == bytes);
        Ok(index.and_then(|index| u32::try_from(index).ok()))
    }

    /// Signs a call, sends it, and waits for it to be in a block without a dispatch error. For rare calls of an
    /// operator; it is not repeatable over a restart, as a weight receipt is.
    ///
    /// One call of an account is under way at a time. Bytes that a node may have taken are never signed anew: when no
    /// answer came, the same bytes are sent again, and blocks tell the rest. Only what a pool refused outright, because
    /// something else had the nonce, is built anew.
    pub(crate) async fn land(
        &self,
        call: &Call,
        signer: &dyn Signer,
    ) -> Result<(Place, Events<SubstrateConfig>), ChainError> {
        const PERIOD: u64 = 32;
        const ATTEMPTS: u32 = 4;
        let _lane = self.lane(signer.hotkey()).await;
        let block_time = self.at_best().await?.block_time()?;
        let limit = block_time.saturating_mul(u32::try_from(PERIOD * 2).unwrap_or(u32::MAX));
        let work = async {
            let mut attempt = 1;
            loop {
                let birth = self.finalized().await?;
                let best = self.at_best().await?;
                let nonce = best.account(&signer.hotkey()).await?.nonce;
                let signed = sign(&best, birth, PERIOD, nonce, call, signer).await?;
                let sent = match self.send(&signed.bytes).await {
                    Ok(()) => true,
                    Err(ChainError::Broken { .. } | ChainError::Deadline { .. }) => false,
                    Err(ChainError::Rejected(Rejection::LowPriority | Rejection::Stale)) if attempt < ATTEMPTS => {
                        attempt += 1;
                        self.next_block(best.number, block_time).await?;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                return self.await_inclusion(call, &signed, sent, birth.number, block_time).await;
            }
        };
        timeout(limit, work).await.unwrap_or_else(|_| Err(ChainError::Deadline { call: shown(call), after: limit }))
    }

    /// Waits for a best block above this one.
    async fn next_block(&self, above: u64, block_time: Duration) -> Result<(), ChainError> {
        while self.best().await?.number <= above {
            sleep(pause(block_time)).await;
        }
        Ok(())
    }

    async fn await_inclusion(
        &self,
        call: &Call,
        signed: &Signed,
        mut sent: bool,
        birth: u64,
        block_time: Duration,
    ) -> Result<(Place, Events<SubstrateConfig>), ChainError> {
        loop {
            let best = self.best().await?.number;
            let last = best.min(signed.expires.saturating_sub(1));
            if let Some(place) = self.locate(&signed.bytes, birth.saturating_add(1)..=last).await? {
                let at = self.at(place.tip).await?;
                return match outcome(&at, place.index).await? {
                    Outcome::Success(events) => Ok((place, events)),
                    Outcome::Failed(error) => {
                        Err(ChainError::Dispatch { call: shown(call), block: place.tip.number, error })
                    }
                };
            }
            if best >= signed.expires {
                return Err(ChainError::Expired { call: shown(call), expires: signed.expires });
            }
            if !sent {
                // A refusal now may mean that the first copy went through: that is for the blocks to show.
                sent = self.send(&signed.bytes).await.is_ok();
            }
            sleep(pause(block_time)).await;
        }
    }
}

/// How long to wait before looking for a new block.
fn pause(block_time: Duration) -> Duration {
    (block_time / 4).clamp(Duration::from_millis(20), Duration::from_secs(2))
}

/// How the call of an extrinsic ended, from the events of its block.
pub(crate) async fn outcome(at: &AtBlock, index: u32) -> Result<Outcome, ChainError> {
    let (runtime, events) = at.executed().await?;
    let metadata = runtime.metadata();
    let decode = |error: subxt::error::EventsError| ChainError::Decode {
        field: format!("events of block {}", at.number),
        reason: error.to_string(),
    };
    let (mut ended, mut item) = (None, None);
    for event in events.iter() {
        let event = event.map_err(decode)?;
        if event.phase() != Phase::ApplyExtrinsic(index) {
            continue;
        }
        match (event.pallet_name(), event.event_name()) {
            ("System", "ExtrinsicSuccess") => ended = Some(None),
            ("System", "ExtrinsicFailed") => {
                let fields: Composite<()> = event.decode_fields_unchecked_as().map_err(decode)?;
                ended = Some(Some(DispatchError::of_extrinsic(&fields, metadata)));
            }
            (pallet, name) if item.is_none() && DispatchError::is_told_by(pallet, name) => {
                let fields: Composite<()> = event.decode_fields_unchecked_as().map_err(decode)?;
                item = DispatchError::of_item(&fields, metadata);
            }
            _ => {}
        }
    }
    match ended.map(|error| error.or(item)) {
        Some(None) => Ok(Outcome::Success(events)),
        Some(Some(error)) => Ok(Outcome::Failed(error)),
        None => Err(ChainError::Decode {
            field: format!("events of block {}", at.number),
            reason: format!("extrinsic {index} has neither ExtrinsicSuccess nor ExtrinsicFailed"),
        }),
    }
}
