//! The Python files of a bundle, and which of them belong to a part of it.
use super::{
    error::PythonError,
    syntax::{Kind, Module, Node, NodeId},
};
use std::collections::{BTreeMap, BTreeSet};

/// Packages within each other that a name is followed through.
const MAX_PACKAGES: usize = 16;

/// All Python files of a bundle, parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    modules: BTreeMap<String, Module>,
    tops: BTreeMap<String, BTreeMap<String, Bound>>,
    parts: BTreeSet<String>,
}

/// What binds a name at the top of a module last, and the statement that it is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    id: NodeId,
    statement: NodeId,
}

/// What a name means where a module binds it at its top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding<'a> {
    /// A `def`, a class, or the value that it was assigned.
    Node(&'a Module, NodeId),
    /// Bound by an import, a loop, an unpacking: nobody can say before it runs.
    Unknown(&'a Module, NodeId),
}

impl Sources {
    /// Parses every `.py` file.
    ///
    /// # Errors
    /// The first one that isn't Python or passes a limit.
    pub fn parse<'a>(files: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<Self, PythonError> {
        let python = files.into_iter().filter(|(path, _)| path.ends_with(".py"));
        let modules = python.map(|(path, text)| Ok((path.clone(), Module::parse(path, text)?)));
        let modules: BTreeMap<String, Module> = modules.collect::<Result<_, PythonError>>()?;
        let tops = modules.iter().map(|(path, module)| (path.clone(), bindings(module))).collect();
        let parts = modules.keys().flat_map(|path| path.strip_suffix(".py").unwrap_or(path).split('/'));
        let parts = parts.map(str::to_owned).collect();
        Ok(Self { modules, tops, parts })
    }

    /// One of them.
    #[must_use]
    pub fn module(&self, path: &str) -> Option<&Module> {
        self.modules.get(path)
    }

    /// All of them, by path.
    pub fn modules(&self) -> impl Iterator<Item = &Module> {
        self.modules.values()
    }

    /// The files that an entry point and the files listed with it can import, themselves included.
    #[must_use]
    pub fn reach(&self, entrypoint: &str, listed: &[String]) -> BTreeSet<String> {
        let listed = listed.iter().filter(|path| self.modules.contains_key(*path)).cloned();
        let mut open: Vec<String> = listed.chain([entrypoint.to_owned()]).collect();
        let mut reached = BTreeSet::new();
        while let Some(path) = open.pop() {
            let Some(module) = self.modules.get(&path).filter(|_| !reached.contains(&path)) else { continue };
            reached.insert(path);
            for (_, node) in module.nodes() {
                for (name, _) in imports(module, node) {
                    open.extend(self.files_of(entrypoint, module, &name));
                }
            }
        }
        reached
    }

    /// Whether a file or folder of the bundle has this name, wherever it lies.
    #[must_use]
    pub fn has_part(&self, name: &str) -> bool {
        self.parts.contains(name)
    }

    /// The files behind a dotted name, packages on the way included: looked for from the root of the bundle, then from
    /// the entry point's folder, as guests do; a name with leading dots from the importing file's folder.
    #[must_use]
    pub fn files_of(&self, entrypoint: &str, from: &Module, name: &str) -> Vec<String> {
        let dots = name.len() - name.trim_start_matches('.').len();
        let bases = match dots.checked_sub(1) {
            Some(up) => {
                let mut base = folder(from.path());
                for _ in 0..up {
                    base = folder(base);
                }
                vec![base]
            }
            None => vec!["", folder(entrypoint)],
        };
        let mut found = BTreeSet::new();
        for base in bases {
            let mut path = base.to_owned();
            for part in name.trim_start_matches('.').split('.').filter(|part| !part.is_empty()).take(MAX_PACKAGES) {
                if !path.is_empty() {
                    path.push('/');
                }
                path.push_str(part);
                let files = [format!("{path}/__init__.py"), format!("{path}.py")];
                found.extend(files.into_iter().filter(|file| self.modules.contains_key(file)));
            }
            if dots > 0 {
                let package = format!("{base}/__init__.py");
                found.extend(Some(package).filter(|file| self.modules.contains_key(file)));
            }
        }
        found.into_iter().collect()
    }

    /// What a name at the top of a module means, followed through plain assignments and imports within the bundle.
    #[must_use]
    pub fn binding<'a>(&'a self, entrypoint: &str, module: &'a Module, name: &str) -> Option<Binding<'a>> {
        let (mut module, mut name) = (module, name.to_owned());
        // A chain of more names is no longer for people.
        for _ in 0..16 {
            let tops = self.tops.get(module.path())?;
            let bound = tops.get(&name).or_else(|| tops.get("*"))?;
            let Bound { id, statement } = *bound;
            let node = module.node(id);
            match node.kind {
                Kind::Name if !node.stored => name.clone_from(&node.text),
                Kind::Alias => {
                    let from = module.node(statement);
                    let (imported, _) = names(node);
                    let next = Some(from).filter(|from| from.kind == Kind::ImportFrom);
                    let next = next.and_then(|from| self.module_of(entrypoint, module, &from.text));
                    let Some(next) = next else { return Some(Binding::Unknown(module, id)) };
                    if imported != "*" {
                        imported.clone_into(&mut name);
                    }
                    module = next;
                }
                _ if node.stored => return Some(Binding::Unknown(module, id)),
                _ => return Some(Binding::Node(module, id)),
            }
        }
        Some(Binding::Unknown(module, module.root()))
    }

    /// The module of the bundle that a dotted name is.
    #[must_use]
    pub fn module_of(&self, entrypoint: &str, from: &Module, name: &str) -> Option<&Module> {
        let last = name.rsplit('.').next().unwrap_or_default();
        let files = self.files_of(entrypoint, from, name);
        // Files on the way there are its packages.
        let is = |path: &&String| {
            let stem = path.strip_suffix(".py").unwrap_or(path);
            let stem = stem.strip_suffix("/__init__").unwrap_or(stem);
            last.is_empty() || stem.rsplit('/').next() == Some(last)
        };
        self.modules.get(files.iter().filter(is).max_by_key(|path| path.matches('/').count())?)
    }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The imported name and the bound one of an alias.
pub(super) fn names(alias: &Node) -> (&str, &str) {
    match alias.text.split_once(" as ") {
        Some((imported, bound)) => (imported, bound),
        None => (&alias.text, &alias.text),
    }
}

/// Dotted names that a statement imports, each with the name that it binds: `a.b` binds `a`, and a star binds `*`.
pub(crate) fn imports(module: &Module, node: &Node) -> Vec<(String, String)> {
    let aliases = node.children.first().map(|id| module.node(*id).children.as_slice()).unwrap_or_default();
    let aliases = aliases.iter().map(|id| names(module.node(*id)));
    match node.kind {
        Kind::Import => aliases.map(|(imported, bound)| (imported.to_owned(), bound.to_owned())).collect(),
        Kind::ImportFrom => aliases
            .map(|(imported, bound)| {
                let dot = if node.text.ends_with('.') { "" } else { "." };
                let name = if imported == "*" { node.text.clone() } else { format!("{}{dot}{imported}", node.text) };
                (name, bound.to_owned())
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// The statements that run when a module is imported, those in its `if`, `try`, `with` and loops included.
pub(super) fn top(module: &Module) -> Vec<NodeId> {
    let (mut found, mut open) = (Vec::new(), vec![module.child(module.root(), 0)]);
    while let Some(id) = open.pop() {
        match module.node(id).kind {
            Kind::Function | Kind::AsyncFunction | Kind::Class => found.push(id),
            Kind::List | Kind::If | Kind::Clause | Kind::Match | Kind::Case | Kind::Handler => {
                open.extend(module.node(id).children.iter().rev());
            }
            Kind::With | Kind::AsyncWith | Kind::For | Kind::AsyncFor | Kind::While | Kind::Try => {
                found.push(id);
                open.extend(module.node(id).children.iter().rev());
            }
            _ => found.push(id),
        }
    }
    found
}

/// What each name at the top of a module is bound to last.
fn bindings(module: &Module) -> BTreeMap<String, Bound> {
    let mut all = BTreeMap::new();
    for statement in top(module) {
        let node = module.node(statement);
        let mut bind = |name: &str, id| all.insert(name.to_owned(), Bound { id, statement });
        let mut unpack = |target: NodeId| {
            for id in module.below(target) {
                let node = module.node(id);
                if node.kind == Kind::Name && node.stored {
                    bind(&node.text, id);
                }
            }
        };
        match node.kind {
            Kind::Function | Kind::AsyncFunction | Kind::Class => {
                bind(&node.text, statement);
            }
            Kind::Import | Kind::ImportFrom => {
                for alias in module.list(statement, 0) {
                    let bound = names(module.node(*alias)).1;
                    bind(
                        if node.kind == Kind::Import { bound.split('.').next().unwrap_or_default() } else { bound },
                        *alias,
                    );
                }
            }
            Kind::Assign => {
                for target in module.list(statement, 0) {
                    let it = module.node(*target);
                    if it.kind == Kind::Name {
                        let value = module.child(statement, 1);
                        all.insert(it.text.clone(), Bound { id: value, statement });
                    } else {
                        for id in module.below(*target) {
                            let it = module.node(id);
                            if it.kind == Kind::Name && it.stored {
                                all.insert(it.text.clone(), Bound { id, statement });
                            }
                        }
                    }
                }
            }
            Kind::AnnotatedAssign => {
                let (target, value) = (module.node(module.child(statement, 0)), module.child(statement, 2));
                if target.kind == Kind::Name && module.node(value).kind != Kind::Absent {
                    bind(&target.text, value);
                }
            }
            Kind::For | Kind::AsyncFor => unpack(module.child(statement, 0)),
            Kind::WithItem => unpack(module.child(statement, 1)),
            _ => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn sources(files: &[(&str, &str)]) -> Sources {
        let files: BTreeMap<String, String> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Sources::parse(&files).unwrap()
    }

    #[test]
    fn what_an_entry_point_imports_is_found_as_guests_find_it() {
        let sources = sources(&[
            ("src/model.py", "import torch\nimport blocks.attention as a\nfrom .parts import b\nfrom root import *\n"),
            ("src/blocks/__init__.py", ""),
            ("src/blocks/attention.py", "def f():\n    from . import norm\n"),
            ("src/blocks/norm.py", "from ..far import away\n"),
            ("src/far.py", "import torch.nn"),
            ("src/parts/b.py", ""),
            ("root.py", "import helpers"),
            ("unused.py", "import src.model"),
            ("src/torch.py", ""),
        ]);
        let reached = sources.reach("src/model.py", &["unused.py".to_owned(), "missing.py".to_owned()]);
        assert!(reached.contains("unused.py"));
        let reached = sources.reach("src/model.py", &[]);
        let expected = [
            "root.py",
            "src/blocks/__init__.py",
            "src/blocks/attention.py",
            "src/blocks/norm.py",
            "src/far.py",
            "src/model.py",
            "src/parts/b.py",
            "src/torch.py",
        ];
        assert_eq!(reached.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        assert!(sources.has_part("blocks") && sources.has_part("root") && !sources.has_part("math"));
    }

    #[test]
    fn a_name_is_followed_to_its_definition() {
        let sources = sources(&[
            ("m.py", "from parts.make import make as build\nif True:\n    build_model = build\nfor loop in x: pass\n"),
            ("parts/make.py", "def make(ctx): ...\n"),
        ]);
        let module = sources.module("m.py").unwrap();
        let found = sources.binding("m.py", module, "build_model").unwrap();
        let Binding::Node(module, id) = found else { panic!("{found:?}") };
        assert_eq!((module.path(), module.node(id).text.as_str()), ("parts/make.py", "make"));
        let module = sources.module("m.py").unwrap();
        assert!(matches!(sources.binding("m.py", module, "loop"), Some(Binding::Unknown(..))));
        assert_eq!(sources.binding("m.py", module, "nothing"), None);
    }
}
