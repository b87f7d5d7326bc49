//! `architecture_graph.json`: the architecture as an artifact, for people and tools.
use super::{mermaid::mermaid, resolved::ResolvedGraph};
use prism_core::Digest;
use serde::Serialize;

/// What the key `schema` says.
pub const ARCHITECTURE_FORMAT: &str = "prism.architecture_graph/1";

/// The document. The digest is that of the canonical bytes of `graph`, which this document may indent.
#[derive(Debug, Clone, Serialize)]
pub struct ArchitectureGraph<'a> {
    /// [`ARCHITECTURE_FORMAT`].
    pub schema: &'static str,
    /// SHA-256 of the canonical bytes: the architecture's identity at this size.
    pub sha256: Digest,
    /// Number of trained values.
    pub parameters: u64,
    /// Floating-point operations per trained token.
    pub flops_per_token: u64,
    /// Depth.
    pub layers: u32,
    /// The canonical graph.
    pub graph: &'a ResolvedGraph,
    /// Its flowchart, derived.
    pub mermaid: String,
}

impl<'a> ArchitectureGraph<'a> {
    /// The document of an architecture.
    #[must_use]
    pub fn of(graph: &'a ResolvedGraph) -> Self {
        Self {
            schema: ARCHITECTURE_FORMAT,
            sha256: graph.digest(),
            parameters: super::parameters(graph),
            flops_per_token: super::flops_per_token(graph),
            layers: super::layers(graph),
            graph,
            mermaid: mermaid(graph),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Context, Limits, baselines};

    #[test]
    fn the_graph_in_the_document_has_the_documents_digest() {
        let spec = baselines::spec("gpt").unwrap().unwrap();
        let graph = spec.resolve(&Context::new(256, 32), &Limits::default()).unwrap();
        let text = serde_json::to_string_pretty(&ArchitectureGraph::of(&graph)).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let read: ResolvedGraph = serde_json::from_value(value["graph"].clone()).unwrap();
        assert_eq!(value["sha256"], Digest::of(&read.canonical_bytes()).to_string());
        assert!(value["mermaid"].as_str().unwrap().starts_with("flowchart TB\n"));
    }
}
