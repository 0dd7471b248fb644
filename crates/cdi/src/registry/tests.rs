//! Specifications as vendors write them, and as they should not: which devices there are by them, and what each brings.

use super::*;
use crate::{DeviceNode, Hook, HookKind, Mount};

fn file(path: &str, precedence: usize, text: &str) -> File {
    File { path: path.into(), text: text.to_owned(), precedence }
}

fn env(registry: &Registry, names: &[&str]) -> String {
    match registry.edits(names.iter().copied()) {
        Ok(edits) => edits.env.join(" "),
        Err(error) => error.to_string(),
    }
}

/// A specification of `v.com/c` whose devices set a variable.
fn spec(own: &str, devices: &[(&str, &str)]) -> String {
    let mut text = format!("cdiVersion: 0.6.0\nkind: v.com/c\ncontainerEdits:\n  env: [{own}]\ndevices:\n");
    for (name, value) in devices {
        text.push_str(&format!("- name: {name}\n  containerEdits:\n    env: [{value}]\n"));
    }
    text
}

#[test]
fn what_a_specification_says_for_all_comes_once_and_first() {
    let registry = Registry::new([
        file("/1/a.yaml", 0, &spec("ALL=1", &[("a", "A=1"), ("b", "B=1")])),
        file("/1/b.yaml", 0, &spec("REST=1", &[("z", "Z=1")])),
    ]);
    assert_eq!(env(&registry, &["v.com/c=b", "v.com/c=z", "v.com/c=a"]), "ALL=1 B=1 REST=1 Z=1 A=1");
    assert_eq!(registry.names().collect::<Vec<_>>(), ["v.com/c=a", "v.com/c=b", "v.com/c=z"]);
    assert_eq!(
        env(&registry, &["v.com/c=a", "v.com/c=nothing", "w.com/c=a"]),
        "unresolvable CDI devices v.com/c=nothing, w.com/c=a"
    );
    assert_eq!(env(&registry, &[]), "");
}

#[test]
fn the_highest_precedence_counts_and_equals_are_nobodys() {
    let low = spec("L=1", &[("a", "A=low"), ("b", "B=low")]);
    let high = spec("H=1", &[("a", "A=high")]);
    for files in [
        [file("/1/x.yaml", 0, &low), file("/2/x.yaml", 1, &high)],
        [file("/2/x.yaml", 1, &high), file("/1/x.yaml", 0, &low)],
    ] {
        let registry = Registry::new(files);
        assert_eq!(env(&registry, &["v.com/c=a"]), "H=1 A=high");
        assert_eq!(env(&registry, &["v.com/c=b"]), "L=1 B=low");
    }
    let twice = [file("/1/x.yaml", 0, &low), file("/1/y.yaml", 0, &high)];
    let registry = Registry::new(twice.clone());
    assert_eq!(
        env(&registry, &["v.com/c=a"]),
        "unresolvable CDI devices v.com/c=a (given by several: /1/x.yaml, /1/y.yaml)"
    );
    assert_eq!(env(&registry, &["v.com/c=b"]), "L=1 B=low");
    let third = file("/2/z.yaml", 1, &spec("", &[("a", "A=third")]));
    let registry = Registry::new(twice.into_iter().chain([third]));
    assert_eq!(env(&registry, &["v.com/c=a"]), "A=third", "whatever is the matter below");
}

#[test]
fn builds_ask_for_one_for_all_or_for_a_group() {
    let text = "cdiVersion: 0.6.0\nkind: v.com/c\nannotations:\n  org.mobyproject.buildkit.device.class: rest\ndevices:\n\
        - {name: a, annotations: {org.mobyproject.buildkit.device.class: two}, containerEdits: {env: [A=1]}}\n\
        - {name: b, annotations: {org.mobyproject.buildkit.device.autoallow: true}, containerEdits: {env: [B=1]}}\n\
        - {name: d, annotations: {org.mobyproject.buildkit.device.class: two}, containerEdits: {env: [D=1]}}\n";
    let registry = Registry::new([file("/1/a.yaml", 0, text)]);
    assert!(registry.faults().is_empty(), "{:?}", registry.faults());
    let find = |wanted: &str, is_required| match registry.find(wanted, is_required) {
        Ok(found) => found.join(" "),
        Err(error) => error.to_string(),
    };
    for (wanted, found) in [
        ("v.com/c", "v.com/c=a"),
        ("v.com/c=", "v.com/c=a"),
        ("v.com/c=*", "v.com/c=a v.com/c=b v.com/c=d"),
        ("v.com/c=b", "v.com/c=b"),
        ("v.com/c=two", "v.com/c=a v.com/c=d"),
        ("v.com/c=rest", "v.com/c=b"),
        ("v.com/c=x", ""),
        ("v.com/cc", ""),
        ("v.com", "invalid device \"v.com\""),
        ("/dev/null", "invalid device \"/dev/null\""),
    ] {
        assert_eq!(find(wanted, false), found, "{wanted}");
    }
    assert_eq!(find("v.com/c=x", true), "required device \"v.com/c=x\" is not registered");
    assert!(registry.is_auto_allowed("v.com/c=b"));
    assert!(!registry.is_auto_allowed("v.com/c=a") && !registry.is_auto_allowed("v.com/c=x"));
}

