//! The bytes that identify a recipe, and the rules that every recipe keeps.
use super::{Optimizer, RECIPE_SCHEMA, ROLES, Recipe, RecipeError, Schedule};
use crate::graph::resolved::WeightRole;
use prism_core::{Digest, Finite};

/// Most bytes of a canonical recipe that are read.
const MAX_CANONICAL_BYTES: usize = 16_384;

impl Recipe {
    /// The bytes that identify the recipe: compact JSON, fields in declaration order.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Numbers are finite by type and there are no maps: nothing that JSON can't carry.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads canonical bytes, from anywhere: every rule is checked again, and that the bytes are the canonical ones.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn from_canonical_bytes(bytes: &[u8]) -> Result<Self, RecipeError> {
        if bytes.len() > MAX_CANONICAL_BYTES {
            return Err(RecipeError::NotCanonical(format!("longer than {MAX_CANONICAL_BYTES} bytes")));
        }
        let recipe: Self = serde_json::from_slice(bytes).map_err(|e| RecipeError::NotCanonical(e.to_string()))?;
        recipe.check()?;
        if recipe.canonical_bytes() == bytes {
            return Ok(recipe);
        }
        Err(RecipeError::NotCanonical("written in another way".into()))
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }

    /// Checks every number against its range, and that each role is trained by exactly one group.
    ///
    /// # Errors
    /// The first rule broken.
    pub fn check(&self) -> Result<(), RecipeError> {
        if self.schema != RECIPE_SCHEMA {
            return Err(RecipeError::NotCanonical(format!("schema {} is not known here", self.schema)));
        }
        for role in ROLES {
            let groups = self.groups.iter().flat_map(|group| &group.roles).filter(|r| **r == role).count();
            if groups != 1 {
                return Err(RecipeError::Role { role, groups });
            }
        }
        for (index, group) in self.groups.iter().enumerate() {
            let place = format!("groups[{index}].optimizer");
            let ordered = group.roles.is_sorted_by_key(|role| ROLES.iter().position(|r| r == role));
            if group.roles.is_empty() || !ordered {
                return Err(RecipeError::NotCanonical(format!("roles of groups[{index}] are empty or out of order")));
            }
            let stray = group.roles.iter().find(|role| **role != WeightRole::Matrix);
            if let (Optimizer::Muon { .. }, Some(role)) = (group.optimizer, stray) {
                return Err(RecipeError::NotMatrix { place, role: *role });
            }
            check_optimizer(&place, &group.optimizer)?;
        }
        match self.schedule {
            Schedule::Constant { warmup } => in_range("schedule.warmup", warmup, 0.0, 1.0, "0 to 1")?,
            Schedule::Cosine { warmup, floor } | Schedule::Linear { warmup, floor } => {
                in_range("schedule.warmup", warmup, 0.0, 1.0, "0 to 1")?;
                in_range("schedule.floor", floor, 0.0, 1.0, "0 to 1")?;
            }
        }
        if let Some(clip) = self.clip {
            in_range("clip", clip, 1e-6, 1e6, "0.000001 to 1000000")?;
        }
        in_range("loss.z_loss", self.loss.z_loss, 0.0, 1.0, "0 to 1")?;
        in_range("loss.label_smoothing", self.loss.label_smoothing, 0.0, 0.5, "0 to 0.5")
    }

    /// The canonical form of groups: roles in order, groups that train alike as one, in the order of their first role.
    pub(super) fn canonicalise(&mut self) {
        let mut merged: Vec<super::Group> = Vec::new();
        for group in self.groups.drain(..).filter(|group| !group.roles.is_empty()) {
            match merged.iter_mut().find(|other| other.optimizer == group.optimizer) {
                Some(other) => other.roles.extend(group.roles),
                None => merged.push(group),
            }
        }
        for group in &mut merged {
            group.roles.sort_unstable();
        }
        merged.sort_by(|a, b| a.roles.cmp(&b.roles));
        self.groups = merged;
    }
}

fn check_optimizer(place: &str, optimizer: &Optimizer) -> Result<(), RecipeError> {
    let check = |name: &str, value, low, high, range| in_range(&format!("{place}.{name}"), value, low, high, range);
    let (learning_rate, weight_decay) = match optimizer {
        Optimizer::Adamw { learning_rate, beta1, beta2, epsilon, weight_decay } => {
            check("beta1", *beta1, 0.0, 0.9999, "0 to 0.9999")?;
            check("beta2", *beta2, 0.0, 0.999_999, "0 to 0.999999")?;
            check("epsilon", *epsilon, 1e-16, 1e-2, "1e-16 to 0.01")?;
            (learning_rate, weight_decay)
        }
        Optimizer::Lion { learning_rate, beta1, beta2, weight_decay } => {
            check("beta1", *beta1, 0.0, 0.9999, "0 to 0.9999")?;
            check("beta2", *beta2, 0.0, 0.999_999, "0 to 0.999999")?;
            (learning_rate, weight_decay)
        }
        Optimizer::Muon { learning_rate, momentum, weight_decay } => {
            check("momentum", *momentum, 0.0, 0.9999, "0 to 0.9999")?;
            (learning_rate, weight_decay)
        }
    };
    check("learning_rate", *learning_rate, f64::MIN_POSITIVE, 1.0, "above 0, at most 1")?;
    check("weight_decay", *weight_decay, 0.0, 1.0, "0 to 1")
}

fn in_range(place: &str, value: Finite, low: f64, high: f64, range: &'static str) -> Result<(), RecipeError> {
    if (low..=high).contains(&value.get()) {
        return Ok(());
    }
    Err(RecipeError::Range { place: place.to_owned(), value, range })
}
