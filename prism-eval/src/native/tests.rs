//! What holds for the whole: gradients, causality, bits, learning.
use super::{
    graphs::{Draft, adamw, finite, gpt, llama, recipe},
    loss::{Additions, cross_entropy},
    operators::{Constants, Shard},
    weights, *,
};
use crate::{
    graph::resolved::{Activation, Init, Op, Positions, ResolvedGraph, ValueId, WeightRole},
    player::{Player, Rows},
    recipe::{Group, Optimizer, Recipe},
};
use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use futures::executor::block_on;
use prism_core::{Cancel, Digest, Fault, Finite, Kind, Seed, plan::Budget};

/// As low as is allowed: high frequencies show most.
fn rotary() -> Positions {
    Positions::Rotary { base: finite(10.0) }
}

/// A graph around one operator: embedding, the operator, output layer; all weights drawn wide.
fn around(build: impl Fn(&mut Draft, ValueId) -> ValueId) -> ResolvedGraph {
    let mut draft = Draft::new(7, 6, 0.6);
    let (_, x) = draft.embedding(8);
    let x = build(&mut draft, x);
    draft.linear(8, 7, false, x);
    for weight in &mut draft.graph.weights {
        weight.init = Init::Normal { deviation: finite(0.6) };
    }
    draft.graph
}

fn each_operator() -> Vec<(&'static str, ResolvedGraph)> {
    let attention = |heads: [u32; 2], positions: Positions| {
        around(move |d, x| {
            let narrow = 8 / heads[0] * heads[1];
            let qkv = [d.linear(8, 8, false, x), d.linear(8, narrow, false, x), d.linear(8, narrow, false, x)];
            let mixed = d.attention(heads, positions, qkv);
            d.linear(8, 8, false, mixed)
        })
    };
    let mut graphs = vec![
        ("positions", around(|d, x| d.learned_positions(8, x))),
        ("linear", around(|d, x| d.linear(8, 8, true, x))),
        ("layer norm", around(|d, x| d.layer_norm(8, x))),
        ("rms norm", around(|d, x| d.rms_norm(8, x))),
        ("attention", attention([2, 2], Positions::None)),
        ("attention of one head with rotary positions", attention([1, 1], rotary())),
        ("grouped attention with rotary positions", attention([4, 2], rotary())),
        ("attention with one key head", attention([4, 1], Positions::None)),
        ("add", around(|d, x| d.step(Op::Add, &[x, x]))),
        (
            "multiply",
            around(|d, x| {
                let y = d.linear(8, 8, false, x);
                d.step(Op::Multiply, &[x, y])
            }),
        ),
        (
            "shift",
            around(|d, x| {
                let earlier = d.step(Op::Shift { by: 2 }, &[x]);
                let back = d.step(Op::Shift { by: -1 }, &[earlier]);
                d.step(Op::Multiply, &[back, x])
            }),
        ),
        (
            "shift to the end of the row",
            around(|d, x| {
                let gone = d.step(Op::Shift { by: 5 }, &[x]);
                d.step(Op::Add, &[gone, x])
            }),
        ),
        (
            "convolution",
            around(|d, x| {
                let (weight, bias) = (d.weight(&[3, 8], WeightRole::Matrix), d.weight(&[8], WeightRole::Bias));
                d.step(Op::Convolution { weight, bias: Some(bias) }, &[x])
            }),
        ),
        (
            "convolution over the whole row",
            around(|d, x| {
                let weight = d.weight(&[6, 8], WeightRole::Matrix);
                d.step(Op::Convolution { weight, bias: None }, &[x])
            }),
        ),
        (
            "recurrence",
            around(|d, x| {
                let (gate, candidate) = (d.linear(8, 8, false, x), d.linear(8, 8, false, x));
                d.step(Op::Recurrence, &[gate, candidate])
            }),
        ),
        (
            "unused value",
            around(|d, x| {
                d.linear(8, 3, true, x);
                d.activation(Activation::Tanh, x)
            }),
        ),
    ];
    let rectified = [Activation::Relu, Activation::ReluSquared];
    let smooth = [Activation::Gelu, Activation::Silu, Activation::Sigmoid, Activation::Tanh];
    for function in rectified.into_iter().chain(smooth) {
        graphs.push(("activation", around(|d, x| d.activation(function, x))));
    }
    let mut tied = Draft::new(7, 6, 0.6);
    let (table, x) = tied.embedding(8);
    tied.tied(table, x);
    graphs.push(("tied output", tied.graph));
    graphs.extend([("gpt", gpt(8, 1, 2, 7, 6)), ("llama", llama(8, 2, [4, 2], 7, 6))]);
    graphs
}

