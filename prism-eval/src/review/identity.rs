//! Whose idea it is: the structure of what reaches `build_model`, without its names.
//!
//! From an entry point's hook on, every definition that it can reach in the bundle is written down in the order in which
//! it is first mentioned. Own names become numbers: definitions over the whole, locals within their function, attributes
//! of instances within their class. Names of other people's modules are written in full, however they were imported.
//! Comments, formatting, annotations, docstrings, the order and the files of definitions leave no trace; literals,
//! operators and whatever is called do.
//!
//! This names and attributes; it doesn't protect. Dead code and other spellings of the same mathematics change it, and
//! no money hangs on that: increments are paid by measured advantage alone.
use super::{
    hooks::BUILD_MODEL,
    sources::{Binding, Sources, imports},
    syntax::{Kind, Module, Node, NodeId},
};
use prism_core::{Digest, FamilyId};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
};

/// Attributes that mean something to PyTorch or to Python, so that their names belong to the structure.
const SPOKEN: [&str; 26] = [
    "add_module",
    "apply",
    "backward",
    "bias",
    "buffers",
    "children",
    "data",
    "eval",
    "extra_repr",
    "forward",
    "grad",
    "load_state_dict",
    "modules",
    "named_parameters",
    "param_groups",
    "parameters",
    "register_buffer",
    "register_parameter",
    "requires_grad",
    "reset_parameters",
    "state",
    "state_dict",
    "step",
    "train",
    "training",
    "weight",
];
/// Packages within each other that are looked for.
const MAX_PACKAGES: usize = 8;
/// Rounds in which statements at the top that mention a reached definition are looked for.
const ROUNDS: usize = 8;

/// The family of an architecture: what `build_model` of its entry point reaches.
#[must_use]
pub fn family(sources: &Sources, entrypoint: &str) -> FamilyId {
    FamilyId::of_parts("prism/python/1", &[&structure(sources, entrypoint, entrypoint, &[BUILD_MODEL.name])])
}

/// What identifies a recipe: all that its hooks reach. `get_recipe` is the architecture's, the others the entry point's.
#[must_use]
pub fn variant(sources: &Sources, architecture: &str, entrypoint: &str, hooks: &[&str]) -> Digest {
    Digest::of_parts("prism/python/variant/1", &[&structure(sources, architecture, entrypoint, hooks)])
}

/// Attributes that the bundle itself defines: fields and methods of its classes, and what it assigns.
pub(super) fn own_attributes(sources: &Sources) -> BTreeSet<String> {
    let mut own = BTreeSet::new();
    for module in sources.modules() {
        for (id, node) in module.nodes() {
            match node.kind {
                Kind::Attribute if node.stored => {
                    own.insert(node.text.clone());
                }
                Kind::Class => own.extend(class_names(module, id)),
                _ => {}
            }
        }
    }
    own.retain(|name| !is_spoken(name));
    own
}

fn is_spoken(name: &str) -> bool {
    name.starts_with("__") || SPOKEN.contains(&name)
}

/// Fields and methods in the body of a class.
fn class_names(module: &Module, class: NodeId) -> Vec<String> {
    let mut found = Vec::new();
    for id in module.list(class, 2) {
        let node = module.node(*id);
        match node.kind {
            Kind::Function | Kind::AsyncFunction => found.push(node.text.clone()),
            Kind::Assign | Kind::AnnotatedAssign => {
                let stored = module.below(module.child(*id, 0)).into_iter().map(|id| module.node(id));
                found
                    .extend(stored.filter(|node| node.kind == Kind::Name && node.stored).map(|node| node.text.clone()));
            }
            _ => {}
        }
    }
    found
}

fn structure(sources: &Sources, architecture: &str, entrypoint: &str, hooks: &[&str]) -> Vec<u8> {
    let nodes = sources.modules().flat_map(Module::nodes).map(|(_, node)| node);
    let parameters = nodes.filter(|node| node.kind == Kind::Parameter);
    let mut writer = Writer {
        sources,
        entrypoint,
        own: own_attributes(sources),
        parameters: parameters.map(|node| node.text.as_str()).collect(),
        definitions: BTreeMap::new(),
        queue: VecDeque::new(),
        attributes: BTreeMap::new(),
        imported: BTreeMap::new(),
        places: BTreeMap::new(),
        out: Vec::new(),
    };
    for hook in hooks {
        let file = if *hook == "get_recipe" { architecture } else { entrypoint };
        writer.token('H', hook);
        let Some(module) = sources.module(file) else { continue };
        match sources.binding(entrypoint, module, hook) {
            Some(binding) => writer.definition(binding),
            None => writer.token('-', ""),
        }
    }
    writer.finish();
    writer.out
}

