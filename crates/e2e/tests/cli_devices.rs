//! Flags about single devices: who may open them, and how fast.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests handle their own files")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use testkit::Skiff;

#[test]
fn a_rule_opens_devices_by_their_numbers() {
    let skiff = Skiff::with_busybox();
    let nodes = skiff.folder().join("nodes");
    std::fs::create_dir(&nodes).unwrap();
    // Of a number that is for experiments: nobody is behind it.
    let node = nodes.join("node");
    mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(240, 7)).unwrap();
    std::fs::set_permissions(&node, std::fs::Permissions::from_mode(0o666)).unwrap();
    let bind = format!("{}:/nodes", nodes.display());
    let opened = |rules: &[&str]| {
        let rules: Vec<&str> = rules.iter().flat_map(|rule| ["--device-cgroup-rule", rule]).collect();
        let first = ["run", "--rm", "-v", &bind];
        skiff.run(&[&first[..], &rules, &["busybox", "cat", "/nodes/node"]].concat()).stderr
    };
    let refused = "cat: can't open '/nodes/node': Operation not permitted\n";
    let absent = "cat: can't open '/nodes/node': No such device or address\n";
    assert_eq!(opened(&[]), refused);
    assert_eq!(opened(&["c 240:8 rwm"]), refused);
    assert_eq!(opened(&["b 240:7 rwm"]), refused);
    assert_eq!(opened(&["c 240:7 w"]), refused);
    assert_eq!(opened(&["c 240:7 r"]), absent);
    assert_eq!(opened(&["c 1:1 r", "c 240:* rw"]), absent);
    let wrong = skiff.run(&["run", "--device-cgroup-rule", "c 240 r", "busybox"]);
    assert!(
        wrong.code == 125 && wrong.stderr.contains("invalid device cgroup format 'c 240 r'"),
        "{wrong:?}"
    );
    skiff.ok(&["create", "--name", "box", "--device-cgroup-rule", "a 7:* m", "busybox"]);
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.HostConfig.DeviceCgroupRules}}", "box"]), "[a 7:* m]\n");
}

/// A block device of this machine's, with its numbers.
fn disk() -> (String, String) {
    let mut names: Vec<_> =
        std::fs::read_dir("/sys/block").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    // Disks before what is made of memory and of files.
    names.sort_by_key(|name| (name.to_string_lossy().starts_with(['l', 'r', 'z']), name.clone()));
    let mut nodes = names.iter().map(|name| name.to_str().unwrap());
    let name = nodes.find(|name| PathBuf::from("/dev").join(name).exists()).expect("no block device in /dev");
    let numbers = std::fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap();
    (format!("/dev/{name}"), numbers.trim().to_owned())
}

#[test]
fn block_io_of_single_devices_is_limited() {
    let skiff = Skiff::with_busybox();
    let (device, numbers) = disk();
    let (read, write) = (format!("{device}:1mb"), format!("{device}:7"));
    let flags = ["--device-read-bps", &read, "--device-write-iops", &write];
    skiff.ok(&[&["run", "-d", "--name", "box"], &flags[..], &["busybox", "sleep", "1000"]].concat());
    let id = skiff.said("{{.Id}}", "box");
    let old = |file: &str| {
        std::fs::read_to_string(format!("/sys/fs/cgroup/blkio/skiff/{id}/blkio.throttle.{file}_device"))
    };
    match old("read_bps") {
        Ok(limits) => {
            assert_eq!(limits, format!("{numbers} 1048576\n"));
            assert_eq!(old("write_iops").unwrap(), format!("{numbers} 7\n"));
        }
        Err(_) => {
            let limits = std::fs::read_to_string(format!("/sys/fs/cgroup/skiff/{id}/io.max")).unwrap();
            assert_eq!(limits, format!("{numbers} rbps=1048576 wbps=max riops=max wiops=7\n"));
        }
    }
    let kept = "{{json .HostConfig.BlkioDeviceReadBps}} {{json .HostConfig.BlkioDeviceWriteIOps}} {{json .HostConfig.BlkioDeviceReadIOps}}";
    assert_eq!(
        skiff.said(kept, "box"),
        format!("[{{\"Path\":\"{device}\",\"Rate\":1048576}}] [{{\"Path\":\"{device}\",\"Rate\":7}}] []")
    );
    for (rate, complaint) in [
        ("/dev/null:1mb", "/dev/null is not a block device"),
        ("/dev/nosuch:1mb", "no such file or directory"),
        ("sda:1mb", "the path must begin with /dev/"),
        ("/dev/sda:fast", "want a whole number of bytes with kb, mb or gb"),
    ] {
        let refused = skiff.run(&["run", "--rm", "--device-write-bps", rate, "busybox", "true"]);
        assert!(refused.code == 125 && refused.stderr.contains(complaint), "{rate}: {refused:?}");
    }
}
