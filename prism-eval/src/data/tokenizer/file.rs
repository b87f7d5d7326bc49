//! Tokenizers in the form of Hugging Face's `tokenizer.json`, held by the host.
//!
//! Taken are those whose tokens stand for bytes: byte-level ones (GPT-2, Llama 3, Qwen), and those that fall back to
//! bytes (Llama 2, Mistral). What a token stands for is worked out once, from the vocabulary; a text is encoded by the
//! crate, and is taken only when what its tokens stand for, one after the other, is the text again byte for byte.
use prism_core::{Digest, Error, Fault, Kind};
use std::{
    any::Any,
    fmt,
    fs::File,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};
use tokenizers::{Tokenizer as Engine, decoders::DecoderWrapper, models::ModelWrapper};

/// Why a tokenizer can't be used, or a text not encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The file can't be read.
    #[error("tokenizer {file} can't be read: {error}")]
    Unreadable {
        /// Which.
        file: String,
        /// What the system said.
        error: String,
    },
    /// More bytes than are read.
    #[error("tokenizer has more than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: u64,
    },
    /// No `tokenizer.json`.
    #[error("tokenizer is not of the form of a tokenizer.json: {0}")]
    Form(String),
    /// One that is of the form, and of no use here.
    #[error("tokenizer is of no use here: {0}")]
    Unsupported(String),
    /// An id below the largest that no token has.
    #[error("tokenizer has no token with the id {id}, of {vocabulary}")]
    Gap {
        /// The first such id.
        id: u32,
        /// Ids that there must be.
        vocabulary: u32,
    },
    /// Tokens that stand for another text.
    #[error("tokens of the text stand for another from byte {at} on")]
    Lossy {
        /// Where the texts part.
        at: usize,
    },
    /// The crate gave no tokens.
    #[error("text can't be cut into tokens: {0}")]
    Encode(String),
}

impl From<TokenizerError> for Error {
    fn from(error: TokenizerError) -> Self {
        let kind = match error {
            TokenizerError::Unreadable { .. } => Kind::NotFound,
            TokenizerError::TooLong { .. } => Kind::Limit,
            _ => Kind::Invalid,
        };
        Self::new(kind, Fault::Validator, "tokenizer not usable").because(error)
    }
}

/// A tokenizer of a file.
pub struct TokenizerFile {
    engine: Engine,
    /// What each id stands for.
    pieces: Vec<Box<[u8]>>,
    fingerprint: Digest,
    /// Whether it puts a space before the text.
    space_before: bool,
}

impl TokenizerFile {
    /// Most bytes of a file.
    pub const MAX_BYTES: u64 = 64 << 20;
    /// Most token ids.
    pub const MAX_VOCABULARY: u32 = 1 << 18;

