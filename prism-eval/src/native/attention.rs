//! Causal softmax attention with grouped heads and rotary positions, forward and backward.
use burn::tensor::{Bool, Device, Int, Tensor, activation::softmax};

/// Sizes of one attention step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Heads {
    /// Rows of the batch.
    pub(super) rows: usize,
    /// Positions per row.
    pub(super) positions: usize,
    /// Query heads.
    pub(super) heads: usize,
    /// Key and value heads.
    pub(super) kv_heads: usize,
}

/// Cosines and sines by position and frequency: `[1, positions, 1, head width / 2]`.
#[derive(Debug, Clone)]
pub(super) struct Rotary {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Rotary {
    /// Su et al. 2021: frequency `i` of `half` is `base^(-i / half)`. Computed in `f64`, kept in `f32`.
    pub(super) fn new(positions: usize, half: usize, base: f64, device: &Device) -> Self {
        let angles = || (0..positions).flat_map(|t| (0..half).map(move |i| angle(t, i, half, base)));
        let table =
            |values: Vec<f32>| Tensor::<1>::from_floats(values.as_slice(), device).reshape([1, positions, 1, half]);
        #[allow(clippy::cast_possible_truncation)]
        let (cosine, sine) =
            (table(angles().map(|a| a.cos() as f32).collect()), table(angles().map(|a| a.sin() as f32).collect()));
        Self { cosine, sine }
    }

    /// Turns `[rows, positions, heads, width]`, pairing dimension `i` with `i + width / 2`.
    fn turn(&self, x: Tensor<4>, back: bool) -> Tensor<4> {
        let half = self.cosine.dims()[3];
        let (low, high) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let (cosine, sine) = (self.cosine.clone(), self.sine.clone());
        let (lc, ls) = (low.clone() * cosine.clone(), low * sine.clone());
        let (hc, hs) = (high.clone() * cosine, high * sine);
        let turned = if back { vec![lc + hs, hc - ls] } else { vec![lc - hs, hc + ls] };
        Tensor::cat(turned, 3)
    }
}

#[allow(clippy::cast_precision_loss)]
fn angle(position: usize, index: usize, half: usize, base: f64) -> f64 {
    position as f64 * base.powf(-(index as f64) / half as f64)
}

/// True where a query may not look: `[1, 1, groups * positions, positions]`.
pub(super) fn causal_mask(groups: usize, positions: usize, device: &Device) -> Tensor<4, Bool> {
    let query = Tensor::<1, Int>::arange(0..positions as i64, device).reshape([1, 1, positions, 1]);
    let key = Tensor::<1, Int>::arange(0..positions as i64, device).reshape([1, 1, 1, positions]);
    query.repeat(&[1, 1, groups, 1]).lower(key)
}

/// What the backward pass needs: per-head values `[rows, kv heads, groups * positions or positions, width]`.
#[derive(Debug)]
pub(super) struct Saved {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    probabilities: Tensor<4>,
    output: Tensor<4>,
}

impl Saved {
    /// What each query looks at: `[rows, kv heads, groups * positions, positions]`.
    pub(super) fn probabilities(&self) -> Tensor<4> {
        self.probabilities.clone()
    }
}

impl Heads {
    /// `softmax(q · kᵀ / sqrt(width), causal) · v` per head, over values `[rows * positions, heads * width]`.
    pub(super) fn forward(
        self,
        [q, k, v]: [Tensor<2>; 3],
        mask: Tensor<4, Bool>,
        rotary: Option<&Rotary>,
    ) -> (Tensor<2>, Saved) {
        let width = q.dims()[1] / self.heads;
        // Scaling the query costs less than scaling the scores.
        let query = self.group(self.turned(q.mul_scalar(scale(width)), self.heads, rotary));
        let key = self.turned(k, self.kv_heads, rotary).swap_dims(1, 2);
        let value = self.split(v, self.kv_heads).swap_dims(1, 2);
        let scores = query.clone().matmul(key.clone().swap_dims(2, 3));
        let probabilities = softmax(scores.mask_fill(mask, f32::NEG_INFINITY), 3);
        let output = probabilities.clone().matmul(value.clone());
        let joined = self.ungroup(output.clone());
        (joined, Saved { query, key, value, probabilities, output })
    }

    /// Gradients of query, key and value.
    pub(super) fn backward(self, saved: Saved, gradient: Tensor<2>, rotary: Option<&Rotary>) -> [Tensor<2>; 3] {
        let Saved { query, key, value, probabilities, output } = saved;
        let width = query.dims()[3];
        let gradient = self.group(self.split(gradient, self.heads));
        let value_gradient = probabilities.clone().swap_dims(2, 3).matmul(gradient.clone());
        // Sum over keys of probability times its gradient, taken over the much shorter output instead (Dao et al. 2022).
        let mean = output.mul(gradient.clone()).sum_dim(3);
        let scores = gradient.matmul(value.swap_dims(2, 3)).sub(mean).mul(probabilities);
        let key_gradient = scores.clone().swap_dims(2, 3).matmul(query);
        let query_gradient = scores.matmul(key).mul_scalar(scale(width));
        [
            self.unturned(self.ungroup_heads(query_gradient), rotary),
            self.unturned(key_gradient.swap_dims(1, 2), rotary),
            self.flatten(value_gradient.swap_dims(1, 2)),
        ]
    }

    /// `[rows * positions, heads * width]` to `[rows, positions, heads, width]`.
    fn split(self, x: Tensor<2>, heads: usize) -> Tensor<4> {
        let width = x.dims()[1] / heads;
        x.reshape([self.rows, self.positions, heads, width])
    }

    fn flatten(self, x: Tensor<4>) -> Tensor<2> {
        let [rows, positions, heads, width] = x.dims();
        x.reshape([rows * positions, heads * width])
    }

    fn turned(self, x: Tensor<2>, heads: usize, rotary: Option<&Rotary>) -> Tensor<4> {
        let x = self.split(x, heads);
        match rotary {
            Some(rotary) => rotary.turn(x, false),
            None => x,
        }
    }

    fn unturned(self, x: Tensor<4>, rotary: Option<&Rotary>) -> Tensor<2> {
        match rotary {
            Some(rotary) => self.flatten(rotary.turn(x, true)),
            None => self.flatten(x),
        }
    }

    /// `[rows, positions, heads, width]` to `[rows, kv heads, groups * positions, width]`: the heads that share a key
    /// head stand below each other, so that one product serves them all.
    fn group(self, x: Tensor<4>) -> Tensor<4> {
        let groups = self.heads / self.kv_heads;
        if groups == 1 {
            return x.swap_dims(1, 2);
        }
        let width = x.dims()[3];
        x.reshape([self.rows, self.positions, self.kv_heads, groups, width]).permute([0, 2, 3, 1, 4]).reshape([
            self.rows,
            self.kv_heads,
            groups * self.positions,
            width,
        ])
    }

    /// The way back of [`Heads::group`].
    fn ungroup_heads(self, x: Tensor<4>) -> Tensor<4> {
        let groups = self.heads / self.kv_heads;
        if groups == 1 {
            return x.swap_dims(1, 2);
        }
        let width = x.dims()[3];
        x.reshape([self.rows, self.kv_heads, groups, self.positions, width]).permute([0, 3, 1, 2, 4]).reshape([
            self.rows,
            self.positions,
            self.heads,
            width,
        ])
    }

    fn ungroup(self, x: Tensor<4>) -> Tensor<2> {
        self.flatten(self.ungroup_heads(x))
    }
}

#[allow(clippy::cast_precision_loss)]
fn scale(width: usize) -> f64 {
    1.0 / (width as f64).sqrt()
}
