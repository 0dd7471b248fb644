//! A disk without a free byte.

use testkit::{Disk, Entry, Skiff, archive, busybox, busybox_layer, wait_until};

use crate::assert_sound;

/// The kernel's words and ours for the database differ in their first letter.
const FULL: &str = "o space left";

#[test]
fn nothing_is_made_on_it_and_nothing_is_left_of_the_attempt() {
    let disk = Disk::new(32);
    let skiff = Skiff::with_busybox_at(&disk.path());
    disk.fill();
    for (command, code) in
        [(&["create", "busybox"][..], 1), (&["run", "-d", "busybox", "sleep", "1000"], 125)]
    {
        let output = skiff.run(command);
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stderr.contains(FULL), "{output:?}");
        assert_eq!(skiff.ok(&["ps", "-aq"]), "");
        assert_eq!(skiff.left_by_containers(), "");
    }
    let layer = busybox_layer(&[Entry::File("large", 0o644, &[7; 1 << 20])]);
    let output = skiff.run_with_input(&["load"], &archive("large", &layer, serde_json::json!({})));
    assert!(output.code == 1 && output.stderr.contains(FULL), "{output:?}");
    assert_eq!(skiff.ok(&["images", "-q"]).lines().count(), 1);
    disk.free();
    assert_sound(&skiff);
}

#[test]
fn a_container_goes_on_without_its_log_and_its_end_is_known() {
    let disk = Disk::new(32);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let count = "i=0; while :; do i=$((i+1)); echo line $i; done";
    let bounds = ["--log-opt", "max-size=20m"];
    let run = [&["run", "-d", "--name", "loud"], &bounds[..], &["busybox", "sh", "-c", count]].concat();
    skiff.ok(&run);
    disk.fill();
    let id = skiff.ok(&["inspect", "-f", "{{.Id}}", "loud"]);
    let status = skiff.run_folder().join(id.trim()).join("status");
    wait_until("lines are lost", || {
        let status: serde_json::Value = serde_json::from_slice(&std::fs::read(&status).unwrap()).unwrap();
        status["log_lines_lost"].as_u64() > Some(0)
    });
    assert_eq!(skiff.ok(&["exec", "loud", "echo", "here"]), "here\n");
    // To look takes no space: the container, which writes its log into every byte that comes free, must get none.
    assert!(disk.path().join("reserve").exists());
    // What was written before is whole.
    assert!(skiff.ok(&["logs", "loud"]).lines().all(|line| line.starts_with("line ")));
    assert_eq!(skiff.ok(&["stop", "-t", "0", "loud"]), "loud\n");
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "loud"]), "exited 137\n");
    disk.free();
    assert_eq!(skiff.ok(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "loud"]), "exited 137\n");
    assert_sound(&skiff);
}

#[test]
fn an_end_that_cannot_be_written_down_is_known_and_can_be_removed() {
    let disk = Disk::new(32);
    let skiff = Skiff::with_busybox_at(&disk.path());
    for round in 0..8 {
        // So that the database's log ends elsewhere in its last block.
        let more = format!("more{round}");
        skiff.ok(&["create", "--name", &more, "busybox"]);
        skiff.ok(&["run", "-d", "--name", "one", "busybox", "sleep", "1000"]);
        disk.fill();
        assert_eq!(skiff.ok(&["kill", "one"]), "one\n");
        assert_eq!(skiff.ok(&["wait", "one"]), "137\n");
        let state = ["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "one"];
        assert_eq!(skiff.ok(&state), "exited 137\n", "round {round}");
        assert_eq!(skiff.ok(&["ps", "-a", "-f", "name=one", "--format", "{{.State}}"]), "exited\n");
        assert_eq!(skiff.ok(&["rm", "one"]), "one\n", "round {round}");
        disk.free();
        // What was kept in reserve is made up for by the first removal that finds room.
        skiff.ok(&["rm", &more]);
        for number in 0..=round % 3 {
            skiff.ok(&["create", "--name", &format!("{more}-{number}"), "busybox"]);
        }
    }
    assert_sound(&skiff);
}

#[test]
fn what_fills_it_can_be_removed() {
    let disk = Disk::new(32);
    let skiff = Skiff::with_busybox_at(&disk.path());
    let fill = "dd if=/dev/zero of=/file bs=65536";
    for round in 0..3 {
        let output = skiff.run(&["run", "--name", "hog", "busybox", "sh", "-c", fill]);
        assert!(output.stderr.contains(FULL), "{output:?}");
        disk.fill();
        // Three times, so that whatever was kept in reserve is used up and made up for.
        assert_eq!(skiff.ok(&["rm", "-f", "hog"]), "hog\n", "round {round}");
        disk.free();
    }
    let image = skiff.folder().join("busybox.tar");
    std::fs::write(&image, busybox()).unwrap();
    disk.fill();
    skiff.ok(&["rmi", "busybox"]);
    disk.free();
    skiff.ok(&["load", "-i", image.to_str().unwrap()]);
    assert_sound(&skiff);
}
