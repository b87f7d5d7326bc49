use super::*;
use crate::graph::{
    Context, GraphSpec, baselines,
    expression::Expression,
    resolved::{Activation, Init, WeightRole},
    spec::{Node, Tied},
};
use proptest::prelude::*;

fn resolved(spec: &GraphSpec) -> ResolvedGraph {
    let limits = Limits { steps: 8192, ..Limits::default() };
    spec.resolve(&Context::new(64, 16), &limits).unwrap()
}

fn baseline(name: &str) -> GraphSpec {
    baselines::spec(name).unwrap().unwrap()
}

fn spec(nodes: &str) -> GraphSpec {
    let text = format!("graph: prism.graph/1\noutput: logits\nnodes:\n{nodes}");
    GraphSpec::read(text.as_bytes(), "test.yaml").unwrap()
}

/// A random causal graph of width 8: each entry adds one node on earlier ones.
fn build(entries: &[(u8, usize, usize, usize)], ties: bool) -> GraphSpec {
    let width = || Some(Expression::from(8));
    let mut nodes = vec![Node { id: "n0".into(), op: "embedding".into(), dim: width(), ..Node::default() }];
    for (at, (kind, a, b, c)) in entries.iter().enumerate() {
        let pick = |index: usize| format!("n{}", index % (at + 1));
        let mut node = Node { id: format!("n{}", at + 1), of: vec![pick(*a)], ..Node::default() };
        match kind % 12 {
            0 => node.op = "rms_norm".into(),
            1 => node.op = "layer_norm".into(),
            2 => (node.op, node.dim) = ("linear".into(), width()),
            3 => (node.op, node.heads) = ("attention".into(), Some(Expression::from(2))),
            4 => (node.op, node.hidden) = ("mlp".into(), Some(Expression::from(12))),
            5 => (node.op, node.function) = ("activation".into(), Some(Activation::Tanh)),
            6 => (node.op, node.by) = ("shift".into(), Some(Expression::from(1))),
            7 => (node.op, node.of) = ("multiply".into(), vec![pick(*a), pick(*b)]),
            8 => (node.op, node.of) = ("add".into(), vec![pick(*a), pick(*b), pick(*c)]),
            9 => (node.op, node.kernel) = ("causal_convolution".into(), Some(Expression::from(3))),
            10 => (node.op, node.of) = ("gated_recurrence".into(), vec![pick(*a), pick(*b)]),
            _ => (node.op, node.of) = ("add".into(), vec![pick(*a), pick(*b)]),
        }
        nodes.push(node);
    }
    let all = (0..=entries.len()).map(|at| format!("n{at}")).collect();
    nodes.push(Node { id: "sum".into(), op: "add".into(), of: all, ..Node::default() });
    if entries.is_empty() {
        nodes.pop();
        nodes.push(Node { id: "sum".into(), op: "rms_norm".into(), of: vec!["n0".into()], ..Node::default() });
    }
    let mut last = Node { id: "logits".into(), op: "linear".into(), of: vec!["sum".into()], ..Node::default() };
    if ties {
        last.tied = Some(Tied::To("n0".into()));
    } else {
        last.dim = Some(Expression::parse("vocab_size").unwrap());
    }
    nodes.push(last);
    GraphSpec { graph: "prism.graph/1".into(), definitions: BTreeMap::new(), nodes, output: "logits".into() }
}

/// The same graph under other names, nodes and operands in another order.
fn respelled(spec: &GraphSpec, order: &[usize], swaps: &[bool]) -> GraphSpec {
    let rename = |id: &str| if id == "tokens" || id == "input" { id.to_owned() } else { format!("z{id}x") };
    let mut nodes = spec.nodes.clone();
    for (at, node) in nodes.iter_mut().enumerate() {
        node.id = rename(&node.id);
        node.of = node.of.iter().map(|id| rename(id)).collect();
        if matches!(node.op.as_str(), "add" | "multiply") {
            if swaps[at % swaps.len()] {
                node.of.reverse();
            }
            let turn = order[at % order.len()] % node.of.len();
            node.of.rotate_left(turn);
        }
        if let Some(Tied::To(id)) = &node.tied {
            node.tied = Some(Tied::To(rename(id)));
        }
    }
    for (at, to) in order.iter().enumerate() {
        let (at, to) = (at % nodes.len(), to % nodes.len());
        nodes.swap(at, to);
    }
    GraphSpec { nodes, output: rename(&spec.output), ..spec.clone() }
}

