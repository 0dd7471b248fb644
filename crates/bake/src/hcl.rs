//! HCL to a document, by the syntax tree of `hcl-edit`.
//!
//! That parser bounds how deep expressions and blocks nest (64) and how long a chain of operators is (128), so that
//! whatever walks the trees may recurse.

use hcl_edit::Span;
use hcl_edit::expr::{
    BinaryOperator, Expression, ForExpr, FuncCall, ObjectKey, Traversal, TraversalOperator, UnaryOperator,
};
use hcl_edit::structure::{Body, Structure};
use hcl_edit::template::{Directive, Element, Strip, Template};

use crate::document::{Attribute, Block, Document};
use crate::error::{Error, Fault, Place};
use crate::expr::{Call, Expr, For, Kind, Operator, Part, Spot, Step};
use crate::number::Number;
use crate::value::Value;

type Result<T> = std::result::Result<T, Fault>;

/// How many entries a file may have: the parser looks for each among those before it.
const MAX_ENTRIES: usize = 32 << 10;

/// Reads a file.
pub(crate) fn parse(name: &str, text: &str, file: usize) -> Result<Document> {
    if text.bytes().filter(|byte| matches!(byte, b'=' | b':')).count() > MAX_ENTRIES {
        return Err(Error::Limit { what: format!("entries of {name}"), limit: MAX_ENTRIES as u64 }.into());
    }
    let body = hcl_edit::parser::parse_body(text).map_err(|error| Error::Syntax {
        place: Place {
            file: name.to_owned(),
            position: Some((error.location().line(), error.location().column())),
        },
        reason: error.message().to_owned(),
    })?;
    let reader = Reader { file, text, spots: true };
    let (attributes, blocks) = reader.body(&body)?;
    Ok(Document { attributes, blocks })
}

/// Reads a string of a JSON file, which is a template.
pub(crate) fn parse_template(text: &str, at: Spot) -> Result<Expr> {
    if !text.contains("${") && !text.contains("%{") {
        return Ok(Expr { kind: Kind::Literal(Value::text(text)), at });
    }
    let template = hcl_edit::parser::parse_template(text)
        .map_err(|error| Fault::at(at, format!("template {text:?}: {}", error.message())))?;
    let reader = Reader { file: at.file, text, spots: false };
    Ok(Expr { kind: Kind::Template(reader.template(&template, false, false)?), at })
}

/// Reads an expression that stands in a string of a JSON file.
pub(crate) fn parse_expression(text: &str, at: Spot) -> Result<Expr> {
    let expression = hcl_edit::parser::parse_expr(text)
        .map_err(|error| Fault::at(at, format!("expression {text:?}: {}", error.message())))?;
    Reader { file: at.file, text, spots: false }.expression(&expression)
}

struct Reader<'a> {
    file: usize,
    /// What was parsed, for numbers, which the parser keeps only as 64 bits.
    text: &'a str,
    /// Whether offsets are those of the file.
    spots: bool,
}

