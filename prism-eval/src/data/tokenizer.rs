//! From text to token ids, on the host. The first tokenizer is the plainest: a token is a byte.
use prism_core::Digest;

/// Bytes as tokens: every id covers exactly one byte of text, so that bits per token are bits per byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes;

impl Bytes {
    /// Number of token ids.
    pub const VOCABULARY: u32 = 256;

    /// What a task names it by. Version 2: ids are those of the cohort's [`Alphabet`](super::Alphabet).
    #[must_use]
    pub fn fingerprint() -> Digest {
        Digest::of_parts("prism/tokenizer/bytes/2", &[])
    }
}