    /// Reads a file, of which no more is read than may be.
    ///
    /// # Errors
    /// As [`TokenizerFile::parse`], and a file that can't be read.
    pub fn read(path: &Path) -> Result<Self, TokenizerError> {
        let unreadable = |error: std::io::Error| {
            let file = path.display().to_string();
            TokenizerError::Unreadable { file, error: error.to_string() }
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(Self::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        Self::parse(&bytes)
    }

    /// A tokenizer of the bytes of a file.
    ///
    /// # Errors
    /// Bytes that are too many or no tokenizer; a vocabulary with gaps; tokens that don't stand for bytes; cutting that
    /// differs from time to time.
    pub fn parse(bytes: &[u8]) -> Result<Self, TokenizerError> {
        if bytes.len() as u64 > Self::MAX_BYTES {
            return Err(TokenizerError::TooLong { limit: Self::MAX_BYTES });
        }
        // The crate has places that panic on what it doesn't expect.
        let engine = unwound(|| Engine::from_bytes(bytes)).map_err(TokenizerError::Form)?;
        let mut engine = engine.map_err(|error| TokenizerError::Form(error.to_string()))?;
        // Whole texts are cut, and a text that names a special token says its name and no more.
        engine.with_truncation(None).map_err(|error| TokenizerError::Unsupported(error.to_string()))?;
        engine.with_padding(None);
        engine.set_encode_special_tokens(true);
        if let ModelWrapper::BPE(model) = engine.get_model()
            && model.dropout.is_some_and(|dropout| dropout > 0.0)
        {
            return Err(TokenizerError::Unsupported("dropout cuts the same text differently each time".into()));
        }
        let pieces = pieces(&engine)?;
        let mut file = Self { engine, pieces, fingerprint: Digest::of(bytes), space_before: false };
        let probe = file.raw(PROBE)?;
        file.space_before = file.spell(&probe).strip_prefix(b" ").is_some_and(|rest| rest == PROBE.as_bytes());
        file.encode(PROBE).map_err(|_| TokenizerError::Unsupported("it changes even plain text".into()))?;
        Ok(file)
    }

    /// SHA-256 of the file.
    #[must_use]
    pub fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// Number of token ids.
    #[must_use]
    pub fn vocabulary(&self) -> u32 {
        // At most `MAX_VOCABULARY`.
        u32::try_from(self.pieces.len()).unwrap_or(u32::MAX)
    }

    /// What a token stands for; nothing for an id beyond the vocabulary.
    #[must_use]
    pub fn piece(&self, token: u32) -> &[u8] {
        self.pieces.get(token as usize).map_or(&[], |piece| piece)
    }

    /// The tokens of a text. A space that the tokenizer puts before every text is part of the first token, and no byte
    /// of the text.
    ///
    /// # Errors
    /// [`TokenizerError::Lossy`] where the tokens stand for another text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let tokens = self.raw(text)?;
        let spelt = tokens.iter().flat_map(|token| self.piece(*token));
        let parting = |from: usize| {
            let count = tokens.iter().map(|token| self.piece(*token).len()).sum::<usize>().saturating_sub(from);
            let same = spelt.clone().skip(from).zip(text.as_bytes()).take_while(|(spelt, byte)| spelt == byte).count();
            (same < count.max(text.len())).then_some(same)
        };
        let Some(at) = parting(0) else { return Ok(tokens) };
        if self.space_before && spelt.clone().next() == Some(&b' ') && parting(1).is_none() {
            return Ok(tokens);
        }
        Err(TokenizerError::Lossy { at })
    }

    fn raw(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let encoding = unwound(|| self.engine.encode_fast(text, false)).map_err(TokenizerError::Encode)?;
        let encoding = encoding.map_err(|error| TokenizerError::Encode(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn spell(&self, tokens: &[u32]) -> Vec<u8> {
        tokens.iter().flat_map(|token| self.piece(*token)).copied().collect()
    }
}

impl fmt::Debug for TokenizerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (fingerprint, vocabulary) = (self.fingerprint.short(), self.vocabulary());
        write!(f, "TokenizerFile({fingerprint}, {vocabulary} ids)")
    }
}

/// What every tokenizer must give back.
const PROBE: &str = "A plain line, of 2 parts.";

/// A panic of foreign code as what it said.
fn unwound<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|panic: Box<dyn Any + Send>| {
        let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
        format!("its parser panicked: {}", said.unwrap_or_default())
    })
}

/// How tokens are written in a vocabulary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    /// A character for each byte.
    ByteLevel,
    /// Characters as they are, `▁` for a space, `<0x0A>` for a byte that no token has.
    ByteFallback,
}

impl Script {
    fn of(decoder: Option<&DecoderWrapper>) -> Option<Self> {
        match decoder? {
            DecoderWrapper::ByteLevel(_) => Some(Self::ByteLevel),
            DecoderWrapper::ByteFallback(_) => Some(Self::ByteFallback),
            DecoderWrapper::Sequence(all) => all.get_decoders().iter().find_map(|one| Self::of(Some(one))),
            _ => None,
        }
    }

    /// What a token of the model stands for.
    fn piece(self, token: &str) -> Vec<u8> {
        match self {
            Self::ByteLevel => {
                let bytes: Option<Vec<u8>> = token.chars().map(byte_of).collect();
                bytes.unwrap_or_else(|| token.as_bytes().to_vec())
            }
            Self::ByteFallback => {
                let hex = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
                match hex.filter(|hex| hex.len() == 2).and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(byte) => vec![byte],
                    None => token.replace('\u{2581}', " ").into_bytes(),
                }
            }
        }
    }
}

