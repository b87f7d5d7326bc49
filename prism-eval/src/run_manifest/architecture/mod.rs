//! The architecture as files beside a manifest: `architecture_graph.json`, whose canonical bytes and SHA-256 are the
//! architecture's identity there; `architecture_metadata.v1.json`, what is known of it; and a Mermaid flowchart for people,
//! derived from the graph and never read back.
//!
//! A declared architecture is its canonical graph. Python is read, never run: what the host's parser finds in the files
//! that a guest receives. Names stand in that graph, so a renamed copy has another one; families are told apart by
//! [`review::identity`](crate::review::identity).
mod canonical;
mod graph;
mod metadata;
mod native;
mod python;

pub use canonical::canonical_json;
pub use graph::{ArchitectureGraph, Block, GraphSchema, Interface, Routing, TokenizerConstraints};
pub use metadata::{ArchitectureMetadata, GraphReference, HashReference, Identity, MetadataSchema};

use super::error::ManifestError;
use crate::{graph::ResolvedGraph, guest::GuestPart, review::PythonError};
use prism_core::{Digest, FamilyId, Hotkey};
use std::collections::BTreeMap;

/// File name of the graph.
pub const GRAPH_FILE: &str = "architecture_graph.json";
/// File name of what is known of it.
pub const METADATA_FILE: &str = "architecture_metadata.v1.json";
/// File name of the flowchart.
pub const MERMAID_FILE: &str = "architecture.mmd";

/// An architecture as it is run.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// A declared one.
    Declared(&'a ResolvedGraph),
    /// One of Python, as a guest receives it.
    Python(&'a GuestPart),
}

/// The graph with its canonical bytes, and its flowchart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    graph: ArchitectureGraph,
    bytes: Vec<u8>,
    mermaid: String,
    source: Digest,
}

impl Architecture {
    /// Reads an architecture.
    ///
    /// # Errors
    /// Files that are no Python.
    pub fn of(source: Source<'_>) -> Result<Self, PythonError> {
        let (graph, mermaid, source) = match source {
            Source::Declared(graph) => (native::graph(graph), crate::graph::mermaid(graph), graph.digest()),
            Source::Python(part) => {
                let graph = python::graph(part)?;
                let mermaid = python::mermaid(&graph);
                (graph, mermaid, python::source(part))
            }
        };
        Ok(Self { bytes: graph.canonical_bytes(), graph, mermaid, source })
    }

    /// The graph.
    #[must_use]
    pub fn graph(&self) -> &ArchitectureGraph {
        &self.graph
    }

    /// The canonical bytes of [`GRAPH_FILE`].
    #[must_use]
    pub fn graph_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of [`Architecture::graph_bytes`].
    #[must_use]
    pub fn hash(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    /// The flowchart.
    #[must_use]
    pub fn mermaid(&self) -> &str {
        &self.mermaid
    }

    /// What is known of it under a family and a version.
    #[must_use]
    pub fn metadata(&self, known: &Known<'_>) -> ArchitectureMetadata {
        ArchitectureMetadata::of(&self.graph, self.hash(), self.source, known)
    }

    /// Graph, metadata and flowchart by file name, each as the bytes that its digest is of.
    ///
    /// # Errors
    /// None, unless the metadata contradicts itself.
    pub fn files(&self, known: &Known<'_>) -> Result<BTreeMap<&'static str, Vec<u8>>, ManifestError> {
        Ok(BTreeMap::from([
            (GRAPH_FILE, self.bytes.clone()),
            (METADATA_FILE, self.metadata(known).to_bytes()?),
            (MERMAID_FILE, self.mermaid.clone().into_bytes()),
        ]))
    }
}

/// What a validator knows of an architecture besides the graph.
#[derive(Debug, Clone)]
pub struct Known<'a> {
    /// Its family.
    pub family: FamilyId,
    /// The digest of what is run.
    pub version: Digest,
    /// The digest of the policy that it was measured under.
    pub policy: Digest,
    /// Who holds the family's slot.
    pub owner: Option<Hotkey>,
    /// What the submission claims to bring; `baseline` for a published one.
    pub kind: &'a str,
    /// What it is trained with, in a few words.
    pub training: Option<&'a str>,
}
