//! From shares by hotkey to the vector that the chain takes.
use crate::weights::{
    error::WeightsError,
    quantize::{clip_to_max_weight, quantize},
};
use prism_core::{Hotkey, Netuid, Uid, receipt::WeightIntent};
use std::collections::{BTreeMap, BTreeSet};

/// How far shares and burn may be from summing to 1: what the sum of 4096 rounded shares can lose, with room.
const SUM_TOLERANCE: f64 = 1e-6;

/// What one block shows that the vector depends on.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    pub(crate) netuid: Netuid,
    /// The slots of those hotkeys of the intent, and of the burn hotkey, that have one.
    pub(crate) uids: BTreeMap<Hotkey, Uid>,
    /// Whose slot is burned: the configured hotkey, or the subnet owner's.
    pub(crate) burn: Option<Hotkey>,
    /// Who signs.
    pub(crate) signer: Hotkey,
    /// Largest weight's share of the sum, in 1/65535.
    pub(crate) max_weights_limit: u16,
    /// Fewest weights above zero.
    pub(crate) min_weights: u16,
}

/// A vector as the chain takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conformed {
    /// Weights above zero; the largest is 65535.
    pub(crate) vector: BTreeMap<Uid, u16>,
    /// Who held each slot.
    pub(crate) holders: BTreeMap<Uid, Hotkey>,
    /// What an operator should look at.
    pub(crate) alarms: Vec<String>,
}

impl Conformed {
    /// Slots and weights, as calls have them.
    pub(crate) fn columns(&self) -> (Vec<u16>, Vec<u16>) {
        columns(&self.vector)
    }
}

/// The slots of a vector and their weights, in the order of the slots.
pub(crate) fn columns(vector: &BTreeMap<Uid, u16>) -> (Vec<u16>, Vec<u16>) {
    vector.iter().map(|(uid, weight)| (uid.0, *weight)).unzip()
}

/// Looks the slots up, leaves out who has none, gives the burn its slot, clips and quantizes. What a left-out hotkey had
/// goes to the others in proportion, as the largest weight is 65535 whatever the sum.
pub(crate) fn conform(intent: &WeightIntent, slots: &Slots) -> Result<Conformed, WeightsError> {
    check_shares(intent)?;
    let netuid = slots.netuid;
    let mut alarms = Vec::new();
    let mut shares: BTreeMap<Uid, f64> = BTreeMap::new();
    let mut holders = BTreeMap::new();
    for (hotkey, share) in &intent.shares {
        if share.get() <= 0.0 {
            continue;
        }
        match slots.uids.get(hotkey) {
            Some(uid) => {
                shares.insert(*uid, share.get());
                holders.insert(*uid, *hotkey);
            }
            None => {
                alarms.push(format!("hotkey {hotkey} lost its share {share}: it is not registered on subnet {netuid}"));
            }
        }
    }
    let burn = intent.burn.get();
    if burn > 0.0 {
        let target = slots.burn.and_then(|hotkey| Some((hotkey, *slots.uids.get(&hotkey)?)));
        let (hotkey, uid) = target.ok_or_else(|| WeightsError::NoBurnTarget {
            netuid,
            share: burn,
            target: slots
                .burn
                .map_or_else(|| "the subnet's owner hotkey".to_owned(), |hotkey| format!("hotkey {hotkey}")),
        })?;
        *shares.entry(uid).or_insert(0.0) += burn;
        holders.insert(uid, hotkey);
    }
    if shares.is_empty() {
        return Err(WeightsError::Nothing(netuid));
    }
    // A weight for the signer's own slot alone is free of the limits.
    let only_self = slots.uids.get(&slots.signer).is_some_and(|own| shares.keys().eq([own]));
    let mut values: Vec<f64> = shares.values().copied().collect();
    if slots.max_weights_limit < u16::MAX && !only_self {
        let limit = f64::from(slots.max_weights_limit) / f64::from(u16::MAX);
        let sum: f64 = values.iter().sum();
        if values.iter().any(|value| value / sum > limit) {
            alarms
                .push(format!("shares were clipped to {limit:.4} of their sum, the most that subnet {netuid} allows"));
        }
        values = clip_to_max_weight(&values, limit);
    }
    let weights = quantize(&values);
    let mut vector = BTreeMap::new();
    for (uid, weight) in shares.keys().zip(weights) {
        if weight > 0 {
            vector.insert(*uid, weight);
        } else if let Some(hotkey) = holders.remove(uid) {
            alarms.push(format!("hotkey {hotkey} lost its share: it rounds to a weight of 0"));
        }
    }
    if !only_self && vector.len() < usize::from(slots.min_weights) {
        return Err(WeightsError::TooFew { netuid, have: vector.len(), need: slots.min_weights });
    }
    Ok(Conformed { vector, holders, alarms })
}