const ROWS: usize = 3;

fn tokens(vocabulary: u32, count: usize, salt: u8) -> Vec<u32> {
    let mut draws = Seed::of("test", &[b"tokens", &[salt]]).draws();
    (0..count).map(|_| draws.below(u64::from(vocabulary)) as u32).collect()
}

struct Setup {
    network: Network,
    constants: Constants,
    ids: Vec<u32>,
    targets: Vec<u32>,
}

fn setup(graph: ResolvedGraph) -> (Setup, Vec<Tensor<2>>) {
    let (vocabulary, positions) = (graph.vocabulary, graph.sequence as usize);
    let weights = weights::draw(&graph, Seed::of("test", &[b"weights"]), &Device::flex()).unwrap();
    let network = Network::new(graph).unwrap();
    let constants = Constants::new(&network, positions, &Device::flex());
    let (ids, targets) = (tokens(vocabulary, ROWS * positions, 1), tokens(vocabulary, ROWS * positions, 2));
    (Setup { network, constants, ids, targets }, weights)
}

impl Setup {
    fn shard<'a>(&'a self, weights: &'a [Tensor<2>]) -> Shard<'a> {
        let ids: Vec<i64> = self.ids.iter().map(|id| i64::from(*id)).collect();
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(ids, [self.ids.len()]), &Device::flex());
        Shard { weights, constants: &self.constants, tokens, rows: ROWS, positions: self.constants.positions() }
    }

    /// Mean loss, and our gradients.
    fn gradients(&self, weights: &[Tensor<2>]) -> (f64, Vec<Option<Tensor<2>>>) {
        let shard = self.shard(weights);
        let forward = self.network.forward(&shard, true).unwrap();
        let scale = 1.0 / self.targets.len() as f64;
        let (sum, gradient) = cross_entropy(forward.logits, &self.targets, Additions::default(), scale).unwrap();
        (sum * scale, self.network.backward(&shard, forward.saved, gradient).unwrap().into_inner())
    }
}

fn values(tensor: &Tensor<2>) -> Vec<f64> {
    tensor.to_data().as_slice::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect()
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

#[test]
fn gradients_of_every_operator_are_those_of_burns_autodiff() {
    for (name, graph) in each_operator() {
        let (setup, weights) = setup(graph);
        let (_, ours) = setup.gradients(&weights);
        let tracked: Vec<_> = weights.iter().map(|w| w.clone().autodiff().require_grad()).collect();
        let logits = setup.network.forward(&setup.shard(&tracked), false).unwrap().logits;
        let targets: Vec<i64> = setup.targets.iter().map(|t| i64::from(*t)).collect();
        let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [setup.targets.len(), 1]), &Device::flex());
        let loss = log_softmax(logits, 1).gather(1, targets).mean().neg();
        let theirs = loss.backward();
        for (index, (tracked, ours)) in tracked.iter().zip(ours).enumerate() {
            let theirs = tracked.grad(&theirs).map(|gradient| values(&gradient));
            let (Some(theirs), Some(ours)) = (theirs.clone(), ours.as_ref().map(values)) else {
                let theirs = theirs.is_none_or(|theirs| norm(&theirs) == 0.0);
                assert!(ours.is_none() && theirs, "{name}: weight {index} has one gradient of two");
                continue;
            };
            let off: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
            assert!(norm(&off) <= 2e-5 * (norm(&theirs) + 0.01), "{name}: weight {index}: {ours:?} {theirs:?}");
        }
    }
}

