//! Yuma consensus: what validators' weights and stakes make of incentives, dividends and bonds
//! (`epoch/run_epoch.rs`, `epoch_mechanism`, without liquid alpha and without Yuma 3).
//!
//! Sums run over UIDs in ascending order, in fixed point: the same state gives the same numbers everywhere.

use crate::devnet::fixed::Fixed;

/// One row per neuron: `(column, value)`, columns ascending, values above zero.
pub(super) type Rows = Vec<Vec<(u16, Fixed)>>;

/// What an epoch of one mechanism starts from. Vectors have an element per UID.
#[derive(Debug, Clone, Default)]
pub(super) struct Inputs {
    pub(super) block: u64,
    pub(super) tempo: u16,
    pub(super) activity_cutoff: u64,
    /// Stake of those above the threshold, in any unit; of the others zero.
    pub(super) stake: Vec<u64>,
    pub(super) permits: Vec<bool>,
    pub(super) max_validators: u16,
    pub(super) last_update: Vec<u64>,
    pub(super) registered: Vec<u64>,
    /// The block of a validator's oldest open commitment.
    pub(super) committed: Vec<Option<u64>>,
    pub(super) owner: Option<u16>,
    pub(super) weights: Vec<Vec<(u16, u16)>>,
    pub(super) bonds: Vec<Vec<(u16, u16)>>,
    /// The majority of stake that decides, in 1/65535.
    pub(super) kappa: u16,
    /// How much of a weight above consensus counts for bonds: nothing at 65535.
    pub(super) bonds_penalty: u16,
    /// The part of old bonds that stays, in 1/1,000,000.
    pub(super) bonds_moving_average: u64,
    /// What is paid out, in 1e-9 alpha.
    pub(super) emission: u64,
}

/// What an epoch of one mechanism gives. Shares sum to about 1 over all UIDs, except consensus and trust.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) active: Vec<bool>,
    /// Normalized stake.
    pub(super) stake: Vec<Fixed>,
    pub(super) new_permits: Vec<bool>,
    pub(super) consensus: Vec<Fixed>,
    pub(super) validator_trust: Vec<Fixed>,
    pub(super) trust: Vec<Fixed>,
    pub(super) incentive: Vec<Fixed>,
    pub(super) dividends: Vec<Fixed>,
    /// What decides about pruning, and the part of the emission.
    pub(super) pruning: Vec<Fixed>,
    pub(super) emission: Vec<u64>,
    /// Scaled so that the largest of each column is 1.
    pub(super) bonds: Rows,
}

/// Runs an epoch.
pub(super) fn epoch(inputs: &Inputs) -> Outcome {
    let count = inputs.stake.len();
    let active: Vec<bool> = inputs
        .last_update
        .iter()
        .map(|updated| updated.saturating_add(inputs.activity_cutoff) >= inputs.block)
        .collect();
    let total: u128 = inputs.stake.iter().map(|stake| u128::from(*stake)).sum();
    let stake: Vec<Fixed> = inputs.stake.iter().map(|stake| Fixed::ratio(*stake, total)).collect();
    let new_permits = top_nonzero(&stake, usize::from(inputs.max_validators));
    let counts = |uid: usize| at(&active, uid) && at(&inputs.permits, uid);
    let mut active_stake: Vec<Fixed> =
        stake.iter().enumerate().map(|(uid, stake)| if counts(uid) { *stake } else { Fixed::ZERO }).collect();
    normalize(&mut active_stake);

    let weights = masked_weights(inputs);
    let preranks = weighted_columns(&weights, &active_stake, count);
    let consensus = medians(&active_stake, &weights, count, Fixed::share(inputs.kappa));
    let clipped = clip(&weights, &consensus);
    let validator_trust = clipped.iter().map(|row| row.iter().map(|(_, value)| *value).sum()).collect();
    let mut incentive = weighted_columns(&clipped, &active_stake, count);
    let trust = incentive.iter().zip(&preranks).map(|(rank, prerank)| rank.over(*prerank)).collect();
    normalize(&mut incentive);

    let mut bonds =
        moved_bonds(inputs, &interpolate(&weights, &clipped, Fixed::share(inputs.bonds_penalty)), &active_stake);
    let mut dividends: Vec<Fixed> = bonds
        .iter()
        .map(|row| row.iter().map(|(column, bond)| at(&incentive, usize::from(*column)).times(*bond)).sum())
        .collect();
    normalize(&mut dividends);
    scale_columns(&mut bonds, count, |column| column.iter().copied().max().unwrap_or_default());

    let mut pruning: Vec<Fixed> =
        incentive.iter().zip(&dividends).map(|(incentive, dividend)| incentive.plus(*dividend)).collect();
    if pruning.iter().copied().sum::<Fixed>().is_zero() {
        // Nobody earned anything: stake is paid.
        let is_idle = active_stake.iter().all(|stake| stake.is_zero());
        pruning.clone_from(if is_idle { &stake } else { &active_stake });
    } else {
        normalize(&mut pruning);
    }
    let emission = pruning.iter().map(|part| part.of(inputs.emission)).collect();
    Outcome {
        active,
        stake,
        new_permits,
        consensus,
        validator_trust,
        trust,
        incentive,
        dividends,
        pruning,
        emission,
        bonds,
    }
}

