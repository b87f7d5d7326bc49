//! What each operator makes of shapes, and how far ahead of its position a value may look.
use super::resolved::{Op, Positions, ValueId, WeightId};
use std::fmt;

/// The static shape of a value; batch and sequence are common to all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Token ids, `[batch, sequence]`.
    Tokens,
    /// Hidden values, `[batch, sequence, width]`.
    Hidden(u32),
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokens => f.write_str("tokens"),
            Self::Hidden(width) => write!(f, "width {width}"),
        }
    }
}

/// Why an operator can't be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Another number of inputs.
    #[error("takes {expected} inputs, has {found}")]
    Inputs {
        /// As many.
        expected: &'static str,
        /// This many.
        found: usize,
    },
    /// Tokens where hidden values belong, or the other way round.
    #[error("takes {expected}, has {found}")]
    Kind {
        /// What belongs there.
        expected: &'static str,
        /// What is there.
        found: Shape,
    },
    /// Values that must be equally wide.
    #[error("joins values of width {left} and {right}")]
    Widths {
        /// One.
        left: u32,
        /// Another.
        right: u32,
    },
    /// A weight that doesn't fit.
    #[error("has a weight of shape {found:?} where {expected:?} belongs")]
    Weight {
        /// What belongs there; a number is free where it is 0.
        expected: Vec<u32>,
        /// What is there.
        found: Vec<u32>,
    },
    /// Heads that don't divide a width, or each other.
    #[error("{what} {whole} can't be split into {parts}")]
    Division {
        /// What is split.
        what: &'static str,
        /// Its number.
        whole: u32,
        /// Into how many.
        parts: u32,
    },
    /// Rotations pair dimensions.
    #[error("rotary positions need an even head width, not {0}")]
    OddHead(u32),
    /// A number outside its range.
    #[error("{what} is {value}")]
    Range {
        /// Which number.
        what: &'static str,
        /// What it says.
        value: i64,
    },
    /// A value or weight that doesn't exist, or not yet.
    #[error("names a value or weight that doesn't stand before it")]
    Missing,
}

/// What [`infer`] may look up.
pub(crate) trait Shapes {
    fn value(&self, id: ValueId) -> Option<Shape>;
    fn weight(&self, id: WeightId) -> Option<&[u32]>;
    fn vocabulary(&self) -> u32;
    fn sequence(&self) -> u32;
}

/// Smallest and largest base of rotary frequencies.
pub(crate) const ROTARY_BASE: (f64, f64) = (10.0, 100_000_000.0);
/// Most positions that a convolution reads.
pub(crate) const MAX_KERNEL: u32 = 64;
/// Added inside the roots of norms, for all.
pub(crate) const EPSILON: f64 = 1e-5;

