//! The structure that ARCHITECTURE.md promises, read from `cargo metadata` and from the sources.
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads the sources itself")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Crates that may block on an executor.
const ASYNC_CRATES: [&str; 3] = ["api", "registry-client", "registry-server"];
/// Executors, and what drags one in.
const EXECUTORS: [&str; 7] = ["tokio", "async-std", "smol", "futures-executor", "hyper", "axum", "tonic"];
/// Crates that serve tests and developers; nothing of the product may need them but in its tests.
const DEVELOPER_CRATES: [&str; 4] = ["testkit", "xtask", "e2e", "bench"];
/// Crates whose purpose is to talk to a person.
const PRINTING_CRATES: [&str; 5] = ["cli", "skiff", "monitor", "xtask", "bench"];

struct Package {
    name: String,
    level: u64,
    folder: PathBuf,
    needs: Vec<(String, bool)>,
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let name = value["name"].as_str().unwrap().to_owned();
    let level = value["metadata"]["skiff"]["level"]
        .as_u64()
        .unwrap_or_else(|| panic!("{name} has no [package.metadata.skiff] level"));
    let folder = Path::new(value["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
    let needs = value["dependencies"].as_array().unwrap().iter();
    let needs =
        needs.map(|need| (need["name"].as_str().unwrap().to_owned(), need["kind"] == Value::Null)).collect();
    Package { name, level, folder, needs }
}

/// Every Rust source of a package.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found
}

#[test]
fn dependencies_point_strictly_downward() {
    let packages = packages();
    let levels: BTreeMap<&str, u64> = packages.iter().map(|p| (p.name.as_str(), p.level)).collect();
    for package in &packages {
        for (need, _) in package.needs.iter().filter(|(_, normal)| *normal) {
            if let Some(level) = levels.get(need.as_str()) {
                assert!(
                    *level < package.level,
                    "{} (level {}) needs {need} (level {level}), which does not lie below it",
                    package.name,
                    package.level
                );
            }
        }
    }
}

#[test]
fn the_product_does_not_need_developer_crates() {
    for package in packages().iter().filter(|p| !DEVELOPER_CRATES.contains(&p.name.as_str())) {
        for (need, normal) in &package.needs {
            assert!(
                !(*normal && DEVELOPER_CRATES.contains(&need.as_str())),
                "{} needs {need} outside its tests",
                package.name
            );
        }
    }
}

#[test]
fn folder_and_crate_have_one_name_and_the_map_knows_it() {
    let map = std::fs::read_to_string(workspace().join("ARCHITECTURE.md")).unwrap();
    for package in packages() {
        assert_eq!(package.folder.file_name().unwrap().to_str().unwrap(), package.name);
        let shown = if DEVELOPER_CRATES.contains(&package.name.as_str()) {
            "-".to_owned()
        } else {
            package.level.to_string()
        };
        let row = format!("| {shown} | `{}` |", package.name);
        assert!(map.contains(&row), "ARCHITECTURE.md has no row that begins {row:?}");
    }
}

/// What stands between backticks in the rows of tables.
fn named_in_tables(document: &str) -> Vec<String> {
    let text = std::fs::read_to_string(workspace().join(document)).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| "));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn tests_that_the_security_document_names_exist() {
    let named = named_in_tables("SECURITY.md");
    let names: Vec<&String> =
        named.iter().filter(|name| name.matches('_').count() > 2 && !name.contains('/')).collect();
    assert!(names.len() > 20, "{names:?}");
    let all: String =
        packages().iter().flat_map(|package| sources(&package.folder)).map(|(_, text)| text).collect();
    for name in names {
        // With arguments where it is tried with random ones.
        assert!(
            all.contains(&format!("#[test]\n    fn {name}("))
                || all.contains(&format!("#[test]\nfn {name}("))
                || all.contains(&format!("#[test]\n        fn {name}(")),
            "{name}"
        );
    }
}

#[test]
fn no_executor_outside_the_crates_that_may_have_one() {
    for package in packages().iter().filter(|p| !ASYNC_CRATES.contains(&p.name.as_str())) {
        for (need, normal) in &package.needs {
            assert!(
                !(*normal && EXECUTORS.contains(&need.as_str())),
                "{} needs {need}: asynchronous code belongs to {ASYNC_CRATES:?}",
                package.name
            );
        }
    }
}

#[test]
fn unsafe_code_lives_in_linux_alone() {
    // The lint denies it everywhere; this finds who switched the lint off.
    let escapes = ["allow(unsafe_code", "expect(unsafe_code", "warn(unsafe_code"];
    for package in packages() {
        let manifest = std::fs::read_to_string(package.folder.join("Cargo.toml")).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{} does not take the workspace's lints",
            package.name
        );
        if package.name == "linux" {
            continue;
        }
        for (path, text) in sources(&package.folder) {
            let own = path.ends_with("xtask/tests/architecture.rs");
            for escape in escapes.iter().filter(|_| !own) {
                assert!(!text.contains(escape), "{} has {escape}", path.display());
            }
        }
    }
}

#[test]
fn only_programs_that_talk_to_a_person_print() {
    for package in packages().iter().filter(|p| !PRINTING_CRATES.contains(&p.name.as_str())) {
        for (path, text) in sources(&package.folder.join("src")) {
            assert!(
                !text.contains("clippy::print_std"),
                "{} switches off the lint against printing",
                path.display()
            );
        }
    }
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    for package in packages() {
        for (path, text) in sources(&package.folder) {
            if path.ends_with("xtask/tests/architecture.rs") {
                continue;
            }
            for word in ["todo!(", "unimplemented!(", "#[ignore"] {
                assert!(!text.contains(word), "{} has {word}", path.display());
            }
        }
    }
}
