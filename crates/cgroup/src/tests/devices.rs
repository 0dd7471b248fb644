//! Device rules, enforced by the kernel: version 1's lists, and version 2's program also beside version 1.

use super::*;
use crate::devices::tests::rules;

/// Opens one device after the other, and says which it could.
const PROBE: &str = "for one in null zero full; do
    if (: < /dev/$one) 2>&-; then echo $one can be read; fi
    if (: > /dev/$one) 2>&-; then echo $one can be written; fi
done";

fn probe(group: &Cgroup) -> String {
    Shell::start(group, PROBE).output()
}

#[test]
fn rules_hold_and_an_update_replaces_them() {
    for layout in layouts() {
        let limits = |texts: &[&str]| Limits { devices: rules(texts), ..Limits::default() };
        let mut group = create(&layout, limits(&["-a", "+c 1:3 rwm", "+c 1:7 r"]));
        let first = "null can be read\nnull can be written\nfull can be read\n";
        assert_eq!(probe(&group), first, "{:?}", layout.version());

        group.update(&limits(&["+c 1:3 r", "+c 1:5 rw"])).unwrap();
        assert_eq!(probe(&group), "null can be read\nzero can be read\nzero can be written\n");

        group.update(&Limits::default()).unwrap();
        assert_eq!(
            probe(&group),
            "null can be read\nzero can be read\nzero can be written\n",
            "no rules change nothing"
        );

        group.update(&limits(&["+a", "-c 1:5 rwm"])).unwrap();
        assert_eq!(
            probe(&group),
            "null can be read\nnull can be written\nfull can be read\nfull can be written\n"
        );
        group.remove().unwrap();
    }
}

#[test]
fn without_rules_every_device_is_allowed() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        assert_eq!(probe(&group).lines().count(), 6);
        group.remove().unwrap();
    }
}

#[test]
fn an_observer_that_only_knows_the_path_can_replace_the_rules() {
    for layout in layouts() {
        let group = create(&layout, Limits { devices: rules(&["+c 1:3 rwm"]), ..Limits::default() });
        let mut observer = Cgroup::open(&layout, group.path()).unwrap();
        observer.update(&Limits { devices: rules(&["+c 1:5 r"]), ..Limits::default() }).unwrap();
        assert_eq!(probe(&group), "zero can be read\n");
        group.remove().unwrap();
    }
}
