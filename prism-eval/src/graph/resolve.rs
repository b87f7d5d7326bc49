//! From the submitted form to the resolved graph: names are looked up, sizes computed, `repeat` unrolled, composites
//! lowered, and everything is checked before a byte of a weight exists.
use super::{
    canonical::canonicalise,
    check::{bound, check},
    context::{Context, Limits},
    draft::{Draft, TOKENS},
    error::{GraphError, Place},
    expression::{Expression, Names, define},
    resolved::{Activation, Op, Positions, ResolvedGraph, ValueId, WeightId},
    shape::{EPSILON, Shape, ShapeError, Shapes},
    spec::{GraphSpec, Node, PositionScheme, Tied},
};
use prism_core::Finite;
use std::collections::{BTreeMap, BTreeSet};

/// Most nodes in a document.
pub const MAX_NODES: usize = 1024;
/// Deepest `repeat` in `repeat`.
const MAX_NESTING: usize = 8;
/// Most nodes after unrolling, those that leave no step included.
const MAX_VISITS: u64 = 65_536;
/// Longest id.
const MAX_ID_BYTES: usize = 64;

impl GraphSpec {
    /// The canonical graph at these sizes, within these limits and the ceilings of the context.
    ///
    /// # Errors
    /// The first rule that it breaks, with node and line: unknown operators, attributes and names, circles, shapes that
    /// don't fit, dependence on later tokens, bounds on layers, parameters, work and memory.
    pub fn resolve(&self, context: &Context, limits: &Limits) -> Result<ResolvedGraph, GraphError> {
        let limits = limits.within(context);
        check_ids(&self.nodes)?;
        let ctx: Names =
            context.names().into_iter().map(|(name, value)| (name.to_owned(), i128::from(value))).collect();
        let names = define(&ctx, &self.definitions).map_err(GraphError::Definitions)?;
        let draft = Draft::new(context.vocab_size, context.sequence_length);
        let mut lowering = Lowering {
            draft,
            names: &names,
            limits: &limits,
            weights: BTreeMap::new(),
            iterations: Vec::new(),
            visits: 0,
            edges: 0,
            back: None,
        };
        let tokens = Entry { value: TOKENS, table: None };
        let mut scope = Scope { outer: None, entries: BTreeMap::from([("tokens", tokens)]) };
        for at in order(&self.nodes)? {
            if let Some(node) = self.nodes.get(at) {
                lowering.node(node, &mut scope)?;
            }
        }
        let output = scope.entries.get(self.output.as_str()).filter(|_| self.output != "tokens");
        let Lowering { mut draft, back, .. } = lowering;
        draft.output = output.ok_or_else(|| GraphError::Output(self.output.clone()))?.value;
        let graph = canonicalise(draft)?;
        check(&graph, &limits).map_err(|error| match error {
            GraphError::Lookahead { positions, .. } => GraphError::Lookahead { positions, at: back },
            other => other,
        })?;
        Ok(graph)
    }
}

/// Every id is a name, and nobody else's in the document.
fn check_ids(nodes: &[Node]) -> Result<(), GraphError> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<(&Node, usize)> = nodes.iter().map(|node| (node, 0)).collect();
    while let Some((node, depth)) = open.pop() {
        let problem = match node.id.as_str() {
            "tokens" | "input" => Some("the id has a meaning of its own"),
            id if !is_id(id) => Some("an id is made of up to 64 letters, digits and `_`, `-`, `.`"),
            id if !seen.insert(id) => Some("the id is taken"),
            _ if depth > MAX_NESTING => Some("`repeat` nests too deep"),
            _ => None,
        };
        if let Some(problem) = problem {
            return Err(GraphError::Id { at: place(node), problem });
        }
        bound("nodes", seen.len() as u64, MAX_NODES as u64)?;
        open.extend(node.nodes.iter().flatten().map(|node| (node, depth + 1)));
    }
    Ok(())
}

