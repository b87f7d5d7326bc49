//! What means the same becomes the same, before identity is taken: dead steps go, nested sums and products are
//! flattened, shifts are joined, what is computed twice is computed once.
use super::{
    draft::{Draft, TOKENS, index},
    resolved::{Activation, Op, Step, ValueId},
    shape::{ShapeError, Shapes},
};
use std::collections::BTreeMap;

/// The smallest draft that the rules give.
pub(crate) fn simplify(draft: Draft) -> Result<Draft, ShapeError> {
    let mut current = draft;
    // Every pass that changes something leaves fewer live steps or fewer edges, so this many always suffice.
    for _ in 0..current.steps.len().saturating_mul(2) {
        let next = pass(&current)?;
        if next == current {
            break;
        }
        current = next;
    }
    Ok(current)
}

fn pass(draft: &Draft) -> Result<Draft, ShapeError> {
    let live = draft.live();
    let mut uses = vec![0_u32; draft.steps.len() + 1];
    let living = draft.steps.iter().zip(&live).filter(|(_, live)| **live).map(|(step, _)| step);
    for input in living.flat_map(|step| &step.inputs).chain([&draft.output]) {
        if let Some(uses) = uses.get_mut(index(input.0)) {
            *uses += 1;
        }
    }
    let mut next = Draft::new(draft.vocabulary, draft.sequence);
    next.weights.clone_from(&draft.weights);
    // For each old value: its new name, and its operands when it is a sum or product.
    let mut names = vec![TOKENS];
    let mut operands: Vec<Vec<ValueId>> = vec![Vec::new()];
    let mut known: BTreeMap<(Op, Vec<ValueId>), ValueId> = BTreeMap::new();
    for (step, live) in draft.steps.iter().zip(&live) {
        if !live {
            names.push(TOKENS);
            operands.push(Vec::new());
            continue;
        }
        let mut inputs = Vec::new();
        for input in &step.inputs {
            let alike = draft
                .producer(*input)
                .and_then(|made| draft.steps.get(made))
                .is_some_and(|made| step.op.commutes() && made.op == step.op && uses.get(index(input.0)) == Some(&1));
            match operands.get(index(input.0)) {
                Some(terms) if alike => inputs.extend(terms),
                _ => inputs.push(*names.get(index(input.0)).ok_or(ShapeError::Missing)?),
            }
        }
        if step.op.commutes() {
            inputs.sort_unstable();
        }
        operands.push(if step.op.commutes() { inputs.clone() } else { Vec::new() });
        let name = match fold(&next, Step { op: step.op.clone(), inputs }) {
            Folded::Into(value) => value,
            Folded::Step(step) => {
                let key = (step.op, step.inputs);
                match known.get(&key) {
                    Some(value) => *value,
                    None => {
                        let value = next.push(key.0.clone(), key.1.clone())?;
                        known.insert(key, value);
                        value
                    }
                }
            }
        };
        names.push(name);
    }
    next.output = *names.get(index(draft.output.0)).ok_or(ShapeError::Missing)?;
    Ok(next)
}

enum Folded {
    Into(ValueId),
    Step(Step),
}

fn fold(draft: &Draft, step: Step) -> Folded {
    let Some(input) = step.inputs.first().copied() else { return Folded::Step(step) };
    let before = draft.producer(input).and_then(|made| draft.steps.get(made));
    match (&step.op, before.map(|made| &made.op)) {
        (Op::Shift { by: 0 }, _) => Folded::Into(input),
        (Op::Shift { by }, Some(Op::Shift { by: earlier })) if (*by > 0) == (*earlier > 0) => {
            let joined = by.checked_add(*earlier).filter(|sum| sum.unsigned_abs() < draft.sequence());
            match (joined, before.and_then(|made| made.inputs.first())) {
                (Some(by), Some(origin)) => Folded::Step(Step { op: Op::Shift { by }, inputs: vec![*origin] }),
                _ => Folded::Step(step),
            }
        }
        // Of what is never negative it is the same value.
        (Op::Activation { function: Activation::Relu }, Some(Op::Activation { function })) => match function {
            Activation::Relu | Activation::ReluSquared | Activation::Sigmoid => Folded::Into(input),
            Activation::Gelu | Activation::Silu | Activation::Tanh => Folded::Step(step),
        },
        _ => Folded::Step(step),
    }
}
