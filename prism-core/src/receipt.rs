//! The proof that weights reached the chain.
use crate::{
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, Digest, Epoch, MechanismId, Netuid, Uid},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The version of [`Receipt`] that this crate writes. Version 1 had no commitments; its receipts are read as well.
pub const RECEIPT_SCHEMA: u32 = 2;

/// Which weights are to be set, by hotkey: a UID is looked up at the moment of signing, never stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightIntent {
    /// The subnet.
    pub netuid: Netuid,
    /// The mechanism within it.
    pub mechanism: MechanismId,
    /// The epoch they are meant for. One vector lands per epoch.
    pub epoch: Epoch,
    /// Non-negative shares; with `burn` they sum to 1.
    pub shares: BTreeMap<Hotkey, Finite>,
    /// The share that nobody earned; it goes to the subnet owner's slot, whose emission the chain burns.
    pub burn: Finite,
    /// The subnet's weights version key.
    pub version_key: u64,
    /// Digest of the policy in force.
    pub policy: Digest,
}

impl WeightIntent {
    /// The digest of the intent's compact JSON: the same intent has the same digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// How far the weights have come. A stage is entered only when the chain shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stage {
    /// Conformed, preflighted and signed; nothing was sent.
    Prepared {
        /// The first block in which the signature is void.
        expires: Block,
    },
    /// A node took it.
    Submitted {
        /// As in `Prepared`.
        expires: Block,
    },
    /// In a block of the best chain, without a dispatch error.
    Included {
        /// The block.
        block: Block,
        /// Its place in the block.
        extrinsic: u32,
    },
    /// The commitment is in a final block, and waits for its epoch.
    Committed {
        /// The beacon round that opens it; none for one that the hotkey itself reveals.
        round: Option<u64>,
        /// The epoch that the chain filed it under.
        epoch: Epoch,
        /// The block in which it is expected to be revealed.
        due: Block,
    },
    /// The extrinsic that reveals a hashed commitment is signed. It is these bytes that are sent, from here on.
    Revealing {
        /// The signed extrinsic.
        #[serde(with = "hex_bytes")]
        signed: Vec<u8>,
        /// The account's nonce in it.
        nonce: u64,
        /// The block that its era begins with.
        birth: Block,
        /// The first block in which the signature is void.
        expires: Block,
    },
    /// Its block is final.
    Finalized {
        /// The block it is in.
        block: Block,
        /// Its place in the block.
        extrinsic: u32,
    },
    /// The chain opened the commitment, in a final block.
    Revealed {
        /// Which.
        block: Block,
    },
    /// The chain's weights equal the intended ones. Terminal.
    ReadBack {
        /// When they were read.
        block: Block,
        /// What was read.
        uids: BTreeMap<Uid, u16>,
    },
    /// The signature became void before any block took it. Terminal.
    Expired,
    /// The chain refused it. Terminal.
    Failed {
        /// The chain's own name for the reason, and what to do.
        error: String,
    },
    /// The chain dropped the commitment, or its epoch passed, without a reveal; an alarm tells which. Terminal.
    RevealMissed,
    /// Something else took its place. Terminal.
    Superseded {
        /// What.
        reason: String,
    },
}

impl Stage {
    /// Whether nothing more happens.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::ReadBack { .. } | Self::Expired | Self::Failed { .. } | Self::RevealMissed | Self::Superseded { .. }
        )
    }

    /// Whether an extrinsic may be on its way to a block: no other of the same hotkey is to be signed meanwhile.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        matches!(
            self,
            Self::Prepared { .. }
                | Self::Submitted { .. }
                | Self::Included { .. }
                | Self::Finalized { .. }
                | Self::Revealing { .. }
        )
    }

    /// The stage's name, as in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "prepared",
            Self::Submitted { .. } => "submitted",
            Self::Included { .. } => "included",
            Self::Committed { .. } => "committed",
            Self::Finalized { .. } => "finalized",
            Self::Revealing { .. } => "revealing",
            Self::Revealed { .. } => "revealed",
            Self::ReadBack { .. } => "read_back",
            Self::Expired => "expired",
            Self::Failed { .. } => "failed",
            Self::RevealMissed => "reveal_missed",
            Self::Superseded { .. } => "superseded",
        }
    }
}

