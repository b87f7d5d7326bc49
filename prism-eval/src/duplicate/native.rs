//! What declared architectures and recipes are compared by.
use super::sketch::{hash, hash_text};
use crate::{
    graph::resolved::{Op, ResolvedGraph, Step, ValueId},
    recipe::{Optimizer, Recipe, Schedule},
};
use prism_core::Finite;
use serde_json::Value;
use std::collections::BTreeSet;

/// Steps that a neighbourhood reaches, in either direction.
const ROUNDS: u64 = 2;

/// The neighbourhoods of an architecture: every step by what it is, then by what it is joined to, up to two steps away
/// (Weisfeiler, Leman 1968; as a set of labels, Shervashidze et al. 2011).
///
/// Sizes, depth and other numbers leave no trace, as in Python. What an operator is stays: its kind, biases, tying, how
/// positions enter, the activation. Measured on a Llama of two blocks, as shares of all
/// neighbourhoods (Jaccard): another width 1, five blocks 0.96, one more norm 0.82, another kind of last norm 0.70,
/// another activation in every block 0.57, another mixer 0.34, a GPT 0.02.
#[must_use]
pub fn neighbourhoods(graph: &ResolvedGraph) -> BTreeSet<u64> {
    let producer = |id: ValueId| (id.0 as usize).checked_sub(1);
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); graph.steps.len()];
    for (at, step) in graph.steps.iter().enumerate() {
        for id in &step.inputs {
            if let Some(users) = producer(*id).and_then(|made| users.get_mut(made)) {
                users.push(at);
            }
        }
    }
    let (tokens, output) = (hash_text("tokens"), hash_text("output"));
    let mut labels: Vec<u64> = graph.steps.iter().map(|step| label(&step.op)).collect();
    let mut found: BTreeSet<u64> = labels.iter().map(|label| hash([0, *label])).collect();
    for round in 1..=ROUNDS {
        let label = |at: Option<usize>| at.and_then(|at| labels.get(at)).copied();
        let around = |(at, step): (usize, &Step)| {
            let mut inputs: Vec<u64> = step.inputs.iter().map(|id| label(producer(*id)).unwrap_or(tokens)).collect();
            if step.op.commutes() {
                inputs.sort_unstable();
            }
            let users = users.get(at).map(Vec::as_slice).unwrap_or_default();
            // A set: how many branches hang on a value is its size rather than its kind.
            let mut outputs: BTreeSet<u64> = users.iter().filter_map(|user| label(Some(*user))).collect();
            if producer(graph.output) == Some(at) {
                outputs.insert(output);
            }
            let own = label(Some(at)).unwrap_or_default();
            hash([own, inputs.len() as u64].into_iter().chain(inputs).chain(outputs))
        };
        let next: Vec<u64> = graph.steps.iter().enumerate().map(around).collect();
        found.extend(next.iter().map(|label| hash([round, *label])));
        labels = next;
    }
    found
}

/// What an operator is, without its numbers: the names and words of its JSON, and which of its fields are there.
fn label(op: &Op) -> u64 {
    // No map and no number that JSON can't carry.
    words(&serde_json::to_value(op).unwrap_or_default())
}

fn words(value: &Value) -> u64 {
    match value {
        Value::Null => hash([1]),
        Value::Bool(set) => hash([2, u64::from(*set)]),
        Value::Number(_) => hash([3]),
        Value::String(word) => hash([4, hash_text(word)]),
        Value::Array(items) => hash(std::iter::once(5).chain(items.iter().map(words))),
        Value::Object(fields) => {
            let mut parts: Vec<[u64; 2]> = fields.iter().map(|(name, value)| [hash_text(name), words(value)]).collect();
            parts.sort_unstable();
            hash(std::iter::once(6).chain(parts.into_iter().flatten()))
        }
    }
}

/// The settings of a recipe: for each role of weights its optimizer and every number, then schedule, clipping and loss;
/// numbers to within a factor of √2.
#[must_use]
pub fn settings(recipe: &Recipe) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    let mut tell = |place: u64, name: &str, value: Finite| {
        found.insert(hash([place, hash_text(name), half_octave(value)]));
    };
    for group in &recipe.groups {
        for role in &group.roles {
            let place = hash([1, *role as u64]);
            let (kind, numbers) = numbers(&group.optimizer);
            tell(place, kind, Finite::ONE);
            for (name, value) in numbers {
                tell(hash([place, hash_text(kind)]), name, value);
            }
        }
    }
    let (kind, warmup, floor) = match recipe.schedule {
        Schedule::Constant { warmup } => ("constant", warmup, Finite::ONE),
        Schedule::Cosine { warmup, floor } => ("cosine", warmup, floor),
        Schedule::Linear { warmup, floor } => ("linear", warmup, floor),
    };
    tell(2, kind, Finite::ONE);
    tell(2, "warmup", warmup);
    tell(2, "floor", floor);
    tell(3, "clip", recipe.clip.unwrap_or_default());
    tell(4, "z_loss", recipe.loss.z_loss);
    tell(4, "label_smoothing", recipe.loss.label_smoothing);
    found
}

