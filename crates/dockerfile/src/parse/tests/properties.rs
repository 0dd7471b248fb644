//! Whatever is put together, the parser answers, and its places lie in the text.

use proptest::prelude::*;

use super::*;

/// Pieces from which Dockerfiles are put together.
const PIECES: [&str; 40] = [
    "FROM ",
    "RUN ",
    "COPY ",
    "ADD ",
    "ENV ",
    "ARG ",
    "LABEL ",
    "CMD ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "SHELL ",
    "VOLUME ",
    "EXPOSE ",
    "USER ",
    "a",
    "b=c",
    "\"",
    "'",
    "\\",
    "\\\n",
    "\n",
    "\n\n",
    " ",
    "\t",
    "# x\n",
    "# escape=`\n",
    "`\n",
    "<<EOF",
    "<<-'E'",
    "\nEOF\n",
    "--mount=type=cache,target=/x ",
    "--from=a ",
    "[\"a\"]",
    "[",
    "$a",
    "${a:-",
    "}",
    "\r\n",
    "\u{e4}",
    "CMD",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let source = Source::new("f", bytes).unwrap();
        drop(parse(&source).map_err(|errors| errors.render(&source)));
        drop(parse_trigger(&source));
        drop(detect_syntax(&source));
    }

    #[test]
    fn places_lie_inside_the_text(pieces in proptest::collection::vec(0usize..PIECES.len(), 0..40)) {
        let text: String = pieces.iter().map(|piece| PIECES[*piece]).collect();
        for text in [text.clone(), format!("FROM x\n{text}")] {
            let source = source(&text);
            let inside = |span: Span| source.text().get(span.range()).is_some();
            match parse(&source) {
                Ok(file) => prop_assert!(spans(&file).into_iter().all(inside), "{:?}", text),
                Err(errors) => {
                    prop_assert!(errors.iter().flat_map(|e| &e.labels).all(|label| inside(label.span)), "{:?}", text);
                    prop_assert!(!errors.render(&source).is_empty());
                }
            }
        }
    }
}

/// Every place that a file's tree names.
fn spans(file: &Dockerfile) -> Vec<Span> {
    let text = format!("{file:?}");
    let numbers = |part: &str| {
        part.split(|c: char| !c.is_ascii_digit()).find(|n| !n.is_empty()).unwrap().parse().unwrap()
    };
    text.split("Span { start: ")
        .skip(1)
        .map(|part| Span { start: numbers(part), end: numbers(part.split("end: ").nth(1).unwrap()) })
        .collect()
}
