//! Which packages belong together: what is wanted, and all that it depends on.
//!
//! Relations with one candidate are settled first, so that a choice is made only where nothing else makes it; then
//! the first that is left is tried: alternatives in the order in which they are written, real packages before those that
//! provide the name (by priority, then by name), newer versions before older ones. A choice that leads to a conflict is
//! taken back. Equal inputs give equal selections.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use crate::package::{Priority, Universe};
use crate::relation::{Relation, parse_relations};
use crate::{Error, Version};

/// What is there beside what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Nothing.
    None,
    /// All essential packages, those of priority required, and `apt`: what debootstrap calls `minbase`.
    Minimal,
}

/// What to select.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// `name` or `name=version`.
    pub packages: &'w [String],
    /// What else.
    pub base: Base,
    /// Whether the first, a package, can do without what it depends on, the second.
    pub omit: &'w dyn Fn(&str, &str) -> bool,
    /// Names that come before other alternatives, wherever they stand among them.
    pub prefer: &'w [&'w str],
}

/// For [`Wanted::omit`]: everything is needed.
#[must_use]
pub fn nothing_omitted(_: &str, _: &str) -> bool {
    false
}

/// Packages that belong together, as places in [`Universe::packages`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// By name.
    pub packages: Vec<usize>,
    /// The same in groups: what a package needs before it can even be unpacked (`Pre-Depends`) is in a group before its
    /// own, unless they need each other.
    pub stages: Vec<Vec<usize>>,
    /// What [`Base`] asks for and all that it depends on, by name.
    pub core: Vec<usize>,
}

/// Why there is no selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum Unresolved {
    #[error("{name:?} is no package: wanted is NAME or NAME=VERSION")]
    Request { name: String },
    #[error("the archive has no package {name}")]
    NoSuchPackage { name: String },
    #[error("the archive has no version {version} of {name}, but {there}")]
    NoSuchVersion { name: String, version: String, there: String },
    #[error("{by} needs {relation}, which no package of the archive fulfils")]
    Missing { by: String, relation: String },
    #[error("{by} needs {relation}, but {reason}")]
    Refused { by: String, relation: String, reason: String },
    #[error("the dependencies are too entangled: {attempts} choices led nowhere; the first: {first}")]
    Entangled { attempts: u32, first: Box<Unresolved> },
    #[error("{package} cannot be used")]
    Package {
        package: String,
        #[source]
        source: Error,
    },
}

/// Choices that may be taken back.
const ATTEMPTS: u32 = 2000;

/// Selects packages.
///
/// # Errors
/// What is missing, or what conflicts with what.
pub fn resolve(universe: &Universe<'_>, wanted: Wanted<'_>) -> Result<Selection, Unresolved> {
    let mut solver = Solver { universe, omit: wanted.omit, prefer: wanted.prefer, needs: HashMap::new() };
    let mut state = State::default();
    for request in wanted.packages {
        state.open.push_back(requested(universe, request)?);
    }
    let base = if wanted.base == Base::Minimal { minimal(universe) } else { BTreeSet::new() };
    for name in &base {
        state.open.push_back(Rc::new(Group::of("a minimal system", name)));
    }
    let chosen = solver.solve(state)?;
    let stages = solver.stages(&chosen)?;
    let base = chosen.iter().filter(|(name, _)| base.contains(*name)).map(|(_, at)| *at).collect();
    let core = solver.closure(&chosen, base)?;
    let core = chosen.values().copied().filter(|at| core.contains(at)).collect();
    Ok(Selection { packages: chosen.into_values().collect(), stages, core })
}

/// One of these must be there.
#[derive(Debug)]
struct Group<'u> {
    by: String,
    alternatives: Vec<Relation<'u>>,
}

