//! A resolved graph made ready to run: shapes checked, memory counted, the last reader of every value known.
use crate::graph::{
    ShapeError, ahead,
    draft::Draft,
    flops_per_token, parameters,
    resolved::{GRAPH_SCHEMA, Op, ResolvedGraph, Step, ValueId, Weight},
    shape::Shape,
};
use prism_core::{Error, Fault, Kind};

/// A graph that cannot be run. A graph from this crate's resolver never gives one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Another version of the format.
    #[error("graph has schema {0}, this build runs {GRAPH_SCHEMA}")]
    Schema(u32),
    /// Nothing to predict, or no position to predict it at.
    #[error("graph needs a vocabulary and a sequence of at least 1")]
    Empty,
    /// A weight without one or two dimensions above zero.
    #[error("weight {0} needs one or two dimensions of at least 1")]
    Weight(usize),
    /// Steps, values and weights that do not fit each other.
    #[error("graph does not fit together: {0}")]
    Shape(#[from] ShapeError),
    /// Logits that depend on later positions.
    #[error("output looks {0} positions ahead")]
    LooksAhead(i64),
    /// The result is no logits.
    #[error("output must be a hidden value as wide as the vocabulary")]
    Output,
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        Self::new(Kind::Invalid, Fault::Miner, "graph cannot be run").because(error)
    }
}

/// What a graph costs, counted from its shapes; counts saturate at the largest `u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// See [`parameters`].
    pub parameters: u64,
    /// See [`flops_per_token`].
    pub flops_per_token: u64,
    /// Bytes of values that the native player keeps per token between forward and backward, and of the largest step's
    /// working space.
    pub bytes_per_token: u64,
}

/// A graph that is known to fit together.
#[derive(Debug, Clone)]
pub struct Network {
    graph: ResolvedGraph,
    /// Width of every value; 0 for the tokens.
    widths: Vec<usize>,
    /// Per step and input: whether nothing reads the value later.
    last: Vec<Vec<bool>>,
    cost: Cost,
    stream: ValueId,
}

impl Network {
    /// Checks a graph and counts its costs.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn new(graph: ResolvedGraph) -> Result<Self, NetworkError> {
        if graph.schema != GRAPH_SCHEMA {
            return Err(NetworkError::Schema(graph.schema));
        }
        if graph.vocabulary == 0 || graph.sequence == 0 {
            return Err(NetworkError::Empty);
        }
        if let Some(index) = graph.weights.iter().position(|weight| extent(weight).is_none()) {
            return Err(NetworkError::Weight(index));
        }
        let draft = Draft::of(&graph)?;
        let width = |shape: &Shape| match shape {
            Shape::Tokens => 0,
            Shape::Hidden(width) => *width as usize,
        };
        let widths: Vec<usize> = draft.shapes().iter().map(width).collect();
        if widths.get(graph.output.0 as usize) != Some(&(graph.vocabulary as usize)) {
            return Err(NetworkError::Output);
        }
        match ahead(&graph) {
            ..=0 => {}
            positions => return Err(NetworkError::LooksAhead(positions)),
        }
        let cost = Cost {
            parameters: parameters(&graph),
            flops_per_token: flops_per_token(&graph),
            bytes_per_token: bytes_per_token(&graph, &widths),
        };
        Ok(Self { last: last_reads(&graph), stream: stream(&graph), widths, cost, graph })
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &ResolvedGraph {
        &self.graph
    }

    /// What it costs.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The value whose root mean square is reported as the activations': what the last norm before the output reads,
    /// the residual stream of a usual network; without such a norm, what the output layer reads.
    #[must_use]
    pub fn stream(&self) -> ValueId {
        self.stream
    }

    /// How wide a value is; 0 for the tokens.
    pub(super) fn width(&self, value: ValueId) -> usize {
        self.widths.get(value.0 as usize).copied().unwrap_or(0)
    }

    /// Whether nothing reads the value of this input after this step.
    pub(super) fn is_last(&self, step: usize, input: usize) -> bool {
        self.last.get(step).and_then(|reads| reads.get(input)).copied().unwrap_or(false)
    }
}

/// Rows and columns of a weight; a vector is one row.
pub(super) fn extent(weight: &Weight) -> Option<(usize, usize)> {
    let (rows, columns) = match weight.shape.as_slice() {
        [columns] => (1, *columns),
        [rows, columns] => (*rows, *columns),
        _ => return None,
    };
    (rows > 0 && columns > 0).then_some((rows as usize, columns as usize))
}

/// See [`Cost::bytes_per_token`].
fn bytes_per_token(graph: &ResolvedGraph, widths: &[usize]) -> u64 {
    let (mut kept, mut working) = (0u128, 0u128);
    for (step, width) in graph.steps.iter().zip(widths.iter().skip(1)) {
        let width = *width as u128;
        let (keeps, works) = values(graph, step, width);
        kept = kept.saturating_add(keeps);
        working = working.max(works);
    }
    // Logits, their gradient and a copy; four bytes a number.
    let total = kept.saturating_add(working).saturating_add(3 * u128::from(graph.vocabulary)).saturating_mul(4);
    u64::try_from(total).unwrap_or(u64::MAX)
}

/// Numbers per token that a step keeps, and that it works with.
fn values(graph: &ResolvedGraph, step: &Step, width: u128) -> (u128, u128) {
    match &step.op {
        Op::Attention { heads, .. } => {
            let scores = u128::from(*heads).saturating_mul(u128::from(graph.sequence));
            // Query, key, value and result may be copied by rotation and grouping; one matrix of probabilities stays,
            // and three are alive while the gradient of the scores is made.
            let copies = 5 * width;
            (copies + scores, copies + 3 * scores)
        }
        Op::LayerNorm { .. } | Op::RmsNorm { .. } => (2 * width, 2 * width),
        Op::Recurrence => (4 * width, 5 * width),
        Op::Convolution { .. } => (width, 3 * width),
        Op::Activation { .. } => (2 * width, 4 * width),
        _ => (width, width),
    }
}

/// For every step and input, whether the value is read for the last time; the output is read after all steps.
fn last_reads(graph: &ResolvedGraph) -> Vec<Vec<bool>> {
    let mut read = vec![false; graph.steps.len() + 1];
    if let Some(output) = read.get_mut(graph.output.0 as usize) {
        *output = true;
    }
    let mut last: Vec<Vec<bool>> = Vec::with_capacity(graph.steps.len());
    for step in graph.steps.iter().rev() {
        // Backwards over the inputs too: of a value named twice, the later name is the last read.
        let mut reads: Vec<bool> = Vec::with_capacity(step.inputs.len());
        for value in step.inputs.iter().rev() {
            let seen = read.get_mut(value.0 as usize).is_none_or(|seen| std::mem::replace(seen, true));
            reads.push(!seen);
        }
        reads.reverse();
        last.push(reads);
    }
    last.reverse();
    last
}

/// See [`Network::stream`].
fn stream(graph: &ResolvedGraph) -> ValueId {
    let mut value = graph.output;
    while let Some(step) = (value.0 as usize).checked_sub(1).and_then(|index| graph.steps.get(index)) {
        match (&step.op, step.inputs.as_slice()) {
            (Op::LayerNorm { .. } | Op::RmsNorm { .. }, [input]) => return *input,
            (Op::Linear { .. } | Op::Activation { .. }, [input]) => value = *input,
            _ => break,
        }
    }
    value
}