/// What a committed vector waits for. What was planned at signing; the stage tells what the chain made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// What opens it.
    pub opening: Opening,
    /// The epoch that it is to be filed under.
    pub epoch: Epoch,
    /// The block in which it is expected to be revealed.
    pub due: Block,
}

/// What opens a commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Opening {
    /// A beacon's round; the chain itself reveals.
    Round(u64),
    /// A salt, in a second extrinsic of the hotkey.
    Salt(Vec<u16>),
}

/// What happened to one intent. Serialisable and complete: a restart needs nothing else. `signed` is the extrinsic
/// itself, so that sending is repeatable and finding it on the chain is possible: same bytes, same hash, same nonce, and
/// the chain takes it at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// [`RECEIPT_SCHEMA`].
    pub schema: u32,
    /// What was intended.
    pub intent: WeightIntent,
    /// The signed extrinsic.
    #[serde(with = "hex_bytes")]
    pub signed: Vec<u8>,
    /// blake2b-256 of `signed`: the extrinsic's hash.
    pub hash: Digest,
    /// The account's nonce in it.
    pub nonce: u64,
    /// The block at which UIDs and limits were read.
    pub pinned: Block,
    /// The quantized vector, as signed.
    pub vector: BTreeMap<Uid, u16>,
    /// Who held each UID at `pinned`.
    pub holders: BTreeMap<Uid, Hotkey>,
    /// What a committed vector waits for; none for one that the extrinsic itself sets.
    #[serde(default)]
    pub commitment: Option<Commitment>,
    /// How far it has come.
    pub stage: Stage,
    /// The stages before, with the block at which each was entered.
    pub history: Vec<(Block, Stage)>,
    /// What an operator should look at: hotkeys dropped, a UID that changed hands.
    pub alarms: Vec<String>,
}

impl Receipt {
    /// Enters a stage, keeping the former one in the history.
    #[must_use]
    pub fn enter(&self, at: Block, stage: Stage) -> Self {
        let mut next = self.clone();
        let former = std::mem::replace(&mut next.stage, stage);
        next.history.push((at, former));
        next
    }
}

mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex::encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_survives_json_and_keeps_its_history() {
        let receipt = Receipt {
            schema: RECEIPT_SCHEMA,
            intent: WeightIntent {
                netuid: Netuid(1),
                mechanism: MechanismId(0),
                epoch: Epoch(3),
                shares: [(Hotkey([7; 32]), Finite::ONE)].into(),
                burn: Finite::ZERO,
                version_key: 0,
                policy: Digest::of(b"policy"),
            },
            signed: vec![1, 2, 255],
            hash: Digest::of(b"signed"),
            nonce: 4,
            pinned: Block(10),
            vector: [(Uid(2), 65535)].into(),
            holders: [(Uid(2), Hotkey([7; 32]))].into(),
            commitment: Some(Commitment { opening: Opening::Round(9), epoch: Epoch(3), due: Block(60) }),
            stage: Stage::Prepared { expires: Block(74) },
            history: vec![],
            alarms: vec![],
        };
        let next = receipt.enter(Block(11), Stage::Submitted { expires: Block(74) });
        assert_eq!(next.history, [(Block(11), Stage::Prepared { expires: Block(74) })]);
        let json = serde_json::to_string(&next).unwrap();
        assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), next);
        assert!(json.contains("\"signed\":\"0102ff\""), "{json}");
        let (signed, birth, expires) = (vec![3, 4], Block(20), Block(84));
        let revealing = next.enter(Block(20), Stage::Revealing { signed, nonce: 5, birth, expires });
        let json = serde_json::to_string(&revealing).unwrap();
        assert_eq!(serde_json::from_str::<Receipt>(&json).unwrap(), revealing);
    }

    #[test]
    fn a_receipt_of_the_first_version_is_one_without_a_commitment() {
        let json = r#"{"schema":1,"intent":{"netuid":1,"mechanism":0,"epoch":3,"shares":{},"burn":1.0,"version_key":0,
            "policy":"0000000000000000000000000000000000000000000000000000000000000000"},"signed":"01",
            "hash":"0000000000000000000000000000000000000000000000000000000000000000","nonce":0,"pinned":10,"vector":{},
            "holders":{},"stage":{"submitted":{"expires":74}},"history":[],"alarms":[]}"#;
        let receipt: Receipt = serde_json::from_str(json).unwrap();
        assert_eq!((receipt.commitment, receipt.stage), (None, Stage::Submitted { expires: Block(74) }));
    }
}