#[test]
fn gradients_of_every_operator_are_the_slope_of_the_loss() {
    for (name, graph) in each_operator() {
        let (setup, weights) = setup(graph);
        let (_, gradients) = setup.gradients(&weights);
        for (index, gradient) in gradients.iter().enumerate() {
            let Some(gradient) = gradient else { continue };
            let steepest = norm(&values(gradient));
            if steepest < 1e-3 {
                continue;
            }
            // Along the gradient the slope is its norm.
            let along = |step: f64| {
                let mut moved = weights.clone();
                moved[index] = moved[index].clone().add(gradient.clone().mul_scalar(step / steepest));
                setup.gradients(&moved).0
            };
            let slope = (along(4e-3) - along(-4e-3)) / 8e-3;
            assert!((slope - steepest).abs() < 0.02 * steepest + 2e-4, "{name}: weight {index}: {slope} {steepest}");
        }
    }
}

#[test]
fn the_losss_additions_have_the_gradient_of_their_formula() {
    let logits = [0.3f32, -1.2, 2.0, 0.1, 1.5, -0.4];
    let targets = [2, 0];
    let additions = Additions { z_loss: 0.3, label_smoothing: 0.2 };
    let loss = |logits: &[f64]| -> f64 {
        let rows = logits.chunks(3).zip(&targets);
        let each = rows.map(|(row, target)| {
            let log_z = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            let nll = |x: f64| log_z - x;
            let spread = row.iter().map(|x| nll(*x)).sum::<f64>() / 3.0;
            0.8 * nll(row[*target as usize]) + 0.2 * spread + 0.3 * log_z * log_z
        });
        each.sum::<f64>() * 0.5
    };
    let tensor = Tensor::from_data(TensorData::new(logits.to_vec(), [2, 3]), &Device::flex());
    let (sum, gradient) = cross_entropy(tensor, &targets, additions, 0.5).unwrap();
    let wide: Vec<f64> = logits.iter().map(|x| f64::from(*x)).collect();
    for (index, ours) in values(&gradient).into_iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = wide.clone();
            moved[index] += by;
            loss(&moved)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((ours - slope).abs() < 1e-6, "{index}: {ours} {slope}");
    }
    let plain: f64 = [0, 1].map(|r| wide[r * 3..r * 3 + 3].iter().map(|x| x.exp()).sum::<f64>().ln()).iter().sum();
    assert!((sum - (plain - 2.0 - 0.1)).abs() < 1e-6, "additions are in the gradient and not in the reported sum");
}

fn budget(steps: u64, batch: u32, sequence: u32) -> Budget {
    let tokens = steps * u64::from(batch) * u64::from(sequence);
    Budget { tokens, steps, batch, sequence, wall_millis: 60_000, cpu_millis: 60_000, peak_memory: 1 << 30 }
}

fn player(graph: ResolvedGraph, recipe: &Recipe, budget: &Budget, settings: PlayerSettings) -> NativePlayer {
    NativePlayer::new(Network::new(graph).unwrap(), recipe, budget, Seed::of("test", &[b"run"]), settings).unwrap()
}

fn rows(vocabulary: u32, rows: u32, columns: u32, salt: u8) -> Rows {
    Rows { tokens: tokens(vocabulary, (rows * columns) as usize, salt), rows, columns }
}

