//! What can be wrong with a specification and with a name.

/// Why a file is no specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum Error {
    #[error("line {line}, column {column}: {reason}")]
    Syntax { line: usize, column: usize, reason: String },
    #[error("{0}")]
    Shape(String),
    #[error("invalid version {version:?}: known are 0.3.0 to 1.1.0")]
    Version { version: String },
    #[error("{what} takes version {least}, and the file is of {version}")]
    TooOld { what: &'static str, least: &'static str, version: String },
    #[error("kind {kind:?}")]
    Kind {
        kind: String,
        #[source]
        source: NameError,
    },
    #[error("device {name:?}")]
    DeviceName {
        name: String,
        #[source]
        source: NameError,
    },
    #[error("there are no devices")]
    NoDevices,
    #[error("device {name:?} comes twice")]
    Twice { name: String },
    #[error("device {name:?} changes nothing")]
    Nothing { name: String },
    #[error("annotation {key:?}: {why}")]
    Annotation { key: String, why: &'static str },
    #[error("{field} is {value:?}: {why}")]
    Invalid { field: &'static str, value: String, why: &'static str },
}

/// Why a text is no name of a device, of a vendor or of a class.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum NameError {
    #[error("no vendor, as in vendor.com/class=name")]
    NoVendor,
    #[error("no class, as in vendor.com/class=name")]
    NoClass,
    #[error("no name, as in vendor.com/class=name")]
    NoName,
    #[error("more than {limit} bytes")]
    Long { limit: usize },
    #[error("invalid {part} {text:?}: it must begin with a letter{}", if *.part == "name" { " or a digit" } else { "" })]
    Begins { part: &'static str, text: String },
    #[error("invalid {part} {text:?}: it must end with a letter or a digit")]
    Ends { part: &'static str, text: String },
    #[error("invalid {part} {text:?}: character {character:?}")]
    Character { part: &'static str, text: String, character: char },
}
