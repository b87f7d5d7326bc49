//! One world, cohort by cohort.
use super::{
    Simulation,
    miner::{Miner, Offer, View},
    strategy::Strategy,
    world::{Architecture, Bench, Bundle, REFERENCE, Recipe, baseline, uniform},
};
use crate::{
    policy::RewardNumbers,
    reward::{title_holders, to_be_confirmed},
};
use prism_core::{
    Block, Epoch, FamilyId, Finite, Hotkey, Result, RewardPolicy, ScoreCard, Seed, Standings, SubmissionId,
    reward::{Allocation, RewardContext},
    score::{Track, TrackScore},
    standings::{Class, FamilyFacts, awaits_confirmation},
    submission::{Precedence, SubmissionKind},
};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a world.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    /// Part of all that could be paid that went to whoever is tried.
    pub(super) share: f64,
    /// What that took.
    pub(super) cost: f64,
    /// Part that went to the honest ones around it.
    pub(super) others: f64,
    /// Mean part of a vector that is there already in the newest published one.
    pub(super) copied: f64,
}

/// A submission in the world.
#[derive(Debug, Clone, Copy)]
struct Entry {
    submission: SubmissionId,
    precedence: Precedence,
    bundle: Bundle,
}

struct World<'a> {
    simulation: &'a Simulation,
    reward: &'a dyn RewardPolicy,
    numbers: RewardNumbers,
    /// Numbers by name, as the reward policy reads them.
    by_name: BTreeMap<String, Finite>,
    seed: Seed,
    bench: Bench,
    standings: Standings,
    /// All that were ever sent, by submission.
    entries: BTreeMap<SubmissionId, Entry>,
    /// Who tried what, and when.
    tries: Vec<(u64, Hotkey, Architecture)>,
    /// Submissions that the last cohort left waiting for a confirmation.
    waiting: Vec<SubmissionId>,
    /// Title holders by cohort, oldest first; what is before the last `sealed_cohorts` is published.
    titles: Vec<BTreeSet<SubmissionId>>,
    registered: BTreeSet<Hotkey>,
    /// The block before the first cohort.
    start: u64,
}

/// Plays one world with a miner of this strategy in it.
pub(super) fn play(
    simulation: &Simulation,
    strategy: Strategy,
    number: u32,
    reward: &dyn RewardPolicy,
) -> Result<Outcome> {
    let seed = Seed::of("prism/lab/world/1", &[&simulation.seed.0.0, &number.to_le_bytes()]);
    let mut world = World::new(simulation, reward, seed);
    let mut miners = world.cast(strategy);
    for miner in &miners {
        let hotkeys = (0..miner.strategy.hotkeys()).map(|number| miner.hotkey(number));
        world.registered.extend(hotkeys);
    }
    let tried = miners.len() - 1;
    let costs = &simulation.world;
    let mut paid = vec![0.0; miners.len()];
    let mut cost = costs.registration_cost.get() * f64::from(strategy.hotkeys());
    let mut vectors: Vec<BTreeMap<Hotkey, Finite>> = Vec::new();
    for cohort in 0..u64::from(costs.cohorts) {
        let sent = world.open(cohort, &mut miners, &mut |miner, submissions, idea| {
            if miner == tried {
                cost += costs.evaluation_cost.get() * submissions as f64;
                cost += if idea { costs.research_cost.get() } else { 0.0 };
            }
        });
        world.settle(cohort, &sent)?;
        let shares = world.pay(cohort)?;
        for (paid, miner) in paid.iter_mut().zip(&miners) {
            let own = (0..miner.strategy.hotkeys()).filter_map(|number| shares.get(&miner.hotkey(number)));
            *paid += own.map(|share| share.get()).sum::<f64>();
        }
        vectors.push(shares);
    }
    let cohorts = f64::from(costs.cohorts);
    let share = paid.pop().unwrap_or_default() / cohorts;
    Ok(Outcome {
        share,
        cost,
        others: paid.iter().sum::<f64>() / cohorts,
        copied: copied(&vectors, costs.sealed_cohorts as usize + 1),
    })
}

/// Mean over cohorts of what two vectors, one of them older by a delay, have in common; of those that pay anybody.
fn copied(vectors: &[BTreeMap<Hotkey, Finite>], delay: usize) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for (old, new) in vectors.iter().zip(vectors.iter().skip(delay)) {
        let whole: f64 = new.values().map(|share| share.get()).sum();
        if whole > 0.0 {
            let part = |(hotkey, share): (&Hotkey, &Finite)| old.get(hotkey).map(|before| (*before).min(*share).get());
            sum += new.iter().filter_map(part).sum::<f64>() / whole;
            count += 1;
        }
    }
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

