//! What is attested of images, as fields of templates: `.SBOM` and `.Provenance`, as `docker buildx imagetools inspect` has them.
//!
//! | field | of one image | of several |
//! |---|---|---|
//! | `.SBOM` | `{"SPDX": …, "AdditionalSPDXs": […]}` | such by platform |
//! | `.Provenance` | `{"SLSA": …}` | such by platform |
//!
//! They are methods in Go's terms: `{{json .}}` does not show them. What nobody asks for is not read.

use engine::{Predicate, Statements};
use serde_json::{Map, Value, json};

const SPDX: &str = "https://spdx.dev/Document";
const SLSA: &str = "https://slsa.dev/provenance/";

/// Which of the fields a template asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fields {
    sbom: bool,
    provenance: bool,
}

impl Fields {
    /// Those of a template's text.
    pub(crate) fn of(template: Option<&str>) -> Fields {
        let has = |name: &str| template.is_some_and(|text| text.contains(name));
        Fields { sbom: has(".SBOM"), provenance: has(".Provenance") }
    }

    /// Whether there are any.
    pub(crate) fn any(self) -> bool {
        self.sbom || self.provenance
    }

    /// Whether a predicate of that kind is a part of one.
    pub(crate) fn want(self, kind: &str) -> bool {
        (self.sbom && kind == SPDX) || (self.provenance && kind.starts_with(SLSA))
    }

    /// Adds them to the document of a template.
    pub(crate) fn add(self, document: &mut Value, statements: Statements) {
        let Value::Object(fields) = document else { return };
        for (name, shape) in [("SBOM", sbom as fn(&[Predicate]) -> Value), ("Provenance", provenance)] {
            let field = match statements.is_several {
                true => statements.platforms.iter().map(|(name, all)| (name.clone(), shape(all))).collect(),
                false => shape(statements.platforms.values().next().map_or(&[][..], Vec::as_slice)),
            };
            fields.insert(template::method(name), field);
        }
    }
}

fn sbom(predicates: &[Predicate]) -> Value {
    let mut all = predicates.iter().filter(|one| one.kind == SPDX).map(|one| one.content.clone());
    let mut stub = stub("SPDX", all.next());
    let others: Vec<Value> = all.collect();
    let name = "AdditionalSPDXs".to_owned();
    match others.is_empty() {
        true => stub.insert(template::method(&name), json!([])),
        false => stub.insert(name, others.into()),
    };
    Value::Object(stub)
}

fn provenance(predicates: &[Predicate]) -> Value {
    // Of several the last counts.
    let last = predicates.iter().rev().find(|one| one.kind.starts_with(SLSA));
    Value::Object(stub("SLSA", last.map(|one| one.content.clone())))
}

/// A field that is nil, and not shown, where there is nothing.
fn stub(name: &str, content: Option<Value>) -> Map<String, Value> {
    Map::from_iter([match content {
        Some(content) => (name.to_owned(), content),
        None => (template::method(name), Value::Null),
    }])
}

#[cfg(test)]
mod tests {
    use ::template::Template;

    use super::*;

    fn shown(statements: Statements, template: &str) -> String {
        let mut document = json!({ "Id": "i" });
        Fields::of(Some(template)).add(&mut document, statements);
        Template::parse(template).unwrap().execute(&document).unwrap()
    }

    #[test]
    fn fields_are_those_of_imagetools() {
        let predicate = |kind: &str, content: Value| Predicate { kind: kind.to_owned(), content };
        let all = vec![
            predicate(SPDX, json!({ "packages": [{ "name": "a" }, { "name": "b" }] })),
            predicate("https://slsa.dev/provenance/v1", json!({ "n": 1 })),
            predicate(SPDX, json!(2)),
        ];
        let one = Statements { is_several: false, platforms: [("p".to_owned(), all.clone())].into() };
        for (template, want) in [
            ("{{range .SBOM.SPDX.packages}}{{.name}} {{end}}", "a b "),
            ("{{json .SBOM.AdditionalSPDXs}}", "[2]"),
            ("{{json .Provenance}}", r#"{"SLSA":{"n":1}}"#),
            ("{{json .Provenance.SLSA}}", r#"{"n":1}"#),
            ("{{json .}} {{if .SBOM}}{{end}}", r#"{"Id":"i"} "#),
        ] {
            assert_eq!(shown(one.clone(), template), want, "{template}");
        }
        let several = Statements {
            is_several: true,
            platforms: [("p".to_owned(), all), ("q".to_owned(), vec![])].into(),
        };
        for (template, want) in [
            ("{{json .Provenance}}", r#"{"p":{"SLSA":{"n":1}},"q":{}}"#),
            (r#"{{json (index .Provenance "p").SLSA}}"#, r#"{"n":1}"#),
        ] {
            assert_eq!(shown(several.clone(), template), want, "{template}");
        }
        for (template, want) in [
            ("{{json .Provenance}} {{json .SBOM}}", "{} {}"),
            ("{{json .Provenance.SLSA}} {{json .SBOM.SPDX}}", "null null"),
        ] {
            assert_eq!(shown(Statements::default(), template), want, "{template}");
        }
    }
}
