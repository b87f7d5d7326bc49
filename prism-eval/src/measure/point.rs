//! One measuring point: what a player predicts of rows that it has not trained on, in bits that the host answers for.
use super::{
    audit::{self, Disguise, Gap},
    watch::Watch,
};
use crate::{
    data::{Deal, Dealer},
    player::{Claims, Measuring, Player, Snapshot},
};
use prism_core::{
    Error, Fault, Finite, Kind, Result, TrainTask,
    evidence::{Audit, Estimate, Point, Work},
    seed::Draws,
};
use std::f64::consts::LN_2;

/// Standard errors by which predictions before training must be better than half the uniform code to be refused.
const FIRST_Z: f64 = 3.0;

/// Where in the run a point is, and how many of its rows are audited.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) step: u64,
    pub(super) tokens: u64,
    pub(super) audits: u32,
}

/// Takes the measuring points of one run.
#[derive(Debug)]
pub(super) struct Meter<'a> {
    task: &'a TrainTask,
    watch: &'a Watch,
    secret: Draws,
    gap: Gap,
    /// What auditors used.
    pub(super) audited: Work,
}

impl<'a> Meter<'a> {
    /// For a run of which these points were taken before.
    pub(super) fn new(task: &'a TrainTask, watch: &'a Watch, secret: Draws, before: &[Point]) -> Self {
        let mut gap = Gap::default();
        before.iter().for_each(|point| gap.add(&point.audits));
        Self { task, watch, secret, gap, audited: Work::default() }
    }

    /// Measures rows; what it returns has not been judged yet.
    pub(super) async fn take(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
        place: Place,
    ) -> Result<Point> {
        let (row_bits, audits) = match player.measuring() {
            Measuring::Prefixes if !player.trusted() => self.by_prefixes(player, dealer, deal).await?,
            _ => self.by_claims(player, dealer, deal, place).await?,
        };
        Ok(Point { step: place.step, tokens: place.tokens, row_bits, row_bytes: deal.bytes.clone(), audits })
    }

    /// Ends a run that a point accuses.
    ///
    /// # Errors
    /// By the miner.
    pub(super) fn judge(&mut self, point: &Point) -> Result<()> {
        audit::judge(&point.audits, &mut self.gap, self.task.measuring.alarm_bits)?;
        if point.step == 0 && knows_the_text(point, self.task) {
            let text = "predictions before any training are far better than chance: the text, or what is like it, came with the bundle";
            return Err(Error::invalid(text));
        }
        Ok(())
    }

    async fn by_claims(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
        place: Place,
    ) -> Result<(Vec<Finite>, Vec<Audit>)> {
        if player.trusted() || place.audits == 0 {
            let claims = self.claims(player, deal, place.step).await?;
            return Ok((row_bits(&claims, 0.0)?, vec![]));
        }
        // The state comes first: nothing of the rows can be in it.
        let snapshot = self.watch.bound(player.snapshot()).await?;
        let claims = self.claims(player, deal, place.step).await?;
        let disguise = Disguise::of(deal, dealer, &mut self.secret)?;
        self.watch.bound(player.freeze()).await?;
        let mut auditor = self.auditor(player, snapshot).await?;
        let logits = self.watch.bound(auditor.logits_at(&disguise.rows, &disguise.cuts)).await?;
        self.dismiss(auditor).await?;
        self.watch.bound(player.thaw()).await?;
        let targets = audit::targets(deal, &disguise.cuts);
        let audited = audit::bits(&logits, &targets, self.task.data.vocabulary)?;
        let audits = audit::compare(&claims, &disguise.cuts, &audited, place.audits, &mut self.secret)?;
        Ok((row_bits(&claims, audit::correction(&audits))?, audits))
    }

