//! A score card as a manifest tells it.
use super::{ComponentReport, Interval, Label, Note, RedistributedShare, Score, TrackReport, evaluation::FALLBACK};
use crate::{
    policy::{ArchitectureShares, PolicyError, TrainingShares},
    score::not_measured,
};
use prism_core::{
    Finite, ScoreCard,
    score::{Track, TrackScore},
};
use std::collections::BTreeMap;

/// What each component is worth by policy.
#[derive(Debug)]
pub(super) struct Shares {
    architecture: [(&'static str, f64); 7],
    training: [(&'static str, f64); 7],
}

impl Shares {
    pub(super) fn of(numbers: &BTreeMap<String, Finite>) -> Result<Self, PolicyError> {
        Ok(Self {
            architecture: ArchitectureShares::from_numbers(numbers)?.list(),
            training: TrainingShares::from_numbers(numbers)?.list(),
        })
    }
}

pub(super) fn report(card: &ScoreCard, shares: &Shares) -> Score {
    let tracks =
        card.tracks.iter().map(|(track, score)| (Label::fitted(word(*track)), of_track(card, *track, score, shares)));
    Score {
        scorer: Label::fitted(&card.scorer),
        total: card.total,
        standard_error: card.standard_error,
        bits_per_byte: card.bits_per_byte.map(Interval::of),
        tracks: tracks.collect(),
        eligible: card.eligible,
        reasons: card.reasons.iter().map(|reason| Note::fitted(reason)).collect(),
    }
}

fn word(track: Track) -> &'static str {
    match track {
        Track::Architecture => "architecture",
        Track::Training => "training",
        _ => "other",
    }
}

fn of_track(card: &ScoreCard, track: Track, score: &TrackScore, shares: &Shares) -> TrackReport {
    let components = score.components.iter().map(|(name, component)| {
        let report = ComponentReport {
            value: component.value,
            share: component.share,
            standard_error: component.standard_error,
        };
        (Label::fitted(name), report)
    });
    let published = match track {
        Track::Architecture => shares.architecture,
        _ => shares.training,
    };
    // A card whose components are others was made by another scorer, which shares nothing out.
    let ours = published.iter().any(|(name, _)| score.components.contains_key(*name));
    let missing = published.into_iter().filter(|(name, _)| ours && !score.components.contains_key(*name));
    let redistributed = missing.filter_map(|(name, share)| {
        let told = not_measured(word(track), name);
        let reason = card.reasons.iter().find(|reason| reason.starts_with(&told)).map_or(FALLBACK, String::as_str);
        Some((Label::fitted(name), RedistributedShare { share: Finite::new(share)?, reason: Note::fitted(reason) }))
    });
    TrackReport {
        quality: score.quality,
        advantage: Interval::of(score.advantage),
        components: components.collect(),
        redistributed: redistributed.collect(),
    }
}