#[test]
fn every_field_is_read_from_json_and_from_yaml_alike() {
    let json = r#"{
        "cdiVersion": "0.7.0", "kind": "vendor.com/net",
        "devices": [{"name": "0", "containerEdits": {
            "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "type": "c", "major": 1, "minor": 3,
                "fileMode": 438, "permissions": "rw", "uid": 5, "gid": 6}],
            "mounts": [{"hostPath": "/usr/lib/x.so", "containerPath": "/lib/x.so", "options": ["ro", "bind"]},
                {"hostPath": "tmpfs", "containerPath": "/tmp/d", "type": "tmpfs"}],
            "hooks": [{"hookName": "createContainer", "path": "/bin/h", "args": ["h", "-x"], "env": ["A=1"], "timeout": 5}],
            "additionalGids": [7], "intelRdt": {"closID": "c", "enableCMT": true}
        }}],
        "containerEdits": {"env": ["K=v"]}
    }"#;
    let yaml = "cdiVersion: 0.7.0\nkind: vendor.com/net\ndevices:\n- name: 0\n  containerEdits:\n    deviceNodes:\n\
    \x20   - {path: /dev/x, hostPath: /dev/null, type: c, major: 1, minor: 3, fileMode: 0666, permissions: rw, uid: 5, gid: 6}\n\
    \x20   mounts:\n    - hostPath: /usr/lib/x.so\n      containerPath: /lib/x.so\n      options: [ro, bind]\n\
    \x20   - hostPath: tmpfs\n      containerPath: /tmp/d\n      type: tmpfs\n\
    \x20   hooks:\n    - hookName: createContainer\n      path: /bin/h\n      args: [h, -x]\n      env: [A=1]\n      timeout: 5\n\
    \x20   additionalGids: [7]\n    intelRdt: {closID: c, enableCMT: true}\ncontainerEdits:\n  env: [K=v]\n";
    let read = |text: &str| {
        let registry = Registry::new([file("/f", 0, text)]);
        assert!(registry.faults().is_empty(), "{:?}", registry.faults());
        registry.edits(["vendor.com/net=0"]).unwrap()
    };
    let edits = read(json);
    assert_eq!(edits, read(yaml));
    assert_eq!(edits.env, ["K=v"]);
    let node = DeviceNode {
        path: "/dev/x".into(),
        host_path: Some("/dev/null".into()),
        kind: Some("c".into()),
        major: 1,
        minor: 3,
        file_mode: Some(0o666),
        permissions: Some("rw".into()),
        uid: Some(5),
        gid: Some(6),
    };
    assert_eq!(edits.device_nodes, [node]);
    assert_eq!(
        edits.mounts[1],
        Mount {
            host_path: "tmpfs".into(),
            container_path: "/tmp/d".into(),
            kind: Some("tmpfs".into()),
            options: vec![],
        }
    );
    let hook = Hook {
        hook_name: HookKind::CreateContainer,
        path: "/bin/h".into(),
        args: vec!["h".into(), "-x".into()],
        env: vec!["A=1".into()],
        timeout: Some(5),
    };
    assert_eq!((edits.hooks, edits.additional_gids), (vec![hook], vec![7]));
    assert!(edits.intel_rdt.unwrap().enable_cmt);
}

/// Why a file is refused, with its causes.
fn fault(text: &str) -> String {
    let registry = Registry::new([file("/f", 0, text)]);
    let Some(fault) = registry.faults().first() else { return "taken".to_owned() };
    let mut words = fault.source.to_string();
    let mut error = std::error::Error::source(&fault.source);
    while let Some(cause) = error {
        words.push_str(&format!(": {cause}"));
        error = cause.source();
    }
    words
}

