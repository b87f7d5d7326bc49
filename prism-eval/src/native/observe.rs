//! What the host sees inside a network: a forward and a backward pass of its own over a few rows, between two steps.
//!
//! Nothing of training knows of it: no generator is touched, no weight and no state of an optimizer. Rows are looked at
//! one by one and added in order, so that bits do not depend on the number of threads.
use super::{
    network::Network,
    operators::{Gradients, Saved},
};
use crate::{
    graph::resolved::{Activation, Op, ValueId, WeightRole},
    measure::signals::layer,
    player::Observation,
};
use burn::tensor::Tensor;
use prism_core::{Error, Finite, Result};
use std::collections::{BTreeMap, BTreeSet};

/// Rows that are looked at; of each the gradient is one part of a batch.
pub(super) const ROWS: usize = 8;
/// Positions whose values are read, over all rows.
const POSITIONS: usize = 128;
/// Queries of a row whose attention is read, for each head.
const QUERIES: usize = 16;
/// Layers that are read, a third of them of each kind, evenly spread.
const LAYERS: usize = 63;

/// The steps of a network that are looked at.
#[derive(Debug)]
pub(super) struct Layers {
    /// Activation functions: what units do.
    activations: BTreeSet<usize>,
    /// Attention.
    attention: BTreeSet<usize>,
    /// Values that a norm reads, and the last of the stream: what positions are.
    representations: BTreeSet<usize>,
}

impl Layers {
    pub(super) fn of(network: &Network) -> Self {
        let steps = &network.graph().steps;
        let which = |wanted: fn(&Op) -> bool| {
            let found = steps.iter().enumerate().filter(move |(_, step)| wanted(&step.op));
            found.map(|(index, _)| index).collect::<Vec<_>>()
        };
        let norms = steps.iter().filter(|step| matches!(step.op, Op::LayerNorm { .. } | Op::RmsNorm { .. }));
        let read = norms.flat_map(|step| step.inputs.iter().copied()).chain([network.stream()]);
        let made_by = |value: ValueId| (value.0 as usize).checked_sub(1);
        let representations: BTreeSet<usize> = read.filter_map(made_by).collect();
        Self {
            activations: spread(which(|op| matches!(op, Op::Activation { .. }))),
            attention: spread(which(|op| matches!(op, Op::Attention { .. }))),
            representations: spread(representations.into_iter().collect()),
        }
    }
}

/// At most a third of [`LAYERS`], evenly spread, with the first and the last.
fn spread(steps: Vec<usize>) -> BTreeSet<usize> {
    let most = LAYERS / 3;
    if steps.len() <= most {
        return steps.into_iter().collect();
    }
    let last = steps.len() - 1;
    (0..most).filter_map(|place| steps.get(place * last / (most - 1)).copied()).collect()
}

/// Every how manieth of `count` things is read, for at most `most` of them.
fn stride(count: usize, most: usize) -> usize {
    count.div_ceil(most.max(1)).max(1)
}

/// What was seen of some rows.
#[derive(Debug, Default)]
pub(super) struct Seen {
    rows: usize,
    /// Values at some positions of each row, by step.
    values: BTreeMap<usize, Vec<f32>>,
    /// Sums over rows of the attention's diversity, by step.
    attention: BTreeMap<usize, f64>,
    /// Sums over rows of the gradient's square, by role of the weights.
    squares: BTreeMap<&'static str, f64>,
}

