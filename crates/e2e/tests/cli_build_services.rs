//! Services as people build them, for Node, Python, Go, Rust, Java, PHP and nginx, with real packages: each is built, runs and
//! answers; built again nothing is done; after a change of its source only what follows from that is.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod services;

use services::Service;

/// Builds it once more, and wants everything found.
fn assert_all_is_cached(service: &Service, flags: &[&str]) {
    let (id, again) = (service.image("{{.Id}}"), service.build(flags));
    assert!(again.done().is_empty() && again.count() > 3, "{again:#?}");
    assert_eq!(service.image("{{.Id}}"), id);
}

/// Builds it once more, and wants exactly these steps done.
fn assert_done(service: &Service, flags: &[&str], places: &[&str]) {
    let steps = service.build(flags);
    assert_eq!(steps.done().into_iter().collect::<Vec<_>>(), places, "{steps:#?}");
}

#[test]
fn a_node_service_has_its_dependencies_and_a_user_of_its_own() {
    let service = Service::new("node");
    std::fs::create_dir(service.context.join("node_modules")).unwrap();
    std::fs::write(service.context.join("node_modules/left-out"), "never sent").unwrap();
    let steps = service.build(&["--build-arg", "VERSION=1.2.3"]);
    assert!(
        steps.said.contains("added 74 packages") && steps.said.contains("dist/server.js"),
        "{}",
        steps.said
    );

    let running = service.start("PORT");
    assert_eq!(running.get("/greet/world"), r#"{"to":"world","text":"Hello, world!"}"#);
    assert_eq!(running.get("/who"), r#"{"user":"node","mode":"production"}"#);
    assert_eq!(running.ask("POST", "/echo", r#"{"a":1}"#), (201, r#"{"a":1}"#.to_owned()));
    service.skiff.wait_for("node", "{{.State.Health.Status}}", "healthy");
    let logs = running.logs();
    assert_eq!((running.stop(), logs.as_str()), ("0".to_owned(), "listening\n"));

    let listed = service.in_image(&["ls", "/app", "/app/node_modules/.bin"]);
    assert!(listed.contains("dist\nnode_modules\npackage.json\n") && !listed.contains("esbuild"), "{listed}");
    assert_eq!(
        service.in_image(&["stat", "-c", "%U:%G", "/app/dist/server.js", "/app"]),
        "node:node\nroot:root\n"
    );
    assert_eq!(service.image("{{.Config.User}} {{len .RootFS.Layers}}"), "node 7");
    assert_eq!(service.image("{{index .Config.Labels \"org.opencontainers.image.version\"}}"), "1.2.3");
    assert!((80..120).contains(&service.megabytes_more()), "{} MB", service.megabytes_more());

    assert_all_is_cached(&service, &["--build-arg", "VERSION=1.2.3"]);
    service.change("src/greet.ts", "Hello", "Goodbye");
    let places = ["[build 3/4]", "[build 4/4]", "[service 4/5]", "[service 5/5]"];
    assert_done(&service, &["--build-arg", "VERSION=1.2.3"], &places);
    assert!(service.start("PORT").get("/greet/all").contains("Goodbye, all!"));
}

#[test]
fn a_python_service_is_installed_from_wheels_into_an_environment() {
    let service = Service::new("python");
    let flags = ["--build-arg", "UID=4242"];
    let steps = service.build(&flags);
    assert!(steps.said.contains("Successfully installed blinker-1.8.2"), "{}", steps.said);

    let running = service.start("PORT");
    assert_eq!(running.get("/page/%3Cme%3E"), "<p>Welcome, &lt;me&gt;.</p>");
    assert_eq!(running.get("/sum?n=1&n=41"), "{\"sum\":42}\n");
    assert_eq!(running.get("/who"), "{\"prefix\":\"/venv\",\"user\":\"app\"}\n");
    assert!(running.logs().contains("\"GET /sum?n=1&n=41 HTTP/1.0\" 200"), "{}", running.logs());
    assert_eq!(running.stop(), "0");

    assert_eq!(service.in_image(&["id"]), "uid=4242(app) gid=4242(app) groups=4242(app),100(users)\n");
    assert_eq!(
        service.in_image(&["ls", "-A", "/srv", "/srv/service"]),
        "/srv:\ngunicorn.conf.py\nservice\n\n/srv/service:\n__init__.py\n"
    );
    let written = service.history();
    assert!(
        written.iter().any(|words| words.starts_with("RUN |1 UID=4242 /bin/sh -c adduser ")),
        "{written:#?}"
    );
    assert_eq!(service.image("{{.Config.User}} {{len .RootFS.Layers}}"), "app 7");
    assert!((50..90).contains(&service.megabytes_more()), "{} MB", service.megabytes_more());

    assert_all_is_cached(&service, &flags);
    service.change("service/__init__.py", "Welcome", "Good day");
    assert_done(&service, &flags, &["[service 4/5]", "[service 5/5]"]);
    assert_eq!(service.start("PORT").get("/page/you"), "<p>Good day, you.</p>");
    // The environment comes out as it was: nothing that takes from it is done again.
    service.change("requirements.txt", "# The", "# These");
    let steps = service.build(&flags);
    let done: Vec<&str> = steps.done().into_iter().collect();
    assert_eq!(done, ["[wheels 3/5]", "[wheels 4/5]", "[wheels 5/5]"], "{steps:#?}");
}

#[test]
fn a_go_program_lies_alone_in_its_image() {
    let service = Service::new("go");
    let flags = ["--build-arg", "VERSION=7"];
    service.build(&flags);
    let running = service.start("PORT");
    assert_eq!(running.ask("POST", "/count", "a B a"), (200, "{\"a\":2,\"b\":1}\n".to_owned()));
    assert_eq!(running.get("/about"), "{\"user\":\"nonroot\",\"version\":\"7\"}\n");
    drop(running);

    let container = service.skiff.ok(&["create", "go"]);
    let archive = service.skiff.command(&["export", container.trim()]).output().unwrap().stdout;
    let mut archive = tar::Archive::new(archive.as_slice());
    let files = archive.entries().unwrap().map(|entry| entry.unwrap());
    let files = files.filter(|entry| entry.header().entry_type().is_file());
    let mut files: Vec<String> = files.map(|file| file.path().unwrap().display().to_string()).collect();
    files.retain(|path| {
        !matches!(path.as_str(), "etc/hostname" | "etc/hosts" | "etc/resolv.conf" | ".dockerenv")
    });
    files.sort();
    assert_eq!(files, ["etc/group", "etc/passwd", "etc/ssl/certs/ca-certificates.crt", "server"]);
    assert_eq!(
        service.image("{{.Config.User}} {{json .Config.Entrypoint}}"),
        "nonroot:nonroot [\"/server\"]"
    );
    assert!(service.image("{{.Size}}").parse::<u64>().unwrap() < 7_000_000);

    assert_all_is_cached(&service, &flags);
    // The program is built anew with what the compiler remembers, and is all that is put anew into the image.
    service.change("cmd/server/main.go", "\"user\":", "\"name\":");
    assert_done(&service, &flags, &["[build 6/6]", "[service 4/4]"]);
    assert_eq!(service.start("PORT").get("/about"), "{\"name\":\"nonroot\",\"version\":\"7\"}\n");
    let tested = service.build(&["--target=test", "--build-arg", "VERSION=7"]);
    assert!(tested.said.contains("ok  \texample.org/words/internal/words"), "{}", tested.said);
}

#[test]
fn a_rust_program_keeps_its_dependencies_and_its_volume() {
    let service = Service::new("rust");
    let steps = service.build(&[]);
    assert!(steps.said.contains("Compiling shout v1.0.0"), "{}", steps.said);
    let running = service.start("COUNTER_PORT");
    assert_eq!((running.get("/"), running.get("/")), ("VISIT 1\n".to_owned(), "VISIT 2\n".to_owned()));
    drop(running);
    assert_eq!(service.in_image(&["stat", "-c", "%U:%G", "/var/lib/counter"]), "counter:counter\n");
    assert_eq!(
        service
            .image("{{.Config.User}} {{.Config.StopSignal}} {{json .Config.Volumes}} {{len .RootFS.Layers}}"),
        "counter SIGINT {\"/var/lib/counter\":{}} 5"
    );
    assert!(service.megabytes_more() < 2, "{} MB", service.megabytes_more());
    assert_eq!(service.image("{{json .Config.Cmd}}"), r#"["/bin/sh","-c","counter"]"#);

    assert_all_is_cached(&service, &[]);
    service.change("src/main.rs", "visit {}", "guest {}");
    let places = ["[build 1/2]", "[build 2/2]", "[service 3/5]", "[service 4/5]", "[service 5/5]"];
    let steps = service.build(&[]);
    assert_eq!(steps.done().into_iter().collect::<Vec<_>>(), places);
    assert!(!steps.said.contains("Compiling shout"), "{}", steps.said);
    assert_eq!(service.start("COUNTER_PORT").get("/"), "GUEST 1\n");
}

#[test]
fn a_java_program_has_a_runtime_of_the_modules_that_it_needs() {
    let service = Service::new("java");
    service.build(&[]);
    let running = service.start("PORT");
    assert_eq!(running.get("/quote/3"), "second thoughts are best");
    assert_eq!(running.get("/about"), "spring 17 2");
    drop(running);
    let history = service.history();
    assert!(history.iter().any(|words| words == "COPY /jre /opt/java # buildkit"), "{history:#?}");
    assert_eq!(
        service.image("{{.Config.User}} {{.Config.WorkingDir}} {{len .RootFS.Layers}}"),
        "spring:spring /app 6"
    );
    assert!((25..60).contains(&service.megabytes_more()), "{} MB", service.megabytes_more());

    assert_all_is_cached(&service, &[]);
    service.change("src/org/example/quotes/Quotes.java", "second thoughts are best", "third time lucky");
    assert_done(&service, &[], &["[build 2/4]", "[build 3/4]", "[build 4/4]", "[service 6/6]"]);
    assert_eq!(service.start("PORT").get("/quote/1"), "third time lucky");
}

#[test]
fn a_php_service_has_its_extension_its_settings_and_its_data() {
    let service = Service::new("php");
    service.build(&[]);
    let running = service.start("PORT");
    let note = |text: &str| running.ask("POST", "/notes", text);
    assert_eq!(
        (note("one"), note("two")),
        ((200, r#"{"id":1}"#.to_owned()), (200, r#"{"id":2}"#.to_owned()))
    );
    assert_eq!(running.get("/notes"), r#"[{"id":1,"text":"one"},{"id":2,"text":"two"}]"#);
    assert_eq!(running.get("/about"), r#"{"user":"www-data","limit":"64M"}"#);
    drop(running);
    let found = service.in_image(&["find", "/app", "-type", "f", "-printf", "%P %u %m\n"]);
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    let want = [
        "Notes/Store.php www-data 644",
        "classmap.php root 644",
        "migrations/001-notes.sql www-data 644",
        "public/index.php www-data 644",
    ];
    assert_eq!(found, want);
    // What apt keeps is in the caches that were mounted, in no layer.
    assert_eq!(service.in_image(&["find", "/var/lib/apt/lists", "/var/cache/apt", "-type", "f"]), "");
    assert!((60..75).contains(&service.megabytes_more()), "{} MB", service.megabytes_more());

    assert_all_is_cached(&service, &[]);
    service.change("src/Notes/Store.php", "ORDER BY id", "ORDER BY id DESC");
    assert_done(&service, &[], &["[service 3/5]", "[service 4/5]", "[service 5/5]"]);
    let running = service.start("PORT");
    running.ask("POST", "/notes", "three");
    running.ask("POST", "/notes", "four");
    assert!(running.get("/notes").starts_with(r#"[{"id":2,"text":"four"}"#), "{}", running.get("/notes"));
}

#[test]
fn nginx_serves_what_a_stage_of_node_s_has_made() {
    let service = Service::new("nginx");
    let context = service.context.to_str().unwrap();
    let file = service.context.join("webserver.Dockerfile");
    service.skiff.ok(&["build", "-q", "-t", "webserver", "-f", file.to_str().unwrap(), context]);
    let flags = ["--build-arg", "TITLE=A shop & more"];
    let steps = service.build(&flags);
    assert!(steps.said.contains("nginx.conf syntax is ok"), "{}", steps.said);

    let running = service.start("PORT");
    let page = running.get("/about");
    assert_eq!(page, "<!doctype html><title>A shop & more</title>\n<h1>About us</h1>\n");
    let index = running.get("/");
    let style = index.split('"').find(|word| word.starts_with("/assets/")).unwrap();
    assert_eq!(running.get(style), "h1 { color: teal; }\n");
    assert_eq!(running.ask("GET", "/nowhere", "").0, 404);
    service.skiff.wait_for("nginx", "{{.State.Health.Status}}", "healthy");
    let logs = running.logs();
    assert!(logs.contains("running /docker-entrypoint.d/20-templates.sh\n"), "{logs}");
    assert!(
        logs.contains("\"GET /nowhere HTTP/1.0\" 404") && logs.contains("\"GET /about HTTP/1.0\" 200"),
        "{logs}"
    );
    // SIGQUIT, as the image says: it ends when all are served.
    assert_eq!(running.stop(), "0");

    assert_eq!(
        service.image("{{.Config.StopSignal}} {{json .Config.Cmd}} {{json .Config.OnBuild}}"),
        r#"SIGQUIT ["nginx","-g","daemon off;"] null"#
    );
    assert!(service.megabytes_more() < 20, "{} MB", service.megabytes_more());
    let history = service.history();
    let of_triggers: Vec<&String> = history.iter().filter(|words| words.contains("default.conf")).collect();
    assert_eq!(of_triggers.len(), 2, "{history:#?}");

    assert_all_is_cached(&service, &flags);
    service.change("site/pages/about.html", "About us", "About them");
    let places = ["[service 2/4]", "[service 3/4]", "[service 4/4]", "[site 4/5]", "[site 5/5]"];
    assert_done(&service, &flags, &places);
    assert!(service.start("PORT").get("/about").contains("About them"));
}
