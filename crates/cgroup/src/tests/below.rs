//! Groups below a group, which a further process joins.

use super::*;
use crate::{Below, Error};

/// Where the kernel says that a process of `group` is: the part below `base`, hierarchy by hierarchy.
fn places(group: &Cgroup, base: &Path) -> Vec<(String, String)> {
    let text = Shell::start(group, "cat /proc/self/cgroup").output();
    let place = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let below = path.strip_prefix(base.to_str()?)?;
        Some((controllers.to_owned(), below.to_owned()))
    };
    text.lines().filter_map(place).collect()
}

#[test]
fn a_process_goes_where_a_path_says_in_every_hierarchy() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let base = group.path().to_owned();
        for directory in directories(&base) {
            std::fs::create_dir_all(directory.join("a/b")).unwrap();
        }
        let below = |path: &str| group.below(&Below::Everywhere(path.into()));
        for (path, expected) in [("a/b", "/a/b"), ("/a", "/a"), ("/", ""), ("", "")] {
            let found = places(&below(path).unwrap(), &base);
            assert_eq!(found.len(), group.legacy.len() + usize::from(group.unified.is_some()), "{found:?}");
            assert!(found.iter().all(|(_, place)| place == expected), "{path}: {found:?}");
        }
        for path in ["../x", "a/../../x"] {
            assert!(matches!(below(path), Err(Error::Path { .. })), "{path}");
        }
        let missing = below("nowhere").unwrap_err().to_string();
        assert!(missing.contains("/nowhere does not exist"), "{missing}");
        // What is found is only looked at: the groups are still there, and go with the group itself.
        assert!(directories(&base.join("a/b")).len() >= group.legacy.len());
        group.remove().unwrap();
        assert_gone(&base);
    }
}

#[test]
fn a_controller_of_version_1_has_a_path_of_its_own() {
    for layout in layouts() {
        let group = create(&layout, Limits::default());
        let base = group.path().to_owned();
        let paths = |name: &str| {
            let controller = Controller::from_legacy_name(name).unwrap();
            group.below(&Below::Controllers(vec![(controller, "x".into())]))
        };
        if !is_legacy(&layout, Controller::Pids) {
            let refused = paths("pids").unwrap_err().to_string();
            assert!(refused.contains("controller pids has no version 1 hierarchy"), "{refused}");
            group.remove().unwrap();
            continue;
        }
        let place = group.legacy_node(Controller::Pids).unwrap().dir.path().join("x");
        assert!(matches!(paths("pids"), Err(Error::Missing { path }) if path == place));
        std::fs::create_dir(&place).unwrap();
        let found = places(&paths("pids").unwrap(), &base);
        for (controllers, below) in found {
            assert_eq!(below, if controllers == "pids" { "/x" } else { "" }, "{controllers}");
        }
        group.remove().unwrap();
        assert_gone(&base);
    }
}
