//! Who showed what, in the order of arrival: the facts that rewards are a pure function of.
use crate::{
    evidence::Estimate,
    finite::Finite,
    hotkey::Hotkey,
    id::{Block, FamilyId, SubmissionId},
    score::{ScoreCard, Track},
    submission::Precedence,
    trials::corrected_z,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The version of [`Standings`] that this crate writes.
pub const STANDINGS_SCHEMA: u32 = 1;

/// Confirmations that a mean is of, at most; older ones fade, so that it follows when data or baselines change.
pub const MOST_CONFIRMATIONS: u32 = 32;

/// Confirmations after which a showing that might still be a step is left alone.
pub const MOST_OF_CONTENDERS: u32 = 8;

/// One advantage that was measured and counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Showing {
    /// Of which submission.
    pub submission: SubmissionId,
    /// Who is paid for it.
    pub hotkey: Hotkey,
    /// On which family.
    pub family: FamilyId,
    /// For what.
    pub track: Track,
    /// Its place in the order of arrival.
    pub precedence: Precedence,
    /// Bits per byte saved against the hardest baseline: the mean over its confirmations, without the measurement that
    /// selected it, and never the best of several: those are too high by luck.
    pub advantage: Estimate,
    /// Over how many; counted up to [`MOST_CONFIRMATIONS`].
    #[serde(default = "one")]
    pub confirmations: u32,
    /// The block of its first confirmation.
    pub since: Block,
    /// Tries of its hotkey and of its family, itself included, when it was first confirmed; failed ones count.
    #[serde(default = "one")]
    pub trials: u32,
}

fn one() -> u32 {
    1
}

impl Showing {
    /// Takes one more confirmation into the mean. Each counts alike: errors are estimated from few seeds, so that weights
    /// made of them would be noise.
    fn confirm(&mut self, newest: Estimate) {
        let before = f64::from(self.confirmations.clamp(1, MOST_CONFIRMATIONS - 1));
        let mean = (before * self.advantage.mean.get() + newest.mean.get()) / (before + 1.0);
        let error = (before * self.advantage.standard_error.get()).hypot(newest.standard_error.get()) / (before + 1.0);
        // What doesn't fit a number is no measurement.
        if let (Some(mean), Some(standard_error)) = (Finite::new(mean), Finite::new(error)) {
            self.advantage = Estimate { mean, standard_error };
            self.confirmations = self.confirmations.saturating_add(1).min(MOST_CONFIRMATIONS);
        }
    }

    /// Whether it lies above `level` by more than `margin` and by `z` standard errors of both, corrected for its tries.
    fn beats(&self, level: Estimate, margin: Finite, z: Finite) -> bool {
        let step = self.advantage.mean.get() - level.mean.get();
        step > margin.get() && step >= self.noise(level, z)
    }

    /// `z` standard errors of both, corrected for its tries.
    fn noise(&self, level: Estimate, z: Finite) -> f64 {
        let error = self.advantage.standard_error.get().hypot(level.standard_error.get());
        corrected_z(z, self.trials).get() * error
    }
}

/// The published baselines: they have no advantage over themselves, and no error.
const BASELINE: Estimate = Estimate { mean: Finite::ZERO, standard_error: Finite::ZERO };

/// All showings on record; a snapshot, not a handle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standings {
    /// [`STANDINGS_SCHEMA`].
    pub schema: u32,
    /// In any order; rules that depend on order sort by precedence.
    pub showings: Vec<Showing>,
    /// What the host knows of families by itself; nothing of it is what a miner says.
    #[serde(default)]
    pub families: BTreeMap<FamilyId, FamilyFacts>,
}

/// What the host knows of a family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FamilyFacts {
    /// Whether it is a published baseline: nobody made it worse to repair it.
    pub published: bool,
    /// What its operators make it.
    pub class: Option<Class>,
}

