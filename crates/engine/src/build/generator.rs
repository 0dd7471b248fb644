//! An image that lists packages in the place of our own scanner (`--sbom=generator=IMAGE`): it is run as a step of the graph, and what it
//! leaves is read as statements.
//!
//! All that it leaves is a stranger's: the layer that its run has made is read by name, no link is followed, and files are bounded in
//! number and in bytes. Nothing is kept of a document but its text: what a few bytes of JSON become in memory is many times as much. The
//! subject of a statement is ours, whatever its own says; so is who made it, so that no provenance is taken from there.

use std::fmt;
use std::sync::Arc;

use dockerfile::lower::{GENERATED, Generator};
use dockerfile::stage::ImageKey;
use oci::{Platform, Reference};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::BuildError;
use super::error::Faulty;
use super::export::{Generated, Predicate, generator};
use super::frontend::Work;
use super::progress::Progress;
use super::session::Session;
use super::tree::Tree;
use super::view::{Kind, View};
use crate::Result;

/// The most statements of one image: with its provenance they are as many as anybody reads.
const COUNT_LIMIT: usize = 63;
/// The most bytes of them, together.
const SIZE_LIMIT: u64 = 64 << 20;
/// What statements may be: in SPDX, or in CycloneDX.
const KINDS: &[&str] = &["https://spdx.dev/Document", "https://cyclonedx.org/bom"];
/// How in-toto begins to say that something is a statement; a version follows.
const STATEMENT: &str = "https://in-toto.io/Statement/";
/// The name, up to the first dot, of the file that tells of the image itself.
const CORE: &str = "sbom";

/// The runs of a generator.
pub(super) struct Runs {
    image: Reference,
    /// One upon each target, in their order.
    nodes: Vec<usize>,
}

/// The nodes of its runs; none where there is no generator.
pub(super) fn nodes(work: &Work) -> &[usize] {
    work.generator.as_ref().map_or(&[], |runs| &runs.nodes)
}

/// Its image, and the platform on which it runs.
pub(super) fn image(work: &Work) -> Option<(&Reference, String)> {
    work.generator.as_ref().map(|runs| (&runs.image, Platform::host().to_string()))
}

/// The error of a node; of a generator's with its name.
pub(super) fn named(work: &Work, node: usize, error: crate::Error) -> crate::Error {
    match &work.generator {
        Some(Runs { image, nodes }) if nodes.contains(&node) => {
            BuildError::GeneratorFailed { image: image.to_string(), source: Box::new(error) }.into()
        }
        _ => error,
    }
}

/// Adds the run of the generator that was asked for upon each target, if there is one.
pub(super) fn add(session: &Session<'_>, work: &mut Work, progress: &Progress<'_>) -> Result<()> {
    let Some(asked) = generator(session.request)? else { return Ok(()) };
    let platform = Platform::host().to_string();
    let key = ImageKey { reference: asked.reference.clone(), platform: platform.clone() };
    let config = work.bases.config(session, &key, progress).map_err(|source| {
        let name = "sbom generator".to_owned();
        BuildError::Base { name, reference: asked.reference.clone(), near: None, source: Box::new(source) }
    })?;
    let generator = Generator {
        reference: &asked.reference,
        platform: &platform,
        config: &config.config,
        parameters: &asked.parameters,
    };
    if generator.program().is_empty() {
        let reason = "it has neither ENTRYPOINT nor CMD, so there is nothing to run; name an image that is a generator, \
                      or none: packages are listed without one, too";
        return Err(refused(&asked.reference, reason));
    }
    let graph = &mut work.graph;
    let nodes = work
        .targets
        .iter()
        .map(|target| graph.generate(&generator, &target.platform.to_string(), &target.made))
        .collect::<dockerfile::source::Result<Vec<_>>>();
    let nodes = nodes.map_err(|error| {
        let source = Arc::clone(&work.source);
        BuildError::Dockerfile(Box::new(Faulty { errors: vec![error], source, is_syntax: false }))
    })?;
    work.generator = Some(Runs { image: asked.reference, nodes });
    Ok(())
}

