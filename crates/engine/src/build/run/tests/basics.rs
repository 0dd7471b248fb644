//! What a program sees, says and leaves.

use super::*;

use crate::request::{BuildNetwork, Entitlement};

#[test]
fn a_program_makes_a_layer_of_what_it_changes() {
    let site = Site::new();
    let outcome = site.run(&shell("echo hello > /root/new; mkdir /d; ln -s a /d/l; rm /bin/yes; echo done"));
    assert_eq!(outcome.stdout(), "done\n");
    let members = site.members(outcome.record.as_ref().unwrap());
    let names: Vec<&str> = members.keys().map(String::as_str).collect();
    assert_eq!(names, ["bin/", "bin/.wh.yes", "d/", "d/l -> a", "root/", "root/new"]);
    assert_eq!(members["root/new"], "hello\n");
    site.assert_clean();
}

#[test]
fn what_a_program_replaces_hides_what_was_there() {
    let site = Site::new();
    let session = site.session();
    let base = busybox(&session);
    let first = site.run_in(
        &session,
        &shell("mkdir /d; echo 1 > /d/one; echo 2 > /d/two"),
        std::slice::from_ref(&base),
    );
    let first = first.record.unwrap();
    let middle = base.with(LoadedLayer { diff_id: first.layer, size: first.size, blob: None });
    let second =
        site.run_in(&session, &shell("rm -r /d; mkdir /d; echo 3 > /d/three"), std::slice::from_ref(&middle));
    let second = second.record.unwrap();
    let names: Vec<String> = site.members(&second).into_keys().collect();
    assert_eq!(names, ["d/", "d/.wh..wh..opq", "d/three"]);
    let top = middle.with(LoadedLayer { diff_id: second.layer, size: second.size, blob: None });
    let third = site.run_in(&session, &shell("ls /d; cat /d/*"), &[top]);
    assert_eq!(third.stdout(), "three\n3\n");
    drop(session);
    site.assert_clean();
}

#[test]
fn a_program_sees_the_world_of_a_build() {
    let mut site = Site::new();
    site.request.extra_hosts = vec!["db:10.1.2.3".to_owned(), "six=[::1]".to_owned()];
    let mut op =
        shell("id -u; pwd; hostname; echo $A $PATH $HOME $http_proxy; cat /etc/hosts; ls -A /dev/pts");
    op.env = vec!["A=b c".to_owned()];
    op.cwd = "/home/new".to_owned();
    op.proxies = vec!["HTTP_PROXY=http://p:1".to_owned()];
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        site.run(&op).stdout(),
        format!(
            "0\n/home/new\nbuildkitsandbox\nb c {path} /root http://p:1\n127.0.0.1\tlocalhost buildkitsandbox\n\
             ::1\tlocalhost ip6-localhost ip6-loopback\n10.1.2.3\tdb\n::1\tsix\nptmx\n"
        )
    );
    site.request.extra_hosts = vec!["db".to_owned()];
    assert!(site.run(&op).error().contains("invalid host \"db\""), "{}", site.run(&op).error());
    site.assert_clean();
}

#[test]
fn a_program_runs_as_the_user_that_is_named() {
    let site = Site::new();
    let mut op = shell("id -u; id -g; echo $HOME; touch /tmp/mine; stat -c %u:%g /tmp/mine");
    op.user = "app".to_owned();
    let outcome = site.run(&op);
    assert_eq!(outcome.stdout(), "1000\n1000\n/home/app\n1000:1000\n");
    op.user = "nobody-there".to_owned();
    assert!(site.run(&op).error().contains("nobody-there"), "{}", site.run(&op).error());
    op.user = "12:34".to_owned();
    assert_eq!(site.run(&op).stdout(), "12\n34\n/\n12:34\n");
}

