//! Shares as a person writes them: a JSON object of hotkeys and numbers.
use crate::weights::error::WeightsError;
use prism_core::{Finite, Hotkey};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use std::{collections::BTreeMap, fmt};

/// Non-negative numbers by hotkey, in any unit; each hotkey once.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(BTreeMap<Hotkey, f64>);

impl Shares {
    /// Reads a JSON object such as `{"5Grw...": 3, "5FHn...": 1}`.
    ///
    /// # Errors
    /// `Intent`, with line and column: no such object, an address that is none, a hotkey twice, a number below zero.
    pub fn from_json(text: &str) -> Result<Self, WeightsError> {
        serde_json::from_str(text).map_err(|error| WeightsError::Intent(format!("shares: {error}")))
    }

    /// The shares of an intent: in proportion to the numbers, with `burn` of the whole left for nobody.
    ///
    /// # Errors
    /// `Intent` when nothing is above zero, or `burn` is not in [0, 1].
    pub fn with_burn(&self, burn: f64) -> Result<(BTreeMap<Hotkey, Finite>, Finite), WeightsError> {
        let finite = |value: f64| {
            let text = || WeightsError::Intent(format!("a share comes to {value}"));
            Finite::new(value).ok_or_else(text)
        };
        if !(0.0..=1.0).contains(&burn) {
            return Err(WeightsError::Intent(format!("burn is {burn}, not a part of 1")));
        }
        if burn >= 1.0 {
            return Ok((BTreeMap::new(), Finite::ONE));
        }
        let most = self.0.values().copied().fold(0.0, f64::max);
        if most <= 0.0 {
            return Err(WeightsError::Intent("no share is above zero".into()));
        }
        // By the largest first: the sum of numbers near the end of their range has none.
        let sum: f64 = self.0.values().map(|number| number / most).sum();
        let part = |(hotkey, number): (&Hotkey, &f64)| Ok((*hotkey, finite(number / most / sum * (1.0 - burn))?));
        Ok((self.0.iter().map(part).collect::<Result<_, WeightsError>>()?, finite(burn)?))
    }
}

impl<'de> Deserialize<'de> for Shares {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Shares;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of hotkeys and numbers")
            }
            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Shares, M::Error> {
                let mut shares = BTreeMap::new();
                while let Some((hotkey, number)) = map.next_entry::<Hotkey, f64>()? {
                    if !(number.is_finite() && number >= 0.0) {
                        return Err(M::Error::custom(format!("hotkey {hotkey} has {number}, not zero or more")));
                    }
                    if shares.insert(hotkey, number).is_some() {
                        return Err(M::Error::custom(format!("hotkey {hotkey} is there twice")));
                    }
                }
                Ok(Shares(shares))
            }
        }
        from.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Hotkey {
        Hotkey([n; 32])
    }

    #[test]
    fn numbers_become_shares_of_what_is_not_burned() {
        let text = format!(r#"{{"{}": 3, "{}": 1, "{}": 0}}"#, key(1), key(2), key(3));
        let (shares, burn) = Shares::from_json(&text).unwrap().with_burn(0.2).unwrap();
        let shares: Vec<f64> = shares.values().map(|share| share.get()).collect();
        assert!((shares[0] - 0.6).abs() < 1e-12 && (shares[1] - 0.2).abs() < 1e-12, "{shares:?}");
        assert_eq!((shares[2], burn.get()), (0.0, 0.2));
        let huge = format!(r#"{{"{}": 1e308, "{}": 1e308}}"#, key(1), key(2));
        let (shares, _) = Shares::from_json(&huge).unwrap().with_burn(0.0).unwrap();
        assert_eq!(shares[&key(1)].get(), 0.5);
        assert_eq!(Shares::from_json("{}").unwrap().with_burn(1.0).unwrap(), (BTreeMap::new(), Finite::ONE));
    }

    #[test]
    fn what_is_no_share_is_refused_and_named() {
        let refused = |text: &str| Shares::from_json(text).unwrap_err().to_string();
        let (one, two) = (key(1).ss58(), key(2).ss58());
        assert!(refused(&format!(r#"{{"{one}": 1, "{one}": 2}}"#)).contains("is there twice"));
        assert!(refused(&format!(r#"{{"{one}": 1, "{two}": -0.5}}"#)).contains(&two));
        assert!(refused(&format!(r#"{{"{one}": NaN}}"#)).contains("line 1"));
        assert!(refused(&format!(r#"{{"{one}": 1e999}}"#)).contains("number out of range"));
        assert!(refused(r#"{"5Grw": 1}"#).contains("4 characters"));
        assert!(refused("[1, 2]").contains("an object of hotkeys and numbers"));
        for (text, burn) in [("{}", 0.5), (&*format!(r#"{{"{one}": 0}}"#), 0.0), ("{}", 1.5), ("{}", f64::NAN)] {
            let error = Shares::from_json(text).unwrap().with_burn(burn).unwrap_err();
            assert!(matches!(error, WeightsError::Intent(_)), "{error}");
        }
    }
}