impl Seen {
    /// Looks at the value of a step, of one row among `rows`.
    pub(super) fn look(
        &mut self,
        layers: &Layers,
        rows: usize,
        step: usize,
        value: &Tensor<2>,
        saved: &Saved,
    ) -> Result<()> {
        if layers.activations.contains(&step) || layers.representations.contains(&step) {
            let [positions, width] = value.dims();
            let data = value.to_data();
            let data = data.as_slice::<f32>().map_err(|e| Error::bug("values are not f32").because(e))?;
            let chosen = data.chunks_exact(width.max(1)).step_by(stride(positions, POSITIONS / rows.max(1)));
            self.values.insert(step, chosen.flatten().copied().collect());
        }
        if let (true, Saved::Attention(saved)) = (layers.attention.contains(&step), saved) {
            let probabilities = saved.probabilities();
            let positions = probabilities.dims()[3];
            let data = probabilities.into_data();
            let data = data.as_slice::<f32>().map_err(|e| Error::bug("probabilities are not f32").because(e))?;
            if let Some(diversity) = layer::attention_diversity(data, positions, stride(positions, QUERIES)) {
                self.attention.insert(step, diversity);
            }
        }
        Ok(())
    }

    /// Takes the gradient of one row.
    pub(super) fn weigh(&mut self, network: &Network, gradients: &Gradients) -> Result<()> {
        self.rows = 1;
        self.squares = squares(network, gradients)?;
        Ok(())
    }

    /// Adds the next row.
    pub(super) fn add(&mut self, next: Self) {
        self.rows += next.rows;
        for (step, values) in next.values {
            self.values.entry(step).or_default().extend(values);
        }
        for (step, diversity) in next.attention {
            *self.attention.entry(step).or_default() += diversity;
        }
        for (role, squares) in next.squares {
            *self.squares.entry(role).or_default() += squares;
        }
    }

    /// The numbers, with the sum of the rows' gradients. One that is not finite is left out.
    pub(super) fn observation(
        self,
        network: &Network,
        layers: &Layers,
        sum: &Gradients,
        weights: &[Tensor<2>],
    ) -> Result<Observation> {
        let mut observation = Observation::default();
        let mut norm = 0.0;
        for weight in weights {
            norm += square(weight)?;
        }
        observation.0.extend(Finite::new(norm.sqrt()).map(|norm| ("weight_norm".to_owned(), norm)));
        let mut say = |what: &str, of: &str, value: Option<f64>| {
            if let Some(value) = value.and_then(Finite::new) {
                observation.0.insert(format!("{what}/{of}"), value);
            }
        };
        for (step, values) in &self.values {
            let (name, width) = (name(network, *step), network.width(value_of(*step)));
            if layers.activations.contains(step) {
                say("activation_entropy", &name, layer::activation_entropy(values, width));
                say("useful_sparsity", &name, layer::sparsity(values));
                say("neuron_specialization", &name, layer::specialization(values, width));
            }
            if layers.representations.contains(step) {
                say("representation_collapse", &name, layer::collapse(values, width));
                say("activation_norm", &name, layer::norm(values));
            }
        }
        for (step, diversity) in &self.attention {
            say("attention_diversity", &name(network, *step), Some(diversity / self.rows.max(1) as f64));
        }
        let of_sum = squares(network, sum)?;
        for (role, squares) in &self.squares {
            let of_sum = of_sum.get(role).copied().unwrap_or_default();
            if let Some((noise, signal)) = layer::gradient_noise(self.rows, *squares, of_sum) {
                say("gradient_noise", role, Some(noise));
                say("gradient_signal", role, Some(signal));
            }
        }
        Ok(observation)
    }
}

fn value_of(step: usize) -> ValueId {
    ValueId(u32::try_from(step + 1).unwrap_or(u32::MAX))
}

/// Squares of gradients by role of the weights, in `f64` and in their order.
fn squares(network: &Network, gradients: &Gradients) -> Result<BTreeMap<&'static str, f64>> {
    let mut sums = BTreeMap::new();
    for (weight, gradient) in network.graph().weights.iter().zip(gradients.each()) {
        let Some(gradient) = gradient else { continue };
        let role = match weight.role {
            WeightRole::Embedding => "embedding",
            WeightRole::Matrix => "matrix",
            WeightRole::Gain => "gain",
            WeightRole::Bias => "bias",
        };
        *sums.entry(role).or_insert(0.0) += square(gradient)?;
    }
    Ok(sums)
}

