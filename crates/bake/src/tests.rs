//! Whole files to what `--print` shows of them.

mod language;
mod plans;
mod support;