#[test]
fn a_failure_has_the_words_that_people_know() {
    let site = Site::new();
    let outcome = site.run(&shell("echo out; echo err >&2; exit 2"));
    assert_eq!(
        outcome.error(),
        "process \"/bin/sh -c echo out; echo err >&2; exit 2\" did not complete successfully: exit code: 2"
    );
    assert_eq!(
        (outcome.text(Stream::Stdout), outcome.text(Stream::Stderr)),
        ("out\n".into(), "err\n".into())
    );
    assert!(site.run(&shell("sh -c 'kill -9 $$'; exit $?")).error().ends_with("exit code: 137"));
    let mut op = shell("");
    op.args = vec!["/bin/nothing".to_owned()];
    let error = site.run(&op).error();
    assert!(
        error.contains("process \"/bin/nothing\" could not be started") && error.contains("No such file"),
        "{error}"
    );
    site.assert_clean();
}

#[test]
fn what_is_made_to_mount_on_is_no_change() {
    let site = Site::new();
    let outcome =
        site.run(&shell("echo x >> /etc/hosts; echo y > /etc/resolv.conf; cat /etc/hosts > /dev/null"));
    assert_eq!(outcome.stdout(), "");
    assert_eq!(site.members(outcome.record.as_ref().unwrap()), BTreeMap::new());
    // The name of the host is the image's own file.
    let outcome = site.run(&shell("echo mine > /etc/hostname"));
    outcome.stdout();
    let members = site.members(outcome.record.as_ref().unwrap());
    assert_eq!(members.get("etc/hostname").map(String::as_str), Some("mine\n"), "{members:?}");
}

#[test]
fn times_are_seconds_and_none_is_later_than_what_is_asked_for() {
    let mut site = Site::new();
    let op = shell("echo 1 > /a; touch -d @1000000000 /old");
    let mtimes = |site: &Site, record: &Record| {
        let file = std::fs::File::open(site.engine.store.layer_path(&record.layer)).unwrap();
        let mut archive = tar::Archive::new(file);
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            assert!(entry.pax_extensions().unwrap().is_none(), "nothing that needs a second header");
            (entry.path().unwrap().display().to_string(), entry.header().mtime().unwrap())
        });
        entries.collect::<BTreeMap<String, u64>>()
    };
    let first = site.run(&op).record.unwrap();
    let times = mtimes(&site, &first);
    assert_eq!(times["old"], 1_000_000_000);
    assert!(times["a"] > 1_700_000_000);
    site.request.arguments.insert("SOURCE_DATE_EPOCH".to_owned(), "1100000000".to_owned());
    let second = site.run(&op).record.unwrap();
    let times = mtimes(&site, &second);
    assert_eq!((times["a"], times["old"]), (1_100_000_000, 1_000_000_000));
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(site.run(&op).record.unwrap(), second, "equal work gives equal bytes");
}

#[test]
fn networks_and_privileges_are_those_that_are_allowed() {
    let mut site = Site::new();
    let interfaces = "cat /proc/net/dev | grep -c :";
    let mut op = shell(interfaces);
    assert_eq!(site.run(&op).stdout(), "1\n", "the loopback alone");
    let hosts = std::fs::read_to_string("/proc/net/dev").unwrap().matches(':').count();
    op.network = Network::Default;
    assert_eq!(site.run(&op).stdout(), format!("{hosts}\n"));
    site.request.network = BuildNetwork::None;
    assert_eq!(site.run(&op).stdout(), "1\n");
    op.network = Network::Host;
    assert!(site.run(&op).error().contains("network.host is not allowed"));
    site.request.entitlements.insert(Entitlement::NetworkHost);
    assert_eq!(site.run(&op).stdout(), format!("{hosts}\n"));
    let mut op = shell("grep CapEff /proc/self/status; cat /proc/self/uid_map");
    let said = site.run(&op).stdout();
    assert!(said.contains("CapEff:\t00000000a80425fb") && said.contains("2147418112"), "{said}");
    op.security = Security::Insecure;
    assert!(site.run(&op).error().contains("security.insecure is not allowed"));
    site.request.entitlements.insert(Entitlement::SecurityInsecure);
    let said = site.run(&op).stdout();
    assert!(!said.contains("00000000a80425fb") && said.contains("4294967295"), "{said}");
    site.assert_clean();
}