fn square(tensor: &Tensor<2>) -> Result<f64> {
    let data = tensor.to_data();
    let values = data.as_slice::<f32>().map_err(|e| Error::bug("weights are not f32").because(e))?;
    Ok(values.iter().map(|value| f64::from(*value) * f64::from(*value)).sum())
}

/// A step by its place in the canonical order, and what it does: names that a submission chose are gone.
fn name(network: &Network, step: usize) -> String {
    let op = network.graph().steps.get(step).map_or("none", |step| match &step.op {
        Op::Embedding { .. } => "embedding",
        Op::LearnedPositions { .. } => "positions",
        Op::Linear { .. } => "linear",
        Op::LayerNorm { .. } => "layer_norm",
        Op::RmsNorm { .. } => "rms_norm",
        Op::Attention { .. } => "attention",
        Op::Add => "add",
        Op::Multiply => "multiply",
        Op::Shift { .. } => "shift",
        Op::Convolution { .. } => "convolution",
        Op::Recurrence => "recurrence",
        Op::Activation { function } => match function {
            Activation::Gelu => "gelu",
            Activation::Relu => "relu",
            Activation::ReluSquared => "relu_squared",
            Activation::Silu => "silu",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
        },
    });
    format!("{step:03}_{op}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        native::{
            NativePlayer, PlayerSettings,
            graphs::{Draft, adamw, gpt, llama, recipe},
        },
        player::{Player, Rows},
    };
    use futures::executor::block_on;
    use prism_core::{Seed, plan::Budget};

    fn player(graph: crate::graph::ResolvedGraph, threads: usize) -> NativePlayer {
        let sequence = graph.sequence;
        let budget = Budget {
            tokens: 64,
            steps: 8,
            batch: 4,
            sequence,
            wall_millis: 60_000,
            cpu_millis: 60_000,
            peak_memory: 1 << 30,
        };
        let settings = PlayerSettings { threads, ..PlayerSettings::default() };
        let network = Network::new(graph).unwrap();
        NativePlayer::new(network, &recipe(adamw(0.02), adamw(0.02)), &budget, Seed::of("test", &[]), settings).unwrap()
    }

    fn rows(vocabulary: u32, rows: u32, columns: u32) -> Rows {
        let mut draws = Seed::of("test", &[b"rows"]).draws();
        let tokens = (0..rows * columns).map(|_| draws.below(u64::from(vocabulary)) as u32).collect();
        Rows { tokens, rows, columns }
    }

    fn observed(player: &mut NativePlayer, rows: &Rows) -> BTreeMap<String, Finite> {
        block_on(player.observe(rows)).unwrap().0
    }

    #[test]
    fn every_layer_of_a_gpt_is_seen_and_numbers_lie_in_their_ranges() {
        let mut player = player(gpt(16, 2, 4, 50, 12), 1);
        let seen = observed(&mut player, &rows(50, 8, 13));
        let of = |what: &str| {
            let named = seen.iter().filter(|(name, _)| name.split_once('/').is_some_and(|(of, _)| of == what));
            named.map(|(_, value)| value.get()).collect::<Vec<f64>>()
        };
        for (what, layers, most) in [
            ("activation_entropy", 2, 1.0),
            ("useful_sparsity", 2, 1.0),
            ("neuron_specialization", 2, f64::MAX),
            ("attention_diversity", 2, 1.0),
            ("representation_collapse", 5, 1.0),
            ("activation_norm", 5, f64::MAX),
            ("gradient_noise", 4, f64::MAX),
            ("gradient_signal", 4, f64::MAX),
        ] {
            assert_eq!(of(what).len(), layers, "{what}: {seen:?}");
            let least = if what == "gradient_signal" { f64::MIN } else { 0.0 };
            assert!(of(what).iter().all(|value| (least..=most).contains(value)), "{what}: {seen:?}");
        }
        // Before any training attention is all but even, and units are alive.
        assert!(of("attention_diversity").iter().all(|value| *value > 0.99), "{seen:?}");
        assert!(of("activation_entropy").iter().all(|value| *value > 0.5), "{seen:?}");
    }

    #[test]
    fn looking_changes_no_bit_of_what_is_learnt_and_threads_none_of_what_is_seen() {
        for graph in [gpt(16, 1, 2, 50, 12), llama(16, 2, [4, 2], 50, 12)] {
            let batch = rows(50, 4, 13);
            let (mut watched, mut alone) = (player(graph.clone(), 1), player(graph.clone(), 1));
            let mut others = [player(graph.clone(), 2), player(graph, 3)];
            for step in 0..4 {
                // Fewer rows than are looked at, and of other lengths than those trained on.
                let shown = rows(50, 3 + step, 9);
                let seen = observed(&mut watched, &shown);
                let reports = [block_on(watched.train(&batch)).unwrap(), block_on(alone.train(&batch)).unwrap()];
                assert_eq!(reports[0], reports[1]);
                for other in &mut others {
                    assert_eq!(observed(other, &shown), seen);
                    block_on(other.train(&batch)).unwrap();
                }
            }
            assert_eq!(block_on(watched.snapshot()).unwrap().state, block_on(alone.snapshot()).unwrap().state);
        }
    }

    #[test]
    fn the_gradients_of_rows_add_up_to_what_training_reports() {
        let mut player = player(gpt(16, 1, 2, 50, 12), 1);
        let batch = rows(50, 4, 13);
        let seen = observed(&mut player, &batch);
        let sum = |what: &str| {
            let named = seen.iter().filter(|(name, _)| name.starts_with(what));
            named.map(|(_, value)| value.get()).sum::<f64>()
        };
        // The square of the mean is signal and a fourth of the noise.
        let norm = block_on(player.train(&batch)).unwrap().0["gradient_norm"].get();
        let square = sum("gradient_signal/") + sum("gradient_noise/") / 4.0;
        assert!((square.sqrt() / norm - 1.0).abs() < 1e-4, "{} {norm}", square.sqrt());
    }

    #[test]
    fn a_dead_layer_and_positions_that_are_all_alike_are_seen() {
        let mut draft = Draft::new(7, 6, 0.6);
        let (_, x) = draft.embedding(8);
        let zeros = draft.linear(8, 8, false, x);
        let dead = draft.activation(Activation::Relu, zeros);
        let sum = draft.step(Op::Add, &[dead, dead]);
        let biased = draft.linear(8, 8, true, sum);
        let normal = draft.rms_norm(8, biased);
        draft.linear(8, 7, false, normal);
        draft.graph.weights[1].init = crate::graph::resolved::Init::Zeros;
        draft.graph.weights[3].init = crate::graph::resolved::Init::Ones;
        let seen = observed(&mut player(draft.graph, 1), &rows(7, 2, 7));
        let value = |name: &str| seen.get(name).map(|value| value.get());
        assert_eq!(value("useful_sparsity/002_relu"), Some(1.0));
        assert_eq!(value("activation_entropy/002_relu"), Some(0.0));
        assert_eq!(value("neuron_specialization/002_relu"), Some(0.0));
        assert!((value("representation_collapse/004_linear").unwrap() - 1.0).abs() < 1e-6, "{seen:?}");
        assert_eq!(value("activation_norm/004_linear"), Some(1.0));
    }

    #[test]
    fn a_deep_network_is_seen_at_a_bounded_number_of_layers() {
        let network = Network::new(gpt(8, 40, 1, 16, 8)).unwrap();
        let layers = Layers::of(&network);
        for kind in [&layers.activations, &layers.attention, &layers.representations] {
            assert_eq!(kind.len(), LAYERS / 3);
        }
        let last = network.stream().0 as usize - 1;
        assert!(layers.representations.contains(&last));
        assert_eq!(spread((0..21).collect()).len(), 21);
    }
}
