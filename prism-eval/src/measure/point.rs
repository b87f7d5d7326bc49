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
use std::{f64::consts::LN_2, ops::Range};

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
            Measuring::Prefixes if !player.trusted() => self.by_prefixes(player, dealer, deal, None).await?,
            _ => self.by_claims(player, dealer, deal, place).await?,
        };
        Ok(Point { step: place.step, tokens: place.tokens, row_bits, row_bytes: deal.bytes.clone(), audits })
    }

    /// Bits of a span of each row, after training. Where claims need it, every row is audited at a position of its span.
    /// What it returns has not been judged yet.
    pub(super) async fn spans(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
        spans: &[Range<u32>],
    ) -> Result<(Vec<Finite>, Vec<Audit>)> {
        let place = Place { step: self.task.budget.steps, tokens: self.task.budget.tokens, audits: deal.rows.rows };
        if player.trusted() {
            let claims = self.claims(player, deal, place.step).await?;
            return Ok((span_bits(&claims, spans, 0.0)?, vec![]));
        }
        if player.measuring() == Measuring::Prefixes {
            return self.by_prefixes(player, dealer, deal, Some(spans)).await;
        }
        let (claims, audits) = self.audited(player, dealer, deal, Some(spans), place).await?;
        Ok((span_bits(&claims, spans, audit::correction(&audits))?, audits))
    }

    /// Ends a run that the audits of its answers accuse.
    ///
    /// # Errors
    /// By the miner.
    pub(super) fn judge_answers(&mut self, audits: &[Audit]) -> Result<()> {
        audit::judge(audits, &mut self.gap, self.task.measuring.alarm_bits)
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
        let (claims, audits) = self.audited(player, dealer, deal, None, place).await?;
        Ok((row_bits(&claims, audit::correction(&audits))?, audits))
    }

    /// Claims, and audits of as many rows as the place says, at positions of the spans.
    async fn audited(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
        spans: Option<&[Range<u32>]>,
        place: Place,
    ) -> Result<(Claims, Vec<Audit>)> {
        // The state comes first: nothing of the rows can be in it.
        let snapshot = self.watch.bound(player.snapshot()).await?;
        let claims = self.claims(player, deal, place.step).await?;
        let disguise = self.disguise(dealer, deal, spans)?;
        self.watch.bound(player.freeze()).await?;
        let mut auditor = self.auditor(player, snapshot).await?;
        let logits = self.watch.bound(auditor.logits_at(&disguise.rows, &disguise.cuts)).await?;
        self.dismiss(auditor).await?;
        self.watch.bound(player.thaw()).await?;
        let targets = audit::targets(deal, &disguise.cuts);
        let audited = audit::bits(&logits, &targets, self.task.data.vocabulary)?;
        let audits = audit::compare(&claims, &disguise.cuts, &audited, place.audits, &mut self.secret)?;
        Ok((claims, audits))
    }

    /// One position of each row, uniform, stands for the row: unbiased, and as noisy as it sounds.
    async fn by_prefixes(
        &mut self,
        player: &mut dyn Player,
        dealer: &Dealer,
        deal: &Deal,
        spans: Option<&[Range<u32>]>,
    ) -> Result<(Vec<Finite>, Vec<Audit>)> {
        let snapshot = self.watch.bound(player.snapshot()).await?;
        let disguise = self.disguise(dealer, deal, spans)?;
        self.watch.bound(player.freeze()).await?;
        let mut auditor = self.auditor(player, snapshot).await?;
        let mut audited = Vec::with_capacity(disguise.cuts.len());
        for ((rows, cut), target) in disguise.prefixes().zip(audit::targets(deal, &disguise.cuts)) {
            let logits = self.watch.bound(auditor.logits_at(&rows, &[cut])).await?;
            audited.extend(audit::bits(&logits, &[target], self.task.data.vocabulary)?);
        }
        self.dismiss(auditor).await?;
        self.watch.bound(player.thaw()).await?;
        let positions = |row: usize| match spans {
            Some(spans) => spans.get(row).map_or(0, |span| span.end.saturating_sub(span.start)),
            None => deal.rows.columns.saturating_sub(1),
        };
        let rows = audited.iter().enumerate();
        let row_bits: Option<Vec<Finite>> =
            rows.map(|(row, bits)| Finite::new(bits * f64::from(positions(row)))).collect();
        let audits = (0..).zip(&disguise.cuts).zip(&audited).map(|((row, position), bits)| {
            let bits = Finite::new(*bits)?;
            Some(Audit { row, position: *position, claimed: bits, audited: bits })
        });
        let audits: Option<Vec<Audit>> = audits.collect();
        row_bits.zip(audits).ok_or_else(|| Error::invalid("bits of a row are too large"))
    }

    fn disguise(&mut self, dealer: &Dealer, deal: &Deal, spans: Option<&[Range<u32>]>) -> Result<Disguise> {
        match spans {
            Some(spans) => Disguise::within(deal, spans, dealer, &mut self.secret),
            None => Disguise::of(deal, dealer, &mut self.secret),
        }
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

/// Bits of a span of each row, as [`row_bits`].
fn span_bits(claims: &Claims, spans: &[Range<u32>], correction: f64) -> Result<Vec<Finite>> {
    let positions = claims.positions.max(1);
    let bits = claims.values.chunks(positions as usize).zip(spans).map(|(row, span)| {
        let claimed = row.get(span.start as usize..span.end as usize);
        let claimed = claimed.ok_or_else(|| Error::bug("span outside its row"))?;
        let nats: f64 = claimed.iter().map(|nats| f64::from(*nats)).sum();
        let bits = nats / LN_2 + correction * claimed.len() as f64;
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
