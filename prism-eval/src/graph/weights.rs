//! What each weight is and where it starts, read off the structure: a miner chooses neither, so two spellings of one
//! architecture start alike.
//!
//! | weight | start | source |
//! |---|---|---|
//! | tables | normal, `sqrt(2 / (5 · width))` | small init, Nguyen, Salazar 2019; 0.023 at GPT-2's width, where GPT-2 has 0.02 |
//! | matrices | normal, `sqrt(2 / (5 · in))` | the same |
//! | taps of convolutions | normal, `sqrt(2 / (5 · kernel))` | the same: a channel reads as many values |
//! | of matrices, those that feed nothing but a sum | the same over `n`, the number of them | depth scaling of GPT-J (Wang, Komatsuzaki 2021): blocks start near the identity |
//! | gains, biases | 1, 0 | |
//!
//! Tables at a fixed 0.02 suit wide models only: at width 64 the tied GPT baseline then stood at 3.5 bits per byte where
//! this rule gives 2.65 (400 steps of 1024 bytes of the stand-in, rate 0.01). Deviations are rounded to six digits after
//! the point, and never to 0.
use super::{
    draft::{count, index},
    resolved::{Init, Op, Step, ValueId, Weight, WeightId, WeightRole},
};
use prism_core::Finite;

/// Roles and starts of the weights of these shapes; the name of the rule when one weight would be two things, or none.
pub(crate) fn describe(shapes: &[Vec<u32>], steps: &[Step], output: ValueId) -> Result<Vec<Weight>, &'static str> {
    let mut roles: Vec<Option<WeightRole>> = vec![None; shapes.len()];
    let mut claim = |id: WeightId, role: WeightRole| {
        let known = roles.get_mut(index(id.0)).ok_or("a step names a weight that doesn't exist")?;
        match known {
            Some(other) if *other != role => Err("one weight is two different things"),
            _ => {
                *known = Some(role);
                Ok(())
            }
        }
    };
    for step in steps {
        let [first, bias] = step.op.weights();
        let role = match &step.op {
            Op::Embedding { .. } | Op::LearnedPositions { .. } | Op::Linear { transposed: true, .. } => {
                WeightRole::Embedding
            }
            Op::Linear { .. } | Op::Convolution { .. } => WeightRole::Matrix,
            _ => WeightRole::Gain,
        };
        if let Some(first) = first {
            claim(first, role)?;
        }
        if let Some(bias) = bias {
            claim(bias, WeightRole::Bias)?;
        }
    }
    let embedded = |id: WeightId| steps.iter().any(|step| step.op == Op::Embedding { table: id });
    for step in steps {
        if let Op::Linear { weight, transposed: true, .. } = step.op
            && !embedded(weight)
        {
            return Err("a transposed weight is no embedding's table");
        }
    }
    let deviations = deviations(shapes, steps, output);
    let weights = shapes.iter().zip(roles).zip(deviations).map(|((shape, role), deviation)| {
        let role = role.ok_or("a weight that no step names")?;
        let init = match role {
            WeightRole::Gain => Init::Ones,
            WeightRole::Bias => Init::Zeros,
            WeightRole::Embedding => Init::Normal { deviation: rounded(small(shape.last().copied().unwrap_or(1))) },
            WeightRole::Matrix => Init::Normal { deviation: rounded(deviation) },
        };
        Ok(Weight { shape: shape.clone(), init, role })
    });
    weights.collect()
}

/// Deviations of the matrices and taps; a tied one takes the smallest that any use asks for.
fn deviations(shapes: &[Vec<u32>], steps: &[Step], output: ValueId) -> Vec<f64> {
    let mut users: Vec<(u32, bool)> = vec![(0, true); steps.len() + 1];
    for step in steps {
        for input in &step.inputs {
            if let Some((uses, summed)) = users.get_mut(index(input.0)) {
                *uses += 1;
                *summed &= step.op == Op::Add;
            }
        }
    }
    let matrices = || {
        steps.iter().enumerate().filter_map(|(at, step)| match step.op {
            Op::Linear { weight, transposed: false, .. } => Some((ValueId(count(at + 1)), weight)),
            _ => None,
        })
    };
    let residual = |value: ValueId| value != output && users.get(index(value.0)) == Some(&(1, true));
    let branches = matrices().filter(|(value, _)| residual(*value)).count();
    let mut deviations = vec![f64::INFINITY; shapes.len()];
    for (value, weight) in matrices() {
        let Some([inside, _]) = shapes.get(index(weight.0)).map(Vec::as_slice) else { continue };
        let share = if residual(value) { f64::from(count(branches)) } else { 1.0 };
        let deviation = small(*inside) / share;
        if let Some(least) = deviations.get_mut(index(weight.0)) {
            *least = least.min(deviation);
        }
    }
    for step in steps {
        if let Op::Convolution { weight, .. } = step.op
            && let Some([kernel, _]) = shapes.get(index(weight.0)).map(Vec::as_slice)
            && let Some(least) = deviations.get_mut(index(weight.0))
        {
            *least = least.min(small(*kernel));
        }
    }
    deviations
}

fn small(width: u32) -> f64 {
    (2.0 / (5.0 * f64::from(width))).sqrt()
}

fn rounded(deviation: f64) -> Finite {
    Finite::new((deviation * 1e6).round().max(1.0) / 1e6).unwrap_or(Finite::ZERO)
}
