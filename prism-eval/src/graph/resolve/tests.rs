use super::*;
use crate::graph::{baselines, cost};
use proptest::prelude::*;

fn resolve(nodes: &str) -> Result<ResolvedGraph, GraphError> {
    let text = format!("graph: prism.graph/1\noutput: logits\nnodes:\n{nodes}");
    let spec = GraphSpec::read(text.as_bytes(), "test.graph.yaml")?;
    spec.resolve(&Context::new(256, 32), &Limits::default())
}

/// A graph whose middle is `nodes`, from `x` of width 64 to `y`.
fn middle(nodes: &str) -> Result<ResolvedGraph, GraphError> {
    resolve(&format!(
        "- {{ id: x, op: embedding, of: tokens, dim: 64 }}\n{nodes}\n- {{ id: logits, op: linear, of: y, dim: vocab_size }}\n"
    ))
}

fn refusal(nodes: &str) -> GraphError {
    middle(nodes).expect_err(nodes)
}

#[test]
fn composites_are_lowered_to_the_published_operators() {
    let graph = middle("- { id: y, op: gated_mlp, of: x, hidden: 96 }").unwrap();
    let ops: Vec<_> = graph.steps.iter().map(|step| &step.op).collect();
    assert!(matches!(ops[0], Op::Embedding { .. }));
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Linear { bias: None, .. })).count(), 4);
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Activation { function: Activation::Silu })).count(), 1);
    assert_eq!(ops.iter().filter(|op| matches!(op, Op::Multiply)).count(), 1);
    assert_eq!(graph.output, ValueId(7));
    assert_eq!(cost::parameters(&graph), 64 * 256 * 2 + 3 * 64 * 96);
}

#[test]
fn grouped_attention_has_narrow_keys_and_values() {
    let graph = middle("- { id: y, op: attention, of: x, heads: 8, kv_heads: 2, positions: rotary }").unwrap();
    let shapes: Vec<_> = graph.weights.iter().map(|weight| weight.shape.clone()).collect();
    assert_eq!(shapes.iter().filter(|shape| **shape == [64, 16]).count(), 2);
    assert_eq!(shapes.iter().filter(|shape| **shape == [64, 64]).count(), 2);
    let wide = middle("- { id: y, op: attention, of: x, heads: 2, head_dim: 48 }").unwrap();
    assert_eq!(wide.weights.iter().filter(|weight| weight.shape == [64, 96]).count(), 3);
}

#[test]
fn repeated_weights_are_fresh_unless_tied() {
    let body = |tied: &str| {
        middle(&format!(
            "- {{ id: y, op: repeat, of: x, times: 3, output: z, tied: {tied}, nodes: [{{ id: z, op: linear, of: input, dim: 64, bias: true }}] }}"
        ))
        .unwrap()
    };
    let (fresh, tied) = (body("false"), body("true"));
    assert_eq!(fresh.steps.len(), tied.steps.len());
    assert_eq!(cost::parameters(&fresh) - cost::parameters(&tied), 2 * (64 * 64 + 64));
}

#[test]
fn bodies_see_the_nodes_around_them() {
    let graph = middle(
        "- { id: y, op: repeat, of: n, times: 2, output: z, nodes: [{ id: z, op: add, of: [input, x] }] }\n- { id: n, op: rms_norm, of: x }",
    );
    assert!(graph.is_ok(), "{graph:?}");
}

#[test]
fn unused_nodes_leave_nothing() {
    let plain = middle("- { id: y, op: rms_norm, of: x }").unwrap();
    let noisy = middle("- { id: y, op: rms_norm, of: x }\n- { id: waste, op: mlp, of: x, hidden: 4000 }").unwrap();
    assert_eq!(plain, noisy);
}

#[test]
fn an_unknown_operator_or_attribute_is_named_with_its_line() {
    let error = refusal("- { id: y, op: convolve, of: x }");
    assert_eq!(error.rule(), "graph.operator");
    let message = error.to_string();
    assert!(message.starts_with("node `y` (line 5): unknown operator `convolve`, known are embedding,"), "{message}");
    let error = refusal("- { id: y, op: rms_norm, of: x, heads: 4 }");
    assert_eq!(error.to_string(), "node `y` (line 5): `heads` of `rms_norm` is not an attribute of it: it has none");
    let error = refusal("- { id: y, op: rms_norm, of: x, width: 4 }");
    assert_eq!(error.rule(), "graph.form");
    assert!(error.to_string().contains("`width`") && error.to_string().contains("line 5"), "{error}");
}

