//! Whole-number expressions over `ctx` and `let`: `64 * width_factor`, `max(4, d / 16)`.
//!
//! `+ - * / %`, unary minus, `min`, `max`, parentheses, decimal numbers and names. Arithmetic is checked in 128 bits;
//! `/` and `%` truncate towards zero. Text, depth and number of operations are bounded, and nothing recurses.
use serde::de::{Deserialize, Deserializer, Visitor};
use std::{collections::BTreeMap, fmt};

/// Longest text of an expression.
pub const MAX_EXPRESSION_BYTES: usize = 256;
/// Most open parentheses, pending operators included.
const MAX_PENDING: usize = 64;
/// Most names in a `let`.
pub const MAX_DEFINITIONS: usize = 256;

/// Names with their values.
pub type Names = BTreeMap<String, i128>;

/// A parsed expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    text: String,
    /// In reverse Polish order.
    program: Vec<Instruction>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Instruction {
    Number(i128),
    Name(String),
    Negate,
    Binary(Binary),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Min,
    Max,
}

/// Why an expression has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExpressionError {
    /// Longer than [`MAX_EXPRESSION_BYTES`].
    #[error("expression has {0} bytes, at most {MAX_EXPRESSION_BYTES} are read")]
    TooLong(usize),
    /// Too many open parentheses or operators.
    #[error("expression `{0}` nests too deep")]
    TooDeep(String),
    /// Not an expression.
    #[error("expression `{text}`: {problem} at character {at}")]
    Syntax {
        /// The whole text.
        text: String,
        /// What is wrong.
        problem: &'static str,
        /// Where, from 1.
        at: usize,
    },
    /// A name that neither `ctx` nor `let` has.
    #[error("expression `{text}`: unknown name `{name}`")]
    UnknownName {
        /// The whole text.
        text: String,
        /// The name.
        name: String,
    },
    /// A division by zero.
    #[error("expression `{0}` divides by zero")]
    DivisionByZero(String),
    /// A value beyond 127 bits.
    #[error("expression `{0}` overflows")]
    Overflow(String),
    /// Names of `let` that need each other.
    #[error("`let` goes in a circle: {}", .0.join(", "))]
    Cycle(Vec<String>),
    /// A name of `let` that is not one, or that `ctx` has.
    #[error("`let` can't define `{0}`: names are letters, digits and `_`, and those of ctx are taken")]
    Definition(String),
    /// More than [`MAX_DEFINITIONS`].
    #[error("`let` has {0} names, at most {MAX_DEFINITIONS} are read")]
    TooManyDefinitions(usize),
}

impl Expression {
    /// Parses a text.
    ///
    /// # Errors
    /// Where it stops being an expression, or which bound it breaks.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        if text.len() > MAX_EXPRESSION_BYTES {
            return Err(ExpressionError::TooLong(text.len()));
        }
        Parser::new(text).parse().map(|program| Self { text: text.to_owned(), program })
    }

    /// Its value.
    ///
    /// # Errors
    /// An unknown name, a division by zero, an overflow.
    pub fn evaluate(&self, names: &Names) -> Result<i128, ExpressionError> {
        let overflow = || ExpressionError::Overflow(self.text.clone());
        let mut stack: Vec<i128> = Vec::new();
        for instruction in &self.program {
            let value = match instruction {
                Instruction::Number(value) => *value,
                Instruction::Name(name) => *names
                    .get(name)
                    .ok_or_else(|| ExpressionError::UnknownName { text: self.text.clone(), name: name.clone() })?,
                Instruction::Negate => stack.pop().and_then(i128::checked_neg).ok_or_else(overflow)?,
                Instruction::Binary(operator) => {
                    // The parser leaves two operands below every binary operator.
                    let (Some(right), Some(left)) = (stack.pop(), stack.pop()) else { return Err(overflow()) };
                    if right == 0 && matches!(operator, Binary::Divide | Binary::Remainder) {
                        return Err(ExpressionError::DivisionByZero(self.text.clone()));
                    }
                    operator.apply(left, right).ok_or_else(overflow)?
                }
            };
            stack.push(value);
        }
        stack.pop().ok_or_else(overflow)
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        self.program.iter().filter_map(|instruction| match instruction {
            Instruction::Name(name) => Some(name),
            _ => None,
        })
    }
}

