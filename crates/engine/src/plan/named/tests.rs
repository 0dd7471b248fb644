//! What named devices make of a plan.

use oci::ContainerId;
use runtime::plan::{Hook, MountAttributes};

use super::*;
use crate::plan::launch::tests::{EMPTY, around, facts, planned};
use crate::plan::{Surroundings, launch};

fn bind(target: &str, source: &str) -> Mount {
    Mount {
        target: target.into(),
        kind: MountKind::Bind { source: source.into(), recursive: false },
        attributes: MountAttributes::default(),
        propagation: None,
        id_map: MountIdMap::None,
    }
}

fn node(path: &str, permissions: &str, has_uid: bool) -> NamedNode {
    let device = Device {
        path: path.into(),
        kind: DeviceKind::Char,
        major: 195,
        minor: 0,
        mode: 0o600,
        uid: 7,
        gid: 8,
        source: path.into(),
    };
    NamedNode { device, permissions: permissions.to_owned(), has_uid, has_gid: has_uid }
}

fn plan(edits: DeviceEdits, user: &str) -> LaunchPlan {
    let spec = planned(EMPTY, &facts(), |create| {
        create.process.env = vec!["A=mine".to_owned(), "AB=kept".to_owned()];
        create.process.user = Some(user.to_owned());
        create.host.group_add = vec!["44".to_owned()];
    });
    let id = ContainerId::from_bytes([1; 32]);
    let around = Surroundings { named: edits, ..around() };
    launch(id.as_str(), &spec.unwrap(), &facts(), &around).unwrap()
}

#[test]
fn devices_have_the_last_word_on_a_plan() {
    let hook = Hook { path: "/h".into(), args: vec![], env: vec![], timeout_secs: None };
    let edits = DeviceEdits {
        env: vec!["A=1".to_owned(), "B=2".to_owned(), "A=3".to_owned()],
        devices: vec![node("/dev/null", "rw", true), node("/dev/g", "", false)],
        mounts: vec![bind("/dev/shm/deep/x", "/x"), bind("/etc/hosts", "/h"), bind("/opt", "/o")],
        hooks: Hooks { create_container: vec![hook], ..Hooks::default() },
        groups: vec![44, 45],
    };
    let plan = plan(edits, "1000:100");
    let env: Vec<&str> =
        plan.process.env.iter().map(String::as_str).filter(|entry| !entry.starts_with("PATH")).collect();
    assert!(env.ends_with(&["AB=kept", "B=2", "A=3"]), "{env:?}");
    let nodes =
        |path: &str| plan.devices.iter().filter(|device| device.path == Path::new(path)).collect::<Vec<_>>();
    assert!(matches!(nodes("/dev/null")[..], [Device { major: 195, uid: 7, gid: 8, .. }]));
    assert!(matches!(nodes("/dev/g")[..], [Device { uid: 1000, gid: 100, .. }]), "who runs the program");
    let rules = &plan.cgroup.as_ref().unwrap().limits.devices;
    let own: Vec<_> = rules.iter().filter(|rule| rule.major == Some(195)).collect();
    assert!(
        matches!(own[..], [DeviceRule { read: true, write: true, mknod: false, allow: true, .. }]),
        "{own:?}"
    );
    let at = |target: &str| plan.mounts.iter().position(|mount| mount.target == Path::new(target)).unwrap();
    assert!(at("/opt") < at("/dev/shm") && at("/dev/shm") < at("/dev/shm/deep/x"));
    let hosts = &plan.mounts[at("/etc/hosts")];
    assert!(matches!(&hosts.kind, MountKind::Bind { source, .. } if source == Path::new("/h")));
    assert_eq!(
        (&hosts.id_map, hosts.propagation),
        (&MountIdMap::Container, Some(Propagation::RecursivePrivate))
    );
    assert_eq!(plan.mounts.iter().filter(|mount| mount.target == Path::new("/etc/hosts")).count(), 1);
    assert_eq!((plan.hooks.create_container.len(), plan.hooks.state.id.len()), (1, 64));
    let User::Named { extra_groups, .. } = &plan.process.user else { panic!("{:?}", plan.process.user) };
    assert_eq!(extra_groups, &["44", "45"]);
}

#[test]
fn without_devices_a_plan_stays_what_it_is() {
    let plan = plan(DeviceEdits::default(), "");
    assert_eq!(plan.hooks, Hooks::default());
}

#[test]
fn what_is_made_outside_of_dev_is_no_part_of_a_layer() {
    let edits = DeviceEdits {
        devices: vec![node("/dev/g", "r", true), node("/opt/g", "r", true)],
        mounts: vec![bind("/usr/lib/x.so", "/x")],
        ..DeviceEdits::default()
    };
    assert_eq!(edits.mount_points().collect::<Vec<_>>(), ["/opt/g", "/usr/lib/x.so"]);
}
