//! The graph of a declared architecture.
use super::graph::{ArchitectureGraph, Block, Routing, TokenizerConstraints};
use crate::graph::{
    ResolvedGraph,
    resolved::{Op, WeightId},
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The operators of a declared architecture, and its weights by the operator that has them.
pub(super) fn graph(resolved: &ResolvedGraph) -> ArchitectureGraph {
    let mut graph = ArchitectureGraph {
        tokenizer_constraints: TokenizerConstraints {
            vocab_size: Some(resolved.vocabulary),
            sequence_length: Some(resolved.sequence),
        },
        // The vocabulary of operators has none that routes.
        dynamic_routing: Routing { enabled: false },
        operators: Some(resolved.clone()),
        ..ArchitectureGraph::default()
    };
    let calls: BTreeSet<String> = resolved.steps.iter().map(|step| word(&step.op)).collect();
    graph.calls = graph.fitted(calls);
    let blocks = resolved.steps.iter().enumerate().filter_map(|(at, step)| block(resolved, at, &step.op));
    let blocks: BTreeSet<Block> = blocks.collect();
    graph.parameterized_blocks = graph.fitted(blocks);
    graph
}

fn block(graph: &ResolvedGraph, at: usize, op: &Op) -> Option<Block> {
    let held: Vec<WeightId> = op.weights().into_iter().flatten().collect();
    let shape = |id: &WeightId| {
        let weight = graph.weights.get(id.0 as usize)?;
        Some(weight.shape.iter().map(u32::to_string).collect::<Vec<_>>().join("x"))
    };
    let weights: Vec<String> = held.iter().map(|id| id.0.to_string()).collect();
    (!held.is_empty()).then(|| Block {
        // Fixed width, so that they are sorted as they follow.
        name: format!("step_{at:05}"),
        kind: word(op),
        args: held.iter().filter_map(shape).collect(),
        keywords: BTreeMap::from([("weights".to_owned(), weights.join(","))]),
    })
}

/// An operator as the canonical graph calls it.
fn word(op: &Op) -> String {
    match serde_json::to_value(op) {
        Ok(Value::String(word)) => word,
        Ok(Value::Object(fields)) => fields.into_iter().next().map(|(word, _)| word).unwrap_or_default(),
        _ => String::new(),
    }
}