/// What kind of architecture a family is, by how its operators carry information along a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Class {
    /// Attention, and neither recurrence nor convolution.
    Attention,
    /// Recurrences or scans alone.
    Recurrent,
    /// Convolutions alone.
    Convolution,
    /// More than one of these.
    Hybrid,
    /// None of these.
    Other,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Attention, Self::Recurrent, Self::Convolution, Self::Hybrid, Self::Other];
}

impl Standings {
    /// No showing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Vec::new())
    }

    /// These showings, of families that nothing is known of.
    #[must_use]
    pub fn of(showings: Vec<Showing>) -> Self {
        Self { schema: STANDINGS_SCHEMA, showings, families: BTreeMap::new() }
    }

    /// Adds the tracks of an eligible card. A submission has one showing per track: the mean of its confirmations, ageing from
    /// the first, with the tries of the first: what others try later takes nobody's title.
    ///
    /// Were it the newest measurement alone, one unlucky cohort of a title holder would let one of a hundred variants of
    /// it, each measured once, pass it for a while: steps of half the margin, sent daily, then earn an honest
    /// discoverer's 8 % at equal cost (`prism simulate`), and less than one with the mean.
    pub fn record(&mut self, card: &ScoreCard, hotkey: Hotkey, precedence: Precedence, since: Block, trials: u32) {
        if !card.eligible {
            return;
        }
        for (track, score) in &card.tracks {
            let place = self.showings.iter().position(|s| (s.submission, s.track) == (card.submission, *track));
            if let Some(before) = place.and_then(|place| self.showings.get_mut(place)) {
                before.confirm(score.advantage);
                continue;
            }
            self.showings.push(Showing {
                submission: card.submission,
                hotkey,
                family: card.family,
                track: *track,
                precedence,
                advantage: score.advantage,
                confirmations: 1,
                since,
                trials: trials.max(1),
            });
        }
    }

    /// The increments on the two frontiers, in order of arrival.
    ///
    /// On each frontier a showing is credited `max(0, advantage - best earlier advantage - margin)`, and moves the frontier
    /// only when it is credited. The first is measured against zero, the baseline. The sum telescopes: splitting one's work,
    /// copying, renaming and sybils can't raise it. A step of less than `z` standard errors, those of the showing and of the
    /// frontier together, counts as none: both were measured, and luck alone would otherwise move the frontier. `z` is for
    /// one try; it rises with the tries of hotkey and family ([`corrected_z`]).
    ///
    /// Recipes have one frontier over all families. A known recipe is new on every family, and anybody can make one: on
    /// frontiers of their own it would be paid again on each. Only recipes on published families and on those that moved the
    /// architecture frontier count: elsewhere, an architecture made worse on purpose would be repaired for pay, and with it
    /// the leader's whole advantage sold once more as a recipe's.
    #[must_use]
    pub fn frontier(&self, margin: Finite, z: Finite) -> Vec<Increment> {
        let order = self.in_order();
        let mut increments = credited(of_track(&order, Track::Architecture), margin, z);
        let moved: BTreeSet<FamilyId> = increments.iter().map(|increment| increment.showing.family).collect();
        let counts = |family| moved.contains(family) || self.families.get(family).is_some_and(|facts| facts.published);
        let recipes = of_track(&order, Track::Training).filter(|showing| counts(&showing.family));
        increments.extend(credited(recipes, margin, z));
        increments.sort_by_key(|increment| increment.showing.place());
        increments
    }

    /// What was confirmed at least so often: nothing else is paid.
    ///
    /// A confirmation is a single run of each side. If one decided, a variant that adds nothing would be a second ticket:
    /// where an idea is unlucky, the thief who sent it with a step too small to count is paid for all of it.
    #[must_use]
    pub fn confirmed(&self, least: u32) -> Self {
        let enough = |showing: &&Showing| showing.confirmations >= least;
        let showings = self.showings.iter().filter(enough).cloned().collect();
        Self { schema: self.schema, showings, families: self.families.clone() }
    }

    /// Whoever is to be confirmed once more, title holders aside: could by its noise be a step above what precedes it, and
    /// was not confirmed [`MOST_OF_CONTENDERS`] times yet. An idea that is unlucky once is measured on, so that no copy of
    /// it is lucky in its place.
    #[must_use]
    pub fn contenders(&self, least: u32, margin: Finite, z: Finite) -> BTreeSet<SubmissionId> {
        let frontier = self.confirmed(least).frontier(margin, z);
        let level = |showing: &Showing| {
            let before =
                |other: &&Increment| other.showing.track == showing.track && other.showing.place() < showing.place();
            frontier.iter().rev().find(before).map_or(BASELINE, |other| other.showing.advantage)
        };
        let moved = |family| {
            let of_family = |one: &Increment| one.showing.track == Track::Architecture && one.showing.family == family;
            frontier.iter().any(of_family) || self.families.get(&family).is_some_and(|facts| facts.published)
        };
        let contends = |showing: &&Showing| {
            if showing.confirmations >= MOST_OF_CONTENDERS.max(least) {
                return false;
            }
            let level = level(showing);
            let step = showing.advantage.mean.get() - level.mean.get();
            step + showing.noise(level, z) > margin.get()
                && (showing.track == Track::Architecture || moved(showing.family))
        };
        self.showings.iter().filter(contends).map(|showing| showing.submission).collect()
    }

    /// The increments on the architecture frontier of one class alone, in order of arrival.
    #[must_use]
    pub fn frontier_of_class(&self, class: Class, margin: Finite, z: Finite) -> Vec<Increment> {
        let order = self.in_order();
        let of_class = |family| self.families.get(family).is_some_and(|facts| facts.class == Some(class));
        credited(of_track(&order, Track::Architecture).filter(|showing| of_class(&showing.family)), margin, z)
    }

    /// Who holds what of each family that a showing was confirmed on.
    ///
    /// A slot is taken by the first showing above margin and noise, and kept. The best is noise-aware: a later showing takes
    /// its place only by a step that the frontier would credit.
    #[must_use]
    pub fn slots(&self, margin: Finite, z: Finite) -> BTreeMap<FamilyId, FamilySlots> {
        let mut slots: BTreeMap<FamilyId, FamilySlots> = BTreeMap::new();
        for showing in self.in_order().into_iter().filter(|showing| showing.beats(BASELINE, margin, z)) {
            let of_family = slots.entry(showing.family).or_default();
            let slot = match showing.track {
                Track::Architecture => &mut of_family.architecture,
                Track::Training => &mut of_family.training,
            };
            match slot {
                None => *slot = Some(Slot { owner: showing.hotkey, best: showing.clone() }),
                Some(held) if showing.beats(held.best.advantage, margin, z) => held.best = showing.clone(),
                Some(_) => {}
            }
        }
        slots
    }

    fn in_order(&self) -> Vec<&Showing> {
        let mut order: Vec<&Showing> = self.showings.iter().collect();
        order.sort_by_cached_key(|showing| showing.place());
        order
    }
}