fn numbers(optimizer: &Optimizer) -> (&'static str, Vec<(&'static str, Finite)>) {
    match *optimizer {
        Optimizer::Adamw { learning_rate, beta1, beta2, epsilon, weight_decay } => {
            let numbers = [("rate", learning_rate), ("beta1", beta1), ("beta2", beta2), ("epsilon", epsilon)];
            ("adamw", [&numbers[..], &[("decay", weight_decay)]].concat())
        }
        Optimizer::Lion { learning_rate, beta1, beta2, weight_decay } => {
            ("lion", vec![("rate", learning_rate), ("beta1", beta1), ("beta2", beta2), ("decay", weight_decay)])
        }
        Optimizer::Muon { learning_rate, momentum, weight_decay } => {
            ("muon", vec![("rate", learning_rate), ("momentum", momentum), ("decay", weight_decay)])
        }
    }
}

/// Which half octave a number lies in; zero has its own.
fn half_octave(value: Finite) -> u64 {
    if value == Finite::ZERO {
        return 0;
    }
    // Powers of √2 from 2^-100 on: numbers of a recipe are at most a million.
    let place = (2.0 * value.get().abs().log2()).round().clamp(-200.0, 200.0) + 201.0;
    place as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        duplicate::{Sketch, tests::RECURRENT},
        graph::{Context, GraphSpec, Limits, baselines},
    };

    fn resolved(text: &str) -> ResolvedGraph {
        let spec = GraphSpec::read(text.as_bytes(), "model.graph.yaml").unwrap();
        spec.resolve(&Context::new(256, 64), &Limits::default()).unwrap()
    }

    fn shared(a: &str, b: &str) -> f64 {
        let (a, b) = (neighbourhoods(&resolved(a)), neighbourhoods(&resolved(b)));
        let exact = a.intersection(&b).count() as f64 / a.union(&b).count() as f64;
        let estimate = Sketch::of(&a).unwrap().similarity(&Sketch::of(&b).unwrap());
        assert!((exact - estimate).abs() < 0.15, "{exact} {estimate}");
        exact
    }

    #[test]
    fn sizes_leave_no_trace_one_more_norm_is_near_and_another_mixer_is_far() {
        let llama = baselines::document("llama").unwrap();
        let with = |from: &str, to: &str| {
            assert!(llama.contains(from), "{from}");
            shared(llama, &llama.replace(from, to))
        };
        assert_eq!(with("64 * width_factor", "96 * width_factor"), 1.0);
        assert_eq!(with("heads: 4", "heads: 8"), 1.0);
        let figures = [
            ("deeper", with("times: 2 *", "times: 5 *")),
            (
                "one more norm",
                with("of: blocks }\n", "of: blocks }\n  - { id: again, op: rms_norm, of: final_norm }\n").min(with(
                    "- { id: logits, op: linear, of: final_norm",
                    "- { id: again, op: rms_norm, of: final_norm }\n  - { id: logits, op: linear, of: again",
                )),
            ),
            ("another activation", with("activation: silu", "activation: gelu")),
            ("another norm", with("id: final_norm, op: rms_norm", "id: final_norm, op: layer_norm")),
            ("the GPT", shared(llama, baselines::document("gpt").unwrap())),
            ("another mixer", shared(llama, RECURRENT)),
        ];
        let of = |name: &str| figures.iter().find(|(one, _)| *one == name).unwrap().1;
        assert!(of("deeper") > 0.9, "{figures:?}");
        assert!(of("one more norm") > 0.8, "{figures:?}");
        assert!(of("another norm") > 0.65 && of("another activation") < 0.65, "{figures:?}");
        assert!(of("the GPT") < 0.2 && of("another mixer") < 0.5, "{figures:?}");
    }

    #[test]
    fn recipes_share_what_they_set_alike() {
        let read = |text: &str| {
            let text = format!("recipe: prism.recipe/1\noptimizer: {{ {text} }}\n");
            let spec = crate::recipe::RecipeSpec::read(text.as_bytes(), "recipe.yaml").unwrap();
            settings(&spec.resolve().unwrap())
        };
        let one = read("kind: adamw, learning_rate: 0.003");
        assert_eq!(one, read("kind: adamw, learning_rate: 0.0031"));
        let faster = read("kind: adamw, learning_rate: 0.03");
        let shared =
            |a: &BTreeSet<u64>, b: &BTreeSet<u64>| a.intersection(b).count() as f64 / a.union(b).count() as f64;
        assert!(shared(&one, &faster) > 0.6, "{}", shared(&one, &faster));
        let lion = read("kind: lion, learning_rate: 0.003");
        assert!(shared(&one, &lion) < 0.5, "{}", shared(&one, &lion));
    }
}