/// The submissions behind showings on record, worth what they showed.
fn recorded(standings: &Standings) -> BTreeMap<SubmissionId, Entry> {
    let mut shown: BTreeMap<FamilyId, f64> = BTreeMap::new();
    for showing in standings.showings.iter().filter(|showing| showing.track == Track::Architecture) {
        shown.insert(showing.family, showing.advantage.mean.get());
    }
    let mut entries: BTreeMap<SubmissionId, Entry> = BTreeMap::new();
    for showing in &standings.showings {
        let family = showing.family;
        let level = shown.get(&family).copied().unwrap_or_default();
        let class = standings.families.get(&family).and_then(|facts| facts.class).unwrap_or(Class::Other);
        let architecture = Architecture { family, potential: level, shown: level, class };
        let recipe = Recipe::of(&showing.submission.0, showing.advantage.mean.get());
        let (submission, precedence) = (showing.submission, showing.precedence);
        let (kind, recipe) = match showing.track {
            Track::Architecture => (SubmissionKind::ArchitectureOnly, None),
            _ => (SubmissionKind::TrainingForArch, Some(recipe)),
        };
        let entry = entries.entry(submission).or_insert(Entry {
            submission,
            precedence,
            bundle: Bundle { kind, architecture, recipe },
        });
        if entry.bundle.kind != kind {
            entry.bundle.kind = SubmissionKind::Full;
            entry.bundle.recipe = entry.bundle.recipe.or(recipe);
        }
    }
    entries
}

impl<'a> World<'a> {
    fn new(simulation: &'a Simulation, reward: &'a dyn RewardPolicy, seed: Seed) -> Self {
        let mut standings = simulation.start.clone();
        let published = FamilyFacts { published: true, class: Some(baseline().class) };
        standings.families.insert(baseline().family, published);
        let blocks = standings.showings.iter().map(|showing| showing.since.0.max(showing.precedence.block.0));
        Self {
            simulation,
            reward,
            numbers: simulation.policy.reward,
            by_name: simulation.policy.numbers(),
            seed,
            bench: Bench::new(seed.stream("bench"), &simulation.policy, &simulation.world),
            start: blocks.max().unwrap_or_default(),
            registered: standings.showings.iter().map(|showing| showing.hotkey).collect(),
            entries: recorded(&standings),
            tries: Vec::new(),
            waiting: Vec::new(),
            // What is on record when the world begins is published by then.
            titles: vec![
                title_holders(&standings, &simulation.policy.reward);
                simulation.world.sealed_cohorts as usize + 1
            ],
            standings,
        }
    }

    /// The honest ones, and last whoever is tried.
    fn cast(&self, strategy: Strategy) -> Vec<Miner> {
        let world = &self.simulation.world;
        let discoverers = (0..world.discoverers).map(|n| (format!("discoverer {n}"), Strategy::HonestDiscoverer));
        let tuners = (0..world.tuners).map(|n| (format!("tuner {n}"), Strategy::HonestTuner));
        let tried = [("tried".to_owned(), strategy)];
        let miner = |(name, strategy): (String, Strategy)| {
            let ideas = self.seed.stream(&format!("ideas/{name}")).draws();
            Miner::new(name, strategy, ideas)
        };
        discoverers.chain(tuners).chain(tried).map(miner).collect()
    }

    fn block(&self, cohort: u64) -> u64 {
        self.start + 1 + cohort * u64::from(self.simulation.world.cohort_blocks)
    }

    /// Lets everybody send, in the order of the cast; whoever is tried comes last, and sees what came before.
    fn open(
        &mut self,
        cohort: u64,
        miners: &mut [Miner],
        spent: &mut dyn FnMut(usize, usize, bool),
    ) -> Vec<SubmissionId> {
        let world = self.simulation.world;
        let (titles, leader, recipe) = self.published();
        let mut sent: Vec<Entry> = Vec::new();
        for (number, miner) in miners.iter_mut().enumerate() {
            let (comes, size) = (uniform(&mut miner.ideas), uniform(&mut miner.ideas));
            let (low, high) = (world.idea_low.get(), world.idea_high.get());
            let idea = (miner.has_ideas() && comes < world.idea_rate.get()).then_some(low + size * (high - low));
            let stolen: Vec<Bundle> = sent.iter().map(|entry| entry.bundle).collect();
            let view = View {
                cohort,
                world: &world,
                margin: self.numbers.margin.get(),
                titles: &titles,
                leader,
                recipe,
                stolen: &stolen,
                idea,
            };
            let mut whims = self.seed.stream(&format!("whims/{}/{cohort}", miner.name)).draws();
            let mut left = BTreeMap::new();
            let offers: Vec<Offer> = miner
                .play(&view, &mut whims)
                .into_iter()
                .filter(|offer| {
                    let left = left.entry(offer.hotkey).or_insert(world.quota);
                    let within = *left > 0;
                    *left = left.saturating_sub(1);
                    within
                })
                .collect();
            spent(number, offers.len(), idea.is_some());
            for Offer { hotkey, bundle } in offers {
                let hotkey = miner.hotkey(hotkey);
                let place = sent.len() as u64;
                let block = self.block(cohort) + place.min(u64::from(world.cohort_blocks) - 1);
                let extrinsic = u32::try_from(place).unwrap_or(u32::MAX);
                let parts: [&[u8]; 3] = [&hotkey.0, &cohort.to_le_bytes(), &place.to_le_bytes()];
                sent.push(Entry {
                    submission: SubmissionId::of_parts("prism/lab/submission/1", &parts),
                    precedence: Precedence { block: Block(block), extrinsic, hotkey, local: false },
                    bundle,
                });
            }
        }
        let ids = sent.iter().map(|entry| entry.submission).collect();
        for entry in sent {
            self.tries.push((entry.precedence.block.0, entry.precedence.hotkey, entry.bundle.architecture));
            self.entries.insert(entry.submission, entry);
        }
        ids
    }

