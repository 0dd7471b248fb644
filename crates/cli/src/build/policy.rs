//! `--policy`: Rego that decides over what a build may take from elsewhere. It is not evaluated here, and nobody may believe that it was.
//!
//! | what there is | what follows |
//! |---|---|
//! | files that are named | the build is refused |
//! | `Dockerfile.rego` beside the Dockerfile | a warning; with `strict=true` the build is refused |
//! | `disabled=true`, or `reset=true` with nothing after it | a build without |

use std::path::PathBuf;

use ::bake::Policy;
use engine::request::{BuildContext, DockerfileSource};

use super::fault::Fault;
use super::place::Place;
use crate::error::Result;
use crate::flags::Parsed;
use crate::output;

/// Refuses policies, or warns of one.
pub(super) fn check(parsed: &Parsed, place: &Place) -> Result<()> {
    let given = parsed.values("policy", Policy::from_text)?;
    if given.iter().any(|policy| policy.disabled) {
        return Ok(());
    }
    let mut wanted = beside(place).filter(|path| path.is_file()).map(|path| path.display().to_string());
    let mut named = Vec::new();
    for policy in &given {
        if policy.reset {
            wanted = None;
            named.clear();
        }
        named.extend(policy.files.iter().cloned());
    }
    if given.iter().any(|policy| policy.strict == Some(true)) {
        named.extend(wanted.take());
    }
    if !named.is_empty() {
        return Err(Fault::Policy { files: named.join(", ") }.into());
    }
    if let Some(file) = wanted {
        output::warn(&format!(
            "WARNING: {file} is not evaluated: this builder knows no build policies; --policy disabled=true says that none is wanted"
        ));
    }
    Ok(())
}

/// The policy that goes with a Dockerfile of this machine.
fn beside(place: &Place) -> Option<PathBuf> {
    let dockerfile = match (&place.dockerfile, &place.context) {
        (DockerfileSource::File(path), _) => path.clone(),
        (DockerfileSource::Default, BuildContext::Directory(folder)) => folder.join("Dockerfile"),
        (DockerfileSource::InContext(path), BuildContext::Directory(folder)) => folder.join(path),
        (DockerfileSource::Default | DockerfileSource::InContext(_) | DockerfileSource::Text(_), _) => {
            return None;
        }
    };
    let mut name = dockerfile.into_os_string();
    name.push(".rego");
    Some(name.into())
}