fn entries(most: usize) -> impl Strategy<Value = Vec<(u8, usize, usize, usize)>> {
    proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>(), any::<usize>()), 0..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn names_node_order_and_operand_order_leave_no_trace(
        entries in entries(14),
        ties: bool,
        order in proptest::collection::vec(any::<usize>(), 1..20),
        swaps in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let spec = build(&entries, ties);
        let first = resolved(&spec);
        let second = resolved(&respelled(&spec, &order, &swaps));
        prop_assert_eq!(first.canonical_bytes(), second.canonical_bytes());
        let back = ResolvedGraph::from_canonical_bytes(&first.canonical_bytes(), &Limits::default());
        prop_assert_eq!(back, Ok(first));
    }

    #[test]
    fn one_more_operator_is_another_family(entries in entries(10), ties: bool) {
        let spec = build(&entries, ties);
        let mut changed = spec.clone();
        let end = changed.nodes.len() - 1;
        changed.nodes[end].of = vec!["extra".into()];
        changed.nodes.push(Node { id: "extra".into(), op: "rms_norm".into(), of: vec!["sum".into()], ..Node::default() });
        prop_assert_ne!(family(&resolved(&spec)), family(&resolved(&changed)));
        prop_assert_ne!(family(&resolved(&build(&entries, true))), family(&resolved(&build(&entries, false))));
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(ResolvedGraph::from_canonical_bytes(&bytes, &Limits::default()).is_err());
    }

    #[test]
    fn a_changed_byte_is_refused_or_means_another_graph(at: usize, to in "[0-9a-z\\[\\]{},:\"]") {
        let graph = resolved(&baseline("gpt"));
        let mut bytes = graph.canonical_bytes();
        let at = at % bytes.len();
        let before = bytes[at];
        bytes[at] = to.as_bytes()[0];
        if let Ok(read) = ResolvedGraph::from_canonical_bytes(&bytes, &Limits::default()) {
            prop_assert_eq!(read.canonical_bytes(), bytes);
            prop_assert_eq!(read == graph, before == to.as_bytes()[0]);
        }
    }
}

#[test]
fn repeat_is_only_an_abbreviation() {
    let body = |id: &str, input: &str| {
        format!(
            "- {{ id: n{id}, op: rms_norm, of: {input} }}\n- {{ id: a{id}, op: attention, of: n{id}, heads: 2 }}\n- {{ id: o{id}, op: add, of: [a{id}, {input}] }}\n"
        )
    };
    let ends = |middle: &str, last: &str| {
        spec(&format!(
            "- {{ id: x, op: embedding, dim: 8 }}\n{middle}- {{ id: logits, op: linear, of: {last}, tied: x }}\n"
        ))
    };
    let unrolled = ends(&[body("1", "x"), body("2", "o1"), body("3", "o2")].concat(), "o3");
    let inner = body("", "input").replace("- ", "  - ");
    let repeated = ends(&format!("- id: r\n  op: repeat\n  of: x\n  times: 3\n  output: o\n  nodes:\n{inner}"), "r");
    assert_eq!(resolved(&unrolled).canonical_bytes(), resolved(&repeated).canonical_bytes());
}

#[test]
fn spellings_without_meaning_are_one_family() {
    let middle = |nodes: &str| {
        resolved(&spec(&format!(
            "- {{ id: x, op: embedding, dim: 8 }}\n{nodes}- {{ id: logits, op: linear, of: y, dim: 64 }}\n"
        )))
    };
    let same = [
        [
            "- { id: y, op: mlp, of: x, hidden: 12 }\n",
            "- { id: a, op: linear, of: x, dim: 12 }\n- { id: b, op: activation, of: a, function: gelu }\n- { id: y, op: linear, of: b, dim: 8 }\n",
        ],
        [
            "- { id: a, op: tanh_, of: x }\n- { id: y, op: add, of: [x, a, x] }\n",
            "- { id: a, op: tanh_, of: x }\n- { id: b, op: add, of: [x, a] }\n- { id: y, op: add, of: [x, b] }\n",
        ],
        [
            "- { id: y, op: shift, of: x, by: 3 }\n",
            "- { id: a, op: shift, of: x, by: 1 }\n- { id: b, op: shift, of: a, by: 2 }\n- { id: c, op: shift, of: b, by: 0 }\n- { id: y, op: dropout, of: c }\n",
        ],
        [
            "- { id: a, op: tanh_, of: x }\n- { id: y, op: multiply, of: [a, a] }\n",
            "- { id: a, op: tanh_, of: x }\n- { id: b, op: tanh_, of: x }\n- { id: y, op: multiply, of: [a, b] }\n",
        ],
        [
            "- { id: y, op: activation, of: x, function: relu_squared }\n",
            "- { id: a, op: activation, of: x, function: relu_squared }\n- { id: y, op: activation, of: a, function: relu }\n",
        ],
        [
            "- { id: y, op: attention, of: x, heads: 2 }\n",
            "- { id: q, op: linear, of: x, dim: 8 }\n- { id: k, op: linear, of: x, dim: 8 }\n- { id: v, op: linear, of: x, dim: 8 }\n- { id: a, op: scaled_dot_product_attention, of: [q, k, v], heads: 2, kv_heads: 2 }\n- { id: y, op: linear, of: a, dim: 8 }\n",
        ],
    ];
    let tanh = |text: &str| text.replace("op: tanh_, of: x", "op: activation, of: x, function: tanh");
    for [left, right] in same {
        assert_eq!(middle(&tanh(left)), middle(&tanh(right)), "{left}{right}");
    }
}

