//! Expressions to values.
//!
//! Names are resolved when an expression asks for them ([`crate::resolve`]), and what they lead to is kept. Everything
//! that is made costs something, out of one budget for all files: neither deep nesting, nor functions that call functions
//! twice, nor strings that double can take more time or memory than it grants.

mod operate;
mod template;

pub(crate) use operate::index;

use std::collections::BTreeMap;

use crate::error::{Error, Fault};
use crate::expr::{Call, Expr, For, Kind, Spot, Step};
use crate::functions;
use crate::number::Number;
use crate::resolve::Resolver;
use crate::value::{Type, Value, convert};

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// How many expressions may be nested in evaluation, through variables, functions and blocks.
const MAX_DEPTH: u32 = 200;
/// How many steps all files together may take; one for an expression, one for each [`BYTES`] of a value.
const BUDGET: u64 = 4 << 20;
const BYTES: u64 = 16;

/// What may still be spent.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
    depth: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: BUDGET, depth: 0 }
    }
}

impl Budget {
    pub(crate) fn spend(&mut self, steps: u64) -> Result<()> {
        match self.left.checked_sub(steps) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Error::Limit { what: "steps of evaluation".to_owned(), limit: BUDGET }.into()),
        }
    }

    pub(crate) fn copy(&mut self, bytes: u64) -> Result<()> {
        self.spend(bytes / BYTES)
    }

    fn enter(&mut self) -> Result<()> {
        self.spend(1)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                Error::Limit { what: "nesting of expressions".to_owned(), limit: MAX_DEPTH.into() }.into()
            );
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Names that an expression sees beside those of the files: parameters, matrix values, variables of `for`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope<'s> {
    pub(crate) names: Option<&'s BTreeMap<String, Value>>,
    pub(crate) parent: Option<&'s Scope<'s>>,
}

impl<'s> Scope<'s> {
    pub(crate) fn new(names: &'s BTreeMap<String, Value>) -> Self {
        Self { names: Some(names), parent: None }
    }

    fn inner<'n>(&'n self, names: &'n BTreeMap<String, Value>) -> Scope<'n> {
        Scope { names: Some(names), parent: Some(self) }
    }

    fn get(&self, name: &str) -> Option<&'s Value> {
        let mut scope = Some(self);
        while let Some(Scope { names, parent }) = scope {
            if let Some(value) = names.and_then(|names| names.get(name)) {
                return Some(value);
            }
            scope = *parent;
        }
        None
    }
}

