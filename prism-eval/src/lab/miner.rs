//! How each strategy plays.
use super::{
    strategy::{Ideas, Strategy},
    world::{Architecture, Bundle, Recipe, WorldNumbers, baseline, uniform},
};
use prism_core::{FamilyId, Hotkey, seed::Draws, standings::Class, submission::SubmissionKind};

/// What a miner can know when a cohort is open.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) cohort: u64,
    pub(super) world: &'a WorldNumbers,
    pub(super) margin: f64,
    /// The credited bundles that are published by now, in order of arrival; architectures first.
    pub(super) titles: &'a [Bundle],
    /// The published best, or the baseline.
    pub(super) leader: Architecture,
    /// The published best, or the reference.
    pub(super) recipe: Recipe,
    /// What others sent in this cohort so far: for who reads at the intake.
    pub(super) stolen: &'a [Bundle],
    /// What an idea saves, if there is one in this cohort.
    pub(super) idea: Option<f64>,
}

/// What a miner sends, under which of its hotkeys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Offer {
    pub(super) hotkey: u32,
    pub(super) bundle: Bundle,
}

/// A miner and what it remembers.
#[derive(Debug)]
pub(super) struct Miner {
    pub(super) name: String,
    pub(super) strategy: Strategy,
    pub(super) ideas: Draws,
    /// What its unspent ideas save together.
    hoard: f64,
    /// Shown, and not seen among the titles yet: what it was, what it saves by itself, and in which cohort it was shown.
    shown: Vec<(Bundle, f64, u64)>,
    made: u64,
    last: u64,
}

/// Cohorts in which a showing is confirmed, paid and published if it ever is.
const SETTLED: u64 = 10;

impl Miner {
    pub(super) fn new(name: String, strategy: Strategy, ideas: Draws) -> Self {
        Self { name, strategy, ideas, hoard: 0.0, shown: Vec::new(), made: 0, last: 0 }
    }

    pub(super) fn hotkey(&self, number: u32) -> Hotkey {
        Hotkey(FamilyId::of_parts("prism/lab/hotkey/1", &[self.name.as_bytes(), &number.to_le_bytes()]).0)
    }

    /// An architecture that nobody else has.
    fn architecture(&mut self, potential: f64, shown: f64, class: Class) -> Architecture {
        self.made += 1;
        let parts: [&[u8]; 2] = [self.name.as_bytes(), &self.made.to_le_bytes()];
        Architecture { family: FamilyId::of_parts("prism/lab/family/1", &parts), potential, shown, class }
    }

    fn fair(&mut self, potential: f64) -> Bundle {
        let architecture = self.architecture(potential, potential, Class::Attention);
        Bundle { kind: SubmissionKind::ArchitectureOnly, architecture, recipe: None }
    }