    /// One position of each row, uniform, stands for the row: unbiased, and as noisy as it sounds.
    async fn by_prefixes(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
    ) -> Result<(Vec<Finite>, Vec<Audit>)> {
        let snapshot = self.watch.bound(player.snapshot()).await?;
        let disguise = Disguise::of(deal, dealer, &mut self.secret)?;
        self.watch.bound(player.freeze()).await?;
        let mut auditor = self.auditor(player, snapshot).await?;
        let mut audited = Vec::with_capacity(disguise.cuts.len());
        for ((rows, cut), target) in disguise.prefixes().zip(audit::targets(deal, &disguise.cuts)) {
            let logits = self.watch.bound(auditor.logits_at(&rows, &[cut])).await?;
            audited.extend(audit::bits(&logits, &[target], self.task.data.vocabulary)?);
        }
        self.dismiss(auditor).await?;
        self.watch.bound(player.thaw()).await?;
        let positions = f64::from(deal.rows.columns.saturating_sub(1));
        let row_bits: Option<Vec<Finite>> = audited.iter().map(|bits| Finite::new(bits * positions)).collect();
        let audits = (0..).zip(&disguise.cuts).zip(&audited).map(|((row, position), bits)| {
            let bits = Finite::new(*bits)?;
            Some(Audit { row, position: *position, claimed: bits, audited: bits })
        });
        let audits: Option<Vec<Audit>> = audits.collect();
        row_bits.zip(audits).ok_or_else(|| Error::invalid("bits of a row are too large"))
    }

    async fn claims(&self, player: &mut dyn Player, deal: &Deal, step: u64) -> Result<Claims> {
        let claims = self.watch.bound(player.claim(&deal.rows)).await?;
        check(&claims, deal).map_err(|text| Error::invalid(format!("claims before step {step}: {text}")))?;
        Ok(claims)
    }

    async fn auditor(&self, player: &mut dyn Player, snapshot: Snapshot) -> Result<Box<dyn Player>> {
        let auditor = self.watch.bound(player.auditor(snapshot)).await?;
        auditor.ok_or_else(|| {
            let text = "a player that is not trusted has no auditor: without one there is no score";
            Error::new(Kind::Unsupported, Fault::Validator, text)
        })
    }

    /// Nothing of an auditor is left when the player goes on.
    async fn dismiss(&mut self, mut auditor: Box<dyn Player>) -> Result<()> {
        let Work { cpu_millis, gpu_millis } = self.watch.bound(auditor.spent()).await?;
        self.audited.cpu_millis = self.audited.cpu_millis.saturating_add(cpu_millis);
        self.audited.gpu_millis = self.audited.gpu_millis.saturating_add(gpu_millis);
        self.watch.bound(auditor.finish()).await
    }
}

/// One finite, non-negative value for each position.
fn check(claims: &Claims, deal: &Deal) -> Result<(), String> {
    let (rows, positions) = (deal.rows.rows, deal.rows.columns.saturating_sub(1));
    let expected = rows as usize * positions as usize;
    if (claims.rows, claims.positions) != (rows, positions) || claims.values.len() != expected {
        let (r, p, n) = (claims.rows, claims.positions, claims.values.len());
        return Err(format!("{n} values for {r} rows of {p} positions, asked for {rows} of {positions}"));
    }
    match claims.values.iter().position(|nats| !nats.is_finite() || *nats < 0.0) {
        Some(index) => Err(format!("value {index} is no negative log-likelihood")),
        None => Ok(()),
    }
}

/// Bits per row: claims summed in `f64`, in order, and the correction once for each position.
fn row_bits(claims: &Claims, correction: f64) -> Result<Vec<Finite>> {
    let positions = claims.positions.max(1);
    let bits = claims.values.chunks(positions as usize).map(|row| {
        let nats: f64 = row.iter().map(|nats| f64::from(*nats)).sum();
        let bits = nats / LN_2 + correction * f64::from(positions);
        Finite::new(bits).ok_or_else(|| Error::invalid("bits of a row are too large"))
    });
    bits.collect()
}

/// Whether the bits before any training are below half of what equal odds on every token cost, beyond noise. A model
/// that learnt nothing can be worse than the uniform code, never so much better. A lower bound only: a table behind a
/// gate that starts closed passes.
fn knows_the_text(point: &Point, task: &TrainTask) -> bool {
    let positions = f64::from(task.budget.sequence.max(1));
    let rates: Vec<f64> = point.row_bits.iter().map(|bits| bits.get() / positions).collect();
    let rows = Estimate::of(&rates).map_or(0.0, |estimate| estimate.standard_error.get());
    let mean = rates.iter().sum::<f64>() / rates.len().max(1) as f64;
    let error = (rows * rows + point.audit_variance()).sqrt();
    mean + FIRST_Z * error < f64::from(task.data.vocabulary.max(1)).log2() / 2.0
}