fn is_id(id: &str) -> bool {
    !id.is_empty()
        && id.len() <= MAX_ID_BYTES
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn place(node: &Node) -> Place {
    Place { node: node.id.chars().take(MAX_ID_BYTES).collect(), line: node.line }
}

/// The names that a node needs, those inside it included.
fn needs(node: &Node) -> Vec<&str> {
    let mut names = Vec::new();
    let mut open = vec![node];
    while let Some(node) = open.pop() {
        names.extend(node.of.iter().map(String::as_str));
        if let Some(Tied::To(id)) = &node.tied {
            names.push(id.as_str());
        }
        open.extend(node.nodes.iter().flatten());
    }
    names
}

/// An order in which every node stands after those that it needs.
fn order(nodes: &[Node]) -> Result<Vec<usize>, GraphError> {
    let places: BTreeMap<&str, usize> = nodes.iter().enumerate().map(|(at, node)| (node.id.as_str(), at)).collect();
    let needed: Vec<BTreeSet<usize>> = nodes
        .iter()
        .map(|node| needs(node).into_iter().filter_map(|name| places.get(name).copied()).collect())
        .collect();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, needed) in needed.iter().enumerate() {
        for used in needed {
            if let Some(users) = users.get_mut(*used) {
                users.push(at);
            }
        }
    }
    let mut missing: Vec<usize> = needed.iter().map(BTreeSet::len).collect();
    let mut order: Vec<usize> = (0..nodes.len()).filter(|at| missing.get(*at) == Some(&0)).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for user in users.get(at).into_iter().flatten() {
            if let Some(missing) = missing.get_mut(*user) {
                *missing -= 1;
                if *missing == 0 {
                    order.push(*user);
                }
            }
        }
    }
    if order.len() == nodes.len() { Ok(order) } else { Err(circle(nodes, &needed, &order)) }
}

/// One circle among the nodes that found no place in the order.
fn circle(nodes: &[Node], needed: &[BTreeSet<usize>], order: &[usize]) -> GraphError {
    let settled: BTreeSet<usize> = order.iter().copied().collect();
    let mut way: Vec<usize> = Vec::new();
    let mut at = (0..nodes.len()).find(|at| !settled.contains(at));
    while let Some(here) = at {
        if let Some(start) = way.iter().position(|seen| *seen == here) {
            way.drain(..start);
            way.push(here);
            break;
        }
        way.push(here);
        at = needed.get(here).and_then(|needed| needed.iter().find(|at| !settled.contains(at)).copied());
    }
    GraphError::Cycle(way.into_iter().filter_map(|at| nodes.get(at)).map(|node| place(node).node).collect())
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    value: ValueId,
    /// The table, if it is an embedding.
    table: Option<WeightId>,
}

struct Scope<'a, 'o> {
    outer: Option<&'o Scope<'a, 'o>>,
    entries: BTreeMap<&'a str, Entry>,
}

impl Scope<'_, '_> {
    fn find(&self, name: &str) -> Option<Entry> {
        let mut scope = Some(self);
        while let Some(here) = scope {
            if let Some(entry) = here.entries.get(name) {
                return Some(*entry);
            }
            scope = here.outer;
        }
        None
    }
}

/// A weight of a node: in which iteration, of which node, what for.
type WeightKey<'a> = (Vec<u64>, &'a str, &'static str);

struct Lowering<'a, 'l> {
    draft: Draft,
    names: &'l Names,
    limits: &'l Limits,
    weights: BTreeMap<WeightKey<'a>, WeightId>,
    /// The iterations of the `repeat`s around; those that share weights count as one.
    iterations: Vec<u64>,
    visits: u64,
    edges: u64,
    /// The first node that shifts back.
    back: Option<Place>,
}