    /// Measures candidates, winners to be confirmed and title holders on the same rows, and records what counts.
    fn settle(&mut self, cohort: u64, sent: &[SubmissionId]) -> Result<()> {
        let (margin, z) = (self.numbers.margin, self.numbers.z);
        let mut again = to_be_confirmed(&self.standings, &self.numbers);
        again.extend(self.waiting.drain(..));
        let sent: Vec<(SubmissionId, bool)> = sent.iter().map(|id| (*id, false)).collect();
        let entrants = sent.into_iter().chain(again.into_iter().map(|id| (id, true)));
        let (now, window) = (self.block(cohort + 1), self.numbers.trials_window.get());
        for (id, confirms) in entrants {
            let Some(entry) = self.entries.get(&id).copied() else { continue };
            let Entry { submission, precedence, bundle } = entry;
            let card = self.card(cohort, submission, &bundle, confirms);
            let family = bundle.architecture.family;
            let tries = self.tries.iter().rev().take_while(|(block, ..)| now.saturating_sub(*block) as f64 <= window);
            let own = tries.filter(|(_, hotkey, of)| *hotkey == precedence.hotkey || of.family == family).count();
            let facts = FamilyFacts { published: false, class: Some(bundle.architecture.class) };
            self.standings.families.entry(family).or_insert(facts);
            let trials = u32::try_from(own).unwrap_or(u32::MAX);
            self.standings.record(&card, precedence.hotkey, precedence, Block(now), trials);
            if awaits_confirmation(&card, margin, z) {
                self.waiting.push(submission);
            }
        }
        self.titles.push(title_holders(&self.standings, &self.numbers));
        Ok(())
    }

    fn card(&mut self, cohort: u64, submission: SubmissionId, bundle: &Bundle, confirms: bool) -> ScoreCard {
        let tracks = self.bench.measure(cohort, confirms, bundle).into_iter();
        let half = Finite::new(0.5).unwrap_or_default();
        let score = |advantage| TrackScore { quality: half, advantage, components: BTreeMap::new() };
        ScoreCard {
            submission,
            family: bundle.architecture.family,
            scorer: "lab/1".to_owned(),
            total: Some(half),
            standard_error: None,
            bits_per_byte: None,
            tracks: tracks.map(|(track, advantage)| (track, score(advantage))).collect(),
            eligible: confirms || !self.simulation.policy.score.requires_confirmation(),
            reasons: Vec::new(),
        }
    }

    /// What the cohort's end pays, by hotkey.
    fn pay(&mut self, cohort: u64) -> Result<BTreeMap<Hotkey, Finite>> {
        let block = Block(self.block(cohort + 1));
        let context = RewardContext::new(block, Epoch(cohort), &self.registered, None, &self.by_name);
        Ok(match self.reward.allocate(&self.standings, &context)? {
            Allocation::Pay { shares, .. } => shares,
            Allocation::Burn { .. } | Allocation::KeepPrevious { .. } => BTreeMap::new(),
        })
    }

    /// Titles that are published, with the best architecture and the best recipe among them.
    fn published(&self) -> (Vec<Bundle>, Architecture, Recipe) {
        let newest = self.titles.len().checked_sub(1 + self.simulation.world.sealed_cohorts as usize);
        let ids = newest.and_then(|newest| self.titles.get(newest)).into_iter().flatten();
        let mut held: Vec<&Entry> = ids.filter_map(|id| self.entries.get(id)).collect();
        held.sort_by_key(|entry| (!entry.bundle.kind.brings_architecture(), entry.precedence));
        let titles: Vec<Bundle> = held.iter().map(|entry| entry.bundle).collect();
        let architectures = titles.iter().filter(|bundle| bundle.kind.brings_architecture());
        let leader = architectures.map(|bundle| bundle.architecture).max_by(|a, b| a.shown.total_cmp(&b.shown));
        let recipes = titles.iter().filter_map(|bundle| bundle.recipe);
        let recipe = recipes.max_by(|a, b| a.gain.total_cmp(&b.gain));
        (titles, leader.unwrap_or_else(baseline), recipe.unwrap_or(REFERENCE))
    }
}
