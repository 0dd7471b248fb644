use super::*;

/// Every Linux field of the specification once, so that a misspelt name shows as a lost field.
const EVERY_FIELD: &str = include_str!("every_field.json");

#[test]
fn every_field_survives_a_round_trip() {
    let spec = Spec::parse(EVERY_FIELD.as_bytes()).unwrap();
    let written = serde_json::to_value(&spec).unwrap();
    let read: serde_json::Value = serde_json::from_str(EVERY_FIELD).unwrap();
    assert_eq!(written, read);
}

#[test]
fn null_reads_like_absent() {
    let text = br#"{"ociVersion":"1.0.2","process":{"user":null,"args":null,"cwd":"/","terminal":null},
        "mounts":null,"hooks":null,"annotations":null,"hostname":null,
        "linux":{"namespaces":null,"devices":null,"sysctl":null,"resources":null,"cgroupsPath":null,"seccomp":null}}"#;
    let spec = Spec::parse(text).unwrap();
    assert_eq!(spec.linux, Some(Linux::default()));
    assert_eq!(spec.process, Some(Process { cwd: "/".into(), ..Process::default() }));
}

#[test]
fn unknown_fields_are_ignored_and_other_platforms_named() {
    let text = br#"{"ociVersion":"1.2.0","x-new":{"a":[1]},"windows":{"layerFolders":[]},"vm":{}}"#;
    let spec = Spec::parse(text).unwrap();
    assert_eq!(spec.other_platforms, ["windows", "vm"]);
}

#[test]
fn a_wrong_type_names_its_place() {
    let error = Spec::parse(b"{\"ociVersion\":\"1\",\n\"mounts\":{}}").unwrap_err();
    assert_eq!(error.line(), 2);
}

#[test]
fn state_document_has_the_specified_shape() {
    let state = State {
        oci_version: "1.2.0".into(),
        id: "a".into(),
        status: Status::Running,
        pid: Some(7),
        bundle: "/b".into(),
        annotations: BTreeMap::from([("k".into(), "v".into())]),
    };
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(
        text,
        r#"{"ociVersion":"1.2.0","id":"a","status":"running","pid":7,"bundle":"/b","annotations":{"k":"v"}}"#
    );
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
}
