//! Names for containers that were given none: an adjective and someone who found something out.

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "amber", "ample", "apt", "autumn", "brisk", "bold", "breezy", "bright", "calm",
    "candid", "cheery", "clear", "clever", "coastal", "cosy", "crisp", "curious", "dapper", "deft", "eager",
    "early", "fair", "fleet", "fond", "frank", "fresh", "gentle", "glad", "golden", "grand", "hardy",
    "humble", "jolly", "keen", "kind", "lively", "lucid", "lucky", "mellow", "merry", "mild", "misty",
    "neat", "nimble", "noble", "patient", "placid", "plucky", "polite", "prompt", "quick", "quiet", "ready",
    "salty", "serene", "sleek", "steady", "sunny", "swift", "tidal", "tidy", "windy",
];

const SURNAMES: [&str; 64] = [
    "abel",
    "agnesi",
    "alhazen",
    "ampere",
    "anning",
    "bassi",
    "bernoulli",
    "bose",
    "brahe",
    "cannon",
    "carver",
    "cassini",
    "cavendish",
    "celsius",
    "cori",
    "curie",
    "dalton",
    "davy",
    "descartes",
    "dirac",
    "doppler",
    "euclid",
    "euler",
    "fermat",
    "fermi",
    "fourier",
    "galois",
    "gauss",
    "germain",
    "goodall",
    "halley",
    "harvey",
    "herschel",
    "hodgkin",
    "hooke",
    "hubble",
    "huygens",
    "hypatia",
    "joule",
    "kepler",
    "kovalevskaya",
    "lagrange",
    "laplace",
    "leavitt",
    "leibniz",
    "linnaeus",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "mitchell",
    "newton",
    "noether",
    "ohm",
    "pascal",
    "payne",
    "planck",
    "ramanujan",
    "rubin",
    "somerville",
    "tesla",
    "turing",
    "volta",
    "wu",
];

/// A name from random bytes. After a few that were taken it gets a number, of which there are enough.
pub(crate) fn made_up(random: [u8; 8], attempt: usize) -> String {
    let pick = |words: &[&'static str; 64], byte: u8| words[usize::from(byte) % words.len()];
    let name = format!("{}_{}", pick(&ADJECTIVES, random[0]), pick(&SURNAMES, random[1]));
    if attempt < 2 {
        return name;
    }
    format!("{name}{}", u32::from_le_bytes([random[2], random[3], random[4], random[5]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_a_container_may_have() {
        for byte in 0..=255 {
            for attempt in [0, 5] {
                let name = made_up([byte; 8], attempt);
                assert!(name.parse::<oci::ContainerName>().is_ok(), "{name}");
            }
        }
    }

    #[test]
    fn no_word_stands_twice() {
        for words in [&ADJECTIVES, &SURNAMES] {
            let different: std::collections::BTreeSet<_> = words.iter().collect();
            assert_eq!(different.len(), words.len());
        }
    }
}