/// What it has said of each target, by platform, read from what its runs have made.
pub(super) fn read(session: &Session<'_>, work: &Work, trees: &[Tree]) -> Result<Generated> {
    let mut all = Generated::new();
    let Some(Runs { image, .. }) = &work.generator else { return Ok(all) };
    for (target, tree) in work.targets.iter().zip(trees) {
        let found = statements(session, tree)?.map_err(|reason| refused(image, &reason))?;
        all.insert(target.platform.to_string(), found);
    }
    Ok(all)
}

fn refused(image: &Reference, reason: &str) -> crate::Error {
    BuildError::Generator { image: image.to_string(), reason: reason.to_owned() }.into()
}

/// What is wrong with what a generator has left.
type Wrong = String;

/// The statements of a run, the image's own first; why there are none.
fn statements(session: &Session<'_>, tree: &Tree) -> Result<std::result::Result<Vec<Predicate>, Wrong>> {
    // Its image may have led the way elsewhere, and may have had files there before, which are none of this run.
    let place = session.view(tree)?.resolve(GENERATED.as_bytes(), true)?;
    let own = tree.layers().last().cloned();
    let view = session.view(&Tree::Layers(own.into_iter().collect()))?;
    let place = place.and_then(|place| String::from_utf8(place.path).ok()).unwrap_or_default();
    let mut found = match left(&view, &place)? {
        Ok(found) => found,
        Err(wrong) => return Ok(Err(wrong)),
    };
    if found.is_empty() {
        return Ok(Err(format!(
            "it left no statement; a generator writes NAME.spdx.json to $BUILDKIT_SCAN_DESTINATION ({GENERATED})"
        )));
    }
    // Of equals the order stays.
    found.sort_by_key(|statement| statement.file.split('.').next() != Some(CORE));
    Ok(Ok(found))
}

/// All that lies in a directory, as statements.
fn left(view: &View, place: &str) -> Result<std::result::Result<Vec<Predicate>, Wrong>> {
    let (mut found, mut size) = (Vec::new(), 0);
    let directory = view.resolve(place.as_bytes(), false)?.filter(|found| found.node.kind == Kind::Directory);
    let Some(directory) = directory else { return Ok(Ok(found)) };
    let children = view.children(&directory.node)?;
    for (count, (name, node)) in children.iter().enumerate() {
        let shown = String::from_utf8_lossy(name).into_owned();
        size += view.size(&node);
        let wrong = match () {
            () if count >= COUNT_LIMIT => format!("it left more than {COUNT_LIMIT} files"),
            () if node.kind != Kind::File => format!("{shown:?} is no file; it may leave nothing else"),
            () if size > SIZE_LIMIT => format!("it left more than {SIZE_LIMIT} bytes"),
            () if !is_name(name) => {
                format!("{shown:?} is no name of a statement; such end with .spdx.json or .json")
            }
            () => {
                // It is there, and no link leads to it.
                let content = view.read(&format!("{place}/{shown}"), SIZE_LIMIT)?.unwrap_or_default();
                match statement(&shown, content) {
                    Ok(statement) => {
                        found.push(statement);
                        continue;
                    }
                    Err(wrong) => format!("{shown:?} {wrong}"),
                }
            }
        };
        return Ok(Err(wrong));
    }
    Ok(Ok(found))
}

/// Whether a file may be called so wherever statements are written.
fn is_name(name: &[u8]) -> bool {
    let is_plain = |name: &str| name.ends_with(".json") && !name.chars().any(char::is_control);
    std::str::from_utf8(name).is_ok_and(is_plain)
}

/// What is looked at of a statement.
#[derive(Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    #[serde(rename = "predicateType")]
    predicate_kind: String,
    predicate: Document,
}