    /// What it sends in a cohort. `draws` are for its whims, and its own.
    pub(super) fn play(&mut self, view: &View<'_>, draws: &mut Draws) -> Vec<Offer> {
        self.take_back(view);
        self.hoard += view.idea.unwrap_or_default();
        let one = |bundle| vec![Offer { hotkey: 0, bundle }];
        match self.strategy {
            Strategy::LateImprover if view.cohort < u64::from(view.world.cohorts) / 2 => Vec::new(),
            Strategy::HonestDiscoverer | Strategy::LateImprover => match self.spend_all(view) {
                Some(idea) => {
                    let bundle = self.fair(view.leader.potential + idea);
                    self.shown.push((bundle, idea, view.cohort));
                    one(bundle)
                }
                None => Vec::new(),
            },
            Strategy::HonestTuner => match self.spend_all(view) {
                Some(idea) => {
                    let recipe = self.recipe(view.recipe.gain + idea);
                    let kind = SubmissionKind::TrainingForArch;
                    let bundle = Bundle { kind, architecture: baseline(), recipe: Some(recipe) };
                    self.shown.push((bundle, idea, view.cohort));
                    one(bundle)
                }
                None => Vec::new(),
            },
            Strategy::Copier => {
                let (architecture, recipe) = (view.leader, Some(view.recipe));
                one(Bundle { kind: SubmissionKind::Full, architecture, recipe })
            }
            Strategy::Renamer => view.titles.iter().map(|bundle| Offer { hotkey: 0, bundle: *bundle }).collect(),
            Strategy::TrivialVariant => one(self.variant(view.leader, draws)),
            Strategy::NoiseFarmer => {
                let quota = view.world.quota;
                (0..quota * 2).map(|n| Offer { hotkey: n % 2, bundle: self.variant(view.leader, draws) }).collect()
            }
            Strategy::Sybil => match self.spend_all(view) {
                Some(idea) => self.in_five(view, idea),
                None => Vec::new(),
            },
            Strategy::DripFeeder => {
                let (step, pause) = (2.0 * view.margin, 7);
                if self.hoard < step || view.cohort < self.last + pause {
                    return Vec::new();
                }
                (self.hoard, self.last) = (self.hoard - step, view.cohort);
                let bundle = self.fair(view.leader.potential + step);
                self.shown.push((bundle, step, view.cohort));
                one(bundle)
            }
            Strategy::FamilySquatter => {
                let squat = |miner: &mut Self, draws: &mut Draws| {
                    let potential = -0.1 * uniform(draws);
                    let architecture = miner.architecture(potential, potential, Class::Hybrid);
                    Bundle { kind: SubmissionKind::Full, architecture, recipe: Some(view.recipe) }
                };
                (0..view.world.quota).map(|_| Offer { hotkey: 0, bundle: squat(self, draws) }).collect()
            }
            Strategy::Sandbagger => {
                let architecture = self.architecture(view.leader.potential, -0.1, view.leader.class);
                one(Bundle { kind: SubmissionKind::Full, architecture, recipe: Some(view.recipe) })
            }
            Strategy::EpsilonOvertaker => {
                let step = 0.5 * view.margin * uniform(draws);
                one(self.fair(view.leader.potential + step))
            }
            Strategy::RecipePorter => {
                let port = |title: &Bundle| Bundle {
                    kind: SubmissionKind::TrainingForArch,
                    architecture: title.architecture,
                    recipe: Some(view.recipe),
                };
                let moved = view.titles.iter().filter(|title| title.kind.brings_architecture());
                moved.rev().map(|title| Offer { hotkey: 0, bundle: port(title) }).collect()
            }
            Strategy::BundleThief => {
                let mut offers = Vec::new();
                for stolen in view.stolen {
                    offers.push(Offer { hotkey: 0, bundle: *stolen });
                    let step = 0.5 * view.margin * uniform(draws);
                    if stolen.kind.brings_architecture() {
                        offers.push(Offer { hotkey: 0, bundle: self.fair(stolen.architecture.potential + step) });
                    }
                }
                offers
            }
            Strategy::WeightCopier => Vec::new(),
        }
    }

    /// What was shown and not credited is still an idea: it is added to the next one. What is a title by now is spent.
    fn take_back(&mut self, view: &View<'_>) {
        let settled = SETTLED + u64::from(view.world.sealed_cohorts);
        let mut waiting = Vec::new();
        for (bundle, idea, cohort) in self.shown.drain(..) {
            if view.titles.contains(&bundle) {
                continue;
            }
            if view.cohort > cohort + settled {
                self.hoard += idea;
            } else {
                waiting.push((bundle, idea, cohort));
            }
        }
        self.shown = waiting;
    }

    /// All it has, if that is clearly more than the margin.
    fn spend_all(&mut self, view: &View<'_>) -> Option<f64> {
        let waits = !self.shown.is_empty();
        (!waits && self.hoard >= 1.5 * view.margin).then(|| std::mem::take(&mut self.hoard))
    }

    fn recipe(&mut self, gain: f64) -> Recipe {
        self.made += 1;
        let id = FamilyId::of_parts("prism/lab/recipe/1", &[self.name.as_bytes(), &self.made.to_le_bytes()]);
        Recipe::of(&id.0, gain)
    }

    /// The leader with something added that hardly matters, of another class by the way.
    fn variant(&mut self, leader: Architecture, draws: &mut Draws) -> Bundle {
        let potential = leader.potential - 0.002 * uniform(draws);
        let class = if leader.class == Class::Attention { Class::Hybrid } else { Class::Attention };
        let architecture = self.architecture(potential, potential, class);
        Bundle { kind: SubmissionKind::ArchitectureOnly, architecture, recipe: None }
    }

    /// An idea in five rising steps, each under a hotkey of its own.
    fn in_five(&mut self, view: &View<'_>, idea: f64) -> Vec<Offer> {
        let parts = self.strategy.hotkeys();
        let mut offers = Vec::new();
        for part in 1..=parts {
            let reached = idea * f64::from(part) / f64::from(parts);
            offers.push(Offer { hotkey: part - 1, bundle: self.fair(view.leader.potential + reached) });
        }
        if let Some(last) = offers.last() {
            self.shown.push((last.bundle, idea, view.cohort));
        }
        offers
    }

    /// Whether ideas come, and of which kind.
    pub(super) fn has_ideas(&self) -> bool {
        self.strategy.ideas() != Ideas::Nothing
    }
}