fn check_shares(intent: &WeightIntent) -> Result<(), WeightsError> {
    if let Some((hotkey, share)) = intent.shares.iter().find(|(_, share)| share.get() < 0.0) {
        return Err(WeightsError::Intent(format!("share {share} of hotkey {hotkey} is negative")));
    }
    if intent.burn.get() < 0.0 {
        return Err(WeightsError::Intent(format!("burn {} is negative", intent.burn)));
    }
    let sum: f64 = intent.shares.values().map(|share| share.get()).sum::<f64>() + intent.burn.get();
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(WeightsError::Intent(format!("shares and burn sum to {sum}, not 1")));
    }
    Ok(())
}

/// The hotkeys whose slots [`conform`] needs.
pub(crate) fn hotkeys(intent: &WeightIntent, signer: Hotkey, burn: Option<Hotkey>) -> Vec<Hotkey> {
    let paid = intent.shares.keys().copied();
    let all: BTreeSet<_> = paid.chain([signer]).chain(burn).collect();
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use prism_core::{Digest, Epoch, Finite, MechanismId};
    use proptest::prelude::*;

    fn key(n: u8) -> Hotkey {
        Hotkey([n; 32])
    }

    fn intent(shares: &[(u8, f64)], burn: f64) -> WeightIntent {
        WeightIntent {
            netuid: Netuid(1),
            mechanism: MechanismId(0),
            epoch: Epoch(7),
            shares: shares.iter().map(|(n, share)| (key(*n), Finite::new(*share).unwrap())).collect(),
            burn: Finite::new(burn).unwrap(),
            version_key: 0,
            policy: Digest::of(b"policy"),
        }
    }

    /// Hotkey n holds slot n; hotkey 0 owns the subnet, hotkey 9 signs.
    fn slots(registered: &[u8]) -> Slots {
        Slots {
            netuid: Netuid(1),
            uids: registered.iter().map(|n| (key(*n), Uid((*n).into()))).collect(),
            burn: Some(key(0)),
            signer: key(9),
            max_weights_limit: u16::MAX,
            min_weights: 1,
        }
    }

    fn vector(conformed: &Conformed) -> Vec<(u16, u16)> {
        conformed.vector.iter().map(|(uid, weight)| (uid.0, *weight)).collect()
    }

    #[test]
    fn shares_go_to_the_slots_of_their_hotkeys_and_the_burn_to_the_owner() {
        let conformed = conform(&intent(&[(1, 0.25), (2, 0.5)], 0.25), &slots(&[0, 1, 2, 9])).unwrap();
        assert_eq!(vector(&conformed), [(0, 32768), (1, 32768), (2, 65535)]);
        assert_eq!(conformed.holders[&Uid(0)], key(0));
        assert_eq!(conformed.alarms, [""; 0]);
    }

    #[test]
    fn an_unregistered_hotkey_is_left_out_with_an_alarm() {
        let conformed = conform(&intent(&[(1, 0.5), (2, 0.5)], 0.0), &slots(&[0, 2, 9])).unwrap();
        assert_eq!(vector(&conformed), [(2, 65535)]);
        assert_eq!(conformed.alarms.len(), 1);
        assert!(conformed.alarms[0].contains(&key(1).ss58()), "{:?}", conformed.alarms);
        let error = conform(&intent(&[(1, 1.0)], 0.0), &slots(&[0, 9])).unwrap_err();
        assert!(matches!(error, WeightsError::Nothing(Netuid(1))), "{error}");
    }

    #[test]
    fn an_owner_who_is_also_paid_gets_both() {
        let conformed = conform(&intent(&[(0, 0.25), (1, 0.5)], 0.25), &slots(&[0, 1])).unwrap();
        assert_eq!(vector(&conformed), [(0, 65535), (1, 65535)]);
    }

    #[test]
    fn a_burn_without_a_slot_is_refused() {
        let error = conform(&intent(&[(1, 0.5)], 0.5), &slots(&[1, 9])).unwrap_err();
        assert!(matches!(error, WeightsError::NoBurnTarget { .. }), "{error}");
        assert!(error.to_string().contains(&key(0).ss58()), "{error}");
        let nobody = Slots { burn: None, ..slots(&[1, 9]) };
        assert!(conform(&intent(&[(1, 0.5)], 0.5), &nobody).unwrap_err().to_string().contains("owner hotkey"));
        assert!(conform(&intent(&[(1, 1.0)], 0.0), &nobody).is_ok(), "nothing to burn, no slot needed");
    }

    #[test]
    fn too_few_weights_are_refused_and_a_self_weight_is_not() {
        let strict = Slots { min_weights: 3, ..slots(&[0, 1, 2, 9]) };
        let error = conform(&intent(&[(1, 0.5), (2, 0.5)], 0.0), &strict).unwrap_err();
        assert!(matches!(error, WeightsError::TooFew { have: 2, need: 3, .. }), "{error}");
        assert!(conform(&intent(&[(9, 1.0)], 0.0), &strict).is_ok());
    }

    #[test]
    fn shares_above_the_limit_are_clipped_with_an_alarm() {
        // 0.3 of 65535, as the official vector [10, 1, 1, 1] at 0.3 has it.
        let limited = Slots { max_weights_limit: 19661, ..slots(&[1, 2, 3, 4]) };
        let tenth = 1.0 / 13.0;
        let conformed =
            conform(&intent(&[(1, 10.0 * tenth), (2, tenth), (3, tenth), (4, tenth)], 0.0), &limited).unwrap();
        assert_eq!(conformed.vector[&Uid(1)], 65535);
        assert!((50_965..=50_975).contains(&conformed.vector[&Uid(2)]), "{:?}", conformed.vector);
        assert_eq!(conformed.alarms.len(), 1);
    }

    #[test]
    fn a_share_that_rounds_to_nothing_is_named() {
        let conformed = conform(&intent(&[(1, 1.0 - 1e-6), (2, 1e-6)], 0.0), &slots(&[1, 2])).unwrap();
        assert_eq!(vector(&conformed), [(1, 65535)]);
        assert!(!conformed.holders.contains_key(&Uid(2)));
        assert!(conformed.alarms[0].contains(&key(2).ss58()));
    }

    #[test]
    fn intents_that_contradict_themselves_are_refused() {
        for bad in [intent(&[(1, 0.5)], 0.0), intent(&[(1, -0.5)], 1.5), intent(&[(1, 2.0)], -1.0), intent(&[], 0.0)] {
            let error = conform(&bad, &slots(&[0, 1])).unwrap_err();
            assert!(matches!(error, WeightsError::Intent(_)), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_vector_peaks_at_the_top_and_pays_only_registered_hotkeys(
            raw in prop::collection::btree_map(0_u8..32, 0.01_f64..1.0, 1..32),
            registered in prop::collection::btree_set(0_u8..32, 1..32),
            burn in 0.0_f64..0.9,
        ) {
            let sum: f64 = raw.values().sum();
            let shares: Vec<_> = raw.iter().map(|(n, share)| (*n, share / sum * (1.0 - burn))).collect();
            let registered: Vec<u8> = registered.into_iter().chain([0]).collect();
            let conformed = conform(&intent(&shares, burn), &slots(&registered)).unwrap();
            prop_assert_eq!(conformed.vector.values().max(), Some(&65535));
            prop_assert!(conformed.vector.keys().all(|uid| registered.contains(&(uid.0 as u8))));
            prop_assert!(conformed.vector.keys().eq(conformed.holders.keys()));
        }
    }
}
