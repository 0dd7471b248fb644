//! Builds of an ordinary user, with what comes from outside: agents, packages of a distribution, caches that lent ids own.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

mod services;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use testkit::{Skiff, User, busybox, wait_until};

/// A Skiff of an ordinary user, and a folder that is the user's.
struct Workshop {
    skiff: Skiff,
    user: User,
}

impl Workshop {
    fn new() -> Workshop {
        let user = User::new();
        Workshop { skiff: Skiff::of(&user).that_builds(), user }
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.skiff.folder().join(name)
    }

    /// A program of the host's, as the user.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.uid(self.user.uid()).gid(self.user.gid()).current_dir(self.skiff.folder());
        command.env_clear().env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    fn context(&self, dockerfile: &str) -> String {
        let context = self.beside("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        context.display().to_string()
    }

    fn built(&self, flags: &[&str], dockerfile: &str) -> String {
        let context = self.context(dockerfile);
        let output =
            self.skiff.run(&[&["build", "--progress=plain", "-t", "made"], flags, &[&context]].concat());
        assert_eq!(output.code, 0, "{}", output.stderr);
        output.stderr
    }

    fn in_image(&self, script: &str) -> String {
        self.skiff.ok(&["run", "--rm", "made", "sh", "-c", script])
    }
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn a_step_asks_the_agent_of_an_ordinary_user() {
    let workshop = Workshop::new();
    workshop.skiff.load(&busybox());
    let (socket, key) = (workshop.beside("agent"), workshop.beside("key"));
    let socket_text = socket.display().to_string();
    let agent = workshop.command("ssh-agent").args(["-D", "-a", &socket_text]).stdout(Stdio::null()).spawn();
    let _agent = Agent(agent.expect("this test needs ssh-agent: install openssh-client"));
    wait_until("the agent listens", || socket.exists());
    let made = workshop
        .command("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "key of a test", "-f"])
        .arg(&key)
        .status();
    assert!(made.unwrap().success());
    let added = workshop.command("ssh-add").env("SSH_AUTH_SOCK", &socket).arg("-q").arg(&key).status();
    assert!(added.unwrap().success());
    let context = PathBuf::from(workshop.context(""));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent_keys.c");
    let built =
        Command::new("cc").args(["-static", "-O1", "-s", "-o"]).arg(context.join("ask")).arg(source).status();
    assert!(built.expect("a C compiler is needed").success());

    // Root inside is the user, who owns the socket; another id has one that was given to it.
    let dockerfile = "FROM busybox\nCOPY --chmod=755 ask /bin/ask\n\
        RUN --mount=type=ssh ask > /root.txt\n\
        RUN --mount=type=ssh,id=other,target=/run/own.sock,uid=1000,mode=0600 mkdir -m 777 /of && SSH_AUTH_SOCK=/run/own.sock ask > /of/root\n\
        USER 1000\n\
        RUN --mount=type=ssh,id=other,uid=1000 ask > /of/user\n\
        RUN --mount=type=ssh,id=other,uid=1001 if ask 2>/dev/null; then exit 1; fi; echo refused > /of/nobody\n";
    let flags = [format!("--ssh=default={socket_text}"), format!("--ssh=other={socket_text}")];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    workshop.built(&flags, dockerfile);
    let keys = "1\nkey of a test\n";
    assert_eq!(
        workshop.in_image("cat /root.txt /of/root /of/user /of/nobody"),
        format!("{keys}{keys}{keys}refused\n")
    );
    // The socket does not stay.
    assert_eq!(workshop.in_image("ls /run/buildkit /run/own.sock 2>/dev/null; echo none"), "none\n");
}

#[test]
fn packages_with_owners_of_their_own_are_installed_by_an_ordinary_user() {
    let base = services::base();
    let workshop = Workshop::new();
    let copy = workshop.beside("base.tar");
    std::fs::copy(base, &copy).unwrap();
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o644)).unwrap();
    workshop.skiff.ok(&["load", "-q", "-i", copy.to_str().unwrap()]);
    // A set-group-id program of a group that its package makes; a set-user-id program of a system user's group; a user with a home.
    let dockerfile = "FROM base\n\
        RUN --mount=type=cache,target=/var/cache/apt,sharing=locked --mount=type=cache,target=/var/lib/apt,sharing=locked \
        rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update -q && \
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends cron dbus\n\
        RUN useradd --create-home --uid 4242 app && install -o app -g crontab -m 2750 -d /srv/app && dpkg --audit && dpkg --verify cron\n";
    workshop.built(&[], dockerfile);
    let facts = "stat -c '%a %U:%G' /usr/bin/crontab /usr/lib/dbus-1.0/dbus-daemon-launch-helper /var/spool/cron/crontabs /home/app /srv/app; \
        dpkg-query -W -f '${Status}\\n' cron dbus";
    assert_eq!(
        workshop.in_image(facts),
        "2755 root:crontab\n4754 root:messagebus\n1730 root:crontab\n755 app:app\n2750 app:crontab\n\
         install ok installed\ninstall ok installed\n"
    );
    // What apt keeps for its own user is the caller's to remove.
    workshop.skiff.ok(&["builder", "prune", "-af"]);
}

#[test]
fn caches_that_lent_ids_own_are_measured_whole() {
    let workshop = Workshop::new();
    workshop.skiff.load(&busybox());
    let dockerfile = "FROM busybox\nRUN --mount=type=cache,target=/c mkdir /c/closed && \
        dd if=/dev/zero of=/c/closed/file bs=1M count=3 2>/dev/null && chown -R 1000:1000 /c/closed && chmod 700 /c/closed\n";
    workshop.built(&[], dockerfile);
    let sizes =
        workshop.skiff.ok(&["builder", "du", "--filter", "type=exec.cachemount", "--format", "{{json .}}"]);
    let entry: serde_json::Value = serde_json::from_str(sizes.lines().next().expect("a cache")).unwrap();
    let size = entry["Size"].to_string();
    assert!(size.contains("3.1") && size.contains("MB"), "{entry}");
    // As are containers with closed folders.
    let script = "mkdir /closed && dd if=/dev/zero of=/closed/file bs=1M count=3 2>/dev/null && chown -R 1000:1000 /closed && chmod 700 /closed";
    workshop.skiff.ok(&["run", "--name=cc", "busybox", "sh", "-c", script]);
    let used = workshop.skiff.ok(&["system", "df", "--format", "{{.Type}} {{.Size}}"]);
    let of_containers = used.lines().find(|line| line.starts_with("Containers ")).expect("a line");
    assert!(of_containers.contains(" 3.1") && of_containers.ends_with("MB"), "{used}");
}
