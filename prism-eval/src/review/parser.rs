//! Reading Python with ruff's parser, behind a gate.
//!
//! The parser grows its stack as it needs, but what it returns is as deep as the source, and dropping or walking that
//! takes stack again. So the tokens are counted first, against CPython's own limits and one on operators, and the rest
//! happens on a thread whose stack holds whatever passes. This is the only file that knows the parser.
use super::{
    error::{Nesting, PythonError},
    syntax::{Kind, Module, Node, NodeId},
};
use ruff_python_ast::{self as ast, ExceptHandler, Expr, InterpolatedStringElement, Pattern, Stmt, token::TokenKind};
use ruff_python_parser::{Mode, lexer, parse_module};
use ruff_text_size::{Ranged, TextRange, TextSize};
use std::thread;

/// Longest file.
pub const MAX_SOURCE_BYTES: usize = 1 << 20;
/// CPython's `MAXLEVEL`.
pub const MAX_BRACKETS: usize = 200;
/// CPython's `MAXINDENT`.
pub const MAX_INDENTS: usize = 100;
/// Operators, dots, calls and keywords that can lie within each other in one statement. CPython gives up at a depth of
/// some thousands, which varies between its versions.
pub const MAX_CHAIN: usize = 1000;
/// Operators in one statement, commas apart. Bounds the depth of what the parser makes of broken code.
const MAX_OPERATORS: usize = 20_000;
/// Holds a tree of [`MAX_OPERATORS`] levels, broken code included, at 3 KiB a level.
const STACK_BYTES: usize = 64 << 20;

impl Module {
    /// Parses one file.
    ///
    /// # Errors
    /// The first thing that isn't Python, or the limit that it passes, with file and line.
    pub fn parse(path: &str, source: &str) -> Result<Self, PythonError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(PythonError::Size { file: path.to_owned(), bytes: source.len() });
        }
        let lines = Lines::of(source);
        if let Some(fault) = scan(source, true) {
            return Err(fault.at(path, first_line(source, &lines, fault)));
        }
        let machine = |text: String| PythonError::Machine { file: path.to_owned(), text };
        thread::scope(|scope| {
            let parsing = thread::Builder::new()
                .name("parse".to_owned())
                .stack_size(STACK_BYTES)
                .spawn_scoped(scope, || read(path, source, &lines))
                .map_err(|error| machine(error.to_string()))?;
            parsing.join().map_err(|_| machine("the parser panicked".to_owned()))?
        })
    }
}

fn read(path: &str, source: &str, lines: &Lines) -> Result<Module, PythonError> {
    let parsed = parse_module(source).map_err(|error| PythonError::Syntax {
        file: path.to_owned(),
        line: lines.at(error.location.start()),
        text: error.error.to_string(),
    })?;
    let comments = parsed.tokens().iter().filter(|token| token.kind() == TokenKind::Comment);
    let comments = comments.map(|token| token.range().start().to_u32()..token.range().end().to_u32()).collect();
    let mut tree = Tree { lines, nodes: Vec::new() };
    let whole = TextRange::up_to(TextSize::of(source));
    let body = tree.body(parsed.suite());
    let root = tree.add(Kind::Module, whole, "", vec![body]);
    Ok(Module { path: path.to_owned(), nodes: tree.nodes, root, comments })
}

/// Where lines begin. Python ends them with `\n`, `\r\n` or `\r`.
struct Lines(Vec<u32>);

impl Lines {
    fn of(source: &str) -> Self {
        let bytes = source.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(index, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        });
        Self(ends.map(|(index, _)| index as u32 + 1).collect())
    }

    fn at(&self, offset: TextSize) -> u32 {
        self.0.partition_point(|start| *start <= offset.to_u32()) as u32 + 1
    }
}

/// What the gate stops at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    Nesting(Nesting),
    Unopened,
    /// The bracket of this number, counted from 1, stays open.
    Unclosed(usize),
}

impl Stop {
    fn at(self, path: &str, line: u32) -> PythonError {
        let file = path.to_owned();
        match self {
            Self::Nesting(what) => PythonError::Nesting { file, line, what },
            Self::Unopened => PythonError::Syntax { file, line, text: "closes a bracket that isn't open".to_owned() },
            Self::Unclosed(_) => PythonError::Syntax { file, line, text: "a bracket is never closed".to_owned() },
        }
    }
}

