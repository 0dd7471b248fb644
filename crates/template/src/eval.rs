//! Walks the nodes over a piece of data.

use std::cell::Cell;
use std::collections::HashMap;

use serde_json::Value;

use super::lex::Place;
use super::parse::{Base, Command, Node, Operand, Pipeline};
use super::{LISTS, MAPS, TemplateError, functions, show};

/// How deep templates may call each other.
const CALL_LIMIT: usize = 100;
/// How much work a template may make: every step costs one, and every value that is copied, passed to a function or
/// printed costs its size. Far above what a reader of the output would put up with, and done in a second or two.
const BUDGET: u64 = 64 << 20;

/// How a list of nodes ended.
enum Flow {
    On,
    Break,
    Continue,
}

struct Evaluator<'a> {
    named: &'a HashMap<String, Vec<Node>>,
    /// What `$` stands for.
    root: &'a Value,
    variables: Vec<(String, Value)>,
    headers: bool,
    /// What is nil stays so, whatever its type.
    untyped: bool,
    calls: usize,
    /// What is left of [`BUDGET`].
    budget: &'a Cell<u64>,
    out: String,
}

type Outcome<T> = Result<T, TemplateError>;

/// Fills in `nodes`; `headers` leaves text as it is where a function would change it.
pub(super) fn execute(
    nodes: &[Node],
    named: &HashMap<String, Vec<Node>>,
    data: &Value,
    headers: bool,
) -> Outcome<String> {
    let (variables, out) = (Vec::new(), String::new());
    let budget = Cell::new(BUDGET);
    let (untyped, calls) = (false, 0);
    let mut evaluator =
        Evaluator { named, root: data, variables, headers, untyped, calls, budget: &budget, out };
    evaluator.walk(nodes, data)?;
    Ok(evaluator.out)
}

fn fail<T>(place: Place, at: impl Into<String>, reason: impl Into<String>) -> Outcome<T> {
    Err(TemplateError::Execute {
        line: place.line,
        column: place.column,
        at: at.into(),
        reason: reason.into(),
    })
}

