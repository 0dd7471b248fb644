//! `RUN --device`: which devices a program gets, and whether the build was allowed to give them.
//!
//! The rules are BuildKit's. A device that the Dockerfile names is one, the first of its kind, all of them or a group (`cdi::Registry::find`).
//! `--allow device` allows all; `--allow device=NAME` those that the name means, by the same rules; `--allow device=NAME,alias=OTHER` gives NAME
//! where the Dockerfile says OTHER. What says of itself that every build may have it needs no leave. One that is not there is passed over
//! unless it is required.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::lower::RunOp;

use super::error::RunError;
use super::request::refused;
use crate::Result;
use crate::build::session::Session;
use crate::request::Entitlement;

/// What a build is allowed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Allowed {
    all: bool,
    names: BTreeSet<String>,
    /// What the Dockerfile says, and what is meant.
    aliases: BTreeMap<String, String>,
}

/// The names of the devices that a program gets, each once, in the order of the Dockerfile.
pub(in crate::build) fn granted(session: &Session<'_>, op: &RunOp) -> Result<Vec<String>> {
    if op.devices.is_empty() {
        return Ok(Vec::new());
    }
    let allowed = Allowed::read(&session.request.entitlements).map_err(refused)?;
    allowed.grant(session.devices(), &op.devices).map_err(refused)
}

impl Allowed {
    fn read<'e>(
        entitlements: impl IntoIterator<Item = &'e Entitlement>,
    ) -> std::result::Result<Self, RunError> {
        let mut allowed = Self::default();
        for entitlement in entitlements {
            let Entitlement::Device(text) = entitlement else { continue };
            let wrong = |why| RunError::DeviceEntitlement { text: text.chars().take(120).collect(), why };
            if text.is_empty() {
                allowed.all = true;
                continue;
            }
            let mut fields = text.split(',');
            let name = fields.next().unwrap_or_default().to_owned();
            let mut alias = None;
            for field in fields {
                match field.split_once('=') {
                    Some(("alias", other)) => alias = Some(other.to_owned()),
                    _ => return Err(wrong("only alias=NAME may follow the name")),
                }
            }
            match alias.filter(|alias| !alias.is_empty()) {
                Some(alias) => drop(allowed.aliases.insert(alias, name)),
                None => drop(allowed.names.insert(name)),
            }
        }
        Ok(allowed)
    }

    fn grant(
        &self,
        registry: &cdi::Registry,
        wanted: &[(String, bool)],
    ) -> std::result::Result<Vec<String>, RunError> {
        let mut granted: Vec<&str> = Vec::new();
        let mut named = Vec::new();
        for (name, is_required) in wanted {
            match self.aliases.get(name).filter(|_| !self.all) {
                Some(meant) => granted.extend(registry.find(meant, *is_required)?),
                None => named.extend(registry.find(name, *is_required)?),
            }
        }
        if self.all {
            granted = named;
        } else if !named.is_empty() {
            let mut free = BTreeSet::new();
            for name in &self.names {
                free.extend(registry.find(name, true)?);
            }
            let (yes, no): (Vec<&str>, Vec<&str>) =
                named.into_iter().partition(|name| free.contains(name) || registry.is_auto_allowed(name));
            if !no.is_empty() {
                return Err(RunError::DevicesNotAllowed { names: each_once(no) });
            }
            granted.extend(yes);
        }
        Ok(each_once(granted))
    }
}

fn each_once(names: Vec<&str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.into_iter().filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> cdi::Registry {
        let text = "cdiVersion: 0.6.0\nkind: v.com/c\ndevices:\n\
            - {name: a, containerEdits: {env: [A=1]}}\n- {name: b, containerEdits: {env: [B=1]}}\n\
            - {name: free, annotations: {org.mobyproject.buildkit.device.autoallow: true}, containerEdits: {env: [F=1]}}\n";
        cdi::Registry::new([cdi::File { path: "/x.yaml".into(), text: text.to_owned(), precedence: 0 }])
    }

    fn outcome(allow: &[&str], wanted: &[(&str, bool)]) -> String {
        let entitlements: Vec<_> = allow.iter().map(|text| Entitlement::Device((*text).to_owned())).collect();
        let wanted: Vec<_> = wanted.iter().map(|(name, required)| ((*name).to_owned(), *required)).collect();
        let granted = Allowed::read(&entitlements).and_then(|allowed| allowed.grant(&registry(), &wanted));
        granted.map_or_else(|error| error.to_string(), |names| names.join(" "))
    }

    #[test]
    fn a_build_gives_what_it_was_allowed() {
        for (allow, wanted, expected) in [
            (&[][..], &[("v.com/c=free", true)][..], "v.com/c=free"),
            (&[], &[("v.com/c=x", false)], ""),
            (&[], &[("v.com/c=x", true)], "required device \"v.com/c=x\" is not registered"),
            (&[""], &[("v.com/c=x", true)], "required device \"v.com/c=x\" is not registered"),
            (&[""], &[("v.com/c", false), ("v.com/c=*", false)], "v.com/c=a v.com/c=b v.com/c=free"),
            (&["v.com/c=a"], &[("v.com/c=free", false), ("v.com/c=a", true)], "v.com/c=free v.com/c=a"),
            (&["v.com/c=*"], &[("v.com/c=b", false)], "v.com/c=b"),
            (&["v.com/c"], &[("v.com/c=a", false)], "v.com/c=a"),
            (&["v.com/c=a,alias=w.com/d"], &[("w.com/d", true)], "v.com/c=a"),
            (&["v.com/c=x,alias=w.com/d"], &[("w.com/d", false)], ""),
            (&[], &[("gpu", false)], "invalid device \"gpu\""),
            (
                &[],
                &[("v.com/c=a", false)],
                "device v.com/c=a is requested by the build but not allowed; --allow device=v.com/c=a would allow it",
            ),
            (
                &["v.com/c=free"],
                &[("v.com/c=*", false)],
                "devices v.com/c=a, v.com/c=b are requested by the build but not allowed; --allow device=v.com/c=a --allow device=v.com/c=b would allow them",
            ),
            (&["v.com/c=x"], &[("v.com/c=a", false)], "required device \"v.com/c=x\" is not registered"),
            (&["v.com/c=x"], &[("v.com/c=none", false)], ""),
            (
                &["v.com/c=a,b"],
                &[("v.com/c=a", false)],
                "invalid entitlement device=v.com/c=a,b: only alias=NAME may follow the name",
            ),
        ] {
            assert_eq!(outcome(allow, wanted), expected, "{allow:?} {wanted:?}");
        }
    }
}
