//! `--attest type=sbom`: who says what is in an image, and what he is told.

use oci::Reference;

use super::refuse;
use crate::Result;
use crate::request::Fields;

const KIND: &str = "sbom";
/// Parameters that would take the place of what the builder tells.
const OURS: &[&str] = &["DESTINATION", "SOURCE", "SOURCE_EXTRAS"];

/// Who lists packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build::export) enum Sbom {
    /// We.
    Own,
    /// An image that was named.
    Generator(AskedGenerator),
}

/// An image that lists packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::build) struct AskedGenerator {
    pub(in crate::build) reference: Reference,
    /// What it is told, by the names that the caller wrote.
    pub(in crate::build) parameters: Vec<(String, String)>,
}

impl Sbom {
    /// Reads the fields of `--attest type=sbom`. An image that is named is run, however it is called.
    pub(super) fn parse(fields: &Fields) -> Result<Sbom> {
        let (mut image, mut parameters) = ("", Vec::<(String, String)>::new());
        for (key, value) in fields {
            match key.to_ascii_lowercase().as_str() {
                "type" | "disabled" | "enabled" => {}
                "generator" => image = value,
                _ => {
                    // The last counts.
                    parameters.retain(|(known, _)| known != key);
                    parameters.push((key.clone(), value.clone()));
                }
            }
        }
        if image.is_empty() {
            return match parameters.first() {
                None => Ok(Sbom::Own),
                Some((key, _)) => {
                    let reason =
                        format!("there is no option {key:?}: generator=IMAGE alone takes parameters");
                    Err(refuse(KIND, &reason))
                }
            };
        }
        for (key, value) in &parameters {
            if OURS.contains(&key.as_str()) {
                let reason = format!("{key} is told to the generator by the builder; leave it out");
                return Err(refuse(KIND, &reason));
            }
            if key.is_empty() || key.contains(['\0', '=']) || value.contains('\0') {
                return Err(refuse(KIND, &format!("{key:?} cannot be the name of a variable, or its value")));
            }
        }
        // In an order of its own: the same parameters are the same step.
        parameters.sort();
        let reference: Reference = image.parse().map_err(|error| {
            let image: String = image.chars().take(80).collect();
            refuse(KIND, &format!("generator={image:?} is no name of an image: {error}"))
        })?;
        Ok(Sbom::Generator(AskedGenerator { reference: reference.or_latest(), parameters }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Sbom> {
        let pair = |field: &str| field.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        Sbom::parse(&text.split(',').filter_map(pair).collect())
    }

    #[test]
    fn an_image_that_is_named_is_a_generator_and_nothing_else_is() {
        for own in ["", "type=sbom", "generator=", "Type=sbom,enabled=true"] {
            assert_eq!(parsed(own).unwrap(), Sbom::Own, "{own}");
        }
        let want = AskedGenerator {
            reference: "docker/buildkit-syft-scanner:latest".parse().unwrap(),
            parameters: vec![("A".to_owned(), "1".to_owned()), ("b".to_owned(), "x=y".to_owned())],
        };
        let text = "b=x=y,A=0,Generator=docker/buildkit-syft-scanner,A=1";
        assert_eq!(parsed(text).unwrap(), Sbom::Generator(want));
        for bad in ["A=1", "generator=UPPER", "generator=x,SOURCE=/etc", "generator=x,=1", "generator=x,a=\0"]
        {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