#[test]
fn a_later_token_changes_no_earlier_logit() {
    for graph in [gpt(16, 2, 4, 50, 12), llama(16, 2, [4, 2], 50, 12)] {
        let mut player = player(graph, &recipe(adamw(0.02), adamw(0.02)), &budget(3, 4, 12), PlayerSettings::default());
        for salt in 0..3 {
            block_on(player.train(&rows(50, 4, 13, salt))).unwrap();
        }
        let before = rows(50, 1, 13, 9);
        for changed in 0..12u32 {
            let mut after = before.clone();
            after.tokens[changed as usize] = (before.tokens[changed as usize] + 1) % 50;
            for position in 0..12u32 {
                let mut logits = |rows: &Rows| block_on(player.logits_at(rows, &[position])).unwrap().values;
                let same = logits(&before) == logits(&after);
                assert_eq!(same, position < changed, "token {changed}, position {position}");
            }
        }
    }
}

/// The weights after some steps.
fn trained(graph: ResolvedGraph, threads: usize) -> Digest {
    let settings = PlayerSettings { threads, ..PlayerSettings::default() };
    let mut player = player(graph, &recipe(adamw(0.01), adamw(0.01)), &budget(4, 20, 100), settings);
    for salt in 0..4 {
        block_on(player.train(&rows(64, 20, 101, salt))).unwrap();
    }
    block_on(player.snapshot()).unwrap().state
}

#[test]
fn bits_depend_neither_on_threads_nor_on_runs_beside() {
    let graph = || llama(16, 1, [2, 1], 64, 100);
    let alone = trained(graph(), 1);
    assert_eq!(alone, trained(graph(), 1));
    assert_eq!(alone, trained(graph(), 2));
    assert_eq!(alone, trained(graph(), 3));
    let beside: Vec<Digest> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3).map(|_| scope.spawn(|| trained(graph(), 2))).collect();
        runs.into_iter().map(|run| run.join().unwrap()).collect()
    });
    assert_eq!(beside, [alone; 3]);
}

#[test]
fn claims_are_the_losses_that_training_reports_and_do_not_depend_on_the_other_rows() {
    let mut player = player(
        gpt(16, 1, 2, 50, 12),
        &recipe(adamw(0.01), adamw(0.01)),
        &budget(2, 100, 12),
        PlayerSettings::default(),
    );
    let batch = rows(50, 100, 13, 4);
    let claims = block_on(player.claim(&batch)).unwrap();
    let one = Rows { tokens: batch.tokens[13 * 70..13 * 71].to_vec(), rows: 1, columns: 13 };
    assert_eq!(block_on(player.claim(&one)).unwrap().values, claims.values[12 * 70..12 * 71]);
    let mean = claims.values.iter().map(|nats| f64::from(*nats)).sum::<f64>() / 1200.0 / std::f64::consts::LN_2;
    let report = block_on(player.train(&batch)).unwrap().0;
    assert!((report["loss"].get() - mean).abs() < 1e-6, "{mean} {report:?}");
    assert!(report["gradient_norm"].get() > 0.0 && report["activation_rms"].get() > 0.0);
    assert_eq!(report["learning_rate"], finite(0.01));
}

#[test]
fn every_optimizer_learns() {
    let decay = finite(0.01);
    let lion = |rate| {
        let (beta1, beta2) = (finite(0.9), finite(0.99));
        Optimizer::Lion { learning_rate: finite(rate), beta1, beta2, weight_decay: decay }
    };
    let muon = Optimizer::Muon { learning_rate: finite(0.02), momentum: finite(0.95), weight_decay: decay };
    let recipes = [
        ("adamw", recipe(adamw(0.02), adamw(0.02))),
        ("lion", recipe(lion(0.006), lion(0.006))),
        ("muon", recipe(muon, adamw(0.02))),
    ];
    for (name, recipe) in recipes {
        let mut player = player(gpt(16, 1, 2, 32, 12), &recipe, &budget(30, 4, 12), PlayerSettings::default());
        let batch = rows(32, 4, 13, 4);
        let losses: Vec<f64> = (0..30).map(|_| block_on(player.train(&batch)).unwrap().0["loss"].get()).collect();
        assert!((losses[0] - 5.0).abs() < 0.1, "{name} starts at log2(32): {losses:?}");
        assert!(losses[29] < 3.0, "{name} {losses:?}");
    }
}

