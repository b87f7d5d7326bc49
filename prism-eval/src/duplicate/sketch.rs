//! MinHash: how much two sets share, from a few bytes of each.
use std::collections::BTreeSet;

/// Minima that are kept: the standard error of a similarity is at most `1 / (2 √128)`, 0.044.
const MINIMA: usize = 128;
/// Minima of one band.
const BAND: usize = 5;
/// Bands: sets alike by 0.8 share one of 25 with a probability of 0.9999, by 0.7 with one of 0.988, by 0.65 with one
/// of 0.95, by 0.34 with one of 0.11.
const BANDS: usize = 25;
/// Sets of fewer elements are alike by chance.
const FEWEST: usize = 12;

/// MinHash of a set (Broder 1997): under each of 128 orders the first of its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch(Vec<u32>);

impl Sketch {
    /// The sketch of a set of hashes; none of one with fewer than a dozen.
    #[must_use]
    pub fn of(set: &BTreeSet<u64>) -> Option<Self> {
        if set.len() < FEWEST {
            return None;
        }
        let minimum = |index: usize| set.iter().map(|element| seeded(*element, index)).min().unwrap_or(u32::MAX);
        Some(Self((0..MINIMA).map(minimum).collect()))
    }

    /// A sketch of known minima, missing ones being the largest: for trying an index without the work of real sets.
    #[must_use]
    pub fn of_minima(minima: impl IntoIterator<Item = u32>) -> Self {
        Self(minima.into_iter().chain(std::iter::repeat(u32::MAX)).take(MINIMA).collect())
    }

    /// Keys for an index (locality-sensitive hashing, Indyk and Motwani 1998): sets that share none are hardly alike.
    pub fn bands(&self) -> impl Iterator<Item = u64> {
        let hash = |(index, band): (usize, &[u32])| {
            band.iter().fold(mix(index as u64 + 1), |hash, minimum| mix(hash ^ u64::from(*minimum)))
        };
        self.0.chunks_exact(BAND).take(BANDS).enumerate().map(hash)
    }

    /// The lowest eight bits of each minimum: what is kept.
    #[must_use]
    pub fn compact(&self) -> Compact {
        let mut bytes = [0; MINIMA];
        for (byte, minimum) in bytes.iter_mut().zip(&self.0) {
            *byte = minimum.to_le_bytes()[0];
        }
        Compact(bytes)
    }

    /// Estimate of the part of elements that two sets share (Jaccard), 0 to 1.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f64 {
        let same = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count();
        same as f64 / MINIMA as f64
    }
}

/// A sketch of eight bits a minimum (b-bit MinHash, Li and König 2010): a quarter of the bytes, and one in 256 of
/// different minima agrees by chance, which [`Compact::similarity`] takes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compact([u8; MINIMA]);

impl Compact {
    /// Estimate of the part of elements that two sets share (Jaccard), 0 to 1.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> f64 {
        let same = self.0.iter().zip(&other.0).filter(|(a, b)| a == b).count() as f64 / MINIMA as f64;
        let chance = 1.0 / 256.0;
        ((same - chance) / (1.0 - chance)).clamp(0.0, 1.0)
    }

    /// The standard error of a similarity that two of these estimate.
    #[must_use]
    pub fn standard_error(similarity: f64) -> f64 {
        let chance = 1.0 / 256.0;
        let same = similarity + (1.0 - similarity) * chance;
        (same * (1.0 - same) / MINIMA as f64).sqrt() / (1.0 - chance)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// A sketch of these bytes; none of another number of them.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A hash of a few words, order included.
pub(crate) fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().fold(0x9e37_79b9_7f4a_7c15, |hash, word| mix(hash.rotate_left(5) ^ word))
}

/// A hash of a text: FNV-1a.
pub(crate) fn hash_text(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

fn seeded(element: u64, index: usize) -> u32 {
    (mix(element ^ mix((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn jaccard(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
        a.intersection(b).count() as f64 / a.union(b).count() as f64
    }

    proptest! {
        #[test]
        fn similarity_is_symmetric_one_on_itself_and_near_the_sets_own(
            own in 0_u64..300, shared in 12_u64..300, theirs in 0_u64..300, salt: u64,
        ) {
            let set = |from: u64, count: u64| (from..from + count).map(move |n| hash([salt, n]));
            let one: BTreeSet<u64> = set(0, shared).chain(set(10_000, own)).collect();
            let other: BTreeSet<u64> = set(0, shared).chain(set(20_000, theirs)).collect();
            let (a, b) = (Sketch::of(&one).unwrap(), Sketch::of(&other).unwrap());
            prop_assert_eq!(a.similarity(&a), 1.0);
            prop_assert_eq!(a.similarity(&b), b.similarity(&a));
            let (short, other_short) = (a.compact(), b.compact());
            prop_assert_eq!(short.similarity(&short), 1.0);
            prop_assert_eq!(short.similarity(&other_short), other_short.similarity(&short));
            // Six standard errors at the widest.
            prop_assert!((short.similarity(&other_short) - jaccard(&one, &other)).abs() < 0.27);
            prop_assert_eq!(Compact::from_bytes(short.as_bytes()), Some(short));
        }
    }

    #[test]
    fn few_elements_have_no_sketch() {
        assert_eq!(Sketch::of(&(0..11).collect()), None);
        assert!(Sketch::of(&(0..12).collect()).is_some());
        assert_eq!(Compact::from_bytes(&[0; 127]), None);
    }

    #[test]
    fn the_sets_of_one_band_are_found_as_often_as_the_formula_says() {
        let mut found = 0;
        for salt in 0..200_u64 {
            let set = |from: u64, count: u64| (from..from + count).map(move |n| hash([salt, n]));
            // 160 shared of 200 in all: 0.8.
            let one: BTreeSet<u64> = set(0, 160).chain(set(1000, 20)).collect();
            let other: BTreeSet<u64> = set(0, 160).chain(set(2000, 20)).collect();
            let (a, b) = (Sketch::of(&one).unwrap(), Sketch::of(&other).unwrap());
            found += usize::from(a.bands().zip(b.bands()).any(|(a, b)| a == b));
        }
        assert!(found >= 199, "{found} of 200");
    }
}
