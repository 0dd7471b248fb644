//! Tokens to a tree of nodes.

use std::collections::HashMap;

use serde_json::Value;

use super::lex::{Place, Token, TokenKind};
use super::{TemplateError, functions, number};

/// How deep blocks and parentheses may nest.
const DEPTH_LIMIT: usize = 100;

/// One part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If { pipeline: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { pipeline: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Call { name: String, data: Option<Pipeline>, place: Place },
    Break,
    Continue,
}

/// `$x := a | b c`.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    /// Variables that take the value; two in a `range`.
    pub(super) variables: Vec<String>,
    /// New variables (`:=`) rather than known ones (`=`).
    pub(super) declares: bool,
    pub(super) commands: Vec<Command>,
    pub(super) place: Place,
}

/// An operand with what it is called with.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

/// A value, and the fields taken of it one after the other.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) base: Base,
    pub(super) fields: Vec<String>,
    pub(super) place: Place,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Base {
    Dot,
    Variable(String),
    Function(String),
    Literal(Value),
    Nested(Box<Pipeline>),
}

pub(super) type Parsed = (Vec<Node>, HashMap<String, Vec<Node>>);

/// What ended a list of nodes.
enum End {
    Text,
    Block,
    Else,
}

struct Parser {
    tokens: Vec<Token>,
    /// The next token.
    at: usize,
    named: HashMap<String, Vec<Node>>,
    /// Variables in scope.
    variables: Vec<String>,
    depth: usize,
    loops: usize,
    last: Place,
}

