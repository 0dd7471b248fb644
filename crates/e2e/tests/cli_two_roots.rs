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