impl<'u> Group<'u> {
    fn of(by: &str, name: &'u str) -> Group<'u> {
        Group { by: by.to_owned(), alternatives: vec![Relation { name, architecture: None, versions: None }] }
    }

    fn shown(&self) -> String {
        self.alternatives.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")
    }
}

fn minimal<'u>(universe: &Universe<'u>) -> BTreeSet<&'u str> {
    let packages = universe.newest().map(|at| &universe.packages()[at]);
    let base = packages.filter(|package| package.essential || package.priority == Priority::Required);
    base.map(|package| package.name).chain(["apt"]).collect()
}

fn requested<'u>(universe: &Universe<'u>, request: &str) -> Result<Rc<Group<'u>>, Unresolved> {
    let (name, version) = match request.split_once('=') {
        Some((name, version)) => (name, Some(version)),
        None => (request, None),
    };
    let malformed = || Unresolved::Request { name: request.chars().take(80).collect() };
    if !crate::package::is_package_name(name) {
        return Err(malformed());
    }
    let versions = universe.versions(name);
    let first = versions.first().ok_or_else(|| Unresolved::NoSuchPackage { name: name.to_owned() })?;
    let mut group = Group::of("the request", universe.packages()[*first].name);
    if let Some(version) = version {
        let exact: Version = version.parse().map_err(|_| malformed())?;
        let known: Vec<&str> = versions.iter().map(|at| universe.packages()[*at].version.as_str()).collect();
        if !versions.iter().any(|at| universe.packages()[*at].version == exact) {
            let (version, there) = (version.to_owned(), known.join(", "));
            return Err(Unresolved::NoSuchVersion { name: name.to_owned(), version, there });
        }
        group.alternatives[0].versions = Some((crate::Operator::Equal, exact));
    }
    Ok(Rc::new(group))
}

/// What has been settled, and what has not.
#[derive(Clone, Debug, Default)]
struct State<'u> {
    chosen: BTreeMap<&'u str, usize>,
    /// In the order in which they came up.
    open: VecDeque<Rc<Group<'u>>>,
    /// Those of them that leave a choice.
    deferred: VecDeque<Rc<Group<'u>>>,
}

/// What a package asks of others.
#[derive(Debug)]
struct Needs<'u> {
    groups: Vec<Rc<Group<'u>>>,
    before: Vec<Vec<Relation<'u>>>,
    against: Vec<Relation<'u>>,
}

struct Solver<'s, 'u> {
    universe: &'s Universe<'u>,
    omit: &'s dyn Fn(&str, &str) -> bool,
    prefer: &'s [&'s str],
    needs: HashMap<usize, Rc<Needs<'u>>>,
}

/// A choice of which not everything has been tried.
struct Branch<'u> {
    state: State<'u>,
    rest: VecDeque<usize>,
}

