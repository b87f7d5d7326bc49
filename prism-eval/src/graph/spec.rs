//! The submitted form of an architecture: named operators in any order, sizes as expressions, `repeat`.
//!
//! ```yaml
//! graph: prism.graph/1
//! let: { d: 64 * width_factor }
//! nodes:
//!   - { id: table, op: embedding, of: tokens, dim: d }
//!   - id: blocks
//!     op: repeat
//!     of: table
//!     times: 2 * depth_factor
//!     output: out
//!     nodes:
//!       - { id: norm, op: rms_norm, of: input }
//!       - { id: mixed, op: attention, of: norm, heads: 4, positions: rotary }
//!       - { id: out, op: add, of: [input, mixed] }
//!   - { id: logits, op: linear, of: blocks, tied: table }
//! output: logits
//! ```
use super::{error::GraphError, expression::Expression, resolved::Activation};
use crate::document;
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_saphyr::Spanned;
use std::{collections::BTreeMap, fmt};

/// What the key `graph` must say.
pub const GRAPH_FORMAT: &str = "prism.graph/1";

/// An architecture as submitted. Nothing is checked but its form: see [`GraphSpec::resolve`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphSpec {
    /// [`GRAPH_FORMAT`].
    pub graph: String,
    /// Named expressions, in any order.
    #[serde(rename = "let", default, deserialize_with = "document::unique_map")]
    pub definitions: BTreeMap<String, Expression>,
    /// The operators, in any order.
    #[serde(deserialize_with = "located")]
    pub nodes: Vec<Node>,
    /// The id of the node that gives the logits.
    pub output: String,
}

/// One operator with its attributes. Which attributes belong to which operator: [`Node::OPERATORS`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name; unique in the whole document.
    pub id: String,
    /// Which operator.
    pub op: String,
    /// The ids of its inputs. `tokens` are the token ids; inside `repeat`, `input` is the carried value.
    #[serde(default, deserialize_with = "one_or_many")]
    pub of: Vec<String>,
    /// Width of the result.
    pub dim: Option<Expression>,
    /// Width inside an MLP.
    pub hidden: Option<Expression>,
    /// Query heads.
    pub heads: Option<Expression>,
    /// Key and value heads; as many as `heads` unless given.
    pub kv_heads: Option<Expression>,
    /// Width of one head; the input's width over `heads` unless given.
    pub head_dim: Option<Expression>,
    /// Whether biases are added: false unless given, but for `layer_norm`.
    pub bias: Option<bool>,
    /// May be said to be true.
    pub causal: Option<bool>,
    /// How positions enter attention: `none` unless given.
    pub positions: Option<PositionScheme>,
    /// Base of rotary frequencies; 10000 unless given.
    pub rotary_base: Option<Expression>,
    /// The activation inside an MLP: `gelu`, and `silu` when gated, unless given.
    pub activation: Option<Activation>,
    /// The activation of the operator `activation`.
    pub function: Option<Activation>,
    /// Of `causal_convolution`: how many positions it reads, its own among them; 1 to 64.
    pub kernel: Option<Expression>,
    /// Positions to shift by, into the future; negative looks ahead.
    pub by: Option<Expression>,
    /// Of `dropout`: only 0.
    pub rate: Option<Expression>,
    /// Of `linear`: the embedding whose table it is. Of `repeat`: whether all iterations share their weights.
    pub tied: Option<Tied>,
    /// Of `repeat`: how often.
    pub times: Option<Expression>,
    /// Of `repeat`: the operators of one iteration.
    #[serde(default, deserialize_with = "maybe_located")]
    pub nodes: Option<Vec<Node>>,
    /// Of `repeat`: the node whose value is carried on.
    pub output: Option<String>,
    /// Where it stands in the document, from 1; 0 where that is unknown.
    #[serde(skip)]
    pub line: u64,
}

/// How positions enter attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionScheme {
    /// Not at all.
    None,
    /// Rotations of query and key.
    Rotary,
}

/// The two things that `tied` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tied {
    /// To the table of this embedding.
    To(String),
    /// Whether all iterations share their weights.
    Iterations(bool),
}

impl GraphSpec {
    /// Reads the submitted form, YAML or JSON by the suffix of the name.
    ///
    /// # Errors
    /// What is wrong with the form, with key and line.
    pub fn read(bytes: &[u8], name: &str) -> Result<Self, GraphError> {
        let spec: Self = document::read(bytes, name)?;
        if spec.graph == GRAPH_FORMAT { Ok(spec) } else { Err(GraphError::Format { found: spec.graph }) }
    }
}

impl Node {
    /// Every operator with the attributes that it takes besides `id`, `op` and `of`.
    pub const OPERATORS: [(&'static str, &'static [&'static str]); 17] = [
        ("embedding", &["dim"]),
        ("learned_positions", &[]),
        ("linear", &["dim", "bias", "tied"]),
        ("layer_norm", &["bias"]),
        ("rms_norm", &[]),
        ("attention", &["heads", "kv_heads", "head_dim", "positions", "rotary_base", "bias", "causal"]),
        ("scaled_dot_product_attention", &["heads", "kv_heads", "positions", "rotary_base", "causal"]),
        ("mlp", &["hidden", "activation", "bias"]),
        ("gated_mlp", &["hidden", "activation", "bias"]),
        ("add", &[]),
        ("multiply", &[]),
        ("activation", &["function"]),
        ("shift", &["by"]),
        ("causal_convolution", &["kernel", "bias"]),
        ("gated_recurrence", &[]),
        ("dropout", &["rate"]),
        ("repeat", &["times", "nodes", "output", "tied"]),
    ];

    /// The attributes that it has.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = &'static str> {
        [
            ("dim", self.dim.is_some()),
            ("hidden", self.hidden.is_some()),
            ("heads", self.heads.is_some()),
            ("kv_heads", self.kv_heads.is_some()),
            ("head_dim", self.head_dim.is_some()),
            ("bias", self.bias.is_some()),
            ("causal", self.causal.is_some()),
            ("positions", self.positions.is_some()),
            ("rotary_base", self.rotary_base.is_some()),
            ("activation", self.activation.is_some()),
            ("function", self.function.is_some()),
            ("kernel", self.kernel.is_some()),
            ("by", self.by.is_some()),
            ("rate", self.rate.is_some()),
            ("tied", self.tied.is_some()),
            ("times", self.times.is_some()),
            ("nodes", self.nodes.is_some()),
            ("output", self.output.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
    }
}

impl<'de> Deserialize<'de> for Tied {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Tied;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of an embedding, or a boolean")
            }
            fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Tied, E> {
                Ok(Tied::Iterations(value))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tied, E> {
                Ok(Tied::To(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct Ids;
    impl<'de> Visitor<'de> for Ids {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an id or a list of ids")
        }
        fn visit_str<E: serde::de::Error>(self, id: &str) -> Result<Vec<String>, E> {
            Ok(vec![id.to_owned()])
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut ids = Vec::new();
            while let Some(id) = list.next_element()? {
                ids.push(id);
            }
            Ok(ids)
        }
    }
    deserializer.deserialize_any(Ids)
}

fn located<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
    let nodes = Vec::<Spanned<Node>>::deserialize(deserializer)?;
    Ok(nodes.into_iter().map(|node| Node { line: node.referenced.line(), ..node.value }).collect())
}

fn maybe_located<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Node>>, D::Error> {
    located(deserializer).map(Some)
}
