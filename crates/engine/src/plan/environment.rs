//! The environment of a container's processes.

use crate::spec::ProcessSpec;

/// Where programs are looked up when neither image nor user says.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The user's variables, then those of the image that the user does not name. As Docker keeps them.
pub(crate) fn merge(user: &[String], image: &[String]) -> Vec<String> {
    let mut merged = user.to_vec();
    for entry in image {
        if !user.iter().any(|other| name(other) == name(entry)) {
            merged.push(entry.clone());
        }
    }
    merged
}

/// What a container's first process gets. `HOME` is added inside, where its user is known.
pub(crate) fn of_process(spec: &ProcessSpec, hostname: &str) -> Vec<String> {
    let mut env = vec![PATH.to_owned(), format!("HOSTNAME={hostname}")];
    if spec.tty {
        env.push("TERM=xterm".to_owned());
    }
    apply(&mut env, &spec.env);
    env
}

/// What a further process gets: the container's, a terminal's, and its own.
pub(crate) fn of_exec(spec: &ProcessSpec, hostname: &str, own: &[String], tty: bool) -> Vec<String> {
    let mut env = of_process(spec, hostname);
    if tty && !env.iter().any(|entry| name(entry) == "TERM") {
        env.push("TERM=xterm".to_owned());
    }
    apply(&mut env, own);
    env
}

/// `NAME=value` replaces or appends; `NAME` alone removes.
fn apply(env: &mut Vec<String>, entries: &[String]) {
    for entry in entries {
        let at = env.iter().position(|other| name(other) == name(entry));
        match (at, entry.contains('=')) {
            (Some(at), true) => env[at].clone_from(entry),
            (Some(at), false) => drop(env.remove(at)),
            (None, true) => env.push(entry.clone()),
            (None, false) => {}
        }
    }
}

fn name(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn the_users_variables_come_first_and_hide_the_images() {
        let merged = merge(&owned(&["A=1", "GONE"]), &owned(&["PATH=/x", "A=2", "GONE=3", "B=4"]));
        assert_eq!(merged, ["A=1", "GONE", "PATH=/x", "B=4"]);
    }

    #[test]
    fn a_process_gets_path_and_hostname_unless_named() {
        let mut spec = ProcessSpec { env: owned(&["A=1"]), ..ProcessSpec::default() };
        assert_eq!(of_process(&spec, "box"), [PATH, "HOSTNAME=box", "A=1"]);
        spec.tty = true;
        spec.env = owned(&["PATH=/bin", "HOSTNAME", "TERM=dumb", "A=b=c", "NOTHING"]);
        assert_eq!(of_process(&spec, "box"), ["PATH=/bin", "TERM=dumb", "A=b=c"]);
    }

    #[test]
    fn an_exec_adds_to_the_containers_variables() {
        let spec = ProcessSpec { env: owned(&["A=1"]), ..ProcessSpec::default() };
        assert_eq!(
            of_exec(&spec, "box", &owned(&["A=2", "B=3"]), false),
            [PATH, "HOSTNAME=box", "A=2", "B=3"]
        );
        assert_eq!(of_exec(&spec, "box", &[], true), [PATH, "HOSTNAME=box", "A=1", "TERM=xterm"]);
    }
}