#[test]
fn names_that_nothing_has_are_refused() {
    for nodes in [
        "- { id: y, op: rms_norm, of: z }",
        "- { id: y, op: linear, of: x, tied: z }",
        "- { id: y, op: repeat, of: x, times: 1, output: z, nodes: [] }",
        "- { id: y, op: repeat, of: x, times: 1, output: z, nodes: [{ id: z, op: rms_norm, of: w }] }",
        "- { id: y, op: rms_norm, of: z }\n- { id: r, op: repeat, of: x, times: 1, output: z, nodes: [{ id: z, op: rms_norm, of: input }] }",
        "- { id: y, op: rms_norm, of: input }",
    ] {
        assert_eq!(refusal(nodes).rule(), "graph.reference", "{nodes}");
    }
    let text = "graph: prism.graph/1\noutput: y\nnodes: []\n";
    let spec = GraphSpec::read(text.as_bytes(), "a.yaml").unwrap();
    let error = spec.resolve(&Context::new(256, 32), &Limits::default()).unwrap_err();
    assert_eq!(error.to_string(), "`output` names `y`, which is no node");
}

#[test]
fn taken_and_reserved_ids_are_refused() {
    for id in ["x", "tokens", "input", "''", "'a b'", "é"] {
        let error = refusal(&format!("- {{ id: {id}, op: rms_norm, of: x }}\n- {{ id: y, op: rms_norm, of: x }}"));
        assert_eq!(error.rule(), "graph.id", "{id}");
    }
}

#[test]
fn circles_are_refused_by_their_nodes() {
    let error =
        refusal("- { id: y, op: add, of: [x, a] }\n- { id: a, op: rms_norm, of: b }\n- { id: b, op: rms_norm, of: y }");
    assert_eq!(error.to_string(), "nodes go in a circle: y → a → b → y");
    let inside = "- { id: y, op: repeat, of: x, times: 2, output: a, nodes: [{ id: a, op: rms_norm, of: b }, { id: b, op: rms_norm, of: a }] }";
    assert_eq!(refusal(inside).rule(), "graph.cycle");
    let own = "- { id: y, op: repeat, of: x, times: 2, output: a, nodes: [{ id: a, op: add, of: [input, y] }] }";
    assert_eq!(refusal(own).to_string(), "nodes go in a circle: y → y");
}

#[test]
fn shapes_that_do_not_fit_are_refused_where_they_meet() {
    let cases = [
        (
            "- { id: w, op: linear, of: x, dim: 32 }\n- { id: y, op: add, of: [x, w] }",
            "joins values of width 64 and 32",
        ),
        ("- { id: y, op: attention, of: x, heads: 5 }", "width 64 can't be split into 5"),
        ("- { id: y, op: attention, of: x, heads: 8, kv_heads: 3 }", "number of heads 8 can't be split into 3"),
        ("- { id: y, op: attention, of: x, heads: 64, positions: rotary }", "rotary positions need an even head width"),
        ("- { id: y, op: embedding, of: x, dim: 8 }", "takes tokens, has width 64"),
        ("- { id: y, op: rms_norm, of: tokens }", "takes hidden values, has tokens"),
        ("- { id: y, op: rms_norm, of: [x, x] }", "takes 1 inputs, has 2"),
        ("- { id: y, op: add, of: x }", "takes 2 or more inputs, has 1"),
        (
            "- { id: w, op: linear, of: x, dim: 32 }\n- { id: y, op: linear, of: w, tied: x }",
            "has a weight of shape [256, 64]",
        ),
        (
            "- { id: y, op: repeat, of: x, times: 1, output: z, nodes: [{ id: z, op: linear, of: input, dim: 32 }] }",
            "takes width 64 and gives width 32",
        ),
        ("- { id: y, op: shift, of: x, by: 32 }", "shift is 32"),
    ];
    for (nodes, message) in cases {
        let error = refusal(nodes);
        assert_eq!(error.rule(), "graph.shape", "{error}");
        assert!(error.to_string().contains(message) && error.to_string().contains("line"), "{error}");
    }
    let narrow = resolve("- { id: logits, op: embedding, of: tokens, dim: 64 }").unwrap_err();
    assert_eq!(narrow.to_string(), "the output is width 64, the logits must be as wide as the vocabulary: 256");
}

#[test]
fn a_graph_that_sees_later_tokens_is_refused() {
    let peek = refusal("- { id: y, op: shift, of: x, by: -1 }");
    assert_eq!(peek.to_string(), "the output looks 1 positions ahead: node `y` (line 5)");
    assert_eq!(peek.rule(), "graph.causality");
    let hidden = "- { id: a, op: shift, of: x, by: 0 - 3 }\n- { id: b, op: attention, of: a, heads: 4 }\n- { id: c, op: shift, of: b, by: 2 }\n- { id: y, op: add, of: [x, c] }";
    assert!(matches!(refusal(hidden), GraphError::Lookahead { positions: 1, .. }));
    assert!(middle(&hidden.replace("by: 2", "by: 3")).is_ok());
    let error = refusal("- { id: y, op: attention, of: x, heads: 4, causal: false }");
    assert_eq!(error.rule(), "graph.causality");
    assert!(middle("- { id: y, op: attention, of: x, heads: 4, causal: true }").is_ok());
}

