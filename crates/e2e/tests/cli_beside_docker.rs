//! The same lines of shell for Skiff and for the distribution's Docker, in which `D` is the one or the other: they must
//! end with the same code and print the same. What Docker does differently on purpose, or worse, is not in here.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::path::Path;
use std::process::Command;

use oci::dockerd::Dockerd;
use oci::{Done, require, run};
use serde_json::json;
use testkit::{Entry, Skiff, archive, busybox_layer};

/// A Docker and a Skiff, both with the same images.
struct Both {
    skiff: Skiff,
    docker: Dockerd,
}

/// `busybox` with files to copy and links to follow; `declares` has a volume, a port and a label too.
fn images() -> [Vec<u8>; 2] {
    let layer = busybox_layer(&[
        Entry::Directory("data", 0o755),
        Entry::File("data/one", 0o644, b"one\n"),
        Entry::Directory("data/sub", 0o755),
        Entry::File("data/sub/two", 0o644, b"two\n"),
        Entry::Symlink("to-data", "data"),
        Entry::Symlink("to-one", "/data/one"),
    ]);
    let plain = json!({ "Cmd": ["sh"], "Env": ["PATH=/bin:/usr/bin"] });
    let mut declares = plain.clone();
    declares["Volumes"] = json!({ "/kept": {} });
    declares["ExposedPorts"] = json!({ "80/tcp": {} });
    declares["Labels"] = json!({ "tier": "front" });
    [archive("busybox:latest", &layer, plain), archive("declares:latest", &layer, declares)]
}

impl Both {
    fn new(name: &str) -> Both {
        let both = Both { skiff: Skiff::new(), docker: Dockerd::start(name, |_| Vec::new()) };
        for (number, image) in images().iter().enumerate() {
            both.skiff.load(image);
            let file = both.docker.lab.path(&format!("{number}.tar"));
            std::fs::write(&file, image).unwrap();
            assert_eq!(both.docker(&format!("D load --quiet --input {}", file.display())).code, 0);
        }
        for (_, folder) in both.folders() {
            std::fs::create_dir(folder).unwrap();
        }
        both
    }

