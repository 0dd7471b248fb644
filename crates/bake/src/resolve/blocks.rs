//! Targets and groups: their names, which a matrix may multiply, and their attributes.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use super::{Instance, Resolver};
use crate::definition::{Config, Definition, GROUP, Group, Shape, TARGET, unique};
use crate::document::Block;
use crate::error::{Error, Fault};
use crate::eval::{Result, Scope};
use crate::expr::Spot;
use crate::value::Value;

/// How many targets one matrix may make.
const MAX_MATRIX: usize = 1024;
/// How many targets and groups files may define.
const MAX_BLOCKS: usize = 16 * 1024;

fn kind_of(block: &Block) -> &'static str {
    if block.kind == "group" { "group" } else { "target" }
}

fn shapes(kind: &str) -> &'static [(&'static str, Shape)] {
    if kind == "group" { GROUP } else { TARGET }
}

/// Whether a target or a group may be called that.
pub(crate) fn check_name(name: &str) -> std::result::Result<(), String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(format!("invalid name {name:?}: only \"[a-zA-Z0-9_-]+\" are allowed"))
    }
}

impl<'a> Resolver<'a> {
    /// Whether `name` stands for all blocks of a kind.
    pub(crate) fn is_block_kind(&self, name: &str) -> bool {
        self.by_name.is_some() && matches!(name, "target" | "group")
    }

    /// Gives all blocks their names.
    pub(super) fn name_blocks(&mut self) -> Result<()> {
        for block in self.blocks.clone() {
            check_name(&block.label).map_err(|reason| Fault::at(block.at, reason))?;
            let rounds = self.rounds(block)?;
            let mut seen = HashSet::new();
            for locals in rounds {
                let name = self.name(block, &locals)?;
                if !seen.insert(name.clone()) {
                    return Err(Fault::at(block.at, format!("duplicate name {name:?}")));
                }
                self.instances.push(Instance { name, block, locals: Rc::new(locals) });
                if self.instances.len() > MAX_BLOCKS {
                    return Err(limit("targets and groups", MAX_BLOCKS));
                }
            }
        }
        let mut by_name: std::collections::HashMap<_, Vec<usize>> = std::collections::HashMap::new();
        for (at, instance) in self.instances.iter().enumerate() {
            by_name.entry((kind_of(instance.block), instance.name.clone())).or_default().push(at);
        }
        self.by_name = Some(by_name);
        Ok(())
    }

    /// The values of a block's matrix, all with all; one round without names where it has none.
    fn rounds(&mut self, block: &'a Block) -> Result<Vec<BTreeMap<String, Value>>> {
        let Some(matrix) = block.attribute("matrix") else { return Ok(vec![BTreeMap::new()]) };
        if block.kind == "group" {
            return Err(Fault::at(matrix.at, "matrix is not supported for groups"));
        }
        let value = self.value(matrix, &Scope::default())?;
        let axes = value.entries().ok_or_else(|| Fault::at(matrix.at, "matrix must be a map"))?;
        let mut rounds = vec![BTreeMap::new()];
        for (name, values) in axes {
            let values: Vec<&Value> = match (values.elements(), values.entries()) {
                (Some(elements), _) => elements.iter().collect(),
                (None, Some(entries)) => entries.values().collect(),
                (None, None) => return Err(Fault::at(matrix.at, "matrix values must be a list")),
            };
            if rounds.len().saturating_mul(values.len()) > MAX_MATRIX {
                return Err(limit(&format!("targets of the matrix of {}", block.label), MAX_MATRIX));
            }
            let mut more = Vec::with_capacity(rounds.len() * values.len());
            for value in values {
                for round in &rounds {
                    self.budget.copy(value.weight() + 64)?;
                    let mut round: BTreeMap<String, Value> = round.clone();
                    round.insert(name.clone(), value.clone());
                    more.push(round);
                }
            }
            rounds = more;
        }
        Ok(rounds)
    }

    fn name(&mut self, block: &'a Block, locals: &BTreeMap<String, Value>) -> Result<String> {
        let Some(name) = block.attribute("name") else { return Ok(block.label.clone()) };
        if block.kind == "group" {
            return Err(Fault::at(name.at, "name is not supported for groups"));
        }
        if block.attribute("matrix").is_none() {
            return Err(Fault::at(name.at, "name requires matrix"));
        }
        let text = self.text(name, &Scope::new(locals))?;
        check_name(&text).map_err(|reason| Fault::at(name.at, reason))?;
        Ok(text)
    }