impl Binary {
    fn apply(self, left: i128, right: i128) -> Option<i128> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Remainder => left.checked_rem(right),
            Self::Min => Some(left.min(right)),
            Self::Max => Some(left.max(right)),
        }
    }
}

impl From<u32> for Expression {
    fn from(value: u32) -> Self {
        Self { text: value.to_string(), program: vec![Instruction::Number(i128::from(value))] }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Expression {
    /// From a whole number or a text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Expression;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number or an expression")
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Expression, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Expression, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expression, E> {
                Expression::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Adds the values of `let` to those of `ctx`; definitions may use each other in any order.
///
/// # Errors
/// The first definition without a value, or those that go in a circle.
pub fn define(ctx: &Names, definitions: &BTreeMap<String, Expression>) -> Result<Names, ExpressionError> {
    if definitions.len() > MAX_DEFINITIONS {
        return Err(ExpressionError::TooManyDefinitions(definitions.len()));
    }
    if let Some(name) = definitions.keys().find(|name| ctx.contains_key(*name) || !is_name(name)) {
        return Err(ExpressionError::Definition(name.clone()));
    }
    let mut values = ctx.clone();
    let mut waiting: Vec<_> = definitions.iter().collect();
    // Each round settles what no longer waits for a definition; a round that settles nothing has met a circle.
    while !waiting.is_empty() {
        let mut later = Vec::new();
        let before = waiting.len();
        for (name, expression) in waiting {
            if expression.names().any(|used| definitions.contains_key(used) && !values.contains_key(used)) {
                later.push((name, expression));
            } else {
                values.insert(name.clone(), expression.evaluate(&values)?);
            }
        }
        if later.len() == before {
            return Err(ExpressionError::Cycle(later.into_iter().map(|(name, _)| name.clone()).collect()));
        }
        waiting = later;
    }
    Ok(values)
}

fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !matches!(name, "min" | "max")
        && name.len() <= 64
}

/// Dijkstra's shunting yard: operators wait on a stack until one that binds less comes.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    program: Vec<Instruction>,
    pending: Vec<Pending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pending {
    Negate,
    Operator(Binary),
    Parenthesis,
    /// A function with the number of arguments begun.
    Call(Binary, usize),
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, program: Vec::new(), pending: Vec::new() }
    }

    fn error(&self, problem: &'static str) -> ExpressionError {
        let at = self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1;
        ExpressionError::Syntax { text: self.text.to_owned(), problem, at }
    }

    fn peek(&mut self) -> Option<u8> {
        let rest = self.text.get(self.at..)?;
        self.at += rest.len() - rest.trim_start_matches([' ', '\t']).len();
        self.text.as_bytes().get(self.at).copied()
    }

    fn word(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let length = rest.bytes().take_while(|b| belongs(*b)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn wait(&mut self, pending: Pending) -> Result<(), ExpressionError> {
        if self.pending.len() == MAX_PENDING {
            return Err(ExpressionError::TooDeep(self.text.to_owned()));
        }
        self.pending.push(pending);
        Ok(())
    }

    /// Moves the operators that bind at least as tightly to the program.
    fn settle(&mut self, least: u8) {
        while let Some(top) = self.pending.last().copied() {
            let instruction = match top {
                Pending::Negate if least <= 3 => Instruction::Negate,
                Pending::Operator(operator) if least <= precedence(operator) => Instruction::Binary(operator),
                _ => return,
            };
            self.pending.pop();
            self.program.push(instruction);
        }
    }

    fn parse(mut self) -> Result<Vec<Instruction>, ExpressionError> {
        loop {
            self.operand()?;
            if !self.operator()? {
                break;
            }
        }
        self.settle(0);
        if self.pending.is_empty() { Ok(self.program) } else { Err(self.error("missing `)`")) }
    }

    /// Prefixes, then one number or name.
    fn operand(&mut self) -> Result<(), ExpressionError> {
        loop {
            match self.peek() {
                Some(b'-') => {
                    self.at += 1;
                    self.wait(Pending::Negate)?;
                }
                Some(b'(') => {
                    self.at += 1;
                    self.wait(Pending::Parenthesis)?;
                }
                Some(b'0'..=b'9') => {
                    let digits = self.word(|b| b.is_ascii_digit());
                    let number = digits.parse().map_err(|_| ExpressionError::Overflow(self.text.to_owned()))?;
                    self.program.push(Instruction::Number(number));
                    return Ok(());
                }
                Some(b) if b.is_ascii_alphabetic() || b == b'_' => {
                    let name = self.word(|b| b.is_ascii_alphanumeric() || b == b'_');
                    let function = match name {
                        "min" => Binary::Min,
                        "max" => Binary::Max,
                        _ => {
                            self.program.push(Instruction::Name(name.to_owned()));
                            return Ok(());
                        }
                    };
                    if self.peek() != Some(b'(') {
                        return Err(self.error("expected `(`"));
                    }
                    self.at += 1;
                    self.wait(Pending::Call(function, 1))?;
                }
                _ => return Err(self.error("expected a number, a name or `(`")),
            }
        }
    }

    /// Closing parentheses and commas, then one binary operator; false at the end.
    fn operator(&mut self) -> Result<bool, ExpressionError> {
        loop {
            let operator = match self.peek() {
                None => return Ok(false),
                Some(b'+') => Binary::Add,
                Some(b'-') => Binary::Subtract,
                Some(b'*') => Binary::Multiply,
                Some(b'/') => Binary::Divide,
                Some(b'%') => Binary::Remainder,
                Some(b',') => {
                    self.settle(0);
                    let Some(Pending::Call(_, arguments)) = self.pending.last_mut() else {
                        return Err(self.error("`,` outside of `min` and `max`"));
                    };
                    *arguments += 1;
                    self.at += 1;
                    return Ok(true);
                }
                Some(b')') => {
                    self.settle(0);
                    match self.pending.pop() {
                        Some(Pending::Parenthesis) => {}
                        Some(Pending::Call(function, arguments)) => {
                            let applied = std::iter::repeat_n(Instruction::Binary(function), arguments - 1);
                            self.program.extend(applied);
                        }
                        _ => return Err(self.error("`)` without `(`")),
                    }
                    self.at += 1;
                    continue;
                }
                Some(_) => return Err(self.error("expected an operator")),
            };
            self.settle(precedence(operator));
            self.wait(Pending::Operator(operator))?;
            self.at += 1;
            return Ok(true);
        }
    }
}

fn precedence(operator: Binary) -> u8 {
    match operator {
        Binary::Add | Binary::Subtract => 1,
        Binary::Multiply | Binary::Divide | Binary::Remainder => 2,
        Binary::Min | Binary::Max => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names() -> Names {
        [("d", 64), ("w", 3)].into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    fn value(text: &str) -> Result<i128, ExpressionError> {
        Expression::parse(text)?.evaluate(&names())
    }

    #[test]
    fn operators_bind_as_usual() {
        let cases = [
            ("1 + 2 * 3", 7),
            ("(1 + 2) * 3", 9),
            ("10 - 4 - 3", 3),
            ("100 / 10 / 5", 2),
            ("-d / 7", -9),
            ("2 - -3", 5),
            ("-2 * -3", 6),
            ("-(d + 1) % 10", -5),
            ("d*w", 192),
            ("max(4, d / 16, 2)", 4),
            ("min(1 + 1, max(d, 3)) * 5", 10),
            ("max(-1)", -1),
            ("((((w))))", 3),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_refused_where_it_stops_being_one() {
        let cases = [
            ("", 1),
            ("1 +", 4),
            ("1 2", 3),
            ("(1", 3),
            ("1)", 2),
            ("max 1", 5),
            ("max()", 5),
            ("max(1,)", 7),
            ("1, 2", 2),
            ("(1, 2)", 3),
            ("d.x", 2),
            ("é", 1),
        ];
        for (text, place) in cases {
            match value(text) {
                Err(ExpressionError::Syntax { at, .. }) => assert_eq!(at, place, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn overflow_division_by_zero_and_unknown_names_are_refused() {
        let huge = "9".repeat(40);
        assert!(matches!(value(&huge), Err(ExpressionError::Overflow(_))));
        let product = ["99999999999999999999"; 3].join("*");
        assert!(matches!(value(&product), Err(ExpressionError::Overflow(_))));
        assert!(matches!(value("1 / (w - 3)"), Err(ExpressionError::DivisionByZero(_))));
        assert!(matches!(value("1 % 0"), Err(ExpressionError::DivisionByZero(_))));
        assert!(matches!(value("vocab"), Err(ExpressionError::UnknownName { name, .. }) if name == "vocab"));
        assert!(matches!(value(&"1+".repeat(200)), Err(ExpressionError::TooLong(400))));
        assert!(matches!(value(&"(".repeat(100)), Err(ExpressionError::TooDeep(_))));
    }

    fn definitions(entries: &[(&str, &str)]) -> BTreeMap<String, Expression> {
        entries.iter().map(|(name, text)| ((*name).to_owned(), Expression::parse(text).unwrap())).collect()
    }

    #[test]
    fn definitions_may_stand_in_any_order_but_not_in_a_circle() {
        let values = define(&names(), &definitions(&[("a", "b * 2"), ("b", "z + 1"), ("z", "d")])).unwrap();
        assert_eq!(values["a"], 130);
        let circle = define(&names(), &definitions(&[("a", "b"), ("b", "c"), ("c", "a"), ("x", "1")]));
        assert_eq!(circle, Err(ExpressionError::Cycle(vec!["a".into(), "b".into(), "c".into()])));
        assert!(matches!(define(&names(), &definitions(&[("d", "1")])), Err(ExpressionError::Definition(_))));
        assert!(matches!(define(&names(), &definitions(&[("min", "1")])), Err(ExpressionError::Definition(_))));
        let self_made = define(&names(), &definitions(&[("a", "a + 1")]));
        assert_eq!(self_made, Err(ExpressionError::Cycle(vec!["a".into()])));
    }

    #[derive(Debug, Clone)]
    enum Tree {
        Leaf(i64),
        Binary(Box<Tree>, char, Box<Tree>),
    }

    impl Tree {
        fn text(&self) -> String {
            match self {
                Self::Leaf(value) if *value < 0 => format!("({value})"),
                Self::Leaf(value) => value.to_string(),
                Self::Binary(left, operator, right) => format!("({}{operator}{})", left.text(), right.text()),
            }
        }
        fn value(&self) -> Option<i128> {
            match self {
                Self::Leaf(value) => Some(i128::from(*value)),
                Self::Binary(left, operator, right) => {
                    let (left, right) = (left.value()?, right.value()?);
                    match operator {
                        '+' => left.checked_add(right),
                        '-' => left.checked_sub(right),
                        '*' => left.checked_mul(right),
                        '/' => left.checked_div(right),
                        _ => left.checked_rem(right),
                    }
                }
            }
        }
    }

    fn tree() -> impl Strategy<Value = Tree> {
        any::<i64>().prop_map(Tree::Leaf).prop_recursive(3, 8, 2, |inner| {
            let operator = prop::sample::select(vec!['+', '-', '*', '/', '%']);
            (inner.clone(), operator, inner).prop_map(|(l, o, r)| Tree::Binary(Box::new(l), o, Box::new(r)))
        })
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}", dense in "[0-9dw+*/%(),minax -]{0,80}") {
            let _ = value(&text);
            let _ = value(&dense);
        }

        #[test]
        fn values_are_those_of_checked_arithmetic(tree in tree()) {
            prop_assert_eq!(value(&tree.text()).ok(), tree.value());
        }
    }
}