impl<'a> Lowering<'a, '_> {
    fn node(&mut self, node: &'a Node, scope: &mut Scope<'a, '_>) -> Result<(), GraphError> {
        self.edges = self.edges.saturating_add(node.of.len() as u64);
        bound("inputs of all nodes after unrolling", self.edges, 4 * u64::from(self.limits.steps))?;
        self.visit()?;
        check_attributes(node)?;
        let inputs = inputs(node, scope)?;
        let mut table = None;
        let value = match node.op.as_str() {
            "embedding" => {
                let width = self.size(node, "dim", node.dim.as_ref())?;
                let weight = self.weight(node, "table", &[self.draft.vocabulary, width]);
                table = Some(weight);
                self.push(node, Op::Embedding { table: weight }, inputs)?
            }
            "learned_positions" => {
                let width = self.width(node, &inputs)?;
                let table = self.weight(node, "table", &[self.draft.sequence, width]);
                self.push(node, Op::LearnedPositions { table }, inputs)?
            }
            "linear" => self.linear_node(node, &inputs, scope)?,
            "layer_norm" => {
                let width = self.width(node, &inputs)?;
                let gain = self.weight(node, "gain", &[width]);
                let bias = node.bias.unwrap_or(true).then(|| self.weight(node, "bias", &[width]));
                self.push(node, Op::LayerNorm { gain, bias, epsilon: epsilon() }, inputs)?
            }
            "rms_norm" => {
                let width = self.width(node, &inputs)?;
                let gain = self.weight(node, "gain", &[width]);
                self.push(node, Op::RmsNorm { gain, epsilon: epsilon() }, inputs)?
            }
            "attention" => self.attention(node, &inputs)?,
            "scaled_dot_product_attention" => {
                let heads = self.size(node, "heads", node.heads.as_ref())?;
                let op = self.attention_op(node, heads)?;
                self.push(node, op, inputs)?
            }
            "mlp" => {
                let (width, hidden) = (self.width(node, &inputs)?, self.size(node, "hidden", node.hidden.as_ref())?);
                let up = self.linear(node, "up", &inputs, hidden)?;
                let function = node.activation.unwrap_or(Activation::Gelu);
                let active = self.push(node, Op::Activation { function }, vec![up])?;
                self.linear(node, "down", &[active], width)?
            }
            "gated_mlp" => {
                let (width, hidden) = (self.width(node, &inputs)?, self.size(node, "hidden", node.hidden.as_ref())?);
                let gate = self.linear(node, "gate", &inputs, hidden)?;
                let function = node.activation.unwrap_or(Activation::Silu);
                let open = self.push(node, Op::Activation { function }, vec![gate])?;
                let up = self.linear(node, "up", &inputs, hidden)?;
                let gated = self.push(node, Op::Multiply, vec![open, up])?;
                self.linear(node, "down", &[gated], width)?
            }
            "add" => self.push(node, Op::Add, inputs)?,
            "multiply" => self.push(node, Op::Multiply, inputs)?,
            "activation" => {
                let function = node.function.ok_or_else(|| missing(node, "function"))?;
                self.push(node, Op::Activation { function }, inputs)?
            }
            "shift" => {
                let by = self.number(node, "by", node.by.as_ref())?;
                let by = i32::try_from(by).map_err(|_| attribute(node, "by", format!("is {by}")))?;
                if by < 0 && self.back.is_none() {
                    self.back = Some(place(node));
                }
                self.push(node, Op::Shift { by }, inputs)?
            }
            "causal_convolution" => {
                let (width, kernel) = (self.width(node, &inputs)?, self.size(node, "kernel", node.kernel.as_ref())?);
                let weight = self.weight(node, "weight", &[kernel, width]);
                let bias = node.bias.unwrap_or(false).then(|| self.weight(node, "bias", &[width]));
                self.push(node, Op::Convolution { weight, bias }, inputs)?
            }
            "gated_recurrence" => self.push(node, Op::Recurrence, inputs)?,
            "dropout" => {
                let rate = node.rate.as_ref().map(|_| self.number(node, "rate", node.rate.as_ref())).transpose()?;
                if rate.is_some_and(|rate| rate != 0) {
                    return Err(attribute(node, "rate", "must be 0: runs are repeatable".into()));
                }
                self.width(node, &inputs)?;
                inputs.first().copied().unwrap_or(TOKENS)
            }
            "repeat" => self.repeat(node, &inputs, scope)?,
            _ => return Err(GraphError::Operator { at: place(node), op: shown(&node.op) }),
        };
        scope.entries.insert(node.id.as_str(), Entry { value, table });
        Ok(())
    }

    fn visit(&mut self) -> Result<(), GraphError> {
        self.visits += 1;
        bound("nodes after unrolling", self.visits, MAX_VISITS)?;
        bound("steps", self.draft.steps.len() as u64, u64::from(self.limits.steps))
    }

    fn push(&mut self, node: &Node, op: Op, inputs: Vec<ValueId>) -> Result<ValueId, GraphError> {
        self.draft.push(op, inputs).map_err(|cause| GraphError::Shape { at: place(node), cause })
    }

    /// The weight of this node in this iteration; the same one when iterations share it.
    fn weight(&mut self, node: &'a Node, what: &'static str, shape: &[u32]) -> WeightId {
        let key = (self.iterations.clone(), node.id.as_str(), what);
        let draft = &mut self.draft;
        *self.weights.entry(key).or_insert_with(|| draft.weight(shape.to_vec()))
    }

    /// The width of the only input.
    fn width(&self, node: &Node, inputs: &[ValueId]) -> Result<u32, GraphError> {
        let cause = match inputs {
            [input] => match self.draft.value(*input) {
                Some(Shape::Hidden(width)) => return Ok(width),
                _ => ShapeError::Kind { expected: "hidden values", found: Shape::Tokens },
            },
            _ => ShapeError::Inputs { expected: "1", found: inputs.len() },
        };
        Err(GraphError::Shape { at: place(node), cause })
    }

    fn number(&self, node: &Node, name: &'static str, expression: Option<&Expression>) -> Result<i128, GraphError> {
        let expression = expression.ok_or_else(|| missing(node, name))?;
        expression.evaluate(self.names).map_err(|error| attribute(node, name, format!("has no value: {error}")))
    }

    /// A width or count: from 1 to the widest that is allowed.
    fn size(&self, node: &Node, name: &'static str, expression: Option<&Expression>) -> Result<u32, GraphError> {
        let value = self.number(node, name, expression)?;
        let most = self.limits.width.max(self.draft.vocabulary);
        u32::try_from(value)
            .ok()
            .filter(|size| (1..=most).contains(size))
            .ok_or_else(|| attribute(node, name, format!("is {value}, it must be from 1 to {most}")))
    }

    fn linear(
        &mut self,
        node: &'a Node,
        what: &'static str,
        inputs: &[ValueId],
        out: u32,
    ) -> Result<ValueId, GraphError> {
        let width = self.width(node, inputs)?;
        let weight = self.weight(node, what, &[width, out]);
        let bias = node.bias.unwrap_or(false).then(|| self.weight(node, bias_of(what), &[out]));
        self.push(node, Op::Linear { weight, bias, transposed: false }, inputs.to_vec())
    }

    fn linear_node(
        &mut self,
        node: &'a Node,
        inputs: &[ValueId],
        scope: &Scope<'a, '_>,
    ) -> Result<ValueId, GraphError> {
        match (&node.tied, &node.dim) {
            (None, dim) => {
                let out = self.size(node, "dim", dim.as_ref())?;
                self.linear(node, "weight", inputs, out)
            }
            (Some(_), Some(_)) => Err(attribute(node, "dim", "is given by the embedding that it is tied to".into())),
            (Some(Tied::Iterations(_)), None) => Err(attribute(node, "tied", "must name an embedding".into())),
            (Some(Tied::To(id)), None) => {
                let entry = scope.find(id).ok_or_else(|| GraphError::Reference { at: place(node), name: shown(id) })?;
                let table = entry
                    .table
                    .ok_or_else(|| attribute(node, "tied", format!("names `{id}`, which is no embedding")))?;
                let vocabulary = self.draft.vocabulary;
                let bias = node.bias.unwrap_or(false).then(|| self.weight(node, "bias", &[vocabulary]));
                self.push(node, Op::Linear { weight: table, bias, transposed: true }, inputs.to_vec())
            }
        }
    }

    /// The attention of `q`, `k`, `v` that a node asks for.
    fn attention_op(&self, node: &Node, heads: u32) -> Result<Op, GraphError> {
        if node.causal == Some(false) {
            return Err(GraphError::NotCausal { at: place(node) });
        }
        let kv_heads = match &node.kv_heads {
            Some(expression) => self.size(node, "kv_heads", Some(expression))?,
            None => heads,
        };
        let positions = match (node.positions.unwrap_or(PositionScheme::None), &node.rotary_base) {
            (PositionScheme::None, None) => Positions::None,
            (PositionScheme::None, Some(_)) => {
                return Err(attribute(node, "rotary_base", "needs `positions: rotary`".into()));
            }
            (PositionScheme::Rotary, None) => Positions::Rotary { base: Finite::from(10_000) },
            (PositionScheme::Rotary, Some(expression)) => {
                let base = self.number(node, "rotary_base", Some(expression))?;
                let base = u32::try_from(base).map_err(|_| attribute(node, "rotary_base", format!("is {base}")))?;
                Positions::Rotary { base: Finite::from(base) }
            }
        };
        Ok(Op::Attention { heads, kv_heads, positions })
    }

    /// Projections, attention, output projection.
    fn attention(&mut self, node: &'a Node, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let width = self.width(node, inputs)?;
        let heads = self.size(node, "heads", node.heads.as_ref())?;
        let op = self.attention_op(node, heads)?;
        let shape = |cause| GraphError::Shape { at: place(node), cause };
        let head = match &node.head_dim {
            Some(expression) => self.size(node, "head_dim", Some(expression))?,
            None if width % heads == 0 => width / heads,
            None => return Err(shape(ShapeError::Division { what: "width", whole: width, parts: heads })),
        };
        let kv_heads = match op {
            Op::Attention { kv_heads, .. } => kv_heads,
            _ => heads,
        };
        let widest = self.limits.width.max(self.draft.vocabulary);
        let wide = |heads: u32| {
            let wide = heads.checked_mul(head).filter(|wide| *wide <= widest);
            let too_wide = ShapeError::Range { what: "width of all heads", value: i64::from(heads) * i64::from(head) };
            wide.ok_or_else(|| shape(too_wide))
        };
        let queries = self.linear(node, "query", inputs, wide(heads)?)?;
        let keys = self.linear(node, "key", inputs, wide(kv_heads)?)?;
        let values = self.linear(node, "value", inputs, wide(kv_heads)?)?;
        let mixed = self.push(node, op, vec![queries, keys, values])?;
        self.linear(node, "output", &[mixed], width)
    }

    fn repeat(&mut self, node: &'a Node, inputs: &[ValueId], scope: &Scope<'a, '_>) -> Result<ValueId, GraphError> {
        let shared = match &node.tied {
            Some(Tied::To(_)) => return Err(attribute(node, "tied", "must be true or false".into())),
            Some(Tied::Iterations(shared)) => *shared,
            None => false,
        };
        let body = node.nodes.as_deref().ok_or_else(|| missing(node, "nodes"))?;
        let output = node.output.as_deref().ok_or_else(|| missing(node, "output"))?;
        let times = self.number(node, "times", node.times.as_ref())?;
        if times < 1 {
            return Err(attribute(node, "times", format!("is {times}, it must be at least 1")));
        }
        let width = self.width(node, inputs)?;
        let order = order(body)?;
        let mut carried = inputs.first().copied().unwrap_or(TOKENS);
        let mut iteration = 0;
        while i128::from(iteration) < times {
            self.visit()?;
            self.iterations.push(if shared { 0 } else { iteration });
            let input = Entry { value: carried, table: None };
            let mut inside = Scope { outer: Some(scope), entries: BTreeMap::from([("input", input)]) };
            for at in &order {
                if let Some(node) = body.get(*at) {
                    self.node(node, &mut inside)?;
                }
            }
            carried = match inside.entries.get(output) {
                Some(entry) => entry.value,
                None => return Err(GraphError::Reference { at: place(node), name: shown(output) }),
            };
            self.iterations.pop();
            let after = self.draft.value(carried).unwrap_or(Shape::Tokens);
            if after != Shape::Hidden(width) {
                let (before, after) = (Shape::Hidden(width).to_string(), after.to_string());
                return Err(GraphError::Carried { at: place(node), before, after });
            }
            iteration += 1;
        }
        Ok(carried)
    }
}