    /// An attribute of a target or a group, as an expression refers to it: of several blocks of that name, of the last
    /// that sets it.
    pub(crate) fn block_attribute(
        &mut self,
        kind: &str,
        name: &str,
        attribute: &str,
        at: Spot,
    ) -> Result<Value> {
        let instances = self.instances_of(kind, name, at)?;
        if attribute == "name" {
            return Ok(Value::text(name));
        }
        let Some((attribute, shape)) = shapes(kind).iter().find(|(known, _)| *known == attribute) else {
            return Err(Fault::at(
                at,
                format!("{kind} {name} does not have an attribute named {attribute:?}"),
            ));
        };
        let setting = |at: &&usize| self.instances[**at].block.attribute(attribute).is_some();
        match instances.iter().rev().find(setting).copied() {
            Some(instance) => self.instance_attribute(instance, attribute, *shape),
            None => Ok(shape.unset()),
        }
    }

    /// All of a target or a group.
    pub(crate) fn block_object(&mut self, kind: &str, name: &str, at: Spot) -> Result<Value> {
        let mut object = BTreeMap::from([("name".to_owned(), Value::text(name))]);
        for (attribute, _) in shapes(kind) {
            let value = self.block_attribute(kind, name, attribute, at)?;
            object.insert((*attribute).to_owned(), value);
        }
        Ok(Value::Object(object))
    }

    fn instances_of(&self, kind: &str, name: &str, at: Spot) -> Result<Vec<usize>> {
        let kind = if kind == "group" { "group" } else { "target" };
        let instances = self.by_name.as_ref().and_then(|by_name| by_name.get(&(kind, name.to_owned())));
        instances.cloned().ok_or_else(|| {
            Fault::at(
                at,
                format!("{kind} does not have an attribute named {name:?}: there is no such {kind}"),
            )
        })
    }

    fn instance_attribute(&mut self, instance: usize, name: &'static str, shape: Shape) -> Result<Value> {
        if let Some(value) = self.evaluated.get(&(instance, name)) {
            let value = value.clone();
            self.budget.copy(value.weight())?;
            return Ok(value);
        }
        let Instance { name: target, block, locals } = &self.instances[instance];
        let (block, locals) = (*block, Rc::clone(locals));
        let Some(expr) = block.attribute(name) else { return Ok(shape.unset()) };
        let link = format!("{}.{target}.{name}", block.kind);
        let value = self.within("reference", link, |it| it.value(expr, &Scope::new(&locals)))?;
        let value = shape.read(&value).map_err(|reason| {
            Fault::at(
                expr.at,
                format!("{name} of {} {}: {reason}", block.kind, self.instances[instance].name),
            )
        })?;
        self.budget.copy(2 * value.weight())?;
        self.evaluated.insert((instance, name), value.clone());
        Ok(value)
    }

    /// Evaluates all blocks, into what files say of targets and groups.
    pub(super) fn define(&mut self, config: &mut Config) -> Result<()> {
        let mut renamed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for at in 0..self.instances.len() {
            let (block, name) = (self.instances[at].block, self.instances[at].name.clone());
            if block.kind == "group" {
                let group = self.group(at, block)?;
                config.set_group(name, group);
                continue;
            }
            renamed.entry(block.label.clone()).or_default().push(name.clone());
            let definition = self.definition(at, block, name)?;
            config.add(definition);
        }
        for (label, names) in renamed {
            let targets = unique(names);
            if targets != [label.as_str()] {
                config.append_group(label, Group { description: None, targets });
            }
        }
        for (_, group) in &mut config.groups {
            group.targets = unique(std::mem::take(&mut group.targets));
        }
        Ok(())
    }

    fn group(&mut self, at: usize, block: &'a Block) -> Result<Group> {
        let mut group = Group::default();
        for (attribute, shape) in GROUP {
            group.set(attribute, &self.instance_attribute(at, attribute, *shape)?);
        }
        if block.attribute("targets").is_none() {
            return Err(Fault::at(block.at, format!("group {} needs targets", block.label)));
        }
        Ok(group)
    }

    fn definition(&mut self, at: usize, block: &'a Block, name: String) -> Result<Definition> {
        let mut definition = Definition::new(name);
        for (attribute, shape) in TARGET {
            let Some(expr) = block.attribute(attribute) else { continue };
            let value = self.instance_attribute(at, attribute, *shape)?;
            if !value.is_null() {
                definition.set(attribute, &value).map_err(|reason| Fault::at(expr.at, reason))?;
            }
        }
        Ok(definition)
    }
}

fn limit(what: &str, limit: usize) -> Fault {
    Error::Limit { what: what.to_owned(), limit: limit as u64 }.into()
}