/// The first limit that the tokens pass. The depth of an expression is at most the number of operators since the last
/// comma of its own bracket, summed over the brackets around it; parameters of a lambda have commas of their own.
fn scan(source: &str, whole: bool) -> Option<Stop> {
    struct Level {
        opened: Option<TokenKind>,
        number: usize,
        chain: usize,
        lambdas: usize,
    }
    let level = |opened, number| Level { opened, number, chain: 0, lambdas: 0 };
    let mut open = vec![level(None, 0)];
    let (mut brackets, mut indents, mut depth, mut operators) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut lexer = lexer::lex(source, Mode::Module);
    loop {
        let kind = lexer.next_token();
        let top = open.last_mut()?;
        match kind {
            TokenKind::EndOfFile => break,
            TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::NonLogicalNewline
            | TokenKind::Comment => continue,
            TokenKind::Indent => {
                indents += 1;
                if indents > MAX_INDENTS {
                    return Some(Stop::Nesting(Nesting::Indents));
                }
                continue;
            }
            TokenKind::Dedent => {
                indents = indents.saturating_sub(1);
                continue;
            }
            TokenKind::Newline => {
                // Within brackets a line ends only with the file.
                if whole && top.opened.is_some() {
                    return Some(Stop::Unclosed(top.number));
                }
                (depth, operators) = (0, 0);
                open.truncate(1);
                if let Some(base) = open.last_mut() {
                    (base.chain, base.lambdas) = (0, 0);
                }
                continue;
            }
            TokenKind::Comma if top.lambdas == 0 => {
                depth -= top.chain;
                top.chain = 0;
                continue;
            }
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::FStringEnd | TokenKind::TStringEnd => {
                if top.opened != opening(kind) {
                    return Some(Stop::Unopened);
                }
                depth -= top.chain;
                open.pop();
                continue;
            }
            _ => {}
        }
        top.chain += 1;
        match kind {
            TokenKind::Lambda => top.lambdas += 1,
            TokenKind::Colon => top.lambdas = top.lambdas.saturating_sub(1),
            _ if opens(kind) => {
                brackets += 1;
                open.push(level(Some(kind), brackets));
                if open.len() > MAX_BRACKETS + 1 {
                    return Some(Stop::Nesting(Nesting::Brackets));
                }
            }
            _ => {}
        }
        depth += 1;
        operators += 1;
        if depth > MAX_CHAIN {
            return Some(Stop::Nesting(Nesting::Chain));
        }
        if operators > MAX_OPERATORS {
            return Some(Stop::Nesting(Nesting::Statement));
        }
    }
    None
}

fn opens(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace | TokenKind::FStringStart | TokenKind::TStringStart
    )
}

fn opening(closing: TokenKind) -> Option<TokenKind> {
    match closing {
        TokenKind::Rpar => Some(TokenKind::Lpar),
        TokenKind::Rsqb => Some(TokenKind::Lsqb),
        TokenKind::Rbrace => Some(TokenKind::Lbrace),
        TokenKind::FStringEnd => Some(TokenKind::FStringStart),
        TokenKind::TStringEnd => Some(TokenKind::TStringStart),
        _ => None,
    }
}

/// The line that stops the gate. The lexer doesn't say where it is, but what a longer beginning of the file passes, a
/// shorter one passes as well.
fn first_line(source: &str, lines: &Lines, stop: Stop) -> u32 {
    let stops = |end: &u32| {
        let start = source.get(..*end as usize).unwrap_or(source);
        match stop {
            Stop::Unclosed(number) => brackets(start) >= number,
            _ => scan(start, false) == Some(stop),
        }
    };
    lines.0.partition_point(|end| !stops(end)) as u32 + 1
}

fn brackets(source: &str) -> usize {
    let mut lexer = lexer::lex(source, Mode::Module);
    let kinds = std::iter::from_fn(|| Some(lexer.next_token()).filter(|kind| *kind != TokenKind::EndOfFile));
    kinds.filter(|kind| opens(*kind)).count()
}

/// Builds the flat tree. Recursion is as deep as the gate lets expressions and blocks be.
struct Tree<'a> {
    lines: &'a Lines,
    nodes: Vec<Node>,
}