impl Evaluator<'_> {
    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Outcome<Flow> {
        let scope = self.variables.len();
        let mut flow = Flow::On;
        for node in nodes {
            match node {
                Node::Text(text) => {
                    self.charge(text.len() as u64)?;
                    self.out.push_str(text);
                }
                Node::Break => flow = Flow::Break,
                Node::Continue => flow = Flow::Continue,
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.charge(size(&value))?;
                    if value.is_null() && pipeline.is_struct_field() {
                        self.out.push_str("<nil>");
                    } else if pipeline.variables.is_empty() {
                        self.out.push_str(&show::plain(&value));
                    }
                }
                Node::If { pipeline, then, otherwise } => {
                    let inner = self.variables.len();
                    let holds = functions::truth(&self.pipeline(pipeline, dot)?);
                    flow = self.walk(if holds { then } else { otherwise }, dot)?;
                    self.variables.truncate(inner);
                }
                Node::With { pipeline, then, otherwise } => {
                    let inner = self.variables.len();
                    let value = self.pipeline(pipeline, dot)?;
                    flow = if functions::truth(&value) {
                        self.walk(then, &value)?
                    } else {
                        self.walk(otherwise, dot)?
                    };
                    self.variables.truncate(inner);
                }
                Node::Range { pipeline, body, otherwise } => {
                    flow = self.range(pipeline, body, otherwise, dot)?
                }
                Node::Call { name, data, place } => self.call_template(name, data.as_ref(), *place, dot)?,
            }
            if !matches!(flow, Flow::On) {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(flow)
    }

    fn range(
        &mut self,
        pipeline: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Outcome<Flow> {
        let scope = self.variables.len();
        let value = self.commands(pipeline, dot)?;
        let items: Vec<(Value, Value)> = match value {
            Value::Null => Vec::new(),
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (Value::from(at), item)).collect()
            }
            Value::Object(entries) => {
                let mut entries: Vec<_> =
                    entries.into_iter().filter(|(key, _)| !key.starts_with('\0')).collect();
                entries.sort_by(|a, b| a.0.cmp(&b.0));
                entries.into_iter().map(|(key, item)| (Value::from(key), item)).collect()
            }
            Value::Number(count) if count.is_i64() || count.is_u64() => {
                let count = count.as_i64().unwrap_or(i64::MAX);
                // Each turn's number is kept.
                self.charge(count.max(0).unsigned_abs().saturating_mul(64))?;
                (0..count).map(|at| (Value::from(at), Value::from(at))).collect()
            }
            other @ (Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                return fail(
                    pipeline.place,
                    "range",
                    format!("range can't iterate over {}", show::plain(&other)),
                );
            }
        };
        if items.is_empty() {
            return self.walk(otherwise, dot);
        }
        for (key, item) in items {
            self.charge(1)?;
            let bound: Vec<&Value> =
                if pipeline.variables.len() == 2 { vec![&key, &item] } else { vec![&item] };
            for (name, value) in pipeline.variables.iter().zip(bound) {
                self.bind(name, value.clone(), pipeline.declares);
            }
            let flow = self.walk(body, &item)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::On)
    }

    fn call_template(
        &mut self,
        name: &str,
        data: Option<&Pipeline>,
        place: Place,
        dot: &Value,
    ) -> Outcome<()> {
        let data = match data {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Null,
        };
        let named = self.named;
        let Some(nodes) = named.get(name) else {
            return fail(place, format!("template {name:?}"), format!("template {name:?} not defined"));
        };
        if self.calls == CALL_LIMIT {
            return fail(place, format!("template {name:?}"), "templates call each other too deeply");
        }
        let mut inner = Evaluator {
            named,
            root: &data,
            variables: Vec::new(),
            headers: self.headers,
            untyped: false,
            calls: self.calls + 1,
            budget: self.budget,
            out: std::mem::take(&mut self.out),
        };
        inner.walk(nodes, &data)?;
        self.out = inner.out;
        Ok(())
    }

    /// Takes something off the budget.
    fn charge(&self, cost: u64) -> Outcome<()> {
        match self.budget.get().checked_sub(cost.saturating_add(1)) {
            Some(left) => {
                self.budget.set(left);
                Ok(())
            }
            None => fail(Place { line: 1, column: 0 }, "", "the template makes too much work"),
        }
    }

    fn bind(&mut self, name: &str, value: Value, declares: bool) {
        let known = self.variables.iter_mut().rev().find(|(known, _)| known == name);
        match known {
            Some((_, slot)) if !declares => *slot = value,
            _ => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let value = self.commands(pipeline, dot)?;
        for name in &pipeline.variables {
            self.bind(name, value.clone(), pipeline.declares);
        }
        Ok(value)
    }

    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        // A nil list is as good as an empty one, but for JSON, which tells them apart.
        let untyped = std::mem::replace(&mut self.untyped, pipeline.makes_json());
        let value = self.commands_of(pipeline, dot);
        self.untyped = untyped;
        value
    }

    fn commands_of(&mut self, pipeline: &Pipeline, dot: &Value) -> Outcome<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Null))
    }

    /// One command; the value of the one before is its last argument.
    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Outcome<Value> {
        let Some((first, rest)) = command.operands.split_first() else { return Ok(Value::Null) };
        if let Base::Function(name) = &first.base {
            if matches!(name.as_str(), "and" | "or") {
                return self.and_or(name == "and", rest, dot, piped);
            }
            let mut arguments =
                rest.iter().map(|operand| self.operand(operand, dot)).collect::<Outcome<Vec<_>>>()?;
            arguments.extend(piped);
            self.charge(arguments.iter().map(size).sum())?;
            let value = functions::call(name, &arguments, self.headers).or_else(|reason| {
                fail(first.place, name.clone(), format!("error calling {name}: {reason}"))
            })?;
            return self.fields(value, first);
        }
        if let (Base::Literal(literal), true) = (&first.base, first.fields.is_empty()) {
            if !rest.is_empty() {
                let reason = format!("can't give argument to non-function {}", first.shown());
                return fail(first.place, first.shown(), reason);
            }
            if literal.is_null() {
                return fail(first.place, "nil", "nil is not a command");
            }
        }
        let value = self.operand(first, dot)?;
        let argument = match rest {
            [] => piped,
            [only] => Some(self.operand(only, dot)?),
            _ => return fail(first.place, first.shown(), "wrong number of args"),
        };
        match argument {
            None => Ok(value),
            // The one method that takes an argument: `.Label "name"`.
            Some(key) if value.is_object() => {
                if self.headers {
                    let name = key.as_str().unwrap_or_default();
                    let last = name.rsplit('.').next().unwrap_or_default();
                    return Ok(Value::String(last.replace(['-', '_'], " ")));
                }
                functions::index(&value, &key).or_else(|reason| fail(first.place, first.shown(), reason))
            }
            Some(_) => fail(
                first.place,
                first.shown(),
                format!("{} has arguments but cannot be invoked", first.shown()),
            ),
        }
    }

    fn and_or(
        &mut self,
        and: bool,
        operands: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Outcome<Value> {
        let mut last = Value::Null;
        for operand in operands {
            last = self.operand(operand, dot)?;
            if functions::truth(&last) != and {
                return Ok(last);
            }
        }
        Ok(piped.unwrap_or(last))
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        let value = self.value_of(operand, dot)?;
        self.charge(size(&value))?;
        Ok(value)
    }

    fn value_of(&mut self, operand: &Operand, dot: &Value) -> Outcome<Value> {
        let base = match &operand.base {
            Base::Dot => return self.fields_of(dot, operand).map(std::borrow::Cow::into_owned),
            Base::Variable(name) if name == "$" => {
                return self.fields_of(self.root, operand).map(std::borrow::Cow::into_owned);
            }
            Base::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map_or(Value::Null, |(_, value)| value.clone())
            }
            Base::Literal(value) => value.clone(),
            Base::Nested(pipeline) => self.commands(pipeline, dot)?,
            Base::Function(name) => functions::call(name, &[], self.headers).or_else(|reason| {
                fail(operand.place, name.clone(), format!("error calling {name}: {reason}"))
            })?,
        };
        self.fields(base, operand)
    }

    fn fields(&self, base: Value, operand: &Operand) -> Outcome<Value> {
        if operand.fields.is_empty() {
            return Ok(base);
        }
        self.fields_of(&base, operand).map(std::borrow::Cow::into_owned)
    }

    /// Takes one field after the other, without copying what is passed by.
    fn fields_of<'v>(&self, base: &'v Value, operand: &Operand) -> Outcome<std::borrow::Cow<'v, Value>> {
        let mut value = base;
        let mut owner: Option<&str> = None;
        for field in &operand.fields {
            let missing = Value::Null;
            value = match value {
                Value::Object(entries) => match entries.get(field) {
                    Some(found) => found,
                    None if entries.contains_key(&super::method(field)) => &entries[&super::method(field)],
                    // What a program of Go's calls `TimeNano` may be `timeNano` in its JSON.
                    None if entries.contains_key(&uncapitalized(field)) => &entries[&uncapitalized(field)],
                    None if owner.is_some_and(|owner| MAPS.contains(&owner)) => {
                        return Ok(std::borrow::Cow::Owned(missing));
                    }
                    None => {
                        return fail(
                            operand.place,
                            operand.shown(),
                            format!("map has no entry for key {field:?}"),
                        );
                    }
                },
                Value::Null => {
                    let shown = operand.shown();
                    return fail(operand.place, shown, format!("nil data; no entry for key {field:?}"));
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    let kind = show::kind(value);
                    let reason = format!("can't evaluate field {field} in type {kind}");
                    return fail(operand.place, operand.shown(), reason);
                }
            };
            owner = Some(field);
        }
        if let (Value::Null, Some(last), false) = (value, owner, self.untyped) {
            if LISTS.contains(&last) {
                return Ok(std::borrow::Cow::Owned(Value::Array(Vec::new())));
            }
            if MAPS.contains(&last) {
                return Ok(std::borrow::Cow::Owned(Value::Object(serde_json::Map::new())));
            }
        }
        Ok(std::borrow::Cow::Borrowed(value))
    }
}

