//! Where the randomness of commitments comes from.
use rand::{RngCore as _, SeedableRng as _, rngs::OsRng, rngs::StdRng};
use std::{fmt, io, sync::Arc};

/// A source of seeds. Each encryption and each salt takes one; one that comes twice opens both commitments to whoever
/// knows one of them.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> io::Result<[u8; 32]> + Send + Sync>);

impl Entropy {
    /// Seeds from a function, for runs that are to be repeated byte for byte.
    pub fn new(seed: impl Fn() -> io::Result<[u8; 32]> + Send + Sync + 'static) -> Self {
        Self(Arc::new(seed))
    }

    pub(crate) fn generator(&self) -> io::Result<StdRng> {
        Ok(StdRng::from_seed((self.0)()?))
    }
}

/// Seeds of the operating system.
impl Default for Entropy {
    fn default() -> Self {
        Self::new(|| {
            let mut seed = [0; 32];
            OsRng.try_fill_bytes(&mut seed)?;
            Ok(seed)
        })
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_repeats_itself_and_the_operating_system_does_not() {
        let number = |entropy: &Entropy| entropy.generator().unwrap().next_u64();
        let fixed = Entropy::new(|| Ok([7; 32]));
        assert_eq!(number(&fixed), number(&fixed));
        assert_ne!(number(&Entropy::default()), number(&Entropy::default()));
        assert!(Entropy::new(|| Err(io::Error::other("dry"))).generator().is_err());
    }
}
