//! `--format`: what the real `docker` command line prints for the same template and the same data.
//!
//! ```text
//! skiff inspect, skiff ps ──► JSON ──► an API server of this test's own ──► docker inspect, docker ps ──┐
//!             └── the same template ────────────────────────────────────────────────────────────────────┴─ equal
//! ```

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests start programs and handle their own files"
)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use testkit::{Output, Scratch, Skiff, require};

/// A server that knows one container, and the real command line that asks it.
struct Docker {
    folder: Scratch,
}

impl Docker {
    fn serve(inspected: Value, listed: Value) -> Docker {
        require("docker", "docker.io");
        let folder = Scratch::new();
        let listener = UnixListener::bind(folder.join("api.sock")).unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (inspected, listed) = (inspected.clone(), listed.clone());
                std::thread::spawn(move || answer(stream.unwrap(), &inspected, &listed));
            }
        });
        Docker { folder }
    }

    fn run(&self, words: &[&str]) -> Output {
        let socket: PathBuf = self.folder.join("api.sock");
        let mut command = Command::new("docker");
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", &*self.folder);
        command.env("TZ", "UTC").arg("-H").arg(format!("unix://{}", socket.display())).args(words);
        Output::of(command.output().unwrap())
    }
}

/// Serves one connection until the other side closes it.
fn answer(stream: UnixStream, inspected: &Value, listed: &Value) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if lines.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut header = String::new();
        while lines.read_line(&mut header).unwrap_or(0) > 2 {
            header.clear();
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let (status, body) = match path.split('?').next().unwrap_or_default() {
            "/_ping" => ("200 OK", "OK".to_owned()),
            path if path.ends_with("/containers/json") => ("200 OK", listed.to_string()),
            path if path.ends_with("/containers/box/json") => ("200 OK", inspected.to_string()),
            _ => ("404 Not Found", json!({ "message": "no such thing" }).to_string()),
        };
        let length = body.len();
        let body = if request.starts_with("HEAD") { String::new() } else { body };
        let head = format!(
            "HTTP/1.1 {status}\r\nApi-Version: 1.43\r\nOstype: linux\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        if stream.write_all((head + &body).as_bytes()).is_err() {
            return;
        }
    }
}

