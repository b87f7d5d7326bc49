//! A resolved graph made ready to run: shapes checked, costs counted, the last reader of every value known.
use crate::graph::resolved::{GRAPH_SCHEMA, Op, Positions, ResolvedGraph, Step, ValueId, Weight, WeightId};
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
    WeightShape(usize),
    /// A step that reads what is not there yet.
    #[error("step {0} reads a value that no earlier step makes")]
    Order(usize),
    /// A step with too many or too few inputs.
    #[error("step {0} has the wrong number of inputs")]
    Arity(usize),
    /// Inputs or weights of a step do not fit each other.
    #[error("step {step}: {what}")]
    Shape {
        /// Which step.
        step: usize,
        /// What does not fit.
        what: &'static str,
    },
    /// Logits that depend on later positions.
    #[error("output looks {0} positions ahead")]
    LooksAhead(i64),
    /// The result is no logits.
    #[error("output must be a hidden value as wide as the vocabulary")]
    Output,
    /// Sizes beyond what 64 bits count.
    #[error("graph is too large to count")]
    Overflow,
}

impl From<NetworkError> for Error {
    fn from(error: NetworkError) -> Self {
        Self::new(Kind::Invalid, Fault::Miner, "graph cannot be run").because(error)
    }
}

/// What a graph costs, counted from its shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Trained numbers; tied weights once.
    pub parameters: u64,
    /// Multiplications and additions of the matrix products per trained token: forward, and twice that backward.
    /// Attention counts all `sequence` keys, masked or not, as it is computed.
    pub flops_per_token: u64,
    /// Bytes of values kept per token between forward and backward, and of the largest step's working space.
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
    /// The value whose size stands for the activations': see [`Network::stream`].
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
        let mut count = Counter::default();
        for (index, weight) in graph.weights.iter().enumerate() {
            let (rows, columns) = extent(weight).ok_or(NetworkError::WeightShape(index))?;
            count.parameters(rows, columns)?;
        }
        // `None` is the tokens themselves.
        let mut widths: Vec<Option<u64>> = vec![None];
        // How many positions later than its own a value may see; attention sees all before.
        let mut ahead: Vec<i64> = vec![0];
        for (index, step) in graph.steps.iter().enumerate() {
            let inputs: Option<Vec<_>> = step.inputs.iter().map(|v| widths.get(v.0 as usize).copied()).collect();
            let inputs = inputs.ok_or(NetworkError::Order(index))?;
            let width = width(&graph, index, step, &inputs)?;
            count.step(&graph, step, &inputs, width)?;
            let reach = step.inputs.iter().filter_map(|value| ahead.get(value.0 as usize)).max().copied();
            let shift = if let Op::Shift { by } = step.op { i64::from(by) } else { 0 };
            ahead.push(reach.unwrap_or(0).saturating_sub(shift));
            widths.push(Some(width));
        }
        let output = widths.get(graph.output.0 as usize).copied().flatten();
        if output != Some(u64::from(graph.vocabulary)) {
            return Err(NetworkError::Output);
        }
        match ahead.get(graph.output.0 as usize) {
            Some(&reach) if reach > 0 => return Err(NetworkError::LooksAhead(reach)),
            _ => {}
        }
        let cost = count.finish(&graph)?;
        let narrow = |width: Option<u64>| usize::try_from(width.unwrap_or(0)).map_err(|_| NetworkError::Overflow);
        let widths = widths.into_iter().map(narrow).collect::<Result<_, _>>()?;
        Ok(Self { widths, last: last_reads(&graph), stream: stream(&graph), cost, graph })
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
pub(super) fn extent(weight: &Weight) -> Option<(u64, u64)> {
    let (rows, columns) = match weight.shape.as_slice() {
        [columns] => (1, *columns),
        [rows, columns] => (*rows, *columns),
        _ => return None,
    };
    (rows > 0 && columns > 0).then(|| (u64::from(rows), u64::from(columns)))
}

