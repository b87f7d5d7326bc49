//! The architecture as a Mermaid flowchart, for people. Derived from the canonical graph and never read back.
//!
//! Steps that come again and again in the same arrangement are drawn once, in a box that says how often.
use super::{
    draft::{Draft, index},
    resolved::{Activation, Op, Positions, ResolvedGraph, Step, ValueId, WeightId},
    shape::Shape,
};
use std::{collections::BTreeSet, fmt::Write as _};

/// Longest block of steps that is looked for as a repeat.
const LONGEST_BLOCK: usize = 128;

/// The flowchart. All text in it is this crate's own, so there is nothing to escape.
#[must_use]
pub fn mermaid(graph: &ResolvedGraph) -> String {
    let widths = widths(graph);
    let repeats = repeats(graph);
    let mut text = String::from("flowchart TB\n    v0([\"tokens\"])\n");
    let mut at = 0;
    while let Some(step) = graph.steps.get(at) {
        let repeat = repeats.iter().find(|repeat| repeat.start == at);
        match repeat {
            Some(repeat) => {
                let tied = if repeat.tied { ", weights shared" } else { "" };
                let _ = writeln!(text, "    subgraph r{at} [\"× {}{tied}\"]", repeat.times);
                for (inside, step) in graph.steps.iter().enumerate().skip(at).take(repeat.length) {
                    node(&mut text, graph, &widths, inside, step, "        ");
                }
                text.push_str("    end\n");
                at += repeat.length * repeat.times;
            }
            None => {
                node(&mut text, graph, &widths, at, step, "    ");
                at += 1;
            }
        }
    }
    let mut edges = BTreeSet::new();
    for (at, step) in graph.steps.iter().enumerate() {
        let shown = shown(&repeats, at + 1);
        // What a later iteration takes, it takes from where the first one does, or from the one before.
        if shown == at + 1 {
            edges.extend(step.inputs.iter().map(|input| (self::shown(&repeats, index(input.0)), shown)));
        }
    }
    for (from, to) in edges {
        let _ = writeln!(text, "    v{from} --> v{to}");
    }
    let _ = writeln!(text, "    v{} --> logits([\"logits\"])", shown(&repeats, index(graph.output.0)));
    text
}

fn node(text: &mut String, graph: &ResolvedGraph, widths: &[u32], at: usize, step: &Step, indent: &str) {
    let width = |value: usize| widths.get(value).copied().unwrap_or_default();
    let input = |place: usize| step.inputs.get(place).map_or(0, |id| width(index(id.0)));
    let out = width(at + 1);
    let label = match &step.op {
        Op::Embedding { .. } => format!("embedding {} → {out}", graph.vocabulary),
        Op::LearnedPositions { .. } => format!("learned positions {}", graph.sequence),
        Op::Linear { transposed: true, .. } => format!("linear {} → {out}, tied", input(0)),
        Op::Linear { .. } => format!("linear {} → {out}", input(0)),
        Op::LayerNorm { .. } => "layer norm".to_owned(),
        Op::RmsNorm { .. } => "RMS norm".to_owned(),
        Op::Attention { heads, kv_heads, positions } => {
            let positions = match positions {
                Positions::None => "",
                Positions::Rotary { .. } => ", rotary",
            };
            let shared = if kv_heads == heads { String::new() } else { format!(", {kv_heads} of keys and values") };
            format!("attention, {heads} heads{shared}{positions}")
        }
        Op::Add => "+".to_owned(),
        Op::Multiply => "×".to_owned(),
        Op::Activation { function } => match function {
            Activation::Gelu => "GELU",
            Activation::Relu => "ReLU",
            Activation::ReluSquared => "ReLU²",
            Activation::Silu => "SiLU",
            Activation::Sigmoid => "sigmoid",
            Activation::Tanh => "tanh",
        }
        .to_owned(),
        Op::Shift { by } => format!("shift by {by}"),
        Op::Convolution { weight, .. } => {
            let taps = graph.weights.get(index(weight.0)).and_then(|weight| weight.shape.first());
            format!("causal convolution of {}", taps.copied().unwrap_or_default())
        }
        Op::Recurrence => "gated recurrence".to_owned(),
    };
    let name = at + 1;
    let _ = match step.op {
        Op::Add | Op::Multiply => writeln!(text, "{indent}v{name}((\"{label}\"))"),
        _ => writeln!(text, "{indent}v{name}[\"{label}\"]"),
    };
}

fn widths(graph: &ResolvedGraph) -> Vec<u32> {
    let width = |shape: &Shape| match shape {
        Shape::Tokens => 0,
        Shape::Hidden(width) => *width,
    };
    Draft::of(graph).map(|draft| draft.shapes().iter().map(width).collect()).unwrap_or_default()
}

/// A block of steps that comes several times in a row.
struct Repeat {
    start: usize,
    length: usize,
    times: usize,
    tied: bool,
}

/// The value that is drawn for a value: that of the first iteration.
fn shown(repeats: &[Repeat], value: usize) -> usize {
    let Some(step) = value.checked_sub(1) else { return value };
    let inside = |repeat: &&Repeat| (repeat.start..repeat.start + repeat.length * repeat.times).contains(&step);
    match repeats.iter().find(inside) {
        Some(repeat) => repeat.start + (step - repeat.start) % repeat.length + 1,
        None => value,
    }
}

