//! Values of variables: declared, given from outside, checked.

use super::{Resolver, Variable};
use crate::document::Block;
use crate::entry::{fields, parse_bool};
use crate::error::Fault;
use crate::eval::{Result, Scope};
use crate::expr::Spot;
use crate::number::Number;
use crate::types;
use crate::value::{Type, Value, convert};

impl<'a> Resolver<'a> {
    /// Resolves all variables, checks them, and says what they are.
    pub(super) fn resolve_variables(&mut self) -> Result<Vec<Variable>> {
        let mut shown = Vec::new();
        for (name, block) in self.variables.clone() {
            self.global(name, block.at)?;
            shown.push(self.shown(name, block)?);
        }
        for block in self.variables.clone().into_values() {
            self.validate(block)?;
        }
        Ok(shown)
    }

    fn shown(&mut self, name: &str, block: &'a Block) -> Result<Variable> {
        let description =
            block.attribute("description").map(|expr| self.text(expr, &Scope::default())).transpose()?;
        let sensitive = match block.attribute("sensitive") {
            Some(expr) => self.flag(expr, &Scope::default())?,
            None => false,
        };
        let value = self.known(name).filter(|value| !value.is_null() && !sensitive);
        let value = value.map(|value| match convert(value, &Type::String) {
            Ok(Value::String(text)) => text,
            _ => value.to_json().to_string(),
        });
        let kind = block.attribute("type").map(types::parse).transpose()?.map(|kind| kind.to_string());
        Ok(Variable { name: name.to_owned(), kind, value, description })
    }

    fn validate(&mut self, block: &'a Block) -> Result<()> {
        for rule in block.blocks.iter().filter(|rule| rule.kind == "validation") {
            let (Some(condition), Some(message)) =
                (rule.attribute("condition"), rule.attribute("error_message"))
            else {
                return Err(Fault::at(rule.at, "a validation needs condition and error_message"));
            };
            if !self.flag(condition, &Scope::default())? {
                let message = self.text(message, &Scope::default())?;
                return Err(Fault::at(
                    condition.at,
                    format!("validation of {} failed: {message}", block.label),
                ));
            }
        }
        Ok(())
    }

    /// Makes the value of a variable, or of an attribute outside of blocks, known.
    pub(crate) fn global(&mut self, name: &str, at: Spot) -> Result<()> {
        if self.values.contains_key(name) {
            return Ok(());
        }
        let value = self.within("variable", name.to_owned(), |it| it.evaluate_global(name, at))?;
        self.values.insert(name.to_owned(), value);
        Ok(())
    }

    fn evaluate_global(&mut self, name: &str, at: Spot) -> Result<Value> {
        if let Some(value) = self.outside.builtin.get(name) {
            return Ok(Value::text(value.as_str()));
        }
        let variable = self.variables.get(name).copied();
        let attribute = self.attributes.get(name).copied();
        if variable.is_none() && attribute.is_none() {
            return Err(Fault::at(at, format!("There is no variable named {name:?}")));
        }
        let kind = variable.and_then(|block| block.attribute("type")).map(types::parse).transpose()?;
        let default = match attribute.or_else(|| variable.and_then(|block| block.attribute("default"))) {
            Some(expr) => {
                let value = self.value(expr, &Scope::default())?;
                let typed = kind.as_ref().map_or_else(|| Ok(value.clone()), |kind| convert(&value, kind));
                let place =
                    |reason| Fault::at(expr.at, format!("invalid type: {name} default value: {reason}"));
                typed.map_err(place)?
            }
            None if kind.is_some() => Value::Null,
            None => Value::text(""),
        };
        let Some(block) = variable else { return Ok(default) };
        let given = self.given(name, kind.as_ref(), &default);
        Ok(given.map_err(|reason| Fault::at(block.at, reason))?.unwrap_or(default))
    }

    /// The value that the outside gives to a variable.
    fn given(
        &self,
        name: &str,
        kind: Option<&Type>,
        default: &Value,
    ) -> std::result::Result<Option<Value>, String> {
        if let Some(kind) = kind {
            let json = format!("{name}_JSON");
            let taken =
                self.variables.contains_key(json.as_str()) || self.outside.builtin.contains_key(&json);
            if let (false, Some(text)) = (taken, self.outside.given(&json)) {
                return from_json(text, kind)
                    .map(Some)
                    .map_err(|reason| format!("failed to convert {name} from JSON: {reason}"));
            }
        }
        let Some(text) = self.outside.given(name) else { return Ok(None) };
        let kind = match (kind, default) {
            (Some(kind), _) => kind.clone(),
            (None, Value::Null | Value::String(_)) => Type::String,
            (None, Value::Bool(_)) => Type::Bool,
            (None, Value::Number(_)) => Type::Number,
            (None, _) => return Err(format!("unsupported type {} for variable {name}", default.kind())),
        };
        from_text(name, text, &kind).map(Some)
    }
}