/// How much there is to copy of a value.
fn size(value: &Value) -> u64 {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(size).sum::<u64>() + 1,
        Value::Object(entries) => {
            entries.iter().map(|(key, item)| key.len() as u64 + size(item)).sum::<u64>() + 1
        }
    }
}

/// The same with a small first letter.
fn uncapitalized(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl Pipeline {
    /// Whether all of it is one field, and not a key of one of the [`MAPS`].
    fn is_struct_field(&self) -> bool {
        let [Command { operands, .. }] = self.commands.as_slice() else { return false };
        let [Operand { base: Base::Dot | Base::Variable(_), fields, .. }] = operands.as_slice() else {
            return false;
        };
        let owner = fields.len().checked_sub(2).and_then(|owner| fields.get(owner));
        !fields.is_empty() && owner.is_none_or(|owner| !MAPS.contains(&owner.as_str()))
    }

    /// Whether the function `json` gets to see what is in it.
    fn makes_json(&self) -> bool {
        let mut firsts = self.commands.iter().filter_map(|command| command.operands.first());
        firsts.any(|first| matches!(&first.base, Base::Function(name) if name == "json"))
    }
}

impl Operand {
    /// As it was written, near enough for an error.
    fn shown(&self) -> String {
        let base = match &self.base {
            Base::Dot if self.fields.is_empty() => ".".to_owned(),
            Base::Dot => String::new(),
            Base::Variable(name) | Base::Function(name) => name.clone(),
            Base::Literal(value) => show::plain(value),
            Base::Nested(_) => "(…)".to_owned(),
        };
        self.fields.iter().fold(base, |text, field| format!("{text}.{field}"))
    }
}
