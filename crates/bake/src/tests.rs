//! Whole files to what `--print` shows of them.

mod compose;
mod compose_files;
mod functions;
mod hostile;
mod language;
mod matrices;
mod overrides;
mod plans;
mod support;
mod variables;