/// The shape of an operator's result. Sums and products may have more than two inputs here.
pub(crate) fn infer(op: &Op, inputs: &[ValueId], shapes: &impl Shapes) -> Result<Shape, ShapeError> {
    let weight = |id: WeightId| shapes.weight(id).ok_or(ShapeError::Missing);
    let hidden = |index: usize| {
        let id = inputs.get(index).copied().ok_or(ShapeError::Missing)?;
        match shapes.value(id).ok_or(ShapeError::Missing)? {
            Shape::Hidden(width) => Ok(width),
            Shape::Tokens => Err(ShapeError::Kind { expected: "hidden values", found: Shape::Tokens }),
        }
    };
    let exactly = |count: usize, expected: &'static str| {
        if inputs.len() == count { Ok(()) } else { Err(ShapeError::Inputs { expected, found: inputs.len() }) }
    };
    let fits = |id: WeightId, expected: &[u32]| {
        let found = weight(id)?;
        if found == expected {
            Ok(())
        } else {
            Err(ShapeError::Weight { expected: expected.to_vec(), found: found.to_vec() })
        }
    };
    match op {
        Op::Attention { .. } => exactly(3, "3")?,
        Op::Recurrence => exactly(2, "2")?,
        Op::Add | Op::Multiply if inputs.len() < 2 => {
            return Err(ShapeError::Inputs { expected: "2 or more", found: inputs.len() });
        }
        Op::Add | Op::Multiply => {}
        _ => exactly(1, "1")?,
    }
    let width = match op {
        Op::Embedding { table } => {
            let id = inputs.first().copied().ok_or(ShapeError::Missing)?;
            match shapes.value(id).ok_or(ShapeError::Missing)? {
                Shape::Tokens => {}
                found @ Shape::Hidden(_) => return Err(ShapeError::Kind { expected: "tokens", found }),
            }
            match weight(*table)? {
                [vocabulary, width] if *vocabulary == shapes.vocabulary() => *width,
                found => {
                    let expected = vec![shapes.vocabulary(), 0];
                    return Err(ShapeError::Weight { expected, found: found.to_vec() });
                }
            }
        }
        Op::LearnedPositions { table } => {
            let width = hidden(0)?;
            fits(*table, &[shapes.sequence(), width])?;
            width
        }
        Op::Linear { weight: matrix, bias, transposed } => {
            let width = hidden(0)?;
            let out = match (weight(*matrix)?, *transposed) {
                ([inside, out], false) | ([out, inside], true) if *inside == width => *out,
                (found, _) => {
                    let expected = if *transposed { vec![0, width] } else { vec![width, 0] };
                    return Err(ShapeError::Weight { expected, found: found.to_vec() });
                }
            };
            if let Some(bias) = bias {
                fits(*bias, &[out])?;
            }
            out
        }
        Op::LayerNorm { gain, bias, epsilon } => {
            let width = hidden(0)?;
            fits(*gain, &[width])?;
            if let Some(bias) = bias {
                fits(*bias, &[width])?;
            }
            check_epsilon(epsilon.get())?;
            width
        }
        Op::RmsNorm { gain, epsilon } => {
            let width = hidden(0)?;
            fits(*gain, &[width])?;
            check_epsilon(epsilon.get())?;
            width
        }
        Op::Attention { heads, kv_heads, positions } => {
            let (queries, keys, values) = (hidden(0)?, hidden(1)?, hidden(2)?);
            let split = |what: &'static str, whole: u32, parts: u32| match whole.checked_rem(parts) {
                Some(0) => Ok(whole / parts),
                _ => Err(ShapeError::Division { what, whole, parts }),
            };
            let head = split("width", queries, *heads)?;
            split("number of heads", *heads, *kv_heads)?;
            let kv_width = head.saturating_mul(*kv_heads);
            for width in [keys, values] {
                if width != kv_width {
                    return Err(ShapeError::Widths { left: kv_width, right: width });
                }
            }
            if let Positions::Rotary { base } = positions {
                if head % 2 == 1 {
                    return Err(ShapeError::OddHead(head));
                }
                if !(ROTARY_BASE.0..=ROTARY_BASE.1).contains(&base.get()) {
                    return Err(ShapeError::Range { what: "rotary base", value: base.get() as i64 });
                }
            }
            queries
        }
        Op::Add | Op::Multiply => {
            let left = hidden(0)?;
            for index in 1..inputs.len() {
                let right = hidden(index)?;
                if right != left {
                    return Err(ShapeError::Widths { left, right });
                }
            }
            left
        }
        Op::Recurrence => {
            let (left, right) = (hidden(0)?, hidden(1)?);
            if left != right {
                return Err(ShapeError::Widths { left, right });
            }
            left
        }
        Op::Convolution { weight: taps, bias } => {
            let width = hidden(0)?;
            match weight(*taps)? {
                [kernel, channels] if *channels == width => {
                    if *kernel == 0 || *kernel > MAX_KERNEL.min(shapes.sequence()) {
                        return Err(ShapeError::Range { what: "kernel", value: i64::from(*kernel) });
                    }
                }
                found => return Err(ShapeError::Weight { expected: vec![0, width], found: found.to_vec() }),
            }
            if let Some(bias) = bias {
                fits(*bias, &[width])?;
            }
            width
        }
        Op::Activation { .. } => hidden(0)?,
        Op::Shift { by } => {
            if by.unsigned_abs() >= shapes.sequence() {
                return Err(ShapeError::Range { what: "shift", value: i64::from(*by) });
            }
            hidden(0)?
        }
    };
    Ok(Shape::Hidden(width))
}

/// By how many positions a result may depend on tokens after its own, given the same of its inputs: attention,
/// convolution and recurrence look back, so only [`Op::Shift`] moves it. Causal is whatever is at most 0.
pub(crate) fn lookahead(op: &Op, inputs: impl Iterator<Item = i64>) -> i64 {
    let furthest = inputs.max().unwrap_or(0);
    match op {
        Op::Shift { by } => furthest.saturating_sub(i64::from(*by)),
        _ => furthest,
    }
}

fn check_epsilon(epsilon: f64) -> Result<(), ShapeError> {
    if epsilon.to_bits() == EPSILON.to_bits() {
        Ok(())
    } else {
        Err(ShapeError::Range { what: "epsilon of a norm", value: epsilon as i64 })
    }
}
