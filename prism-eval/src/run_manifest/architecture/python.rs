//! The graph of an architecture in Python, by reading alone.
use super::graph::{ArchitectureGraph, Block, Interface, MAX_ENTRY, Routing};
use crate::{
    guest::GuestPart,
    review::{
        PythonError, Sources,
        hooks::{BUILD_MODEL, GET_RECIPE, OPTIONAL},
        sources::imports,
        syntax::{Kind, Module, NodeId},
    },
};
use prism_core::Digest;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

/// Words in the names of classes that say nothing about them, longer ones first.
const EMPTY_WORDS: [&str; 7] = ["network", "module", "small", "model", "block", "tiny", "net"];
/// What makes something a block with weights.
const PARAMETERIZED: [&str; 5] = ["Embedding", "Linear", "Conv", "Attention", "LayerNorm"];
/// What hints at tokens taking ways of their own.
const ROUTING: [&str; 6] = ["topk", "where", "gather", "scatter", "router", "moe"];
/// Most classes that are drawn.
const MAX_DRAWN: usize = 8;
/// Most parts of a dotted name.
const MAX_PARTS: usize = 16;

/// What stands in the files of an architecture.
pub(super) fn graph(part: &GuestPart) -> Result<ArchitectureGraph, PythonError> {
    let sources = Sources::parse(&part.files)?;
    let mut found = Found::default();
    for module in sources.modules() {
        let text = part.files.get(module.path()).map(String::as_str).unwrap_or_default();
        found.read(module, text);
    }
    let mut graph = ArchitectureGraph::default();
    let routed = |call: &String| {
        let call = call.to_lowercase();
        ROUTING.iter().any(|word| call.contains(word))
    };
    graph.dynamic_routing = Routing { enabled: found.calls.iter().any(routed) };
    graph.interface = interface(&sources, &part.entrypoint);
    graph.modules = graph.fitted(found.modules);
    graph.classes = graph.fitted(found.classes);
    graph.functions = graph.fitted(found.functions);
    graph.imports = graph.fitted(found.imports);
    graph.calls = graph.fitted(found.calls);
    graph.parameterized_blocks = graph.fitted(found.blocks);
    Ok(graph)
}

/// What identifies the files: their paths and texts.
pub(super) fn source(part: &GuestPart) -> Digest {
    let parts = part.files.iter().flat_map(|(path, text)| [path.as_bytes(), text.as_bytes()]);
    Digest::of_parts("prism/architecture_source/1", &parts.collect::<Vec<_>>())
}

fn interface(sources: &Sources, entrypoint: &str) -> Interface {
    let module = sources.module(entrypoint);
    let bound = |name: &str| module.is_some_and(|module| sources.binding(entrypoint, module, name).is_some());
    let named = |names: &[&'static str]| {
        let mut names: Vec<String> = names.iter().filter(|name| bound(name)).map(|name| (*name).to_owned()).collect();
        names.sort();
        names
    };
    Interface {
        required: named(&[BUILD_MODEL.name, GET_RECIPE.name]),
        optional_hooks: named(&OPTIONAL.map(|hook| hook.name)),
    }
}

#[derive(Debug, Default)]
struct Found {
    modules: BTreeSet<String>,
    classes: BTreeSet<String>,
    functions: BTreeSet<String>,
    imports: BTreeSet<String>,
    calls: BTreeSet<String>,
    blocks: BTreeSet<Block>,
}

impl Found {
    fn read(&mut self, module: &Module, text: &str) {
        let path = module.path();
        let stem = path.strip_suffix(".py").unwrap_or(path);
        self.modules.insert(short(&stem.strip_suffix("/__init__").unwrap_or(stem).replace('/', ".")));
        for (id, node) in module.nodes() {
            match node.kind {
                Kind::Class => {
                    self.classes.insert(short(&class(&node.text)));
                }
                Kind::Function | Kind::AsyncFunction => {
                    self.functions.insert(short(&node.text));
                }
                Kind::Import | Kind::ImportFrom => {
                    self.imports.extend(imports(module, node).iter().map(|(name, _)| short(name)));
                }
                Kind::Call => self.calls.extend(dotted(module, module.child(id, 0)).map(|name| short(&name))),
                Kind::Assign => {
                    // One thing, whatever it is called besides.
                    let value = module.child(id, 1);
                    let mut targets = module.list(id, 0).iter();
                    self.blocks.extend(targets.find_map(|target| block(module, text, *target, value)));
                }
                Kind::AnnotatedAssign => {
                    self.blocks.extend(block(module, text, module.child(id, 0), module.child(id, 2)));
                }
                _ => {}
            }
        }
    }
}