/// Parses a whole template.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Parsed, TemplateError> {
    let mut parser = Parser {
        tokens,
        at: 0,
        named: HashMap::new(),
        variables: vec!["$".to_owned()],
        depth: 0,
        loops: 0,
        last: Place { line: 1, column: 0 },
    };
    let (root, end) = parser.nodes()?;
    match end {
        End::Text => Ok((root, parser.named)),
        End::Block => parser.fail("unexpected {{end}}"),
        End::Else => parser.fail("unexpected {{else}}"),
    }
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at)?.clone();
        self.at += 1;
        self.last = token.place;
        Some(token)
    }

    fn peek(&self) -> Option<&TokenKind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn fail<T>(&self, reason: impl Into<String>) -> Result<T, TemplateError> {
        Err(TemplateError::Syntax { line: self.last.line, reason: reason.into() })
    }

    fn close(&mut self, context: &str) -> Result<(), TemplateError> {
        match self.next().map(|token| token.kind) {
            Some(TokenKind::Close) => Ok(()),
            Some(_) => self.fail(format!("unexpected operand in {context}")),
            None => self.fail("unclosed action"),
        }
    }

    /// Nodes up to the end of the text, `{{end}}` or `{{else`; the latter two are consumed.
    fn nodes(&mut self) -> Result<(Vec<Node>, End), TemplateError> {
        self.depth += 1;
        if self.depth > DEPTH_LIMIT {
            return self.fail("nested too deeply");
        }
        let scope = self.variables.len();
        let mut nodes = Vec::new();
        let end = loop {
            match self.next().map(|token| token.kind) {
                None => break End::Text,
                Some(TokenKind::Text(text)) => nodes.push(Node::Text(text)),
                Some(_) => match self.action()? {
                    Action::Node(node) => nodes.push(node),
                    Action::Nothing => {}
                    Action::End(end) => break end,
                },
            }
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok((nodes, end))
    }

    fn action(&mut self) -> Result<Action, TemplateError> {
        let word = match self.peek() {
            Some(TokenKind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        let node = match word.as_str() {
            "if" => self.block("if")?,
            "with" => self.block("with")?,
            "range" => self.block("range")?,
            "end" => {
                self.next();
                self.close("end")?;
                return Ok(Action::End(End::Block));
            }
            "else" => {
                self.next();
                return Ok(Action::End(End::Else));
            }
            "break" | "continue" => {
                self.next();
                if self.loops == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(&word)?;
                if word == "break" { Node::Break } else { Node::Continue }
            }
            "define" => return self.define().map(|()| Action::Nothing),
            "template" => {
                self.next();
                self.call()?
            }
            "block" => {
                self.next();
                let call = self.call()?;
                if let Node::Call { name, .. } = &call {
                    self.body_of(name.clone())?;
                }
                call
            }
            _ => {
                let pipeline = self.pipeline("command", false)?;
                self.close("command")?;
                Node::Print(pipeline)
            }
        };
        Ok(Action::Node(node))
    }

    /// `if`, `with` and `range` up to their `{{end}}`.
    fn block(&mut self, word: &'static str) -> Result<Node, TemplateError> {
        self.next();
        let scope = self.variables.len();
        let pipeline = self.pipeline(word, word == "range")?;
        self.close(word)?;
        self.loops += usize::from(word == "range");
        let (then, mut end) = self.nodes()?;
        self.loops -= usize::from(word == "range");
        let mut otherwise = Vec::new();
        if let End::Else = end {
            if word != "range" && self.peek() == Some(&TokenKind::Word(word.to_owned())) {
                // `{{else if x}}` is an `if` of its own that shares the one `{{end}}`.
                otherwise = vec![self.block(word)?];
                end = End::Block;
            } else {
                self.close("else")?;
                (otherwise, end) = self.nodes()?;
            }
        }
        self.variables.truncate(scope);
        match (end, word) {
            (End::Text, _) => self.fail("unexpected EOF"),
            (End::Else, _) => self.fail("unexpected {{else}}"),
            (End::Block, "if") => Ok(Node::If { pipeline, then, otherwise }),
            (End::Block, "with") => Ok(Node::With { pipeline, then, otherwise }),
            (End::Block, _) => Ok(Node::Range { pipeline, body: then, otherwise }),
        }
    }

    fn define(&mut self) -> Result<(), TemplateError> {
        self.next();
        let Some(TokenKind::String(name)) = self.next().map(|token| token.kind) else {
            return self.fail("unexpected operand in define clause");
        };
        self.close("define")?;
        self.body_of(name)
    }

    fn body_of(&mut self, name: String) -> Result<(), TemplateError> {
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let (body, end) = self.nodes()?;
        self.variables = outer;
        self.named.insert(name, body);
        if let End::Block = end { Ok(()) } else { self.fail("unexpected EOF") }
    }

    /// What follows `template` or `block`.
    fn call(&mut self) -> Result<Node, TemplateError> {
        let place = self.last;
        let Some(TokenKind::String(name)) = self.next().map(|token| token.kind) else {
            return self.fail("unexpected operand in template clause");
        };
        let data = match self.peek() {
            Some(TokenKind::Close) => None,
            _ => Some(self.pipeline("template", false)?),
        };
        self.close("template")?;
        Ok(Node::Call { name, data, place })
    }

    fn pipeline(&mut self, context: &str, range: bool) -> Result<Pipeline, TemplateError> {
        let place = self.tokens.get(self.at).map_or(self.last, |token| token.place);
        let (variables, declares) = self.declaration(range)?;
        let mut commands = vec![self.command(context)?];
        while self.peek() == Some(&TokenKind::Pipe) {
            self.next();
            // As Go's parser does, a pipe that leads nowhere is let pass.
            if self.peek() == Some(&TokenKind::Close) {
                break;
            }
            let command = self.command(context)?;
            let first = command.operands.first();
            if first.is_some_and(|first| {
                first.fields.is_empty() && matches!(first.base, Base::Dot | Base::Literal(_))
            }) {
                return self.fail(format!("non executable command in pipeline stage {}", commands.len() + 1));
            }
            commands.push(command);
        }
        Ok(Pipeline { variables, declares, commands, place })
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declaration(&mut self, range: bool) -> Result<(Vec<String>, bool), TemplateError> {
        let mut ahead = self.at;
        let mut names = Vec::new();
        while let Some(TokenKind::Variable(name)) = self.tokens.get(ahead).map(|token| &token.kind) {
            names.push(name.clone());
            let after = self.tokens.get(ahead + 1).map(|token| &token.kind);
            ahead += 2;
            let declares = match after {
                Some(TokenKind::Declare) => true,
                Some(TokenKind::Assign) => false,
                Some(TokenKind::Comma) if range && names.len() == 1 => continue,
                _ => break,
            };
            self.at = ahead;
            if declares {
                self.variables.extend(names.iter().cloned());
            }
            return Ok((names, declares));
        }
        Ok((Vec::new(), false))
    }

    fn command(&mut self, context: &str) -> Result<Command, TemplateError> {
        let mut operands = Vec::new();
        loop {
            match self.peek() {
                Some(TokenKind::Close | TokenKind::Pipe | TokenKind::Right) => break,
                None => return self.fail("unclosed action"),
                Some(_) => operands.push(self.operand(context)?),
            }
        }
        match operands.as_slice() {
            [] => self.fail(format!("missing value for {context}")),
            _ => Ok(Command { operands }),
        }
    }

    fn operand(&mut self, context: &str) -> Result<Operand, TemplateError> {
        let Some(token) = self.next() else { return self.fail("unclosed action") };
        let place = token.place;
        let mut fields = Vec::new();
        let base = match token.kind {
            TokenKind::Dot => Base::Dot,
            TokenKind::Field(name) => {
                fields.push(name);
                Base::Dot
            }
            TokenKind::Variable(name) if self.variables.contains(&name) => Base::Variable(name),
            TokenKind::Variable(name) => return self.fail(format!("undefined variable {name:?}")),
            TokenKind::String(text) => Base::Literal(Value::String(text)),
            TokenKind::Number(text) => Base::Literal(number::parse(&text).unwrap_or(Value::Null)),
            TokenKind::Word(word) => match word.as_str() {
                "true" => Base::Literal(Value::Bool(true)),
                "false" => Base::Literal(Value::Bool(false)),
                "nil" => Base::Literal(Value::Null),
                word if functions::exists(word) => Base::Function(word.to_owned()),
                word => return self.fail(format!("function {word:?} not defined")),
            },
            TokenKind::Left => {
                self.depth += 1;
                if self.depth > DEPTH_LIMIT {
                    return self.fail("nested too deeply");
                }
                let nested = self.pipeline("parenthesized pipeline", false)?;
                self.depth -= 1;
                match self.next().map(|token| token.kind) {
                    Some(TokenKind::Right) => Base::Nested(Box::new(nested)),
                    _ => return self.fail("unclosed left paren"),
                }
            }
            TokenKind::Text(_)
            | TokenKind::Open
            | TokenKind::Close
            | TokenKind::Pipe
            | TokenKind::Right
            | TokenKind::Comma
            | TokenKind::Declare
            | TokenKind::Assign => return self.fail(format!("unexpected operand in {context}")),
        };
        while let Some(Token { kind: TokenKind::Field(name), spaced: false, .. }) = self.tokens.get(self.at) {
            fields.push(name.clone());
            self.at += 1;
        }
        Ok(Operand { base, fields, place })
    }
}

enum Action {
    Node(Node),
    Nothing,
    End(End),
}

/// Whether any of `nodes` takes the field `name`.
pub(super) fn uses(nodes: &[Node], name: &str) -> bool {
    nodes.iter().any(|node| match node {
        Node::Text(_) | Node::Break | Node::Continue => false,
        Node::Print(pipeline) => pipeline_uses(pipeline, name),
        Node::If { pipeline, then, otherwise }
        | Node::With { pipeline, then, otherwise }
        | Node::Range { pipeline, body: then, otherwise } => {
            pipeline_uses(pipeline, name) || uses(then, name) || uses(otherwise, name)
        }
        Node::Call { data, .. } => data.as_ref().is_some_and(|data| pipeline_uses(data, name)),
    })
}

fn pipeline_uses(pipeline: &Pipeline, name: &str) -> bool {
    pipeline.commands.iter().flat_map(|command| &command.operands).any(|operand| {
        operand.fields.iter().any(|field| field == name)
            || matches!(&operand.base, Base::Nested(nested) if pipeline_uses(nested, name))
            // The whole of the data may show every field.
            || (matches!(operand.base, Base::Dot) && operand.fields.is_empty())
    })
}