fn of_track<'a>(order: &[&'a Showing], track: Track) -> impl Iterator<Item = &'a Showing> {
    order.iter().copied().filter(move |showing| showing.track == track)
}

/// One frontier over showings in order of arrival.
fn credited<'a>(showings: impl Iterator<Item = &'a Showing>, margin: Finite, z: Finite) -> Vec<Increment> {
    let showings: Vec<&Showing> = showings.filter(|showing| showing.advantage.mean > margin).collect();
    let mut level = BASELINE;
    let mut increments = Vec::new();
    let mut later = showings.as_slice();
    while let [showing, rest @ ..] = later {
        later = rest;
        if !showing.beats(level, margin, z) {
            continue;
        }
        let credit = Finite::new(showing.advantage.mean.get() - level.mean.get() - margin.get());
        if let Some(credit) = credit.filter(|credit| *credit > Finite::ZERO) {
            let known = known_since(showing, later, level, margin, z);
            level = showing.advantage;
            increments.push(Increment { showing: (*showing).clone(), credit, known });
        }
    }
    increments
}

/// Since when each part of an increment above `level` has been known: from the first confirmation that showed it, be it of
/// one that arrived later and is displaced.
fn known_since(showing: &Showing, later: &[&Showing], level: Estimate, margin: Finite, z: Finite) -> Vec<Known> {
    let first = |other: &&&Showing| other.since < showing.since && other.beats(level, margin, z);
    let mut order: Vec<&Showing> = later.iter().filter(first).copied().collect();
    order.sort_by_key(|other| other.since);
    order.push(showing);
    let mut reached = level.mean.get() + margin.get();
    let mut known = Vec::new();
    for one in order {
        let to = one.advantage.mean.min(showing.advantage.mean).get();
        if let Some(credit) = Finite::new(to - reached).filter(|credit| *credit > Finite::ZERO) {
            known.push(Known { since: one.since, credit });
            reached = to;
        }
    }
    known
}