impl Tree<'_> {
    fn add(&mut self, kind: Kind, range: TextRange, text: impl Into<String>, children: Vec<NodeId>) -> NodeId {
        let id = NodeId(self.nodes.len() as u32);
        let (start, end) = (range.start(), range.end());
        self.nodes.push(Node {
            kind,
            line: self.lines.at(start),
            range: start.to_u32()..end.to_u32(),
            text: text.into(),
            stored: false,
            children,
        });
        id
    }

    fn stored(&mut self, id: NodeId, context: ast::ExprContext) -> NodeId {
        if let Some(node) = self.nodes.get_mut(id.0 as usize) {
            node.stored = matches!(context, ast::ExprContext::Store | ast::ExprContext::Del);
        }
        id
    }

    fn absent(&mut self) -> NodeId {
        self.add(Kind::Absent, TextRange::default(), "", vec![])
    }

    fn group(&mut self, children: Vec<NodeId>) -> NodeId {
        self.add(Kind::List, TextRange::default(), "", children)
    }

    fn body(&mut self, body: &[Stmt]) -> NodeId {
        let body = body.iter().map(|statement| self.statement(statement)).collect();
        self.group(body)
    }

    fn expressions<'e>(&mut self, all: impl IntoIterator<Item = &'e Expr>) -> NodeId {
        let all = all.into_iter().map(|one| self.expression(one)).collect();
        self.group(all)
    }

    fn optional(&mut self, one: Option<&Expr>) -> NodeId {
        match one {
            Some(one) => self.expression(one),
            None => self.absent(),
        }
    }

    fn decorators(&mut self, all: &[ast::Decorator]) -> NodeId {
        self.expressions(all.iter().map(|one| &one.expression))
    }

    fn statement(&mut self, statement: &Stmt) -> NodeId {
        let range = statement.range();
        match statement {
            Stmt::FunctionDef(it) => {
                let kind = if it.is_async { Kind::AsyncFunction } else { Kind::Function };
                let decorators = self.decorators(&it.decorator_list);
                let parameters = self.parameters(Some(&it.parameters));
                let returns = self.optional(it.returns.as_deref());
                let body = self.body(&it.body);
                // Decorators come first; people look for the line of the name.
                let range = TextRange::new(it.name.range().start(), range.end());
                self.add(kind, range, it.name.as_str(), vec![decorators, parameters, returns, body])
            }
            Stmt::ClassDef(it) => {
                let decorators = self.decorators(&it.decorator_list);
                let arguments = self.arguments(it.arguments.as_deref());
                let body = self.body(&it.body);
                let range = TextRange::new(it.name.range().start(), range.end());
                self.add(Kind::Class, range, it.name.as_str(), vec![decorators, arguments, body])
            }
            Stmt::Return(it) => {
                let value = self.optional(it.value.as_deref());
                self.add(Kind::Return, range, "", vec![value])
            }
            Stmt::Delete(it) => {
                let targets = self.expressions(&it.targets);
                self.add(Kind::Delete, range, "", vec![targets])
            }
            Stmt::TypeAlias(it) => {
                let (name, value) = (self.expression(&it.name), self.expression(&it.value));
                self.add(Kind::TypeAlias, range, "", vec![name, value])
            }
            Stmt::Assign(it) => {
                let (targets, value) = (self.expressions(&it.targets), self.expression(&it.value));
                self.add(Kind::Assign, range, "", vec![targets, value])
            }
            Stmt::AugAssign(it) => {
                let (target, value) = (self.expression(&it.target), self.expression(&it.value));
                self.add(Kind::AugmentedAssign, range, it.op.as_str(), vec![target, value])
            }
            Stmt::AnnAssign(it) => {
                let (target, annotation) = (self.expression(&it.target), self.expression(&it.annotation));
                let value = self.optional(it.value.as_deref());
                self.add(Kind::AnnotatedAssign, range, "", vec![target, annotation, value])
            }
            Stmt::For(it) => {
                let kind = if it.is_async { Kind::AsyncFor } else { Kind::For };
                let (target, iterable) = (self.expression(&it.target), self.expression(&it.iter));
                let (body, other) = (self.body(&it.body), self.body(&it.orelse));
                self.add(kind, range, "", vec![target, iterable, body, other])
            }
            Stmt::While(it) => {
                let test = self.expression(&it.test);
                let (body, other) = (self.body(&it.body), self.body(&it.orelse));
                self.add(Kind::While, range, "", vec![test, body, other])
            }
            Stmt::If(it) => {
                let (test, body) = (self.expression(&it.test), self.body(&it.body));
                let mut clauses = vec![self.add(Kind::Clause, range, "", vec![test, body])];
                for clause in &it.elif_else_clauses {
                    let (test, body) = (self.optional(clause.test.as_ref()), self.body(&clause.body));
                    clauses.push(self.add(Kind::Clause, clause.range, "", vec![test, body]));
                }
                let clauses = self.group(clauses);
                self.add(Kind::If, range, "", vec![clauses])
            }
            Stmt::With(it) => {
                let kind = if it.is_async { Kind::AsyncWith } else { Kind::With };
                let mut items = Vec::new();
                for item in &it.items {
                    let value = self.expression(&item.context_expr);
                    let target = self.optional(item.optional_vars.as_deref());
                    items.push(self.add(Kind::WithItem, item.range, "", vec![value, target]));
                }
                let (items, body) = (self.group(items), self.body(&it.body));
                self.add(kind, range, "", vec![items, body])
            }
            Stmt::Match(it) => {
                let subject = self.expression(&it.subject);
                let mut cases = Vec::new();
                for case in &it.cases {
                    let pattern = self.pattern(&case.pattern);
                    let (guard, body) = (self.optional(case.guard.as_deref()), self.body(&case.body));
                    cases.push(self.add(Kind::Case, case.range, "", vec![pattern, guard, body]));
                }
                let cases = self.group(cases);
                self.add(Kind::Match, range, "", vec![subject, cases])
            }
            Stmt::Raise(it) => {
                let (exception, cause) = (self.optional(it.exc.as_deref()), self.optional(it.cause.as_deref()));
                self.add(Kind::Raise, range, "", vec![exception, cause])
            }
            Stmt::Try(it) => {
                let body = self.body(&it.body);
                let mut handlers = Vec::new();
                for ExceptHandler::ExceptHandler(handler) in &it.handlers {
                    let (class, body) = (self.optional(handler.type_.as_deref()), self.body(&handler.body));
                    let name = handler.name.as_ref().map_or("", |name| name.as_str());
                    handlers.push(self.add(Kind::Handler, handler.range, name, vec![class, body]));
                }
                let handlers = self.group(handlers);
                let (other, last) = (self.body(&it.orelse), self.body(&it.finalbody));
                self.add(Kind::Try, range, if it.is_star { "*" } else { "" }, vec![body, handlers, other, last])
            }
            Stmt::Assert(it) => {
                let (test, message) = (self.expression(&it.test), self.optional(it.msg.as_deref()));
                self.add(Kind::Assert, range, "", vec![test, message])
            }
            Stmt::Import(it) => {
                let names = self.aliases(&it.names);
                self.add(Kind::Import, range, "", vec![names])
            }
            Stmt::ImportFrom(it) => {
                let names = self.aliases(&it.names);
                let dots = ".".repeat(it.level as usize);
                let module = it.module.as_ref().map_or("", |name| name.as_str());
                self.add(Kind::ImportFrom, range, format!("{dots}{module}"), vec![names])
            }
            Stmt::Global(it) => self.add(Kind::Global, range, spaced(&it.names), vec![]),
            Stmt::Nonlocal(it) => self.add(Kind::Nonlocal, range, spaced(&it.names), vec![]),
            Stmt::Expr(it) => {
                let value = self.expression(&it.value);
                self.add(Kind::Expression, range, "", vec![value])
            }
            // Cells of notebooks are not parsed in this mode.
            Stmt::Pass(_) | Stmt::IpyEscapeCommand(_) => self.add(Kind::Pass, range, "", vec![]),
            Stmt::Break(_) => self.add(Kind::Break, range, "", vec![]),
            Stmt::Continue(_) => self.add(Kind::Continue, range, "", vec![]),
        }
    }

    fn aliases(&mut self, all: &[ast::Alias]) -> NodeId {
        let mut names = Vec::new();
        for alias in all {
            let text = match &alias.asname {
                Some(bound) => format!("{} as {bound}", alias.name),
                None => alias.name.to_string(),
            };
            names.push(self.add(Kind::Alias, alias.range, text, vec![]));
        }
        self.group(names)
    }

    fn parameters(&mut self, parameters: Option<&ast::Parameters>) -> NodeId {
        let none = ast::Parameters::default();
        let all = parameters.unwrap_or(&none);
        let groups = [
            self.with_defaults(&all.posonlyargs),
            self.with_defaults(&all.args),
            self.variadic(all.vararg.as_deref()),
            self.with_defaults(&all.kwonlyargs),
            self.variadic(all.kwarg.as_deref()),
        ];
        self.add(Kind::Parameters, all.range, "", groups.to_vec())
    }

    fn with_defaults(&mut self, all: &[ast::ParameterWithDefault]) -> NodeId {
        let all = all.iter().map(|one| self.parameter(&one.parameter, one.default.as_deref())).collect();
        self.group(all)
    }

    fn variadic(&mut self, one: Option<&ast::Parameter>) -> NodeId {
        let one = one.map(|one| self.parameter(one, None)).into_iter().collect();
        self.group(one)
    }

    fn parameter(&mut self, parameter: &ast::Parameter, default: Option<&Expr>) -> NodeId {
        let annotation = self.optional(parameter.annotation.as_deref());
        let default = self.optional(default);
        self.add(Kind::Parameter, parameter.range, parameter.name.as_str(), vec![annotation, default])
    }

    fn arguments(&mut self, arguments: Option<&ast::Arguments>) -> NodeId {
        let mut all = Vec::new();
        for argument in arguments.iter().flat_map(|arguments| arguments.args.iter()) {
            all.push(self.expression(argument));
        }
        for keyword in arguments.iter().flat_map(|arguments| arguments.keywords.iter()) {
            let value = self.expression(&keyword.value);
            let name = keyword.arg.as_ref().map_or("", |name| name.as_str());
            all.push(self.add(Kind::Keyword, keyword.range, name, vec![value]));
        }
        self.group(all)
    }

    fn expression(&mut self, expression: &Expr) -> NodeId {
        let range = expression.range();
        match expression {
            Expr::BoolOp(it) => {
                let operands = self.expressions(&it.values);
                self.add(Kind::BoolOp, range, it.op.as_str(), vec![operands])
            }
            Expr::Named(it) => {
                let (target, value) = (self.expression(&it.target), self.expression(&it.value));
                self.add(Kind::Named, range, "", vec![target, value])
            }
            Expr::BinOp(it) => {
                let (left, right) = (self.expression(&it.left), self.expression(&it.right));
                self.add(Kind::BinOp, range, it.op.as_str(), vec![left, right])
            }
            Expr::UnaryOp(it) => {
                let operand = self.expression(&it.operand);
                self.add(Kind::UnaryOp, range, it.op.as_str(), vec![operand])
            }
            Expr::Lambda(it) => {
                let (parameters, body) = (self.parameters(it.parameters.as_deref()), self.expression(&it.body));
                self.add(Kind::Lambda, range, "", vec![parameters, body])
            }
            Expr::If(it) => {
                let test = self.expression(&it.test);
                let (then, other) = (self.expression(&it.body), self.expression(&it.orelse));
                self.add(Kind::Conditional, range, "", vec![test, then, other])
            }
            Expr::Dict(it) => {
                let items = it.items.iter().map(|item| self.item(item.key.as_ref(), &item.value, range)).collect();
                let items = self.group(items);
                self.add(Kind::Dict, range, "", vec![items])
            }
            Expr::Set(it) => self.elements(Kind::Set, range, &it.elts),
            Expr::ListComp(it) => {
                let element = self.expression(&it.elt);
                self.comprehension(Kind::ListComprehension, range, element, &it.generators)
            }
            Expr::SetComp(it) => {
                let element = self.expression(&it.elt);
                self.comprehension(Kind::SetComprehension, range, element, &it.generators)
            }
            Expr::DictComp(it) => {
                let element = self.item(it.key.as_deref(), &it.value, range);
                self.comprehension(Kind::DictComprehension, range, element, &it.generators)
            }
            Expr::Generator(it) => {
                let element = self.expression(&it.elt);
                self.comprehension(Kind::Generator, range, element, &it.generators)
            }
            Expr::Await(it) => {
                let value = self.expression(&it.value);
                self.add(Kind::Await, range, "", vec![value])
            }
            Expr::Yield(it) => {
                let value = self.optional(it.value.as_deref());
                self.add(Kind::Yield, range, "", vec![value])
            }
            Expr::YieldFrom(it) => {
                let value = self.expression(&it.value);
                self.add(Kind::YieldFrom, range, "", vec![value])
            }
            Expr::Compare(it) => {
                let operands = self.expressions(std::iter::once(&*it.left).chain(it.comparators.iter()));
                let operators: Vec<&str> = it.ops.iter().map(|op| op.as_str()).collect();
                self.add(Kind::Compare, range, operators.join(","), vec![operands])
            }
            Expr::Call(it) => {
                let (callee, arguments) = (self.expression(&it.func), self.arguments(Some(&it.arguments)));
                self.add(Kind::Call, range, "", vec![callee, arguments])
            }
            Expr::FString(it) => {
                let mut parts = Vec::new();
                for part in it.value.as_slice() {
                    match part {
                        ast::FStringPart::Literal(literal) => {
                            parts.push(self.add(Kind::Str, literal.range, &*literal.value, vec![]));
                        }
                        ast::FStringPart::FString(part) => self.interpolated(&part.elements, &mut parts),
                    }
                }
                let parts = self.group(parts);
                self.add(Kind::Interpolated, range, "", vec![parts])
            }
            Expr::TString(it) => {
                let mut parts = Vec::new();
                for part in it.value.as_slice() {
                    self.interpolated(&part.elements, &mut parts);
                }
                let parts = self.group(parts);
                self.add(Kind::Interpolated, range, "t", vec![parts])
            }
            Expr::StringLiteral(it) => self.add(Kind::Str, range, it.value.to_str(), vec![]),
            Expr::BytesLiteral(it) => {
                let text: String = it.value.bytes().map(char::from).collect();
                self.add(Kind::Bytes, range, text, vec![])
            }
            Expr::NumberLiteral(it) => {
                let text = match &it.value {
                    ast::Number::Int(value) => value.to_string(),
                    ast::Number::Float(value) => format!("{value:?}"),
                    ast::Number::Complex { real, imag } => format!("{real:?}+{imag:?}j"),
                };
                self.add(Kind::Number, range, text, vec![])
            }
            Expr::BooleanLiteral(it) => self.add(Kind::Bool, range, if it.value { "True" } else { "False" }, vec![]),
            // Cells of notebooks are not parsed in this mode.
            Expr::NoneLiteral(_) | Expr::IpyEscapeCommand(_) => self.add(Kind::None, range, "", vec![]),
            Expr::EllipsisLiteral(_) => self.add(Kind::Ellipsis, range, "", vec![]),
            Expr::Attribute(it) => {
                let value = self.expression(&it.value);
                let id = self.add(Kind::Attribute, range, it.attr.as_str(), vec![value]);
                self.stored(id, it.ctx)
            }
            Expr::Subscript(it) => {
                let (value, index) = (self.expression(&it.value), self.expression(&it.slice));
                let id = self.add(Kind::Subscript, range, "", vec![value, index]);
                self.stored(id, it.ctx)
            }
            Expr::Starred(it) => {
                let value = self.expression(&it.value);
                self.add(Kind::Starred, range, "", vec![value])
            }
            Expr::Name(it) => {
                let id = self.add(Kind::Name, range, it.id.as_str(), vec![]);
                self.stored(id, it.ctx)
            }
            Expr::List(it) => self.elements(Kind::ListLiteral, range, &it.elts),
            Expr::Tuple(it) => self.elements(Kind::Tuple, range, &it.elts),
            Expr::Slice(it) => {
                let lower = self.optional(it.lower.as_deref());
                let (upper, step) = (self.optional(it.upper.as_deref()), self.optional(it.step.as_deref()));
                self.add(Kind::Slice, range, "", vec![lower, upper, step])
            }
        }
    }

    fn elements(&mut self, kind: Kind, range: TextRange, all: &[Expr]) -> NodeId {
        let all = self.expressions(all);
        self.add(kind, range, "", vec![all])
    }

    fn item(&mut self, key: Option<&Expr>, value: &Expr, range: TextRange) -> NodeId {
        let (key, value) = (self.optional(key), self.expression(value));
        self.add(Kind::Item, range, "", vec![key, value])
    }

    fn comprehension(&mut self, kind: Kind, range: TextRange, element: NodeId, all: &[ast::Comprehension]) -> NodeId {
        let mut clauses = Vec::new();
        for clause in all {
            let (target, iterable) = (self.expression(&clause.target), self.expression(&clause.iter));
            let conditions = self.expressions(&clause.ifs);
            let text = if clause.is_async { "async" } else { "" };
            clauses.push(self.add(Kind::Comprehension, clause.range, text, vec![target, iterable, conditions]));
        }
        let clauses = self.group(clauses);
        self.add(kind, range, "", vec![element, clauses])
    }

    fn interpolated(&mut self, elements: &ast::InterpolatedStringElements, parts: &mut Vec<NodeId>) {
        for element in elements {
            let part = match element {
                InterpolatedStringElement::Literal(it) => self.add(Kind::Str, it.range, &*it.value, vec![]),
                InterpolatedStringElement::Interpolation(it) => {
                    let value = self.expression(&it.expression);
                    let format = match &it.format_spec {
                        Some(format) => {
                            let mut parts = Vec::new();
                            self.interpolated(&format.elements, &mut parts);
                            self.group(parts)
                        }
                        None => self.absent(),
                    };
                    let conversion = it.conversion.to_char().map(String::from).unwrap_or_default();
                    // `{x = }` prints its own source.
                    let text = if it.debug_text.is_some() { format!("={conversion}") } else { conversion };
                    self.add(Kind::Interpolation, it.range, text, vec![value, format])
                }
            };
            parts.push(part);
        }
    }

    fn patterns<'p>(&mut self, all: impl IntoIterator<Item = &'p Pattern>) -> NodeId {
        let all = all.into_iter().map(|one| self.pattern(one)).collect();
        self.group(all)
    }

    fn pattern(&mut self, pattern: &Pattern) -> NodeId {
        let range = pattern.range();
        let named = |name: &Option<ast::Identifier>| name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        match pattern {
            Pattern::MatchValue(it) => {
                let value = self.expression(&it.value);
                self.add(Kind::PatternValue, range, "", vec![value])
            }
            Pattern::MatchSingleton(it) => {
                let value = match it.value {
                    ast::Singleton::None => self.add(Kind::None, range, "", vec![]),
                    ast::Singleton::True => self.add(Kind::Bool, range, "True", vec![]),
                    ast::Singleton::False => self.add(Kind::Bool, range, "False", vec![]),
                };
                self.add(Kind::PatternValue, range, "", vec![value])
            }
            Pattern::MatchSequence(it) => {
                let all = self.patterns(&it.patterns);
                self.add(Kind::PatternSequence, range, "", vec![all])
            }
            Pattern::MatchMapping(it) => {
                let (keys, values) = (self.expressions(&it.keys), self.patterns(&it.patterns));
                self.add(Kind::PatternMapping, range, named(&it.rest), vec![keys, values])
            }
            Pattern::MatchClass(it) => {
                let class = self.expression(&it.cls);
                let mut all: Vec<NodeId> = Vec::new();
                for one in &it.arguments.patterns {
                    all.push(self.pattern(one));
                }
                for keyword in &it.arguments.keywords {
                    let value = self.pattern(&keyword.pattern);
                    all.push(self.add(Kind::Keyword, keyword.range, keyword.attr.as_str(), vec![value]));
                }
                let all = self.group(all);
                self.add(Kind::PatternClass, range, "", vec![class, all])
            }
            Pattern::MatchStar(it) => self.add(Kind::PatternStar, range, named(&it.name), vec![]),
            Pattern::MatchAs(it) => {
                let inner = match it.pattern.as_deref() {
                    Some(inner) => self.pattern(inner),
                    None => self.absent(),
                };
                self.add(Kind::PatternAs, range, named(&it.name), vec![inner])
            }
            Pattern::MatchOr(it) => {
                let all = self.patterns(&it.patterns);
                self.add(Kind::PatternOr, range, "", vec![all])
            }
        }
    }
}

