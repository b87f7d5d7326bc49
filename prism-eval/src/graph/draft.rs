//! An architecture under construction: checked step by step, in any order that works, sums and products of any length.
use super::{
    resolved::{Op, ResolvedGraph, Step, ValueId, WeightId},
    shape::{Shape, ShapeError, Shapes, infer},
};

/// The value that the tokens are.
pub(crate) const TOKENS: ValueId = ValueId(0);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Draft {
    pub(crate) vocabulary: u32,
    pub(crate) sequence: u32,
    pub(crate) weights: Vec<Vec<u32>>,
    pub(crate) steps: Vec<Step>,
    pub(crate) output: ValueId,
    /// Shapes of the values: one more than steps.
    shapes: Vec<Shape>,
}

impl Shapes for Draft {
    fn value(&self, id: ValueId) -> Option<Shape> {
        self.shapes.get(index(id.0)).copied()
    }
    fn weight(&self, id: WeightId) -> Option<&[u32]> {
        self.weights.get(index(id.0)).map(Vec::as_slice)
    }
    fn vocabulary(&self) -> u32 {
        self.vocabulary
    }
    fn sequence(&self) -> u32 {
        self.sequence
    }
}

impl Draft {
    pub(crate) fn new(vocabulary: u32, sequence: u32) -> Self {
        let (weights, steps, shapes) = (Vec::new(), Vec::new(), vec![Shape::Tokens]);
        Self { vocabulary, sequence, weights, steps, output: TOKENS, shapes }
    }

    /// The draft of a resolved graph: every step's inputs, weights and shapes are checked.
    pub(crate) fn of(graph: &ResolvedGraph) -> Result<Self, ShapeError> {
        let mut draft = Self::new(graph.vocabulary, graph.sequence);
        draft.weights = graph.weights.iter().map(|weight| weight.shape.clone()).collect();
        for step in &graph.steps {
            if matches!(step.op, Op::Add | Op::Multiply) && step.inputs.len() != 2 {
                return Err(ShapeError::Inputs { expected: "2", found: step.inputs.len() });
            }
            draft.push(step.op.clone(), step.inputs.clone())?;
        }
        draft.output = graph.output;
        draft.value(draft.output).ok_or(ShapeError::Missing)?;
        Ok(draft)
    }

    pub(crate) fn weight(&mut self, shape: Vec<u32>) -> WeightId {
        self.weights.push(shape);
        WeightId(count(self.weights.len()) - 1)
    }

    pub(crate) fn push(&mut self, op: Op, inputs: Vec<ValueId>) -> Result<ValueId, ShapeError> {
        let shape = infer(&op, &inputs, self)?;
        self.steps.push(Step { op, inputs });
        self.shapes.push(shape);
        Ok(ValueId(count(self.steps.len())))
    }

    /// The step that makes a value; none makes the tokens.
    pub(crate) fn producer(&self, id: ValueId) -> Option<usize> {
        index(id.0).checked_sub(1).filter(|step| *step < self.steps.len())
    }

    /// The shapes of the values, the tokens first.
    pub(crate) fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Which steps the output needs.
    pub(crate) fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.steps.len()];
        let mut needed: Vec<usize> = self.producer(self.output).into_iter().collect();
        while let Some(step) = needed.pop() {
            let Some(mark) = live.get_mut(step) else { continue };
            if std::mem::replace(mark, true) {
                continue;
            }
            let inputs = self.steps.get(step).map(|step| step.inputs.as_slice()).unwrap_or_default();
            needed.extend(inputs.iter().filter_map(|id| self.producer(*id)));
        }
        live
    }
}

impl Op {
    /// Whether the order of its inputs means nothing.
    pub(crate) fn commutes(&self) -> bool {
        matches!(self, Self::Add | Self::Multiply)
    }

    /// The weights that it names, each in a place of its own.
    pub(crate) fn weights(&self) -> [Option<WeightId>; 2] {
        match self {
            Self::Embedding { table } | Self::LearnedPositions { table } => [Some(*table), None],
            Self::Linear { weight, bias, .. } => [Some(*weight), *bias],
            Self::LayerNorm { gain, bias, .. } => [Some(*gain), *bias],
            Self::RmsNorm { gain, .. } => [Some(*gain), None],
            Self::Convolution { weight, bias } => [Some(*weight), *bias],
            Self::Attention { .. }
            | Self::Add
            | Self::Multiply
            | Self::Activation { .. }
            | Self::Shift { .. }
            | Self::Recurrence => [None, None],
        }
    }

    /// The same operator with other weights.
    pub(crate) fn renamed(&self, mut rename: impl FnMut(WeightId) -> WeightId) -> Self {
        let mut op = self.clone();
        match &mut op {
            Self::Embedding { table } | Self::LearnedPositions { table } => *table = rename(*table),
            Self::Linear { weight, bias, .. } | Self::Convolution { weight, bias } => {
                *weight = rename(*weight);
                *bias = bias.map(rename);
            }
            Self::LayerNorm { gain, bias, .. } => {
                *gain = rename(*gain);
                *bias = bias.map(rename);
            }
            Self::RmsNorm { gain, .. } => *gain = rename(*gain),
            Self::Attention { .. }
            | Self::Add
            | Self::Multiply
            | Self::Activation { .. }
            | Self::Shift { .. }
            | Self::Recurrence => {}
        }
        op
    }
}

/// Ids are 32 bits wide and so are indices on every system that this runs on.
pub(crate) fn index(id: u32) -> usize {
    usize::try_from(id).unwrap_or(usize::MAX)
}

/// Numbers of steps and weights are bounded far below 32 bits while reading.
pub(crate) fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
