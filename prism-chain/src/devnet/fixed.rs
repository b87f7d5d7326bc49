//! Numbers with 32 fractional bits, rounded down as the runtime's `I32F32` (crate `substrate-fixed`).

use std::iter::Sum;

/// A number from 0 to 2^32, in steps of 2^-32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fixed(u64);

impl Fixed {
    pub(super) const ZERO: Self = Self(0);
    pub(super) const ONE: Self = Self(1 << 32);

    /// `numerator / denominator`; zero where that isn't a number.
    pub(super) fn ratio(numerator: u64, denominator: u128) -> Self {
        let quotient = (u128::from(numerator) << 32).checked_div(denominator).unwrap_or(0);
        Self(u64::try_from(quotient).unwrap_or(u64::MAX))
    }

    /// A share in 1/65535.
    pub(super) fn share(share: u16) -> Self {
        Self::ratio(u64::from(share), u128::from(u16::MAX))
    }

    pub(super) fn whole(number: u16) -> Self {
        Self(u64::from(number) << 32)
    }

    pub(super) fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Zero where the difference would be negative.
    pub(super) fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    pub(super) fn times(self, other: Self) -> Self {
        Self(u64::try_from((u128::from(self.0) * u128::from(other.0)) >> 32).unwrap_or(u64::MAX))
    }

    /// Zero where the other is.
    pub(super) fn over(self, other: Self) -> Self {
        Self::ratio(self.0, u128::from(other.0))
    }

    /// In 1/65535.
    pub(super) fn to_share(self) -> u16 {
        u16::try_from(self.times(Self::whole(u16::MAX)).0 >> 32).unwrap_or(u16::MAX)
    }

    /// This part of an amount.
    pub(super) fn of(self, amount: u64) -> u64 {
        u64::try_from((u128::from(self.0) * u128::from(amount)) >> 32).unwrap_or(u64::MAX)
    }

    #[cfg(test)]
    pub(super) fn to_f64(self) -> f64 {
        self.0 as f64 / (1_u64 << 32) as f64
    }
}

impl Sum for Fixed {
    fn sum<I: Iterator<Item = Self>>(numbers: I) -> Self {
        numbers.fold(Self::ZERO, Self::plus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_rounded_down_and_never_wrap() {
        assert_eq!(Fixed::ratio(1, 3).times(Fixed::whole(3)), Fixed((1 << 32) - 1));
        assert_eq!(Fixed::share(u16::MAX), Fixed::ONE);
        assert_eq!(Fixed::ONE.to_share(), u16::MAX);
        assert_eq!(Fixed::ratio(1, 2).to_share(), 32_767);
        assert_eq!(Fixed::ratio(1, 4).of(10), 2);
        assert_eq!(Fixed::ONE.over(Fixed::ZERO), Fixed::ZERO);
        assert_eq!(Fixed::ZERO.minus(Fixed::ONE), Fixed::ZERO);
        assert_eq!(Fixed(u64::MAX).plus(Fixed::ONE), Fixed(u64::MAX));
    }
}
