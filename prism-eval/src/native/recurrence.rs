//! The gated linear recurrence `h_t = (1 - z_t) h_(t-1) + z_t c_t`, `z = sigmoid(gate)`, and its gradients.
use burn::tensor::{Tensor, activation::sigmoid};

/// What the gradients need.
#[derive(Debug)]
pub(super) struct Saved {
    gate: Tensor<2>,
    candidate: Tensor<2>,
    /// The state before each position.
    before: Tensor<3>,
}

/// The states, and what [`backward`] needs. All are `[rows * positions, width]`.
pub(super) fn forward(gate: Tensor<2>, candidate: Tensor<2>, rows: usize, positions: usize) -> (Tensor<2>, Saved) {
    let [all, width] = candidate.dims();
    let gate = sigmoid(gate);
    let cube = |x: Tensor<2>| x.reshape([rows, positions, width]);
    let keep = cube(gate.clone().neg().add_scalar(1.0));
    let states = scan(keep, cube(gate.clone().mul(candidate.clone())));
    let before = later(states.clone());
    (states.reshape([all, width]), Saved { gate, candidate, before })
}

/// The gradients of gate and candidate.
pub(super) fn backward(saved: Saved, gradient: Tensor<2>, rows: usize, positions: usize) -> [Tensor<2>; 2] {
    let Saved { gate, candidate, before } = saved;
    let [all, width] = gradient.dims();
    let cube = |x: Tensor<2>| x.reshape([rows, positions, width]);
    // A state's gradient is its own and what the next state kept of it: the same recurrence, from the end.
    let keep = cube(gate.clone().neg().add_scalar(1.0));
    let of_states = scan(later(keep.flip([1])), cube(gradient).flip([1])).flip([1]).reshape([all, width]);
    let before = before.reshape([all, width]);
    let slope = gate.clone().neg().add_scalar(1.0).mul(gate.clone());
    let of_gate = of_states.clone().mul(candidate.sub(before)).mul(slope);
    [of_gate, of_states.mul(gate)]
}

/// `h_t = keep_t h_(t-1) + add_t` along the positions, from 0. In order: the bits don't depend on the length of the row.
fn scan(keep: Tensor<3>, add: Tensor<3>) -> Tensor<3> {
    let positions = add.dims()[1];
    let mut states: Vec<Tensor<3>> = Vec::with_capacity(positions);
    for at in 0..positions {
        let add = add.clone().narrow(1, at, 1);
        let state = match states.last() {
            Some(state) => keep.clone().narrow(1, at, 1).mul(state.clone()).add(add),
            None => add,
        };
        states.push(state);
    }
    Tensor::cat(states, 1)
}

/// Moved one position later, 0 at the start.
fn later(x: Tensor<3>) -> Tensor<3> {
    let [rows, positions, width] = x.dims();
    let zeros = Tensor::zeros([rows, 1, width], &x.device());
    if positions < 2 {
        return zeros;
    }
    Tensor::cat(vec![zeros, x.narrow(1, 0, positions - 1)], 1)
}
