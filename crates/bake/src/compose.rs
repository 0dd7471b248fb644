//! Compose files.
use crate::definition::Config;
use crate::error::{Error, Fault, Place};
use crate::resolve::Outside;
pub(crate) struct File;
pub(crate) fn parse(name: &str, _text: &str, _outside: &Outside<'_>) -> Result<File, Fault> {
    Err(Error::Syntax {
        place: Place { file: name.to_owned(), position: None },
        reason: "Compose files are not read yet".to_owned(),
    }
    .into())
}
pub(crate) fn define(_files: Vec<File>, _outside: &Outside<'_>, _config: &mut Config) -> Result<(), Fault> {
    Ok(())
}
