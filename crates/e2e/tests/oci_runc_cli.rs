//! The same bundles under runc and under `skiff oci`: what a container sees, and how it ends.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

mod oci;

use std::path::Path;
use std::process::Command;

use oci::{Done, Lab, require, run};
use serde_json::{Value, json};

/// Runs one bundle under both.
fn both(lab: &Lab, name: &str, bundle: &Path) -> (Done, Done) {
    require("runc", "runc");
    let words = ["run", "--bundle", bundle.to_str().unwrap(), &lab.id(name)];
    let mut runc = Command::new("runc");
    runc.arg("--root").arg(lab.path("runc")).args(words);
    (run(&mut runc), lab.oci(&words))
}

fn check_same(name: &str, script: &str, change: impl FnOnce(&mut Value)) {
    let lab = Lab::new(name);
    // Root in a user namespace may make no mount points here.
    for point in ["proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(lab.path("rootfs").join(point)).unwrap();
    }
    let bundle = lab.bundle("b", &["sh", "-c", script], change);
    let (runc, skiff) = both(&lab, "c", &bundle);
    assert_eq!((runc.code, &runc.out), (skiff.code, &skiff.out), "runc: {}\nskiff: {}", runc.err, skiff.err);
    assert!(!skiff.out.is_empty(), "{skiff:?}");
}

const STATUS: &str = "grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp|Umask|SigBlk|SigPnd|Cpus_allowed_list)' /proc/self/status; \
    cat /proc/self/limits; cat /proc/self/oom_score_adj; pwd; env | sort; hostname; cat /proc/self/cgroup | sort";

#[test]
fn a_process_has_the_same_identity_limits_and_environment() {
    check_same("same-default", STATUS, |_| {});
}

#[test]
fn a_user_with_capabilities_and_limits_is_the_same() {
    check_same("same-user", STATUS, |config| {
        let process = &mut config["process"];
        process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 6], "umask": 23});
        process["capabilities"] = json!({"bounding": ["CAP_CHOWN", "CAP_KILL"], "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
        process["cwd"] = json!("/tmp");
        process["env"] = json!(["PATH=/bin", "HOME=/nowhere"]);
        process["noNewPrivileges"] = json!(false);
        process["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}]);
        config["hostname"] = json!("elsewhere");
    });
}

#[test]
fn the_seccomp_profile_of_a_bundle_does_the_same() {
    check_same(
        "same-seccomp",
        "grep Seccomp: /proc/self/status; mkdir /tmp/x; echo $?; chmod 777 /tmp; echo $?",
        |config| {
            config["root"]["readonly"] = json!(false);
            config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13},
                {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 1, "value": 511, "op": "SCMP_CMP_EQ"}]}]});
        },
    );
}

#[test]
fn the_same_is_mounted_with_the_same_options() {
    // Point, flags and type; what a mask is made of is each runtime's own affair.
    let script = "cut -d' ' -f5,6 /proc/self/mountinfo | grep -vE '^(/proc/|/sys/firmware|/sys/fs/cgroup |/sys/devices)' | sort; \
        ls /dev | sort; readlink /dev/fd /dev/ptmx; cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; \
        echo x > /proc/sys/kernel/hostname || echo refused; touch /x || echo refused";
    check_same("same-mounts", script, |config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "nodev", "noexec", "size=1m", "mode=1777"]}));
        mounts.push(json!({"destination": "/mnt", "type": "bind", "source": "/usr/share",
            "options": ["rbind", "ro", "nosuid"]}));
    });
}

#[test]
fn a_user_namespace_maps_the_same_ids() {
    check_same(
        "same-userns",
        "cat /proc/self/uid_map /proc/self/gid_map; id -u; ls -nd /proc/1 | cut -c1-10; echo x > /tmp/f && stat -c %u /tmp/f",
        |config| {
            config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
        },
    );
}

#[test]
fn ends_are_the_same() {
    let lab = Lab::new("same-ends");
    let table: [(&str, &[&str]); 4] = [
        ("zero", &["true"]),
        ("code", &["sh", "-c", "exit 42"]),
        ("missing", &["no-such-program"]),
        ("folder", &["/bin"]),
    ];
    for (name, args) in table {
        let bundle = lab.bundle(name, args, |_| {});
        let (runc, skiff) = both(&lab, name, &bundle);
        assert_eq!(runc.code, skiff.code, "{name}: runc: {runc:?}\nskiff: {skiff:?}");
        // Both say so in one line of the same form.
        let form = |text: &str| text.starts_with("time=\"") && text.contains("level=error msg=");
        assert_eq!(form(&runc.err), form(&skiff.err), "{name}: runc: {runc:?}\nskiff: {skiff:?}");
    }
}
