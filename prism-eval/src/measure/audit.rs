//! Asking a player that never ran before what the claims should have been.
//!
//! The auditor gets the player's snapshot and the same rows in the same order and shape, each true up to a secret cut
//! and then the tail of a row that this cohort never deals: whoever looks ahead reads something wrong. The host turns
//! its logits at the cut into bits. Corrected by the mean difference at the cuts, the mean of the claims is an unbiased
//! estimate of the auditor's own bits, whatever was claimed; the alarms below only end runs that gamble on its scatter.
use crate::{
    data::{Deal, Dealer},
    player::{Claims, Logits, Rows},
};
use prism_core::{Error, Fault, Finite, Kind, Result, Seed, evidence::Audit, seed::Draws, trainer::Surroundings};
use std::{f64::consts::LN_2, fs::File, io::Read, ops::Range};

/// Fewest audits whose mean is judged: the scatter of fewer is not known well enough.
const FEWEST: u32 = 16;
/// Standard errors that the mean difference must exceed. At 16 audits, one point of an honest player in 40,000 does
/// (Student's t, 15 degrees of freedom), and only if it passes [`TOLERANCE`] as well.
const Z: f64 = 6.0;
/// Bits per position that the mean difference must exceed: seven times the standard deviation that bfloat16 gave the
/// mean of 64 audits of unequal shapes (0.0013). It is corrected all the same.
const TOLERANCE: f64 = 0.01;

/// The secret draws of a run's audits.
///
/// # Errors
/// When the operating system has no randomness to give.
pub(super) fn draws(around: &Surroundings) -> Result<Draws> {
    if let Some(secret) = around.secret {
        return Ok(secret.stream("audits").draws());
    }
    let mut bytes = [0; 32];
    File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes)).map_err(|e| {
        Error::new(Kind::Unavailable, Fault::Infrastructure, "operating system gave no randomness for audits")
            .because(e)
    })?;
    Ok(Seed::of("prism/audits/1", &[&bytes]).draws())
}

/// Rows as an auditor sees them.
#[derive(Debug)]
pub(super) struct Disguise {
    /// True up to the cut, a decoy after it; a copy of its own, as wide as the true rows.
    pub(super) rows: Rows,
    /// The last true position of each row: uniform over the positions that count.
    pub(super) cuts: Vec<u32>,
}

impl Disguise {
    /// Cut at any predicted position.
    pub(super) fn of(deal: &Deal, dealer: &Dealer, draws: &mut Draws) -> Result<Self> {
        let positions = deal.rows.columns.saturating_sub(1);
        Self::within(deal, &vec![0..positions; deal.rows.rows as usize], dealer, draws)
    }

    /// Cut within the span of each row.
    pub(super) fn within(deal: &Deal, spans: &[Range<u32>], dealer: &Dealer, draws: &mut Draws) -> Result<Self> {
        let Rows { rows, columns, .. } = deal.rows;
        let mut disguised = dealer.decoys(rows, draws)?;
        let width = columns.max(1) as usize;
        let mut cuts = Vec::with_capacity(rows as usize);
        for ((row, truth), span) in disguised.tokens.chunks_mut(width).zip(deal.rows.tokens.chunks(width)).zip(spans) {
            let cut = draws.below(u64::from(span.end.saturating_sub(span.start)));
            let cut = span.start.saturating_add(u32::try_from(cut).unwrap_or_default());
            for (token, truth) in row.iter_mut().zip(truth).take(cut as usize + 1) {
                *token = *truth;
            }
            cuts.push(cut);
        }
        Ok(Self { rows: disguised, cuts })
    }

    /// The beginning of each row alone, with one token after it that says nothing.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = (Rows, u32)> {
        let width = self.rows.columns.max(1) as usize;
        self.rows.tokens.chunks(width).zip(&self.cuts).map(|(row, cut)| {
            let columns = *cut + 2;
            let tokens = row.iter().take(columns as usize).copied().collect();
            (Rows { tokens, rows: 1, columns }, *cut)
        })
    }
}

