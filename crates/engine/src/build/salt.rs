//! What decides over what a step makes, and stands in no Dockerfile: part of its keys.
//!
//! | what | of which steps |
//! |---|---|
//! | `SOURCE_DATE_EPOCH` | all |
//! | which devices are meant by those that it asks for (what their specifications say is none of it) | RUN |
//! | no network by `--network=none`, the names of `--add-host`, `--ulimit`, `--shm-size`, `BUILDKIT_SANDBOX_HOSTNAME` | RUN |
//!
//! As in BuildKit, where hosts lie is none of it. Nor are limits of processors, memory and processes, and the control group: they decide how
//! fast a program is and whether it comes to an end, and belong to a machine. What nobody asked for adds nothing.

use dockerfile::lower::{Op, RunOp};
use dockerfile::syntax::Network;
use oci::Timestamp;

use crate::request::{Build, BuildNetwork};

/// What decides over an operation without a look at the host; empty where there is nothing. `epoch` is that of the request or of the Dockerfile.
pub(super) fn of(request: &Build, epoch: Option<Timestamp>, op: &Op) -> String {
    let mut salt = epoch.map_or_else(String::new, |epoch| epoch.seconds().to_string());
    if let Op::Run(run) = op {
        add_surroundings(&mut salt, request, run);
    }
    salt
}

/// The same of the devices of these names, which a program gets.
pub(super) fn of_devices(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("\ndevices {names:?}") }
}

fn add_surroundings(salt: &mut String, request: &Build, run: &RunOp) {
    if run.network == Network::Default && request.network == BuildNetwork::None {
        salt.push_str("\nno network");
    }
    if !request.extra_hosts.is_empty() {
        let name = |entry: &String| entry.split(['=', ':']).next().unwrap_or_default().to_owned();
        let names: Vec<String> = request.extra_hosts.iter().map(name).collect();
        salt.push_str(&format!("\nhosts {names:?}"));
    }
    if !request.limits.ulimits.is_empty() {
        salt.push_str(&format!("\nulimits {:?}", request.limits.ulimits));
    }
    if let Some(size) = request.limits.shm_size {
        salt.push_str(&format!("\nshm {size}"));
    }
    if let Some(name) = request.hostname() {
        salt.push_str(&format!("\nhostname {name:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::build::world::program;
    use crate::request::{BuildLimits, Ulimit};

    fn of(build: &Build, op: &Op) -> String {
        super::of(build, build.epoch(), op)
    }

    fn run(network: Network) -> Op {
        Op::Run(Box::new(RunOp { network, ..program("true") }))
    }

    fn limited(limits: BuildLimits) -> Build {
        Build { limits, ..Build::default() }
    }

    fn hosts(entry: &str) -> Build {
        Build { extra_hosts: vec![entry.to_owned()], ..Build::default() }
    }

    #[test]
    fn what_a_program_sees_of_its_build_decides_and_what_it_may_take_does_not() {
        let nofile = |soft| Ulimit { name: "nofile".to_owned(), soft, hard: 100 };
        let different = [
            Build::default(),
            Build { network: BuildNetwork::None, ..Build::default() },
            Build { source_date_epoch: Timestamp::new(5, 0), ..Build::default() },
            Build {
                arguments: [("BUILDKIT_SANDBOX_HOSTNAME".to_owned(), "me".to_owned())].into(),
                ..Build::default()
            },
            hosts("a:10.0.0.1"),
            hosts("b:10.0.0.1"),
            limited(BuildLimits { ulimits: vec![nofile(1)], ..BuildLimits::default() }),
            limited(BuildLimits { ulimits: vec![nofile(2)], ..BuildLimits::default() }),
            limited(BuildLimits { shm_size: Some(1 << 20), ..BuildLimits::default() }),
        ];
        let salts: BTreeSet<String> =
            different.iter().map(|build| of(build, &run(Network::Default))).collect();
        assert_eq!(salts.len(), different.len(), "{salts:#?}");
        assert!(salts.contains(""), "what nobody asked for adds nothing");
        let (one, other) = ("v/c=a".to_owned(), "v/c=b".to_owned());
        assert_ne!(of_devices(std::slice::from_ref(&one)), of_devices(&[one, other]));
        assert_eq!(of_devices(&[]), "");
        let limits = BuildLimits {
            memory: Some(1 << 30),
            pids: Some(100),
            cgroup_parent: Some("/here".to_owned()),
            ..BuildLimits::default()
        };
        for same in [limited(limits), Build { network: BuildNetwork::Host, ..Build::default() }] {
            assert_eq!(of(&same, &run(Network::Default)), "");
        }
        assert_eq!(
            of(&hosts("a:10.0.0.1"), &run(Network::Default)),
            of(&hosts("a=::1"), &run(Network::Default))
        );
    }

    #[test]
    fn what_has_no_network_anyway_does_not_depend_on_it_and_copies_depend_on_times_alone() {
        let offline = Build { network: BuildNetwork::None, ..Build::default() };
        assert_eq!(of(&offline, &run(Network::None)), "");
        for build in [offline, hosts("a:10.0.0.1")] {
            assert_eq!(of(&build, &Op::Merge), "");
        }
        assert_eq!(
            of(&Build { source_date_epoch: Timestamp::new(5, 0), ..Build::default() }, &Op::Merge),
            "5"
        );
    }
}
