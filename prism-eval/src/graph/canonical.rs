//! One order for all spellings: names, node order, `let`, `repeat` and the order of operands leave no trace.
//!
//! Steps and weights are coloured by what they are and by what they are joined to, over and over until no colour splits
//! (Weisfeiler, Leman 1968). Where parts are still alike, each of them is tried as the first, and the one that gives
//! the smallest picture is taken (individualisation and refinement, McKay 1981, one level at a time). The order is then
//! the way down from the output. Operands of sums and products stand by depth, then by what they are made of nearby,
//! so that blocks that are alike are written alike, and by colour where that says nothing.
use super::{
    check::check,
    context::Limits,
    draft::{Draft, count, index},
    error::GraphError,
    resolved::{GRAPH_SCHEMA, Op, ResolvedGraph, Step, ValueId, WeightId},
    simplify::simplify,
    weights,
};
use prism_core::{Digest, FamilyId};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Most bytes of a canonical graph that are read.
pub const MAX_CANONICAL_BYTES: usize = 8 << 20;
/// Hashes that putting one graph in order may take: a second or so. A graph without interchangeable parts takes a few
/// for each step.
const WORK: u64 = 4_000_000;
/// How many steps back an operand's neighbourhood goes.
const NEARBY: usize = 6;

impl ResolvedGraph {
    /// The bytes that identify the architecture: compact JSON, fields in declaration order.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        // Numbers are finite by type and there are no maps: nothing that JSON can't carry.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads canonical bytes, from anywhere: everything that [`resolve`](super::GraphSpec::resolve) promises is checked
    /// again, and so is that the bytes are the canonical ones.
    ///
    /// # Errors
    /// The first promise that the bytes break.
    pub fn from_canonical_bytes(bytes: &[u8], limits: &Limits) -> Result<Self, GraphError> {
        if bytes.len() > MAX_CANONICAL_BYTES {
            let (value, limit) = (bytes.len() as u64, MAX_CANONICAL_BYTES as u64);
            return Err(GraphError::Limit { what: "bytes of a canonical architecture", value, limit });
        }
        let graph: Self = serde_json::from_slice(bytes).map_err(|error| GraphError::NotCanonical(error.to_string()))?;
        check(&graph, limits)?;
        if graph.canonical_bytes() != bytes {
            return Err(GraphError::NotCanonical("written in another way".into()));
        }
        Ok(graph)
    }

    /// SHA-256 of the canonical bytes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.canonical_bytes())
    }
}

/// The family of an architecture: its digest at the base size.
#[must_use]
pub fn family(graph: &ResolvedGraph) -> FamilyId {
    FamilyId(graph.digest().0)
}

/// The canonical graph of a draft.
pub(crate) fn canonicalise(draft: Draft) -> Result<ResolvedGraph, GraphError> {
    let draft = simplify(draft).map_err(|cause| GraphError::NotCanonical(cause.to_string()))?;
    let colours = Colouring::of(&draft)?;
    write(&draft, &ranks(&draft, colours))
}

type Colour = u128;

struct Colouring<'a> {
    draft: &'a Draft,
    /// The [`label`] of each step.
    labels: Vec<Colour>,
    /// Users of each value: step and place, the place being 0 where order means nothing.
    users: Vec<Vec<(usize, u8)>>,
    /// Users of each weight.
    holders: Vec<Vec<(usize, u8)>>,
    work: u64,
}

#[derive(Clone)]
struct Colours {
    steps: Vec<Colour>,
    weights: Vec<Colour>,
}

