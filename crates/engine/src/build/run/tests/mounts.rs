//! What is mounted into programs.

use super::*;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

use dockerfile::syntax::{Identity, Mount, MountKind, Sharing};
use testkit::Entry;

use crate::build::run::agent;
use crate::request::Secret;

const OWNER: Identity = Identity { mode: 0o755, uid: 0, gid: 0 };

fn with(script: &str, mounts: Vec<(Mount, Option<usize>)>) -> RunOp {
    RunOp { mounts, ..shell(script) }
}

fn bind(source: &str, target: &str, read_only: bool) -> (Mount, Option<usize>) {
    let kind = MountKind::Bind { from: None, source: source.to_owned() };
    (Mount { target: target.to_owned(), read_only, kind }, Some(1))
}

fn cache(id: &str, target: &str, sharing: Sharing, identity: Identity) -> (Mount, Option<usize>) {
    let kind = MountKind::Cache { id: id.to_owned(), from: None, source: String::new(), sharing, identity };
    (Mount { target: target.to_owned(), read_only: false, kind }, None)
}

fn secret(id: &str, target: &str, env: Option<&str>, required: bool) -> (Mount, Option<usize>) {
    let identity = Identity { mode: 0o400, uid: 0, gid: 0 };
    let env = env.map(str::to_owned);
    let kind = MountKind::Secret { id: id.to_owned(), file: env.is_none(), env, required, identity };
    (Mount { target: target.to_owned(), read_only: true, kind }, None)
}

/// Layers with a file, a folder, and links that lead out of it.
fn source(session: &Session<'_>) -> Tree {
    let entries = [
        Entry::Directory("s", 0o755),
        Entry::File("s/file", 0o644, b"content\n"),
        Entry::Directory("s/sub", 0o755),
        Entry::Of(1000, 1000, &Entry::File("s/sub/mine", 0o600, b"mine\n")),
        Entry::Symlink("out", "/../../../../etc"),
        Entry::Symlink("up", "../../s"),
        Entry::Directory("etc", 0o755),
        Entry::File("etc/own", 0o644, b"the tree's own\n"),
    ];
    Tree::empty().with(layer(session, &testkit::layer(&entries)))
}

#[test]
fn a_bind_shows_a_part_of_another_tree() {
    let site = Site::new();
    let session = site.session();
    let inputs = [busybox(&session), source(&session)];
    let op = with(
        "ls /m; cat /m/file; stat -c %u:%g /m/sub/mine; cat /one; touch /m/x || echo refused; ls /o; ls /r",
        vec![
            bind("s", "/m", true),
            bind("/s/file", "/one", true),
            bind("out", "/o", true),
            bind("/", "/r", true),
        ],
    );
    let outcome = site.run_in(&session, &op, &inputs);
    assert_eq!(
        outcome.stdout(),
        "file\nsub\ncontent\n1000:1000\ncontent\nrefused\nown\netc\nout\ns\nup\n",
        "nothing but what is in the tree"
    );
    assert_eq!(
        site.members(outcome.record.as_ref().unwrap()),
        BTreeMap::new(),
        "mount points are no changes"
    );
    let error = site.run_in(&session, &with("true", vec![bind("/nothing", "/m", true)]), &inputs).error();
    assert!(error.contains("nothing"), "{error}");
    drop(session);
    site.assert_clean();
}

#[test]
fn what_is_written_to_a_bind_is_lost() {
    let site = Site::new();
    let session = site.session();
    let inputs = [busybox(&session), source(&session)];
    let op = with("echo new > /m/new; rm /m/file; ls /m", vec![bind("s", "/m", false)]);
    let before = std::fs::read_dir(site.folder.join("root/layers")).unwrap().count();
    assert_eq!(site.run_in(&session, &op, &inputs).stdout(), "new\nsub\n");
    assert_eq!(site.run_in(&session, &op, &inputs).stdout(), "new\nsub\n", "each has its own");
    let after = std::fs::read_dir(site.folder.join("root/layers")).unwrap().count();
    assert_eq!(after, before + 1, "the empty layer alone");
    drop(session);
    site.assert_clean();
}

