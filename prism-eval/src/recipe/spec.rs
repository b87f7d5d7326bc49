//! The submitted form of a recipe.
//!
//! ```yaml
//! recipe: prism.recipe/1
//! optimizer: { kind: adamw, learning_rate: 0.003, weight_decay: 0.1 }   # for all that no group names
//! groups:
//!   - { roles: [matrix], optimizer: { kind: muon, learning_rate: 0.02 } }
//! schedule: { kind: cosine, warmup: 0.05, floor: 0.1 }
//! clip: 1.0
//! loss: { z_loss: 0.0001 }
//! ```
use super::{Group, Loss, Optimizer, RECIPE_SCHEMA, ROLES, Recipe, RecipeError, Schedule};
use crate::{document, graph::resolved::WeightRole};
use prism_core::Finite;
use serde::Deserialize;

/// What the key `recipe` must say.
pub const RECIPE_FORMAT: &str = "prism.recipe/1";

/// A recipe as submitted. Nothing is checked but its form: see [`RecipeSpec::resolve`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeSpec {
    /// [`RECIPE_FORMAT`].
    pub recipe: String,
    /// For all roles that no group names.
    pub optimizer: OptimizerSpec,
    /// Roles that are trained otherwise.
    #[serde(default)]
    pub groups: Vec<GroupSpec>,
    /// Constant without warm-up unless given.
    #[serde(default)]
    pub schedule: ScheduleSpec,
    /// Ceiling on the norm of all gradients together; none unless given.
    #[serde(default)]
    pub clip: Option<Finite>,
    /// What is added to the loss.
    #[serde(default)]
    pub loss: LossSpec,
}

/// Weights that are trained alike.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupSpec {
    /// `embedding`, `matrix`, `gain`, `bias`.
    pub roles: Vec<WeightRole>,
    /// How.
    pub optimizer: OptimizerSpec,
}

/// An optimizer: its kind, and those of its numbers that are not the usual ones.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSpec {
    /// Which.
    pub kind: OptimizerKind,
    /// Peak rate; must be given.
    pub learning_rate: Finite,
    /// 0.9.
    pub beta1: Option<Finite>,
    /// 0.999 for AdamW, 0.99 for Lion.
    pub beta2: Option<Finite>,
    /// 1e-8; AdamW only.
    pub epsilon: Option<Finite>,
    /// 0.95; Muon only.
    pub momentum: Option<Finite>,
    /// 0.01.
    pub weight_decay: Option<Finite>,
}

/// The optimizers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// [`Optimizer::Adamw`].
    Adamw,
    /// [`Optimizer::Lion`].
    Lion,
    /// [`Optimizer::Muon`].
    Muon,
}

/// How the rates move.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Which; constant unless given.
    #[serde(default)]
    pub kind: ScheduleKind,
    /// Fraction of the steps over which the rate rises; 0 unless given.
    pub warmup: Option<Finite>,
    /// Factor at the end; 0 unless given. Not for `constant`.
    pub floor: Option<Finite>,
}

/// The schedules there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// [`Schedule::Constant`].
    #[default]
    Constant,
    /// [`Schedule::Cosine`].
    Cosine,
    /// [`Schedule::Linear`].
    Linear,
}

/// What is added to the loss.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossSpec {
    /// 0 unless given.
    pub z_loss: Option<Finite>,
    /// 0 unless given.
    pub label_smoothing: Option<Finite>,
}

