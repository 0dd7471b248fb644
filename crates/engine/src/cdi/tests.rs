//! Specifications in folders of this host, and what becomes of them where nodes, mounts and hooks are wanted.

use testkit::Scratch;

use super::*;

const SPEC: &str = "cdiVersion: 0.6.0\nkind: v.com/c\ndevices:\n- {name: a, containerEdits: {env: [A=1]}}\n";

fn outcome(device: &str) -> std::result::Result<DeviceEdits, String> {
    let text = format!(
        "cdiVersion: 1.1.0\nkind: v.com/c\ndevices:\n- name: a\n  containerEdits:\n    env: [A=1]\n    {device}\n"
    );
    let registry = cdi::Registry::new([cdi::File { path: "/x.yaml".into(), text, precedence: 0 }]);
    edits(&registry, &["v.com/c=a".to_owned()]).map_err(|error| linux::chain(&error))
}

#[test]
fn only_files_of_their_names_are_read_and_nothing_is_waited_for() {
    let folder = Scratch::new();
    let write = |name: &str, text: &str| file::write(&folder.join(name), text.as_bytes()).unwrap();
    write("b.json", "{}");
    write("a.yaml", SPEC);
    write("a.yml", SPEC);
    write("readme.txt", SPEC);
    write("large.yaml", &" ".repeat(5 << 20));
    file::write(&folder.join("bytes.yaml"), b"\xff\xfe").unwrap();
    file::create_dir(&folder.join("c.yaml"), 0o755).unwrap();
    let pipe = folder.join("pipe.yaml");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    rustix::fs::symlink("a.yaml", folder.join("link.yaml")).unwrap();
    rustix::fs::symlink("/nonexistent", folder.join("nowhere.yaml")).unwrap();
    let names: Vec<String> = files(&folder, 3)
        .iter()
        .map(|file| {
            assert_eq!(file.precedence, 3);
            file.path.file_name().unwrap().to_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(names, ["a.yaml", "b.json", "link.yaml"]);
    assert!(files(&folder.join("nothing"), 0).is_empty());
}

#[test]
fn a_name_that_nothing_has_is_told_with_what_was_not_taken() {
    let good = cdi::File { path: "/x.yaml".into(), text: SPEC.to_owned(), precedence: 0 };
    let bad = cdi::File { path: "/y.yaml".into(), text: "kind: 5".to_owned(), precedence: 0 };
    let registry = cdi::Registry::new([good, bad]);
    let names = ["v.com/c=b".to_owned()];
    assert_eq!(
        linux::chain(&edits(&registry, &names).unwrap_err()),
        "CDI device injection failed: unresolvable CDI devices v.com/c=b; not taken: CDI specification /y.yaml: invalid version \"\": known are 0.3.0 to 1.1.0"
    );
}

#[test]
fn nodes_are_what_the_host_has_unless_it_is_said() {
    let node = |text: &str| {
        outcome(&format!("deviceNodes: [{text}]")).map(|edits| {
            let node = &edits.devices[0];
            let Device { path, kind, major, minor, mode, uid, gid, source } = &node.device;
            format!(
                "{} {kind:?} {major}:{minor} {mode:o} {uid}:{gid} {} {:?}",
                path.display(),
                source.display(),
                node.permissions
            )
        })
    };
    for (text, expected) in [
        ("{path: /dev/null}", "/dev/null Char 1:3 666 0:0 /dev/null \"rwm\""),
        ("{path: /dev/x, hostPath: /dev/zero, permissions: r}", "/dev/x Char 1:5 666 0:0 /dev/zero \"r\""),
        ("{path: /dev/x, hostPath: /dev/zero, type: u}", "/dev/x Char 1:5 666 0:0 /dev/zero \"rwm\""),
        (
            "{path: /dev/x, type: b, major: 7, minor: 1, fileMode: 0600, uid: 5, gid: 6, permissions: none}",
            "/dev/x Block 7:1 600 5:6 /dev/x \"\"",
        ),
        ("{path: /dev/f, type: p}", "/dev/f Fifo 0:0 666 0:0 /dev/f \"rwm\""),
    ] {
        assert_eq!(node(text).unwrap(), expected, "{text}");
    }
    for (text, why) in [
        (
            "{path: /dev/no-such}",
            "CDI device injection failed: examine /dev/no-such: No such file or directory",
        ),
        ("{path: /etc/passwd}", "CDI device injection failed: /etc/passwd: not a device node"),
        (
            "{path: /dev/null, type: b}",
            "CDI device injection failed: /dev/null: it is of another type on the host",
        ),
    ] {
        assert!(node(text).unwrap_err().starts_with(why), "{text}: {:?}", node(text));
    }
}

#[test]
fn mounts_and_hooks_are_those_of_bundles_and_the_rest_is_refused() {
    use runtime::plan::MountKind;
    let edits = outcome(
        "mounts: [{hostPath: /usr/lib/x, containerPath: /x}, {hostPath: t, containerPath: /t, type: tmpfs, options: [ro, mode=755]}]\n\
        \x20   hooks: [{hookName: poststop, path: /h, args: [h, x], timeout: 3}]\n\
        \x20   additionalGids: [0, 44]",
    )
    .unwrap();
    let bind = &edits.mounts[0];
    assert!(
        matches!(&bind.kind, MountKind::Bind { source, recursive: false } if source == Path::new("/usr/lib/x"))
    );
    let tmpfs = &edits.mounts[1];
    assert!(
        tmpfs.attributes.readonly
            && matches!(&tmpfs.kind, MountKind::New { fstype, .. } if fstype == "tmpfs")
    );
    let hook = &edits.hooks.poststop[0];
    assert_eq!((hook.args.len(), hook.timeout_secs, hook.env.is_empty()), (2, Some(3), true));
    assert_eq!(edits.groups, [44]);
    for (device, why) in [
        ("intelRdt: {closID: x}", "CDI device injection failed: intelRdt is not supported"),
        (
            "netDevices: [{hostInterfaceName: a, name: b}]",
            "CDI device injection failed: netDevices is not supported",
        ),
        (
            "mounts: [{hostPath: x, containerPath: /x}]",
            "CDI device injection failed: mount on /x: the source of a bind mount must be an absolute path",
        ),
        (
            "mounts: [{hostPath: /x, containerPath: /x, options: [bind, what=ever]}]",
            "CDI device injection failed: mount on /x: \"what=ever\" is no option of a bind mount",
        ),
    ] {
        assert_eq!(outcome(device).unwrap_err(), why);
    }
}