impl Showing {
    fn place(&self) -> (Precedence, SubmissionId, Track) {
        (self.precedence, self.submission, self.track)
    }
}

/// What one showing added to the best before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// Whose.
    pub showing: Showing,
    /// Bits per byte beyond the best earlier advantage and the margin; above zero.
    pub credit: Finite,
    /// Since when each part of the credit has been known, oldest first; they sum to it. What a later arrival was confirmed
    /// for first ages from then on: else the second of two copies would be paid until the first is confirmed, and the
    /// first all of it again.
    pub known: Vec<Known>,
}

/// A part of a credit and the block since which it has been known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The first confirmation that showed it.
    pub since: Block,
    /// Bits per byte, above zero.
    pub credit: Finite,
}

/// Who holds a family.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FamilySlots {
    /// The architecture.
    pub architecture: Option<Slot>,
    /// The best recipe for it.
    pub training: Option<Slot>,
}

/// One track of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Who showed a confirmed advantage above the margin first.
    pub owner: Hotkey,
    /// The best so far.
    pub best: Showing,
}

/// Whether a card shows what would count if a later cohort confirmed it: not eligible yet, and on some track ahead of the
/// baselines by more than the margin and by `z` standard errors.
#[must_use]
pub fn awaits_confirmation(card: &ScoreCard, margin: Finite, z: Finite) -> bool {
    let ahead = |advantage: &Estimate| {
        let mean = advantage.mean.get();
        mean > margin.get() && mean >= z.get() * advantage.standard_error.get()
    };
    !card.eligible && card.total.is_some() && card.tracks.values().any(|track| ahead(&track.advantage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::TrackScore;
    use proptest::prelude::*;

    fn showing(place: u64, advantage: f64, family: u8) -> Showing {
        let hotkey = Hotkey([u8::try_from(place % 251).unwrap(); 32]);
        Showing {
            submission: SubmissionId::of_parts("test", &[&place.to_le_bytes()]),
            hotkey,
            family: FamilyId([family; 32]),
            track: Track::Architecture,
            precedence: Precedence { block: Block(place), extrinsic: 0, hotkey, local: false },
            advantage: Estimate { mean: Finite::new(advantage).unwrap(), standard_error: Finite::ZERO },
            confirmations: 1,
            since: Block(place),
            trials: 1,
        }
    }

    fn credits(showings: Vec<Showing>, margin: f64) -> Vec<f64> {
        let standings = Standings::of(showings);
        let margin = Finite::new(margin).unwrap();
        standings.frontier(margin, Finite::ZERO).iter().map(|i| i.credit.get()).collect()
    }

    #[test]
    fn a_showing_is_the_mean_of_its_confirmations_and_keeps_its_age_and_its_tries() {
        let mut standings = Standings::new();
        let old = showing(1, 0.3, 1);
        let mut card = ScoreCard::without_total(old.submission, old.family, "test/1", "none");
        let estimate =
            |mean, error| Estimate { mean: Finite::new(mean).unwrap(), standard_error: Finite::new(error).unwrap() };
        let track = |advantage| TrackScore { quality: Finite::ONE, advantage, components: BTreeMap::new() };
        card.tracks.insert(Track::Architecture, track(estimate(0.5, 0.03)));
        standings.record(&card, old.hotkey, old.precedence, Block(7), 3);
        assert!(standings.showings.is_empty(), "not eligible");
        card.eligible = true;
        standings.record(&card, old.hotkey, old.precedence, Block(7), 3);
        card.tracks.insert(Track::Architecture, track(estimate(0.25, 0.04)));
        standings.record(&card, old.hotkey, old.precedence, Block(9), 90);
        let [only] = standings.showings.as_slice() else { panic!("{standings:?}") };
        assert_eq!((only.since, only.trials, only.confirmations), (Block(7), 3, 2));
        assert_eq!(only.advantage, estimate(0.375, 0.025));
        card.tracks.insert(Track::Architecture, track(estimate(0.15, 0.04)));
        for _ in 0..200 {
            standings.record(&card, old.hotkey, old.precedence, Block(9), 90);
        }
        let [only] = standings.showings.as_slice() else { panic!("{standings:?}") };
        assert_eq!(only.confirmations, MOST_CONFIRMATIONS);
        // Of the first, (31/32)^170 are left.
        assert!((only.advantage.mean.get() - 0.15).abs() < 0.01);
    }

    #[test]
    fn a_copy_is_credited_nothing() {
        assert_eq!(credits(vec![showing(1, 0.3, 1), showing(2, 0.3, 1)], 0.01).len(), 1);
        assert_eq!(credits(vec![showing(1, 0.3, 1), showing(2, 0.305, 2)], 0.01).len(), 1);
    }

    #[test]
    fn what_a_later_arrival_was_confirmed_for_first_has_been_known_since_then() {
        let confirmed = |place, advantage, since| Showing { since: Block(since), ..showing(place, advantage, 1) };
        // The last two were confirmed after the first, or are no step above the baseline.
        let others = [confirmed(3, 0.25, 20), confirmed(2, 0.125, 10), confirmed(4, 0.5, 40), confirmed(5, 0.03, 1)];
        let standings = Standings::of([others.to_vec(), vec![confirmed(1, 0.375, 30)]].concat());
        let increments = standings.frontier(Finite::new(0.0625).unwrap(), Finite::ZERO);
        let known = |increment: &Increment| -> Vec<(u64, f64)> {
            increment.known.iter().map(|known| (known.since.0, known.credit.get())).collect()
        };
        assert_eq!(known(&increments[0]), [(10, 0.0625), (20, 0.125), (30, 0.125)]);
        assert_eq!(known(&increments[1]), [(40, 0.0625)]);
    }

    #[test]
    fn an_advantage_within_its_noise_is_credited_nothing() {
        let mut noisy = showing(1, 0.3, 1);
        noisy.advantage.standard_error = Finite::new(0.2).unwrap();
        let standings = Standings::of(vec![noisy]);
        assert!(standings.frontier(Finite::ZERO, Finite::new(2.0).unwrap()).is_empty());
        assert_eq!(standings.frontier(Finite::ZERO, Finite::ONE).len(), 1);
    }

    #[test]
    fn a_step_within_the_noise_of_both_measurements_moves_nothing() {
        let noisy = |place, advantage| {
            let mut showing = showing(place, advantage, 1);
            showing.advantage.standard_error = Finite::new(0.01).unwrap();
            showing
        };
        let frontier = |second| {
            let standings = Standings::of(vec![noisy(1, 0.3), noisy(2, second)]);
            standings.frontier(Finite::ZERO, Finite::new(2.0).unwrap()).len()
        };
        // The difference has a standard error of 0.0141: 0.025 is beyond two of one, not of both.
        assert_eq!((frontier(0.325), frontier(0.33)), (1, 2));
    }

    #[test]
    fn who_tried_often_needs_a_larger_step() {
        let lucky = |trials| {
            let mut showing = showing(1, 0.05, 1);
            showing.advantage.standard_error = Finite::new(0.02).unwrap();
            showing.trials = trials;
            Standings::of(vec![showing]).frontier(Finite::ZERO, Finite::new(2.0).unwrap()).len()
        };
        // Two and a half standard errors: enough for one try and for three, not for ten.
        assert_eq!((lucky(1), lucky(3), lucky(10)), (1, 1, 0));
    }

    fn recipe(place: u64, advantage: f64, family: u8) -> Showing {
        Showing { track: Track::Training, ..showing(place, advantage, family) }
    }

    fn published(families: &[u8]) -> BTreeMap<FamilyId, FamilyFacts> {
        let facts = FamilyFacts { published: true, class: None };
        families.iter().map(|family| (FamilyId([*family; 32]), facts)).collect()
    }

    #[test]
    fn what_was_confirmed_too_seldom_is_not_paid_and_what_might_be_a_step_is_confirmed_again() {
        let often = |place, advantage, confirmations| {
            let mut showing = showing(place, advantage, 1);
            (showing.confirmations, showing.advantage.standard_error) = (confirmations, Finite::new(0.01).unwrap());
            showing
        };
        let (margin, z) = (Finite::new(0.04).unwrap(), Finite::new(2.0).unwrap());
        // A title, what is new, what may be a step, what can't be one, and what was asked often enough.
        let showings = vec![often(1, 0.3, 9), often(2, 0.5, 1), often(3, 0.33, 3), often(4, 0.3, 3), often(5, 0.33, 8)];
        let standings = Standings::of(showings);
        let places = |ids: &BTreeSet<SubmissionId>| -> Vec<u64> {
            let found = standings.showings.iter().filter(|showing| ids.contains(&showing.submission));
            found.map(|showing| showing.precedence.block.0).collect()
        };
        assert_eq!(places(&standings.contenders(3, margin, z)), [2, 3]);
        let paid: Vec<u64> =
            standings.confirmed(3).frontier(margin, z).iter().map(|one| one.showing.precedence.block.0).collect();
        assert_eq!((paid, standings.frontier(margin, z).len()), (vec![1], 2));
    }

    #[test]
    fn a_known_recipe_is_paid_once_over_all_families() {
        let showings = vec![recipe(1, 0.3, 200), recipe(2, 0.3, 201), showing(3, 0.5, 7), recipe(4, 0.3, 7)];
        let mut standings = Standings { families: published(&[200, 201]), ..Standings::of(showings) };
        let places = |standings: &Standings| -> Vec<u64> {
            let increments = standings.frontier(Finite::new(0.01).unwrap(), Finite::ZERO);
            increments.iter().map(|increment| increment.showing.precedence.block.0).collect()
        };
        assert_eq!(places(&standings), [1, 3]);
        standings.showings.push(recipe(5, 0.35, 7));
        assert_eq!(places(&standings), [1, 3, 5]);
    }

    #[test]
    fn a_recipe_for_a_family_that_neither_is_published_nor_moved_the_frontier_counts_for_nothing() {
        let repaired = || vec![showing(1, 0.3, 1), showing(2, -0.5, 9), recipe(3, 0.3, 9)];
        let standings = Standings { families: published(&[200]), ..Standings::of(repaired()) };
        let increments = standings.frontier(Finite::ZERO, Finite::ZERO);
        assert!(increments.iter().all(|increment| increment.showing.track == Track::Architecture), "{increments:?}");
        let standings = Standings { families: published(&[9]), ..Standings::of(repaired()) };
        assert_eq!(standings.frontier(Finite::ZERO, Finite::ZERO).len(), 2);
    }

    #[test]
    fn a_class_has_a_frontier_of_its_own() {
        let class = |class| FamilyFacts { published: false, class: Some(class) };
        let families = [(FamilyId([1; 32]), class(Class::Attention)), (FamilyId([2; 32]), class(Class::Recurrent))];
        let standings = Standings {
            families: families.into(),
            ..Standings::of(vec![showing(1, 0.3, 1), showing(2, 0.2, 2), showing(3, 0.25, 1)])
        };
        let places = |class| -> Vec<u64> {
            let increments = standings.frontier_of_class(class, Finite::ZERO, Finite::ZERO);
            increments.iter().map(|increment| increment.showing.precedence.block.0).collect()
        };
        assert_eq!(
            (places(Class::Attention), places(Class::Recurrent), places(Class::Other)),
            (vec![1], vec![2], vec![])
        );
    }

    #[test]
    fn a_slot_goes_to_the_first_above_the_margin_and_the_best_only_to_a_step_beyond_it() {
        let margin = Finite::new(0.04).unwrap();
        let showings = vec![showing(1, 0.03, 1), showing(2, 0.1, 1), showing(3, 0.13, 1), recipe(4, 0.2, 1)];
        let mut standings = Standings::of(showings);
        let holds = |standings: &Standings| {
            let slots = standings.slots(margin, Finite::ZERO);
            let of = |slot: &Option<Slot>| slot.as_ref().map(|slot| (slot.owner.0[0], slot.best.hotkey.0[0]));
            slots.get(&FamilyId([1; 32])).map(|slots| (of(&slots.architecture), of(&slots.training)))
        };
        assert_eq!(holds(&standings), Some((Some((2, 2)), Some((4, 4)))));
        standings.showings.push(showing(5, 0.2, 1));
        assert_eq!(holds(&standings), Some((Some((2, 5)), Some((4, 4)))));
        assert!(Standings::of(vec![showing(1, 0.03, 1)]).slots(margin, Finite::ZERO).is_empty());
    }

    #[test]
    fn showings_of_an_older_program_are_read_as_one_try() {
        let standings = Standings::of(vec![showing(1, 0.1, 1)]);
        let mut text = serde_json::to_value(&standings).unwrap();
        text.as_object_mut().unwrap().remove("families");
        for number in ["trials", "confirmations"] {
            text["showings"][0].as_object_mut().unwrap().remove(number);
        }
        assert_eq!(serde_json::from_value::<Standings>(text).unwrap(), standings);
    }

    proptest! {
        #[test]
        fn splitting_work_over_many_submissions_never_raises_the_sum(
            steps in prop::collection::vec(0.0f64..0.2, 1..12), margin in 0.0f64..0.05,
        ) {
            let total: f64 = steps.iter().sum();
            let mut sum = 0.0;
            let split: Vec<Showing> = (1u64..)
                .zip(&steps)
                .map(|(place, step)| {
                    sum += step;
                    showing(place, sum, 1)
                })
                .collect();
            let whole: f64 = credits(vec![showing(1, total, 1)], margin).iter().sum();
            let parts: f64 = credits(split, margin).iter().sum();
            prop_assert!(parts <= whole + 1e-12, "{} > {}", parts, whole);
        }

        #[test]
        fn the_order_of_the_record_does_not_matter(advantages in prop::collection::vec(0.0f64..1.0, 0..12)) {
            let forward: Vec<Showing> = (1u64..).zip(&advantages).map(|(p, a)| showing(p, *a, 1)).collect();
            let backward: Vec<Showing> = forward.iter().rev().cloned().collect();
            prop_assert_eq!(credits(forward, 0.01), credits(backward, 0.01));
        }
    }
}