/// A class in lower case, without the words that say nothing; the whole name where nothing else is left.
fn class(name: &str) -> String {
    let lower = name.to_lowercase();
    let stripped = EMPTY_WORDS.iter().fold(lower.clone(), |name, word| name.replace(word, ""));
    if stripped.chars().any(char::is_alphanumeric) { stripped } else { lower }
}

/// What is called, as far as it is a name: in full, or its last two parts where it begins with `self`, `torch` or `nn`.
fn dotted(module: &Module, callee: NodeId) -> Option<String> {
    let mut parts = Vec::new();
    let mut id = callee;
    loop {
        let node = module.node(id);
        parts.push(node.text.as_str());
        match node.kind {
            Kind::Attribute if parts.len() < MAX_PARTS => id = module.child(id, 0),
            Kind::Name => break,
            // Of what is called on a result, the attributes are known.
            _ if parts.len() > 1 => {
                parts.pop();
                break;
            }
            _ => return None,
        }
    }
    if matches!(parts.last(), Some(&("self" | "torch" | "nn"))) {
        parts.truncate(2);
    }
    parts.reverse();
    Some(parts.join("."))
}

/// An assignment of something with weights.
fn block(module: &Module, text: &str, target: NodeId, value: NodeId) -> Option<Block> {
    let call = module.node(value);
    if call.kind != Kind::Call {
        return None;
    }
    let name = dotted(module, module.child(value, 0))?;
    let kind = name.rsplit('.').next().unwrap_or_default();
    if !PARAMETERIZED.iter().any(|word| kind.contains(word)) {
        return None;
    }
    let bound = module.node(target);
    if !matches!(bound.kind, Kind::Name | Kind::Attribute) {
        return None;
    }
    let (mut args, mut keywords) = (Vec::new(), BTreeMap::new());
    for id in module.list(value, 1).iter().take(MAX_PARTS) {
        let argument = module.node(*id);
        match argument.kind {
            Kind::Keyword => {
                let key = if argument.text.is_empty() { "**" } else { &argument.text };
                keywords.insert(short(key), written(module, text, module.child(*id, 0)));
            }
            _ => args.push(written(module, text, *id)),
        }
    }
    Some(Block { name: short(&bound.text), kind: short(kind), args, keywords })
}

/// An expression as it stands in the source, on one line.
fn written(module: &Module, text: &str, id: NodeId) -> String {
    let range = &module.node(id).range;
    let source = text.get(range.start as usize..range.end as usize).unwrap_or_default();
    short(&source.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn short(text: &str) -> String {
    text.chars().take(MAX_ENTRY).collect()
}

/// The flowchart: what makes the model, and the first classes.
pub(super) fn mermaid(graph: &ArchitectureGraph) -> String {
    let mut text = String::from("flowchart LR\n");
    let classes: Vec<&String> = graph.classes.iter().take(MAX_DRAWN).collect();
    for (at, class) in classes.iter().enumerate() {
        let _ = writeln!(text, "    C{at}[\"{}\"]", plain(class));
    }
    for (at, function) in graph.interface.required.iter().enumerate() {
        let _ = writeln!(text, "    F{at}([\"{}\"])", plain(function));
        if !classes.is_empty() {
            let _ = writeln!(text, "    F{at} --> C0");
        }
    }
    for at in 1..classes.len() {
        let _ = writeln!(text, "    C{} --- C{at}", at - 1);
    }
    text
}

/// A name of the miner's, in signs that mean nothing to Mermaid or to a browser.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.')).take(60).collect();
    if name.is_empty() { "-".to_owned() } else { name }
}
