//! Numbers that JSON can carry.
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, fmt};

/// A finite `f64`: construction and deserialisation refuse NaN and infinities, which JSON would turn to `null`.
/// Negative zero becomes zero, so that equal values have equal bytes.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Finite(f64);

impl Finite {
    /// Zero.
    pub const ZERO: Self = Self(0.0);
    /// One.
    pub const ONE: Self = Self(1.0);

    /// The value, if it is finite.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value + 0.0))
    }

    /// The plain number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The value moved into `[low, high]`.
    #[must_use]
    pub fn clamp(self, low: Self, high: Self) -> Self {
        if self < low {
            low
        } else if self > high {
            high
        } else {
            self
        }
    }
}

/// A number that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("number is not finite")]
pub struct NotFinite;

impl TryFrom<f64> for Finite {
    type Error = NotFinite;
    fn try_from(value: f64) -> Result<Self, NotFinite> {
        Self::new(value).ok_or(NotFinite)
    }
}

impl From<Finite> for f64 {
    fn from(value: Finite) -> Self {
        value.0
    }
}

impl From<u32> for Finite {
    fn from(value: u32) -> Self {
        Self(f64::from(value))
    }
}

impl Eq for Finite {}

impl Ord for Finite {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Finite {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Finite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nan_and_infinities_are_refused_by_construction_and_by_json() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(Finite::new(bad).is_none());
        }
        assert!(serde_json::from_str::<Finite>("null").is_err());
        assert!(serde_json::from_str::<Finite>("1e999").is_err());
    }

    #[test]
    fn negative_zero_and_zero_have_the_same_bytes() {
        let minus = serde_json::to_string(&Finite::new(-0.0)).unwrap();
        assert_eq!(minus, serde_json::to_string(&Finite::new(0.0)).unwrap());
    }

    proptest! {
        #[test]
        fn json_gives_back_the_same_bits(bits: u64) {
            if let Some(value) = Finite::new(f64::from_bits(bits)) {
                let text = serde_json::to_string(&value).unwrap();
                let back: Finite = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(back.get().to_bits(), value.get().to_bits());
            }
        }
    }
}