impl RecipeSpec {
    /// Reads the submitted form, YAML or JSON by the suffix of the name.
    ///
    /// # Errors
    /// What is wrong with the form, with key and line.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, RecipeError> {
        let spec: Self = document::read(bytes, name)?;
        if spec.recipe == RECIPE_FORMAT { Ok(spec) } else { Err(RecipeError::Format { found: spec.recipe }) }
    }

    /// The recipe with every number filled in and checked, in canonical form.
    ///
    /// # Errors
    /// The first rule broken, with its place.
    pub fn resolve(&self) -> Result<Recipe, RecipeError> {
        let mut groups = Vec::new();
        let named: Vec<WeightRole> = self.groups.iter().flat_map(|group| group.roles.iter().copied()).collect();
        for (index, group) in self.groups.iter().enumerate() {
            let optimizer = group.optimizer.resolve(&format!("groups[{index}].optimizer"))?;
            groups.push(Group { roles: group.roles.clone(), optimizer });
        }
        let rest: Vec<WeightRole> = ROLES.into_iter().filter(|role| !named.contains(role)).collect();
        let optimizer = self.optimizer.resolve("optimizer")?;
        if let (Optimizer::Muon { .. }, Some(role)) = (optimizer, rest.iter().find(|r| **r != WeightRole::Matrix)) {
            return Err(RecipeError::NotMatrix { place: "optimizer".into(), role: *role });
        }
        groups.push(Group { roles: rest, optimizer });
        let or_zero = |number: Option<Finite>| number.unwrap_or_default();
        let (warmup, floor) = (or_zero(self.schedule.warmup), or_zero(self.schedule.floor));
        let schedule = match self.schedule.kind {
            ScheduleKind::Constant if self.schedule.floor.is_some() => {
                return Err(RecipeError::Foreign { place: "schedule.floor".into(), optimizer: "a constant schedule" });
            }
            ScheduleKind::Constant => Schedule::Constant { warmup },
            ScheduleKind::Cosine => Schedule::Cosine { warmup, floor },
            ScheduleKind::Linear => Schedule::Linear { warmup, floor },
        };
        let loss = Loss { z_loss: or_zero(self.loss.z_loss), label_smoothing: or_zero(self.loss.label_smoothing) };
        let mut recipe = Recipe { schema: RECIPE_SCHEMA, groups, schedule, clip: self.clip, loss };
        recipe.canonicalise();
        recipe.check()?;
        Ok(recipe)
    }
}

