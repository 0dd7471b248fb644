//! What can be wrong with what an archive says.

/// The outcome of reading something from an archive.
pub type Result<T> = std::result::Result<T, Error>;

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum Error {
    #[error("line {line}: {reason}")]
    Syntax { line: usize, reason: &'static str },
    #[error("there is no field {field}")]
    MissingField { field: &'static str },
    #[error("the field {field} is {value:?}: {reason}")]
    BadField { field: &'static str, value: String, reason: &'static str },
    #[error("the package file is damaged: {reason}")]
    PackageFile { reason: &'static str },
    #[error("in the package {package}")]
    Package {
        package: String,
        #[source]
        source: Box<Error>,
    },
}

impl Error {
    /// A field whose value is not what it must be; long values are cut.
    pub(crate) fn field(field: &'static str, value: &str, reason: &'static str) -> Error {
        Error::BadField { field, value: value.chars().take(80).collect(), reason }
    }
}
