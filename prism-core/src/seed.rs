//! Where every random number comes from: one root, one named stream per purpose.
use crate::id::{Digest, hash_parts};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A seed. Streams are derived one way, so that a guest that knows its own seed knows no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(pub Digest);

impl Seed {
    /// A seed from any bytes: a block hash with its cohort, a word given by the operator.
    #[must_use]
    pub fn of(purpose: &str, parts: &[&[u8]]) -> Self {
        Self(Digest(hash_parts(purpose, parts)))
    }

    /// The seed of one purpose below this one.
    #[must_use]
    pub fn stream(&self, purpose: &str) -> Self {
        Self::of("prism/stream/1", &[&self.0.0, purpose.as_bytes()])
    }

    /// The draws of this seed, from the start.
    #[must_use]
    pub fn draws(&self) -> Draws {
        Draws { seed: self.0.0, block: [0; 32], counter: 0, used: 32 }
    }
}

/// A deterministic sequence of numbers: SHA-256 in counter mode over a seed. For choices, not for bulk noise.
#[derive(Debug, Clone)]
pub struct Draws {
    seed: [u8; 32],
    block: [u8; 32],
    counter: u64,
    used: usize,
}

impl Draws {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        if self.used >= self.block.len() {
            let hash = Sha256::new().chain_update(self.seed).chain_update(self.counter.to_le_bytes());
            self.block = hash.finalize().into();
            self.counter = self.counter.wrapping_add(1);
            self.used = 0;
        }
        let mut word = [0; 8];
        for (to, from) in word.iter_mut().zip(self.block.iter().skip(self.used)) {
            *to = *from;
        }
        self.used += 8;
        u64::from_le_bytes(word)
    }

    /// A uniform index below `bound`, without bias (rejection); zero when `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound < 2 {
            return 0;
        }
        let zone = u64::MAX - u64::MAX % bound;
        loop {
            let word = self.next_u64();
            if word < zone {
                return word % bound;
            }
        }
    }

    /// Puts the items in a uniformly random order (Fisher-Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let pick = self.below(last as u64 + 1);
            items.swap(last, usize::try_from(pick).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_are_unrelated_and_repeatable() {
        let root = Seed::of("test", &[b"root"]);
        let (rows, guest) = (root.stream("rows"), root.stream("guest"));
        assert_ne!(rows, guest);
        assert_ne!(guest.stream("rows"), rows);
        assert_eq!(root.stream("rows").draws().next_u64(), rows.draws().next_u64());
    }

    /// Whoever holds the guest's seed can derive from it alone. Nothing below it is anything that the host draws from.
    #[test]
    fn no_stream_of_a_run_or_its_cohort_follows_from_the_seed_that_a_guest_is_given() {
        let names = [
            "rows",
            "held_out",
            "points",
            "alphabet",
            "documents",
            "audits",
            "run",
            "run/repeat/1",
            "init",
            "guest",
            "weight/0",
            "secret",
        ];
        let children =
            |of: &[Seed]| -> Vec<Seed> { of.iter().flat_map(|s| names.map(|name| s.stream(name))).collect() };
        let cohort = Seed::of("test", &[b"cohort"]);
        let run = cohort.stream("run");
        let guest = run.stream("guest");
        let (first, second) = (children(&[guest]), children(&children(&[guest])));
        let known: std::collections::BTreeSet<_> = [guest].iter().chain(&first).chain(&second).map(|s| s.0).collect();
        assert_eq!(known.len(), 1 + 12 + 144);
        let secret = children(&[cohort, run]).into_iter().chain([cohort, run]).filter(|seed| *seed != guest);
        assert!(secret.into_iter().all(|seed| !known.contains(&seed.0)));
        let mut draws = guest.draws();
        let drawn: Vec<u64> = (0..64).map(|_| draws.next_u64()).collect();
        let others = [cohort, run].map(|seed| seed.draws().next_u64());
        assert!(others.iter().all(|word| !drawn.contains(word)));
    }

    #[test]
    fn below_reaches_every_index_and_nothing_else() {
        let mut draws = Seed::of("test", &[]).draws();
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[usize::try_from(draws.below(7)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| (800..1200).contains(n)), "{seen:?}");
        assert_eq!((draws.below(0), draws.below(1)), (0, 0));
    }

    #[test]
    fn shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Seed::of("test", &[]).draws().shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
