//! An architecture with every number filled in, in canonical order: what is trained, hashed and drawn.
use prism_core::Finite;
use serde::{Deserialize, Serialize};

/// The version of [`ResolvedGraph`] that this crate writes.
pub const GRAPH_SCHEMA: u32 = 1;

/// A value of the graph: 0 is the tokens, `n` is the result of step `n - 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ValueId(pub u32);

/// A weight of the graph: its index in [`ResolvedGraph::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WeightId(pub u32);

/// The whole architecture. Names are gone, `repeat` is unrolled, composites are lowered to the operators below, and
/// weights and steps stand in canonical order: equal graphs have equal bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedGraph {
    /// [`GRAPH_SCHEMA`].
    pub schema: u32,
    /// Token ids, and width of the output.
    pub vocabulary: u32,
    /// Longest row, in predicted positions.
    pub sequence: u32,
    /// All weights. A weight that several steps name is tied.
    pub weights: Vec<Weight>,
    /// All steps, each after its inputs.
    pub steps: Vec<Step>,
    /// The logits: `[batch, sequence, vocabulary]`.
    pub output: ValueId,
}

/// One weight tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weight {
    /// Sizes of its one or two dimensions.
    pub shape: Vec<u32>,
    /// Its values before training.
    pub init: Init,
    /// What it is, for the groups of a recipe.
    pub role: WeightRole,
}

/// Values before training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Independent normal draws around 0.
    Normal {
        /// Standard deviation.
        deviation: Finite,
    },
}

/// What a weight is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRole {
    /// A table looked up by token or position; also a tied output.
    Embedding,
    /// A matrix inside the network.
    Matrix,
    /// A gain of a norm.
    Gain,
    /// A bias.
    Bias,
}

/// One operator applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which operator.
    pub op: Op,
    /// On which values.
    pub inputs: Vec<ValueId>,
}

/// The operators that run. Hidden values are `[batch, sequence, width]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Tokens to rows of a table `[vocabulary, width]`.
    Embedding {
        /// The table.
        table: WeightId,
    },
    /// Adds row `t` of a table `[sequence, width]` at position `t`.
    LearnedPositions {
        /// The table.
        table: WeightId,
    },
    /// `x · W + b`.
    Linear {
        /// `[in, out]`, or `[out, in]` when transposed.
        weight: WeightId,
        /// `[out]`.
        bias: Option<WeightId>,
        /// Whether the weight is used transposed: a tied embedding.
        transposed: bool,
    },
    /// Ba, Kiros, Hinton 2016, over the width.
    LayerNorm {
        /// `[width]`.
        gain: WeightId,
        /// `[width]`.
        bias: Option<WeightId>,
        /// Added to the variance.
        epsilon: Finite,
    },
    /// Zhang, Sennrich 2019, over the width.
    RmsNorm {
        /// `[width]`.
        gain: WeightId,
        /// Added to the mean square.
        epsilon: Finite,
    },
    /// Causal softmax attention over inputs `q`, `k`, `v`, scaled by `1 / sqrt(head width)`. With fewer key-value heads
    /// than heads, each serves a group of heads (Ainslie et al. 2023).
    Attention {
        /// Query heads; divides the width of `q`.
        heads: u32,
        /// Key and value heads; divides `heads`.
        kv_heads: u32,
        /// How positions enter.
        positions: Positions,
    },
    /// Sum of two values.
    Add,
    /// Product of two values, element by element.
    Multiply,
    /// An activation, element by element.
    Activation {
        /// Which.
        function: Activation,
    },
    /// The value `by` positions earlier, zeros before the start. Negative looks ahead.
    Shift {
        /// Positions.
        by: i32,
    },
    /// A causal convolution of each channel by itself: at position `t` the sum over `j` of row `j` of the weight times the
    /// value at `t - j`; zeros before the start.
    Convolution {
        /// `[kernel, width]`.
        weight: WeightId,
        /// `[width]`.
        bias: Option<WeightId>,
    },
    /// The gated linear recurrence of inputs `gate`, `candidate`, element by element: `h_t = (1 - z_t) h_(t-1) + z_t c_t`
    /// with `z = sigmoid(gate)` and `h` 0 before the start (Martin, Cundy 2018; minGRU, Feng et al. 2024).
    Recurrence,
}

/// How positions enter attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Positions {
    /// Not at all.
    None,
    /// Rotations of query and key (Su et al. 2021), pairing dimension `i` with `i + head width / 2`.
    Rotary {
        /// Base of the frequencies; 10000 is usual.
        base: Finite,
    },
}

/// An activation function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// GELU, tanh approximation (Hendrycks, Gimpel 2016).
    Gelu,
    /// `max(0, x)`.
    Relu,
    /// `max(0, x)²` (So et al. 2021).
    ReluSquared,
    /// `x · sigmoid(x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}