#[test]
fn changes_with_a_meaning_are_other_families() {
    let text = baselines::document("llama").unwrap();
    let read = |text: &str| resolved(&GraphSpec::read(text.as_bytes(), "a.yaml").unwrap());
    let base = family(&read(text));
    let changes = [
        ("64 * width_factor", "72 * width_factor"),
        ("heads: 4", "heads: 2"),
        ("positions: rotary", "positions: none"),
        ("positions: rotary", "positions: rotary, rotary_base: 5000"),
        ("activation: silu", "activation: gelu"),
        ("dim: vocab_size", "tied: table"),
        ("dim: vocab_size", "dim: vocab_size, bias: true"),
        ("times: 2", "times: 3"),
        ("op: rms_norm, of: mixed", "op: layer_norm, of: mixed"),
        ("of: [mixed, transformed]", "of: [input, transformed]"),
        ("output: out", "output: out\n    tied: true"),
    ];
    let mut families: BTreeSet<FamilyId> = BTreeSet::from([base]);
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        assert!(families.insert(family(&read(&text.replace(from, to)))), "{to}");
    }
}

#[test]
fn interchangeable_branches_have_one_order() {
    let branches = |order: &[usize]| {
        let mut nodes = "- { id: x, op: embedding, dim: 8 }\n".to_owned();
        let mut sum = Vec::new();
        for at in order {
            nodes += &format!(
                "- {{ id: u{at}, op: linear, of: x, dim: 8 }}\n- {{ id: b{at}, op: linear, of: u{at}, dim: 8, bias: {} }}\n",
                at % 3 == 0
            );
            sum.push(format!("b{at}"));
        }
        spec(&format!(
            "{nodes}- {{ id: y, op: add, of: [{}] }}\n- {{ id: logits, op: linear, of: y, tied: x }}\n",
            sum.join(", ")
        ))
    };
    let forward: Vec<usize> = (0..9).collect();
    let backward: Vec<usize> = (0..9).rev().collect();
    assert_eq!(resolved(&branches(&forward)), resolved(&branches(&backward)));
}

/// Products of linear maps along the edges of a graph on shared values, all summed: refinement alone can't tell a
/// circle of six from two triangles.
#[test]
fn what_refinement_cannot_tell_apart_is_told_apart_and_put_in_one_order() {
    let edges = |edges: &[(usize, usize)], names: &[usize]| {
        let mut nodes = "- { id: x, op: embedding, dim: 8 }\n".to_owned();
        for at in names {
            nodes += &format!("- {{ id: v{at}, op: linear, of: x, dim: 8 }}\n");
        }
        let mut sum = Vec::new();
        for (at, (a, b)) in edges.iter().enumerate() {
            nodes += &format!("- {{ id: e{at}, op: multiply, of: [v{a}, v{b}] }}\n");
            sum.push(format!("e{at}"));
        }
        resolved(&spec(&format!(
            "{nodes}- {{ id: y, op: add, of: [{}] }}\n- {{ id: logits, op: linear, of: y, tied: x }}\n",
            sum.join(", ")
        )))
    };
    let circle = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)];
    let triangles = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)];
    let (up, down) = ([0, 1, 2, 3, 4, 5], [3, 1, 5, 0, 4, 2]);
    assert_eq!(edges(&circle, &up), edges(&circle, &down));
    assert_eq!(edges(&triangles, &up), edges(&triangles, &down));
    assert_ne!(edges(&circle, &up), edges(&triangles, &up));
    // A circle beside two triangles: six nodes of twelve are the wrong ones to begin with.
    let shifted = |by: usize, edges: &[(usize, usize)]| edges.iter().map(|(a, b)| (a + by, b + by)).collect::<Vec<_>>();
    let one = [shifted(0, &circle), shifted(6, &triangles)].concat();
    let other = [shifted(6, &circle), shifted(0, &triangles)].concat();
    let twelve: Vec<usize> = (0..12).collect();
    assert_eq!(edges(&one, &twelve), edges(&other, &twelve));
}