impl<'u> Solver<'_, 'u> {
    fn solve(&mut self, mut state: State<'u>) -> Result<BTreeMap<&'u str, usize>, Unresolved> {
        let mut branches: Vec<Branch<'u>> = Vec::new();
        let mut first = None;
        for _ in 0..ATTEMPTS {
            let failure = match self.advance(&mut state, &mut branches) {
                Ok(()) => return Ok(state.chosen),
                Err(failure @ Unresolved::Package { .. }) => return Err(failure),
                Err(failure) => failure,
            };
            let first = first.get_or_insert(failure);
            // The last choice that leaves something else to try.
            loop {
                let Some(branch) = branches.last_mut() else { return Err(first.clone()) };
                if let Some(next) = branch.rest.pop_front() {
                    state = branch.state.clone();
                    self.choose(&mut state, next)?;
                    break;
                }
                branches.pop();
            }
        }
        let first = first.unwrap_or(Unresolved::Request { name: String::new() });
        Err(Unresolved::Entangled { attempts: ATTEMPTS, first: Box::new(first) })
    }

    /// Settles everything, and leaves a branch at each choice.
    fn advance(&mut self, state: &mut State<'u>, branches: &mut Vec<Branch<'u>>) -> Result<(), Unresolved> {
        loop {
            let may_defer = !state.open.is_empty();
            let Some(group) = state.open.pop_front().or_else(|| state.deferred.pop_front()) else {
                return Ok(());
            };
            if group.alternatives.iter().any(|relation| self.is_fulfilled(state, relation)) {
                continue;
            }
            let candidates = self.candidates(&group);
            let names: BTreeSet<&str> =
                candidates.iter().map(|at| self.universe.packages()[*at].name).collect();
            if may_defer && names.len() > 1 {
                state.deferred.push_back(group);
                continue;
            }
            let mut possible = VecDeque::new();
            let mut reason = None;
            for at in candidates {
                match self.objection(state, at)? {
                    None => possible.push_back(at),
                    Some(objection) => reason = reason.or(Some(objection)),
                }
            }
            let Some(next) = possible.pop_front() else {
                let (by, relation) = (group.by.clone(), group.shown());
                return Err(match reason {
                    Some(reason) => Unresolved::Refused { by, relation, reason },
                    None => Unresolved::Missing { by, relation },
                });
            };
            if !possible.is_empty() {
                branches.push(Branch { state: state.clone(), rest: possible });
            }
            self.choose(state, next)?;
        }
    }

    fn choose(&mut self, state: &mut State<'u>, at: usize) -> Result<(), Unresolved> {
        state.chosen.insert(self.universe.packages()[at].name, at);
        state.open.extend(self.needs(at)?.groups.iter().cloned());
        Ok(())
    }

    fn is_fulfilled(&self, state: &State<'u>, relation: &Relation<'_>) -> bool {
        let is_chosen = |at: usize| state.chosen.get(self.universe.packages()[at].name) == Some(&at);
        self.fulfilling(relation).any(is_chosen)
    }

    /// What fulfils a relation, best first, but for providers, which are in no order.
    fn fulfilling<'r>(&'r self, relation: &'r Relation<'_>) -> impl Iterator<Item = usize> + 'r {
        let packages = self.universe.packages();
        let here = |at: &usize| match relation.architecture {
            None | Some("any") => true,
            Some(name) => packages[*at].architecture == name,
        };
        let real = self.universe.versions(relation.name).iter();
        let real = real.filter(|at| relation.admits(Some(&packages[**at].version))).copied();
        let providers = self.universe.providers(relation.name).iter();
        let providers = providers.filter(|(_, version)| relation.admits(version.as_ref())).map(|(at, _)| *at);
        real.chain(providers).filter(here)
    }

    /// All that fulfils a group, best first.
    fn candidates(&self, group: &Group<'_>) -> Vec<usize> {
        let packages = self.universe.packages();
        let mut all = Vec::new();
        let (first, others): (Vec<_>, Vec<_>) =
            group.alternatives.iter().partition(|relation| self.prefer.contains(&relation.name));
        for relation in first.into_iter().chain(others) {
            let (mut real, mut providing): (Vec<usize>, Vec<usize>) =
                self.fulfilling(relation).partition(|at| packages[*at].name == relation.name);
            providing.sort_by(|left, right| {
                let (left, right) = (&packages[*left], &packages[*right]);
                let key = |package: &crate::Package<'u>| (package.priority, package.name, package.source);
                key(left).cmp(&key(right)).then_with(|| right.version.cmp(&left.version))
            });
            all.append(&mut real);
            all.append(&mut providing);
        }
        let mut seen = BTreeSet::new();
        all.retain(|at| seen.insert(*at));
        all
    }

    /// Why a package cannot join the chosen ones.
    fn objection(&mut self, state: &State<'u>, at: usize) -> Result<Option<String>, Unresolved> {
        let universe = self.universe;
        let package = &universe.packages()[at];
        if let Some(other) = state.chosen.get(package.name) {
            let other = &universe.packages()[*other];
            return Ok(Some(format!("{} is chosen already", other.full_name())));
        }
        let told = |who: usize, relation: &Relation<'_>, whom: usize| {
            let (who, whom) = (universe.packages()[who].full_name(), universe.packages()[whom].full_name());
            Some(format!("{who} conflicts with {relation}, which {whom} fulfils"))
        };
        let needs = self.needs(at)?;
        for relation in &needs.against {
            let chosen = |other: &usize| state.chosen.get(universe.packages()[*other].name) == Some(other);
            if let Some(other) = self.fulfilling(relation).find(chosen) {
                return Ok(told(at, relation, other));
            }
        }
        for other in state.chosen.values() {
            let needs = self.needs(*other)?;
            if let Some(relation) =
                needs.against.iter().find(|relation| self.fulfilling(relation).any(|one| one == at))
            {
                return Ok(told(*other, relation, at));
            }
        }
        Ok(None)
    }

    fn needs(&mut self, at: usize) -> Result<Rc<Needs<'u>>, Unresolved> {
        if let Some(known) = self.needs.get(&at) {
            return Ok(Rc::clone(known));
        }
        let package = &self.universe.packages()[at];
        let needed = |group: &Vec<Relation<'_>>| {
            !group.iter().any(|relation| (self.omit)(package.name, relation.name))
        };
        let field = |field| {
            parse_relations(field, package.stanza.get(field).unwrap_or(""))
                .map_err(|source| Unresolved::Package { package: package.full_name(), source })
        };
        let before: Vec<_> = field("Pre-Depends")?.into_iter().filter(needed).collect();
        let groups = before.iter().cloned().chain(field("Depends")?.into_iter().filter(needed));
        let by = package.full_name();
        let groups = groups.map(|alternatives| Rc::new(Group { by: by.clone(), alternatives })).collect();
        let against = field("Conflicts")?.into_iter().chain(field("Breaks")?).flatten().collect();
        let needs = Rc::new(Needs { groups, before, against });
        self.needs.insert(at, Rc::clone(&needs));
        Ok(needs)
    }

    /// Groups of packages, each behind those that its own `Pre-Depends` name, and what those depend on.
    fn stages(&mut self, chosen: &BTreeMap<&'u str, usize>) -> Result<Vec<Vec<usize>>, Unresolved> {
        let mut waiting: BTreeMap<&str, usize> = chosen.clone();
        let mut stages = Vec::new();
        while !waiting.is_empty() {
            let mut ready = Vec::new();
            for at in waiting.values() {
                if self
                    .closure_before(chosen, *at)?
                    .iter()
                    .all(|one| !waiting.values().any(|left| left == one))
                {
                    ready.push(*at);
                }
            }
            if ready.is_empty() {
                // They need each other; dpkg is told to look away.
                ready.extend(waiting.values());
            }
            waiting.retain(|_, at| !ready.contains(at));
            stages.push(ready);
        }
        Ok(stages)
    }

    /// What must be configured before a package is unpacked, itself left out.
    fn closure_before(
        &mut self,
        chosen: &BTreeMap<&'u str, usize>,
        at: usize,
    ) -> Result<BTreeSet<usize>, Unresolved> {
        let needs = self.needs(at)?;
        let first = needs.before.iter().flat_map(|group| self.among(chosen, group)).collect();
        let mut closure = self.closure(chosen, first)?;
        closure.remove(&at);
        Ok(closure)
    }

    /// These, and all of the chosen that they depend on.
    fn closure(
        &mut self,
        chosen: &BTreeMap<&'u str, usize>,
        mut open: Vec<usize>,
    ) -> Result<BTreeSet<usize>, Unresolved> {
        let mut closure = BTreeSet::new();
        while let Some(one) = open.pop() {
            if closure.insert(one) {
                let needs = self.needs(one)?;
                open.extend(needs.groups.iter().flat_map(|group| self.among(chosen, &group.alternatives)));
            }
        }
        Ok(closure)
    }

    /// Which of the chosen fulfil one of these.
    fn among(&self, chosen: &BTreeMap<&'u str, usize>, alternatives: &[Relation<'u>]) -> Vec<usize> {
        let is_chosen = |one: &usize| chosen.get(self.universe.packages()[*one].name) == Some(one);
        alternatives
            .iter()
            .flat_map(|relation| self.fulfilling(relation).filter(is_chosen).collect::<Vec<_>>())
            .collect()
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
