//! Variables, functions and blocks of all files: what refers to what, found when it is asked for.
//!
//! Nothing is evaluated before it is needed, and nothing twice. What is being evaluated stands in [`Resolver::chain`]:
//! whoever comes back to it has found a circle, and the chain says through what.

mod blocks;
mod variables;

pub(crate) use blocks::check_name;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use crate::definition::Config;
use crate::document::{Attribute, Block, Document};
use crate::error::{Error, Fault};
use crate::eval::{Budget, Result, Scope};
use crate::expr::{Expr, Kind, Spot};
use crate::functions::{self, Host};
use crate::value::Value;

/// A variable, as `--list variables` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Its type, where one is declared.
    pub kind: Option<String>,
    /// Its value as text; `None` for null, and for what must not be shown.
    pub value: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// A target or group that a block makes; a block with a matrix makes several.
struct Instance<'a> {
    name: String,
    block: &'a Block,
    locals: Rc<BTreeMap<String, Value>>,
}

/// What the caller says of the outside.
pub(crate) struct Outside<'a> {
    /// Environment variables.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// Values of variables that go before the environment.
    pub(crate) variables: &'a BTreeMap<String, String>,
    /// Variables that are there without being declared.
    pub(crate) builtin: BTreeMap<String, String>,
}

impl Outside<'_> {
    /// The value that is given to a variable.
    pub(crate) fn given(&self, name: &str) -> Option<&String> {
        self.variables.get(name).or_else(|| self.environment.get(name))
    }
}

/// Everything that files define, and what is known of it so far.
pub(crate) struct Resolver<'a> {
    pub(crate) budget: Budget,
    pub(crate) host: Host,
    outside: &'a Outside<'a>,
    variables: BTreeMap<&'a str, &'a Block>,
    attributes: BTreeMap<&'a str, &'a Expr>,
    functions: BTreeMap<&'a str, &'a Block>,
    blocks: Vec<&'a Block>,
    instances: Vec<Instance<'a>>,
    /// Instances by kind and name; `None` until all have names.
    by_name: Option<HashMap<(&'static str, String), Vec<usize>>>,
    values: HashMap<String, Value>,
    evaluated: HashMap<(usize, &'static str), Value>,
    chain: Vec<String>,
}

impl<'a> Resolver<'a> {
    /// Gathers the definitions; of two variables, functions or attributes of one name, the later is taken.
    pub(crate) fn new(documents: &'a [Document], outside: &'a Outside<'a>, host: Host) -> Result<Self> {
        let mut it = Self {
            budget: Budget::default(),
            host,
            outside,
            variables: BTreeMap::new(),
            attributes: BTreeMap::new(),
            functions: BTreeMap::new(),
            blocks: Vec::new(),
            instances: Vec::new(),
            by_name: None,
            values: HashMap::new(),
            evaluated: HashMap::new(),
            chain: Vec::new(),
        };
        let reserved = |name: &str| matches!(name, "target" | "group") || outside.builtin.contains_key(name);
        for document in documents {
            for Attribute { name, value } in &document.attributes {
                if !reserved(name) {
                    it.attributes.insert(name, value);
                }
            }
            for block in &document.blocks {
                match block.kind.as_str() {
                    "target" | "group" => it.blocks.push(block),
                    "variable" if !reserved(&block.label) => {
                        it.variables.insert(&block.label, block);
                    }
                    "function" if !reserved(&block.label) => {
                        check_function(block)?;
                        it.functions.insert(&block.label, block);
                    }
                    "variable" | "function" => {}
                    // Blocks of kinds that are not known are left alone, as the original leaves them.
                    _ => continue,
                }
                if block.label.is_empty() {
                    return Err(Fault::at(block.at, format!("a block {} needs a name", block.kind)));
                }
            }
        }
        Ok(it)
    }

    /// Evaluates everything: what the files define, and the variables.
    pub(crate) fn resolve(&mut self, config: &mut Config) -> Result<Vec<Variable>> {
        self.name_blocks()?;
        let variables = self.resolve_variables()?;
        self.define(config)?;
        for (name, expr) in self.attributes.clone() {
            self.global(name, expr.at)?;
        }
        Ok(variables)
    }

    /// The value of a variable that was resolved.
    pub(crate) fn known(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// Evaluates something that has a name, unless it is being evaluated.
    fn within<T>(
        &mut self,
        kind: &'static str,
        name: String,
        evaluate: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        if let Some(start) = self.chain.iter().position(|link| *link == name) {
            let mut chain = self.chain[start..].to_vec();
            chain.push(name);
            return Err(Error::Cycle { kind, chain }.into());
        }
        self.chain.push(name);
        let result = evaluate(self);
        self.chain.pop();
        result
    }

    /// Calls a function that a file defines.
    pub(crate) fn user_function(&mut self, name: &'a str, arguments: Vec<Value>, at: Spot) -> Result<Value> {
        let Some(block) = self.functions.get(name).copied() else {
            return Err(Fault::at(at, functions::unknown(name)));
        };
        let parameters = parameters(block);
        let variadic = block.attribute("variadic_params").and_then(Expr::keyword);
        if arguments.len() < parameters.len() || (variadic.is_none() && arguments.len() > parameters.len()) {
            let wanted = parameters.len();
            return Err(Fault::at(at, format!("{name} takes {wanted} arguments, not {}", arguments.len())));
        }
        let mut names = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        for (parameter, argument) in parameters.into_iter().zip(arguments.by_ref()) {
            names.insert(parameter.to_owned(), argument);
        }
        if let Some(variadic) = variadic {
            names.insert(variadic.to_owned(), Value::Tuple(arguments.collect()));
        }
        let Some(result) = block.attribute("result") else {
            return Err(Fault::at(block.at, format!("function {name} has no result")));
        };
        self.within("function", format!("{name}()"), |it| it.value(result, &Scope::new(&names)))
    }
}

/// The names that a function gives its arguments.
fn parameters(block: &Block) -> Vec<&str> {
    match block.attribute("params").map(|params| &params.kind) {
        Some(Kind::Tuple(names)) => names.iter().filter_map(Expr::keyword).collect(),
        _ => Vec::new(),
    }
}

fn check_function(block: &Block) -> Result<()> {
    let name = &block.label;
    let Some(params) = block.attribute("params") else {
        return Err(Fault::at(block.at, format!("empty params not allowed for {name}")));
    };
    if block.attribute("result").is_none() {
        return Err(Fault::at(block.at, format!("empty result not allowed for {name}")));
    }
    let Kind::Tuple(names) = &params.kind else {
        return Err(Fault::at(params.at, format!("params of {name} must be a list")));
    };
    for name in names.iter().chain(block.attribute("variadic_params")) {
        if name.keyword().is_none() {
            return Err(Fault::at(name.at, "each parameter name must be an identifier"));
        }
    }
    Ok(())
}
