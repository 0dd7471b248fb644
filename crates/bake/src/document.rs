//! A file as blocks and attributes, from HCL or JSON.

use crate::expr::{Expr, Spot};

/// What a file, or several, say.
#[derive(Debug, Default)]
pub(crate) struct Document {
    /// Attributes outside of blocks: names that expressions may use.
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Block>,
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) value: Expr,
}

#[derive(Debug)]
pub(crate) struct Block {
    /// `target`, `group`, `variable`, `function` or `validation`.
    pub(crate) kind: String,
    /// The name; empty for a block without one.
    pub(crate) label: String,
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) blocks: Vec<Block>,
    pub(crate) at: Spot,
}

/// Kinds of blocks that stand at the top and have a name.
pub(crate) const KINDS: &[&str] = &["target", "group", "variable", "function"];

impl Block {
    pub(crate) fn attribute(&self, name: &str) -> Option<&Expr> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }
}
