//! Tables of Dockerfiles, and the graphs and configs that they are lowered to.

mod configs;
mod digests;
mod names;
mod operations;
mod refused;

use expect_test::Expect;

use super::*;
use crate::parse::parse;
use crate::source::Source;
use crate::stage::resolve;

/// What is asked for where a test asks for nothing: one platform.
fn options() -> Options {
    Options::new("linux/amd64".parse().unwrap())
}

/// Lowers a file into a graph that may hold others already.
fn lowered_into(
    graph: &mut Graph,
    text: &str,
    options: &Options,
    images: &Images,
) -> Result<Made, Diagnostic> {
    let source = Source::new("Dockerfile", text.as_bytes().to_vec()).unwrap();
    let file = parse(&source).unwrap_or_else(|errors| panic!("{}", errors.render(&source)));
    let plan = resolve(&file, options, images)?;
    let contexts = BTreeMap::new();
    let inputs =
        Inputs { plan: &plan, options, images, contexts: &contexts, ignored: None, escape: file.escape };
    lower(graph, &inputs, &mut Linter::default())
}

/// The graph of a file that is whole, for one platform.
fn graph_of(text: &str) -> Graph {
    let mut graph = Graph::default();
    lowered_into(&mut graph, text, &options(), &Images::new())
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    graph
}

/// What the last stage of a file makes.
fn made(text: &str) -> Made {
    lowered_into(&mut Graph::default(), text, &options(), &Images::new())
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What is said of a file that cannot be lowered.
fn error(text: &str) -> String {
    lowered_into(&mut Graph::default(), text, &options(), &Images::new()).unwrap_err().message
}

/// Compares the graph of a file with lines of [`shown`].
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&shown(&graph_of(text)));
}

/// Each operation in a line.
fn shown(graph: &Graph) -> String {
    let line = |(number, node): (usize, &Node)| {
        let what = match &node.op {
            Op::Scratch => "scratch".to_owned(),
            Op::Image { reference, platform } => format!("image {} {platform}", reference.familiar()),
            Op::Context { name, .. } => format!("context {name:?}"),
            Op::Http { url, name, .. } => format!("http {url} as {name}"),
            Op::Git(git) => format!("git {} {:?} {:?}", git.remote, git.reference, git.subdirectory),
            Op::Inline { name, content, mode } => format!("inline {name} {content:?} {mode:o}"),
            Op::Run(run) => {
                let mounts = run.mounts.iter().map(|(mount, input)| format!(" {}={input:?}", mount.target));
                format!("run {:?} in {}{}", run.args, run.cwd, mounts.collect::<String>())
            }
            Op::Copy(copy) => {
                let from =
                    copy.selections.iter().map(|one| format!("{}:{}", node.inputs[one.input], one.path));
                format!("copy {} -> {}", from.collect::<Vec<_>>().join(" "), copy.destination)
            }
            Op::MakeDirectory { path, owner } => format!("directory {path} {owner:?}"),
            Op::Merge => "merge".to_owned(),
        };
        format!("{number} {what} {:?}\n", node.inputs)
    };
    graph.nodes().iter().enumerate().map(line).collect()
}
