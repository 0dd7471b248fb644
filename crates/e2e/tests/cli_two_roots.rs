//! Two stores whose users gave both the same folder for what runs, as `--root` alone does: the one knows nothing of the
//! other's containers, and must not take them for what a removal has left.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use testkit::Skiff;

#[test]
fn a_root_has_its_run_folder_to_itself() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let refused = format!(
        "{} is where things run for the root {}: name another folder for this one (--run, SKIFF_RUN)",
        skiff.run_folder().display(),
        skiff.root().display()
    );
    for words in [&["ps", "-a"][..], &["info"], &["run", "--rm", "busybox"], &["container", "prune", "-f"]] {
        let output = skiff.run(&[&["--root", "other"], words].concat());
        assert!(output.code != 0 && output.stderr.contains(&refused), "{words:?}: {output:?}");
    }
    assert_eq!(skiff.ok(&["exec", "box", "echo", "still there"]), "still there\n");
    // With a folder of its own, and under another name, it is as good as any.
    assert_eq!(skiff.ok(&["--root", "other", "--run", "beside", "ps", "-aq"]), "");
    std::os::unix::fs::symlink(skiff.root(), skiff.folder().join("alias")).unwrap();
    assert_eq!(skiff.ok(&["--root", "alias", "ps", "--format", "{{.Names}}"]), "box\n");
    skiff.ok(&["rm", "-f", "box"]);
    assert_eq!(skiff.left_by_containers(), "");
}

#[test]
fn the_run_folder_of_a_root_that_is_gone_is_free() {
    let skiff = Skiff::new();
    let elsewhere = |root: &str| skiff.run(&["--root", root, "--run", "shared", "ps", "-aq"]);
    assert_eq!(elsewhere("first").code, 0);
    assert_eq!(elsewhere("second").code, 1);
    std::fs::remove_dir_all(skiff.folder().join("first")).unwrap();
    assert_eq!(elsewhere("second").code, 0);
    assert_eq!(elsewhere("third").code, 1, "it is the second's from now on");
}

#[test]
fn a_root_has_one_run_folder_as_long_as_anything_is_left_in_it() {
    let skiff = Skiff::with_busybox();
    skiff.ok(&["run", "-d", "--name", "box", "busybox", "sleep", "1000"]);
    let refused = format!(
        "the root {} is in use with the run folder {}: name that one (--run, SKIFF_RUN), or stop there first what runs",
        skiff.root().display(),
        skiff.run_folder().display()
    );
    for words in [&["ps", "-a"][..], &["start", "box"], &["rm", "-f", "box"], &["run", "--rm", "busybox"]] {
        let output = skiff.run(&[&["--run", "other"], words].concat());
        assert!(output.code != 0 && output.stderr.contains(&refused), "{words:?}: {output:?}");
    }
    assert_eq!(skiff.ok(&["exec", "box", "echo", "still there"]), "still there\n");
    // Under another name it is the same folder.
    std::os::unix::fs::symlink(skiff.run_folder(), skiff.folder().join("alias")).unwrap();
    assert_eq!(skiff.ok(&["--run", "alias", "ps", "--format", "{{.Names}}"]), "box\n");
    // One that has died there, with its monitor, has to be cleaned up there.
    let id = skiff.said("{{.Id}}", "box");
    let monitor = rustix::process::Pid::from_raw(skiff.monitor_of(&id).unwrap()).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    assert!(skiff.run(&["--run", "other", "ps"]).stderr.contains(&refused));
    assert_eq!(skiff.said("{{.State.Status}}", "box"), "exited");
    // Nothing is left: it may move, and move back.
    assert_eq!(skiff.ok(&["--run", "other", "start", "box"]), "box\n");
    assert!(
        skiff
            .run(&["ps"])
            .stderr
            .contains(&format!("is in use with the run folder {}", skiff.folder().join("other").display()))
    );
    assert_eq!(skiff.ok(&["--run", "other", "kill", "box"]), "box\n");
    testkit::wait_until("its monitor has left", || skiff.run(&["ps"]).code == 0);
    assert_eq!(skiff.ok(&["rm", "box"]), "box\n");
}

#[test]
fn whoever_works_on_a_root_keeps_its_run_folder() {
    let skiff = Skiff::new();
    skiff.ok(&["ps"]);
    let mut watcher = skiff.start(&["events"]);
    testkit::wait_until_it_waits(&mut watcher);
    assert!(skiff.run(&["--run", "other", "ps"]).stderr.contains("is in use with the run folder"));
    watcher.kill().unwrap();
    watcher.wait().unwrap();
    assert_eq!(skiff.run(&["--run", "other", "ps"]).code, 0);
    // The first commands of a root, all at once, agree on one of several folders.
    let mut clients: Vec<_> = (0..8)
        .map(|number| skiff.start(&["--root", "fresh", "--run", &format!("folder{}", number % 2), "events"]))
        .collect();
    testkit::wait_until("half of them are refused", || {
        clients.iter_mut().map(|client| client.try_wait().unwrap()).filter(Option::is_some).count() == 4
    });
    clients.retain_mut(|client| client.try_wait().unwrap().is_none());
    for client in &mut clients {
        testkit::wait_until_it_waits(client);
        client.kill().unwrap();
        client.wait().unwrap();
    }
}