fn at<T: Copy + Default>(vector: &[T], index: usize) -> T {
    vector.get(index).copied().unwrap_or_default()
}

/// Divides by the sum, unless that is zero.
fn normalize(vector: &mut [Fixed]) {
    let sum: Fixed = vector.iter().copied().sum();
    if !sum.is_zero() {
        for value in vector {
            *value = value.over(sum);
        }
    }
}

/// Whether a neuron is among those with the most stake; of equal stakes the higher UID wins
/// (`epoch/math.rs`, `is_topk_nonzero`).
pub(super) fn top_nonzero(stake: &[Fixed], seats: usize) -> Vec<bool> {
    let mut ranked: Vec<_> = stake.iter().copied().enumerate().collect();
    ranked.sort_by_key(|(uid, stake)| std::cmp::Reverse((*stake, *uid)));
    let mut permits = vec![false; stake.len()];
    for (uid, stake) in ranked.into_iter().take(seats) {
        if let Some(permit) = permits.get_mut(uid) {
            *permit = !stake.is_zero();
        }
    }
    permits
}

/// Weights that count, each row normalized: of validators, not for themselves except the owner, not for a neuron that
/// came after the weights were set or committed.
fn masked_weights(inputs: &Inputs) -> Rows {
    let rows = inputs.weights.iter().enumerate().map(|(uid, row)| {
        if !at(&inputs.permits, uid) {
            return Vec::new();
        }
        let updated = at(&inputs.last_update, uid);
        let committed = inputs.committed.get(uid).copied().flatten();
        let counts = |to: u16| {
            let registered = at(&inputs.registered, usize::from(to));
            (usize::from(to) != uid || inputs.owner == Some(to))
                && usize::from(to) < inputs.stake.len()
                && updated > registered
                && committed.is_none_or(|block| block >= registered)
        };
        let kept = row.iter().filter(|(to, weight)| *weight > 0 && counts(*to));
        let mut row: Vec<_> = kept.map(|(to, weight)| (*to, Fixed::whole(*weight))).collect();
        row.sort_unstable_by_key(|(to, _)| *to);
        let sum: Fixed = row.iter().map(|(_, weight)| *weight).sum();
        for (_, weight) in &mut row {
            *weight = weight.over(sum);
        }
        row
    });
    rows.collect()
}

/// Per column the sum of values times their row's factor.
fn weighted_columns(rows: &Rows, factors: &[Fixed], columns: usize) -> Vec<Fixed> {
    let mut sums = vec![Fixed::ZERO; columns];
    for (row, factor) in rows.iter().zip(factors) {
        for (column, value) in row {
            if let Some(sum) = sums.get_mut(usize::from(*column)) {
                *sum = sum.plus(factor.times(*value));
            }
        }
    }
    sums
}

/// Per column the value that more than `1 - majority` of the stake doesn't exceed
/// (`epoch/math.rs`, `weighted_median_col_sparse`).
fn medians(stake: &[Fixed], rows: &Rows, columns: usize, majority: Fixed) -> Vec<Fixed> {
    let mut voters: Vec<Fixed> = stake.iter().copied().filter(|stake| !stake.is_zero()).collect();
    normalize(&mut voters);
    let minority = voters.iter().copied().sum::<Fixed>().minus(majority);
    let mut scores: Vec<Vec<(Fixed, Fixed)>> = vec![Vec::new(); columns];
    let rows = rows.iter().zip(stake).filter(|(_, stake)| !stake.is_zero()).map(|(row, _)| row);
    for (row, voter) in rows.zip(&voters) {
        for (column, value) in row {
            if let Some(scores) = scores.get_mut(usize::from(*column)) {
                scores.push((*value, *voter));
            }
        }
    }
    scores
        .into_iter()
        .map(|mut scores| {
            scores.sort_unstable();
            // Those who gave the column nothing gave it a zero.
            let silent = voters.iter().copied().sum::<Fixed>().minus(scores.iter().map(|(_, voter)| *voter).sum());
            let mut below = silent;
            if below > minority {
                return Fixed::ZERO;
            }
            let mut largest = Fixed::ZERO;
            for (value, voter) in scores {
                below = below.plus(voter);
                largest = value;
                if below > minority {
                    break;
                }
            }
            largest
        })
        .collect()
}

