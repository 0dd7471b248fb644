//! `skiff pull`, and the pull that `run` and `create` need first.
//!
//! What scripts read is as Docker prints it: the digest, the status, and the full name as the last line.

use std::sync::Arc;

use engine::info::Pulled;
use engine::request::{Create, Pull, PullImage};

use super::progress::{Display, Out, Style};
use super::{pressure, registries};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::flags::Parsed;
use crate::output;
use crate::terminal::heed_signals;
use crate::values::environment;

/// `skiff pull`.
pub(crate) fn run(context: &Context, parsed: &Parsed) -> Result<u8> {
    let style = Style::of(parsed)?;
    let request = PullImage {
        reference: parsed.arguments[0].clone(),
        all_tags: parsed.on("all-tags"),
        platform: parsed
            .text("platform")
            .map(str::to_owned)
            .or_else(environment::default_platform)
            .filter(|platform| !platform.is_empty() && !parsed.on("all-platforms")),
        all_platforms: parsed.on("all-platforms"),
    };
    if request.all_platforms && parsed.text("platform").is_some_and(|platform| !platform.is_empty()) {
        return Err(Error::Conflict("--platform can't be used with --all-platforms"));
    }
    let is_bare = request
        .reference
        .parse::<oci::Reference>()
        .is_ok_and(|name| name.tag().or(name.digest().map(|digest| digest.as_str())).is_none());
    if is_bare && !request.all_tags && matches!(style, Style::Auto | Style::Plain) {
        output::print("Using default tag: latest\n");
    }
    let display = Arc::new(Display::new(Out::Stdout, style));
    let pulled = pull(context, &request, &display)?;
    display.status(&request, &pulled);
    let added: Vec<&str> = pulled.iter().map(|image| image.id.as_str()).collect();
    pressure::relieve_after(context, &added);
    Ok(0)
}

fn pull(context: &Context, request: &PullImage, display: &Arc<Display>) -> Result<Vec<Pulled>> {
    let hears = Arc::clone(display);
    let client = registries::telling(context, move |notice| hears.notice(notice))?;
    let pulled = context.engine()?.pull(&client, request, &|event| display.show(event));
    display.finish();
    Ok(pulled?)
}

/// Makes what needs an image, and pulls that first where it is missing or asked for. What is said about it goes to standard
/// error, as standard output is the container's.
pub(crate) fn with_image<T>(
    context: &Context,
    request: &Create,
    quiet: bool,
    make: impl Fn(&Create) -> Result<T>,
) -> Result<T> {
    let out = Arc::new(Display::new(Out::Stderr, if quiet { Style::Quiet } else { Style::default() }));
    let fetch = || {
        let wanted = PullImage {
            reference: request.image.clone(),
            all_tags: false,
            platform: request.platform.clone(),
            all_platforms: false,
        };
        let pulled = pull(context, &wanted, &out)?;
        if !quiet {
            out.status(&wanted, &pulled);
        }
        make(&Create { pull: Pull::Never, ..request.clone() })
    };
    if request.pull == Pull::Always {
        return fetch();
    }
    match make(request) {
        Err(Error::Engine(missing @ engine::Error::ImageNotHere { .. })) => {
            output::warn(&format!("{missing}\n"));
            heed_signals();
            fetch()
        }
        made => made,
    }
}
