//! Signed extrinsics: making one, sending its bytes, finding it in a block, and what became of its call.
use crate::{
    client::{ChainClient, Tip},
    error::ChainError,
    rejection::Rejection,
    runtime::AtBlock,
    signer::{KeyError, Signer, verify},
    transport::unboxed,
};
use codec::{Compact, Decode as _};
use prism_core::{Block, Hotkey};
use std::{ops::RangeInclusive, time::Duration};
use subxt::{
    Metadata,
    config::{DefaultExtrinsicParamsBuilder, Hasher as _, SubstrateConfig, substrate::BlakeTwo256},
    dynamic::{At as _, Value},
    events::{Events, Phase},
    ext::scale_value::{Composite, ValueDef},
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
    let item = shown(call);
    let known = tip.client.metadata_ref().pallet_by_name(call.pallet_name());
    if known.and_then(|pallet| pallet.call_variant_by_name(call.call_name())).is_none() {
        return Err(ChainError::Missing { item: format!("call {item}"), spec: tip.spec() });
    }
    let encode = |error: subxt::error::ExtrinsicError| ChainError::Encode {
        item: item.clone(),
        spec: tip.spec(),
        reason: error.to_string(),
    };
    let params = DefaultExtrinsicParamsBuilder::<SubstrateConfig>::new()
        .nonce(nonce)
        .mortal_from_unchecked(period, birth.number, birth.hash)
        .build();
    let transactions = tip.client.transactions();
    let mut signable = transactions.create_v4_signable_offline(call, params).map_err(encode)?;
    let payload = signable.signer_payload().map_err(encode)?;
    let hotkey = signer.hotkey();
    let signature = signer.sign(&payload).await?;
    if !verify(&hotkey, &payload, &signature) {
        return Err(KeyError::Signature(hotkey).into());
    }
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

/// How a call ended, with all events of the block.
#[derive(Debug)]
pub(crate) enum Outcome {
    Success(Events<SubstrateConfig>),
    /// The chain's own name for the reason.
    Failed(String),
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
    pub(crate) async fn land(
        &self,
        call: &Call,
        signer: &dyn Signer,
    ) -> Result<(Place, Events<SubstrateConfig>), ChainError> {
        const PERIOD: u64 = 32;
        let birth = self.finalized().await?;
        let best = self.at_best().await?;
        let nonce = best.account(&signer.hotkey()).await?.nonce;
        let signed = sign(&best, birth, PERIOD, nonce, call, signer).await?;
        self.send(&signed.bytes).await?;
        let block_time = best.block_time()?;
        let limit = block_time.saturating_mul(u32::try_from(PERIOD * 2).unwrap_or(u32::MAX));
        timeout(limit, self.await_inclusion(call, &signed, birth.number, block_time))
            .await
            .unwrap_or_else(|_| Err(ChainError::Deadline { call: shown(call), after: limit }))
    }

    async fn await_inclusion(
        &self,
        call: &Call,
        signed: &Signed,
        birth: u64,
        block_time: Duration,
    ) -> Result<(Place, Events<SubstrateConfig>), ChainError> {
        let pause = (block_time / 4).clamp(Duration::from_millis(20), Duration::from_secs(2));
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
            sleep(pause).await;
        }
    }
}

/// How the call of an extrinsic ended, from the events of its block.
pub(crate) async fn outcome(at: &AtBlock, index: u32) -> Result<Outcome, ChainError> {
    let events = at.events().await?;
    let decode = |error: subxt::error::EventsError| ChainError::Decode {
        field: format!("events of block {}", at.number),
        reason: error.to_string(),
    };
    let mut ended = None;
    for event in events.iter() {
        let event = event.map_err(decode)?;
        if event.phase() != Phase::ApplyExtrinsic(index) || event.pallet_name() != "System" {
            continue;
        }
        match event.event_name() {
            "ExtrinsicSuccess" => ended = Some(None),
            "ExtrinsicFailed" => {
                let fields: Composite<()> = event.decode_fields_unchecked_as().map_err(decode)?;
                ended = Some(Some(dispatch_error(&fields, at.client.metadata_ref())));
            }
            _ => {}
        }
    }
    match ended {
        Some(None) => Ok(Outcome::Success(events)),
        Some(Some(error)) => Ok(Outcome::Failed(error)),
        None => Err(ChainError::Decode {
            field: format!("events of block {}", at.number),
            reason: format!("extrinsic {index} has neither ExtrinsicSuccess nor ExtrinsicFailed"),
        }),
    }
}

/// The chain's own name for a dispatch error: `Pallet.Error` for a pallet's, the variants' names for others.
fn dispatch_error(fields: &Composite<()>, metadata: &Metadata) -> String {
    let Some(error) = fields.at("dispatch_error").or_else(|| fields.at(0)) else { return "unknown".to_owned() };
    let byte = |value: Option<&Value>| value.and_then(|value| u8::try_from(value.as_u128()?).ok());
    let mut names = Vec::new();
    let mut value = error;
    while let ValueDef::Variant(variant) = &value.value {
        if variant.name == "Module"
            && let Some(module) = variant.values.at(0)
            && let (Some(index), Some(number)) = (byte(module.at("index")), byte(module.at("error").at(0)))
            && let Some(pallet) = metadata.pallet_by_error_index(index)
        {
            let error = pallet.error_variant_by_index(number).map_or("unknown error", |variant| variant.name.as_str());
            return format!("{}.{error}", pallet.name());
        }
        names.push(variant.name.as_str());
        match variant.values.at(0) {
            Some(inner) => value = inner,
            None => break,
        }
    }
    if names.is_empty() { "unknown".to_owned() } else { names.join(".") }
}
