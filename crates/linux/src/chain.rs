//! An error as one line of text.

/// An error with its causes on one line. One that only wraps another, and says what that says, is not repeated.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::fmt;

    use super::chain;

    #[derive(Debug)]
    struct Step(&'static str, Option<Box<Step>>);

    impl fmt::Display for Step {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|step| step as &(dyn Error + 'static))
        }
    }

    #[test]
    fn every_cause_is_told_once() {
        let of = |texts: &[&'static str]| {
            let steps = texts.iter().rev().fold(None, |inner, text| Some(Box::new(Step(text, inner))));
            chain(&*steps.unwrap())
        };
        assert_eq!(of(&["open"]), "open");
        assert_eq!(of(&["load", "open a", "no such file"]), "load: open a: no such file");
        assert_eq!(of(&["load", "open a", "open a", "no such file"]), "load: open a: no such file");
    }
}