#[test]
fn too_many_interchangeable_parts_are_refused_in_bounded_time() {
    let mut nodes = "- { id: x, op: embedding, dim: 8 }\n".to_owned();
    let names: Vec<String> = (0..600).map(|at| format!("b{at}")).collect();
    for name in &names {
        nodes += &format!("- {{ id: {name}, op: linear, of: x, dim: 8 }}\n");
    }
    let spec = spec(&format!(
        "{nodes}- {{ id: y, op: add, of: [{}] }}\n- {{ id: logits, op: linear, of: y, tied: x }}\n",
        names.join(", ")
    ));
    let error = spec.resolve(&Context::new(64, 16), &Limits::default()).unwrap_err();
    assert_eq!(error.rule(), "graph.symmetric");
}

/// Parses the canonical bytes of a graph that was changed after it was resolved.
fn reread(change: impl FnOnce(&mut ResolvedGraph)) -> GraphError {
    let mut graph = resolved(&baseline("gpt"));
    change(&mut graph);
    ResolvedGraph::from_canonical_bytes(&graph.canonical_bytes(), &Limits::default()).unwrap_err()
}

#[test]
fn every_promise_is_checked_again_on_foreign_bytes() {
    let add = |graph: &ResolvedGraph| graph.steps.iter().position(|step| step.op == Op::Add).unwrap();
    let canonical = [
        reread(|graph| graph.schema = 2),
        reread(|graph| graph.steps[0].inputs = vec![ValueId(9)]),
        reread(|graph| graph.steps[0].inputs = vec![]),
        reread(|graph| graph.output = ValueId(999)),
        reread(|graph| {
            let at = add(graph);
            graph.steps[at].inputs.reverse();
        }),
        reread(|graph| {
            let at = add(graph);
            let extra = graph.steps[at].inputs[0];
            graph.steps[at].inputs.push(extra);
        }),
        reread(|graph| graph.weights.reverse()),
        reread(|graph| graph.weights[0].init = Init::Ones),
        reread(|graph| graph.weights[0].role = WeightRole::Matrix),
        reread(|graph| graph.weights[0].shape = vec![64, 0]),
        reread(|graph| {
            let spare = graph.weights[0].clone();
            graph.weights.push(spare);
        }),
        reread(|graph| {
            let step = graph.steps[0].clone();
            graph.steps.push(step);
        }),
        reread(|graph| graph.vocabulary = 65),
    ];
    for error in canonical {
        assert_eq!(error.rule(), "graph.canonical", "{error}");
    }
    let ahead = reread(|graph| {
        let last = graph.steps.pop().unwrap();
        graph.steps.push(Step { op: Op::Shift { by: -1 }, inputs: last.inputs });
        let shifted = ValueId(count(graph.steps.len()));
        graph.steps.push(Step { op: last.op, inputs: vec![shifted] });
        graph.output = ValueId(count(graph.steps.len()));
    });
    assert_eq!(ahead.rule(), "graph.causality");
    let graph = resolved(&baseline("gpt"));
    let narrow = Limits { parameters: 100, ..Limits::default() };
    let error = ResolvedGraph::from_canonical_bytes(&graph.canonical_bytes(), &narrow).unwrap_err();
    assert_eq!(error.rule(), "graph.parameters");
    let spaced = serde_json::to_string_pretty(&graph).unwrap();
    let error = ResolvedGraph::from_canonical_bytes(spaced.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "not a canonical architecture: written in another way");
}

/// An identity that moves would make every family on record a stranger.
#[test]
fn the_published_families_keep_their_identity() {
    for (name, digest) in [
        ("gpt", "fb94817b9a17f7864d861930d44efea41e54b19c01166cc5018c76187adab59f"),
        ("llama", "1c206fc405575b3a75998eca3e20050331ae11211e97fcabce28c8156d4a0818"),
    ] {
        let graph = baseline(name).resolve(&Context::new(256, 64), &Limits::default()).unwrap();
        assert_eq!(family(&graph).to_string(), digest, "{name}");
    }
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let chain = "- { id: y, op: repeat, of: x, times: 8000, output: z, nodes: [{ id: z, op: rms_norm, of: input }] }";
    let spec = spec(&format!(
        "- {{ id: x, op: embedding, dim: 8 }}\n{chain}\n- {{ id: logits, op: linear, of: y, tied: x }}\n"
    ));
    assert_eq!(resolved(&spec).steps.len(), 8002);
}