/// Checks one step and gives the width of its result.
fn width(graph: &ResolvedGraph, index: usize, step: &Step, inputs: &[Option<u64>]) -> Result<u64, NetworkError> {
    let refuse = |what| Err(NetworkError::Shape { step: index, what });
    let shape = |id: WeightId| {
        let weight = graph.weights.get(id.0 as usize).and_then(extent);
        weight.ok_or(NetworkError::Shape { step: index, what: "names a weight that is not there" })
    };
    if let Op::Embedding { table } = step.op {
        let [None] = inputs else { return Err(NetworkError::Arity(index)) };
        let (rows, columns) = shape(table)?;
        return if rows == u64::from(graph.vocabulary) { Ok(columns) } else { refuse("table needs a row per token") };
    }
    let hidden: Option<Vec<u64>> = inputs.iter().copied().collect();
    let Some(hidden) = hidden else { return refuse("reads tokens as a hidden value") };
    match (&step.op, hidden.as_slice()) {
        (Op::LearnedPositions { table }, &[x]) => {
            if shape(*table)? != (u64::from(graph.sequence), x) {
                return refuse("table needs a row per position, as wide as the value");
            }
            Ok(x)
        }
        (Op::Linear { weight, bias, transposed }, &[x]) => {
            let (rows, columns) = shape(*weight)?;
            let (from, to) = if *transposed { (columns, rows) } else { (rows, columns) };
            if from != x {
                return refuse("weight does not fit the width of the value");
            }
            match bias {
                Some(bias) if shape(*bias)? != (1, to) => refuse("bias does not fit the width of the result"),
                _ => Ok(to),
            }
        }
        (Op::LayerNorm { gain, bias, epsilon }, &[x]) => {
            let fits = shape(*gain)? == (1, x) && bias.is_none_or(|b| shape(b) == Ok((1, x)));
            if fits && epsilon.get() >= 0.0 { Ok(x) } else { refuse("norm does not fit the width of the value") }
        }
        (Op::RmsNorm { gain, epsilon }, &[x]) => {
            let fits = shape(*gain)? == (1, x) && epsilon.get() >= 0.0;
            if fits { Ok(x) } else { refuse("norm does not fit the width of the value") }
        }
        (Op::Attention { heads, kv_heads, positions }, &[q, k, v]) => {
            let (heads, kv_heads) = (u64::from(*heads), u64::from(*kv_heads));
            if heads == 0 || kv_heads == 0 || heads % kv_heads != 0 {
                return refuse("key-value heads must divide the heads");
            }
            if q % heads != 0 || k % kv_heads != 0 || v % kv_heads != 0 || q / heads != k / kv_heads {
                return refuse("heads must divide the widths, and query and key heads be equally wide");
            }
            match positions {
                Positions::Rotary { .. } if (q / heads) % 2 != 0 => refuse("rotary positions need an even head width"),
                Positions::Rotary { base } if base.get() <= 0.0 => refuse("rotary base must be above 0"),
                _ => (v / kv_heads).checked_mul(heads).ok_or(NetworkError::Overflow),
            }
        }
        (Op::Add | Op::Multiply, &[a, b]) => {
            if a == b {
                Ok(a)
            } else {
                refuse("both values must be equally wide")
            }
        }
        (Op::Activation { .. } | Op::Shift { .. }, &[x]) => Ok(x),
        _ => Err(NetworkError::Arity(index)),
    }
}

/// Sums in checked arithmetic.
#[derive(Debug, Default)]
struct Counter {
    parameters: u64,
    forward: u64,
    kept: u64,
    working: u64,
}

impl Counter {
    fn parameters(&mut self, rows: u64, columns: u64) -> Result<(), NetworkError> {
        let product = rows.checked_mul(columns).ok_or(NetworkError::Overflow)?;
        self.parameters = self.parameters.checked_add(product).ok_or(NetworkError::Overflow)?;
        Ok(())
    }

    fn step(
        &mut self,
        graph: &ResolvedGraph,
        step: &Step,
        inputs: &[Option<u64>],
        width: u64,
    ) -> Result<(), NetworkError> {
        let sequence = u128::from(graph.sequence);
        let input = |index: usize| u128::from(inputs.get(index).copied().flatten().unwrap_or(0));
        let width = u128::from(width);
        let (flops, kept, working) = match &step.op {
            Op::Linear { .. } => (2 * input(0) * width, width, width),
            Op::Attention { heads, .. } => {
                let scores = u128::from(*heads) * sequence;
                // Query, key and value may be copied by rotation and grouping; one matrix of probabilities stays, and
                // three are alive while the gradient of the scores is made.
                let copies = input(0) + input(1) + input(2) + 2 * width;
                (2 * sequence * (input(0) + width), copies + scores, 3 * scores + copies)
            }
            Op::LayerNorm { .. } | Op::RmsNorm { .. } => (0, 2 * width, 2 * width),
            Op::Activation { .. } => (0, width, 4 * width),
            _ => (0, width, width),
        };
        let narrow = |wide: u128| u64::try_from(wide).map_err(|_| NetworkError::Overflow);
        self.forward = self.forward.checked_add(narrow(flops)?).ok_or(NetworkError::Overflow)?;
        self.kept = self.kept.checked_add(narrow(kept)?).ok_or(NetworkError::Overflow)?;
        self.working = self.working.max(narrow(working)?);
        Ok(())
    }

    fn finish(self, graph: &ResolvedGraph) -> Result<Cost, NetworkError> {
        let float = 4;
        // Logits, their gradient and a copy.
        let logits = 3 * u64::from(graph.vocabulary);
        let values = self.kept.checked_add(self.working).and_then(|v| v.checked_add(logits));
        Ok(Cost {
            parameters: self.parameters,
            flops_per_token: self.forward.checked_mul(3).ok_or(NetworkError::Overflow)?,
            bytes_per_token: values.and_then(|v| v.checked_mul(float)).ok_or(NetworkError::Overflow)?,
        })
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