#[test]
fn what_is_no_specification_is_refused_with_its_place() {
    let of = |version: &str, kind: &str, device: &str| {
        format!("cdiVersion: {version}\nkind: {kind}\ndevices:\n- name: d\n  containerEdits:\n    {device}\n")
    };
    let edits = |device: &str| of("1.1.0", "v/c", device);
    for (text, why) in [
        (String::new(), "the file is empty"),
        ("[]".to_owned(), "the file is no map"),
        ("a: [".to_owned(), "line "),
        ("x: 1".to_owned(), "unknown field `x`"),
        (of("0.2.0", "v/c", "env: [A=1]"), "invalid version \"0.2.0\""),
        (of("2.0.0", "v/c", "env: [A=1]"), "invalid version \"2.0.0\""),
        (of("''", "v/c", "env: [A=1]"), "invalid version \"\""),
        (of("0.5.0", "v", "env: [A=1]"), "kind \"v\": no vendor"),
        (of("0.5.0", "v/c.d", "env: [A=1]"), "a class with a dot takes version 0.6.0, and the file is of 0.5.0"),
        (of("0.3.0", "v/c", "mounts: [{hostPath: /a, containerPath: /b, type: x}]"), "type of a mount takes version 0.4.0"),
        (of("0.4.0", "v/c", "deviceNodes: [{path: /a, hostPath: /b}]"), "hostPath of a device node takes version 0.5.0"),
        (of("0.6.0", "v/c", "additionalGids: [1]"), "additionalGids takes version 0.7.0"),
        (of("0.6.0", "v/c", "intelRdt: {}"), "intelRdt takes version 0.7.0"),
        (of("1.0.0", "v/c", "netDevices: [{hostInterfaceName: a, name: b}]"), "netDevices takes version 1.1.0"),
        (edits("{}"), "device \"d\" changes nothing"),
        (edits("env: [A]"), "env is \"A\": must be NAME=value"),
        (edits("env: [=A]"), "env is \"=A\": must be NAME=value"),
        (edits("env: [\"A=\\0\"]"), "must not hold a zero byte"),
        (edits("deviceNodes: [{path: dev/x}]"), "path of a device node is \"dev/x\": must be an absolute path"),
        (edits("deviceNodes: [{path: /dev/../x}]"), "must not hold \"..\""),
        (edits("deviceNodes: [{path: /}]"), "must not be the root"),
        (edits("deviceNodes: [{path: /x, type: q}]"), "type of a device node is \"q\": must be b, c, u or p"),
        (edits("deviceNodes: [{path: /x, permissions: rx}]"), "must be of r, w and m, or none"),
        (edits("deviceNodes: [{path: /x, major: -1}]"), "invalid value: integer `-1`, expected u32"),
        (edits("deviceNodes: [null]"), "invalid type: null"),
        (edits("mounts: [{hostPath: '', containerPath: /x}]"), "hostPath of a mount is \"\": must be a path"),
        (edits("mounts: [{hostPath: /x, containerPath: /a/../b}]"), "must not hold \"..\""),
        (edits("hooks: [{hookName: never, path: /x}]"), "unknown variant `never`"),
        (edits("hooks: [{hookName: poststop, path: x}]"), "path of a hook is \"x\": must be an absolute path"),
        (edits("hooks: [{hookName: poststop, path: /x, timeout: 0}]"), "must be above zero"),
        (edits("hooks: [{hookName: poststop, path: /x, env: [x]}]"), "env of a hook is \"x\""),
        (edits("intelRdt: {closID: a/b}"), "closID is \"a/b\": must be the name of a file"),
        ("cdiVersion: 0.5.0\nkind: v/c\ndevices: []\n".to_owned(), "there are no devices"),
        (spec("A=1", &[("a", "A=1"), ("a", "B=1")]), "device \"a\" comes twice"),
        (spec("A=1", &[("-a", "A=1")]), "device \"-a\": invalid name"),
        (
            "cdiVersion: 0.3.0\nkind: v/c\ndevices: [{name: 1, containerEdits: {env: [A=1]}}]".to_owned(),
            "a device name that begins with a digit takes version 0.5.0",
        ),
        (
            "cdiVersion: 0.6.0\nkind: v/c\nannotations: {'a b': c}\ndevices: [{name: d, containerEdits: {env: [A=1]}}]".to_owned(),
            "annotation \"a b\": its name must be",
        ),
        (
            "cdiVersion: 0.6.0\nkind: v/c\nannotations: {'-x.y/b': c}\ndevices: [{name: d, containerEdits: {env: [A=1]}}]".to_owned(),
            "annotation \"-x.y/b\": what stands before the slash must be a domain",
        ),
        (edits("env: [A=1]"), "taken"),
        (edits("env:\n    - A=1\n    mounts:"), "taken"),
        ("{\"cdiVersion\": \"0.5.0\", \"kind\": \"v/c\", \"devices\": [{\"name\": \"a\", \"name\": \"b\"}]}".to_owned(), "\"name\" comes twice"),
    ] {
        let found = fault(&text);
        assert!(found.contains(why), "{text}\n{found}");
    }
    assert!(fault(&edits(&format!("env: [A={}]", "x".repeat(100_000)))) == "taken");
    let many = format!("{{{}: {{n: '{}'}}}}", "annotations", "x".repeat(300_000));
    assert!(
        fault(&format!("cdiVersion: 0.6.0\nkind: v/c\n{}", &many[1..many.len() - 1])).contains("256 KiB")
    );
    assert!(fault(&format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200))).contains("at most 32 levels"));
}

proptest::proptest! {
    #[test]
    fn no_text_is_a_panic(text in "(cdiVersion|kind|devices|name|containerEdits|env|[:\\[\\]{}, \\n\"'\\-0-9a-z./=])*{0,30}") {
        let registry = Registry::new([file("/f", 0, &text)]);
        proptest::prop_assert!(registry.faults().len() + registry.specs.len() == 1);
    }
}