fn mix(tag: u8, parts: impl IntoIterator<Item = Colour>) -> Colour {
    let mut hash = Sha256::new();
    hash.update([tag]);
    for part in parts {
        hash.update(part.to_le_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    digest.iter().take(16).fold(0, |colour, byte| colour << 8 | Colour::from(*byte))
}

/// What a step is, weights and inputs aside.
fn label(step: &Step) -> Colour {
    let nameless = step.op.renamed(|_| WeightId(0));
    mix(b'l', serde_json::to_vec(&nameless).unwrap_or_default().into_iter().map(Colour::from))
}

impl<'a> Colouring<'a> {
    /// A colour of its own for every step.
    fn of(draft: &'a Draft) -> Result<Vec<Colour>, GraphError> {
        let mut users = vec![Vec::new(); draft.steps.len() + 1];
        let mut holders = vec![Vec::new(); draft.weights.len()];
        for (at, step) in draft.steps.iter().enumerate() {
            for (place, input) in step.inputs.iter().enumerate() {
                let place = if step.op.commutes() { 0 } else { u8::try_from(place).unwrap_or(u8::MAX) };
                if let Some(users) = users.get_mut(index(input.0)) {
                    users.push((at, place));
                }
            }
            for (place, weight) in (0..).zip(step.op.weights()) {
                if let Some(holders) = weight.and_then(|id| holders.get_mut(index(id.0))) {
                    holders.push((at, place));
                }
            }
        }
        let labels = draft.steps.iter().map(label).collect();
        let weights = draft.weights.iter().map(|shape| mix(b's', shape.iter().map(|size| Colour::from(*size))));
        let mut colours = Colours { steps: vec![0; draft.steps.len()], weights: weights.collect() };
        let mut colouring = Self { draft, labels, users, holders, work: 0 };
        colouring.refine(&mut colours)?;
        while let Some(cell) = smallest_cell(&colours.steps) {
            let mut best: Option<(Colour, Colours)> = None;
            for member in cell {
                let mut tried = colours.clone();
                if let Some(colour) = tried.steps.get_mut(member) {
                    *colour = mix(b'i', [*colour]);
                }
                colouring.refine(&mut tried)?;
                let picture = picture(&tried);
                if best.as_ref().is_none_or(|(smallest, _)| picture < *smallest) {
                    best = Some((picture, tried));
                }
            }
            let Some((_, chosen)) = best else { break };
            colours = chosen;
        }
        Ok(colours.steps)
    }

    /// Colours by surroundings until no more colours come out.
    fn refine(&mut self, colours: &mut Colours) -> Result<(), GraphError> {
        let total = colours.steps.len() + colours.weights.len();
        let edges: usize = self.draft.steps.iter().map(|step| step.inputs.len()).sum();
        let mut distinct = 0;
        loop {
            self.work = self.work.saturating_add((total + edges) as u64 * 2);
            if self.work > WORK {
                return Err(GraphError::Symmetric);
            }
            self.forward(colours);
            self.backward(colours);
            let steps: BTreeSet<_> = colours.steps.iter().collect();
            let weights: BTreeSet<_> = colours.weights.iter().collect();
            let found = steps.len() + weights.len();
            if found == distinct || found == total {
                return Ok(());
            }
            distinct = found;
        }
    }

    /// Mixes into each step what it is made of.
    fn forward(&self, colours: &mut Colours) {
        for (at, (step, label)) in self.draft.steps.iter().zip(&self.labels).enumerate() {
            let own = colours.steps.get(at).copied().unwrap_or_default();
            let weights = step
                .op
                .weights()
                .map(|weight| weight.and_then(|id| colours.weights.get(index(id.0)).copied()).unwrap_or_default());
            let inputs = step.inputs.iter().map(|id| match self.draft.producer(*id) {
                Some(made) => colours.steps.get(made).copied().unwrap_or_default(),
                None => 0,
            });
            let mut inputs: Vec<Colour> = inputs.collect();
            if step.op.commutes() {
                inputs.sort_unstable();
            }
            let colour = mix(b'f', [*label, own].into_iter().chain(weights).chain(inputs));
            if let Some(own) = colours.steps.get_mut(at) {
                *own = colour;
            }
        }
    }

    /// Mixes into each step and weight what uses it.
    fn backward(&self, colours: &mut Colours) {
        let surroundings = |users: &[(usize, u8)], steps: &[Colour]| {
            let colour = |at: usize| steps.get(at).copied().unwrap_or_default();
            let mut seen: Vec<_> = users.iter().map(|(at, place)| (colour(*at), *place)).collect();
            seen.sort_unstable();
            seen.into_iter().flat_map(|(colour, place)| [colour, Colour::from(place)])
        };
        for at in (0..self.draft.steps.len()).rev() {
            let users = self.users.get(at + 1).map(Vec::as_slice).unwrap_or_default();
            let last = Colour::from(self.draft.producer(self.draft.output) == Some(at));
            let own = colours.steps.get(at).copied().unwrap_or_default();
            let colour = mix(b'b', [own, last].into_iter().chain(surroundings(users, &colours.steps)));
            if let Some(own) = colours.steps.get_mut(at) {
                *own = colour;
            }
        }
        for (own, holders) in colours.weights.iter_mut().zip(&self.holders) {
            *own = mix(b'w', [*own].into_iter().chain(surroundings(holders, &colours.steps)));
        }
    }
}

/// The steps of one colour that aren't alone: the smallest such group, of the smallest colour.
fn smallest_cell(colours: &[Colour]) -> Option<Vec<usize>> {
    let mut cells: BTreeMap<Colour, Vec<usize>> = BTreeMap::new();
    for (at, colour) in colours.iter().enumerate() {
        cells.entry(*colour).or_default().push(at);
    }
    cells.into_values().filter(|cell| cell.len() > 1).min_by_key(Vec::len)
}

/// All colours at a glance, whatever the order of steps.
fn picture(colours: &Colours) -> Colour {
    let mut all: Vec<Colour> = colours.steps.iter().chain(&colours.weights).copied().collect();
    all.sort_unstable();
    mix(b'p', all)
}

/// Where an operand stands among the others: depth, neighbourhood, colour.
type Rank = (u32, Colour, Colour);

fn ranks(draft: &Draft, colours: Vec<Colour>) -> Vec<Rank> {
    let mut depths: Vec<u32> = Vec::with_capacity(draft.steps.len());
    for step in &draft.steps {
        let inputs = step.inputs.iter().filter_map(|id| draft.producer(*id).and_then(|made| depths.get(made)));
        depths.push(inputs.max().map_or(0, |deepest| deepest + 1));
    }
    let labels: Vec<Colour> = draft.steps.iter().map(label).collect();
    let mut near = labels.clone();
    for _ in 0..NEARBY {
        let around = |(step, label): (&Step, &Colour)| {
            let colour =
                |id: &ValueId| draft.producer(*id).and_then(|made| near.get(made)).copied().unwrap_or_default();
            let mut inputs: Vec<Colour> = step.inputs.iter().map(colour).collect();
            if step.op.commutes() {
                inputs.sort_unstable();
            }
            mix(b'n', std::iter::once(*label).chain(inputs))
        };
        near = draft.steps.iter().zip(&labels).map(around).collect();
    }
    depths.into_iter().zip(near).zip(colours).map(|((depth, near), colour)| (depth, near, colour)).collect()
}

/// The graph in the order of its ranks: post-order from the output, sums and products two by two.
fn write(draft: &Draft, ranks: &[Rank]) -> Result<ResolvedGraph, GraphError> {
    let rank = |id: ValueId| draft.producer(id).and_then(|made| ranks.get(made)).copied();
    let ordered = |step: &Step| {
        let mut inputs = step.inputs.clone();
        if step.op.commutes() {
            inputs.sort_by_key(|id| rank(*id));
        }
        inputs
    };
    let mut steps: Vec<Step> = Vec::new();
    let mut names: Vec<Option<ValueId>> = vec![None; draft.steps.len()];
    let mut weight_names: BTreeMap<WeightId, WeightId> = BTreeMap::new();
    let mut shapes: Vec<Vec<u32>> = Vec::new();
    let mut open: Vec<(usize, Vec<ValueId>, usize)> = Vec::new();
    let enter = |at: usize| draft.steps.get(at).map(|step| (at, ordered(step), 0));
    open.extend(draft.producer(draft.output).and_then(enter));
    while let Some((at, inputs, next)) = open.last_mut() {
        if let Some(input) = inputs.get(*next).copied() {
            *next += 1;
            if let Some(made) = draft.producer(input)
                && names.get(made).is_some_and(Option::is_none)
            {
                open.extend(enter(made));
            }
            continue;
        }
        let (at, inputs) = (*at, std::mem::take(inputs));
        open.pop();
        let Some(step) = draft.steps.get(at) else { continue };
        let op = step.op.renamed(|id| {
            *weight_names.entry(id).or_insert_with(|| {
                shapes.push(draft.weights.get(index(id.0)).cloned().unwrap_or_default());
                WeightId(count(shapes.len()) - 1)
            })
        });
        let named = inputs.iter().map(|id| match draft.producer(*id) {
            Some(made) => names.get(made).copied().flatten().unwrap_or(ValueId(0)),
            None => ValueId(0),
        });
        let name = push_binary(&mut steps, &op, named.collect());
        if let Some(slot) = names.get_mut(at) {
            *slot = Some(name);
        }
    }
    let output = draft.producer(draft.output).and_then(|made| names.get(made).copied().flatten());
    let output = output.unwrap_or(ValueId(0));
    let weights =
        weights::describe(&shapes, &steps, output).map_err(|problem| GraphError::NotCanonical(problem.to_owned()))?;
    let (vocabulary, sequence) = (draft.vocabulary, draft.sequence);
    Ok(ResolvedGraph { schema: GRAPH_SCHEMA, vocabulary, sequence, weights, steps, output })
}

fn push_binary(steps: &mut Vec<Step>, op: &Op, inputs: Vec<ValueId>) -> ValueId {
    let mut push = |inputs: Vec<ValueId>| {
        steps.push(Step { op: op.clone(), inputs });
        ValueId(count(steps.len()))
    };
    if !op.commutes() {
        return push(inputs);
    }
    let mut terms = inputs.into_iter();
    let first = terms.next().unwrap_or(ValueId(0));
    terms.fold(first, |sum, term| push(vec![sum, term]))
}

#[cfg(test)]
mod tests;
