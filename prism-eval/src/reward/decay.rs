//! What is left of credits with time.
use super::pools::Claim;
use crate::policy::RewardNumbers;
use prism_core::{
    Block,
    standings::{Increment, Known},
};

/// A part of a credit and the block since which it has been known.
#[derive(Debug, Clone, Copy)]
struct Aging {
    since: u64,
    left: f64,
}

/// What is left of the credits of one pool at a block, in their order. Each has the place of whom it is credited to.
///
/// Below the target, a credit loses half its worth every half-life. Above it the pool can't pay all of the sum, so what
/// all of them lose together is what the target would lose, and each its part of that: whatever a credit isn't paid now, it is
/// paid later. A credit is worth `half_life / ln 2 * credit / target` blocks of the whole pool, whenever it came and
/// whoever else was paid then.
///
/// If credits lost by age alone, part of a large one would rot unpaid while the pool is full. Alone in its pool, an idea of
/// 0.3 bits would be paid 2.82 half-lives of it when shown at once, and 2.93 in two steps of 0.14 and 0.16, one half-life
/// between them, although it pays the margin twice.
fn left(mut credits: Vec<(usize, Aging)>, now: Block, numbers: &RewardNumbers) -> Vec<(usize, f64)> {
    credits.sort_by_key(|(place, aging)| (aging.since, *place));
    let mut active: Vec<(usize, Aging)> = Vec::new();
    let mut at = 0;
    for (place, aging) in credits {
        let since = aging.since.min(now.0);
        age(&mut active, since - at, numbers);
        at = since;
        active.push((place, aging));
    }
    age(&mut active, now.0 - at, numbers);
    active.sort_by_key(|(place, _)| *place);
    active.into_iter().map(|(place, aging)| (place, aging.left)).collect()
}

fn age(active: &mut [(usize, Aging)], blocks: u64, numbers: &RewardNumbers) {
    let sum: f64 = active.iter().map(|(_, aging)| aging.left).sum();
    let factor = kept(sum, blocks as f64, numbers.target.get(), numbers.half_life.get());
    for (_, aging) in active {
        aging.left *= factor;
    }
}

/// The part of a sum that is left after some blocks: `s' = -ln 2 / half_life * min(s, target)`.
fn kept(sum: f64, blocks: f64, target: f64, half_life: f64) -> f64 {
    let per_block = std::f64::consts::LN_2 / half_life * target;
    let full = ((sum - target) / per_block).max(0.0);
    if blocks < full {
        return 1.0 - blocks * per_block / sum;
    }
    let at_full = if full > 0.0 { target / sum } else { 1.0 };
    at_full * (-(blocks - full) / half_life).exp2()
}

/// The increments as claims on a pool, each for what is left of it. `part` is what of each counts.
pub(super) fn claims(
    increments: &[Increment],
    part: impl Fn(&Increment) -> f64,
    now: Block,
    numbers: &RewardNumbers,
) -> Vec<Claim> {
    let mut credits = Vec::new();
    for (place, increment) in increments.iter().enumerate() {
        let part = part(increment);
        let aging = |known: &Known| Aging { since: known.since.0, left: known.credit.get() * part };
        credits.extend(increment.known.iter().map(aging).map(|aging| (place, aging)));
    }
    let mut claims: Vec<Claim> =
        increments.iter().map(|increment| Claim { hotkey: increment.showing.hotkey, credit: 0.0 }).collect();
    for (place, left) in left(credits, now, numbers) {
        if let Some(claim) = claims.get_mut(place) {
            claim.credit += left;
        }
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::Finite;
    use proptest::prelude::*;

    const LIFE: f64 = 1000.0;

    fn numbers() -> RewardNumbers {
        RewardNumbers { half_life: Finite::new(LIFE).unwrap(), ..RewardNumbers::default() }
    }

    fn left_of(credits: &[(u64, f64)], now: u64) -> Vec<f64> {
        let aging = credits.iter().map(|(since, left)| Aging { since: *since, left: *left }).enumerate().collect();
        left(aging, Block(now), &numbers()).into_iter().map(|(_, left)| left).collect()
    }

    /// What each is paid of a pool, summed over blocks.
    fn paid(credits: &[(u64, f64)], blocks: u64) -> Vec<f64> {
        let mut paid = vec![0.0; credits.len()];
        for now in (0..blocks).step_by(10) {
            let known: Vec<(u64, f64)> = credits.iter().copied().filter(|(since, _)| *since <= now).collect();
            let left = left_of(&known, now);
            let full = left.iter().sum::<f64>().max(numbers().target.get());
            let mut left = left.into_iter();
            for (paid, (since, _)) in paid.iter_mut().zip(credits) {
                if *since <= now {
                    *paid += 10.0 * left.next().unwrap() / full;
                }
            }
        }
        paid
    }

    #[test]
    fn a_credit_below_the_target_halves_with_each_half_life() {
        for (now, expected) in [(500, 0.05), (1500, 0.025), (2500, 0.0125), (0, 0.05)] {
            assert!((left_of(&[(500, 0.05)], now)[0] - expected).abs() < 1e-15, "{now}");
        }
    }

    #[test]
    fn above_the_target_it_loses_what_the_target_would() {
        let per_life = 0.1 * std::f64::consts::LN_2;
        assert!((left_of(&[(0, 0.4)], 1000)[0] - (0.4 - per_life)).abs() < 1e-12);
        let full = 0.3 / per_life * LIFE;
        assert!((left_of(&[(0, 0.4)], full.round() as u64 + 1000)[0] - 0.05).abs() < 1e-4);
        let both = left_of(&[(0, 0.3), (0, 0.1)], 1000);
        assert!((both[0] - 3.0 * both[1]).abs() < 1e-12 && (both[0] + both[1] - 0.4 + per_life).abs() < 1e-12);
    }

    #[test]
    fn a_credit_is_paid_the_same_whenever_it_comes_and_whoever_else_is_paid() {
        let whole = LIFE / std::f64::consts::LN_2 / 0.1;
        let alone = paid(&[(0, 0.26)], 30_000);
        assert!((alone[0] / (0.26 * whole) - 1.0).abs() < 0.01, "{alone:?}");
        let crowd = [(0, 0.26), (500, 0.3), (700, 0.05), (4000, 0.2)];
        for (paid, (_, credit)) in paid(&crowd, 40_000).iter().zip(crowd) {
            assert!((paid / (credit * whole) - 1.0).abs() < 0.01, "{paid} for {credit}");
        }
    }

    proptest! {
        #[test]
        fn ageing_in_two_steps_is_ageing_in_one(
            sum in 0.001f64..2.0, first in 0.0f64..5000.0, second in 0.0f64..5000.0,
        ) {
            let kept = |sum: f64, blocks| kept(sum, blocks, 0.1, LIFE);
            let (at_once, half) = (sum * kept(sum, first + second), sum * kept(sum, first));
            prop_assert!((half * kept(half, second) - at_once).abs() < 1e-12);
        }
    }
}
