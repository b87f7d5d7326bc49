//! The numbers that an architecture may depend on, and the bounds that it is held to.
use std::collections::BTreeMap;

/// What `ctx` says: sizes that the host fixes, ceilings, and the factors of the scaling probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Number of token ids, and width of the logits.
    pub vocab_size: u32,
    /// Predicted positions per row.
    pub sequence_length: u32,
    /// Ceiling on [`layers`](super::cost::layers).
    pub max_layers: u32,
    /// Ceiling on [`parameters`](super::cost::parameters).
    pub max_parameters: u64,
    /// Asks for a model this many times as wide; 1 at the base size.
    pub width_factor: u32,
    /// Asks for a model this many times as deep; 1 at the base size.
    pub depth_factor: u32,
}

/// A map that is not a [`Context`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A number that every context has.
    #[error("context lacks `{0}`")]
    Missing(&'static str),
    /// A number outside its range.
    #[error("context has {name} = {value}")]
    Range {
        /// Which.
        name: &'static str,
        /// What it says.
        value: u64,
    },
}

impl Context {
    /// The base size, with the ceilings of the contract: 96 layers and 150,000,000 parameters.
    #[must_use]
    pub fn new(vocab_size: u32, sequence_length: u32) -> Self {
        Self {
            vocab_size,
            sequence_length,
            max_layers: 96,
            max_parameters: 150_000_000,
            width_factor: 1,
            depth_factor: 1,
        }
    }

    /// Names and values, as expressions and tasks know them.
    #[must_use]
    pub fn names(&self) -> [(&'static str, u64); 6] {
        [
            ("vocab_size", u64::from(self.vocab_size)),
            ("sequence_length", u64::from(self.sequence_length)),
            ("max_layers", u64::from(self.max_layers)),
            ("max_parameters", self.max_parameters),
            ("width_factor", u64::from(self.width_factor)),
            ("depth_factor", u64::from(self.depth_factor)),
        ]
    }

    /// The map that travels in a [`TrainTask`](prism_core::TrainTask).
    #[must_use]
    pub fn to_map(&self) -> BTreeMap<String, u64> {
        self.names().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// The context of such a map. The factors are 1 where they are missing; other keys are left alone.
    ///
    /// # Errors
    /// The first number that is missing, zero or too large.
    pub fn from_map(map: &BTreeMap<String, u64>) -> Result<Self, ContextError> {
        let get = |name: &'static str, default: Option<u64>| {
            let value = map.get(name).copied().or(default).ok_or(ContextError::Missing(name))?;
            if value == 0 { Err(ContextError::Range { name, value }) } else { Ok(value) }
        };
        let get_u32 = |name: &'static str, default: Option<u64>| {
            let value = get(name, default)?;
            u32::try_from(value).map_err(|_| ContextError::Range { name, value })
        };
        Ok(Self {
            vocab_size: get_u32("vocab_size", None)?,
            sequence_length: get_u32("sequence_length", None)?,
            max_layers: get_u32("max_layers", None)?,
            max_parameters: get("max_parameters", None)?,
            width_factor: get_u32("width_factor", Some(1))?,
            depth_factor: get_u32("depth_factor", Some(1))?,
        })
    }
}

/// Most bytes, compressed, of what a guest receives of a bundle of Python: what a table smuggled in its source can hold.
/// Only what is learnt after five hundred times as many tokens counts, so the two are set together.
pub const MAX_SOURCE_BYTES: u64 = 24 * 1024;

/// Bounds on a submission, checked before anything of it is allocated or run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most parameters.
    pub parameters: u64,
    /// Most layers.
    pub layers: u32,
    /// Most steps, after `repeat` is unrolled.
    pub steps: u32,
    /// Widest hidden value.
    pub width: u32,
    /// Most floating-point operations per trained token.
    pub flops_per_token: u64,
    /// Most bytes that training at [`Limits::batch`] rows may take, as estimated.
    pub peak_bytes: u64,
    /// Rows per step that the estimate of memory is made for.
    pub batch: u32,
    /// Most bytes, compressed, of what a guest receives of a bundle of Python.
    pub source_bytes: u64,
}

impl Default for Limits {
    /// The ceilings of the contract, on a machine of 16 GiB.
    fn default() -> Self {
        Self {
            parameters: 150_000_000,
            layers: 96,
            steps: 2048,
            width: 65_536,
            flops_per_token: 2_000_000_000_000,
            peak_bytes: 16 << 30,
            batch: 4,
            source_bytes: MAX_SOURCE_BYTES,
        }
    }
}

impl Limits {
    /// These limits, lowered to the ceilings of a context.
    #[must_use]
    pub fn within(mut self, context: &Context) -> Self {
        self.parameters = self.parameters.min(context.max_parameters);
        self.layers = self.layers.min(context.max_layers);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_its_map() {
        let context = Context { width_factor: 3, ..Context::new(256, 128) };
        assert_eq!(Context::from_map(&context.to_map()), Ok(context));
    }

    #[test]
    fn a_map_without_a_number_or_with_zero_is_refused_by_name() {
        let mut map = Context::new(256, 128).to_map();
        map.insert("vocab_size".into(), 0);
        assert_eq!(Context::from_map(&map), Err(ContextError::Range { name: "vocab_size", value: 0 }));
        map.remove("vocab_size");
        assert_eq!(Context::from_map(&map), Err(ContextError::Missing("vocab_size")));
        map.insert("vocab_size".into(), 1 << 40);
        assert_eq!(Context::from_map(&map), Err(ContextError::Range { name: "vocab_size", value: 1 << 40 }));
    }
}
