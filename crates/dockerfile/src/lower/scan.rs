//! Of which files besides the target's a bill of materials is wanted: `BUILDKIT_SBOM_SCAN_STAGE`, `BUILDKIT_SBOM_SCAN_CONTEXT`.
//!
//! Both are arguments that a stage declares, or the file before its first stage, for all of them. The value is a truth value, or the
//! names of the stages that are meant. Stages that are not built are not looked at, and the context is only where the target's stage
//! wants it.

use super::state::State;
use crate::stage::Plan;

/// Whether the files of a stage are looked at.
pub(super) const STAGE: &str = "BUILDKIT_SBOM_SCAN_STAGE";
/// Whether those of the context are.
pub(super) const CONTEXT: &str = "BUILDKIT_SBOM_SCAN_CONTEXT";

/// What is looked at besides the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Stages by what people call them, each with the node that makes its files.
    pub stages: Vec<(String, usize)>,
    /// The context.
    pub context: bool,
}

/// What a stage says of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    stage: Option<String>,
    context: Option<String>,
}

impl Asked {
    /// The stage declares an argument.
    pub(super) fn declare(&mut self, name: &str, value: Option<&str>) {
        let asked = match name {
            STAGE => &mut self.stage,
            CONTEXT => &mut self.context,
            _ => return,
        };
        *asked = Some(value.unwrap_or_default().to_owned());
    }
}

impl Scanned {
    /// Looks at what a stage says that is built.
    pub(super) fn look(&mut self, plan: &Plan, index: usize, state: &State) {
        let stage = &plan.stages[index];
        // An image that an instruction names is nobody's stage.
        if stage.index.is_none() {
            return;
        }
        let wants = |own: &Option<String>, name: &str| {
            let value = own.as_deref().or_else(|| plan.globals.get(name)).unwrap_or_default();
            means(value, &stage.shown)
        };
        if index == plan.target {
            self.context = wants(&state.scans.context, CONTEXT);
        } else if wants(&state.scans.stage, STAGE) {
            self.stages.push((stage.shown.clone(), state.node));
        }
    }
}

/// Whether a value means a stage.
fn means(value: &str, stage: &str) -> bool {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
        "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
        names => names.split(',').any(|name| name == stage),
    }
}

#[cfg(test)]
mod tests {
    use super::means;

    #[test]
    fn a_value_is_a_truth_value_or_names_of_stages() {
        for (value, want) in [
            ("true", true),
            ("1", true),
            ("False", false),
            ("0", false),
            ("build", true),
            ("other,build", true),
            ("other", false),
            ("builder", false),
            ("yes", false),
            ("", false),
        ] {
            assert_eq!(means(value, "build"), want, "{value:?}");
        }
    }
}
