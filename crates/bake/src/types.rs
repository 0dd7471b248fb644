//! Type expressions: `string`, `list(number)`, `object({name = string, size = optional(number, 1)})`.

use std::collections::BTreeMap;

use crate::error::Fault;
use crate::expr::{Expr, Kind};
use crate::value::{Field, Type, Value};

type Result<T> = std::result::Result<T, Fault>;

/// Reads a type.
pub(crate) fn parse(expr: &Expr) -> Result<Type> {
    match &expr.kind {
        Kind::Variable(name) => match name.as_str() {
            "any" => Ok(Type::Any),
            "bool" => Ok(Type::Bool),
            "number" => Ok(Type::Number),
            "string" => Ok(Type::String),
            _ => Err(invalid(expr, &format!("{name} is not a valid type"))),
        },
        Kind::Call(call) => {
            let [argument] = call.arguments.as_slice() else {
                return Err(invalid(
                    expr,
                    &format!("{}(…) is not a valid type: it takes one argument", call.name),
                ));
            };
            match call.name.as_str() {
                "list" => Ok(Type::List(Box::new(parse(argument)?))),
                "set" => Ok(Type::Set(Box::new(parse(argument)?))),
                "map" => Ok(Type::Map(Box::new(parse(argument)?))),
                "tuple" => match &argument.kind {
                    Kind::Tuple(elements) => {
                        Ok(Type::Tuple(elements.iter().map(parse).collect::<Result<_>>()?))
                    }
                    _ => Err(invalid(argument, "tuple takes a list of types")),
                },
                "object" => match &argument.kind {
                    Kind::Object(entries) => object(entries),
                    _ => Err(invalid(argument, "object takes a map of types")),
                },
                name => Err(invalid(expr, &format!("{name}(…) is not a valid type"))),
            }
        }
        _ => Err(invalid(expr, "this is not a valid type")),
    }
}

fn object(entries: &[(Expr, Expr)]) -> Result<Type> {
    let mut fields = BTreeMap::new();
    for (name, kind) in entries {
        let Some(name) = name.literal_text().or_else(|| name.keyword()) else {
            return Err(invalid(name, "the name of an attribute must be written out"));
        };
        fields.insert(name.to_owned(), field(kind)?);
    }
    Ok(Type::Object(fields))
}

fn field(expr: &Expr) -> Result<Field> {
    if let Kind::Call(call) = &expr.kind
        && call.name == "optional"
    {
        return match call.arguments.as_slice() {
            [kind] => Ok(Field { kind: parse(kind)?, optional: Some(Value::Null) }),
            [kind, Expr { kind: Kind::Literal(default), .. }] => {
                Ok(Field { kind: parse(kind)?, optional: Some(default.clone()) })
            }
            _ => Err(invalid(expr, "optional takes a type, and a default that is written out")),
        };
    }
    Ok(Field { kind: parse(expr)?, optional: None })
}

fn invalid(expr: &Expr, reason: &str) -> Fault {
    Fault::at(expr.at, reason)
}
