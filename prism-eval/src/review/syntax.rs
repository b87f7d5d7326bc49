//! A Python module as a flat tree: nodes in one vector, children by index. Walking it needs no recursion and dropping
//! it takes no stack, however deep the source was.
use std::ops::Range;

/// What a node is. In brackets: its children, in order. A group of any number is one [`Kind::List`]; what may be
/// missing is [`Kind::Absent`] then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A group of any number of nodes.
    List,
    /// Something optional that isn't there.
    Absent,
    /// `[body]`.
    Module,
    /// `def`, text = name: `[decorators, parameters, returns, body]`.
    Function,
    /// `async def`, as [`Kind::Function`].
    AsyncFunction,
    /// Text = name: `[decorators, arguments, body]`.
    Class,
    /// `[value]`.
    Return,
    /// `[targets]`.
    Delete,
    /// `[name, value]`.
    TypeAlias,
    /// `[targets, value]`.
    Assign,
    /// Text = operator: `[target, value]`.
    AugmentedAssign,
    /// `[target, annotation, value]`.
    AnnotatedAssign,
    /// `[target, iterable, body, else]`.
    For,
    /// As [`Kind::For`].
    AsyncFor,
    /// `[test, body, else]`.
    While,
    /// `[clauses]`, each a [`Kind::Clause`].
    If,
    /// One of `if`, `elif`, `else`: `[test, body]`.
    Clause,
    /// `[items, body]`.
    With,
    /// As [`Kind::With`].
    AsyncWith,
    /// `[expression, target]`.
    WithItem,
    /// `[subject, cases]`.
    Match,
    /// `[pattern, guard, body]`.
    Case,
    /// `[exception, cause]`.
    Raise,
    /// Text = `*` for groups: `[body, handlers, else, finally]`.
    Try,
    /// Text = bound name: `[type, body]`.
    Handler,
    /// `[test, message]`.
    Assert,
    /// `[aliases]`.
    Import,
    /// Text = module with leading dots: `[aliases]`.
    ImportFrom,
    /// Text = imported name, and ` as ` and the bound one where given.
    Alias,
    /// Text = names, separated by spaces.
    Global,
    /// Text = names, separated by spaces.
    Nonlocal,
    /// An expression as a statement: `[value]`.
    Expression,
    /// `pass`.
    Pass,
    /// `break`.
    Break,
    /// `continue`.
    Continue,
    /// Text = `and`, `or`: `[operands]`.
    BoolOp,
    /// `:=`, `[target, value]`.
    Named,
    /// Text = operator: `[left, right]`.
    BinOp,
    /// Text = operator: `[operand]`.
    UnaryOp,
    /// `[parameters, body]`.
    Lambda,
    /// `[test, then, else]`.
    Conditional,
    /// `[items]`, each a [`Kind::Item`].
    Dict,
    /// `[key, value]`; no key is `**`.
    Item,
    /// `[elements]`.
    Set,
    /// `[element, comprehensions]`.
    ListComprehension,
    /// `[element, comprehensions]`.
    SetComprehension,
    /// `[item, comprehensions]`.
    DictComprehension,
    /// `[element, comprehensions]`.
    Generator,
    /// Text = `async` if it is: `[target, iterable, conditions]`.
    Comprehension,
    /// `[value]`.
    Await,
    /// `[value]`.
    Yield,
    /// `[value]`.
    YieldFrom,
    /// Text = operators, separated by commas: `[operands]`.
    Compare,
    /// `[callee, arguments]`; arguments are expressions, [`Kind::Starred`] and [`Kind::Keyword`].
    Call,
    /// Text = name, empty for `**`: `[value]`.
    Keyword,
    /// f-strings and t-strings: `[parts]`.
    Interpolated,
    /// Text = conversion and debug text: `[expression, format parts]`.
    Interpolation,
    /// Text = the decoded string.
    Str,
    /// Text = the bytes, one character each.
    Bytes,
    /// Text = the value.
    Number,
    /// Text = `True` or `False`.
    Bool,
    /// `None`.
    None,
    /// `...`.
    Ellipsis,
    /// Text = attribute: `[value]`.
    Attribute,
    /// `[value, index]`.
    Subscript,
    /// `[value]`.
    Starred,
    /// Text = the name.
    Name,
    /// `[elements]`.
    ListLiteral,
    /// `[elements]`.
    Tuple,
    /// `[lower, upper, step]`.
    Slice,
    /// `[value]`.
    PatternValue,
    /// `[patterns]`.
    PatternSequence,
    /// Text = name of the rest: `[keys, patterns]`.
    PatternMapping,
    /// `[class, patterns]`; by name as [`Kind::Keyword`].
    PatternClass,
    /// Text = name.
    PatternStar,
    /// Text = name: `[pattern]`.
    PatternAs,
    /// `[patterns]`.
    PatternOr,
    /// `[positional only, positional, variadic, keyword only, variadic keyword]`, each a list of [`Kind::Parameter`].
    Parameters,
    /// Text = name: `[annotation, default]`.
    Parameter,
}

