//! Names: `vendor/class=name`.
//!
//! A vendor and a class begin with a letter, a device with a letter or a digit; all end with one of these, and have `_`, `-` and `.` in
//! between, a device also `:`.

use std::fmt;
use std::str::FromStr;

use crate::NameError;

/// As long as any honest name, with room.
const LONGEST: usize = 1024;

/// The whole name of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (kind, name) = text.split_once('=').unwrap_or((text, ""));
        check_kind(kind)?;
        check_device(name)?;
        Ok(Self(text.to_owned()))
    }
}

/// Whether a text names a device by vendor, class and name, and is not a path on the host.
pub fn is_qualified(text: &str) -> bool {
    Name::from_str(text).is_ok()
}

/// Checks `vendor/class`.
pub(crate) fn check_kind(kind: &str) -> Result<(), NameError> {
    let (vendor, class) = match kind.split_once('/') {
        None | Some(("", _)) => return Err(NameError::NoVendor),
        Some((_, "")) => return Err(NameError::NoClass),
        Some(parts) => parts,
    };
    check("vendor", vendor, |first| first.is_ascii_alphabetic(), "_-.")?;
    check("class", class, |first| first.is_ascii_alphabetic(), "_-.")
}

/// Checks the name of a device within its kind.
pub(crate) fn check_device(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::NoName);
    }
    check("name", name, |first| first.is_ascii_alphanumeric(), "_-.:")
}

fn check(part: &'static str, text: &str, begins: fn(char) -> bool, between: &str) -> Result<(), NameError> {
    if text.len() > LONGEST {
        return Err(NameError::Long { limit: LONGEST });
    }
    let text_of = || text.to_owned();
    if !text.chars().next().is_some_and(begins) {
        return Err(NameError::Begins { part, text: text_of() });
    }
    let wrong = |character: &char| !(character.is_ascii_alphanumeric() || between.contains(*character));
    if let Some(character) = text.chars().find(wrong) {
        return Err(NameError::Character { part, text: text_of(), character });
    }
    match text.chars().next_back() {
        Some(last) if last.is_ascii_alphanumeric() => Ok(()),
        _ => Err(NameError::Ends { part, text: text_of() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_vendor_a_class_and_a_device() {
        for good in [
            "vendor.com/class=name",
            "v/c=0",
            "V-_.1/c.d_e-f=a:b.c-d_e",
            "nvidia.com/gpu=GPU-6cf00fa7:1",
            "v/c=all",
        ] {
            assert!(is_qualified(good), "{good}");
        }
        let long = format!("{}/c=d", "v".repeat(2000));
        for (bad, why) in [
            ("", "no vendor, as in vendor.com/class=name"),
            ("/dev/null", "no vendor, as in vendor.com/class=name"),
            ("/dev/x=y", "no vendor, as in vendor.com/class=name"),
            ("vendor.com=x", "no vendor, as in vendor.com/class=name"),
            ("vendor.com/=x", "no class, as in vendor.com/class=name"),
            ("vendor.com/class", "no name, as in vendor.com/class=name"),
            ("vendor.com/class=", "no name, as in vendor.com/class=name"),
            ("1v/c=d", "invalid vendor \"1v\": it must begin with a letter"),
            ("v/1c=d", "invalid class \"1c\": it must begin with a letter"),
            ("v/c/d=e", "invalid class \"c/d\": character '/'"),
            ("v/c=*", "invalid name \"*\": it must begin with a letter or a digit"),
            ("v/c=a=b", "invalid name \"a=b\": character '='"),
            ("v/c=a:", "invalid name \"a:\": it must end with a letter or a digit"),
            ("v./c=a", "invalid vendor \"v.\": it must end with a letter or a digit"),
            ("v/c=a\u{0}b", "invalid name \"a\\0b\": character '\\0'"),
            ("vé/c=a", "invalid vendor \"vé\": character 'é'"),
            (&long, "more than 1024 bytes"),
        ] {
            assert_eq!(Name::from_str(bad).unwrap_err().to_string(), why, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_is_a_panic(text in "\\PC{0,24}|[a-z./=:]{0,12}") {
            if let Ok(name) = Name::from_str(&text) {
                proptest::prop_assert!(text.is_ascii() && name.as_str() == text);
            }
        }
    }
}
