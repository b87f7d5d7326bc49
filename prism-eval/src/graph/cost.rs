//! What an architecture costs, computed from its description alone. Counts saturate at the largest `u64`.
use super::{
    draft::{Draft, index},
    resolved::{Op, ResolvedGraph, ValueId, WeightId},
    shape::Shape,
};

/// Number of trained values; a tied weight counts once.
#[must_use]
pub fn parameters(graph: &ResolvedGraph) -> u64 {
    saturate(graph.weights.iter().map(|weight| values(&weight.shape)).fold(0, u128::saturating_add))
}

/// Floating-point operations to train on one token: six for each weight of each matrix product (forward and both
/// backward products; Kaplan et al. 2020), and `6 · (query width + value width) · sequence` for each attention, the
/// scores of the whole row counted. Norms, activations, recurrences and sums are left out.
#[must_use]
pub fn flops_per_token(graph: &ResolvedGraph) -> u64 {
    let widths = Widths::of(graph);
    let sequence = u128::from(graph.sequence);
    let steps = graph.steps.iter().map(|step| match &step.op {
        Op::Linear { weight, .. } | Op::Convolution { weight, .. } => widths.weight(*weight).saturating_mul(6),
        Op::Attention { heads, kv_heads, .. } => {
            let queries = widths.inputs(&step.inputs, 0);
            // Each value head serves `heads / kv_heads` query heads.
            let group = u128::from(*heads) / u128::from(*kv_heads).max(1);
            let values = widths.inputs(&step.inputs, 2).saturating_mul(group);
            (queries + values).saturating_mul(6).saturating_mul(sequence)
        }
        _ => 0,
    });
    saturate(steps.fold(0, u128::saturating_add))
}

/// An upper estimate of the memory that training takes, in bytes of `f32`: weights with gradients, two moments and one
/// temporary; for each step its result and its gradient, and what its backward pass keeps; scores and probabilities of
/// attention; four copies of the logits for the loss.
#[must_use]
pub fn peak_bytes(graph: &ResolvedGraph, batch: u32, sequence: u32) -> u64 {
    let widths = Widths::of(graph);
    let positions = u128::from(batch) * u128::from(sequence);
    let mut total = u128::from(parameters(graph)).saturating_mul(5);
    for (at, step) in graph.steps.iter().enumerate() {
        let copies = match step.op {
            Op::Embedding { .. } | Op::Add | Op::Shift { .. } => 2,
            Op::LearnedPositions { .. } | Op::Linear { .. } | Op::Multiply => 3,
            Op::Activation { .. } => 5,
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => 6,
            Op::Recurrence => 8,
            Op::Convolution { .. } => 5,
            Op::Attention { .. } => 12,
        };
        let own = widths.value(at + 1).saturating_mul(positions).saturating_mul(copies);
        let scores = match step.op {
            Op::Attention { heads, .. } => {
                u128::from(heads).saturating_mul(positions).saturating_mul(u128::from(sequence)).saturating_mul(4)
            }
            _ => 0,
        };
        total = total.saturating_add(own).saturating_add(scores);
    }
    let logits = positions.saturating_mul(u128::from(graph.vocabulary)).saturating_mul(4);
    saturate(total.saturating_add(logits).saturating_mul(4))
}

/// Depth: on the longest way from the tokens to the output, the number of attentions and recurrences, or of activations,
/// whichever is more. A usual transformer block counts 1, however it is spelled.
#[must_use]
pub fn layers(graph: &ResolvedGraph) -> u32 {
    let mut depths: Vec<(u32, u32)> = vec![(0, 0)];
    for step in &graph.steps {
        let inputs = step.inputs.iter().filter_map(|id| depths.get(index(id.0)));
        let (mixers, activations) =
            inputs.fold((0, 0), |deepest, depth| (depth.0.max(deepest.0), depth.1.max(deepest.1)));
        depths.push(match step.op {
            Op::Attention { .. } | Op::Recurrence => (mixers + 1, activations),
            Op::Activation { .. } => (mixers, activations + 1),
            _ => (mixers, activations),
        });
    }
    depths.get(index(graph.output.0)).map_or(0, |(mixers, activations)| (*mixers).max(*activations))
}

struct Widths<'a> {
    graph: &'a ResolvedGraph,
    values: Vec<u128>,
}

impl<'a> Widths<'a> {
    /// Of a graph whose shapes don't fit there are none: its cost is that of its weights.
    fn of(graph: &'a ResolvedGraph) -> Self {
        let width = |shape: &Shape| match shape {
            Shape::Tokens => 1,
            Shape::Hidden(width) => u128::from(*width),
        };
        let values = Draft::of(graph).map(|draft| draft.shapes().iter().map(width).collect()).unwrap_or_default();
        Self { graph, values }
    }

    fn value(&self, at: usize) -> u128 {
        self.values.get(at).copied().unwrap_or_default()
    }

    fn inputs(&self, inputs: &[ValueId], at: usize) -> u128 {
        inputs.get(at).map_or(0, |id| self.value(index(id.0)))
    }

    fn weight(&self, id: WeightId) -> u128 {
        self.graph.weights.get(index(id.0)).map_or(0, |weight| values(&weight.shape))
    }
}

fn values(shape: &[u32]) -> u128 {
    shape.iter().map(|size| u128::from(*size)).fold(1, u128::saturating_mul)
}

fn saturate(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}