/// The values that a node names; an embedding that names none takes the tokens.
fn inputs(node: &Node, scope: &Scope<'_, '_>) -> Result<Vec<ValueId>, GraphError> {
    if node.of.is_empty() && node.op == "embedding" {
        return Ok(vec![TOKENS]);
    }
    let find = |name: &String| {
        let entry = scope.find(name).ok_or_else(|| GraphError::Reference { at: place(node), name: shown(name) })?;
        Ok(entry.value)
    };
    node.of.iter().map(find).collect()
}

fn check_attributes(node: &Node) -> Result<(), GraphError> {
    let Some((_, known)) = Node::OPERATORS.iter().find(|(name, _)| *name == node.op) else {
        return Err(GraphError::Operator { at: place(node), op: shown(&node.op) });
    };
    match node.attributes().find(|attribute| !known.contains(attribute)) {
        Some(foreign) => {
            let problem = match known {
                [] => "is not an attribute of it: it has none".to_owned(),
                known => format!("is not an attribute of it: those are {}", known.join(", ")),
            };
            Err(attribute(node, foreign, problem))
        }
        None => Ok(()),
    }
}

fn attribute(node: &Node, attribute: &'static str, problem: String) -> GraphError {
    GraphError::Attribute { at: place(node), op: shown(&node.op), attribute, problem }
}

fn missing(node: &Node, name: &'static str) -> GraphError {
    attribute(node, name, "is missing".into())
}

/// A foreign name, cut to a length that fits a message.
fn shown(name: &str) -> String {
    name.chars().take(MAX_ID_BYTES).collect()
}

fn bias_of(what: &'static str) -> &'static str {
    match what {
        "up" => "up.bias",
        "gate" => "gate.bias",
        "down" => "down.bias",
        "query" => "query.bias",
        "key" => "key.bias",
        "value" => "value.bias",
        "output" => "output.bias",
        _ => "bias",
    }
}

fn epsilon() -> Finite {
    Finite::new(EPSILON).unwrap_or(Finite::ZERO)
}

#[cfg(test)]
mod tests;