type Place = (String, NodeId);

struct Writer<'a> {
    sources: &'a Sources,
    entrypoint: &'a str,
    own: BTreeSet<String>,
    /// Parameters of all functions of the bundle.
    parameters: BTreeSet<&'a str>,
    definitions: BTreeMap<Place, usize>,
    queue: VecDeque<(&'a Module, NodeId)>,
    attributes: BTreeMap<String, usize>,
    /// What imports bind, by module.
    imported: BTreeMap<String, Rc<Imported>>,
    /// Places of parameters, by function or class.
    places: BTreeMap<Place, Rc<BTreeMap<String, usize>>>,
    out: Vec<u8>,
}

type Imported = BTreeMap<String, String>;

/// What an attribute is.
enum Dotted<'a> {
    /// Of a value of the program's own.
    Value,
    /// Another module's, by its full name.
    Foreign(String),
    /// A definition of the bundle, and attributes of it.
    Own(Binding<'a>, Vec<&'a str>),
}

/// The names of a function or a class, numbered as they are met.
#[derive(Default)]
struct Scope {
    locals: BTreeSet<String>,
    numbers: BTreeMap<String, usize>,
    is_class: bool,
    /// What the first parameter of a method is called.
    instance: Option<String>,
    /// Attributes of the instance, in a class.
    attributes: BTreeMap<String, usize>,
    /// Names in the body of the class.
    members: BTreeSet<String>,
}

enum Step {
    Visit(NodeId),
    /// An attribute of a value, as is known from the attribute that it is part of.
    Inner(NodeId),
    Leave,
}