impl<'a> Resolver<'a> {
    /// The value of `expr`.
    pub(crate) fn value(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> Result<Value> {
        self.budget.enter()?;
        let value = self.value_of_kind(expr, scope);
        self.budget.leave();
        value
    }

    fn value_of_kind(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> Result<Value> {
        let at = expr.at;
        match &expr.kind {
            Kind::Literal(value) => self.copied(value),
            Kind::Template(parts) => self.template(parts, scope),
            Kind::Tuple(elements) => {
                let elements = elements.iter().map(|element| self.value(element, scope));
                Ok(Value::Tuple(elements.collect::<Result<_>>()?))
            }
            Kind::Object(entries) => self.object(entries, scope),
            Kind::Variable(name) => self.variable(name, scope, at),
            Kind::Attribute(inner, name) => self.attribute(inner, name, scope, at),
            Kind::Index(inner, index) => {
                let collection = self.value(inner, scope)?;
                let index = self.value(index, scope)?;
                operate::index(&collection, &index).map_err(|reason| Fault::at(at, reason))
            }
            Kind::Splat(inner, steps) => self.splat(inner, steps, scope, at),
            Kind::Conditional(parts) => self.conditional(parts, scope, at),
            Kind::Call(call) => self.call(call, scope, at),
            Kind::Not(inner) => {
                let value = self.value(inner, scope)?;
                operate::not(&value).map_err(|reason| Fault::at(at, reason))
            }
            Kind::Negate(inner) => {
                let value = self.value(inner, scope)?;
                operate::negate(&value).map_err(|reason| Fault::at(at, reason))
            }
            Kind::Binary(operator, operands) => {
                let left = self.value(&operands[0], scope)?;
                if let Some(decided) = operate::decided(*operator, &left) {
                    return Ok(decided);
                }
                let right = self.value(&operands[1], scope)?;
                operate::binary(*operator, &left, &right).map_err(|reason| Fault::at(at, reason))
            }
            Kind::For(it) => self.for_expression(it, scope, at),
            Kind::Parenthesis(inner) => self.value(inner, scope),
        }
    }

    fn copied(&mut self, value: &Value) -> Result<Value> {
        self.budget.copy(value.weight())?;
        Ok(value.clone())
    }

    fn object(&mut self, entries: &'a [(Expr, Expr)], scope: &Scope<'_>) -> Result<Value> {
        let mut object = BTreeMap::new();
        for (key, value) in entries {
            let name = self.text(key, scope)?;
            let value = self.value(value, scope)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }

    /// The value of `expr` as a string.
    pub(crate) fn text(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> Result<String> {
        match convert(&self.value(expr, scope)?, &Type::String) {
            Ok(Value::String(text)) => Ok(text),
            Ok(_) => Err(Fault::at(expr.at, "a string is required, but have null")),
            Err(reason) => Err(Fault::at(expr.at, reason)),
        }
    }

    fn variable(&mut self, name: &'a str, scope: &Scope<'_>, at: Spot) -> Result<Value> {
        if let Some(value) = scope.get(name) {
            return self.copied(value);
        }
        if self.is_block_kind(name) {
            return Err(Fault::at(at, format!("cannot access {name} as a variable")));
        }
        self.global(name, at)?;
        // Looked at where it lies, so that its copy is paid before it is made.
        match self.known(name) {
            Some(value) => {
                let weight = value.weight();
                let value = value.clone();
                self.budget.copy(weight)?;
                Ok(value)
            }
            None => Err(Fault::at(at, format!("There is no variable named {name:?}"))),
        }
    }

    fn attribute(&mut self, inner: &'a Expr, name: &'a str, scope: &Scope<'_>, at: Spot) -> Result<Value> {
        // Blocks are asked for no more than is needed: two may refer to each other's attributes.
        match &inner.kind {
            Kind::Variable(kind) if scope.get(kind).is_none() && self.is_block_kind(kind) => {
                return self.block_object(kind, name, at);
            }
            Kind::Attribute(root, block) => {
                if let Kind::Variable(kind) = &root.kind
                    && scope.get(kind).is_none()
                    && self.is_block_kind(kind)
                {
                    return self.block_attribute(kind, block, name, at);
                }
            }
            _ => {}
        }
        let value = self.value(inner, scope)?;
        operate::attribute(value, name).map_err(|reason| Fault::at(at, reason))
    }

    fn splat(&mut self, inner: &'a Expr, steps: &'a [Step], scope: &Scope<'_>, at: Spot) -> Result<Value> {
        let elements = match self.value(inner, scope)? {
            Value::Null => Vec::new(),
            Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => elements,
            single => vec![single],
        };
        let mut results = Vec::with_capacity(elements.len());
        for mut element in elements {
            self.budget.spend(1)?;
            for step in steps {
                element = match step {
                    Step::Attribute(name) => operate::attribute(element, name),
                    Step::Index(index) => operate::index(&element, &self.value(index, scope)?),
                }
                .map_err(|reason| Fault::at(at, reason))?;
            }
            results.push(element);
        }
        Ok(Value::Tuple(results))
    }

    /// Both sides are evaluated, for the result is of a type that fits both; the one not taken may fail.
    fn conditional(&mut self, parts: &'a [Expr; 3], scope: &Scope<'_>, at: Spot) -> Result<Value> {
        let condition = self.flag(&parts[0], scope)?;
        let (taken, other) = if condition { (&parts[1], &parts[2]) } else { (&parts[2], &parts[1]) };
        let taken = self.value(taken, scope)?;
        match self.value(other, scope) {
            Ok(other) => operate::alike(taken, &other).map_err(|reason| Fault::at(at, reason)),
            Err(fault) if fault.is_limit() => Err(fault),
            Err(_) => Ok(taken),
        }
    }

    /// The value of `expr` as a truth.
    pub(crate) fn flag(&mut self, expr: &'a Expr, scope: &Scope<'_>) -> Result<bool> {
        match convert(&self.value(expr, scope)?, &Type::Bool) {
            Ok(Value::Bool(flag)) => Ok(flag),
            Ok(_) => Err(Fault::at(expr.at, "the condition is null")),
            Err(reason) => Err(Fault::at(expr.at, reason)),
        }
    }

    /// The keys and values that `for` goes through.
    fn pairs(&mut self, collection: &'a Expr, scope: &Scope<'_>) -> Result<Vec<(Value, Value)>> {
        let pairs = match self.value(collection, scope)? {
            Value::List(elements) | Value::Tuple(elements) => elements
                .into_iter()
                .enumerate()
                .map(|(at, value)| (Value::Number(Number::from(at)), value))
                .collect(),
            Value::Set(elements) => elements.into_iter().map(|value| (value.clone(), value)).collect(),
            Value::Map(entries) | Value::Object(entries) => {
                entries.into_iter().map(|(key, value)| (Value::String(key), value)).collect()
            }
            other => {
                let reason = format!("a {} value cannot be gone through by for", other.kind());
                return Err(Fault::at(collection.at, reason));
            }
        };
        Ok(pairs)
    }

    fn for_expression(&mut self, it: &'a For, scope: &Scope<'_>, at: Spot) -> Result<Value> {
        let (mut list, mut object) = (Vec::new(), BTreeMap::new());
        for (key, value) in self.pairs(&it.collection, scope)? {
            let names = names(it.key.as_ref(), &it.value, key, value);
            let scope = scope.inner(&names);
            if let Some(condition) = &it.condition
                && !self.flag(condition, &scope)?
            {
                continue;
            }
            let Some(key) = &it.result_key else {
                list.push(self.value(&it.result, &scope)?);
                continue;
            };
            let key = self.text(key, &scope)?;
            let result = self.value(&it.result, &scope)?;
            if it.grouping {
                if let Value::Tuple(group) = object.entry(key).or_insert_with(|| Value::Tuple(Vec::new())) {
                    group.push(result);
                }
            } else if let Some(_double) = object.insert(key.clone(), result) {
                return Err(Fault::at(
                    at,
                    format!("two different items produced the key {key:?} in this for expression"),
                ));
            }
        }
        Ok(if it.result_key.is_some() { Value::Object(object) } else { Value::Tuple(list) })
    }

    fn call(&mut self, call: &'a Call, scope: &Scope<'_>, at: Spot) -> Result<Value> {
        match call.name.as_str() {
            "try" => return self.try_each(&call.arguments, scope, at),
            "can" => {
                return match call.arguments.as_slice() {
                    [argument] => match self.value(argument, scope) {
                        Err(fault) if fault.is_limit() => Err(fault),
                        result => Ok(Value::Bool(result.is_ok())),
                    },
                    _ => Err(Fault::at(at, "can takes one argument")),
                };
            }
            "convert" => {
                let [value, kind] = call.arguments.as_slice() else {
                    return Err(Fault::at(at, "convert takes a value and a type"));
                };
                let kind = crate::types::parse(kind)?;
                let value = self.value(value, scope)?;
                return convert(&value, &kind).map_err(|reason| Fault::at(at, reason));
            }
            _ => {}
        }
        let arguments = self.arguments(call, scope)?;
        if functions::exists(&call.name) {
            // A function may go through its arguments and copy them.
            self.budget.copy(arguments.iter().map(Value::weight).sum())?;
            let value = functions::call(&call.name, &arguments, &mut self.host);
            let value = value.map_err(|reason| Fault::at(at, reason))?;
            self.budget.copy(value.weight())?;
            return Ok(value);
        }
        self.user_function(&call.name, arguments, at)
    }

    fn arguments(&mut self, call: &'a Call, scope: &Scope<'_>) -> Result<Vec<Value>> {
        let mut arguments: Vec<Value> =
            call.arguments.iter().map(|argument| self.value(argument, scope)).collect::<Result<_>>()?;
        if call.expand {
            let at = call.arguments.last().map(|last| last.at);
            match (arguments.pop(), at) {
                (Some(Value::List(more) | Value::Tuple(more) | Value::Set(more)), _) => {
                    arguments.extend(more)
                }
                (_, Some(at)) => return Err(Fault::at(at, "only a list can be expanded to arguments")),
                (_, None) => {}
            }
        }
        Ok(arguments)
    }

    fn try_each(&mut self, arguments: &'a [Expr], scope: &Scope<'_>, at: Spot) -> Result<Value> {
        let mut last = Fault::at(at, "try takes at least one argument");
        for argument in arguments {
            match self.value(argument, scope) {
                Ok(value) => return Ok(value),
                Err(fault) if fault.is_limit() => return Err(fault),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

/// The variables of one round of `for`.
fn names(key_name: Option<&String>, value_name: &str, key: Value, value: Value) -> BTreeMap<String, Value> {
    let mut names = BTreeMap::new();
    if let Some(name) = key_name {
        names.insert(name.clone(), key);
    }
    names.insert(value_name.to_owned(), value);
    names
}