/// JSON as a type, without the conversions from text that expressions allow.
fn from_json(text: &str, kind: &Type) -> std::result::Result<Value, String> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = Value::from_json(&json).ok_or("a number is too large")?;
    if !fits(&value, kind) {
        return Err(format!("{kind} is required"));
    }
    convert(&value, kind)
}

/// Whether primitives are of the types that are asked for.
fn fits(value: &Value, kind: &Type) -> bool {
    match (value, kind) {
        (Value::Null, _) | (_, Type::Any) => true,
        (Value::Bool(_), kind) => *kind == Type::Bool,
        (Value::Number(_), kind) => matches!(kind, Type::Number | Type::String),
        (Value::String(_), kind) => *kind == Type::String,
        (Value::Tuple(elements), Type::List(kind) | Type::Set(kind)) => {
            elements.iter().all(|element| fits(element, kind))
        }
        (Value::Tuple(elements), Type::Tuple(kinds)) => {
            elements.iter().zip(kinds).all(|(element, kind)| fits(element, kind))
        }
        (Value::Object(entries), Type::Map(kind)) => entries.values().all(|value| fits(value, kind)),
        (Value::Object(entries), Type::Object(fields)) => {
            entries.iter().all(|(name, value)| fields.get(name).is_none_or(|field| fits(value, &field.kind)))
        }
        _ => false,
    }
}

/// The text of an environment variable as a type: collections are comma-separated.
fn from_text(name: &str, text: &str, kind: &Type) -> std::result::Result<Value, String> {
    let unsupported = || format!("unsupported type {kind} for variable {name}");
    let primitive = |kind: &Type| if kind.is_primitive() { Ok(()) } else { Err(unsupported()) };
    let csv = || fields(text).map_err(|reason| format!("failed to convert {name} from CSV: {reason}"));
    let element = |text: &str, kind: &Type| {
        one(text, kind)
            .map_err(|reason| format!("failed to convert {name} from CSV: failed to parse element {reason}"))
    };
    match kind {
        Type::Any => Ok(Value::text(text)),
        Type::Bool | Type::Number | Type::String => {
            one(text, kind).map_err(|_| format!("failed to parse {name} as {kind}"))
        }
        Type::List(inner) | Type::Set(inner) => {
            primitive(inner)?;
            let elements = csv()?.iter().map(|text| element(text, inner)).collect::<TextResult<_>>()?;
            Ok(if matches!(kind, Type::Set(_)) { Value::set(elements) } else { Value::List(elements) })
        }
        Type::Tuple(kinds) => {
            kinds.iter().try_for_each(primitive)?;
            let fields = csv()?;
            if fields.len() != kinds.len() {
                return Err(format!("{name} is a tuple of {} elements, not {}", kinds.len(), fields.len()));
            }
            let elements = fields.iter().zip(kinds).map(|(text, kind)| element(text, kind));
            Ok(Value::Tuple(elements.collect::<TextResult<_>>()?))
        }
        Type::Map(inner) => {
            primitive(inner)?;
            let entries =
                csv()?.into_iter().map(|field| match field.split(':').collect::<Vec<_>>().as_slice() {
                    [key, value] => Ok(((*key).to_owned(), element(value, inner)?)),
                    _ => Err(format!("failed to parse {field:?} of {name}: expected one k/v pair")),
                });
            Ok(Value::Map(entries.collect::<TextResult<_>>()?))
        }
        Type::Object(_) => Err(unsupported()),
    }
}

type TextResult<T> = std::result::Result<T, String>;

fn one(text: &str, kind: &Type) -> TextResult<Value> {
    let value = match kind {
        Type::Bool => parse_bool(text).map(Value::Bool),
        Type::Number => Number::parse(text).map(Value::Number),
        _ => Some(Value::text(text)),
    };
    value.ok_or_else(|| format!("{text:?} as {kind}"))
}