#[test]
fn binds_decide_keys_by_what_they_show_alone() {
    let site = Site::new();
    let session = site.session();
    let base = busybox(&session);
    let other = testkit::layer(&[Entry::Directory("s", 0o755), Entry::File("s/file", 0o644, b"other\n")]);
    let other = Tree::empty().with(layer(&session, &other));
    let op = with("true", vec![bind("s", "/m", true)]);
    let one = key(&session, &op, &[base.clone(), source(&session)]);
    assert_ne!(one, key(&session, &op, &[base.clone(), other]));
    assert_eq!(one, key(&session, &op, &[base, source(&session)]));
}

#[test]
fn secrets_are_seen_by_the_program_and_nowhere_else() {
    let mut site = Site::new();
    site.request.secrets.insert("one".to_owned(), Secret::new(b"s3cr3t-one"));
    site.request.secrets.insert("a/two".to_owned(), Secret::new(b"s3cr3t-two"));
    let session = site.session();
    let base = [busybox(&session)];
    let mounts = vec![
        secret("one", "", None, true),
        secret("a/two", "/etc/two", None, true),
        secret("one", "", Some("TOKEN"), true),
        secret("missing", "/not/there", None, false),
    ];
    let op = with(
        "cat /run/secrets/one; stat -c ' %a %u' /run/secrets/one; cat /etc/two; echo \" $TOKEN\"; ls /not; \
         echo x > /etc/two || echo refused; ls /run > /listed",
        mounts,
    );
    let outcome = site.run_in(&session, &op, &base);
    assert_eq!(outcome.stdout(), "s3cr3t-one 400 0\ns3cr3t-two s3cr3t-one\nrefused\n");
    let record = outcome.record.as_ref().unwrap();
    let members = site.members(record);
    assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), ["listed"]);
    let key_before = key(&session, &op, &base);
    drop(session);
    site.assert_clean();
    // Not a byte of it is anywhere below the root or the run folder.
    for folder in ["root", "run"] {
        let found = std::process::Command::new("grep")
            .args(["-rlaF", "s3cr3t"])
            .arg(site.folder.join(folder))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "a secret is on disk");
    }
    site.request.secrets.insert("one".to_owned(), Secret::new(b"another"));
    let session = site.session();
    let base = [busybox(&session)];
    assert_eq!(key_before, key(&session, &op, &base), "no secret decides a key");
    let error = site.run_in(&session, &with("true", vec![secret("missing", "", None, true)]), &base).error();
    let way = "secret missing: not found; give it by --secret id=missing,src=FILE or --secret id=missing,env=VARIABLE";
    assert!(error.ends_with(way), "{error}");
}

#[test]
fn caches_are_kept_and_their_ids_lead_nowhere() {
    let site = Site::new();
    let session = site.session();
    let base = [busybox(&session)];
    let run = |script: &str, mount| site.run_in(&session, &with(script, vec![mount]), &base);
    let hostile = "../../../../../tmp/escaped";
    for id in ["apt", hostile, "/", "..", "a\nb"] {
        let outcome =
            run("cat /c/kept || true; echo kept > /c/kept", cache(id, "/c", Sharing::Shared, OWNER));
        assert_eq!(outcome.stdout(), "", "{id:?} begins empty");
        assert_eq!(site.members(outcome.record.as_ref().unwrap()), BTreeMap::new());
        let again = run("cat /d/kept", cache(id, "/d", Sharing::Locked, OWNER));
        assert_eq!(again.stdout(), "kept\n", "{id:?}");
    }
    assert!(!Path::new("/tmp/escaped").exists());
    let mounts = site.folder.join("root/cache/mounts");
    let names: Vec<String> = std::fs::read_dir(&mounts)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.len() == 5 && names.iter().all(|name| name.len() == 64), "{names:?}");
    let mode = std::fs::metadata(&mounts).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "nobody else walks in");
    // Another owner is another cache; a link that a program leaves leads the next one nowhere but in its own root.
    let app = Identity { mode: 0o2750, uid: 1000, gid: 1000 };
    let outcome =
        run("stat -c '%a %u %g' /c; ls /c; ln -s / /c/link", cache("apt", "/c", Sharing::Shared, app));
    assert_eq!(outcome.stdout(), "2750 1000 1000\n");
    let outcome = run("ls /c/link/home", cache("apt", "/c", Sharing::Shared, app));
    assert_eq!(outcome.stdout(), "");
}