fn repeats(graph: &ResolvedGraph) -> Vec<Repeat> {
    let steps = &graph.steps;
    let mut found = Vec::new();
    let mut start = 0;
    while start < steps.len() {
        let longest = LONGEST_BLOCK.min((steps.len() - start) / 2);
        let candidates = (1..=longest).filter_map(|length| {
            let times = 1 + (1..).take_while(|again| alike(graph, start, length, *again)).count();
            (times > 1).then_some((length, times))
        });
        // The block that covers most; of those the shortest.
        match candidates.max_by_key(|(length, times)| (length * times, std::cmp::Reverse(*length))) {
            Some((length, times)) if length * times > 3 => {
                let weights = |at: usize| steps.iter().skip(at).take(length).flat_map(|step| step.op.weights());
                let tied = weights(start).flatten().next().is_some() && weights(start).eq(weights(start + length));
                found.push(Repeat { start, length, times, tied });
                start += length * times;
            }
            _ => start += 1,
        }
    }
    found
}

/// Whether the block's `again`-th iteration is arranged like the first: the same operators on shapes alike, each input
/// at the same distance, or the same value from before the block.
fn alike(graph: &ResolvedGraph, start: usize, length: usize, again: usize) -> bool {
    let offset = length * again;
    let shape = |id: WeightId| graph.weights.get(index(id.0)).map(|weight| &weight.shape);
    (start..start + length).all(|at| {
        let (Some(first), Some(later)) = (graph.steps.get(at), graph.steps.get(at + offset)) else { return false };
        let nameless = |step: &Step| step.op.renamed(|_| WeightId(0));
        let shapes = |step: &Step| step.op.weights().map(|id| id.and_then(shape));
        let same = |(a, b): (&ValueId, &ValueId)| {
            let (a, b) = (index(a.0), index(b.0));
            // What comes from before the block is carried on, or is the same for all iterations.
            a + offset == b || (a <= start && a == b)
        };
        nameless(first) == nameless(later)
            && shapes(first) == shapes(later)
            && first.inputs.len() == later.inputs.len()
            && first.inputs.iter().zip(&later.inputs).all(same)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, GraphSpec, Limits, baselines};

    fn drawn(spec: &GraphSpec, depth_factor: u32) -> String {
        let context = Context { depth_factor, ..Context::new(256, 32) };
        mermaid(&spec.resolve(&context, &Limits::default()).unwrap())
    }

    #[test]
    fn blocks_are_drawn_once_with_their_number() {
        for name in baselines::NAMES {
            let spec = baselines::spec(name).unwrap().unwrap();
            let (shallow, deep) = (drawn(&spec, 1), drawn(&spec, 12));
            let mixers = ["attention, 4 heads", "gated recurrence"].map(|mixer| shallow.matches(mixer).count());
            assert_eq!(mixers.iter().sum::<usize>(), 1, "{shallow}");
            assert!(shallow.contains("\"× 2\""), "{shallow}");
            assert!(deep.contains("\"× 24\""), "{deep}");
            assert_eq!(shallow.lines().count(), deep.lines().count());
        }
    }

    #[test]
    fn every_edge_joins_drawn_nodes() {
        for name in baselines::NAMES {
            let text = drawn(&baselines::spec(name).unwrap().unwrap(), 3);
            let drawn: BTreeSet<&str> = text
                .lines()
                .map(str::trim)
                .filter(|line| line.starts_with('v') && !line.contains("-->"))
                .filter_map(|line| line.split(['[', '(']).next())
                .collect();
            let edges: Vec<(&str, &str)> = text.lines().filter_map(|line| line.trim().split_once(" --> ")).collect();
            assert!(edges.len() > 10);
            for (from, to) in edges {
                assert!(drawn.contains(from), "{from} in {text}");
                assert!(drawn.contains(to) || to.starts_with("logits"), "{to} in {text}");
            }
        }
    }

    #[test]
    fn a_small_architecture_is_drawn_whole() {
        let text = "graph: prism.graph/1\noutput: logits\nnodes:\n- { id: x, op: embedding, dim: 8 }\n- { id: y, op: activation, of: x, function: relu_squared }\n- { id: s, op: shift, of: x, by: 2 }\n- { id: z, op: multiply, of: [s, y] }\n- { id: logits, op: linear, of: z, tied: x }\n";
        let spec = GraphSpec::read(text.as_bytes(), "a.yaml").unwrap();
        let drawn = drawn(&spec, 1);
        let mut lines: Vec<&str> = drawn.lines().map(str::trim).collect();
        assert_eq!(lines.remove(0), "flowchart TB");
        for expected in ["v0([\"tokens\"])", "v1[\"embedding 256 → 8\"]", "v5[\"linear 8 → 256, tied\"]", "v4((\"×\"))"]
        {
            assert!(lines.contains(&expected), "{expected}: {drawn}");
        }
        assert_eq!(lines.iter().filter(|line| line.contains("-->")).count(), 7, "{drawn}");
    }

    #[test]
    fn shared_weights_are_said() {
        let text = baselines::document("llama").unwrap().replace("output: out", "output: out\n    tied: true");
        let spec = GraphSpec::read(text.as_bytes(), "a.yaml").unwrap();
        assert!(drawn(&spec, 1).contains("× 2, weights shared"));
    }
}