    /// Where the lines run: a folder for each.
    fn folders(&self) -> [(&'static str, std::path::PathBuf); 2] {
        [("docker", self.docker.lab.path("here")), ("skiff", self.skiff.folder().join("here"))]
    }

    fn docker(&self, line: &str) -> Done {
        let lab = &self.docker.lab;
        let mut command = Command::new("sh");
        command.env("DOCKER_CONFIG", lab.path("config")).env("TZ", "UTC").env_remove("DOCKER_HOST");
        let script = format!("D() {{ docker --host {} \"$@\"; }}\n{line}", self.docker.host());
        in_folder(&mut command, &self.folders()[0].1, &script)
    }

    fn skiff(&self, line: &str) -> Done {
        let own: [&str; 0] = [];
        let program = self.skiff.command(&own);
        let mut command = Command::new("sh");
        command.env("TZ", "UTC").envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let script = format!("D() {{ {} \"$@\"; }}\n{line}", program.get_program().to_str().unwrap());
        in_folder(&mut command, &self.folders()[1].1, &script)
    }

    /// Runs each line for both, in order, and tells of those that end or print differently.
    fn same(&self, lines: &str) {
        let mut different = Vec::new();
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (docker, skiff) = (self.docker(line), self.skiff(line));
            if (docker.code, neutral(&docker.out)) != (skiff.code, neutral(&skiff.out)) {
                different.push(format!("{line}\n  docker: {docker:?}\n  skiff:  {skiff:?}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }

    /// Runs each line for both, wants the same code, and `words` on both standard errors.
    fn fail_alike(&self, lines: &[(&str, &str)]) {
        let mut different = Vec::new();
        for (line, words) in lines {
            let (docker, skiff) = (self.docker(line), self.skiff(line));
            let said = |done: &Done| done.err.to_lowercase().contains(&words.to_lowercase());
            if docker.code != skiff.code || docker.code == 0 || !said(&docker) || !said(&skiff) {
                different.push(format!("{line}: {words}\n  docker: {docker:?}\n  skiff:  {skiff:?}"));
            }
        }
        assert!(different.is_empty(), "{}", different.join("\n"));
    }
}

fn in_folder(command: &mut Command, folder: &Path, script: &str) -> Done {
    if folder.exists() {
        command.current_dir(folder);
    }
    run(command.arg("-c").arg(script))
}

/// What Docker says on hosts that forward nothing, about networks that its daemon here does not have anyway.
const NO_FORWARDING: &str = "IPv4 forwarding is disabled. Networking will not work.";

/// Without what is different every time, ids, and what depends on the host.
fn neutral(text: &str) -> String {
    let is_id = |word: &str| {
        (word.len() == 64 || word.len() == 12) && word.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    let neutral_word = |word: &str| {
        let bare = word.trim_start_matches("sha256:").trim_matches(['"', ',', '[', ']', '{', '}']);
        if is_id(bare) { word.replace(bare, "ID") } else { word.to_owned() }
    };
    let lines = text.lines().filter(|line| *line != NO_FORWARDING);
    lines.map(|line| line.split(' ').map(neutral_word).collect::<Vec<_>>().join(" ") + "\n").collect()
}

#[test]
fn states_and_their_words() {
    let both = Both::new("beside-states");
    both.same(
        r#"
        D create --name c1 busybox sleep 1000
        D start c1; D start c1
        D pause c1; D ps -a --format '{{.Names}} {{.Status}}' | sed 's/Up .* (/Up (/'
        D unpause c1; D exec c1 sh -c 'exit 9'; echo $?
        D stop -t 0 c1; D stop c1; D wait c1; D inspect -f '{{.State.Status}} {{.State.ExitCode}}' c1
        D restart -t 0 c1; D kill -s KILL c1; D wait c1
        D run --name r1 --restart on-failure:1 -d busybox sh -c 'exit 3'; for i in $(seq 100); do D inspect -f '{{.RestartCount}} {{.State.Status}}' r1 | grep '1 exited' && break; sleep 0.1; done
        D run --rm -d -a stdout busybox true; echo $?
        D run --rm busybox nope; echo $?
        D run --rm busybox /etc/passwd; echo $?
        D run --rm busybox /etc; echo $?
        D run --rm busybox sh -c 'kill -9 $$'; echo $?
        D run --rm -v "$PWD:/a" -v "$PWD:/a" busybox ls /a
        D create --name f1 busybox nope; D start f1; echo $?; D inspect -f '{{.State.Status}} {{.State.ExitCode}}' f1
        D create --name f2 -v /etc/hostname:/data busybox true; D start f2; echo $?; D inspect -f '{{.State.Status}} {{.State.ExitCode}}' f2
        D create --name f3 -v "$PWD:/data/one" busybox true; D start f3; echo $?; D inspect -f '{{.State.ExitCode}}' f3
        D rm c1 f1 f2 f3 r1
        D rm c1; echo $?
        D rm -f c1; echo $?
        D ps; D ps -aq; D top; echo $?; D nonsense; echo $?; D ps --nonsense; echo $?
        "#,
    );
    both.same("D run -d --name up busybox sleep 1000; D run --name down busybox true");
    both.fail_alike(&[
        ("D pause nope", "No such container: nope"),
        ("D pause down", "is not running"),
        ("D unpause up", "is not paused"),
        ("D pause up && D pause up", "is already paused"),
        ("D exec up true", "is paused, unpause the container before exec"),
        ("D attach up", "You cannot attach to a paused container, unpause it first"),
        ("D start up", "unpause"),
        ("D unpause up; D rm up", "stop the container before"),
        ("D attach down", "You cannot attach to a stopped container, start it first"),
        ("D exec down true", "is not running"),
        ("D kill down", "is not running"),
        ("D top down", "is not running"),
        ("D kill -s FOO up", "Invalid signal: FOO"),
        ("D inspect nope", "No such object: nope"),
        ("D rename up up", "Renaming a container with the same name as its current name"),
        ("D rename up ''", "Neither old nor new names may be empty"),
        ("D port down 80", "No public port '80' published for down"),
        ("D port down x", "invalid port (x)"),
        ("D create --name up busybox", "is already in use by container"),
        ("D create --name 'a b' busybox", "only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"),
        ("D create -m 1m busybox", "Minimum memory limit allowed is 6MB"),
        ("D create --stop-signal FOO busybox", "Invalid signal: FOO"),
        ("D run --restart always:3 busybox", "maximum retry count"),
        ("D create --log-opt foo=bar busybox", "unknown log opt 'foo' for json-file log driver"),
        (
            "D create -v /etc/hostname:/data --name mm busybox; D start mm",
            "Are you trying to mount a directory onto a file",
        ),
        ("D run --rm -u nope busybox true", "unable to find user nope"),
        ("D run --rm -u 0:nope busybox true", "unable to find group nope"),
        ("D run --rm --group-add nope busybox true", "unable to find group nope"),
        ("D update up", "you must provide one or more flags"),
        ("D update -m 100m --memory-swap 50m up", "memoryswap"),
        (
            "D run --rm --cpuset-mems 99 busybox true",
            "Requested memory nodes are not available - requested 99",
        ),
        ("D update --cpuset-cpus 99 up", "Requested CPUs are not available"),
        ("D ps --filter health=odd", "health"),
        ("D ps --filter is-task=odd", "is-task"),
        ("D ps --filter status=odd", "invalid filter 'status=odd'"),
        ("D ps --filter odd=1", "invalid filter 'odd'"),
        ("D ps --filter odd", "--filter"),
        ("D stats --no-stream nope", "No such container: nope"),
    ]);
}

#[test]
fn what_is_told_of_containers() {
    let both = Both::new("beside-told");
    both.same(
        r#"
        D run -d --name up --health-cmd 'echo fine' --health-interval 100ms -m 64m --pids-limit 50 --label tier=back busybox sleep 1000
        D run --name down declares sh -c 'echo out; echo more; sleep 0.1; echo err >&2; exit 4'
        for i in $(seq 100); do D ps --filter health=healthy --format '{{.Names}}' | grep up && break; sleep 0.1; done
        D ps -a --filter health=none --format '{{.Names}}'
        D ps --format '{{.Names}} {{.Status}}' | sed 's/Up .* (/Up (/'
        D inspect -f '{{.State.Health.Status}} {{.State.Health.FailingStreak}} {{(index .State.Health.Log 0).ExitCode}} {{json (index .State.Health.Log 0).Output}}' up
        D inspect -f '{{.HostConfig.PidsLimit}} {{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.MemorySwappiness}}' up down
        D inspect -f '{{.Config.Entrypoint}}|{{.Config.Volumes}}|{{.Config.ExposedPorts}}|{{.Config.OnBuild}}|{{.Config.StopSignal}}' up down
        D inspect -f '{{.State.Health}}|{{.Config.Healthcheck}}|{{.Config.StopTimeout}}|{{.SizeRw}}|{{.HostConfig.CapAdd}}|{{.HostConfig.Binds}}' down
        D inspect -f '{{json .HostConfig.ReadonlyPaths}}{{println}}{{range .HostConfig.MaskedPaths}}{{println .}}{{end}}' down | grep -E 'bus|kcore|firmware'
        D create --name bare --privileged busybox; D create --name open --security-opt systempaths=unconfined busybox
        D inspect -f '{{json .HostConfig.ReadonlyPaths}} {{json .HostConfig.MaskedPaths}}' bare open; D rm bare open
        D inspect -f '{{json .Config.Entrypoint}} {{json .HostConfig.CapAdd}} {{len .HostConfig.Binds}} {{range .HostConfig.Links}}x{{else}}none{{end}}' up
        D inspect -f '{{.Config.ExposedPorts}} {{.Config.Healthcheck}} {{.Config.Entrypoint}} {{.Config.Cmd}}' busybox declares
        D inspect -f '{{.Foo' up; echo $?
        D inspect --type image up; echo $?
        D ps -a --filter name='up|down' --format '{{.Names}}'
        D ps -a --filter name='^(up|x)$' --format '{{.Names}}'
        D ps -a --filter name='^/up$' --format '{{.Names}}'
        D ps -a --filter name='(' --format '{{.Names}}'
        D ps -a --filter label=tier --format '{{.Names}}'
        D ps -a --filter label=tier=front --filter label=x --format '{{.Names}}'
        D ps -a --filter exited=4 --filter exited=5 --format '{{.Names}}'
        D ps -a --filter status=exited --filter status=running --format '{{.Names}}'
        D ps -a --filter ancestor=declares --format '{{.Names}}'
        D ps -a --filter ancestor=nope --format '{{.Names}}'
        D ps -a --filter since=up --format '{{.Names}}'; D ps -a --filter before=down --format '{{.Names}}'
        D ps -a --filter volume=/kept --format '{{.Names}}'
        D ps -l --format '{{.Names}}'; D ps -n 5 --format '{{.Names}}'
        D ps -a --format '{{.Names}}: {{.Label "tier"}} {{.Command}} {{.LocalVolumes}} {{.State}}'
        D logs down; D logs --tail 1 down; D logs -n 0 down; D logs --since 1h down; D logs --until 1h down; D logs -t down | wc -l
        D logs down 2>/dev/null; D logs --details down 2>/dev/null
        D top up -o pid,comm,args | sed 's/^[0-9]*//' | grep -v -e fine -e runc -e skiff-monitor
        D update --cpus 1.5 --restart on-failure:4 up; D inspect -f '{{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}} {{.HostConfig.RestartPolicy.MaximumRetryCount}}' up
        D update --restart no up; D update -m 200m --memory-swap 300m up; D inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}}' up
        D exec up sh -c 'mkdir -p /a/b; echo x > /a/b/c; rm /data/one; rm -r /data/sub; mkdir /data/sub; chmod 700 /tmp; touch "/with blank"'
        D diff up | sort -k2
        D stop -t 0 up; D diff up | sort -k2
        D container prune -f | wc -l; D ps -aq | wc -l; D container prune -f; D container prune </dev/null
        "#,
    );
}

#[test]
fn files_are_copied_alike() {
    let both = Both::new("beside-copy");
    both.same(
        r#"
        mkdir -p src/sub empty; echo a >src/a; echo b >src/sub/b; ln -s a src/l; echo f >f; ln -s src dl; ln -s /nowhere dang
        D run -d --name c1 busybox sleep 1000
        D cp f c1:/f1; D exec c1 cat /f1
        D cp f c1:/newdir/; echo $?
        D cp f c1:/newdir/x; echo $?
        D cp f c1:/tmp; D cp f c1:/tmp/; D cp f c1:/tmp/.; D cp f c1:tmp/g; D exec c1 ls /tmp
        D cp f c1:/data/one/; echo $?; D cp f c1:/data/one/x; echo $?
        D cp src c1:/data/one; echo $?; D cp src/. c1:/data/one; echo $?
        D cp src c1:/d1; D cp src c1:/d1; D exec c1 sh -c 'cd /d1; ls -R'
        D cp src/ c1:/d2; D cp src/. c1:/d3; D cp src/. c1:/d3/; D cp src c1:/d4/; D exec c1 ls -R /d2 /d3 /d4
        D cp src c1:/no/such; echo $?; D cp src/. c1:/no/such; echo $?
        D cp f/ c1:/tmp; echo $?; D cp f/. c1:/tmp; echo $?; D cp nope c1:/tmp; echo $?
        D cp dl c1:/l0; D cp dl/ c1:/l1; D cp dl/. c1:/l2; D cp -L dl c1:/l3; D exec c1 sh -c 'readlink /l0; ls -R /l1 /l2 /l3'
        D cp src/l c1:/l4; D cp -L src/l c1:/l5; D exec c1 sh -c 'readlink /l4; cat /l5'
        D cp dang c1:/dang; D exec c1 readlink /dang; D cp -L dang c1:/dang2; echo $?
        D cp f c1:/to-data; D cp f c1:/to-data/; D cp f c1:/to-one; D cp src c1:/to-data; D exec c1 sh -c 'ls -R /data; cat /data/one; readlink /to-one'
        D exec c1 ln -s /nowhere/x /dg; D cp f c1:/dg; echo $?
        D exec c1 ln -s /tmp/through /dg2; D cp f c1:/dg2; D exec c1 cat /tmp/through
        D cp c1:/data/one o1; cat o1; D cp c1:/data/one empty; D cp c1:/data/one empty/; ls empty
        D cp c1:/data/one nodir/; echo $?; D cp c1:/data/one no/dir; echo $?
        D cp c1:/data .; D cp c1:/data/. e2; D cp c1:/data/ e3; D cp c1:/data e3; D cp c1:/data/. e3/; find data e2 e3 | sort
        D cp c1:/data f; echo $?; D cp c1:/data/. f; echo $?; D cp c1:/data/one f; cat f
        D cp c1:/data/one/ x; echo $?; D cp c1:/data/one/. x; echo $?; D cp c1:/nope x; echo $?
        D cp c1:/to-data k1; readlink k1; D cp -L c1:/to-data k2; D cp c1:/to-data/ k3; D cp c1:/to-data/. k4; find k2 k3 k4 | sort
        D cp c1:/to-one k5; readlink k5; D cp -L c1:/to-one k6; cat k6; D cp -L c1:/to-one k7/; echo $?
        D cp c1:/data/sub - | tar tf - | sort; D cp c1:/data/sub/. - | tar tf - | sort; D cp c1:/to-data - | tar tf -
        tar cf - src | D cp - c1:/tmp/t1; echo $?; D exec c1 mkdir /tmp/t2; tar cf - src | D cp - c1:/tmp/t2; D exec c1 ls -R /tmp/t2
        tar czf - src | D cp - c1:/tmp/t2; echo $?; echo nonsense | D cp - c1:/tmp; echo $?
        D cp c1:/data c1:/x; echo $?; D cp a b; echo $?; D cp - -; echo $?; D cp '' c1:/x; echo $?; D cp :/x y; echo $?
        D cp c1:/proc/self/status ps; echo $?; D cp ../../../../etc/passwd c1:/../../tmp/up; D exec c1 ls /tmp/up
        D stop -t 0 c1; D cp f c1:/stopped; D cp c1:/stopped - | tar xOf -
        D create --name ro --read-only busybox; D cp f ro:/x; echo $?
        "#,
    );
    both.fail_alike(&[
        ("D cp :/x y", "must specify at least one container source"),
        ("D cp c1:/a c1:/b", "copying between containers is not supported"),
        ("D cp c1:/nope x", "Could not find the file /nope in container c1"),
        ("D cp nope c1:/x", "no such file or directory"),
        ("D cp src c1:/data/one", "cannot copy directory"),
        ("D cp c1:/data/one no/dir", "does not exist"),
    ]);
}

#[test]
fn others_read_what_skiff_commits() {
    require("skopeo", "skopeo");
    require("podman", "podman");
    let both = Both::new("beside-commit");
    let script = "mkdir -p /a; echo x > /a/b; chown 3:4 /a/b; chmod 4711 /a/b; rm /data/one; rm -r /data/sub; mkdir /data/sub; ln -s b /a/l; ln /a/b /a/h";
    let skiff = |words: &[&str]| both.skiff.ok(words);
    skiff(&["run", "--name", "made", "declares", "sh", "-c", script]);
    let changes =
        ["-c", "CMD [\"cat\",\"/a/l\"]", "-c", "ENV GREETING=\"two words\"", "-c", "LABEL made=here"];
    let more = ["-c", "EXPOSE 8080", "-c", "VOLUME /more", "-c", "WORKDIR /a", "-c", "STOPSIGNAL SIGINT"];
    let said = ["-a", "A <a@example.org>", "-m", "a note", "made", "made:v1"];
    let id = skiff(&[&["commit"], &changes[..], &more[..], &said[..]].concat());
    let file = both.docker.lab.text("saved.tar");
    skiff(&["save", "-o", &file, "made:v1"]);

    // Docker: the same id, for it is the digest of the configuration, and the same files.
    let done = both.docker(&format!("D load -i {file}"));
    assert_eq!((done.code, done.out.as_str()), (0, "Loaded image: made:v1\n"), "{done:?}");
    let told = "D image inspect -f '{{.Id}} {{.Author}} {{.Comment}} {{.Config.Cmd}} {{.Config.Env}} {{.Config.Labels}} {{json .Config.ExposedPorts}} {{json .Config.Volumes}} {{.Config.WorkingDir}} {{.Config.StopSignal}}' made:v1";
    let (docker, own) = (both.docker(told), both.skiff(told));
    assert_eq!((docker.out.as_str(), docker.code), (own.out.as_str(), 0), "{docker:?}");
    assert!(docker.out.starts_with(id.trim()), "{id} {docker:?}");
    let looks = "D run --rm made:v1; D run --rm made:v1 sh -c 'pwd; echo $GREETING; stat -c \"%n %u:%g %a %h\" /a/b /a/h; ls -R /data; readlink /a/l'";
    let (docker, own) = (both.docker(looks), both.skiff(looks));
    assert_eq!((docker.out.as_str(), docker.code), (own.out.as_str(), 0), "{docker:?} {own:?}");
    assert!(own.out.starts_with("x\n/a\ntwo words\n/a/b 3:4 4711 2\n"), "{own:?}");

    // And back, with a layer more.
    both.docker("D create --name again made:v1 true; D cp /etc/hostname again:/again; D commit again made:v2; D save -o back.tar made:v2");
    let back = both.folders()[0].1.join("back.tar");
    skiff(&["load", "-i", back.to_str().unwrap()]);
    assert_eq!(
        skiff(&["run", "--rm", "made:v2", "sh", "-c", "cat /a/b; test -s /again && echo there"]),
        "x\nthere\n"
    );

    // skopeo, and podman with it: both read the archive and its configuration by themselves.
    let inspected =
        run(Command::new("skopeo").args(["inspect", "--config", &format!("docker-archive:{file}")]));
    assert_eq!(inspected.code, 0, "{inspected:?}");
    let config: serde_json::Value = serde_json::from_str(&inspected.out).unwrap();
    assert_eq!(config["config"]["Cmd"], json!(["cat", "/a/l"]), "{config}");
    assert_eq!(
        config["history"].as_array().unwrap().len(),
        config["rootfs"]["diff_ids"].as_array().unwrap().len()
    );
    let layout = both.docker.lab.text("layout");
    let (from, to) = (format!("docker-archive:{file}"), format!("oci:{layout}:v1"));
    let copied = run(Command::new("skopeo").args(["--insecure-policy", "copy", "-q", &from, &to]));
    assert_eq!(copied.code, 0, "{copied:?}");

    // Podman: with a store of its own, which it takes off again.
    // Podman takes no run root of more than 50 characters.
    let folders = [("--root", "p"), ("--runroot", "r"), ("--tmpdir", "t")]
        .map(|(flag, name)| [flag.to_owned(), both.docker.lab.text(name)]);
    let podman = |words: &[&str]| {
        let mut command = Command::new("podman");
        command.args(folders.as_flattened()).args(["--storage-driver", "vfs", "--events-backend", "none"]);
        run(command.args(words))
    };
    let loaded = podman(&["load", "-q", "-i", &file]);
    assert_eq!(
        (loaded.code, loaded.out.trim()),
        (0, "Loaded image: docker.io/library/made:v1"),
        "{loaded:?}"
    );
    let told =
        podman(&["image", "inspect", "--format", "sha256:{{.Id}} {{.Config.Cmd}} {{.Author}}", "made:v1"]);
    assert_eq!(told.out.trim(), format!("{} [cat /a/l] A <a@example.org>", id.trim()), "{told:?}");
    assert_eq!(podman(&["rmi", "-f", "made:v1"]).code, 0);
}

#[test]
fn docker_reads_a_local_log_of_ours_like_its_own() {
    let both = Both::new("beside-local");
    let script = "echo one; echo two >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf last";
    let run = format!(
        "D run --name log1 --log-driver local busybox sh -c \"{script}\" >all 2>&1; sed '/^WARNING: IPv4 forwarding/d' all | wc -c"
    );
    both.same(&run);
    let read = || {
        both.docker("D logs log1 2>/dev/null; D logs log1 2>&1 >/dev/null; D logs -n 1 --since 1h log1 2>&1")
    };
    let own = read();
    assert!(
        own.out.starts_with("one\nxxx") && own.out.contains("last") && own.out.contains("two\n"),
        "{own:?}"
    );
    let id = both.docker("D inspect -f '{{.Id}}' log1").out;
    let place = both.docker.lab.path("data/containers").join(id.trim()).join("local-logs/container.log");
    assert!(place.exists());
    std::fs::copy(both.skiff.said("{{.LogPath}}", "log1"), place).unwrap();
    assert_eq!(read().out, own.out);
}
