//! From text to token ids, on the host. The plainest tokenizer takes bytes; others are files that the host holds.
//!
//! Whatever the tokenizer, each token stands for certain bytes of text and all tokens of a document together for exactly
//! its text: so bits are always per byte of raw text, and no tokenizer can make a text shorter than it is.
mod file;

pub use file::{TokenizerError, TokenizerFile};

use prism_core::Digest;
use std::{borrow::Cow, sync::Arc};

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

/// What cuts text into tokens.
#[derive(Debug, Clone, Default)]
pub enum Tokenizer {
    /// A token is a byte.
    #[default]
    Bytes,
    /// As a file says.
    File(Arc<TokenizerFile>),
}

impl Tokenizer {
    /// What a task names it by: for a file, the SHA-256 of its bytes.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        match self {
            Self::Bytes => Bytes::fingerprint(),
            Self::File(file) => file.fingerprint(),
        }
    }

    /// Number of token ids: all of them are below it, and each stands for something.
    #[must_use]
    pub fn vocabulary(&self) -> u32 {
        match self {
            Self::Bytes => Bytes::VOCABULARY,
            Self::File(file) => file.vocabulary(),
        }
    }

    /// The tokens of a text, of which nothing is lost.
    ///
    /// # Errors
    /// [`TokenizerError::Lossy`] where the tokens stand for another text. Bytes never lose anything.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::File(file) => file.encode(text),
        }
    }

    /// What a token stands for; nothing for an id beyond the vocabulary.
    #[must_use]
    pub fn piece(&self, token: u32) -> Cow<'_, [u8]> {
        match self {
            Self::Bytes => u8::try_from(token).map_or(Cow::Borrowed(&[]), |byte| Cow::Owned(vec![byte])),
            Self::File(file) => Cow::Borrowed(file.piece(token)),
        }
    }

    /// Bytes that a token stands for.
    #[must_use]
    pub fn piece_len(&self, token: u32) -> usize {
        match self {
            Self::Bytes => usize::from(token < Bytes::VOCABULARY),
            Self::File(file) => file.piece(token).len(),
        }
    }
}

#[cfg(test)]
pub(crate) mod small;