/// The true token after each cut.
pub(super) fn targets(deal: &Deal, cuts: &[u32]) -> Vec<u32> {
    let rows = deal.rows.tokens.chunks(deal.rows.columns.max(1) as usize).zip(cuts);
    rows.filter_map(|(row, cut)| row.get(*cut as usize + 1).copied()).collect()
}

/// Bits of each target under the softmax of its row of logits, in `f64`.
///
/// # Errors
/// By the miner: logits of another shape, with more or fewer columns than the vocabulary, or not finite.
pub(super) fn bits(logits: &Logits, targets: &[u32], vocabulary: u32) -> Result<Vec<f64>> {
    let refuse = |text: String| Err(Error::invalid(text));
    if logits.vocabulary != vocabulary {
        let columns = logits.vocabulary;
        return refuse(format!("logits have {columns} columns, the vocabulary {vocabulary} ids"));
    }
    let expected = targets.len() * vocabulary as usize;
    if logits.rows as usize != targets.len() || logits.values.len() != expected {
        let (rows, values) = (logits.rows, logits.values.len());
        return refuse(format!("{values} logits for {rows} rows, asked for {} of {vocabulary}", targets.len()));
    }
    if !logits.values.iter().all(|value| value.is_finite()) {
        return refuse("a logit is not finite".to_owned());
    }
    let rows = logits.values.chunks_exact(vocabulary.max(1) as usize).zip(targets);
    let bits = rows.map(|(row, target)| {
        let target = row.get(*target as usize).ok_or_else(|| Error::bug("token outside the vocabulary"))?;
        let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let sum: f64 = row.iter().map(|value| (f64::from(*value) - most).exp()).sum();
        // Never added up first: where logits are huge, the logarithm would vanish in the sum.
        Ok((sum.ln() + (most - f64::from(*target))) / LN_2)
    });
    bits.collect()
}

/// Pairs what was claimed at the cuts with what the auditor says; `count` of the rows, chosen by the secret draws.
pub(super) fn compare(
    claims: &Claims,
    cuts: &[u32],
    audited: &[f64],
    count: u32,
    draws: &mut Draws,
) -> Result<Vec<Audit>> {
    let mut chosen: Vec<usize> = (0..cuts.len()).collect();
    draws.shuffle(&mut chosen);
    chosen.truncate(count as usize);
    chosen.sort_unstable();
    let audit = |row: usize| {
        let position = *cuts.get(row)?;
        let claimed = claims.values.get(row * claims.positions as usize + position as usize)?;
        Some(Audit {
            row: u32::try_from(row).ok()?,
            position,
            claimed: Finite::new(f64::from(*claimed) / LN_2)?,
            audited: Finite::new(*audited.get(row)?)?,
        })
    };
    let audits: Option<Vec<Audit>> = chosen.into_iter().map(audit).collect();
    audits.ok_or_else(|| Error::bug("an audited position has no claim"))
}

/// What to add to the bits of every position, claimed ones included: the mean difference. Zero without audits.
pub(super) fn correction(audits: &[Audit]) -> f64 {
    let mut gap = Gap::default();
    gap.add(audits);
    gap.mean()
}

/// Differences between audits and claims, bits per position.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Gap {
    count: u32,
    sum: f64,
    squares: f64,
}

impl Gap {
    pub(super) fn add(&mut self, audits: &[Audit]) {
        for audit in audits {
            let difference = audit.audited.get() - audit.claimed.get();
            self.count += 1;
            self.sum += difference;
            self.squares += difference * difference;
        }
    }

    fn mean(&self) -> f64 {
        self.sum / f64::from(self.count.max(1))
    }

    /// Whether the mean is neither noise nor small.
    fn is_alarming(&self) -> bool {
        if self.count < FEWEST {
            return false;
        }
        let (count, mean) = (f64::from(self.count), self.mean());
        let variance = (self.squares - count * mean * mean).max(0.0) / (count - 1.0);
        mean.abs() > TOLERANCE.max(Z * (variance / count).sqrt())
    }
}

