//! What the names of a module mean, as far as its text tells: imports, their aliases, builtins. Scopes are not told
//! apart: a name that is bound to something else anywhere in the file is not sure.
use super::{
    sources::imports,
    syntax::{Kind, Module, NodeId},
};
use std::collections::{BTreeMap, BTreeSet};

/// Meanings of one name that are kept; more tell nothing more.
const MAX_MEANINGS: usize = 8;
/// Assignments in a row that are followed.
const MAX_STEPS: usize = 4;

/// A dotted name that begins with a module or `builtins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) name: String,
    /// Whether the text leaves no other meaning.
    pub(super) sure: bool,
}

/// The names of one module.
#[derive(Debug)]
pub(super) struct Names<'a> {
    module: &'a Module,
    parents: Vec<NodeId>,
    imported: BTreeMap<String, BTreeSet<String>>,
    stars: Vec<String>,
    aliases: BTreeMap<String, Vec<NodeId>>,
    bound: BTreeMap<String, usize>,
    /// What names that are imported or assigned may mean.
    known: BTreeMap<String, Vec<Meaning>>,
}

impl<'a> Names<'a> {
    pub(super) fn of(module: &'a Module) -> Self {
        let mut parents = vec![module.root(); module.nodes().count()];
        let mut names = Self {
            module,
            parents: Vec::new(),
            imported: BTreeMap::new(),
            stars: Vec::new(),
            aliases: BTreeMap::new(),
            bound: BTreeMap::new(),
            known: BTreeMap::new(),
        };
        for (id, node) in module.nodes() {
            for child in &node.children {
                if let Some(parent) = parents.get_mut(child.0 as usize) {
                    *parent = id;
                }
            }
            match node.kind {
                Kind::Import | Kind::ImportFrom => names.import(id),
                Kind::Assign => names.assign(id),
                Kind::Name if node.stored => *names.bound.entry(node.text.clone()).or_default() += 1,
                Kind::Parameter
                | Kind::Function
                | Kind::AsyncFunction
                | Kind::Class
                | Kind::Handler
                | Kind::PatternAs
                | Kind::PatternStar
                | Kind::PatternMapping
                    if !node.text.is_empty() =>
                {
                    *names.bound.entry(node.text.clone()).or_default() += 1;
                }
                _ => {}
            }
        }
        names.parents = parents;
        names.settle();
        names
    }

    pub(super) fn parent(&self, id: NodeId) -> NodeId {
        self.parents.get(id.0 as usize).copied().unwrap_or(self.module.root())
    }

    /// Whether a name is bound in this file by anything but an import.
    pub(super) fn is_bound(&self, name: &str) -> bool {
        self.bound.contains_key(name)
    }

    /// The only value that a name is ever assigned.
    pub(super) fn only_value(&self, name: &str) -> Option<NodeId> {
        match (self.bound.get(name), self.aliases.get(name).map(Vec::as_slice)) {
            (Some(1), Some([value])) if !self.imported.contains_key(name) => Some(*value),
            _ => None,
        }
    }

    fn import(&mut self, id: NodeId) {
        let node = self.module.node(id);
        for (name, bound) in imports(self.module, node) {
            // Files of the bundle are nobody else's.
            if name.starts_with('.') {
                *self.bound.entry(bound).or_default() += 1;
                continue;
            }
            if bound == "*" {
                self.stars.push(name);
            } else if node.kind == Kind::Import && bound.contains('.') {
                // `import a.b` binds `a`.
                let first = bound.split('.').next().unwrap_or_default().to_owned();
                self.imported.entry(first.clone()).or_default().insert(first);
            } else {
                self.imported.entry(bound).or_default().insert(name);
            }
        }
    }

    fn assign(&mut self, id: NodeId) {
        let value = self.module.child(id, 1);
        for target in self.module.list(id, 0) {
            let target = self.module.node(*target);
            if target.kind == Kind::Name {
                self.aliases.entry(target.text.clone()).or_default().push(value);
            }
        }
    }

