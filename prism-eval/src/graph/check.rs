//! All promises of a resolved architecture, checked on the thing itself.
use super::{
    canonical::canonicalise,
    context::Limits,
    cost,
    draft::{Draft, index},
    error::{GraphError, PARAMETERS},
    resolved::{GRAPH_SCHEMA, ResolvedGraph},
    shape::{Shape, Shapes, lookahead},
    weights,
};

/// Checks shapes, causality, bounds, roles, starts and order.
pub(crate) fn check(graph: &ResolvedGraph, limits: &Limits) -> Result<(), GraphError> {
    if graph.schema != GRAPH_SCHEMA {
        return Err(GraphError::NotCanonical(format!("schema {}, this version reads {GRAPH_SCHEMA}", graph.schema)));
    }
    bound("steps", graph.steps.len() as u64, u64::from(limits.steps))?;
    bound("weights", graph.weights.len() as u64, 2 * u64::from(limits.steps))?;
    let draft = Draft::of(graph).map_err(|cause| GraphError::NotCanonical(cause.to_string()))?;
    for shape in draft.shapes() {
        if let Shape::Hidden(width) = shape {
            bound("width", u64::from(*width), u64::from(limits.width.max(graph.vocabulary)))?;
        }
    }
    if graph.weights.iter().flat_map(|weight| &weight.shape).any(|size| *size == 0) {
        return Err(GraphError::NotCanonical("a weight without values".into()));
    }
    bounds(graph, limits)?;
    let found = draft.value(graph.output).unwrap_or(Shape::Tokens);
    if found != Shape::Hidden(graph.vocabulary) {
        return Err(GraphError::OutputWidth { found: found.to_string(), vocabulary: graph.vocabulary });
    }
    let positions = ahead(graph);
    if positions > 0 {
        return Err(GraphError::Lookahead { positions, at: None });
    }
    let described = weights::describe(&draft.weights, &graph.steps, graph.output)
        .map_err(|problem| GraphError::NotCanonical(problem.to_owned()))?;
    if described != graph.weights {
        return Err(GraphError::NotCanonical("a weight is not what its place makes it".into()));
    }
    if canonicalise(draft)? != *graph {
        return Err(GraphError::NotCanonical("in another order".into()));
    }
    Ok(())
}

fn bounds(graph: &ResolvedGraph, limits: &Limits) -> Result<(), GraphError> {
    bound(PARAMETERS, cost::parameters(graph), limits.parameters)?;
    bound("layers", u64::from(cost::layers(graph)), u64::from(limits.layers))?;
    bound("floating-point operations per token", cost::flops_per_token(graph), limits.flops_per_token)?;
    let peak = cost::peak_bytes(graph, limits.batch, graph.sequence);
    bound("estimated bytes of memory", peak, limits.peak_bytes)
}

pub(crate) fn bound(what: &'static str, value: u64, limit: u64) -> Result<(), GraphError> {
    if value <= limit { Ok(()) } else { Err(GraphError::Limit { what, value, limit }) }
}

/// How many positions after its own the output depends on; negative when it lags.
pub(crate) fn ahead(graph: &ResolvedGraph) -> i64 {
    let mut values = vec![0_i64];
    for step in &graph.steps {
        let inputs = step.inputs.iter().filter_map(|id| values.get(index(id.0)).copied());
        let ahead = lookahead(&step.op, inputs);
        values.push(ahead);
    }
    values.get(index(graph.output.0)).copied().unwrap_or(i64::MAX)
}