/// The weights of a graph of one matrix, before and after one step.
fn one_step(recipe: &Recipe) -> [Vec<f64>; 2] {
    let (setup, mut weights) = setup(around(|_, x| x));
    let before = weights.iter().flat_map(values).collect();
    let (_, gradients) = setup.gradients(&weights);
    let mut optimizers = optimizer::Optimizers::new(recipe, setup.network.graph(), 1).unwrap();
    optimizers.step(0, &mut weights, gradients).unwrap();
    [before, weights.iter().flat_map(values).collect()]
}

#[test]
fn the_clip_is_on_the_norm_of_all_gradients_together() {
    // With an epsilon that drowns the moments, AdamW's first step is the gradient times rate / epsilon.
    let Optimizer::Adamw { beta1, beta2, .. } = adamw(1.0) else { unreachable!() };
    let plain =
        Optimizer::Adamw { learning_rate: finite(1e6), beta1, beta2, epsilon: finite(1e6), weight_decay: Finite::ZERO };
    let length = |clip: Option<f64>| {
        let [before, after] = one_step(&Recipe { clip: clip.map(finite), ..recipe(plain, plain) });
        norm(&before.iter().zip(&after).map(|(a, b)| a - b).collect::<Vec<_>>())
    };
    let free = length(None);
    assert!(free > 0.05, "{free}");
    assert!((length(Some(0.05)) - 0.05).abs() < 1e-4);
    assert!((length(Some(free * 2.0)) - free).abs() < 1e-6);
}

#[test]
fn the_first_group_that_names_a_role_trains_it() {
    let mut recipe = recipe(adamw(0.5), adamw(0.0));
    recipe.groups.push(Group { roles: vec![WeightRole::Embedding], optimizer: adamw(9.0) });
    let [before, after] = one_step(&recipe);
    let table = 7 * 8;
    assert_eq!(before[..table], after[..table]);
    assert!(before[table..].iter().zip(&after[table..]).all(|(a, b)| a != b));
}

#[test]
fn recipes_that_cannot_train_a_graph_are_refused() {
    let graph = gpt(16, 1, 2, 32, 12);
    let of = |recipe: &Recipe| optimizer::Optimizers::new(recipe, &graph, 1).unwrap_err();
    let mut gap = recipe(adamw(0.1), adamw(0.1));
    gap.groups.pop();
    assert!(of(&gap).to_string().contains("weight 0"));
    let muon = Optimizer::Muon { learning_rate: Finite::ONE, momentum: Finite::ZERO, weight_decay: Finite::ZERO };
    assert!(of(&recipe(adamw(0.1), muon)).to_string().contains("is a vector"));
}

#[test]
fn a_huge_rate_is_the_subjects_failure() {
    let mut player =
        player(gpt(16, 1, 2, 32, 12), &recipe(adamw(1e30), adamw(1e30)), &budget(9, 4, 12), PlayerSettings::default());
    let error = (0..9).find_map(|salt| block_on(player.train(&rows(32, 4, 13, salt))).err()).unwrap();
    assert_eq!((error.kind(), error.fault()), (Kind::Invalid, Fault::Miner));
}

