//! What the demo shows at its end: one document, as JSON or for people.
use crate::chart;
use prism_core::{Finite, Hotkey, Uid};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

/// The demo's result; its JSON form is what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) submissions: Vec<Entry>,
    pub(super) weights: Weights,
    pub(super) receipt: Option<ReceiptSummary>,
    pub(super) seed: String,
    pub(super) notes: Vec<String>,
    pub(super) elapsed_seconds: f64,
    pub(super) peak_rss_bytes: u64,
}

/// One request of the cast and what became of it.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) hotkey: Hotkey,
    pub(super) kind: Option<String>,
    pub(super) status: String,
    pub(super) reason: Option<String>,
    pub(super) family: Option<String>,
    pub(super) q_arch: Option<Finite>,
    pub(super) q_recipe: Option<Finite>,
    pub(super) final_score: Option<Finite>,
    pub(super) bits_per_byte: Option<Finite>,
    pub(super) standard_error: Option<Finite>,
    pub(super) curve: Vec<CurvePoint>,
}

/// One point of a learning curve.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct CurvePoint {
    pub(super) step: u64,
    pub(super) bits_per_byte: Finite,
}

/// What was to be paid and what the chain says.
#[derive(Debug, Serialize)]
pub(super) struct Weights {
    pub(super) intended: BTreeMap<Hotkey, Finite>,
    pub(super) burned: Finite,
    pub(super) on_chain: BTreeMap<Uid, u16>,
    #[serde(skip)]
    pub(super) holders: BTreeMap<Uid, Hotkey>,
}

/// Where the receipt of the weights stands.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptSummary {
    pub(super) stage: String,
    pub(super) block: u64,
    pub(super) extrinsic: u32,
    pub(super) hash: String,
    pub(super) history: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.leaderboard(f)?;
        self.refusals(f)?;
        self.curves(f)?;
        self.rewards(f)?;
        if let Some(receipt) = &self.receipt {
            writeln!(
                f,
                "\nWeight receipt\n  {} in block {}, extrinsic {}",
                receipt.stage, receipt.block, receipt.extrinsic
            )?;
            writeln!(f, "  {}", receipt.history.join(" → "))?;
            writeln!(f, "  0x{}", receipt.hash)?;
        }
        for note in &self.notes {
            writeln!(f, "\nNote: {note}")?;
        }
        let mebibytes = self.peak_rss_bytes / (1 << 20);
        write!(f, "\nseed {:?}, {:.0} s, peak memory {mebibytes} MiB", self.seed, self.elapsed_seconds)
    }
}

impl Report {
    fn scored(&self) -> Vec<&Entry> {
        let mut scored: Vec<&Entry> = self.submissions.iter().filter(|e| e.final_score.is_some()).collect();
        // Stable: who came first stands first among equals.
        scored.sort_by_key(|entry| std::cmp::Reverse(entry.final_score));
        scored
    }

    fn leaderboard(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nLeaderboard")?;
        writeln!(
            f,
            "  {:<2} {:<18} {:<18} {:<13} {:>6} {:>7} {:>8} {:>17}",
            "", "submission", "kind", "family", "score", "q_arch", "q_recipe", "bits per byte"
        )?;
        for (rank, entry) in self.scored().into_iter().enumerate() {
            let number = |value: Option<Finite>| value.map_or("-".to_owned(), |v| format!("{:.3}", v.get()));
            let mut family = entry.family.clone().unwrap_or_default();
            family.truncate(12);
            let rate = match (entry.bits_per_byte, entry.standard_error) {
                (Some(mean), Some(error)) => format!("{:.4} ± {:.4}", mean.get(), error.get()),
                (mean, _) => number(mean),
            };
            writeln!(
                f,
                "  {:<2} {:<18} {:<18} {:<13} {:>6} {:>7} {:>8} {:>17}",
                rank + 1,
                entry.name,
                entry.kind.as_deref().unwrap_or("-"),
                family,
                number(entry.final_score),
                number(entry.q_arch),
                number(entry.q_recipe),
                rate
            )?;
        }
        Ok(())
    }

    fn refusals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others: Vec<&Entry> = self.submissions.iter().filter(|e| e.final_score.is_none()).collect();
        if others.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nNot scored")?;
        for entry in others {
            writeln!(f, "  {:<18} {:<9} {}", entry.name, entry.status, entry.reason.as_deref().unwrap_or(""))?;
        }
        Ok(())
    }

    fn curves(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scored = self.scored();
        let values = scored.iter().flat_map(|e| &e.curve).map(|p| p.bits_per_byte.get());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low > high {
            return Ok(());
        }
        writeln!(f, "\nLearning curves: bits per byte of the text, {high:.2} down to {low:.2}, step by step")?;
        for entry in scored {
            let values: Vec<f64> = entry.curve.iter().map(|p| p.bits_per_byte.get()).collect();
            let (Some(first), Some(last)) = (values.first(), values.last()) else { continue };
            let mut label = entry.name.clone();
            for line in chart::lines(&values, chart::Frame { width: 56, height: 4, low, high }) {
                writeln!(f, "  {label:<18} {line}")?;
                label.clear();
            }
            label.push_str(&format!("{first:.2} → {last:.2}"));
            writeln!(f, "  {:<18} {label}", "")?;
        }
        Ok(())
    }

    fn rewards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nRewards")?;
        let uids: BTreeMap<Hotkey, Uid> = self.weights.holders.iter().map(|(uid, hotkey)| (*hotkey, *uid)).collect();
        let name = |hotkey: &Hotkey| {
            let names = self.submissions.iter().filter(|e| e.hotkey == *hotkey && e.final_score.is_some());
            names.map(|e| e.name.as_str()).next().unwrap_or("").to_owned()
        };
        for (hotkey, share) in &self.weights.intended {
            let mut line = format!("  {} {:<18} {:>7.2} %", hotkey.short(), name(hotkey), share.get() * 100.0);
            if let Some(uid) = uids.get(hotkey) {
                let weight = self.weights.on_chain.get(uid).copied().unwrap_or(0);
                write!(line, "   uid {uid}, {weight} of 65535 on the chain")?;
            }
            writeln!(f, "{line}")?;
        }
        writeln!(f, "  {:<27} {:>7.2} %   goes to the subnet owner's slot", "burned", self.weights.burned.get() * 100.0)
    }
}
