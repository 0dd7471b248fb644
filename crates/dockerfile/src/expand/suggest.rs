//! "did you mean": the name among those possible that is nearest to one that is not.

/// Names farther away than this many changed letters are not offered.
const DISTANCE: usize = 2;
/// Longer names are not compared.
const LENGTH: usize = 200;

/// The nearest name, of several equally near ones the first. None if `name` itself is among them: then the name
/// is not what is wrong.
#[must_use]
pub fn suggestion<'a>(name: &str, among: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best: Option<(usize, &'a str)> = None;
    for option in among {
        if option == name {
            return None;
        }
        let limit = best.map_or(DISTANCE + 1, |(distance, _)| distance);
        if let Some(distance) = distance_below(name, option, limit) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

/// `message`, and what was perhaps meant by `name`.
#[must_use]
pub fn with_suggestion<'a>(message: String, name: &str, among: impl IntoIterator<Item = &'a str>) -> String {
    match suggestion(name, among) {
        Some(option) => format!("{message} (did you mean {option}?)"),
        None => message,
    }
}

/// Levenshtein's distance, if it is below a limit.
fn distance_below(a: &str, b: &str, limit: usize) -> Option<usize> {
    if a.len() > LENGTH || b.len() > LENGTH {
        return None;
    }
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) >= limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance < limit)
}