/// Reads one; what is wrong with it, as it follows its name.
fn statement(file: &str, content: Vec<u8>) -> std::result::Result<Predicate, Wrong> {
    let text = String::from_utf8(content).map_err(|_| "is no text in UTF-8".to_owned())?;
    let parsed: Statement =
        serde_json::from_str(&text).map_err(|error| format!("is no in-toto statement in JSON: {error}"))?;
    let short = |text: &str| text.chars().take(80).collect::<String>();
    if !parsed.kind.starts_with(STATEMENT) {
        return Err(format!("is no in-toto statement: its _type is {:?}", short(&parsed.kind)));
    }
    if !KINDS.iter().any(|kind| is_of_kind(&parsed.predicate_kind, kind)) {
        let kind = short(&parsed.predicate_kind);
        return Err(format!("is a statement of type {kind:?}; wanted is one of {}", KINDS.join(", ")));
    }
    let Document { is_object: true } = parsed.predicate else {
        return Err("is a statement whose predicate is no object".to_owned());
    };
    let content = member(&text, "predicate").ok_or("is no in-toto statement")?;
    let (kind, content) = (parsed.predicate_kind, content.into());
    Ok(Predicate { kind, file: file.to_owned(), content, inline_only: false })
}

/// Whether a type is of a kind, in whichever version.
fn is_of_kind(text: &str, kind: &str) -> bool {
    text.strip_prefix(kind).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The text of a member of an object, which is well-formed.
fn member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = text.trim_start().strip_prefix('{')?;
    loop {
        let (key, after) = first::<String>(rest)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let (_, after) = first::<IgnoredAny>(value)?;
        if key == name {
            return value.get(..value.len() - after.len());
        }
        rest = after.trim_start().strip_prefix(',')?;
    }
}

/// The first of the values that a text begins with, and what follows it.
fn first<'t, T: Deserialize<'t>>(text: &'t str) -> Option<(T, &'t str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, text.get(values.byte_offset()..)?))
}

/// A value that is only looked through: it is well-formed, and no deeper than whoever reads statements reads them.
struct Document {
    is_object: bool,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(Look)
    }
}

