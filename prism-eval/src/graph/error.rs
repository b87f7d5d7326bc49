//! Why an architecture is refused.
use super::{expression::ExpressionError, shape::ShapeError};
use crate::document::DocumentError;
use prism_core::{Error, Fault, Kind};
use std::fmt;

/// Where in the submitted form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The node's id.
    pub node: String,
    /// Its line, from 1; 0 where that is unknown.
    pub line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "node `{}`", self.node),
            line => write!(f, "node `{}` (line {line})", self.node),
        }
    }
}

/// Why an architecture is refused. [`GraphError::rule`] is the stable name of the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// Not the submitted form.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// Another version of the submitted form.
    #[error("`graph` says {found:?}, this version reads {:?}", super::spec::GRAPH_FORMAT)]
    Format {
        /// What stands there.
        found: String,
    },
    /// An id that is no name, is taken, or has a meaning of its own.
    #[error("{at}: {problem}")]
    Id {
        /// Where.
        at: Place,
        /// What is wrong.
        problem: &'static str,
    },
    /// An operator that doesn't exist.
    #[error("{at}: unknown operator `{op}`, known are {}", operators())]
    Operator {
        /// Where.
        at: Place,
        /// What stands there.
        op: String,
    },
    /// An attribute that is missing, doesn't belong, or has no such value.
    #[error("{at}: `{attribute}` of `{op}` {problem}")]
    Attribute {
        /// Where.
        at: Place,
        /// The operator.
        op: String,
        /// The attribute.
        attribute: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A name that nothing has.
    #[error("{at}: there is no `{name}`")]
    Reference {
        /// Where.
        at: Place,
        /// The name.
        name: String,
    },
    /// The output that nothing is.
    #[error("`output` names `{0}`, which is no node")]
    Output(String),
    /// Nodes that need each other.
    #[error("nodes go in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    /// `let` that makes no sense.
    #[error(transparent)]
    Definitions(ExpressionError),
    /// An operator applied to what it can't take.
    #[error("{at}: {cause}")]
    Shape {
        /// Where.
        at: Place,
        /// Why.
        cause: ShapeError,
    },
    /// An iteration that changes the shape of what it carries.
    #[error("{at}: an iteration takes {before} and gives {after}")]
    Carried {
        /// Where.
        at: Place,
        /// Before.
        before: String,
        /// After.
        after: String,
    },
    /// Logits of another width.
    #[error("the output is {found}, the logits must be as wide as the vocabulary: {vocabulary}")]
    OutputWidth {
        /// What it is.
        found: String,
        /// What it should be.
        vocabulary: u32,
    },
    /// An output that sees later tokens.
    #[error("the output looks {positions} positions ahead{}", .at.as_ref().map_or_else(String::new, |at| format!(": {at}")))]
    Lookahead {
        /// How far.
        positions: i64,
        /// The first node that shifts back, where the submitted form is at hand.
        at: Option<Place>,
    },
    /// Attention that is said to look ahead.
    #[error("{at}: attention is causal, `causal: false` is refused")]
    NotCausal {
        /// Where.
        at: Place,
    },
    /// A bound.
    #[error("{what}: {value}, at most {limit}")]
    Limit {
        /// What is bounded.
        what: &'static str,
        /// How many there are; the largest number stands for more.
        value: u64,
        /// The bound.
        limit: u64,
    },
    /// Bytes that are not a canonical architecture.
    #[error("not a canonical architecture: {0}")]
    NotCanonical(String),
    /// Parts so alike that putting them in order takes too long.
    #[error("too many interchangeable parts to put in canonical order")]
    Symmetric,
}

fn operators() -> String {
    super::spec::Node::OPERATORS.map(|(name, _)| name).join(", ")
}

impl GraphError {
    /// The stable name of the rule that was broken, for HTTP bodies and reviews.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::Document(_) | Self::Format { .. } => "graph.form",
            Self::Id { .. } => "graph.id",
            Self::Operator { .. } => "graph.operator",
            Self::Attribute { .. } => "graph.attribute",
            Self::Reference { .. } | Self::Output(_) => "graph.reference",
            Self::Cycle(_) => "graph.cycle",
            Self::Definitions(_) => "graph.let",
            Self::Shape { .. } | Self::Carried { .. } | Self::OutputWidth { .. } => "graph.shape",
            Self::Lookahead { .. } | Self::NotCausal { .. } => "graph.causality",
            Self::Limit { what: PARAMETERS, .. } => "graph.parameters",
            Self::Limit { .. } => "graph.limit",
            Self::NotCanonical(_) => "graph.canonical",
            Self::Symmetric => "graph.symmetric",
        }
    }
}

/// What the bound on parameters is called.
pub(crate) const PARAMETERS: &str = "parameters";

impl From<GraphError> for Error {
    fn from(error: GraphError) -> Self {
        let kind = match &error {
            GraphError::Limit { .. } | GraphError::Symmetric => Kind::Limit,
            _ => Kind::Invalid,
        };
        Error::new(kind, Fault::Miner, format!("{}: {error}", error.rule()))
    }
}