impl<'a> Writer<'a> {
    fn token(&mut self, tag: char, text: &str) {
        self.out.push(tag as u8);
        self.out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn number(&mut self, tag: char, number: usize) {
        self.out.push(tag as u8);
        self.out.extend_from_slice(&(number as u64).to_le_bytes());
    }

    /// Mentions a definition, which is written later when it is met for the first time.
    fn definition(&mut self, binding: Binding<'a>) {
        match binding {
            Binding::Node(module, id) | Binding::Unknown(module, id) => {
                let next = self.definitions.len();
                let number = *self.definitions.entry((module.path().to_owned(), id)).or_insert_with(|| {
                    self.queue.push_back((module, id));
                    next
                });
                self.number('D', number);
            }
        }
    }

    /// Writes all that was mentioned, and the statements at the top of reached files that do something with it.
    fn finish(&mut self) {
        let mut done: BTreeSet<Place> = BTreeSet::new();
        for _ in 0..ROUNDS {
            while let Some((module, id)) = self.queue.pop_front() {
                self.number('=', self.definitions.get(&(module.path().to_owned(), id)).copied().unwrap_or_default());
                self.tree(module, id);
            }
            let reached: BTreeSet<&String> = self.definitions.keys().map(|(path, _)| path).collect();
            let modules: Vec<&Module> = reached.into_iter().filter_map(|path| self.sources.module(path)).collect();
            let mut effects = Vec::new();
            for module in modules {
                for id in module.body() {
                    let place = (module.path().to_owned(), *id);
                    if is_effect(module, *id) && !done.contains(&place) && self.mentions(module, *id) {
                        done.insert(place);
                        effects.push((module, *id));
                    }
                }
            }
            if effects.is_empty() {
                return;
            }
            // Files have no order of their own: that of what they define first does.
            let mut first: BTreeMap<&str, usize> = BTreeMap::new();
            for ((path, _), number) in &self.definitions {
                let known = first.entry(path).or_insert(*number);
                *known = (*known).min(*number);
            }
            let mut keyed: Vec<(usize, &Module, NodeId)> = effects
                .into_iter()
                .map(|(module, id)| (first.get(module.path()).copied().unwrap_or(usize::MAX), module, id))
                .collect();
            keyed.sort_by_key(|(first, ..)| *first);
            for (_, module, id) in keyed {
                self.token('!', "");
                self.tree(module, id);
            }
        }
    }

    fn mentions(&self, module: &'a Module, statement: NodeId) -> bool {
        module.below(statement).into_iter().any(|id| {
            let node = module.node(id);
            if node.kind != Kind::Name {
                return false;
            }
            match self.sources.binding(self.entrypoint, module, &node.text) {
                Some(Binding::Node(module, id) | Binding::Unknown(module, id)) => {
                    self.definitions.contains_key(&(module.path().to_owned(), id))
                }
                None => false,
            }
        })
    }

    fn tree(&mut self, module: &'a Module, root: NodeId) {
        let mut scopes = vec![Scope { locals: stored_names(module, root, true), ..Scope::default() }];
        let imported = match self.imported.get(module.path()) {
            Some(imported) => Rc::clone(imported),
            None => {
                let imported = Rc::new(imported_names(module));
                self.imported.insert(module.path().to_owned(), Rc::clone(&imported));
                imported
            }
        };
        let imported = &*imported;
        let mut open = vec![Step::Visit(root)];
        while let Some(step) = open.pop() {
            let (id, inner) = match step {
                Step::Visit(id) => (id, false),
                Step::Inner(id) => (id, true),
                Step::Leave => {
                    scopes.pop();
                    continue;
                }
            };
            let node = module.node(id);
            match node.kind {
                Kind::Name
                    if scopes.last().is_some_and(|scope| scope.is_class && scope.members.contains(&node.text)) =>
                {
                    self.member(&node.text);
                    continue;
                }
                Kind::Name => {
                    self.name(module, &scopes, imported, node);
                    number_local(&mut scopes, &node.text, &mut self.out);
                    continue;
                }
                Kind::Attribute => {
                    if !inner && self.outside(module, &scopes, imported, id) {
                        continue;
                    }
                    self.number('k', node.kind as usize);
                    self.attribute(module, &mut scopes, id);
                    let object = module.child(id, 0);
                    let is_attribute = module.node(object).kind == Kind::Attribute;
                    open.push(if is_attribute { Step::Inner(object) } else { Step::Visit(object) });
                    continue;
                }
                Kind::Function | Kind::AsyncFunction | Kind::Lambda | Kind::Class => {
                    self.number('k', node.kind as usize);
                    self.scope(module, &mut scopes, &mut open, id);
                    continue;
                }
                Kind::Call => {
                    self.number('k', node.kind as usize);
                    self.call(module, &scopes, imported, &mut open, id);
                    continue;
                }
                _ => {}
            }
            self.number('k', node.kind as usize);
            match node.kind {
                Kind::Parameter | Kind::Handler | Kind::PatternAs | Kind::PatternStar | Kind::PatternMapping => {
                    number_local(&mut scopes, &node.text, &mut self.out);
                }
                // Within a bundle it is the place in a call that counts, written there.
                Kind::Keyword => {}
                _ => self.token('t', &node.text),
            }
            let children = kept(module, id);
            self.number('n', children.len());
            open.extend(children.into_iter().rev().map(Step::Visit));
        }
    }

    /// A name that isn't local: a definition of the bundle, another module's, or a builtin.
    fn name(&mut self, module: &'a Module, scopes: &[Scope], imported: &Imported, node: &Node) {
        if is_local(scopes, &node.text) {
            return;
        }
        match self.sources.binding(self.entrypoint, module, &node.text) {
            Some(binding @ Binding::Node(..)) => self.definition(binding),
            Some(binding @ Binding::Unknown(..)) if !imported.contains_key(&node.text) => self.definition(binding),
            _ => match imported.get(&node.text) {
                Some(path) => self.token('F', path),
                None => self.token('B', &node.text),
            },
        }
    }

    /// What an attribute is that begins with a module.
    fn dotted(&self, module: &'a Module, scopes: &[Scope], imported: &Imported, id: NodeId) -> Dotted<'a> {
        let (mut at, mut path) = (id, Vec::new());
        while module.node(at).kind == Kind::Attribute {
            path.push(module.node(at).text.as_str());
            at = module.child(at, 0);
        }
        let base = module.node(at);
        if base.kind != Kind::Name || is_local(scopes, &base.text) {
            return Dotted::Value;
        }
        let Some(first) = imported.get(&base.text) else { return Dotted::Value };
        path.reverse();
        let root = first.split('.').next().unwrap_or_default();
        if !first.starts_with('.') && !self.sources.has_part(root) {
            return Dotted::Foreign(format!("{first}.{}", path.join(".")));
        }
        // `package.module.Class.attribute`: the longest part that is a file, then its definition, then the rest.
        for split in (0..path.len().min(MAX_PACKAGES)).rev() {
            let (modules, rest) = path.split_at(split);
            let name = std::iter::once(first.as_str()).chain(modules.iter().copied()).collect::<Vec<_>>().join(".");
            let Some((definition, rest)) = rest.split_first() else { continue };
            let Some(file) = self.sources.module_of(self.entrypoint, module, &name) else { continue };
            if let Some(binding) = self.sources.binding(self.entrypoint, file, definition) {
                return Dotted::Own(binding, rest.to_vec());
            }
        }
        Dotted::Value
    }

    /// Writes an attribute that begins with a module, if it does: in full, or as the definition that it leads to.
    fn outside(&mut self, module: &'a Module, scopes: &[Scope], imported: &Imported, id: NodeId) -> bool {
        match self.dotted(module, scopes, imported, id) {
            Dotted::Value => return false,
            Dotted::Foreign(name) => self.token('F', &name),
            Dotted::Own(binding, rest) => {
                // As it would be written were the definition in the same file.
                for part in rest.iter().rev() {
                    self.number('k', Kind::Attribute as usize);
                    self.member(part);
                }
                self.definition(binding);
            }
        }
        true
    }

    /// An attribute of the bundle's own by its number, any other by its name.
    fn member(&mut self, name: &str) {
        if !self.own.contains(name) {
            return self.token('a', name);
        }
        let next = self.attributes.len();
        let number = *self.attributes.entry(name.to_owned()).or_insert(next);
        self.number('A', number);
    }

    fn attribute(&mut self, module: &Module, scopes: &mut [Scope], id: NodeId) {
        let (node, base) = (module.node(id), module.node(module.child(id, 0)));
        let method = scopes.iter().rposition(|scope| scope.instance.is_some());
        let on_instance = base.kind == Kind::Name
            && method.and_then(|at| scopes.get(at)?.instance.as_deref()) == Some(base.text.as_str());
        let class = method.and_then(|at| scopes.get_mut(at.checked_sub(1)?)).filter(|scope| scope.is_class);
        match class {
            Some(class) if on_instance && self.own.contains(&node.text) && !class.members.contains(&node.text) => {
                let next = class.attributes.len();
                let number = *class.attributes.entry(node.text.clone()).or_insert(next);
                self.number('I', number);
            }
            _ => self.member(&node.text),
        }
    }

    /// Enters a function, a lambda or a class.
    fn scope(&mut self, module: &Module, scopes: &mut Vec<Scope>, open: &mut Vec<Step>, id: NodeId) {
        let node = module.node(id);
        let is_class = node.kind == Kind::Class;
        let in_class = scopes.last().is_some_and(|scope| scope.is_class);
        if in_class && !is_class && node.kind != Kind::Lambda {
            self.member(&node.text);
        } else {
            number_local(scopes, &node.text, &mut self.out);
        }
        let mut scope = Scope { is_class, ..Scope::default() };
        let children: Vec<NodeId> = if is_class {
            scope.members = class_names(module, id).into_iter().collect();
            vec![module.child(id, 0), module.child(id, 1)]
        } else {
            scope.locals = stored_names(module, id, false);
            let parameters = module.child(id, if node.kind == Kind::Lambda { 0 } else { 1 });
            let first = module.list(parameters, 0).iter().chain(module.list(parameters, 1)).next();
            scope.instance = first.filter(|_| in_class).map(|id| module.node(*id).text.clone());
            match node.kind {
                Kind::Lambda => node.children.clone(),
                // What a function returns by annotation is nothing to it.
                _ => vec![module.child(id, 0), parameters, module.child(id, 3)],
            }
        };
        open.push(Step::Leave);
        if is_class {
            let body = members(module, id);
            self.number('n', body.len());
            open.extend(body.into_iter().rev().map(Step::Visit));
        }
        open.extend(children.into_iter().rev().map(Step::Visit));
        scopes.push(scope);
    }

    fn parameter_places(&mut self, module: &Module, id: NodeId) -> Rc<BTreeMap<String, usize>> {
        let place = (module.path().to_owned(), id);
        if let Some(places) = self.places.get(&place) {
            return Rc::clone(places);
        }
        let names = parameter_names(module, id).into_iter().enumerate();
        let places: Rc<BTreeMap<String, usize>> = Rc::new(names.map(|(place, name)| (name, place)).collect());
        self.places.insert(place, Rc::clone(&places));
        places
    }

    /// A call: keywords in an order of their own, those of the bundle's functions by their place.
    fn call(&mut self, module: &'a Module, scopes: &[Scope], imported: &Imported, open: &mut Vec<Step>, id: NodeId) {
        let callee = module.child(id, 0);
        let callee_node = module.node(callee);
        let own = match callee_node.kind {
            Kind::Name if !is_local(scopes, &callee_node.text) => {
                self.sources.binding(self.entrypoint, module, &callee_node.text)
            }
            Kind::Attribute => match self.dotted(module, scopes, imported, callee) {
                Dotted::Own(binding, rest) if rest.is_empty() => Some(binding),
                _ => None,
            },
            _ => None,
        };
        let places = match own {
            Some(Binding::Node(module, id)) => self.parameter_places(module, id),
            _ => Rc::default(),
        };
        let foreign = match callee_node.kind {
            Kind::Name => imported.contains_key(&callee_node.text) && places.is_empty(),
            Kind::Attribute => !self.own.contains(&callee_node.text) && places.is_empty(),
            _ => false,
        };
        let (keywords, mut arguments): (Vec<NodeId>, Vec<NodeId>) = module
            .list(id, 1)
            .iter()
            .partition(|id| module.node(**id).kind == Kind::Keyword && !module.node(**id).text.is_empty());
        let mut keyed: Vec<(usize, &str, NodeId)> = keywords
            .into_iter()
            .map(|id| {
                let name = module.node(id).text.as_str();
                match places.get(name) {
                    Some(place) => (*place, "", id),
                    None if !foreign && self.parameters.contains(name) => (usize::MAX, "", id),
                    None => (usize::MAX, name, id),
                }
            })
            .collect();
        keyed.sort_by_key(|(place, name, _)| (*place, *name));
        self.number('n', arguments.len());
        for (place, name, id) in keyed {
            self.number('p', place.min(u32::MAX as usize));
            self.token('w', name);
            arguments.push(id);
        }
        open.extend(arguments.into_iter().rev().map(Step::Visit));
        open.push(Step::Visit(callee));
    }
}

/// A local by its distance and number; nothing when the name isn't local.
fn number_local(scopes: &mut [Scope], name: &str, out: &mut Vec<u8>) {
    let innermost = scopes.len();
    let found = scopes.iter_mut().enumerate().rev().find(|(_, scope)| scope.locals.contains(name));
    if let Some((depth, scope)) = found {
        let next = scope.numbers.len();
        let number = *scope.numbers.entry(name.to_owned()).or_insert(next);
        out.push(b'L');
        out.extend_from_slice(&((innermost - depth) as u64).to_le_bytes());
        out.extend_from_slice(&(number as u64).to_le_bytes());
    }
}

fn is_local(scopes: &[Scope], name: &str) -> bool {
    scopes.iter().any(|scope| scope.locals.contains(name))
}

/// What of a node is written: no annotations, no idle texts, nothing that only names.
fn kept(module: &Module, id: NodeId) -> Vec<NodeId> {
    let node = module.node(id);
    match node.kind {
        Kind::List => {
            let says_something = |id: &NodeId| {
                let node = module.node(*id);
                match node.kind {
                    Kind::Pass | Kind::Import | Kind::ImportFrom | Kind::Global | Kind::Nonlocal => false,
                    Kind::Expression => {
                        !matches!(module.node(module.child(*id, 0)).kind, Kind::Str | Kind::Bytes | Kind::Ellipsis)
                    }
                    _ => true,
                }
            };
            node.children.iter().copied().filter(says_something).collect()
        }
        Kind::Parameter => vec![module.child(id, 1)],
        Kind::AnnotatedAssign => vec![module.child(id, 0), module.child(id, 2)],
        _ => node.children.clone(),
    }
}

/// The body of a class: what isn't a method in its order, then methods by name where the name is spoken, and by shape.
fn members(module: &Module, class: NodeId) -> Vec<NodeId> {
    let all = kept(module, module.child(class, 2));
    let is_method = |id: &NodeId| matches!(module.node(*id).kind, Kind::Function | Kind::AsyncFunction);
    let (mut methods, mut body): (Vec<NodeId>, Vec<NodeId>) = all.into_iter().partition(is_method);
    methods.sort_by_cached_key(|id| {
        let name = &module.node(*id).text;
        if is_spoken(name) { (0, name.clone(), Vec::new()) } else { (1, String::new(), shape(module, *id)) }
    });
    body.append(&mut methods);
    body
}

/// Kinds and literals of a tree, in preorder.
fn shape(module: &Module, id: NodeId) -> Vec<u8> {
    let mut shape = Vec::new();
    for id in module.below(id) {
        let node = module.node(id);
        shape.push(node.kind as u8);
        if matches!(node.kind, Kind::Number | Kind::Str | Kind::Bytes | Kind::BinOp | Kind::Compare) {
            shape.extend_from_slice(node.text.as_bytes());
        }
    }
    shape
}

/// Parameters of a function, or of what a class is made with, by place.
fn parameter_names(module: &Module, id: NodeId) -> Vec<String> {
    let of = |function: NodeId| {
        let groups = (0..5).flat_map(|group| module.list(module.child(function, 1), group).iter());
        groups.map(|id| module.node(*id).text.clone()).collect::<Vec<_>>()
    };
    match module.node(id).kind {
        Kind::Function | Kind::AsyncFunction => of(id),
        Kind::Class => {
            let init = module.list(id, 2).iter().find(|id| module.node(**id).text == "__init__");
            init.map_or_else(|| class_names(module, id), |init| of(*init))
        }
        _ => Vec::new(),
    }
}

/// Names that a function binds, those of functions within it aside. At the top, only what comprehensions and the like
/// bind: the rest are definitions.
fn stored_names(module: &Module, root: NodeId, at_top: bool) -> BTreeSet<String> {
    let (mut found, mut outer, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![root]);
    while let Some(id) = open.pop() {
        let node = module.node(id);
        if id != root {
            match node.kind {
                Kind::Function | Kind::AsyncFunction | Kind::Class => {
                    found.insert(node.text.clone());
                    continue;
                }
                Kind::Lambda => continue,
                _ => {}
            }
        } else if at_top && matches!(node.kind, Kind::Function | Kind::AsyncFunction | Kind::Class | Kind::Lambda) {
            return found;
        }
        match node.kind {
            Kind::Name if node.stored => {
                found.insert(node.text.clone());
            }
            Kind::Parameter | Kind::Handler | Kind::PatternAs | Kind::PatternStar | Kind::PatternMapping
                if !node.text.is_empty() =>
            {
                found.insert(node.text.clone());
            }
            Kind::Global | Kind::Nonlocal => outer.extend(node.text.split(' ').map(str::to_owned)),
            _ => {}
        }
        if at_top && matches!(node.kind, Kind::Assign | Kind::AugmentedAssign | Kind::AnnotatedAssign) {
            // Targets at the top are definitions.
            open.extend(node.children.iter().skip(1));
        } else {
            open.extend(&node.children);
        }
    }
    found.difference(&outer).cloned().collect()
}

/// Names that imports bind anywhere in a module, with what they mean.
fn imported_names(module: &Module) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (_, node) in module.nodes().filter(|(_, node)| matches!(node.kind, Kind::Import | Kind::ImportFrom)) {
        for (name, bound) in imports(module, node) {
            if node.kind == Kind::Import && bound.contains('.') {
                let first = bound.split('.').next().unwrap_or_default().to_owned();
                found.insert(first.clone(), first);
            } else {
                found.insert(bound, name);
            }
        }
    }
    found
}

/// Whether a statement at the top does more than to define one name.
fn is_effect(module: &Module, id: NodeId) -> bool {
    let node = module.node(id);
    match node.kind {
        Kind::Function | Kind::AsyncFunction | Kind::Class | Kind::Import | Kind::ImportFrom | Kind::Pass => false,
        Kind::Assign => module.list(id, 0).iter().any(|id| module.node(*id).kind != Kind::Name),
        Kind::AnnotatedAssign => module.node(module.child(id, 0)).kind != Kind::Name,
        Kind::Expression => !matches!(module.node(module.child(id, 0)).kind, Kind::Str | Kind::Bytes),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{duplicate::Sketch, review::similarity::shingles};

    const MODEL: &str = r#"
"""A small one."""
import math
import torch
from torch import nn
from torch.nn import functional as F

DEPTH = 2

def widths(ctx, ratio=4):
    # Feed-forward first.
    return [ctx.vocab_size // 8, ratio * 8]

class Config:
    heads: int = 4
    bias: bool = False
    def __init__(self, heads, bias=False):
        self.heads, self.bias = heads, bias

class Block(nn.Module):
    def __init__(self, width, config):
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-5)
        self.attn = nn.MultiheadAttention(width, config.heads, batch_first=True, bias=False)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def mix(self, x, scale=1.0):
        """Attention."""
        return self.attn(x, x, x)[0] * scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.mix(self.norm(x), scale=0.5)
        hidden = [F.gelu(self.up(part)) for part in (x,)]
        return x + self.down(hidden[0])

class Model(nn.Module):
    def __init__(self, ctx):
        super().__init__()
        width, _ = widths(ctx, ratio=2)
        self.table = nn.Embedding(ctx.vocab_size, width)
        self.blocks = nn.ModuleList(Block(width, Config(4, bias=True)) for _ in range(DEPTH))
        self.out = nn.Linear(width, ctx.vocab_size)

    def forward(self, tokens):
        x = self.table(tokens) * math.sqrt(2)
        for block in self.blocks:
            x = block(x)
        return self.out(x)

def build_model(ctx):
    return Model(ctx)

def get_recipe(ctx):
    return {"learning_rate": 1e-3}

def train_step(model, batch, optimizer, ctx):
    loss = model(batch.tokens).mean()
    loss.backward()
    optimizer.step()
    return loss
"#;

    fn sources(files: &[(&str, &str)]) -> Sources {
        let files: BTreeMap<String, String> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Sources::parse(&files).unwrap()
    }

    fn of(source: &str) -> FamilyId {
        family(&sources(&[("model.py", source)]), "model.py")
    }

    fn with(changes: &[(&str, &str)]) -> String {
        changes.iter().fold(MODEL.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        })
    }

    #[test]
    fn names_formatting_and_order_leave_no_trace() {
        for changes in [
            &[("Block", "Layer"), ("Model(", "Net("), ("widths", "sizes"), ("DEPTH", "N")][..],
            &[("self.attn", "self.mixer"), ("self.norm", "self.before"), ("self.up", "self.u")],
            &[("mix(", "attend("), ("hidden", "h"), ("part", "p"), ("width", "w")],
            &[("config", "c"), ("Config", "Settings"), ("ratio", "r")],
            &[
                ("x = block(x)", "x = (\n                block( x ) # next\n            )"),
                ("\"\"\"A small one.\"\"\"", ""),
            ],
            &[("x: torch.Tensor) -> torch.Tensor", "x)")],
            &[
                ("from torch.nn import functional as F\n", "import torch.nn.functional\n"),
                ("F.gelu", "torch.nn.functional.gelu"),
            ],
            &[("from torch import nn\n", "import torch.nn as layers\n"), ("(nn.", "(layers."), (" nn.", " layers.")],
            &[
                ("bias=False)\n        self.up", "batch_first=True)\n        self.up"),
                ("config.heads, batch_first=True", "config.heads, bias=False"),
            ],
            &[("1e-3", "3e-4"), ("loss.backward()", "(loss * 2).backward()")],
            &[("def get_recipe", "def unused(x):\n    return x * 3\n\ndef get_recipe")],
        ] {
            assert_eq!(of(&with(changes)), of(MODEL), "{changes:?}");
        }
        // Definitions in another order, and methods too.
        let (head, tail) = MODEL.split_once("class Model").unwrap();
        let (model, rest) = tail.split_once("def get_recipe").unwrap();
        let (imports, defs) = head.split_once("DEPTH = 2").unwrap();
        let moved = format!("{imports}class Model{model}\nDEPTH = 2{defs}\ndef get_recipe{rest}");
        assert_eq!(of(&moved), of(MODEL));
        let (before, mix) = MODEL.split_once("    def mix").unwrap();
        let (mix, forward) = mix.split_once("    def forward").unwrap();
        let (forward, after) = forward.split_once("class Model").unwrap();
        assert_eq!(of(&format!("{before}    def forward{forward}    def mix{mix}\nclass Model{after}")), of(MODEL));
    }

    #[test]
    fn files_leave_no_trace() {
        let (parts, model) = MODEL.split_once("class Model").unwrap();
        let head = "import math\nimport torch\nfrom torch import nn\n";
        let split = |import: &str, text: &str| {
            let model = format!("{head}{import}\nclass Model{text}");
            family(
                &sources(&[("src/model.py", &model), ("src/parts.py", parts), ("other.py", "x = 1")]),
                "src/model.py",
            )
        };
        assert_eq!(split("from parts import Block, Config, widths, DEPTH", model), of(MODEL));
        assert_eq!(split("from .parts import *", model), of(MODEL));
        let dotted = model.replace("Block(", "parts.Block(").replace("Config(", "parts.Config(");
        let dotted = dotted.replace("widths(", "parts.widths(").replace("DEPTH", "parts.DEPTH");
        assert_eq!(split("from . import parts", &dotted), of(MODEL));
    }

    #[test]
    fn what_changes_the_program_changes_the_family() {
        let mut seen = vec![of(MODEL)];
        for changes in [
            &[("DEPTH = 2", "DEPTH = 3")][..],
            &[("eps=1e-5", "eps=1e-6")],
            &[("F.gelu", "F.silu")],
            &[("nn.LayerNorm", "nn.RMSNorm")],
            &[("x + self.mix(self.norm(x), scale=0.5)", "self.norm(x + self.mix(x, scale=0.5))")],
            &[("self.down(hidden[0])", "self.up(hidden[0])")],
            &[("ratio=2", "ratio=3")],
            &[("batch_first=True", "need_weights=True")],
            &[("math.sqrt(2)", "math.sqrt(2) + 1")],
            &[("return self.out(x)", "return self.out(x) - self.out(x)")],
            &[("Config(4, bias=True)", "Config(4)")],
            &[("def get_recipe", "Block.forward = None\n\ndef get_recipe")],
            &[("ctx.vocab_size // 8", "ctx.sequence_length // 8")],
        ] {
            let changed = of(&with(changes));
            assert!(!seen.contains(&changed), "{changes:?}");
            seen.push(changed);
        }
    }

    #[test]
    fn the_variant_is_what_the_hooks_reach() {
        let of = |text: &str| {
            let sources = sources(&[("model.py", text)]);
            variant(&sources, "model.py", "model.py", &["get_recipe", "train_step"])
        };
        assert_eq!(of(&with(&[("Block", "Layer"), ("loss", "l"), ("DEPTH = 2", "DEPTH = 5")])), of(MODEL));
        assert_ne!(of(&with(&[("1e-3", "3e-4")])), of(MODEL));
        assert_ne!(of(&with(&[(".mean()", ".sum()")])), of(MODEL));
    }

    #[test]
    fn any_text_has_an_identity() {
        for text in [
            "",
            "from x import *",
            "build_model = build_model",
            "from .model import build_model",
            "a, build_model = 1, 2",
            "class build_model(build_model):\n  build_model = build_model\n  def f(self): self.g.h = lambda: self",
            "import build_model",
            "for build_model in x: pass",
            "def build_model(x): return [x for x in x][x.x(x=x)]",
        ] {
            assert_eq!(of(text), of(text));
            let _ = shingles(&sources(&[("model.py", text)]));
        }
        // Deep as the gate lets it be.
        let deep = format!("def build_model(ctx):\n    return {}ctx{}\n", "(".repeat(190), ")".repeat(190));
        let chain = format!("def build_model(ctx):\n    return ctx{}\n", ".a".repeat(900));
        let minus = format!("def build_model(ctx):\n    return {}1\n", "-".repeat(900));
        assert!(of(&deep) != of(&chain) && of(&chain) != of(&minus));
    }

    /// Long sources that are made to be slow. There is no clock here: what is not linear takes
    /// hours.
    #[test]
    fn long_sources_end() {
        let of = |head: &str, line: &str, tail: &str| {
            let count = (crate::review::parser::MAX_SOURCE_BYTES / 2 - head.len() - tail.len()) / line.len();
            let sources = sources(&[("model.py", &format!("{head}{}{tail}", line.repeat(count)))]);
            let _ = family(&sources, "model.py");
            let _ = crate::review::rules::findings(&sources);
            let _ = shingles(&sources);
        };
        let build = "def build_model(ctx): return a, C, f, b\n";
        of("", "a=b\nb=a\n", build);
        of("import torch\n", "a=a.b\n", build);
        of("class C:\n", " a=1\n", &format!("{build}{}", "C(a=1)\n".repeat(30_000)));
        of("def f(a): ...\n", "f(a=f)\n", build);
        of("import a\n", "def f(): return a\n", build);
        of("", &format!("f{}\n", ".a".repeat(900)), build);
        of("import f\n", &format!("f{}\n", ".f".repeat(900)), build);
        of("", &format!("x = {}1\n", "lambda x: ".repeat(400)), build);
        of(build, "b[a](*f, C=C)\n", "a = b = C = f = 1\n");
        of("from torch import *\n", "load\n", build);
    }

    #[test]
    fn near_duplicates_share_most_of_their_fingerprint() {
        let print = |text: &str| Sketch::of(&shingles(&sources(&[("model.py", text)]))).unwrap();
        let original = print(MODEL);
        let renamed =
            print(&with(&[("Block", "Layer"), ("hidden", "h"), ("self.attn", "self.a"), ("DEPTH = 2", "DEPTH = 9")]));
        assert!((original.similarity(&renamed) - 1.0).abs() < 1e-9);
        let edited =
            print(&with(&[("return self.out(x)", "x = F.layer_norm(x, x.shape[-1:])\n        return self.out(x)")]));
        assert!(original.similarity(&edited) > 0.7, "{}", original.similarity(&edited));
        assert!(original.bands().zip(edited.bands()).any(|(a, b)| a == b));
        let other = print(
            "import torch\ndef build_model(ctx):\n    w = [torch.ones(n) for n in range(9)]\n    while w and w[0]:\n        \
                           w.pop()\n    try:\n        return torch.nn.GRU(*w, num_layers=3)\n    except ValueError as e:\n        raise e\n",
        );
        assert!(original.similarity(&other) < 0.2, "{}", original.similarity(&other));
        assert!(!original.bands().zip(other.bands()).any(|(a, b)| a == b));
    }
}