fn clip(rows: &Rows, limits: &[Fixed]) -> Rows {
    let clipped = |row: &Vec<(u16, Fixed)>| -> Vec<(u16, Fixed)> {
        let row = row.iter().map(|(column, value)| (*column, (*value).min(at(limits, usize::from(*column)))));
        row.filter(|(_, value)| !value.is_zero()).collect()
    };
    rows.iter().map(clipped).collect()
}

/// From the first matrix to the second, of which every value is at most the first's.
fn interpolate(from: &Rows, to: &Rows, ratio: Fixed) -> Rows {
    if ratio == Fixed::ONE {
        return to.clone();
    }
    let rows = from.iter().zip(to).map(|(from, to)| {
        let row = from.iter().map(|(column, value)| {
            let other = to.iter().find(|(other, _)| other == column).map_or(Fixed::ZERO, |(_, value)| *value);
            (*column, value.minus(ratio.times(value.minus(other))))
        });
        row.filter(|(_, value)| !value.is_zero()).collect()
    });
    rows.collect()
}

/// Divides every value by what `scale` makes of its column, unless that is zero.
fn scale_columns(rows: &mut Rows, columns: usize, scale: impl Fn(&[Fixed]) -> Fixed) {
    let mut values: Vec<Vec<Fixed>> = vec![Vec::new(); columns];
    for (column, value) in rows.iter().flatten() {
        if let Some(column) = values.get_mut(usize::from(*column)) {
            column.push(*value);
        }
    }
    let scales: Vec<Fixed> = values.iter().map(|column| scale(column)).collect();
    for (column, value) in rows.iter_mut().flatten() {
        let scale = at(&scales, usize::from(*column));
        if !scale.is_zero() {
            *value = value.over(scale);
        }
    }
}