/// Ends a run whose claims are not what the snapshot predicts: one position off by more than `alarm_bits`, or the mean
/// of these audits or of all of the run so far beyond noise. What it says names no position: it may reach the miner.
///
/// # Errors
/// By the miner.
pub(super) fn judge(audits: &[Audit], so_far: &mut Gap, alarm_bits: Finite) -> Result<()> {
    let off = |audit: &Audit| (audit.audited.get() - audit.claimed.get()).abs() > alarm_bits.get();
    if audits.iter().any(off) {
        let text = "an audited prediction is far from its claim: predictions must follow from the saved state and the tokens before them alone";
        return Err(Error::invalid(text));
    }
    let mut here = Gap::default();
    here.add(audits);
    so_far.add(audits);
    if here.is_alarming() || so_far.is_alarming() {
        let text = "audited predictions differ from their claims on average: predictions must follow from the saved state and the tokens before them alone";
        return Err(Error::invalid(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{data::fixture::stand_in, measure::tasks::task};
    use prism_core::evidence::{Estimate, Point};
    use proptest::prelude::*;

    fn finite(value: f64) -> Finite {
        Finite::new(value).unwrap()
    }

    fn audit(difference: f64) -> Audit {
        Audit { row: 0, position: 0, claimed: finite(2.0), audited: finite(2.0 + difference) }
    }

    fn accused(differences: impl IntoIterator<Item = f64>) -> bool {
        let audits: Vec<Audit> = differences.into_iter().map(audit).collect();
        judge(&audits, &mut Gap::default(), finite(0.5)).is_err()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        /// Whatever is claimed, the mean over many draws of cuts and audited rows is the auditor's own, and the variance
        /// that a point tells of is not too small.
        #[test]
        fn the_corrected_mean_is_unbiased_whatever_is_claimed(
            claims in prop::collection::vec(0.0f32..9.0, 6 * 32),
            truth in prop::collection::vec(0.0f64..9.0, 6 * 32),
            count in 1..=6u32,
        ) {
            let corpus = stand_in().unwrap();
            let mut dealer = Dealer::new(&corpus, &task(&corpus)).unwrap();
            let deal = dealer.upcoming(6).unwrap();
            let claims = Claims { values: claims, rows: 6, positions: 32 };
            let claimed = claims.values.iter().map(|nats| f64::from(*nats)).sum::<f64>() / LN_2 / 192.0;
            let expected = truth.iter().sum::<f64>() / 192.0;
            let mut draws = Seed::of("test", &[b"cuts"]).draws();
            let mut told = 0.0;
            let estimates: Vec<f64> = (0..4000).map(|_| {
                let cuts = Disguise::of(&deal, &dealer, &mut draws).unwrap().cuts;
                let audited: Vec<f64> =
                    cuts.iter().enumerate().map(|(row, cut)| truth[row * 32 + *cut as usize]).collect();
                let audits = compare(&claims, &cuts, &audited, count, &mut draws).unwrap();
                let estimate = claimed + correction(&audits);
                let point = Point { step: 0, tokens: 0, row_bits: vec![], row_bytes: vec![], audits };
                told += point.audit_variance() / 4000.0;
                estimate
            }).collect();
            let estimate = Estimate::of(&estimates).unwrap();
            let (mean, error) = (estimate.mean.get(), estimate.standard_error.get());
            prop_assert!((mean - expected).abs() < 5.0 * error, "{} for {}, error {}", mean, expected, error);
            let scatter = error * error * 4000.0;
            prop_assert!(told > 0.9 * scatter, "variance {} told, {} there", told, scatter);
        }
    }

    #[test]
    fn rows_that_are_not_audited_are_cut_and_disguised_like_the_others() {
        let corpus = stand_in().unwrap();
        let mut dealer = Dealer::new(&corpus, &task(&corpus)).unwrap();
        let deal = dealer.upcoming(6).unwrap();
        let mut draws = Seed::of("test", &[]).draws();
        let (mut counts, mut rows) = ([0u32; 32], [0u32; 6]);
        for _ in 0..600 {
            let disguise = Disguise::of(&deal, &dealer, &mut draws).unwrap();
            assert_eq!((disguise.rows.rows, disguise.rows.columns, disguise.cuts.len()), (6, 33, 6));
            for cut in &disguise.cuts {
                counts[*cut as usize] += 1;
            }
            let claims = Claims { values: vec![1.0; 192], rows: 6, positions: 32 };
            let audits = compare(&claims, &disguise.cuts, &[1.0; 6], 2, &mut draws).unwrap();
            assert_eq!(audits.len(), 2);
            for audit in audits {
                rows[audit.row as usize] += 1;
                assert_eq!(audit.position, disguise.cuts[audit.row as usize]);
            }
        }
        assert!(counts.iter().all(|count| (60..180).contains(count)), "{counts:?}");
        assert!(rows.iter().all(|count| (140..260).contains(count)), "{rows:?}");
    }

    #[test]
    fn secret_draws_differ_from_run_to_run_unless_a_test_fixes_them() {
        let around = Surroundings::new(std::sync::Arc::new(prism_core::artifacts::MemoryArtifacts::new()));
        let first = |around: &Surroundings| draws(around).unwrap().next_u64();
        assert_ne!(first(&around), first(&around));
        let fixed = around.with_secret(Seed::of("test", &[]));
        assert_eq!(first(&fixed), first(&fixed));
    }

    #[test]
    fn bits_are_the_softmax_of_exactly_the_vocabulary() {
        let logits = |values: Vec<f32>| Logits { rows: 1, vocabulary: values.len() as u32, values };
        let one = |values: Vec<f32>, target| bits(&logits(values), &[target], 4).map(|bits| bits[0]);
        for constant in [0.0, 1e3, 2f32.powi(60), -2f32.powi(100)] {
            assert!((one(vec![constant; 4], 3).unwrap() - 2.0).abs() < 1e-12, "{constant}");
        }
        let odds = [1.0f64, 2.0, 4.0, 9.0];
        let of_odds = one(odds.iter().map(|odds| odds.ln() as f32).collect(), 2).unwrap();
        assert!((of_odds - 2.0).abs() < 1e-6, "{of_odds}");
        assert!(one(vec![f32::MAX, f32::MIN, 0.0, 0.0], 1).unwrap() > 1e38);
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = one(vec![0.0, 0.0, 0.0, bad], 0).unwrap_err();
            assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Miner));
        }
        assert!(one(vec![0.0; 3], 0).is_err() && one(vec![0.0; 5], 0).is_err());
        assert!(bits(&Logits { values: vec![0.0; 8], rows: 2, vocabulary: 4 }, &[0], 4).is_err());
        assert!(bits(&Logits { values: vec![0.0; 7], rows: 2, vocabulary: 4 }, &[0, 0], 4).is_err());
    }

    #[test]
    fn noise_of_arithmetic_raises_no_alarm_and_a_steady_lie_does() {
        let noise = |deviation: f64| (0..64).map(move |n| deviation * f64::from((n * 37) % 64 - 32) / 18.5);
        assert!(!accused(noise(2e-6)) && !accused(noise(0.0013 * 8.0)) && !accused(noise(0.05)));
        assert!(!accused(noise(0.01).map(|d| d + 0.005)), "below the tolerance: corrected, not accused");
        assert!(accused(noise(0.01).map(|d| d + 0.1)) && accused(noise(0.01).map(|d| d - 0.1)));
        assert!(accused([0.0, 0.0, 0.6]) && accused([-0.6]));
        assert!(!accused(vec![0.4; 15]), "too few to judge the mean");
        let mut so_far = Gap::default();
        let few: Vec<Audit> = vec![audit(0.4); 8];
        assert!(judge(&few, &mut so_far, finite(0.5)).is_ok());
        assert!(judge(&few, &mut so_far, finite(0.5)).is_err(), "points together");
    }
}