#[test]
fn attributes_are_held_to_their_ranges() {
    for nodes in [
        "- { id: y, op: linear, of: x }",
        "- { id: y, op: linear, of: x, dim: 0 }",
        "- { id: y, op: linear, of: x, dim: -4 }",
        "- { id: y, op: linear, of: x, dim: 1000000 }",
        "- { id: y, op: linear, of: x, dim: nothing }",
        "- { id: y, op: linear, of: x, dim: 64, tied: x }",
        "- { id: y, op: linear, of: x, tied: true }",
        "- { id: n, op: rms_norm, of: x }\n- { id: y, op: linear, of: x, tied: n }",
        "- { id: y, op: dropout, of: x, rate: 1 }",
        "- { id: y, op: repeat, of: x, times: 0, output: z, nodes: [{ id: z, op: rms_norm, of: input }] }",
        "- { id: y, op: attention, of: x, heads: 4, rotary_base: 100 }",
        "- { id: y, op: activation, of: x }",
        "- { id: y, op: shift, of: x, by: 99999999999 }",
    ] {
        assert_eq!(refusal(nodes).rule(), "graph.attribute", "{nodes}");
    }
    let error = refusal("- { id: y, op: dropout, of: x, rate: 0.1 }");
    assert_eq!(error.rule(), "graph.form", "{error}");
}

#[test]
fn convolutions_and_recurrences_are_held_to_their_shapes() {
    assert!(middle("- { id: y, op: causal_convolution, of: x, kernel: 4, bias: true }").is_ok());
    assert!(middle("- { id: y, op: gated_recurrence, of: [x, x] }").is_ok());
    for nodes in [
        "- { id: y, op: causal_convolution, of: x, kernel: 65 }",
        "- { id: y, op: gated_recurrence, of: x }",
        "- { id: w, op: linear, of: x, dim: 3 }\n- { id: y, op: gated_recurrence, of: [x, w] }",
        "- { id: y, op: gated_recurrence, of: [x, tokens] }",
    ] {
        assert_eq!(refusal(nodes).rule(), "graph.shape", "{nodes}");
    }
    assert_eq!(refusal("- { id: y, op: causal_convolution, of: x }").rule(), "graph.attribute");
}

#[test]
fn too_many_parameters_are_refused_before_anything_exists() {
    assert!(middle("- { id: y, op: mlp, of: x, hidden: 65536 }").is_ok());
    let huge = "- { id: w, op: linear, of: x, dim: 65536 }\n- { id: v, op: linear, of: w, dim: 65536 }\n- { id: y, op: linear, of: v, dim: 64 }";
    let error = refusal(huge);
    assert_eq!(error.rule(), "graph.parameters");
    assert!(error.to_string().starts_with("parameters: 43"), "{error}");
    let wide = resolve(
        "- { id: x, op: embedding, of: tokens, dim: 65536 * 65536 }\n- { id: logits, op: linear, of: x, tied: x }",
    );
    assert_eq!(wide.unwrap_err().rule(), "graph.attribute");
}

#[test]
fn a_count_beyond_64_bits_saturates_above_every_cap() {
    // 2^32 - 1 squared, two hundred times, is more than 64 bits hold.
    let limits = Limits {
        parameters: u64::MAX,
        width: u32::MAX,
        flops_per_token: u64::MAX,
        peak_bytes: u64::MAX,
        ..Limits::default()
    };
    let context = Context { max_parameters: u64::MAX - 1, ..Context::new(256, 32) };
    let text = "graph: prism.graph/1\noutput: logits\nnodes:\n- { id: x, op: embedding, dim: 4294967295 }\n- { id: y, op: repeat, of: x, times: 90, output: z, nodes: [{ id: z, op: linear, of: input, dim: 4294967295 }] }\n- { id: logits, op: linear, of: y, tied: x }\n";
    let spec = GraphSpec::read(text.as_bytes(), "a.yaml").unwrap();
    let error = spec.resolve(&context, &limits).unwrap_err();
    assert_eq!(error, GraphError::Limit { what: "parameters", value: u64::MAX, limit: u64::MAX - 1 });
}

