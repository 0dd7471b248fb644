//! Variables in the order in which they were set first.
//!
//! A stage goes on with the variables of its base, and a file may have thousands of stages with thousands of variables: so copies share
//! what they have in common. The variables are the leaves of a tree, by the hashes of their names, four bits a level; setting one copies
//! the few nodes above it, and only those that are shared.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Names and values. A name that is set again keeps its place. A clone costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    root: Option<Arc<Tree>>,
    /// Of names; with keys of its own, so that nobody can write names that hash alike.
    state: RandomState,
    len: usize,
}

/// How many bits of a hash decide at each level.
const BITS: u32 = 4;

#[derive(Clone, Debug)]
enum Tree {
    Branch([Option<Arc<Tree>>; 1 << BITS]),
    /// All variables of one hash: but for the rarest of accidents, one.
    Leaf(u64, Vec<Variable>),
}

#[derive(Clone, Debug)]
struct Variable {
    /// How many were set before it.
    place: usize,
    name: String,
    value: String,
}

impl Tree {
    /// Which branch leads to a hash.
    fn branch(hash: u64, level: u32) -> usize {
        // Four bits fit anything; below the last level there are leaves alone.
        usize::from((hash.checked_shr(level * BITS).unwrap_or(0) & ((1 << BITS) - 1)) as u8)
    }

    /// Sets a variable; whether there was none of this name.
    fn set(slot: &mut Option<Arc<Self>>, (hash, level): (u64, u32), new: Variable) -> bool {
        let Some(tree) = slot else {
            *slot = Some(Arc::new(Self::Leaf(hash, vec![new])));
            return true;
        };
        if let Self::Leaf(other, _) = &**tree
            && *other != hash
        {
            // Two hashes that differ part ways somewhere below.
            let mut branches: [Option<Arc<Self>>; 1 << BITS] = Default::default();
            branches[Self::branch(*other, level)] = Some(Arc::clone(tree));
            *tree = Arc::new(Self::Branch(branches));
        }
        match Arc::make_mut(tree) {
            Self::Branch(branches) => {
                Self::set(&mut branches[Self::branch(hash, level)], (hash, level + 1), new)
            }
            Self::Leaf(_, variables) => match variables.iter_mut().find(|one| one.name == new.name) {
                Some(known) => {
                    known.value = new.value;
                    false
                }
                None => {
                    variables.push(new);
                    true
                }
            },
        }
    }

    fn collect<'a>(&'a self, into: &mut Vec<&'a Variable>) {
        match self {
            Self::Branch(branches) => branches.iter().flatten().for_each(|tree| tree.collect(into)),
            Self::Leaf(_, variables) => into.extend(variables),
        }
    }
}

impl Environment {
    /// The value of a variable that is set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let hash = self.state.hash_one(name);
        let (mut tree, mut level) = (self.root.as_deref()?, 0);
        loop {
            match tree {
                Tree::Branch(branches) => tree = branches[Tree::branch(hash, level)].as_deref()?,
                Tree::Leaf(_, variables) => {
                    return variables.iter().find(|one| one.name == name).map(|one| one.value.as_str());
                }
            }
            level += 1;
        }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether it is set.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a variable.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        let hash = self.state.hash_one(name.as_str());
        let new = Variable { place: self.len, name, value };
        self.len += usize::from(Tree::set(&mut self.root, (hash, 0), new));
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut variables = Vec::with_capacity(self.len);
        if let Some(root) = &self.root {
            root.collect(&mut variables);
        }
        variables.sort_unstable_by_key(|variable| variable.place);
        variables.into_iter().map(|variable| (variable.name.as_str(), variable.value.as_str()))
    }

    /// The names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// `NAME=value` for each, as image configs and processes have it.
    #[must_use]
    pub fn to_strings(&self) -> Vec<String> {
        self.iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// From `NAME=value`; a string without `=` is a name with an empty value.
    pub fn from_strings<'a>(strings: impl IntoIterator<Item = &'a str>) -> Self {
        let mut env = Self::default();
        for string in strings {
            let (name, value) = string.split_once('=').unwrap_or((string, ""));
            env.set(name, value);
        }
        env
    }
}

impl PartialEq for Environment {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Environment {}

impl<'a> FromIterator<(&'a str, &'a str)> for Environment {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut env = Self::default();
        for (name, value) in pairs {
            env.set(name, value);
        }
        env
    }
}