#[test]
fn limits_are_in_force() {
    let mut site = Site::new();
    site.request.limits.memory = Some(16 << 20);
    site.request.limits.memory_swap = Some(16 << 20);
    let error = site.run(&shell("exec dd if=/dev/zero of=/dev/null bs=64M count=1")).error();
    assert!(error.ends_with("exit code: 137: cannot allocate memory"), "{error}");
    site.request.limits.memory = Some(1);
    assert!(site.run(&shell("true")).error().contains("6MB"));
    site.request.limits = Default::default();
    site.request.limits.shm_size = Some(1 << 20);
    site.request.limits.ulimits = vec![crate::request::Ulimit::parse("nofile=77:99").unwrap()];
    assert_eq!(site.run(&shell("stat -f -c %b /dev/shm; ulimit -n")).stdout(), "256\n77\n");
    site.assert_clean();
}

#[test]
fn output_comes_as_it_is_said_and_all_of_it() {
    let site = Site::new();
    let outcome = site.run(&shell("seq 1 200000; echo err >&2"));
    let want: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(outcome.stdout() == want, "{} bytes of {}", outcome.stdout().len(), want.len());
    assert_eq!(outcome.text(Stream::Stderr), "err\n");
    // Somebody who holds the stream beyond the end of the program is ended with it.
    let outcome = site.run(&shell("sleep 1000 & echo over"));
    assert_eq!(outcome.stdout(), "over\n");
}

#[test]
fn a_cancelled_build_ends_its_program() {
    let site = Site::new();
    let session = site.session();
    let base = busybox(&session);
    let start = Instant::now();
    let cancel = site.cancel.clone();
    let watch = |event: Event<'_>| {
        if matches!(event, Event::Output { .. }) {
            cancel.cancel();
        }
    };
    let op = shell("trap '' TERM INT; echo begun; sleep 1000");
    let record = perform(&session, &op, std::slice::from_ref(&base), &Step::new(0, &site.cancel, &watch));
    assert!(linux::chain(&record.unwrap_err()).contains("cancelled"));
    assert!(start.elapsed() < Duration::from_secs(30));
    // And none begins after that.
    assert!(site.run_in(&session, &shell("true"), &[base]).error().contains("cancelled"));
    drop(session);
    site.assert_clean();
}

#[test]
fn a_document_is_mounted_and_not_kept() {
    let site = Site::new();
    let session = site.session();
    let base = busybox(&session);
    let script = b"#!/bin/cat\nsome text\n";
    let document = testkit::layer(&[testkit::Entry::File("EOF", 0o755, script)]);
    let document = Tree::empty().with(layer(&session, &document));
    let mut op = shell("/dev/pipes/EOF; echo >> /dev/pipes/EOF || echo refused");
    op.document = Some((1, "/dev/pipes/".to_owned()));
    let inputs = [base.clone(), document.clone()];
    let outcome = site.run_in(&session, &op, &inputs);
    assert_eq!(outcome.stdout(), "#!/bin/cat\nsome text\nrefused\n");
    assert_eq!(site.members(outcome.record.as_ref().unwrap()), BTreeMap::new());
    let known = key(&session, &op, &inputs);
    assert_eq!(known, key(&session, &op, &inputs));
    assert_ne!(known, key(&session, &op, &[base.clone(), base.clone()]), "another document");
    assert_ne!(known, key(&session, &op, &[document.clone(), document]), "another root");
}

#[test]
fn programs_gain_privileges_within_their_own_ids_alone() {
    let site = Site::new();
    let session = site.session();
    let busybox = std::fs::read("/bin/busybox").unwrap();
    // A shell of root's that anybody may run; busybox keeps what it was given only for what asks for it.
    let more = testkit::layer(&[testkit::Entry::File("bin/su-id", 0o4755, &busybox)]);
    let base = super::busybox(&session).with(layer(&session, &more));
    let mut op = shell("/bin/su-id id -u; grep NoNewPrivs /proc/self/status");
    op.user = "app".to_owned();
    let outcome = site.run_in(&session, &op, &[base]);
    assert!(outcome.stdout().contains("NoNewPrivs:\t0"), "{}", outcome.stdout());
}