#[test]
fn layers_work_memory_and_unrolling_are_bounded() {
    let deep =
        "- { id: y, op: repeat, of: x, times: 97, output: z, nodes: [{ id: z, op: attention, of: input, heads: 4 }] }";
    assert_eq!(refusal(deep), GraphError::Limit { what: "layers", value: 97, limit: 96 });
    let endless = "- { id: y, op: repeat, of: x, times: 999999999999999999, output: z, nodes: [{ id: z, op: dropout, of: input }] }";
    assert!(matches!(refusal(endless), GraphError::Limit { what: "inputs of all nodes after unrolling", .. }));
    let empty = "- { id: y, op: repeat, of: x, times: 999999999999999999, output: input, nodes: [] }";
    assert!(matches!(refusal(empty), GraphError::Limit { what: "nodes after unrolling", .. }));
    let long = "- { id: y, op: repeat, of: x, times: 9000, output: z, nodes: [{ id: z, op: rms_norm, of: input }] }";
    assert!(matches!(refusal(long), GraphError::Limit { what: "steps", .. }));
    let spec = baselines::spec("gpt").unwrap().unwrap();
    let context = Context::new(256, 32);
    let small = Limits { peak_bytes: 1 << 20, ..Limits::default() };
    assert!(matches!(spec.resolve(&context, &small), Err(GraphError::Limit { what: "estimated bytes of memory", .. })));
    let lazy = Limits { flops_per_token: 1000, ..Limits::default() };
    assert!(spec.resolve(&context, &lazy).is_err());
    let capped = Context { max_parameters: 1000, ..context };
    assert_eq!(spec.resolve(&capped, &Limits::default()).unwrap_err().rule(), "graph.parameters");
}

#[test]
fn nesting_is_bounded() {
    let mut nodes = "{ id: a0, op: rms_norm, of: input }".to_owned();
    for depth in 1..12 {
        let inner = depth - 1;
        nodes = format!("{{ id: a{depth}, op: repeat, of: input, times: 50, output: a{inner}, nodes: [{nodes}] }}");
    }
    let error =
        refusal(&format!("- {}\n- {{ id: y, op: rms_norm, of: a11 }}", nodes.replacen("of: input", "of: x", 1)));
    assert_eq!(error.rule(), "graph.id", "{error}");
}

#[test]
fn matrices_that_feed_the_residual_start_smaller_the_deeper_it_is() {
    let spec = baselines::spec("llama").unwrap().unwrap();
    let graph = |depth_factor| {
        let context = Context { depth_factor, ..Context::new(256, 32) };
        spec.resolve(&context, &Limits::default()).unwrap()
    };
    let deviations = |graph: &ResolvedGraph| {
        let mut found: BTreeSet<String> = BTreeSet::new();
        for weight in &graph.weights {
            if let crate::graph::resolved::Init::Normal { deviation } = weight.init {
                found.insert(format!("{:?} {deviation}", weight.shape));
            }
        }
        found
    };
    let base = deviations(&graph(1));
    // sqrt(2 / (5 · 64)) at both ends and for what reads the stream, a quarter of it (four branches) for what adds to it.
    for expected in
        ["[64, 64] 0.079057", "[64, 64] 0.019764", "[64, 176] 0.079057", "[256, 64] 0.079057", "[64, 256] 0.079057"]
    {
        assert!(base.contains(expected), "{expected}: {base:?}");
    }
    assert!(deviations(&graph(4)).contains("[64, 64] 0.004941"));
}

proptest! {
    #[test]
    fn no_document_panics(
        of in "[a-dxy]", dim in -2_i64..100, op in 0..16_usize, other in 0..16_usize, heads in 0_u32..70, times in 0_u64..200,
    ) {
        let name = |at: usize| Node::OPERATORS.get(at).map_or("nonsense", |(name, _)| name);
        let attributes = |op: &str| {
            let known = Node::OPERATORS.iter().find(|(name, _)| *name == op).map_or(&[] as &[&str], |(_, known)| known);
            known.iter().map(|attribute| match *attribute {
                "dim" | "hidden" | "head_dim" => format!(", {attribute}: {dim}"),
                "heads" | "kv_heads" => format!(", {attribute}: {heads}"),
                "times" => format!(", times: {times}"),
                "by" => format!(", by: {dim}"),
                "function" => ", function: tanh".to_owned(),
                "output" => ", output: c".to_owned(),
                "nodes" => ", nodes: [{ id: c, op: rms_norm, of: input }]".to_owned(),
                _ => String::new(),
            }).collect::<String>()
        };
        let (op, other) = (name(op), name(other));
        let _ = middle(&format!(
            "- {{ id: y, op: {op}, of: [{of}]{} }}\n- {{ id: b, op: {other}, of: [y, x]{} }}",
            attributes(op), attributes(other).replace("id: c", "id: d").replace("output: c", "output: d"),
        ));
    }
}
