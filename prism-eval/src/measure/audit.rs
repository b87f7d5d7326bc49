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
use std::{f64::consts::LN_2, fs::File, io::Read};

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
    /// The last true position of each row: uniform over predicted positions.
    pub(super) cuts: Vec<u32>,
}

impl Disguise {
    pub(super) fn of(deal: &Deal, dealer: &Dealer, draws: &mut Draws) -> Result<Self> {
        let Rows { rows, columns, .. } = deal.rows;
        let mut disguised = dealer.decoys(rows, draws)?;
        let width = columns.max(1) as usize;
        let mut cuts = Vec::with_capacity(rows as usize);
        for (row, truth) in disguised.tokens.chunks_mut(width).zip(deal.rows.tokens.chunks(width)) {
            let cut = draws.below(u64::from(columns.saturating_sub(1)));
            let cut = u32::try_from(cut).unwrap_or_default();
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
