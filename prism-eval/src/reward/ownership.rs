//! The first version's split, for comparison in the lab.
use super::pools::{Claim, Pool, pay};
use crate::policy::RewardNumbers;
use prism_core::{
    FamilyId, Finite, Result, RewardPolicy, Standings,
    reward::{Allocation, RewardContext},
    score::Track,
    standings::Showing,
};
use std::collections::BTreeMap;

/// 60/40 pools split over all families that beat the baselines. A family's part of the architecture pool is
/// proportional to the best advantage shown on it and goes to who showed it first; its part of the training pool is
/// proportional to its best recipe's advantage and goes to who showed that. No decay, no target: a pool with any claim
/// is paid in full.
///
/// Weak on purpose, as the original was: a trivial variant of the best family is a family of its own, so sybils raise
/// their part. Not for a chain with money on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct OwnershipSplit;

impl RewardPolicy for OwnershipSplit {
    fn name(&self) -> &str {
        "ownership"
    }

    fn allocate(&self, standings: &Standings, context: &RewardContext<'_>) -> Result<Allocation> {
        let numbers = RewardNumbers::from_numbers(context.policy)?;
        let mut order: Vec<&Showing> = standings.showings.iter().filter(|showing| counts(showing, &numbers)).collect();
        order.sort_by_key(|showing| (showing.precedence, showing.submission, showing.track));
        let mut slots: BTreeMap<(Track, FamilyId), (&Showing, Finite)> = BTreeMap::new();
        for showing in order {
            let mean = showing.advantage.mean;
            let (owner, best) = slots.entry((showing.track, showing.family)).or_insert((showing, mean));
            if mean > *best {
                *best = mean;
                if showing.track == Track::Training {
                    *owner = showing;
                }
            }
        }
        let pool = |wanted: Track, part: Finite| {
            let of_track = slots.iter().filter(|((track, _), _)| *track == wanted);
            let claims = of_track.map(|(_, (owner, best))| Claim { hotkey: owner.hotkey, credit: best.get() });
            Pool { part: part.get(), claims: claims.collect() }
        };
        let architecture = pool(Track::Architecture, numbers.architecture_pool);
        let training = pool(Track::Training, numbers.training_pool);
        Ok(pay(&[architecture, training], None, context.registered))
    }
}

fn counts(showing: &Showing, numbers: &RewardNumbers) -> bool {
    let (mean, error) = (showing.advantage.mean.get(), showing.advantage.standard_error.get());
    mean > numbers.margin.get() && mean >= numbers.z.get() * error
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{
        Block, Epoch, Hotkey, SubmissionId,
        evidence::Estimate,
        submission::Precedence,
        testing::{reward as conformance, sample},
    };

    fn showing(place: u64, hotkey: u8, track: Track, family: u8, advantage: f64) -> Showing {
        let hotkey = Hotkey([hotkey; 32]);
        Showing {
            submission: SubmissionId::of_parts("test", &[&place.to_le_bytes()]),
            hotkey,
            family: FamilyId([family; 32]),
            track,
            precedence: Precedence { block: Block(place), extrinsic: 0, hotkey, local: false },
            advantage: Estimate { mean: Finite::new(advantage).unwrap(), standard_error: Finite::ZERO },
            confirmations: 8,
            since: Block(place),
            trials: 1,
        }
    }

    fn shares(showings: Vec<Showing>) -> (BTreeMap<u8, f64>, f64) {
        let registered = (0..10).map(|byte| Hotkey([byte; 32])).collect();
        let numbers = BTreeMap::new();
        let context = RewardContext::new(Block(100), Epoch(1), &registered, None, &numbers);
        let standings = Standings::of(showings);
        match OwnershipSplit.allocate(&standings, &context).unwrap() {
            Allocation::Pay { shares, burn } => {
                (shares.iter().map(|(hotkey, share)| (hotkey.0[0], share.get())).collect(), burn.get())
            }
            _ => (BTreeMap::new(), 1.0),
        }
    }

    #[test]
    fn the_policy_keeps_the_contract() {
        conformance::run(&|| Box::new(OwnershipSplit), &sample::reward_case()).assert_ok();
    }

    #[test]
    fn the_first_owns_a_family_for_its_best_and_the_best_recipe_its_training() {
        let (paid, burn) = shares(vec![
            showing(1, 1, Track::Architecture, 1, 0.1),
            showing(2, 2, Track::Architecture, 1, 0.3),
            showing(3, 3, Track::Architecture, 2, 0.1),
            showing(4, 4, Track::Training, 1, 0.1),
            showing(5, 5, Track::Training, 1, 0.2),
            showing(6, 6, Track::Training, 1, 0.2),
        ]);
        let expected = [(1, 0.45), (3, 0.15), (5, 0.4)];
        assert_eq!(paid.len(), expected.len());
        assert!(expected.iter().all(|(hotkey, share)| (paid[hotkey] - share).abs() < 1e-12));
        assert!(burn.abs() < 1e-12);
        assert!(shares(vec![showing(1, 1, Track::Architecture, 1, 0.005)]).0.is_empty());
    }

    #[test]
    fn a_trivial_variant_raises_its_owners_part_which_is_why_the_frontier_exists() {
        let honest = vec![showing(1, 1, Track::Architecture, 1, 0.3)];
        let mut sybil = honest.clone();
        sybil.extend((2..5u8).map(|n| showing(u64::from(n), n, Track::Architecture, n, 0.3)));
        assert!(shares(honest).0[&1] > 0.59);
        assert!(shares(sybil).0[&1] < 0.16);
    }
}