impl OptimizerSpec {
    fn resolve(&self, place: &str) -> Result<Optimizer, RecipeError> {
        let usual = |value| Finite::new(value).unwrap_or_default();
        let Self { kind, learning_rate, beta1, beta2, epsilon, momentum, weight_decay } = self;
        let learning_rate = *learning_rate;
        let weight_decay = weight_decay.unwrap_or(usual(0.01));
        let foreign = |numbers: &[(&str, &Option<Finite>)], optimizer| {
            let stray = numbers.iter().find(|(_, number)| number.is_some());
            stray.map_or(Ok(()), |(name, _)| Err(RecipeError::Foreign { place: format!("{place}.{name}"), optimizer }))
        };
        Ok(match kind {
            OptimizerKind::Adamw => {
                foreign(&[("momentum", momentum)], "adamw")?;
                Optimizer::Adamw {
                    learning_rate,
                    beta1: beta1.unwrap_or(usual(0.9)),
                    beta2: beta2.unwrap_or(usual(0.999)),
                    epsilon: epsilon.unwrap_or(usual(1e-8)),
                    weight_decay,
                }
            }
            OptimizerKind::Lion => {
                foreign(&[("momentum", momentum), ("epsilon", epsilon)], "lion")?;
                Optimizer::Lion {
                    learning_rate,
                    beta1: beta1.unwrap_or(usual(0.9)),
                    beta2: beta2.unwrap_or(usual(0.99)),
                    weight_decay,
                }
            }
            OptimizerKind::Muon => {
                foreign(&[("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon)], "muon")?;
                Optimizer::Muon { learning_rate, momentum: momentum.unwrap_or(usual(0.95)), weight_decay }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Recipe, RecipeError> {
        RecipeSpec::read(text.as_bytes(), "recipe.yaml")?.resolve()
    }

    const MUON: &str = "recipe: prism.recipe/1
optimizer: { kind: adamw, learning_rate: 0.01, beta2: 0.95, weight_decay: 0.0 }
groups:
  - { roles: [matrix], optimizer: { kind: muon, learning_rate: 0.02 } }
schedule: { kind: linear, warmup: 0.05 }
clip: 1.0
";

    #[test]
    fn a_recipe_is_filled_in_and_every_role_is_trained_once() {
        let recipe = read(MUON).unwrap();
        let roles: Vec<_> = recipe.groups.iter().map(|group| group.roles.clone()).collect();
        assert_eq!(roles, [vec![WeightRole::Embedding, WeightRole::Gain, WeightRole::Bias], vec![WeightRole::Matrix]]);
        let number = |value| Finite::new(value).unwrap();
        let muon = Optimizer::Muon { learning_rate: number(0.02), momentum: number(0.95), weight_decay: number(0.01) };
        assert_eq!(recipe.groups[1].optimizer, muon);
        assert_eq!(recipe.schedule, Schedule::Linear { warmup: number(0.05), floor: Finite::ZERO });
        assert_eq!(Recipe::from_canonical_bytes(&recipe.canonical_bytes()).unwrap(), recipe);
    }

    #[test]
    fn recipes_that_train_alike_have_the_same_bytes() {
        let split = MUON.replace(
            "groups:\n",
            "groups:
  - { roles: [bias, gain], optimizer: { kind: adamw, learning_rate: 1e-2, beta2: 0.95, weight_decay: 0, beta1: 0.9 } }\n",
        );
        assert_ne!(split, MUON);
        assert_eq!(read(&split).unwrap().canonical_bytes(), read(MUON).unwrap().canonical_bytes());
        assert_ne!(read(&MUON.replace("0.02", "0.03")).unwrap().digest(), read(MUON).unwrap().digest());
    }

    #[test]
    fn the_reference_recipe_keeps_its_own_rules() {
        let reference = Recipe::reference();
        reference.check().unwrap();
        assert_eq!(Recipe::from_canonical_bytes(&reference.canonical_bytes()).unwrap(), reference);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            ("learning_rate: 0.02", "learning_rate: 2", "`groups[1].optimizer.learning_rate` is 2"),
            ("learning_rate: 0.02", "learning_rate: 0", "must be above 0"),
            ("learning_rate: 0.02", "learning_rate: .nan", "recipe.yaml"),
            ("beta2: 0.95", "beta2: 1.0", "beta2` is 1"),
            ("beta2: 0.95", "momentum: 0.9", "`optimizer.momentum` doesn't belong to adamw"),
            ("roles: [matrix]", "roles: [matrix, bias]", "muon trains matrices only, not bias weights"),
            ("roles: [matrix]", "roles: [matrix, matrix]", "matrix weights are trained by 2 groups"),
            ("clip: 1.0", "clip: -1", "`clip` is -1"),
            ("clip: 1.0", "clop: 1", "clop"),
            ("kind: linear", "kind: constant, floor: 0.1", "`schedule.floor` doesn't belong to a constant schedule"),
            ("prism.recipe/1", "prism.recipe/2", "expected \"prism.recipe/1\""),
            ("kind: adamw", "kind: muon", "muon"),
            ("warmup: 0.05", "warmup: 1.05", "`schedule.warmup` is 1.05"),
        ];
        for (from, to, expected) in cases {
            let text = MUON.replacen(from, to, 1);
            assert_ne!(text, MUON, "{from}");
            let error = read(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
    }

    #[test]
    fn foreign_canonical_bytes_are_checked_again() {
        let good = String::from_utf8(Recipe::reference().canonical_bytes()).unwrap();
        for (from, to) in [("0.001", "7.5"), ("{\"schema\":1", "{ \"schema\":1"), ("\"schema\":1", "\"schema\":9")] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(Recipe::from_canonical_bytes(bad.as_bytes()).is_err(), "{to}");
        }
        assert!(Recipe::from_canonical_bytes(&vec![b' '; 20_000]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = RecipeSpec::read(&bytes, "recipe.yaml").map(|spec| spec.resolve());
            let _ = Recipe::from_canonical_bytes(&bytes);
        }
    }
}
