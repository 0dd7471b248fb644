//! The one dependency of the service.

/// `text` in capitals.
pub fn shout(text: &str) -> String {
    text.to_uppercase()
}