#[test]
fn a_run_beyond_its_memory_is_refused_before_it_is_made() {
    let graph = gpt(16, 1, 2, 32, 12);
    let recipe = recipe(adamw(0.1), adamw(0.1));
    let small = Budget { peak_memory: 100_000, ..budget(9, 4, 12) };
    let refused = |graph: ResolvedGraph| {
        let network = Network::new(graph).unwrap();
        NativePlayer::new(network, &recipe, &small, Seed::of("t", &[]), PlayerSettings::default()).unwrap_err()
    };
    assert_eq!((refused(graph.clone()).kind(), refused(gpt(1 << 20, 1, 2, 32, 12)).kind()), (Kind::Limit, Kind::Limit));
    let network = Network::new(graph).unwrap();
    let enough = NativePlayer::peak_memory(&network, &recipe, &small, 1);
    assert!(NativePlayer::peak_memory(&network, &recipe, &small, 4) > enough);
    let settings = PlayerSettings { threads: 4, ..PlayerSettings::default() };
    let tight = Budget { peak_memory: enough, ..small };
    assert!(NativePlayer::new(network, &recipe, &tight, Seed::of("t", &[]), settings).is_ok(), "with fewer threads");
}

#[test]
fn a_cancelled_player_stops_between_shards() {
    let settings = PlayerSettings { threads: 1, cancel: Cancel::new() };
    let mut player =
        player(gpt(16, 1, 2, 32, 12), &recipe(adamw(0.1), adamw(0.1)), &budget(9, 4, 12), settings.clone());
    settings.cancel.cancel();
    assert_eq!(block_on(player.train(&rows(32, 4, 13, 1))).unwrap_err().kind(), Kind::Cancelled);
}

#[test]
fn rows_that_do_not_fit_are_refused_and_not_read() {
    let mut player =
        player(gpt(16, 1, 2, 32, 12), &recipe(adamw(0.1), adamw(0.1)), &budget(9, 4, 12), PlayerSettings::default());
    let mut kind = |rows: &Rows| block_on(player.claim(rows)).unwrap_err().kind();
    assert_eq!(kind(&rows(32, 2, 14, 1)), Kind::Invalid);
    assert_eq!(kind(&rows(32, 2, 1, 1)), Kind::Invalid);
    assert_eq!(kind(&rows(64, 9, 13, 1)), Kind::Invalid);
    assert_eq!(kind(&Rows { rows: 3, ..rows(32, 2, 13, 1) }), Kind::Invalid);
    assert!(block_on(player.claim(&rows(32, 2, 5, 1))).is_ok(), "shorter rows are fine");
}

#[test]
fn graphs_that_do_not_fit_together_are_refused_by_rule() {
    let refused = |change: fn(&mut ResolvedGraph)| {
        let mut graph = llama(16, 1, [4, 2], 32, 12);
        change(&mut graph);
        Network::new(graph).unwrap_err()
    };
    assert_eq!(refused(|g| g.schema = 0), NetworkError::Schema(0));
    assert_eq!(refused(|g| g.vocabulary = 0), NetworkError::Empty);
    assert_eq!(refused(|g| g.weights[3].shape = vec![0, 4]), NetworkError::Weight(3));
    assert_eq!(refused(|g| g.weights[3].shape = vec![1, 2, 3]), NetworkError::Weight(3));
    assert!(matches!(refused(|g| g.weights[2].shape = vec![16, 17]), NetworkError::Shape(_)));
    assert!(matches!(refused(|g| g.steps[2].inputs = vec![ValueId(40)]), NetworkError::Shape(_)));
    assert!(matches!(refused(|g| g.steps[1].inputs = vec![ValueId(0)]), NetworkError::Shape(_)));
    assert_eq!(refused(|g| g.output = ValueId(3)), NetworkError::Output);
    assert_eq!(refused(|g| g.steps[2].op = Op::Shift { by: -3 }), NetworkError::LooksAhead(3));
}

#[test]
fn costs_are_counted_from_shapes() {
    let cost = Network::new(gpt(128, 4, 4, 256, 128)).unwrap().cost();
    let (width, layers, vocabulary, sequence) = (128u64, 4, 256, 128);
    let matrices = layers * 12 * width * width;
    let vectors = layers * (13 * width) + 2 * width;
    assert_eq!(cost.parameters, vocabulary * width + sequence * width + matrices + vectors);
    assert_eq!(cost.flops_per_token, 6 * (matrices + vocabulary * width) + 12 * layers * width * sequence);
}
