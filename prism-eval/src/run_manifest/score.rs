//! A score card as a manifest tells it.
use super::{ComponentReport, Interval, Label, Note, RedistributedShare, Score, TrackReport, evaluation::FALLBACK};
use crate::score::{ARCHITECTURE_SHARES, TRAINING_SHARES, not_measured};
use prism_core::{
    Finite, ScoreCard,
    score::{Track, TrackScore},
};

pub(super) fn report(card: &ScoreCard) -> Score {
    let tracks = card.tracks.iter().map(|(track, score)| (Label::fitted(word(*track)), of_track(card, *track, score)));
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

fn of_track(card: &ScoreCard, track: Track, score: &TrackScore) -> TrackReport {
    let components = score.components.iter().map(|(name, component)| {
        let report = ComponentReport {
            value: component.value,
            share: component.share,
            standard_error: component.standard_error,
        };
        (Label::fitted(name), report)
    });
    let published = match track {
        Track::Architecture => ARCHITECTURE_SHARES,
        _ => TRAINING_SHARES,
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
