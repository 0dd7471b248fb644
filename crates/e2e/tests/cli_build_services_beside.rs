//! Services with real packages through Skiff, BuildKit of the distribution's Docker, and buildah: the same names, modes, owners
//! and contents come out, but for what holds the time at which it was made.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod beside;
mod oci;
mod services;

use std::path::Path;

use beside::{Builders, Made, differences};

/// Files that tell when they were made, or on which inodes they lie, or when what they were compiled from was written.
fn is_of_the_moment(path: &str) -> bool {
    path.starts_with("var/log/") || path == "var/cache/ldconfig/aux-cache" || path.contains("/__pycache__/")
}

/// The words of history that are the same in today's BuildKit as in Debian's.
fn of_all_ages(history: &[String]) -> Vec<&String> {
    let newer = ["ARG ", "COPY ", "EXPOSE ", "HEALTHCHECK "];
    history.iter().filter(|words| !newer.iter().any(|newer| words.starts_with(newer))).collect()
}

/// What is left when what comes of the moment is taken away, contents alone: that a file is there must agree.
fn without_moments(mut made: Made) -> Made {
    for (path, what) in &mut made.tree {
        if is_of_the_moment(path) {
            // Kind, mode and owner: two numbers.
            let words: Vec<&str> = what.split(' ').take(4).collect();
            *what = words.join(" ");
        }
    }
    made
}

/// A service's files, without the line that has BuildKit fetch a newer frontend.
fn lay_out(name: &str, folder: &Path) -> String {
    let context = folder.join(name);
    services::copy(&services::recipes().join(name), &context);
    let dockerfile = context.join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile).unwrap();
    std::fs::write(dockerfile, text.replacen("# syntax=docker/dockerfile:1\n", "", 1)).unwrap();
    context.to_str().unwrap().to_owned()
}

/// Builds it by all, and wants the same; `folders_of_copies` are those into which it copies with `--chown`.
fn compare(name: &'static str, folders_of_copies: &[&str]) {
    let builders = Builders::new(&format!("{name}-beside"), &services::base(), "overlay");
    let context = lay_out(name, &builders.folder);
    let secret = services::secret();
    let mut options = vec!["--network=host", "--build-arg", "VERSION=3", &context];
    if let Some(secret) = &secret {
        options.splice(0..0, ["--secret", secret.as_str()]);
    }
    let ours = without_moments(builders.by_skiff(&options));
    let mut wrong = Vec::new();
    for (peer, theirs) in
        [("docker", builders.by_docker(&options)), ("buildah", builders.by_buildah(&options))]
    {
        let theirs = without_moments(theirs);
        let mut found = differences(&ours.tree, &theirs.tree);
        found.extend(differences(&ours.config, &theirs.config));
        if peer == "docker" && of_all_ages(&ours.history) != of_all_ages(&theirs.history) {
            found.push(format!("    history: ours {:#?}, theirs {:#?}", ours.history, theirs.history));
        }
        // Buildah gives a folder that is there to the owner of what is copied into it.
        if peer == "buildah" {
            found.retain(|line| {
                !folders_of_copies.iter().any(|path| line.starts_with(&format!("    {path}: ")))
            });
        }
        if !found.is_empty() {
            wrong.push(format!("beside {peer}:\n{}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_node_service_is_the_same_of_all_builders() {
    compare("node", &["app"]);
}

#[test]
fn a_python_service_is_the_same_of_all_builders() {
    compare("python", &[]);
}
