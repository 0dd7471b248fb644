//! Expressions, whatever they were written in.
//!
//! The tree is our own, so that HCL and JSON meet in it: a string of a JSON file is a template, as HCL says.

use crate::value::Value;

/// Where something was written: a file, by its place in the list, and an offset in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) file: usize,
    /// `None` where only the file is known.
    pub(crate) offset: Option<usize>,
}

/// An expression and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Expr {
    pub(crate) kind: Kind,
    pub(crate) at: Spot,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Literal(Value),
    /// Text with values between, always a string, except for a template that is one interpolation and nothing else.
    Template(Vec<Part>),
    Tuple(Vec<Expr>),
    Object(Vec<(Expr, Expr)>),
    Variable(String),
    Attribute(Box<Expr>, String),
    Index(Box<Expr>, Box<Expr>),
    /// What the steps lead to from each element; of an attribute splat, they are only attributes.
    Splat(Box<Expr>, Vec<Step>),
    Conditional(Box<[Expr; 3]>),
    Call(Box<Call>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Operator, Box<[Expr; 2]>),
    For(Box<For>),
    Parenthesis(Box<Expr>),
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Attribute(String),
    Index(Expr),
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<Expr>,
    /// Whether the last argument is a list of arguments (`...`).
    pub(crate) expand: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// `[for key, value in collection : result if condition]`, and with braces and `key => result`.
#[derive(Debug, Clone)]
pub(crate) struct For {
    pub(crate) key: Option<String>,
    pub(crate) value: String,
    pub(crate) collection: Expr,
    pub(crate) result_key: Option<Expr>,
    pub(crate) result: Expr,
    pub(crate) condition: Option<Expr>,
    /// Whether values of one key gather in a list (`...`).
    pub(crate) grouping: bool,
}

/// A part of a template.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Text(String),
    Value(Expr),
    If { condition: Expr, then: Vec<Part>, otherwise: Vec<Part> },
    For { key: Option<String>, value: String, collection: Expr, body: Vec<Part> },
}

impl Expr {
    /// The name, where the expression is only a name.
    pub(crate) fn keyword(&self) -> Option<&str> {
        match &self.kind {
            Kind::Variable(name) => Some(name),
            _ => None,
        }
    }

    /// The string, where it is written out.
    pub(crate) fn literal_text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Literal(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}
