//! One run against the hardest of several that answer the same question.
use super::{
    components::less,
    pairing::{Measured, mean_bits_per_byte, paired_over_seeds},
    work::{WorkCurve, work_ratio},
};
use crate::policy::ScoreNumbers;
use prism_core::{Evidence, evidence::Estimate};

/// A baseline's run, and what more work would gain it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rival<'a> {
    pub(super) run: &'a Evidence,
    pub(super) work: &'a WorkCurve,
}

/// The one with the fewest prequential bits, the first of equal ones; those that can't be read are passed over.
pub(super) fn hardest<'a>(rivals: &[Rival<'a>]) -> Option<Rival<'a>> {
    let read = |rival: &Rival<'a>| Some((mean_bits_per_byte(rival.run, Measured::Prequential).ok()?.mean, *rival));
    rivals.iter().filter_map(read).min_by_key(|(mean, _)| *mean).map(|(_, rival)| rival)
}

/// The prequential advantage over the hardest rival, at equal work: the gain of the subject's work is taken from it,
/// read off the rival's curve at the base budget, where more work gains the most.
pub(super) fn over_the_hardest(
    subject: &Evidence,
    rivals: &[Rival<'_>],
    calibrator: Option<&Evidence>,
    numbers: ScoreNumbers,
) -> Result<Estimate, String> {
    let rival = hardest(rivals).ok_or("no baseline completed there")?;
    let ratio = work_ratio(subject, rival.run, calibrator, numbers.work_tolerance.get())?;
    paired_over_seeds(&[subject], &[rival.run], Measured::Prequential, numbers.seed_deviation)
        .and_then(|advantage| less(advantage, rival.work.gain(Measured::Prequential, ratio)))
        .map_err(|error| error.to_string())
}