/// Old bonds, without those in neurons that came since the last epoch, moved towards what stake and weights ask for;
/// each column normalized.
fn moved_bonds(inputs: &Inputs, weights: &Rows, active_stake: &[Fixed]) -> Rows {
    let count = inputs.stake.len();
    let total = |column: &[Fixed]| column.iter().copied().sum();
    let last_epoch = inputs.block.saturating_sub(u64::from(inputs.tempo));
    let kept = |column: u16| last_epoch > at(&inputs.registered, usize::from(column));
    let old = inputs.bonds.iter().map(|row| -> Vec<(u16, Fixed)> {
        let row = row.iter().filter(|(column, _)| kept(*column) && usize::from(*column) < count);
        row.map(|(column, bond)| (*column, Fixed::whole(*bond))).collect()
    });
    let mut old: Rows = old.collect();
    scale_columns(&mut old, count, total);
    let asked = weights.iter().zip(active_stake).map(|(row, stake)| -> Vec<(u16, Fixed)> {
        row.iter().map(|(column, weight)| (*column, weight.times(*stake))).collect()
    });
    let mut asked: Rows = asked.collect();
    scale_columns(&mut asked, count, total);

    let alpha = Fixed::ONE.minus(Fixed::ratio(inputs.bonds_moving_average, 1_000_000));
    let rows = asked.iter().zip(&old).map(|(asked, old)| {
        let mut row = vec![Fixed::ZERO; count];
        let parts = [(asked, alpha), (old, Fixed::ONE.minus(alpha))];
        for (values, part) in parts {
            for (column, value) in values {
                if let Some(sum) = row.get_mut(usize::from(*column)) {
                    *sum = sum.plus(part.times(*value));
                }
            }
        }
        (0_u16..).zip(row).filter(|(_, bond)| !bond.is_zero()).collect()
    });
    let mut moved: Rows = rows.collect();
    scale_columns(&mut moved, count, total);
    moved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Validators at UIDs 0 and 1 with stakes, three miners; everything registered at 0, updated at 1, block 1000.
    fn inputs(stake: [u64; 2], weights: [&[(u16, u16)]; 2]) -> Inputs {
        let mut rows = vec![Vec::new(); 5];
        for (row, weights) in rows.iter_mut().zip(weights) {
            *row = weights.to_vec();
        }
        Inputs {
            block: 1000,
            tempo: 360,
            activity_cutoff: 5000,
            stake: vec![stake[0], stake[1], 0, 0, 0],
            permits: vec![true, true, false, false, false],
            max_validators: 64,
            last_update: vec![1; 5],
            registered: vec![0; 5],
            committed: vec![None; 5],
            owner: None,
            weights: rows,
            bonds: vec![Vec::new(); 5],
            kappa: 32_767,
            bonds_penalty: u16::MAX,
            bonds_moving_average: 900_000,
            emission: 1_000_000,
        }
    }

    fn near(fixed: &[Fixed], expected: &[f64], tolerance: f64) {
        assert_eq!(fixed.len(), expected.len());
        for (fixed, expected) in fixed.iter().zip(expected) {
            assert!((fixed.to_f64() - expected).abs() < tolerance, "{fixed:?} is not {expected}");
        }
    }

    fn close(fixed: &[Fixed], expected: &[f64]) {
        near(fixed, expected, 1e-7);
    }

    /// The same in floating point, on dense matrices, written from the definition: no fixed point, no sparse rows, the
    /// median by trying every value.
    #[derive(Debug, Default)]
    struct Plain {
        consensus: Vec<f64>,
        validator_trust: Vec<f64>,
        incentive: Vec<f64>,
        dividends: Vec<f64>,
        bonds: Vec<Vec<f64>>,
    }

    fn plain(inputs: &Inputs) -> Plain {
        let n = inputs.stake.len();
        let unit = |v: Vec<f64>| {
            let sum: f64 = v.iter().sum();
            if sum == 0.0 { v } else { v.iter().map(|x| x / sum).collect() }
        };
        let counts = |i: usize| inputs.permits[i] && inputs.last_update[i] + inputs.activity_cutoff >= inputs.block;
        let s = unit((0..n).map(|i| if counts(i) { inputs.stake[i] as f64 } else { 0.0 }).collect());
        let mut w = vec![vec![0.0; n]; n];
        for i in (0..n).filter(|i| inputs.permits[*i]) {
            for (j, weight) in &inputs.weights[i] {
                let j = usize::from(*j);
                let own = i == j && inputs.owner != Some(j as u16);
                let stale = inputs.last_update[i] <= inputs.registered[j];
                let early = inputs.committed[i].is_some_and(|block| block < inputs.registered[j]);
                if !(own || stale || early) {
                    w[i][j] = f64::from(*weight);
                }
            }
            w[i] = unit(w[i].clone());
        }
        let kappa = f64::from(inputs.kappa) / 65_535.0;
        // The largest weight that validators with more than kappa of the stake support.
        let consensus: Vec<f64> = (0..n)
            .map(|j| {
                let support = |x: f64| -> f64 { (0..n).filter(|i| w[*i][j] >= x).map(|i| s[i]).sum() };
                (0..n).map(|i| w[i][j]).filter(|x| support(*x) >= kappa).fold(0.0, f64::max)
            })
            .collect();
        let clipped: Vec<Vec<f64>> = w.iter().map(|row| (0..n).map(|j| row[j].min(consensus[j])).collect()).collect();
        let incentive = unit((0..n).map(|j| (0..n).map(|i| s[i] * clipped[i][j]).sum()).collect());
        let penalty = f64::from(inputs.bonds_penalty) / 65_535.0;
        let by_column = |m: &[Vec<f64>]| -> Vec<Vec<f64>> {
            let sums: Vec<f64> = (0..n).map(|j| m.iter().map(|row| row[j]).sum()).collect();
            m.iter().map(|row| (0..n).map(|j| if sums[j] == 0.0 { 0.0 } else { row[j] / sums[j] }).collect()).collect()
        };
        let mut old = vec![vec![0.0; n]; n];
        for (row, bonds) in old.iter_mut().zip(&inputs.bonds) {
            for (j, bond) in bonds {
                if inputs.block - u64::from(inputs.tempo) > inputs.registered[usize::from(*j)] {
                    row[usize::from(*j)] = f64::from(*bond);
                }
            }
        }
        let asked: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..n).map(|j| s[i] * ((1.0 - penalty) * w[i][j] + penalty * clipped[i][j])).collect())
            .collect();
        let (old, asked) = (by_column(&old), by_column(&asked));
        let keep = inputs.bonds_moving_average as f64 / 1e6;
        let moved: Vec<Vec<f64>> =
            (0..n).map(|i| (0..n).map(|j| keep * old[i][j] + (1.0 - keep) * asked[i][j]).collect()).collect();
        let bonds = by_column(&moved);
        let dividends = unit((0..n).map(|i| (0..n).map(|j| bonds[i][j] * incentive[j]).sum()).collect());
        let validator_trust = clipped.iter().map(|row| row.iter().sum()).collect();
        Plain { consensus, validator_trust, incentive, dividends, bonds }
    }

    fn agrees(inputs: &Inputs) {
        let (outcome, plain) = (epoch(inputs), plain(inputs));
        near(&outcome.consensus, &plain.consensus, 1e-5);
        near(&outcome.validator_trust, &plain.validator_trust, 1e-5);
        near(&outcome.incentive, &plain.incentive, 1e-5);
        near(&outcome.dividends, &plain.dividends, 1e-5);
        for (j, largest) in
            (0..inputs.stake.len()).map(|j| (j, plain.bonds.iter().map(|row| row[j]).fold(0.0, f64::max)))
        {
            for (i, row) in outcome.bonds.iter().enumerate() {
                let bond = row.iter().find(|(column, _)| usize::from(*column) == j).map_or(0.0, |(_, b)| b.to_f64());
                let expected = if largest == 0.0 { 0.0 } else { plain.bonds[i][j] / largest };
                assert!((bond - expected).abs() < 1e-5, "bond {i} {j}: {bond} is not {expected}");
            }
        }
    }

    #[test]
    fn agreeing_validators_pay_what_they_say_and_share_by_stake() {
        // Both give miners 2 and 3 three quarters and one quarter.
        let weights: &[(u16, u16)] = &[(2, 30_000), (3, 10_000)];
        let inputs = inputs([300, 100], [weights, weights]);
        let outcome = epoch(&inputs);
        close(&outcome.consensus, &[0.0, 0.0, 0.75, 0.25, 0.0]);
        close(&outcome.incentive, &[0.0, 0.0, 0.75, 0.25, 0.0]);
        close(&outcome.validator_trust, &[1.0, 1.0, 0.0, 0.0, 0.0]);
        close(&outcome.dividends, &[0.75, 0.25, 0.0, 0.0, 0.0]);
        // Half of the emission for miners, half for validators.
        for (got, expected) in outcome.emission.iter().zip([375_000, 125_000, 375_000, 125_000, 0_u64]) {
            assert!(got.abs_diff(expected) <= 1, "{got} is not {expected}");
        }
        agrees(&inputs);
    }

    #[test]
    fn a_minority_s_favourite_is_clipped_to_what_the_majority_gives_it() {
        // Three quarters of the stake give miners 2 and 3 a half each; the rest gives miner 2 nine tenths, miner 4 one.
        let inputs = inputs([300, 100], [&[(2, 500), (3, 500)], &[(2, 900), (4, 100)]]);
        let outcome = epoch(&inputs);
        close(&outcome.consensus, &[0.0, 0.0, 0.5, 0.5, 0.0]);
        close(&outcome.validator_trust, &[1.0, 0.5, 0.0, 0.0, 0.0]);
        // Ranks: miner 2 gets .75 * .5 + .25 * .5 = .5, miner 3 .75 * .5 = .375; together .875.
        close(&outcome.incentive, &[0.0, 0.0, 4.0 / 7.0, 3.0 / 7.0, 0.0]);
        // Bonds of miner 2: .375 and .125 of .5, so 3/4 and 1/4; of miner 3: all the first's.
        close(&outcome.dividends, &[0.75 * 4.0 / 7.0 + 3.0 / 7.0, 0.25 * 4.0 / 7.0, 0.0, 0.0, 0.0]);
        agrees(&inputs);
    }

    #[test]
    fn bonds_follow_new_weights_by_a_tenth_an_epoch() {
        let mut inputs = inputs([100, 100], [&[(2, 1)], &[(2, 1)]]);
        inputs.bonds[0] = vec![(2, 65_535)];
        // Old: all the first's. Asked: a half each. Moved: .95 and .05.
        let outcome = epoch(&inputs);
        close(&outcome.dividends, &[0.95, 0.05, 0.0, 0.0, 0.0]);
        assert_eq!(outcome.bonds[0], [(2, Fixed::ONE)]);
        close(&[outcome.bonds[1][0].1], &[0.05 / 0.95]);
        // Bonds in a neuron that came within the last tempo are void.
        inputs.registered[2] = 700;
        inputs.last_update = vec![800; 5];
        close(&epoch(&inputs).dividends, &[0.5, 0.5, 0.0, 0.0, 0.0]);
        agrees(&inputs);
    }

    #[test]
    fn weights_for_neurons_that_came_later_do_not_count() {
        let both: &[(u16, u16)] = &[(2, 1), (3, 1)];
        let mut inputs = inputs([100, 100], [both, both]);
        inputs.last_update = vec![500; 5];
        inputs.registered[3] = 500;
        close(&epoch(&inputs).incentive, &[0.0, 0.0, 1.0, 0.0, 0.0]);
        agrees(&inputs);
        // Revealed after the registration, but committed before it.
        inputs.last_update = vec![600; 5];
        inputs.committed = vec![Some(499); 5];
        close(&epoch(&inputs).incentive, &[0.0, 0.0, 1.0, 0.0, 0.0]);
        inputs.committed = vec![Some(500); 5];
        close(&epoch(&inputs).incentive, &[0.0, 0.0, 0.5, 0.5, 0.0]);
        agrees(&inputs);
    }

    #[test]
    fn a_neuron_pays_itself_only_as_the_owner_and_only_with_a_permit() {
        let mut inputs = inputs([100, 100], [&[(0, 1), (2, 1)], &[(0, 1), (2, 1)]]);
        close(&epoch(&inputs).consensus, &[0.5, 0.0, 1.0, 0.0, 0.0]);
        agrees(&inputs);
        inputs.owner = Some(0);
        close(&epoch(&inputs).incentive, &[0.5, 0.0, 0.5, 0.0, 0.0]);
        agrees(&inputs);
        inputs.permits = vec![false; 5];
        let outcome = epoch(&inputs);
        close(&outcome.incentive, &[0.0; 5]);
        assert_eq!(outcome.emission, [500_000, 500_000, 0, 0, 0], "nobody earns: stake is paid");
    }

    #[test]
    fn permits_go_to_the_most_stake() {
        let stake = |stake: &[u64]| stake.iter().map(|stake| Fixed::ratio(*stake, 100)).collect::<Vec<_>>();
        assert_eq!(top_nonzero(&stake(&[5, 0, 9, 7]), 2), [false, false, true, true]);
        assert_eq!(top_nonzero(&stake(&[5, 0, 9]), 64), [true, false, true]);
        assert_eq!(top_nonzero(&stake(&[4, 4, 4]), 2), [false, true, true]);
        assert_eq!(top_nonzero(&[], 2), [false; 0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn fixed_point_on_sparse_rows_agrees_with_the_definition(
            stakes in proptest::collection::vec(1_000_000_u64..1_000_000_000, 4),
            weights in proptest::collection::vec(proptest::collection::vec((0_u16..6, 1_u16..1000), 0..6), 4),
            bonds in proptest::collection::vec(proptest::collection::vec((0_u16..6, 1_u16..65_535), 0..6), 4),
            registered in proptest::collection::vec(0_u64..1000, 6),
            kappa in 20_000_u16..50_000, penalty: u16, keep in 0_u64..1_000_000,
        ) {
            let unique = |rows: Vec<Vec<(u16, u16)>>| -> Vec<Vec<(u16, u16)>> {
                let mut rows: Vec<Vec<_>> = rows
                    .into_iter()
                    .map(|row| row.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect())
                    .collect();
                rows.resize(6, Vec::new());
                rows
            };
            let mut stake = stakes;
            stake.resize(6, 0);
            let inputs = Inputs {
                block: 1000, tempo: 360, activity_cutoff: 5000, stake,
                permits: vec![true, true, true, true, false, false],
                max_validators: 64, last_update: vec![500; 6], registered,
                committed: vec![None; 6], owner: Some(0), weights: unique(weights), bonds: unique(bonds),
                kappa, bonds_penalty: penalty, bonds_moving_average: keep, emission: 1_000_000_000,
            };
            agrees(&inputs);
            let paid: u64 = epoch(&inputs).emission.iter().sum();
            prop_assert!(paid <= inputs.emission && paid + 100 > inputs.emission, "{paid}");
        }
    }
}