/// The byte that a character of a byte-level vocabulary stands for: the printable ones of Latin-1 for themselves, the
/// other 68 bytes in order from U+0100 on (`bytes_to_unicode` of GPT-2's `encoder.py`).
fn byte_of(character: char) -> Option<u8> {
    let own = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u32::from(character) {
        code @ 0..0x100 => u8::try_from(code).ok().filter(own),
        code => (0..=u8::MAX).filter(|byte| !own(byte)).nth((code - 0x100) as usize),
    }
}

/// What each id stands for.
fn pieces(engine: &Engine) -> Result<Vec<Box<[u8]>>, TokenizerError> {
    let script = Script::of(engine.get_decoder()).ok_or_else(|| {
        let text = "its decoder is neither ByteLevel nor ByteFallback: its tokens stand for no bytes";
        TokenizerError::Unsupported(text.into())
    })?;
    let tokens = engine.get_vocab(true);
    let Some(largest) = tokens.values().max() else {
        return Err(TokenizerError::Unsupported("it has no token".into()));
    };
    if *largest >= TokenizerFile::MAX_VOCABULARY {
        let text = format!("it has the id {largest}, and at most {} are taken", TokenizerFile::MAX_VOCABULARY);
        return Err(TokenizerError::Unsupported(text));
    }
    let mut pieces: Vec<Option<Box<[u8]>>> = vec![None; *largest as usize + 1];
    let mut put = |id: u32, piece: Vec<u8>| {
        if let Some(place) = pieces.get_mut(id as usize) {
            *place = Some(piece.into_boxed_slice());
        }
    };
    for (token, id) in &tokens {
        put(*id, script.piece(token));
    }
    for (id, token) in engine.get_added_tokens_decoder() {
        put(id, token.content.into_bytes());
    }
    let vocabulary = largest + 1;
    let whole = (0..).zip(pieces).map(|(id, piece)| piece.ok_or(TokenizerError::Gap { id, vocabulary }));
    whole.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::small, *};
    use proptest::prelude::*;

    #[test]
    fn the_characters_of_byte_level_vocabularies_are_those_of_gpt_2() {
        // Python: `bytes_to_unicode()` of GPT-2's encoder.
        for (character, byte) in
            [('!', b'!'), ('Ġ', b' '), ('Ċ', b'\n'), ('Ā', 0), ('ġ', 0x7f), ('Ģ', 0x80), ('Ń', 0xad), ('ÿ', 0xff)]
        {
            assert_eq!(byte_of(character), Some(byte), "{character}");
        }
        assert_eq!((byte_of(' '), byte_of('ń'), byte_of('\u{ad}')), (None, None, None));
    }

    proptest! {
        /// Also characters of which no token has more than a byte: what is cut stands for its bytes all the same.
        #[test]
        fn tokens_stand_for_exactly_the_bytes_of_any_text(text in "\\PC{0,40}|[ a-z\n\u{e9}\u{20ac}\u{1d11e}]{0,60}|(?s).{0,30}") {
            // Vocabularies of that kind write a space so.
            prop_assume!(!text.contains('\u{2581}'));
            for tokenizer in [small::byte_level(), small::byte_fallback()] {
                let tokens = tokenizer.encode(&text).unwrap();
                let spelt = tokenizer.spell(&tokens);
                let spelt = if tokenizer.space_before { spelt.strip_prefix(b" ").unwrap_or(&spelt) } else { &spelt };
                prop_assert_eq!(spelt, text.as_bytes());
                prop_assert!(tokens.iter().all(|token| *token < tokenizer.vocabulary()));
                prop_assert_eq!(tokenizer.encode(&text).unwrap(), tokens);
            }
        }
    }

    #[test]
    fn a_trained_vocabulary_is_shorter_than_bytes_and_its_file_is_its_fingerprint() {
        let tokenizer = small::byte_level();
        let text = "the other thing is that the words of the text are there";
        assert!(tokenizer.encode(text).unwrap().len() < text.len() / 2);
        assert_eq!(tokenizer.fingerprint(), Digest::of(&small::byte_level_file()));
        assert_eq!(tokenizer.vocabulary(), 512);
        assert!(small::byte_fallback().space_before && !tokenizer.space_before);
    }

    #[test]
    fn what_names_a_special_token_is_text_like_any_other() {
        let tokenizer = small::byte_level();
        let special = (0..512).find(|id| tokenizer.piece(*id) == b"<|end|>").unwrap();
        let tokens = tokenizer.encode("before<|end|>after").unwrap();
        assert!(!tokens.contains(&special) && tokens.len() > 3);
    }

    #[test]
    fn a_tokenizer_that_changes_text_leaves_such_texts_out() {
        let file = small::with(|json| json["normalizer"] = serde_json::json!({ "type": "NFC" }));
        let tokenizer = TokenizerFile::parse(&file).unwrap();
        assert!(tokenizer.encode("caf\u{e9}").is_ok());
        assert_eq!(tokenizer.encode("cafe\u{301}"), Err(TokenizerError::Lossy { at: 3 }));
        let file = small::with(|json| json["normalizer"] = serde_json::json!({ "type": "Lowercase" }));
        let error = TokenizerFile::parse(&file).unwrap_err().to_string();
        assert_eq!(error, "tokenizer is of no use here: it changes even plain text");
    }

    #[test]
    fn whatever_is_no_tokenizer_or_of_no_use_is_refused_and_nothing_panics() {
        let refused = |file: &[u8]| TokenizerFile::parse(file).unwrap_err().to_string();
        let form = "tokenizer is not of the form of a tokenizer.json: ";
        for bad in
            [&b""[..], b"{}", b"[1]", b"\xff\xfe", b"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[[1]]}}"]
        {
            assert!(refused(bad).starts_with(form), "{}", refused(bad));
        }
        let good = small::byte_level_file();
        assert!(refused(good.get(..good.len() - 2).unwrap()).starts_with(form));
        let with = |change: &dyn Fn(&mut serde_json::Value)| refused(&small::with(change));
        // A merge of what is no token.
        let text = with(&|json| json["model"]["merges"][0] = serde_json::json!(["nowhere", "else"]));
        assert!(text.starts_with(form) && text.contains("nowhere"), "{text}");
        let text = with(&|json| json["model"]["dropout"] = 0.1.into());
        assert!(text.contains("dropout"), "{text}");
        let text =
            with(&|json| json["decoder"] = serde_json::json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }));
        assert!(text.contains("neither ByteLevel nor ByteFallback"), "{text}");
        let text = with(&|json| json["decoder"] = serde_json::Value::Null);
        assert!(text.contains("neither ByteLevel nor ByteFallback"), "{text}");
        let text = with(&|json| json["model"]["vocab"]["far"] = 700.into());
        assert_eq!(text, "tokenizer has no token with the id 512, of 701");
        let text = with(&|json| json["model"]["vocab"]["far"] = u32::MAX.into());
        assert!(text.contains("at most 262144 are taken"), "{text}");
        let long = vec![b' '; TokenizerFile::MAX_BYTES as usize + 1];
        assert_eq!(refused(&long), format!("tokenizer has more than {} bytes", TokenizerFile::MAX_BYTES));
        let error = TokenizerFile::read(Path::new("/nowhere/tokenizer.json")).unwrap_err();
        assert!(error.to_string().starts_with("tokenizer /nowhere/tokenizer.json can't be read"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_file_is_refused_or_loses_nothing(at in 0usize..20_000, byte: u8) {
            let mut file = small::byte_level_file().clone();
            let at = at % file.len();
            file[at] = byte;
            if let Ok(tokenizer) = TokenizerFile::parse(&file)
                && let Ok(tokens) = tokenizer.encode("some of the text")
            {
                let spelt = tokenizer.spell(&tokens);
                prop_assert!(spelt == b"some of the text" || tokenizer.space_before);
            }
        }
    }
}