/// Looks through a value; the deserializer counts how deep it is.
struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Document, A::Error> {
        while map.next_entry::<IgnoredAny, Document>()?.is_some() {}
        Ok(Document { is_object: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Document, A::Error> {
        while list.next_element::<Document>()?.is_some() {}
        Ok(Document { is_object: false })
    }

    fn visit_unit<E: serde::de::Error>(self) -> std::result::Result<Document, E> {
        Ok(Document { is_object: false })
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> std::result::Result<Document, E> {
        self.visit_unit()
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> std::result::Result<Document, E> {
        self.visit_unit()
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> std::result::Result<Document, E> {
        self.visit_unit()
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> std::result::Result<Document, E> {
        self.visit_unit()
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> std::result::Result<Document, E> {
        self.visit_unit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::world::{World, copied};

    fn read(text: &str) -> std::result::Result<String, Wrong> {
        statement("x.spdx.json", text.as_bytes().to_vec()).map(|found| found.content.to_string())
    }

    const SPDX: &str =
        r#"{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://spdx.dev/Document"#;

    #[test]
    fn a_predicate_stays_as_it_was_written() {
        let content =
            "{ \"a\": [1e400, 18446744073709551616, \"}\\\"\"],\n\"A\": {} }".replace("1e400, ", "");
        for text in [
            format!("{SPDX}\",\"subject\":[{{\"predicate\":1}}],\"predicate\":{content}}}"),
            format!(" \n{SPDX}/v2.3\" , \"predic\\u0061te\" : {content} ,\t\"subject\":null}} "),
        ] {
            assert_eq!(read(&text).unwrap(), content, "{text}");
        }
    }

    #[test]
    fn what_is_no_statement_is_told_as_such() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let of = |kind: &str, predicate: &str| {
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","predicateType":"{kind}","predicate":{predicate}}}"#
            )
        };
        for (text, want) in [
            (String::new(), "no in-toto statement in JSON: EOF"),
            ("[]".to_owned(), "no in-toto statement in JSON"),
            ("{}".to_owned(), "missing field `_type`"),
            (format!("{SPDX}\"}}"), "missing field `predicate`"),
            (format!("{SPDX}\",\"predicate\":{{}}}} {{}}"), "trailing characters"),
            (format!("{SPDX}\",\"predicate\":{{}},\"predicate\":{{}}}}"), "duplicate field `predicate`"),
            (format!("{SPDX}\",\"predicate\":[]}}"), "whose predicate is no object"),
            (format!("{SPDX}\",\"predicate\":{{\"a\":{deep}}}}}"), "recursion limit"),
            (
                format!("{SPDX}ary\",\"predicate\":{{}}}}"),
                "a statement of type \"https://spdx.dev/Documentary\"",
            ),
            (of("https://slsa.dev/provenance/v1", "{}"), "of type \"https://slsa.dev/provenance/v1\""),
            (of("https://spdx.dev/Document", "{}").replace("in-toto.io", "elsewhere"), "its _type is"),
        ] {
            let wrong = read(&text).unwrap_err();
            assert!(wrong.contains(want), "{text}: {wrong}");
        }
        assert_eq!(statement("x", vec![0xff]).unwrap_err(), "is no text in UTF-8");
        assert!(read(&of("https://cyclonedx.org/bom/v1.6", "{}")).is_ok());
    }

    #[test]
    fn only_files_of_the_run_itself_are_read() {
        let world = World::new();
        let session = world.session();
        let statement = format!("{SPDX}\",\"predicate\":{{}}}}");
        let tree = |name: &str, lines: &str| {
            let before =
                world.context(&format!("{name}-before"), "f run/out/old.spdx.json 644 no\nl other run");
            let base = copied(&session, &Tree::empty(), &before, "COPY . /").unwrap();
            let files = world.context(name, &lines.replace("STATEMENT", &statement));
            copied(&session, &base, &files, "COPY . /").unwrap()
        };
        let named = |tree: &Tree| {
            let found = statements(&session, tree).unwrap();
            found.map(|found| found.into_iter().map(|one| one.file).collect::<Vec<_>>().join(" "))
        };
        let lines =
            "f run/out/a.spdx.json 644 STATEMENT\nf run/out/sbom.spdx.json 600 STATEMENT\nf run/x 644 no";
        assert_eq!(named(&tree("good", lines)).unwrap(), "sbom.spdx.json a.spdx.json");
        for (name, lines, want) in [
            ("nothing", "f run/x 644 no", "it left no statement"),
            (
                "link",
                "f secret.json 644 STATEMENT\nl run/out/a.json ../../secret.json",
                "\"a.json\" is no file",
            ),
            ("directory", "d run/out/sbom.spdx.json 755", "is no file"),
            ("pipe", "d run/out 755\np run/out/a.json", "is no file"),
            ("name", "f run/out/sbom.txt 644 STATEMENT", "\"sbom.txt\" is no name of a statement"),
            ("broken", "f run/out/a.json 644 {", "\"a.json\" is no in-toto statement"),
        ] {
            let wrong = named(&tree(name, lines)).unwrap_err();
            assert!(wrong.contains(want), "{name}: {wrong}");
        }
        let many: Vec<String> =
            (0..=COUNT_LIMIT).map(|number| format!("f run/out/{number:03}.json 644 STATEMENT")).collect();
        assert_eq!(named(&tree("many", &many.join("\n"))).unwrap_err(), "it left more than 63 files");
        let directory = world.directory("large", "d run/out 755");
        std::fs::File::create(directory.join("run/out/a.json")).unwrap().set_len(SIZE_LIMIT + 1).unwrap();
        let large = copied(&session, &Tree::empty(), &world.open(&directory, ""), "COPY . /").unwrap();
        assert_eq!(named(&large).unwrap_err(), "it left more than 67108864 bytes");
    }
}
