//! Repositories of git that are reached by ssh and by git's own protocol: as contexts, by name, and by `ADD`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests handle their own files and fail loudly"
)]

mod repositories;

use std::path::PathBuf;

use testkit::{Output, Skiff, Sshd, git_daemon};

use repositories::Repositories;

/// A Skiff, repositories, and a server of ssh that leads to them.
struct Workshop {
    skiff: Skiff,
    repositories: Repositories,
    sshd: Sshd,
}

impl Workshop {
    fn new() -> Workshop {
        let workshop = Workshop {
            skiff: Skiff::with_busybox().that_builds(),
            repositories: Repositories::new(),
            sshd: Sshd::start(false),
        };
        std::fs::create_dir_all(workshop.context()).unwrap();
        workshop
    }

    fn context(&self) -> PathBuf {
        self.skiff.folder().join("context")
    }

    fn over_ssh(&self, name: &str) -> String {
        self.sshd.address(&self.repositories.folder().join(format!("{name}.git")))
    }

    fn dockerfile(&self, text: &str) {
        std::fs::write(self.context().join("Dockerfile"), text).unwrap();
    }

    /// Builds, as somebody whose ssh has this command.
    fn by(&self, ssh: &str, words: &[&str]) -> Output {
        let fixed = ["build", "--progress=plain", "-t", "made"];
        let mut command = self.skiff.command(&[&fixed[..], words].concat());
        let output = command.env("GIT_SSH_COMMAND", ssh).output().unwrap();
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    fn build(&self, ssh: &str, words: &[&str]) -> String {
        let output = self.by(ssh, words);
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn in_image(&self, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", script])
    }
}

#[test]
fn what_the_caller_names_his_own_keys_open() {
    let workshop = Workshop::new();
    let files =
        [("Dockerfile", "FROM busybox\nCOPY sub/tool /\nCOPY --from=more top /\n"), ("sub/tool", "tool\n")];
    workshop.repositories.commit("main", &files);
    workshop.repositories.commit("more", &[("top", "top\n")]);
    let (main, named) =
        (workshop.over_ssh("main"), format!("--build-context=more={}", workshop.over_ssh("more")));
    let key = workshop.sshd.command();
    workshop.build(&key, &[&named, &main]);
    assert_eq!(workshop.in_image("cat /tool /top"), "tool\ntop\n");
    let error = workshop.by(&workshop.sshd.command_of_a_stranger(), &[&named, &main]);
    assert!(error.code == 1 && error.stderr.contains("Host key verification failed"), "{}", error.stderr);
}

#[test]
fn what_a_dockerfile_names_takes_an_agent_that_is_given() {
    let workshop = Workshop::new();
    workshop.repositories.commit("tools", &[("tool", "tool\n")]);
    let url = workshop.over_ssh("tools");
    workshop.dockerfile(&format!("FROM busybox\nADD {url} /tools/\n"));
    let context = workshop.context().display().to_string();
    let key = workshop.sshd.command();
    let refused = workshop.by(&key, &[&context]);
    assert!(refused.code == 1 && refused.stderr.contains("--ssh default"), "{}", refused.stderr);
    assert_eq!(workshop.sshd.connections(), 0, "nobody was asked");
    let agent = workshop.sshd.agent();
    let given = format!("--ssh=default={}", agent.socket().display());
    workshop.build(&workshop.sshd.command_without_key(), &[&given, &context]);
    assert_eq!(workshop.in_image("cat /tools/tool; ls -a /tools | grep -c git || true"), "tool\n0\n");
    // It is known by host, path and commit, whoever asks.
    let (scheme, rest) = url.split_once("://").unwrap();
    let nobody = format!("{scheme}://{}", rest.split_once('@').unwrap().1);
    workshop.dockerfile(&format!("FROM busybox\nADD {nobody} /tools/\n"));
    let again = workshop.build(&workshop.sshd.command_without_key(), &[&given, &context]);
    assert!(again.contains(" CACHED\n"), "{again}");
}

#[test]
fn a_repository_is_fetched_by_gits_own_protocol() {
    let workshop = Workshop::new();
    workshop.repositories.commit("tools", &[("tool", "tool\n")]);
    let daemon = git_daemon(workshop.repositories.folder());
    let context = workshop.context().display().to_string();
    workshop.dockerfile(&format!("FROM busybox\nADD git://{}/tools.git /tools/\n", daemon.address()));
    workshop.build("false", &[&context]);
    assert_eq!(workshop.in_image("cat /tools/tool"), "tool\n");
    let again = workshop.build("false", &[&context]);
    assert!(again.contains(" CACHED\n"), "{again}");
    workshop.repositories.commit("tools", &[("tool", "other\n")]);
    workshop.build("false", &[&context]);
    assert_eq!(workshop.in_image("cat /tools/tool"), "other\n");
}