impl Reader<'_> {
    fn spot(&self, node: &impl Span) -> Spot {
        let offset = node.span().map(|span| span.start).filter(|_| self.spots);
        Spot { file: self.file, offset }
    }

    fn body(&self, body: &Body) -> Result<(Vec<Attribute>, Vec<Block>)> {
        let (mut attributes, mut blocks) = (Vec::new(), Vec::new());
        for structure in body {
            match structure {
                Structure::Attribute(attribute) => attributes.push(Attribute {
                    name: attribute.key.value().to_string(),
                    value: self.expression(&attribute.value)?,
                }),
                Structure::Block(block) => {
                    let at = self.spot(block);
                    let kind = block.ident.value().to_string();
                    if block.labels.len() > 1 {
                        return Err(Fault::at(
                            at,
                            format!("a block {kind} has one name, not {}", block.labels.len()),
                        ));
                    }
                    let label =
                        block.labels.first().map(|label| label.as_str().to_owned()).unwrap_or_default();
                    let (attributes, inner) = self.body(&block.body)?;
                    blocks.push(Block { kind, label, attributes, blocks: inner, at });
                }
            }
        }
        Ok((attributes, blocks))
    }

    fn boxed(&self, expression: &Expression) -> Result<Box<Expr>> {
        self.expression(expression).map(Box::new)
    }

    fn expression(&self, expression: &Expression) -> Result<Expr> {
        let at = self.spot(expression);
        let kind = match expression {
            Expression::Null(_) => Kind::Literal(Value::Null),
            Expression::Bool(value) => Kind::Literal(Value::Bool(*value.value())),
            Expression::Number(number) => {
                let written = number.span().and_then(|span| self.text.get(span));
                let value =
                    written.and_then(Number::parse).or_else(|| Number::parse(&number.value().to_string()));
                let value =
                    value.ok_or_else(|| Fault::at(at, format!("number {} is too large", number.value())))?;
                Kind::Literal(Value::Number(value))
            }
            Expression::String(text) => Kind::Literal(Value::text(text.value().as_str())),
            Expression::Array(array) => {
                Kind::Tuple(array.iter().map(|element| self.expression(element)).collect::<Result<_>>()?)
            }
            Expression::Object(object) => {
                let entries =
                    object.iter().map(|(key, value)| Ok((self.key(key)?, self.expression(value.expr())?)));
                Kind::Object(entries.collect::<Result<_>>()?)
            }
            Expression::StringTemplate(template) => Kind::Template(self.template(template, false, false)?),
            Expression::HeredocTemplate(heredoc) => {
                // Text alone is no template whose value could be anything but a string.
                Kind::Template(self.template(&heredoc.template, false, false)?)
            }
            Expression::Parenthesis(inner) => Kind::Parenthesis(self.boxed(inner.inner())?),
            Expression::Variable(name) => Kind::Variable(name.value().to_string()),
            Expression::Conditional(it) => Kind::Conditional(Box::new([
                self.expression(&it.cond_expr)?,
                self.expression(&it.true_expr)?,
                self.expression(&it.false_expr)?,
            ])),
            Expression::FuncCall(call) => self.call(call, at)?,
            Expression::Traversal(traversal) => return self.traversal(traversal, at),
            Expression::UnaryOp(it) => match it.operator.value() {
                UnaryOperator::Neg => Kind::Negate(self.boxed(&it.expr)?),
                UnaryOperator::Not => Kind::Not(self.boxed(&it.expr)?),
            },
            Expression::BinaryOp(it) => {
                let operands = [self.expression(&it.lhs_expr)?, self.expression(&it.rhs_expr)?];
                Kind::Binary(operator(*it.operator.value()), Box::new(operands))
            }
            Expression::ForExpr(it) => Kind::For(Box::new(self.for_expression(it)?)),
        };
        Ok(Expr { kind, at })
    }

    fn key(&self, key: &ObjectKey) -> Result<Expr> {
        match key {
            ObjectKey::Ident(name) => {
                Ok(Expr { kind: Kind::Literal(Value::text(name.value().as_str())), at: self.spot(name) })
            }
            ObjectKey::Expression(expression) => self.expression(expression),
        }
    }

    fn call(&self, call: &FuncCall, at: Spot) -> Result<Kind> {
        if call.name.is_namespaced() {
            return Err(Fault::at(
                at,
                format!("there are no functions in namespaces, as {}", call.name.name.value()),
            ));
        }
        Ok(Kind::Call(Box::new(Call {
            name: call.name.name.value().to_string(),
            arguments: call.args.iter().map(|argument| self.expression(argument)).collect::<Result<_>>()?,
            expand: call.args.expand_final(),
        })))
    }

    fn for_expression(&self, it: &ForExpr) -> Result<For> {
        Ok(For {
            key: it.intro.key_var.as_ref().map(|name| name.value().to_string()),
            value: it.intro.value_var.value().to_string(),
            collection: self.expression(&it.intro.collection_expr)?,
            result_key: it.key_expr.as_ref().map(|key| self.expression(key)).transpose()?,
            result: self.expression(&it.value_expr)?,
            condition: it.cond.as_ref().map(|condition| self.expression(&condition.expr)).transpose()?,
            grouping: it.grouping,
        })
    }

    fn traversal(&self, traversal: &Traversal, at: Spot) -> Result<Expr> {
        if traversal.operators.len() > MAX_STEPS {
            return Err(
                Error::Limit { what: "steps of a traversal".to_owned(), limit: MAX_STEPS as u64 }.into()
            );
        }
        let mut expr = self.expression(&traversal.expr)?;
        let mut operators = traversal.operators.iter().map(hcl_edit::Decorated::value).peekable();
        while let Some(operator) = operators.next() {
            let inner = Box::new(expr);
            let kind = match operator {
                TraversalOperator::AttrSplat(_) => {
                    let mut steps = Vec::new();
                    while let Some(TraversalOperator::GetAttr(name)) = operators.peek() {
                        steps.push(Step::Attribute(name.value().to_string()));
                        operators.next();
                    }
                    Kind::Splat(inner, steps)
                }
                TraversalOperator::FullSplat(_) => {
                    let mut steps = Vec::new();
                    while let Some(operator) = operators.peek() {
                        match self.step(operator, at)? {
                            Some(step) => steps.push(step),
                            None => break,
                        }
                        operators.next();
                    }
                    Kind::Splat(inner, steps)
                }
                TraversalOperator::GetAttr(_)
                | TraversalOperator::Index(_)
                | TraversalOperator::LegacyIndex(_) => match self.step(operator, at)? {
                    Some(Step::Attribute(name)) => Kind::Attribute(inner, name),
                    Some(Step::Index(index)) => Kind::Index(inner, Box::new(index)),
                    None => inner.kind,
                },
            };
            expr = Expr { kind, at };
        }
        Ok(expr)
    }

    fn step(&self, operator: &TraversalOperator, at: Spot) -> Result<Option<Step>> {
        Ok(match operator {
            TraversalOperator::GetAttr(name) => Some(Step::Attribute(name.value().to_string())),
            TraversalOperator::Index(index) => Some(Step::Index(self.expression(index)?)),
            TraversalOperator::LegacyIndex(index) => {
                let index = Value::Number(Number::from(i128::from(*index.value())));
                Some(Step::Index(Expr { kind: Kind::Literal(index), at }))
            }
            TraversalOperator::AttrSplat(_) | TraversalOperator::FullSplat(_) => None,
        })
    }

    /// The parts of a template, without the white space that markers (`~`) at its edges and within it strip.
    fn template(&self, template: &Template, strip_start: bool, strip_end: bool) -> Result<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let mut strip_next = strip_start;
        for element in template {
            match element {
                Element::Literal(text) => {
                    let text = text.value().as_str();
                    let text = if strip_next { text.trim_start() } else { text };
                    parts.push(Part::Text(text.to_owned()));
                    strip_next = false;
                }
                Element::Interpolation(it) => {
                    strip_last(&mut parts, strips_start(it.strip));
                    parts.push(Part::Value(self.expression(&it.expr)?));
                    strip_next = strips_end(it.strip);
                }
                Element::Directive(directive) => {
                    let (before, part, after) = self.directive(directive)?;
                    strip_last(&mut parts, before);
                    parts.push(part);
                    strip_next = after;
                }
            }
        }
        strip_last(&mut parts, strip_end);
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(parts)
    }

    /// A directive, and whether the text before and the text after it lose their white space towards it.
    fn directive(&self, directive: &Directive) -> Result<(bool, Part, bool)> {
        match directive {
            Directive::If(it) => {
                let end = it.endif_expr.strip;
                let (middle, otherwise) = match &it.else_expr {
                    Some(it) => {
                        (it.strip, self.template(&it.template, strips_end(it.strip), strips_start(end))?)
                    }
                    None => (end, Vec::new()),
                };
                let start = it.if_expr.strip;
                let then = self.template(&it.if_expr.template, strips_end(start), strips_start(middle))?;
                let condition = self.expression(&it.if_expr.cond_expr)?;
                Ok((strips_start(start), Part::If { condition, then, otherwise }, strips_end(end)))
            }
            Directive::For(it) => {
                let (start, end) = (it.for_expr.strip, it.endfor_expr.strip);
                let part = Part::For {
                    key: it.for_expr.key_var.as_ref().map(|name| name.value().to_string()),
                    value: it.for_expr.value_var.value().to_string(),
                    collection: self.expression(&it.for_expr.collection_expr)?,
                    body: self.template(&it.for_expr.template, strips_end(start), strips_start(end))?,
                };
                Ok((strips_start(start), part, strips_end(end)))
            }
        }
    }
}

/// How many steps a traversal may have.
const MAX_STEPS: usize = 64;

fn strips_start(strip: Strip) -> bool {
    matches!(strip, Strip::Start | Strip::Both)
}

fn strips_end(strip: Strip) -> bool {
    matches!(strip, Strip::End | Strip::Both)
}

fn strip_last(parts: &mut [Part], strip: bool) {
    if let (true, Some(Part::Text(text))) = (strip, parts.last_mut()) {
        text.truncate(text.trim_end().len());
    }
}

fn operator(operator: BinaryOperator) -> Operator {
    match operator {
        BinaryOperator::Eq => Operator::Equal,
        BinaryOperator::NotEq => Operator::NotEqual,
        BinaryOperator::LessEq => Operator::LessOrEqual,
        BinaryOperator::GreaterEq => Operator::GreaterOrEqual,
        BinaryOperator::Less => Operator::Less,
        BinaryOperator::Greater => Operator::Greater,
        BinaryOperator::Plus => Operator::Add,
        BinaryOperator::Minus => Operator::Subtract,
        BinaryOperator::Mul => Operator::Multiply,
        BinaryOperator::Div => Operator::Divide,
        BinaryOperator::Mod => Operator::Modulo,
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
    }
}
