//! Which token id stands for what: drawn anew for each cohort, so that a table smuggled into a bundle has to be
//! deciphered before it helps.
use super::tokenizer::Tokenizer;
use prism_core::Seed;

/// What bytes are alike in. Ids are exchanged within a class only, so that models that look at kinds of bytes (spaces
/// as boundaries, the structure of UTF-8) work in every cohort, and this table holds for ids as it does for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// Tab, line feed, vertical tab, form feed, carriage return and space.
    Space,
    /// The other characters of ASCII that are not printed.
    Control,
    /// `A` to `Z` and `a` to `z` together: no known architecture looks at case, and 52 letters hide more than twice 26.
    Letter,
    /// `0` to `9`.
    Digit,
    /// The rest of printable ASCII.
    Punctuation,
    /// UTF-8, after the first byte of a character.
    Continuation,
    /// UTF-8, first of two bytes.
    FirstOfTwo,
    /// UTF-8, first of three bytes.
    FirstOfThree,
    /// UTF-8, first of four bytes.
    FirstOfFour,
    /// No byte of UTF-8.
    Never,
}

impl Class {
    const ALL: [Self; 10] = [
        Self::Space,
        Self::Control,
        Self::Letter,
        Self::Digit,
        Self::Punctuation,
        Self::Continuation,
        Self::FirstOfTwo,
        Self::FirstOfThree,
        Self::FirstOfFour,
        Self::Never,
    ];

    /// The class of a byte, and of a token id.
    #[must_use]
    pub fn of(byte: u8) -> Self {
        match byte {
            b'\t'..=b'\r' | b' ' => Self::Space,
            0..0x20 | 0x7f => Self::Control,
            b'A'..=b'Z' | b'a'..=b'z' => Self::Letter,
            b'0'..=b'9' => Self::Digit,
            0x21..0x7f => Self::Punctuation,
            0x80..0xc0 => Self::Continuation,
            0xc2..0xe0 => Self::FirstOfTwo,
            0xe0..0xf0 => Self::FirstOfThree,
            0xf0..0xf5 => Self::FirstOfFour,
            0xc0 | 0xc1 | 0xf5.. => Self::Never,
        }
    }
}

/// A permutation of token ids within the classes of what they stand for: that of its first byte. All runs of a cohort
/// have the same, so that their rows pair.
///
/// Of a tokenizer's file a byte-aware model knows the class of each id, as it does of bytes: no cohort changes it. Ids
/// that stand for nothing have the class of what is no byte.
///
/// It makes a prior in the source dearer, not impossible: of bytes, a bigram table and hill climbing decipher 98 % of the
/// text from ten batches. The cap on what a guest receives is the bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alphabet {
    /// Where a tokenizer's id goes.
    tokens: Vec<u32>,
    /// Where it came from.
    ids: Vec<u32>,
}

impl Alphabet {
    /// The alphabet of a cohort: each class in the order of [`Class`], shuffled by the stream `alphabet`.
    #[must_use]
    pub fn of(cohort: &Seed, tokenizer: &Tokenizer) -> Self {
        let class = |id| tokenizer.piece(id).first().map_or(Class::Never, |byte| Class::of(*byte));
        let classes: Vec<Class> = (0..tokenizer.vocabulary()).map(class).collect();
        let mut draws = cohort.stream("alphabet").draws();
        let (mut tokens, mut ids) = (vec![0; classes.len()], vec![0; classes.len()]);
        for class in Class::ALL {
            let members: Vec<u32> = (0..).zip(&classes).filter(|(_, of)| **of == class).map(|(id, _)| id).collect();
            let mut shuffled = members.clone();
            draws.shuffle(&mut shuffled);
            for (id, token) in members.into_iter().zip(shuffled) {
                if let (Some(to), Some(from)) = (tokens.get_mut(id as usize), ids.get_mut(token as usize)) {
                    (*to, *from) = (token, id);
                }
            }
        }
        Self { tokens, ids }
    }

    /// The token of a cohort's rows that stands for an id of the tokenizer.
    #[must_use]
    pub fn token(&self, id: u32) -> u32 {
        self.tokens.get(id as usize).copied().unwrap_or_default()
    }

    /// The tokenizer's id that a token of the cohort's rows stands for; `None` beyond the vocabulary.
    #[must_use]
    pub fn id(&self, token: u32) -> Option<u32> {
        self.ids.get(token as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::tokenizer::small;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_byte_has_one_class_and_the_classes_have_their_known_sizes() {
        let sizes = Class::ALL.map(|class| (0..=u8::MAX).filter(|byte| Class::of(*byte) == class).count());
        assert_eq!(sizes, [6, 28, 52, 10, 32, 64, 30, 16, 5, 13]);
        assert_eq!(sizes.iter().sum::<usize>(), 256);
        for character in ['é', '€', '𝄞'] {
            let text = character.to_string();
            let first = [Class::FirstOfTwo, Class::FirstOfThree, Class::FirstOfFour][text.len() - 2];
            assert_eq!(Class::of(text.as_bytes()[0]), first);
            assert!(text.bytes().skip(1).all(|byte| Class::of(byte) == Class::Continuation));
        }
    }

    /// What no tokenizer's file changed: bytes are shuffled as ever.
    #[test]
    fn bytes_are_shuffled_class_by_class() {
        let cohort = Seed::of("test", &[b"a"]);
        let alphabet = Alphabet::of(&cohort, &Tokenizer::Bytes);
        let mut draws = cohort.stream("alphabet").draws();
        for class in Class::ALL {
            let members: Vec<u8> = (0..=u8::MAX).filter(|byte| Class::of(*byte) == class).collect();
            let mut shuffled = members.clone();
            draws.shuffle(&mut shuffled);
            let tokens: Vec<u32> = members.iter().map(|byte| alphabet.token(u32::from(*byte))).collect();
            assert_eq!(tokens, shuffled.into_iter().map(u32::from).collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn an_alphabet_is_a_bijection_that_keeps_classes(salt: u64) {
            for tokenizer in [Tokenizer::Bytes, Tokenizer::File(small::byte_level()), Tokenizer::File(small::byte_fallback())] {
                let alphabet = Alphabet::of(&Seed::of("test", &[&salt.to_le_bytes()]), &tokenizer);
                let vocabulary = tokenizer.vocabulary();
                let tokens: BTreeSet<u32> = (0..vocabulary).map(|id| alphabet.token(id)).collect();
                prop_assert_eq!(tokens, (0..vocabulary).collect());
                let class = |id| tokenizer.piece(id).first().map(|byte| Class::of(*byte));
                for id in 0..vocabulary {
                    prop_assert_eq!(class(alphabet.token(id)), class(id));
                    prop_assert_eq!(alphabet.id(alphabet.token(id)), Some(id));
                }
                prop_assert_eq!(alphabet.id(vocabulary), None);
            }
        }
    }

    #[test]
    fn cohorts_have_different_alphabets_and_a_cohort_always_the_same() {
        let of = |cohort: &[u8]| Alphabet::of(&Seed::of("test", &[cohort]), &Tokenizer::Bytes);
        assert_eq!(of(b"a"), of(b"a"));
        let moved = (0..256).filter(|byte| of(b"a").token(*byte) != of(b"b").token(*byte)).count();
        assert!(moved > 200, "{moved}");
    }
}