#[test]
fn a_cache_is_shared_locked_or_private() {
    let site = Site::new();
    let session = site.session();
    let base = [busybox(&session)];
    // Each of two says that it is there, and waits for the other for a while.
    let meet = "mkdir /c/$ME; n=0; while ! test -d /c/$OTHER && test $n -lt 40; do n=$((n+1)); sleep 0.05; done; \
                test -d /c/$OTHER && echo met; rmdir /c/$ME; true";
    let both = |sharing, id: &str| {
        let one = |me: &str, other: &str| {
            let mut op = with(meet, vec![cache(id, "/c", sharing, OWNER)]);
            op.env = vec![format!("ME={me}"), format!("OTHER={other}")];
            site.run_in(&session, &op, &base).stdout()
        };
        std::thread::scope(|scope| {
            let first = scope.spawn(|| one("a", "b"));
            let second = one("b", "a");
            [first.join().unwrap(), second].concat().matches("met").count()
        })
    };
    assert!(both(Sharing::Shared, "s") >= 1);
    assert_eq!(both(Sharing::Locked, "l"), 0);
    assert_eq!(both(Sharing::Private, "p"), 0);
    let names = std::fs::read_dir(site.folder.join("root/cache/mounts")).unwrap().flatten();
    let numbered = names.filter(|entry| entry.file_name().to_string_lossy().ends_with("-1")).count();
    assert_eq!(numbered, 1, "the second of the private ones");
}

#[test]
fn an_agent_answers_through_a_socket_of_the_containers_own() {
    let mut site = Site::new();
    let socket = site.folder.join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 5];
            stream.read_exact(&mut asked).unwrap();
            assert_eq!(&asked, b"hello");
            stream.write_all(b"welcome\n").unwrap();
        }
    });
    // As a program does by the name that it has for it.
    let place = site.folder.join("proxy");
    let agent = agent::Agent::listen(&place, &socket).unwrap();
    for _ in 0..2 {
        let mut asking = UnixStream::connect(&place).unwrap();
        asking.write_all(b"hello").unwrap();
        let mut said = String::new();
        asking.read_to_string(&mut said).unwrap();
        assert_eq!(said, "welcome\n");
    }
    drop(agent);
    assert!(UnixStream::connect(&place).is_err(), "it ends with the program");
    site.request.agents.insert("default".to_owned(), socket);
    let ssh = |id: &str, required| {
        let identity = Identity { mode: 0o600, uid: 1000, gid: 1000 };
        let kind = MountKind::Ssh { id: id.to_owned(), required, identity };
        (Mount { target: String::new(), read_only: true, kind }, None)
    };
    let mut op = with(
        "echo $SSH_AUTH_SOCK; stat -c '%a %u' $SSH_AUTH_SOCK",
        vec![ssh("default", true), ssh("other", false)],
    );
    op.user = "app".to_owned();
    let outcome = site.run(&op);
    assert_eq!(outcome.stdout(), "/run/buildkit/ssh_agent.0\n600 1000\n");
    assert_eq!(site.members(outcome.record.as_ref().unwrap()), BTreeMap::new());
    let error = site.run(&with("true", vec![ssh("other", true)])).error();
    assert!(error.contains("unset ssh forward key other; give it by --ssh other=SOCKET"), "{error}");
    site.assert_clean();
}

#[test]
fn memory_is_mounted_with_its_size() {
    let site = Site::new();
    let kind = MountKind::Tmpfs { size: Some(1 << 20) };
    let mount = Mount { target: "/t".to_owned(), read_only: false, kind };
    let op = with("stat -f -c %b /t; stat -c %a /t; echo x > /t/x", vec![(mount, None)]);
    let outcome = site.run(&op);
    assert_eq!(outcome.stdout(), "256\n1777\n");
    assert_eq!(site.members(outcome.record.as_ref().unwrap()), BTreeMap::new());
}
