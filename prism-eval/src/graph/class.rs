//! What kind of architecture a graph is, by its operators.
use super::resolved::{Op, ResolvedGraph};
use prism_core::standings::Class;

/// The class of an architecture: how its operators carry information from earlier positions to later ones. Taken from the
/// canonical graph, so nothing that a miner calls it changes it. Steps that the output doesn't depend on are not there.
///
/// A graph is of the class of its one kind of such operator, and [`Class::Hybrid`] with more than one.
#[must_use]
pub fn class(graph: &ResolvedGraph) -> Class {
    let (mut attention, mut convolution, mut recurrence) = (false, false, false);
    for step in &graph.steps {
        match &step.op {
            Op::Attention { .. } => attention = true,
            Op::Convolution { .. } | Op::Shift { .. } => convolution = true,
            Op::Recurrence => recurrence = true,
            Op::Embedding { .. }
            | Op::LearnedPositions { .. }
            | Op::Linear { .. }
            | Op::LayerNorm { .. }
            | Op::RmsNorm { .. }
            | Op::Add
            | Op::Multiply
            | Op::Activation { .. } => {}
        }
    }
    match (attention, convolution, recurrence) {
        (false, false, false) => Class::Other,
        (true, false, false) => Class::Attention,
        (false, true, false) => Class::Convolution,
        (false, false, true) => Class::Recurrent,
        _ => Class::Hybrid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{baselines, resolved::Step};
    use crate::policy::PlanPolicy;

    #[test]
    fn the_class_follows_from_the_operators_alone() {
        let plan = PlanPolicy::smoke();
        let spec = baselines::spec("llama").unwrap().unwrap();
        let mut graph = spec.resolve(&plan.context(256), &plan.limits()).unwrap();
        assert_eq!(class(&graph), Class::Attention);
        let shift = Step { op: Op::Shift { by: 1 }, inputs: vec![graph.output] };
        graph.steps.push(shift);
        assert_eq!(class(&graph), Class::Hybrid);
        graph.steps.retain(|step| !matches!(step.op, Op::Attention { .. }));
        assert_eq!(class(&graph), Class::Convolution);
        graph.steps.retain(|step| !matches!(step.op, Op::Shift { .. }));
        assert_eq!(class(&graph), Class::Other);
        graph.steps.push(Step { op: Op::Recurrence, inputs: vec![graph.output; 2] });
        assert_eq!(class(&graph), Class::Recurrent);
    }
}
