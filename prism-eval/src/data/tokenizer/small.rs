//! Real tokenizers, small: trained on the stand-in.
use super::TokenizerFile;
use crate::data::{fixture::stand_in, split::Split};
use std::{
    collections::HashSet,
    sync::{Arc, LazyLock},
};
use tokenizers::{
    AddedToken, TokenizerBuilder,
    decoders::DecoderWrapper,
    models::bpe::{BPE, BpeTrainerBuilder},
    normalizers::NormalizerWrapper,
    pre_tokenizers::{PreTokenizerWrapper, byte_level::ByteLevel},
    processors::PostProcessorWrapper,
};

static BYTE_LEVEL: LazyLock<(Vec<u8>, Arc<TokenizerFile>)> = LazyLock::new(|| {
    let corpus = stand_in().unwrap();
    let texts: Vec<String> = corpus.of(Split::Train).take(100).map(|document| document.unwrap().text).collect();
    let mut tokenizer =
        TokenizerBuilder::<BPE, NormalizerWrapper, PreTokenizerWrapper, PostProcessorWrapper, DecoderWrapper>::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(ByteLevel::new(false, false, true).into()))
            .with_post_processor(None)
            .with_decoder(Some(ByteLevel::default().into()))
            .build()
            .unwrap();
    let alphabet: HashSet<char> = ByteLevel::alphabet().into_iter().collect();
    let end = vec![AddedToken::from("<|end|>", true)];
    let trainer = BpeTrainerBuilder::new().show_progress(false).vocab_size(512).initial_alphabet(alphabet);
    let mut trainer = trainer.special_tokens(end).build();
    tokenizer.train(&mut trainer, texts.iter()).unwrap();
    let file = tokenizer.to_string(false).unwrap().into_bytes();
    let parsed = Arc::new(TokenizerFile::parse(&file).unwrap());
    (file, parsed)
});

/// 512 ids: bytes, 255 merges and `<|end|>`.
pub(crate) fn byte_level() -> Arc<TokenizerFile> {
    Arc::clone(&BYTE_LEVEL.1)
}

pub(crate) fn byte_level_file() -> Vec<u8> {
    BYTE_LEVEL.0.clone()
}

/// The byte-level one, changed.
pub(crate) fn with(change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let mut json = serde_json::from_slice(&BYTE_LEVEL.0).unwrap();
    change(&mut json);
    serde_json::to_vec(&json).unwrap()
}

/// In the manner of Llama 2: a few words, letters, and bytes for the rest.
pub(crate) fn byte_fallback() -> Arc<TokenizerFile> {
    let mut vocab = serde_json::Map::new();
    vocab.insert("<unk>".into(), 0.into());
    for byte in 0..256 {
        vocab.insert(format!("<0x{byte:02X}>"), (byte + 1).into());
    }
    for token in ["\u{2581}", "a", "b", "n", "d", "e", "\u{2581}a", "an", "and", "\u{2581}and"] {
        let id = vocab.len();
        vocab.insert(token.into(), id.into());
    }
    let json = serde_json::json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 0, "content": "<unk>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "\u{2581}" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" }
        ]},
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": 1, "stop": 0 }
        ]},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "vocab": vocab,
            "merges": ["\u{2581} a", "a n", "an d", "\u{2581} and"]
        }
    });
    Arc::new(TokenizerFile::parse(&serde_json::to_vec(&json).unwrap()).unwrap())
}
