//! The guest protocol: frames over one byte channel, the same in both directions.
//!
//! The host speaks first. Every request gets one answer of its kind, or [`Kind::Failed`], and parts may precede it.
//! All numbers are little-endian.
//!
//! | offset | type | what |
//! |---|---|---|
//! | 0 | u32 | sequence number: the host counts its requests from 1, the guest repeats |
//! | 4 | u8 | [`Kind`]; an answer has the kind of its request with [`ANSWER`] set |
//! | 5 | 3 bytes | zero |
//! | 8 | u32 | bytes of the header, at most [`MAX_HEADER`] |
//! | 12 | u32 | bytes of the blob, at most [`MAX_BLOB`] |
//! | 16 | | the header: one JSON object |
//! | | | the blob: raw numbers or bytes |
//!
//! | kind | request | its blob | answer | its blob |
//! |---|---|---|---|---|
//! | hello | `version`, `nonce`, `optimizers` | | `version`, `nonce`, `world_size`, `python`, `torch`, `device` | |
//! | resume | `bytes`; parts follow | | | |
//! | build | [`Build`] | the bundle's canonical JSON | `parameters`, as the guest counts | |
//! | claim | `rows`, `columns`, `seed` | tokens, u32 | `rows`, `positions` | nats, f32: one for each position |
//! | logits | `rows`, `columns`, `seed` | tokens, then one position for each row, u32 | `rows`, `vocabulary` | logits, f32: one vector for each row |
//! | train | `rows`, `columns`, `step` | tokens, u32 | `loss` (bits), `gradient_norm`, `learning_rate`: what there is | |
//! | save | | | `bytes`, after parts of the state | |
//! | load | `bytes`; parts follow | | | |
//! | checkpoint | | | `path`, `bytes`, after parts of the archive, if any | |
//! | finish | | | | |
//! | part | | at most [`PART`] bytes | has none | |
//! | failed | is none | | `message`: why the guest gives up | |
//!
//! State is in the layout of safetensors and an archive in one of the runner's own; the host reads neither.
//! The runner (`runner/prism_guest/channel.py`) implements the same.
use crate::recipe::Recipe;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io};

/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;
/// Most bytes of a header.
pub const MAX_HEADER: usize = 65_536;
/// Most bytes of a blob.
pub const MAX_BLOB: usize = 1 << 28;
/// Most bytes of a part.
pub const PART: usize = 1 << 20;
/// Set in the kind of an answer.
pub const ANSWER: u8 = 0x80;
/// Bytes of a frame before its header.
pub const PREAMBLE: usize = 16;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Version and nonce.
    Hello = 1,
    /// The bundle, and under which numbers it is built.
    Build = 2,
    /// Predict rows.
    Claim = 3,
    /// Logits at one position of each row.
    Logits = 4,
    /// One step.
    Train = 5,
    /// Give the state that prediction needs.
    Save = 6,
    /// Take such a state.
    Load = 7,
    /// Give all that training goes on from, where something saves it: the miner's hook, or the runner's own recipe.
    Checkpoint = 8,
    /// Take what was saved, before `Build`.
    Resume = 9,
    /// Enough.
    Finish = 10,
    /// A piece of something long.
    Part = 11,
    /// The guest gives up.
    Failed = 12,
}

impl Kind {
    /// As frames write it.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// As a request's answer writes it.
    #[must_use]
    pub fn answer(self) -> u8 {
        self.code() | ANSWER
    }

    /// As messages for people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Build => "build",
            Self::Claim => "claim",
            Self::Logits => "logits",
            Self::Train => "train",
            Self::Save => "save",
            Self::Load => "load",
            Self::Checkpoint => "checkpoint",
            Self::Resume => "resume",
            Self::Finish => "finish",
            Self::Part => "part",
            Self::Failed => "failed",
        }
    }
}

/// Why an exchange came to nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The other side hung up.
    #[error("guest ended its channel")]
    Closed,
    /// The channel broke.
    #[error("channel to the guest broke")]
    Channel(#[source] io::Error),
    /// A frame, or all parts together, longer than what was asked for.
    #[error("guest sent {what} of {got} bytes, at most {limit} were due")]
    Oversized {
        /// What of the frame.
        what: &'static str,
        /// Its length.
        got: u64,
        /// What was due.
        limit: u64,
    },
    /// A frame that is none, or another one than was due.
    #[error("guest broke the protocol: {0}")]
    Malformed(String),
    /// The guest gave up, in its own words.
    #[error("{0}")]
    Failed(String),
    /// A file of this host that should take or give parts.
    #[error("state of the guest can't be kept on this host")]
    Spool(#[source] io::Error),
}

/// The fixed part of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    /// Which exchange.
    pub sequence: u32,
    /// Code of the kind.
    pub kind: u8,
    /// Bytes of the header.
    pub header: u32,
    /// Bytes of the blob.
    pub blob: u32,
}