fn spaced(names: &[ast::Identifier]) -> String {
    names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(source: &str) -> Result<Module, PythonError> {
        Module::parse("model.py", source)
    }

    #[test]
    fn what_is_no_python_is_refused_with_its_line() {
        for (source, line) in [
            ("x = 1\ndef f(:\n  pass\n", 2),
            ("x = 1\r\ny = (1,\r\n", 2),
            ("x = 1\n\n\n)\n", 4),
            ("a\n  b\n", 2),
            ("a = '''never\nclosed", 1),
            ("if x:\npass\n", 2),
            ("\n$\n", 2),
            ("x = f'{'\n", 1),
        ] {
            let error = parse(source).unwrap_err();
            assert_eq!(error.rule(), "python.syntax", "{source:?}");
            assert_eq!(error.place(), Some(("model.py", line)), "{source:?}: {error}");
        }
    }

    #[test]
    fn deep_sources_are_refused_and_not_followed() {
        let n = 100_000;
        let deep: Vec<(String, Nesting)> = vec![
            ("-".repeat(n) + "1", Nesting::Chain),
            ("not ".repeat(n) + "1", Nesting::Chain),
            ("x".to_owned() + &".a".repeat(n), Nesting::Chain),
            ("x".to_owned() + &"+1".repeat(n), Nesting::Chain),
            ("x".to_owned() + &"**1".repeat(n), Nesting::Chain),
            ("x".to_owned() + &"()".repeat(n), Nesting::Chain),
            ("x".to_owned() + &"[0]".repeat(n), Nesting::Chain),
            ("x".to_owned() + &" if y else z".repeat(50_000), Nesting::Chain),
            ("lambda: ".repeat(n) + "1", Nesting::Chain),
            ("lambda a, b: ".repeat(50_000) + "1", Nesting::Chain),
            ("lambda a=lambda b, c: 1, d=2: ".repeat(30_000) + "1", Nesting::Chain),
            ("await ".repeat(n) + "x", Nesting::Chain),
            ("(".repeat(n) + "1" + &")".repeat(n), Nesting::Brackets),
            ("[1, ".repeat(n) + "1" + &"]".repeat(n), Nesting::Brackets),
            ("{1: ".repeat(n) + "1" + &"}".repeat(n), Nesting::Brackets),
            ("f'{".repeat(n), Nesting::Brackets),
            ((0..200).map(|depth| " ".repeat(depth) + "if x:\n").collect(), Nesting::Indents),
            ("x = [".to_owned() + &"-1, ".repeat(n) + "]", Nesting::Statement),
        ];
        for (source, what) in deep {
            let start: String = source.chars().take(20).collect();
            let error = parse(&format!("x = 1\n{source}\n")).unwrap_err();
            assert!(
                matches!(&error, PythonError::Nesting { what: found, line, .. }
                if *found == what && *line >= 2),
                "{start}: {error:?}"
            );
        }
    }

    /// Broken code that the parser reads otherwise than the gate counts it: it ends the bracket at the line.
    #[test]
    fn deep_broken_sources_take_no_stack() {
        let blocks: String = (1..1400).map(|depth| "\t".repeat(depth) + "if a,b:\n").collect();
        let chains = |opened: &str, closed: &str| {
            let lines = format!("{}x\n", "not ".repeat(900)).repeat(20);
            format!("{opened}\n{lines}{closed}\n")
        };
        for source in [
            format!("x = (a b\n{blocks})\n"),
            format!("f'{{'\n{blocks}}}'\n"),
            chains("x = (a b", ")"),
            chains("f'{'", "}'"),
            "if a: ".repeat(900) + "pass\n",
            "@".repeat(900) + "\n",
            "async ".repeat(900) + "\n",
        ] {
            assert!(parse(&source).is_err());
        }
    }

    #[test]
    fn what_people_write_is_far_from_the_limits() {
        let table: String = (0..4000).map(|n| format!("    {n}: -{n}.5,\n")).collect();
        let sum = vec!["x"; 400].join(" + ");
        let source = format!("table = {{\n{table}}}\nx = {sum}\n");
        assert!(parse(&source).is_ok());
        assert_eq!(parse(&"x".repeat(MAX_SOURCE_BYTES + 1)).unwrap_err().rule(), "python.size");
    }

    #[test]
    fn every_construct_has_its_node() {
        let source = r#"
from __future__ import annotations
import a.b as c, d
from .e import (f, g as h)
type T = int
@decorated(1, *xs, k=2, **ks)
class C(Base, metaclass=M):
    x: int = 1
    async def m(self, a, /, b: int = 2, *args, c, d=3, **kw) -> int:
        async for i in it(): await i
        else: yield
        async with a as b, c: yield from b
        return (yield 1)
def f():
    global g; nonlocal_ = 1
    def inner():
        nonlocal nonlocal_
    while x < 1 <= y is not None:
        x += 1; continue
    else:
        pass
    for (i, *j) in z: break
    with a: x = [True]
    if a and b or not c: del a[0], b.c
    elif (n := 3): raise E from e
    else: assert x, 'm'
    try: pass
    except (A, B) as e: pass
    else: pass
    finally: pass
    try: pass
    except* A: pass
    match x:
        case 1 | None | -1: pass
        case [a, *rest] if a: pass
        case {"k": v, **others}: pass
        case P(1, q=2) as whole: pass
        case _: pass
    return lambda a, *b, c=1: (a if b else c, [i for i in x if i for j in y], {i for i in x}, {i: j for i in x},
        (i for i in x), {**a, 1: 2}, {1, 2}, x[1:2:3, ...], f"{a!r:>{w}} {b=}" "lit", b"\xff", 1_0, 0x1f, 1e3, 2j, ~x @ y)
"#;
        let module = parse(source).unwrap();
        let seen: std::collections::BTreeSet<Kind> = module.nodes().map(|(_, node)| node.kind).collect();
        let all = (0..=Kind::Parameter as u8).filter(|kind| !seen.iter().any(|seen| *seen as u8 == *kind));
        assert_eq!(all.collect::<Vec<u8>>(), Vec::<u8>::new());
        let class = module.nodes().find(|(_, node)| node.kind == Kind::Class).unwrap().1;
        assert_eq!((class.line, class.text.as_str()), (7, "C"));
        let numbers: Vec<&str> =
            module.nodes().filter(|(_, n)| n.kind == Kind::Number).map(|(_, n)| n.text.as_str()).collect();
        assert!(["10", "31", "1000.0", "0.0+2.0j"].iter().all(|text| numbers.contains(text)), "{numbers:?}");
        assert!(module.same_program(&parse(&source.replace(" pass", "  pass # so what")).unwrap()));
        assert!(!module.same_program(&parse(&source.replace("continue", "break")).unwrap()));
        assert!(!module.same_program(&parse(&source.replace("elif", "elif x if y else")).unwrap()));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}", dense in "[\\[\\](){}'\"f:,.=+ \n\tabdeilmnostx\\\\#-]{0,160}") {
            let _ = parse(&text);
            let _ = parse(&dense);
        }
    }
}