    /// Follows assignments, a few steps far.
    fn settle(&mut self) {
        for (name, meanings) in &self.imported {
            let meanings = meanings.iter().take(MAX_MEANINGS).map(|name| meaning(name.clone(), true));
            self.known.insert(name.clone(), meanings.collect());
        }
        let mut foreign: BTreeMap<String, usize> = BTreeMap::new();
        for _ in 0..MAX_STEPS {
            let mut next = self.known.clone();
            foreign.clear();
            for (name, values) in &self.aliases {
                for value in values {
                    let node = self.module.node(*value);
                    // A name assigned to itself means nothing more.
                    let itself = node.kind == Kind::Name && node.text == *name;
                    let found = if itself { Vec::new() } else { self.meanings(*value) };
                    *foreign.entry(name.clone()).or_default() += usize::from(itself || !found.is_empty());
                    let known = next.entry(name.clone()).or_default();
                    for one in found {
                        if known.len() < MAX_MEANINGS && !known.iter().any(|known| known.name == one.name) {
                            known.push(one);
                        }
                    }
                }
            }
            if next == self.known {
                break;
            }
            self.known = next;
        }
        for (name, meanings) in &mut self.known {
            let bound = self.bound.get(name).copied().unwrap_or_default();
            let sure = meanings.len() == 1 && bound == foreign.get(name).copied().unwrap_or_default();
            for one in meanings {
                one.sure &= sure;
            }
        }
    }

    /// What an expression may mean: nothing where it is a value of the file's own.
    pub(super) fn meanings(&self, id: NodeId) -> Vec<Meaning> {
        // Attributes can be as deep as the source: go down first, then build the name upwards.
        let (mut at, mut path) = (id, Vec::new());
        loop {
            let node = self.module.node(at);
            match node.kind {
                Kind::Attribute => {
                    path.push(node.text.as_str());
                    at = self.module.child(at, 0);
                }
                // `getattr(x, "y")` is `x.y`.
                Kind::Call => {
                    let Some((object, name)) = self.constant_getattr(at) else { return Vec::new() };
                    path.push(name);
                    at = object;
                }
                _ => break,
            }
        }
        let node = self.module.node(at);
        if node.kind != Kind::Name {
            return Vec::new();
        }
        let mut bases = self.name(&node.text);
        path.reverse();
        for base in &mut bases {
            for part in &path {
                base.name.push('.');
                base.name.push_str(part);
            }
        }
        bases
    }

    fn constant_getattr(&self, call: NodeId) -> Option<(NodeId, &'a str)> {
        let callee = self.module.node(self.module.child(call, 0));
        let [object, name, ..] = self.module.list(call, 1) else { return None };
        let name = self.module.node(*name);
        (callee.kind == Kind::Name && callee.text == "getattr" && name.kind == Kind::Str)
            .then_some((*object, name.text.as_str()))
    }

    fn name(&self, name: &str) -> Vec<Meaning> {
        if let Some(known) = self.known.get(name) {
            return known.clone();
        }
        if self.bound.contains_key(name) {
            return Vec::new();
        }
        let builtin = meaning(format!("builtins.{name}"), true);
        let stars = self.stars.iter().take(MAX_MEANINGS).map(|star| meaning(format!("{star}.{name}"), false));
        std::iter::once(builtin).chain(stars).collect()
    }
}

fn meaning(name: String, sure: bool) -> Meaning {
    Meaning { name, sure }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(source: &str) -> Vec<(String, bool)> {
        let module = Module::parse("m.py", source).unwrap();
        let names = Names::of(&module);
        let id = module.child(*module.body().last().unwrap(), 0);
        names.meanings(id).into_iter().map(|meaning| (meaning.name, meaning.sure)).collect()
    }

    fn one(name: &str, sure: bool) -> Vec<(String, bool)> {
        vec![(name.to_owned(), sure)]
    }

    #[test]
    fn names_are_followed_to_modules() {
        assert_eq!(last("import torch as t\nt.hub.load\n"), one("torch.hub.load", true));
        assert_eq!(last("from torch import hub as h\nh.load\n"), one("torch.hub.load", true));
        assert_eq!(
            last("import torch.nn.functional as F\nG = F\nH = G.relu\nH\n"),
            one("torch.nn.functional.relu", true)
        );
        assert_eq!(last("import torch.nn\ntorch.load\n"), one("torch.load", true));
        assert_eq!(last("import torch\ngetattr(torch, 'os').system\n"), one("torch.os.system", true));
        assert_eq!(last("eval\n"), one("builtins.eval", true));
        assert_eq!(last("def eval(x): ...\neval\n"), vec![]);
        assert_eq!(last("import os\nos = os\nos.x\n"), one("os.x", true));
        assert_eq!(last("import os\ndef f(os): ...\nos.x\n"), one("os.x", false));
        assert_eq!(last("a = b\nb = a\na\n"), vec![]);
        assert_eq!(last("import torch\na = torch\na = a.b\na\n").len(), MAX_STEPS);
        assert_eq!(last("x = f()\nx.y\n"), vec![]);
        let star = last("from torch import *\nload\n");
        assert_eq!(star, [("builtins.load".to_owned(), true), ("torch.load".to_owned(), false)]);
    }
}