impl Preamble {
    /// As on the channel.
    #[must_use]
    pub fn encode(&self) -> [u8; PREAMBLE] {
        let mut bytes = [0; PREAMBLE];
        let kind = u32::from(self.kind);
        let words = [self.sequence, kind, self.header, self.blob];
        for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// From the channel, within the bounds that hold for every frame.
    ///
    /// # Errors
    /// When the zeros are none, or a length is over its bound.
    pub fn decode(bytes: &[u8; PREAMBLE]) -> Result<Self, ProtocolError> {
        let mut words = [0u32; 4];
        let (from, _) = bytes.as_chunks::<4>();
        for (word, from) in words.iter_mut().zip(from) {
            *word = u32::from_le_bytes(*from);
        }
        let [sequence, kind, header, blob] = words;
        let kind = u8::try_from(kind).map_err(|_| ProtocolError::Malformed("bytes that are zero are not".into()))?;
        let bounds = [("a header", header, MAX_HEADER), ("a blob", blob, MAX_BLOB)];
        for (what, got, limit) in bounds {
            if u64::from(got) > limit as u64 {
                return Err(ProtocolError::Oversized { what, got: got.into(), limit: limit as u64 });
            }
        }
        Ok(Self { sequence, kind, header, blob })
    }
}

/// Request of `hello`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hello {
    /// [`VERSION`].
    pub version: u32,
    /// To be repeated.
    pub nonce: String,
    /// Whether PyTorch's own optimizers will be needed. They import much at their first use, and what is imported before
    /// the bundle comes counts as nobody's work.
    pub optimizers: bool,
}

/// Answer to `hello`: given before any code of a miner is there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// The runner's version.
    pub version: u32,
    /// The request's nonce.
    pub nonce: String,
    /// Processes that train together.
    pub world_size: u32,
    /// Version of Python.
    pub python: String,
    /// Version of PyTorch.
    pub torch: String,
    /// `cpu`, or the name of the device.
    pub device: String,
}

/// Request of `build`: what `ctx` says beside what the guest itself knows (processes, device, folders).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Build {
    /// `vocab_size`, `sequence_length`, `max_layers`, `max_parameters`, `width_factor`, `depth_factor`.
    pub context: BTreeMap<String, u64>,
    /// `ctx.budget`.
    pub budget: GuestBudget,
    /// `ctx.seed`, and the seed of all generators while the model is built.
    pub seed: u64,
    /// Rows per step; also how many rows are predicted together.
    pub batch_size: u32,
    /// `ctx.attempt`, from 1.
    pub attempt: u32,
    /// The recipe to train with; then only `build_model` and the forward pass of the bundle are called.
    pub recipe: Option<Recipe>,
}

/// `ctx.budget`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GuestBudget {
    /// Tokens to train on.
    pub tokens: u64,
    /// Steps.
    pub steps: u64,
    /// Wall clock.
    pub seconds: f64,
}

/// Answer to `build`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Built {
    /// Parameters, as the guest counts.
    pub parameters: u64,
}

/// Request of `claim` and `logits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Predict {
    /// Number of rows.
    pub rows: u32,
    /// Tokens per row.
    pub columns: u32,
    /// Seeds all generators during the call.
    pub seed: u64,
}

/// Answer to `claim`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claimed {
    /// Number of rows.
    pub rows: u32,
    /// Predicted positions per row.
    pub positions: u32,
}

/// Answer to `logits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Predicted {
    /// Number of rows.
    pub rows: u32,
    /// Values per row.
    pub vocabulary: u32,
}

/// Request of `train`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Train {
    /// Number of rows.
    pub rows: u32,
    /// Tokens per row.
    pub columns: u32,
    /// Steps done before.
    pub step: u64,
}

/// Answer to `train`: what the guest says about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trained {
    /// Bits per predicted position.
    pub loss: Option<f64>,
    /// Of all gradients together, before clipping.
    pub gradient_norm: Option<f64>,
    /// Of the recipe's first group.
    pub learning_rate: Option<f64>,
}

/// Request of `load` and `resume`, and answer to `save`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// Bytes of all parts together.
    pub bytes: u64,
}

/// Answer to `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// What the hook returned, relative to the checkpoint's folder; none when it recorded nothing.
    pub path: Option<String>,
    /// Bytes of its files.
    pub bytes: u64,
}

/// A header without fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// What a guest says that gives up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Failed {
    pub(super) message: String,
}

/// Tokens or positions, as on the channel.
#[must_use]
pub fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Numbers from the channel; a last piece that is no whole number is left out.
#[must_use]
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_preamble_lies_as_the_table_says() {
        let bytes = Preamble { sequence: 0x0403_0201, kind: 0x83, header: 2, blob: 0x0100_0000 }.encode();
        assert_eq!(bytes, [1, 2, 3, 4, 0x83, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]);
    }

    proptest! {
        #[test]
        fn a_preamble_within_bounds_survives(
            sequence: u32, kind: u8, header in 0..=MAX_HEADER as u32, blob in 0..=MAX_BLOB as u32,
        ) {
            let preamble = Preamble { sequence, kind, header, blob };
            prop_assert_eq!(Preamble::decode(&preamble.encode()).unwrap(), preamble);
        }

        #[test]
        fn any_bytes_decode_to_what_encodes_to_them_or_to_an_error(bytes: [u8; PREAMBLE]) {
            if let Ok(preamble) = Preamble::decode(&bytes) {
                prop_assert_eq!(preamble.encode(), bytes);
                prop_assert!(preamble.header as usize <= MAX_HEADER && preamble.blob as usize <= MAX_BLOB);
            }
        }

        #[test]
        fn numbers_survive_the_channel(values in proptest::collection::vec(any::<f32>(), 0..50)) {
            let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let bits: Vec<u32> = floats(&bytes).iter().map(|v| v.to_bits()).collect();
            prop_assert_eq!(&bits, &values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
            prop_assert_eq!(words(&bits), bytes);
        }
    }
}