/// The place of a node in its module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Line of its first character, from 1.
    pub line: u32,
    /// Its bytes in the source.
    pub range: Range<u32>,
    /// See [`Kind`].
    pub text: String,
    /// Whether a name, attribute or element is bound or deleted here rather than read.
    pub stored: bool,
    /// See [`Kind`].
    pub children: Vec<NodeId>,
}

static NOWHERE: Node =
    Node { kind: Kind::Absent, line: 0, range: 0..0, text: String::new(), stored: false, children: Vec::new() };

/// One parsed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    pub(super) path: String,
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    pub(super) comments: Vec<Range<u32>>,
}

impl Module {
    /// Where it stands in the bundle.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The module itself.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// A node of this module.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(id.0 as usize).unwrap_or(&NOWHERE)
    }

    /// One child of a node.
    #[must_use]
    pub fn child(&self, id: NodeId, index: usize) -> NodeId {
        self.node(id).children.get(index).copied().unwrap_or(NodeId(u32::MAX))
    }

    /// The children of one child, as of a [`Kind::List`].
    #[must_use]
    pub fn list(&self, id: NodeId, index: usize) -> &[NodeId] {
        &self.node(self.child(id, index)).children
    }

    /// The statements at the top.
    #[must_use]
    pub fn body(&self) -> &[NodeId] {
        self.list(self.root, 0)
    }

    /// All nodes, each before the one that holds it.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        // As many as bytes at most: a u32 holds them.
        self.nodes.iter().enumerate().map(|(index, node)| (NodeId(index as u32), node))
    }

    /// A node and all below it, in the order of the source.
    #[must_use]
    pub fn below(&self, id: NodeId) -> Vec<NodeId> {
        let (mut found, mut open) = (Vec::new(), vec![id]);
        while let Some(id) = open.pop() {
            found.push(id);
            open.extend(self.node(id).children.iter().rev());
        }
        found
    }

    /// The bytes of all comments.
    #[must_use]
    pub fn comments(&self) -> &[Range<u32>] {
        &self.comments
    }

    /// The statements that are nothing but a text: docstrings, and texts that do nothing.
    pub fn idle_texts(&self) -> impl Iterator<Item = &Node> {
        self.nodes().filter(|(_, node)| node.kind == Kind::Expression).filter_map(|(id, _)| {
            let value = self.node(self.child(id, 0));
            matches!(value.kind, Kind::Str | Kind::Bytes).then_some(value)
        })
    }

    /// Whether another module is the same program, whatever its comments, formatting and idle texts.
    #[must_use]
    pub fn same_program(&self, other: &Self) -> bool {
        let mut open = vec![(self.root, other.root)];
        while let Some((a, b)) = open.pop() {
            let (left, right) = (self.node(a), other.node(b));
            if left.kind != right.kind || left.children.len() != right.children.len() {
                return false;
            }
            let idle = |module: &Self, id| {
                module.node(id).kind == Kind::Expression
                    && matches!(module.node(module.child(id, 0)).kind, Kind::Str | Kind::Bytes)
            };
            if idle(self, a) && idle(other, b) {
                continue;
            }
            if left.text != right.text || left.stored != right.stored {
                return false;
            }
            open.extend(left.children.iter().copied().zip(right.children.iter().copied()));
        }
        true
    }
}
