//! Templates: text with values, conditions and loops between.

use super::{Result, Scope, names};
use crate::error::Fault;
use crate::expr::Part;
use crate::resolve::Resolver;
use crate::value::{Type, Value, convert};

impl<'a> Resolver<'a> {
    /// The value of a template: a string, or what its only interpolation is.
    pub(super) fn template(&mut self, parts: &'a [Part], scope: &Scope<'_>) -> Result<Value> {
        if let [Part::Value(expr)] = parts {
            return self.value(expr, scope);
        }
        let mut text = String::new();
        self.append(&mut text, parts, scope)?;
        Ok(Value::String(text))
    }

    fn append(&mut self, text: &mut String, parts: &'a [Part], scope: &Scope<'_>) -> Result<()> {
        for part in parts {
            match part {
                Part::Text(literal) => {
                    self.budget.copy(literal.len() as u64 + 16)?;
                    text.push_str(literal);
                }
                Part::Value(expr) => match convert(&self.value(expr, scope)?, &Type::String) {
                    Ok(Value::String(value)) => {
                        self.budget.copy(value.len() as u64)?;
                        text.push_str(&value);
                    }
                    Ok(_) => return Err(Fault::at(expr.at, "null cannot be part of a string template")),
                    Err(reason) => return Err(Fault::at(expr.at, format!("in a string template: {reason}"))),
                },
                Part::If { condition, then, otherwise } => {
                    let taken = if self.flag(condition, scope)? { then } else { otherwise };
                    self.append(text, taken, scope)?;
                }
                Part::For { key, value, collection, body } => {
                    for (each, element) in self.pairs(collection, scope)? {
                        self.budget.spend(1)?;
                        let names = names(key.as_ref(), value, each, element);
                        self.append(text, body, &scope.inner(&names))?;
                    }
                }
            }
        }
        Ok(())
    }
}
