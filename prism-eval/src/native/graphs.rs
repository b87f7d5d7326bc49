//! Graphs and recipes for the tests of this folder.
use crate::{
    graph::resolved::{
        Activation, GRAPH_SCHEMA, Init, Op, Positions, ResolvedGraph, Step, ValueId, Weight, WeightId, WeightRole,
    },
    recipe::{Group, Loss, Optimizer, RECIPE_SCHEMA, Recipe, Schedule},
};
use prism_core::Finite;

pub(crate) fn finite(value: f64) -> Finite {
    Finite::new(value).unwrap()
}

/// Writes a graph step by step; values are numbered as they are made.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) graph: ResolvedGraph,
    deviation: f64,
}

impl Draft {
    pub(crate) fn new(vocabulary: u32, sequence: u32, deviation: f64) -> Self {
        let (weights, steps, output) = (vec![], vec![], ValueId(0));
        Self { graph: ResolvedGraph { schema: GRAPH_SCHEMA, vocabulary, sequence, weights, steps, output }, deviation }
    }

    pub(crate) fn weight(&mut self, shape: &[u32], role: WeightRole) -> WeightId {
        let init = match role {
            WeightRole::Gain => Init::Ones,
            WeightRole::Bias => Init::Zeros,
            _ => Init::Normal { deviation: finite(self.deviation) },
        };
        self.graph.weights.push(Weight { shape: shape.to_vec(), init, role });
        WeightId(self.graph.weights.len() as u32 - 1)
    }

    pub(crate) fn step(&mut self, op: Op, inputs: &[ValueId]) -> ValueId {
        self.graph.steps.push(Step { op, inputs: inputs.to_vec() });
        self.graph.output = ValueId(self.graph.steps.len() as u32);
        self.graph.output
    }

    pub(crate) fn embedding(&mut self, width: u32) -> (WeightId, ValueId) {
        let table = self.weight(&[self.graph.vocabulary, width], WeightRole::Embedding);
        (table, self.step(Op::Embedding { table }, &[ValueId(0)]))
    }

    pub(crate) fn learned_positions(&mut self, width: u32, x: ValueId) -> ValueId {
        let table = self.weight(&[self.graph.sequence, width], WeightRole::Embedding);
        self.step(Op::LearnedPositions { table }, &[x])
    }

    pub(crate) fn linear(&mut self, from: u32, to: u32, bias: bool, x: ValueId) -> ValueId {
        let weight = self.weight(&[from, to], WeightRole::Matrix);
        let bias = bias.then(|| self.weight(&[to], WeightRole::Bias));
        self.step(Op::Linear { weight, bias, transposed: false }, &[x])
    }

    pub(crate) fn tied(&mut self, weight: WeightId, x: ValueId) -> ValueId {
        self.step(Op::Linear { weight, bias: None, transposed: true }, &[x])
    }

    pub(crate) fn layer_norm(&mut self, width: u32, x: ValueId) -> ValueId {
        let gain = self.weight(&[width], WeightRole::Gain);
        let bias = Some(self.weight(&[width], WeightRole::Bias));
        self.step(Op::LayerNorm { gain, bias, epsilon: finite(1e-5) }, &[x])
    }

    pub(crate) fn rms_norm(&mut self, width: u32, x: ValueId) -> ValueId {
        let gain = self.weight(&[width], WeightRole::Gain);
        self.step(Op::RmsNorm { gain, epsilon: finite(1e-5) }, &[x])
    }

    pub(crate) fn attention(&mut self, heads: [u32; 2], positions: Positions, qkv: [ValueId; 3]) -> ValueId {
        self.step(Op::Attention { heads: heads[0], kv_heads: heads[1], positions }, &qkv)
    }

    pub(crate) fn activation(&mut self, function: Activation, x: ValueId) -> ValueId {
        self.step(Op::Activation { function }, &[x])
    }
}

/// A pre-norm GPT: learned positions, layer norms, GELU, tied output.
pub(crate) fn gpt(width: u32, layers: u32, heads: u32, vocabulary: u32, sequence: u32) -> ResolvedGraph {
    let mut draft = Draft::new(vocabulary, sequence, 0.02);
    let (table, x) = draft.embedding(width);
    let mut x = draft.learned_positions(width, x);
    for _ in 0..layers {
        let normal = draft.layer_norm(width, x);
        let qkv = [0; 3].map(|_| draft.linear(width, width, true, normal));
        let mixed = draft.attention([heads, heads], Positions::None, qkv);
        let mixed = draft.linear(width, width, true, mixed);
        x = draft.step(Op::Add, &[x, mixed]);
        let normal = draft.layer_norm(width, x);
        let inner = draft.linear(width, 4 * width, true, normal);
        let inner = draft.activation(Activation::Gelu, inner);
        let inner = draft.linear(4 * width, width, true, inner);
        x = draft.step(Op::Add, &[x, inner]);
    }
    let x = draft.layer_norm(width, x);
    draft.tied(table, x);
    draft.graph
}

/// A small Llama: rotary positions, RMS norms, grouped heads, gated MLP, a shift, an untied output.
pub(crate) fn llama(width: u32, layers: u32, heads: [u32; 2], vocabulary: u32, sequence: u32) -> ResolvedGraph {
    let mut draft = Draft::new(vocabulary, sequence, 0.02);
    let (_, mut x) = draft.embedding(width);
    let narrow = width / heads[0] * heads[1];
    for _ in 0..layers {
        let normal = draft.rms_norm(width, x);
        let earlier = draft.step(Op::Shift { by: 1 }, &[normal]);
        let qkv = [
            draft.linear(width, width, false, normal),
            draft.linear(width, narrow, false, earlier),
            draft.linear(width, narrow, false, normal),
        ];
        let mixed = draft.attention(heads, Positions::Rotary { base: finite(10_000.0) }, qkv);
        let mixed = draft.linear(width, width, false, mixed);
        x = draft.step(Op::Add, &[x, mixed]);
        let normal = draft.rms_norm(width, x);
        let gate = draft.linear(width, 2 * width, false, normal);
        let gate = draft.activation(Activation::Silu, gate);
        let up = draft.linear(width, 2 * width, false, normal);
        let inner = draft.step(Op::Multiply, &[gate, up]);
        let inner = draft.linear(2 * width, width, false, inner);
        x = draft.step(Op::Add, &[x, inner]);
    }
    let x = draft.rms_norm(width, x);
    draft.linear(width, vocabulary, false, x);
    draft.graph
}

pub(crate) fn adamw(rate: f64) -> Optimizer {
    Optimizer::Adamw {
        learning_rate: finite(rate),
        beta1: finite(0.9),
        beta2: finite(0.95),
        epsilon: finite(1e-8),
        weight_decay: finite(0.1),
    }
}

/// One optimizer for the matrices, AdamW for the rest.
pub(crate) fn recipe(matrices: Optimizer, rest: Optimizer) -> Recipe {
    let group = |roles: &[WeightRole], optimizer| Group { roles: roles.to_vec(), optimizer };
    Recipe {
        schema: RECIPE_SCHEMA,
        groups: vec![
            group(&[WeightRole::Matrix], matrices),
            group(&[WeightRole::Embedding, WeightRole::Gain, WeightRole::Bias], rest),
        ],
        schedule: Schedule::Constant { warmup: Finite::ZERO },
        clip: Some(Finite::ONE),
        loss: Loss::default(),
    }
}