/// What the daemon would list, from what Skiff inspects and lists.
fn listed(skiff: &Skiff, inspected: &Value) -> Value {
    let status = skiff.ok(&["ps", "-a", "--format", "{{.Status}}"]);
    let command: Vec<&str> = std::iter::once(inspected["Path"].as_str().unwrap())
        .chain(inspected["Args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()))
        .collect();
    let quoted: Vec<String> = command
        .iter()
        .enumerate()
        .map(|(at, word)| if at > 0 && word.contains(' ') { format!("'{word}'") } else { (*word).to_owned() })
        .collect();
    let created =
        Command::new("date").args(["-d", inspected["Created"].as_str().unwrap(), "+%s"]).output().unwrap();
    let created: i64 = String::from_utf8(created.stdout).unwrap().trim().parse().unwrap();
    let mounts: Vec<Value> = inspected["Mounts"].as_array().unwrap().clone();
    json!([{
        "Id": inspected["Id"],
        "Names": [inspected["Name"]],
        "Image": inspected["Config"]["Image"],
        "ImageID": inspected["Image"],
        "Command": quoted.join(" "),
        "Created": created,
        "Ports": [],
        "Labels": inspected["Config"]["Labels"],
        "State": inspected["State"]["Status"],
        "Status": status.trim(),
        "HostConfig": { "NetworkMode": "none" },
        "NetworkSettings": { "Networks": { "none": {} } },
        "Mounts": mounts,
    }])
}

fn fixture() -> (Skiff, Docker) {
    let skiff = Skiff::with_busybox();
    let source = skiff.folder().join("a-rather-long-name-of-a-folder");
    std::fs::create_dir(&source).unwrap();
    let volume = format!("{}:/mnt", source.display());
    skiff.ok(&[
        "create",
        "--name",
        "box",
        "--label",
        "com.example.tier=front",
        "--label",
        "b=<2>&\"x\"",
        "-e",
        "A=1",
        "-e",
        "B=two words",
        "-v",
        &volume,
        "--network",
        "none",
        "--memory",
        "64m",
        "busybox",
        "sh",
        "-c",
        "echo \"hi there\"",
        "日本語日本語日本語",
    ]);
    let document: Value = serde_json::from_str(&skiff.ok(&["inspect", "box"])).unwrap();
    let inspected = document[0].clone();
    let docker = Docker::serve(inspected.clone(), listed(&skiff, &inspected));
    (skiff, docker)
}

#[test]
fn templates_of_inspect_print_what_docker_prints() {
    let (skiff, docker) = fixture();
    let mut different: Vec<String> = Vec::new();
    for template in [
        "{{.Name}} {{.State.Status}} {{.State.ExitCode}} {{.HostConfig.Memory}}",
        "{{json .Config.Env}} {{json .State.Running}} {{json .Config.Labels}}",
        "{{.Config.Env}} {{.Config.Labels}} {{.State.Running}}",
        "{{range .Config.Env}}<{{.}}>{{end}}",
        "{{range $i, $e := .Config.Env}}{{if $i}}, {{end}}{{$i}}={{$e}}{{else}}none{{end}}",
        "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}};{{end}}",
        "{{range .Mounts}}{{.Destination}} {{.RW}}{{end}}",
        "{{range .Config.Env}}{{if eq . \"B=two words\"}}{{break}}{{end}}{{.}} {{end}}",
        "{{range .Config.Env}}{{if ne . \"A=1\"}}{{continue}}{{end}}{{.}}{{end}}",
        "{{with .State}}{{.Status}}{{else}}none{{end}}{{with .State.Error}}x{{else}}-{{end}}",
        "{{if and .State.Running .Name}}a{{else if or .State.Paused .Name}}b{{else}}c{{end}}",
        "{{index .Config.Labels \"com.example.tier\"}}{{index .Config.Labels \"none\"}}|{{index .Config.Env 1}}",
        "{{index (index .Mounts 0).Destination 0}}",
        "{{len .Config.Env}} {{len .Name}} {{slice .Name 1}} {{slice .Name 1 2}} {{slice .Config.Env 0 1}}",
        "{{join .Config.Env \"; \"}} {{split .Name \"o\"}} {{title .State.Status}} {{upper .Name}} {{lower \"ABC\"}}",
        "[{{pad .Name 2 3}}][{{pad \"\" 1 1}}] {{truncate .Name 2}} {{truncate .Name 99}}",
        "{{print 1 2 \"a\" \"b\" 3 true nil}} {{println .Name 1}}{{printf \"%s|%5s|%-5s|%q|%v|%T\" .Name \"r\" \"l\" \"q\" .Config.Env .Name}}",
        "{{printf \"%d %5d %-5d| %05d %+d %x %X %o %b %c %U\" 42 42 42 42 42 255 255 8 5 65 65}}",
        "{{printf \"%f %.2f %8.3f %e %g %G %6.2f|\" 1.5 2.345 3.14159 1234.5 0.00001 1e21 2.5}}",
        "{{printf \"%t %v %5t %s %d\" true nil false 7 \"x\"}} {{printf \"%d\"}} {{printf \"x\" 1 \"y\"}} {{printf \"%\"}} {{printf \"%!\"}}",
        "{{printf \"%.3s|%.10s|%q|%#q|%x|% x|%X\" \"日本語x\" \"ab\" \"a\\tb\" \"raw\" \"hi\" \"hi\" \"hi\"}}",
        "{{printf \"%*d|%-*d|%[2]s %[1]s\" 5 42 4 7}}",
        "{{html \"<a href='x'>&\\\"</a>\"}} {{js \"it's <b> \\\"q\\\" \\n=\"}} {{urlquery \"a b&c=d/é\"}}",
        "{{html 1 \"<\" true}} {{urlquery 1 \"?\"}}",
        "{{.Name | printf \"%s-%s\" \"x\" | len}} {{\"abc\" | upper | printf \"%q\"}}",
        "{{$x := 1}}{{$y := \"s\"}}{{$x}}{{$y}}{{$x = 2}}{{$x}}{{range .Config.Env}}{{$x = .}}{{end}}{{$x}}",
        "{{define \"t\"}}[{{.}}|{{$}}]{{end}}{{template \"t\" .Name}}{{template \"t\"}}{{block \"u\" .State.Status}}({{.}}){{end}}",
        "a  {{- /* c */ -}}  b {{- 1 -}} c {{/* d */}} e",
        "{{eq 1 1}} {{eq .Name \"/box\" \"x\"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt \"b\" \"a\"}} {{ge 2.5 2.5}} {{lt -1 1}}",
        "{{and 0 1}} {{and 1 2}} {{or 0 \"\" 3}} {{not 0}} {{not \"x\"}} {{and true \"\" 1}}",
        "{{1}} {{1.0}} {{1.5e3}} {{0x1F}} {{0o17}} {{0b11}} {{1_000}} {{'a'}} {{-7}} {{+7}} {{`raw\\n`}} {{\"e\\u00e9\\x41\\101\"}}",
        "{{1e6}} {{1e20}} {{1e21}} {{123456789.0}} {{0.000001}} {{1e-7}} {{100000.5}}",
        "{{true}} {{false}} {{.State.Running | not}} {{(and 1 0) | not}} {{not (eq 1 2)}}",
        "{{range 3}}{{.}}{{end}} {{range $i := 2}}{{$i}}{{end}}",
        "{{(index .Mounts 0).Source | len | lt 3}} {{(len .Name) | printf \"%03d\"}}",
        "{{.HostConfig.Memory}} {{json .HostConfig.Memory}} {{eq .HostConfig.Memory 67108864}} {{gt .HostConfig.Memory 1}}",
        "{{json .}}",
        "{{\"\\t\"}}x\\ty\\nz",
        "{{.Name}}{{\"{{\"}}",
        "plain",
        "",
        // What goes wrong.
        "{{",
        "{{.Name",
        "{{.Nope}}",
        "{{.State.Nope}}",
        "{{.Name.X}}",
        "{{foo .}}",
        "{{$x}}",
        "{{end}}",
        "{{if .Name}}",
        "{{else}}",
        "{{break}}",
        "{{\"x}}",
        "{{/* x }}",
        "{{(1}}",
        "{{}}",
        "{{1 2}}",
        "{{index .Config.Env 7}}",
        "{{index .Config.Env -1}}",
        "{{index 1 2}}",
        "{{slice .Name 9}}",
        "{{slice .Name 2 1}}",
        "{{eq 1 \"1\"}}",
        "{{eq 1 1.0}}",
        "{{lt 1 \"x\"}}",
        "{{lt true false}}",
        "{{eq .Config.Env 1}}",
        "{{lt .Config.Env .Config.Env}}",
        "{{len 3}}",
        "{{call .Name}}",
        "{{call 1}}",
        "{{template \"none\"}}",
        "{{define \"x\"}}",
        "{{join 1 2}}",
        "{{upper 1}}",
        "{{truncate .Name \"x\"}}",
        "{{pad .Name}}",
        "{{not}}",
        "{{not 1 2}}",
        "{{printf}}",
        "{{len}}",
        "{{nil}}",
        "{{.Name 1}}",
        "{{range .Name}}x{{end}}",
        "{{range true}}x{{end}}",
        "{{if}}x{{end}}",
        "{{with $x := .Name}}{{$x}}{{end}}{{$x}}",
        "{{range $a, $b, $c := .Mounts}}{{end}}",
        "{{1 | 2}}",
        "{{.Name | }}",
        "{{ | len}}",
        "{{1a}}",
        "{{.a-b}}",
        "{{'ab'}}",
        "{{99999999999999999999}}",
    ] {
        let (ours, theirs) = (
            skiff.run(&["inspect", "--format", template, "box"]),
            docker.run(&["inspect", "--format", template, "box"]),
        );
        let theirs_code = theirs.code;
        if theirs_code == 0 && template == "{{json .}}" {
            // Fields that Skiff does not know are zero there.
            let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            assert_eq!(parse(&ours.stdout)["Config"]["Env"], parse(&theirs.stdout)["Config"]["Env"]);
            continue;
        }
        // Where it fails, an empty line is still printed there.
        let same = ours.code == theirs_code && (theirs_code != 0 || ours.stdout == theirs.stdout);
        if !same {
            different.push(format!("{template}\n  {ours:?}\n  {theirs:?}"));
        }
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

#[test]
fn formats_of_ps_print_what_docker_prints() {
    let (skiff, docker) = fixture();
    let mut different: Vec<String> = Vec::new();
    for more in [
        &[][..],
        &["--no-trunc"],
        &["-q"],
        &["-q", "--no-trunc"],
        &["--format", "table"],
        &["--format", "json"],
        &["--format", "raw"],
        &["--format", "table {{.ID}}\\t{{.Names}}\\t{{.Status}}"],
        &[
            "--format",
            "table {{.Names}}\\t{{.Labels}}\\t{{.Label \"com.example.tier\"}}\\t{{.Label \"none\"}}",
        ],
        &["--format", "table {{.Image}} {{.Command}}"],
        &["--format", "table {{upper .Names}}\\t{{truncate .Image 3}}\\t{{lower .State}}"],
        &["--format", "{{.ID}}\\t{{.Names}}\\n{{.Image}}"],
        &[
            "--format",
            "{{.Command}}|{{.Ports}}|{{.Networks}}|{{.LocalVolumes}}|{{.Mounts}}|{{.State}}|{{.Status}}",
        ],
        &["--format", "{{.Label \"b\"}} {{json .Labels}} {{json .Names}}"],
        &["--no-trunc", "--format", "{{.Command}} {{.Mounts}}"],
        &["--format", "{{.CreatedAt}} {{.RunningFor}}"],
        &["--format", "{{range .Names}}{{.}}{{end}}"],
        &["--format", "{{.Nope}}"],
        &["--format", "{{"],
        &["--format", "table {{.Nope}}"],
    ] {
        // Ages are told in seconds, which go by between the two.
        let said = (0..10).find_map(|turn| {
            std::thread::sleep(std::time::Duration::from_millis(if turn == 0 { 0 } else { 130 }));
            let said = differs(&skiff, &docker, more);
            if said.is_none() || turn == 9 { Some(said) } else { None }
        });
        different.extend(said.flatten());
    }
    assert!(different.is_empty(), "{}", different.join("\n"));
}

/// What the two print where that is not the same.
fn differs(skiff: &Skiff, docker: &Docker, more: &[&str]) -> Option<String> {
    let words = [&["ps", "-a"], more].concat();
    let mut command = skiff.command(&words);
    let ours = Output::of(command.env("TZ", "UTC").output().unwrap());
    let theirs = docker.run(&words);
    let both = format!("{more:?}\n  {ours:?}\n  {theirs:?}");
    if more == ["--format", "json"] {
        let parse = |text: &str| serde_json::from_str::<serde_json::Map<String, Value>>(text).unwrap();
        let (ours, theirs) = (parse(&ours.stdout), parse(&theirs.stdout));
        // Labels are listed in the order of a map there; the platform and the size the server does not tell.
        let counts = |key: &str| !matches!(key, "Labels" | "Platform" | "Size");
        let same =
            theirs.iter().filter(|(key, _)| counts(key)).all(|(key, value)| ours.get(key) == Some(value));
        return (!same).then_some(both);
    }
    // Labels again: then the letters are compared.
    let unordered = more.concat().contains("Label") || more == ["--format", "raw"];
    let lines = |text: &str| -> Vec<String> {
        let sorted = |line: &str| {
            let mut letters: Vec<char> = line.chars().collect();
            letters.sort_unstable();
            letters.into_iter().collect()
        };
        text.lines().map(|line| if unordered { sorted(line) } else { line.to_owned() }).collect()
    };
    let same = ours.code == theirs.code && (ours.code != 0 || lines(&ours.stdout) == lines(&theirs.stdout));
    (!same).then_some(both)
}

#[test]
fn the_client_configuration_supplies_defaults() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["create", "--name", "box", "--label", "keep=1", "busybox"]);
    let folder = skiff.folder().join("client");
    std::fs::create_dir(&folder).unwrap();
    let write = |content: &str| std::fs::write(folder.join("config.json"), content).unwrap();
    let run =
        |words: &[&str]| Output::of(skiff.command(words).env("DOCKER_CONFIG", &folder).output().unwrap());
    write(
        r#"{ "psFormat": "{{.Names}}!", "imagesFormat": "{{.Repository}}?", "statsFormat": "{{.Name}}%",
             "pruneFilters": ["label!=keep=1"], "auths": {} }"#,
    );
    assert_eq!(run(&["ps", "-a"]).stdout, "box!\n");
    assert_eq!(run(&["images"]).stdout, "busybox?\n");
    assert_eq!(run(&["stats", "--no-stream", "-a"]).stdout, "box%\n");
    assert_eq!(run(&["ps", "-a", "--format", "{{.Image}}"]).stdout, "busybox\n");
    assert_eq!(run(&["ps", "-aq"]).stdout.len(), 13);
    let kept = run(&["container", "prune", "-f"]);
    assert!(kept.code == 0 && !kept.stdout.contains("Deleted"), "{kept:?}");
    let other = skiff.folder().join("other");
    std::fs::create_dir(&other).unwrap();
    let config = other.display().to_string();
    assert!(run(&["--config", &config, "ps", "-a"]).stdout.starts_with("CONTAINER ID"));
    write(
        r#"{ "proxies": { "default": { "httpProxy": "http://p:1", "noProxy": "local", "ftpProxy": "" } } }"#,
    );
    let told = run(&["run", "--rm", "-e", "NO_PROXY=mine", "-e", "http_proxy", "busybox", "env"]);
    let mut proxies: Vec<&str> =
        told.stdout.lines().filter(|line| line.to_lowercase().contains("_proxy")).collect();
    proxies.sort_unstable();
    assert_eq!(proxies, ["HTTP_PROXY=http://p:1", "NO_PROXY=mine", "no_proxy=local"], "{told:?}");
    write("{ broken");
    let broken = run(&["ps", "-a"]);
    assert!(broken.code == 0 && broken.stderr.starts_with("WARNING: cannot use "), "{broken:?}");
}

#[test]
fn filters_choose_containers() {
    let skiff = Skiff::with_busybox();
    let layer = testkit::busybox_layer(&[]);
    let imported = skiff.run_with_input(&["import", "-c", "EXPOSE 80 53/udp", "-", "web"], &layer);
    assert_eq!(imported.code, 0, "{imported:?}");
    let folder = skiff.folder().display().to_string();
    skiff.ok(&["create", "--name", "first", "--label", "tier=front", "busybox"]);
    skiff.ok(&["create", "--name", "second", "-v", &format!("{folder}:/mnt"), "web", "true"]);
    skiff.ok(&["run", "-d", "--name", "third", "--network", "host", "busybox", "sleep", "1000"]);
    skiff.run(&["run", "--name", "fourth", "busybox", "sh", "-c", "exit 3"]);
    for (filters, want) in [
        (&["name=ir"][..], "third first"),
        (&["name=^/fi"], "first"),
        (&["name=^third$"], "third"),
        (&["label=tier"], "first"),
        (&["label=tier=front"], "first"),
        (&["label=tier=back"], ""),
        (&["status=created"], "second first"),
        (&["status=running", "status=exited"], "fourth third"),
        (&["exited=3"], "fourth"),
        (&["exited=0"], ""),
        (&["ancestor=web"], "second"),
        (&["ancestor=busybox:latest"], "fourth third first"),
        (&["before=third"], "second first"),
        (&["since=second"], "fourth third"),
        (&["network=host"], "third"),
        (&["volume=/mnt"], "second"),
        (&["expose=80"], "second"),
        (&["expose=50-60/udp"], "second"),
        (&["expose=81"], ""),
        (&["publish=80"], ""),
        (&["health=none"], "fourth third second first"),
        (&["health=healthy"], ""),
        (&["is-task=false"], "fourth third second first"),
        (&["is-task=true"], ""),
        (&["status=created", "label=tier"], "first"),
    ] {
        let mut words = vec!["ps", "-a", "--format", "{{.Names}}"];
        filters.iter().for_each(|filter| words.extend(["--filter", filter]));
        let got = skiff.ok(&words);
        assert_eq!(got.lines().collect::<Vec<_>>().join(" "), want, "{filters:?}");
    }
    assert_eq!(skiff.ok(&["ps", "--format", "{{.Names}}", "-f", "status=exited"]), "fourth\n");
    assert_eq!(skiff.ok(&["ps", "-l", "--format", "{{.Names}}"]), "fourth\n");
    assert_eq!(skiff.ok(&["ps", "-n", "2", "--format", "{{.Names}}"]), "fourth\nthird\n");
    for (filter, text) in [
        ("health", "invalid filter: want name=value"),
        ("mood=good", "invalid filter 'mood'"),
        ("status=odd", "invalid filter 'status=odd'"),
        ("exited=x", "invalid filter 'exited=x'"),
        ("publish=x", "invalid filter 'publish=x'"),
        ("expose=9-1", "invalid filter 'expose=9-1'"),
    ] {
        let output = skiff.run(&["ps", "-f", filter]);
        assert!(output.code != 0 && output.stderr.contains(text), "{filter}: {output:?}");
    }
}
