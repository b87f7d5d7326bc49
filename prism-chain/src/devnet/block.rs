//! Blocks and their headers, as they are hashed and as JSON-RPC shows them.

use codec::{Compact, Encode};
use serde_json::{Value, json};
use sp_crypto_hashing::blake2_256;

use super::primitives::H256;

/// `0x` and lowercase hexadecimal digits.
pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    format!("0x{}", hex::encode(bytes))
}

/// A block's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) parent: H256,
    pub(super) number: u64,
    pub(super) state_root: [u8; 32],
    pub(super) extrinsics_root: [u8; 32],
    /// Encoded digest items.
    pub(super) logs: Vec<Vec<u8>>,
}

impl Header {
    /// Blake2-256 of the SCALE header.
    pub(super) fn hash(&self) -> H256 {
        H256(blake2_256(&self.encode()))
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "parentHash": hex(self.parent),
            "number": format!("{:#x}", self.number),
            "stateRoot": hex(self.state_root),
            "extrinsicsRoot": hex(self.extrinsics_root),
            "digest": { "logs": self.logs.iter().map(hex).collect::<Vec<_>>() },
        })
    }
}

impl Encode for Header {
    fn encode(&self) -> Vec<u8> {
        let mut out = self.parent.encode();
        Compact(self.number).encode_to(&mut out);
        self.state_root.encode_to(&mut out);
        self.extrinsics_root.encode_to(&mut out);
        Compact(u32::try_from(self.logs.len()).unwrap_or(u32::MAX)).encode_to(&mut out);
        for log in &self.logs {
            out.extend(log);
        }
        out
    }
}

/// The digest item by which Aura says the slot: `PreRuntime("aura", slot)`.
pub(super) fn slot_log(slot: u64) -> Vec<u8> {
    const PRE_RUNTIME: u8 = 6;
    (PRE_RUNTIME, *b"aura", slot.encode()).encode()
}

/// A digest item of any other kind.
pub(super) fn other_log(bytes: &[u8]) -> Vec<u8> {
    const OTHER: u8 = 0;
    (OTHER, bytes).encode()
}

/// A block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) hash: H256,
    pub(super) header: Header,
    /// Extrinsics in their wire form.
    pub(super) extrinsics: Vec<Vec<u8>>,
}

impl Block {
    pub(super) fn json(&self) -> Value {
        json!({
            "block": {
                "header": self.header.json(),
                "extrinsics": self.extrinsics.iter().map(hex).collect::<Vec<_>>(),
            },
            "justifications": Value::Null,
        })
    }
}

#[cfg(test)]
mod tests {
    use subxt::config::substrate::SubstrateHeader;

    use super::*;

    #[test]
    fn json_and_scale_are_those_of_a_substrate_header() {
        let header = Header {
            parent: H256::repeat_byte(1),
            number: 300,
            state_root: [2; 32],
            extrinsics_root: [3; 32],
            logs: vec![slot_log(7), other_log(&[8])],
        };
        let read: SubstrateHeader<H256> = serde_json::from_value(header.json()).unwrap();
        assert_eq!(read.encode(), header.encode());
    }
}
