//! Credentials of the addresses that a build has used, and what is attested without them.
//!
//! An address may be written down whole, and it may be put together of arguments, one of which is the token. So those of all addresses
//! that a build has asked are known by their values too, and masked in whatever is told: in arguments, variables and programs of steps.

use dockerfile::lower::{Node, Op};
use oci::KnownCredentials;
use serde_json::Value;

use crate::build::export::Export;
use crate::request::{BuildContext, NamedContext};

/// Those of what an image was made of.
pub(super) fn known(export: &Export<'_>, nodes: &[(usize, &Node)]) -> KnownCredentials {
    let request = export.session.request;
    let of_node = |(_, node): &(usize, &'_ Node)| match &node.op {
        Op::Http { url, .. } => Some(url.clone()),
        Op::Git(source) => Some(source.remote.clone()),
        Op::Image { .. }
        | Op::Context { .. }
        | Op::Run(_)
        | Op::Scratch
        | Op::Inline { .. }
        | Op::Copy(_)
        | Op::MakeDirectory { .. }
        | Op::Merge => None,
    };
    let contexts = request.contexts.values().filter_map(|context| match context {
        NamedContext::Remote(url) => Some(url.clone()),
        NamedContext::Directory(_)
        | NamedContext::Image(_)
        | NamedContext::Layout { .. }
        | NamedContext::Made(_) => None,
    });
    let main = match &request.context {
        BuildContext::Remote(url) => Some(url.clone()),
        BuildContext::Empty | BuildContext::Directory(_) | BuildContext::Stream(_) => None,
    };
    let all: Vec<String> = nodes.iter().filter_map(of_node).chain(contexts).chain(main).collect();
    KnownCredentials::of(all.iter().map(String::as_str))
}

/// Masks them in all texts of a document. Nothing is as deep as a stack, for what is told has a shape of its own.
pub(super) fn mask(value: &mut Value, known: &KnownCredentials) {
    match value {
        Value::String(text) => {
            let masked = known.mask(text);
            if masked != *text {
                *text = masked.into_owned();
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|one| mask(one, known)),
        Value::Object(all) => all.iter_mut().for_each(|(_, one)| mask(one, known)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
