//! Patterns of names, as Go's `path.Match` has them: `*`, `?`, `[a-z]`, `[^a-z]` and `\`.

/// Whether `name` fits `pattern`; a pattern that is no pattern fits nothing.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // Where the last star stood, and how much of the name it has taken: the only thing to come back to.
    let (mut at, mut position, mut star) = (0, 0, None);
    while position < name.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at + 1, position));
            at += 1;
            continue;
        }
        if let Some(next) = one(&pattern, at, name[position]) {
            (at, position) = (next, position + 1);
            continue;
        }
        match star {
            Some((after, taken)) if name[taken] != '/' => {
                star = Some((after, taken + 1));
                (at, position) = (after, taken + 1);
            }
            _ => return false,
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Whether `pattern` is more than a name.
pub(crate) fn is_pattern(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', ']'])
}

/// Where the pattern goes on after the element at `at` took `character`.
fn one(pattern: &[char], at: usize, character: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => (character != '/').then_some(at + 1),
        '[' => class(pattern, at + 1, character),
        '\\' => (*pattern.get(at + 1)? == character).then_some(at + 2),
        literal => (*literal == character).then_some(at + 1),
    }
}

fn class(pattern: &[char], mut at: usize, character: char) -> Option<usize> {
    let negated = pattern.get(at) == Some(&'^');
    at += usize::from(negated);
    let (mut fits, mut first) = (false, true);
    while first || pattern.get(at) != Some(&']') {
        let (low, after) = member(pattern, at)?;
        let (high, after) = match pattern.get(after) {
            Some('-') => member(pattern, after + 1)?,
            _ => (low, after),
        };
        fits |= (low..=high).contains(&character);
        (at, first) = (after, false);
    }
    (fits != negated).then_some(at + 1)
}

fn member(pattern: &[char], at: usize) -> Option<(char, usize)> {
    match pattern.get(at)? {
        '-' | ']' => None,
        '\\' => pattern.get(at + 1).map(|escaped| (*escaped, at + 2)),
        literal => Some((*literal, at + 1)),
    }
}
