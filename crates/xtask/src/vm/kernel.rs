//! Fetches the distribution's kernel and tells which modules have to be loaded, in which order.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{output, succeed};

/// An unpacked kernel package.
pub(super) struct Kernel {
    /// Such as `6.1.0-56-amd64`.
    pub(super) version: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// `lib/modules/VERSION`.
    modules: PathBuf,
}

/// The packages that always depend on the newest kernel, of Debian and of Ubuntu.
const LATEST: [&str; 2] = ["linux-image-amd64", "linux-image-generic"];

/// Finds the newest kernel package, downloads it into `folder` if it is not there, and unpacks it.
pub(super) fn fetch(folder: &Path) -> Result<Kernel> {
    let packages = match packages() {
        Ok(packages) => packages,
        Err(_) => {
            succeed(Command::new("apt-get").args(["update", "-qq"]))?;
            packages()?
        }
    };
    let name = packages.first().context("the distribution has no kernel package")?;
    let version = name.strip_prefix("linux-image-").context("a kernel package without a version")?.to_owned();
    let tree = folder.join(name);
    let kernel = Kernel {
        image: tree.join("boot").join(format!("vmlinuz-{version}")),
        modules: tree.join("lib/modules").join(&version),
        version,
    };
    // The list of dependencies is written last, so with it the tree is whole.
    if !kernel.modules.join("modules.dep").exists() {
        let downloads = folder.join("download");
        remove_tree(&downloads)?;
        remove_tree(&tree)?;
        std::fs::create_dir_all(&downloads)?;
        succeed(Command::new("apt-get").args(["download", "-qq"]).args(&packages).current_dir(&downloads))?;
        for package in std::fs::read_dir(&downloads)? {
            succeed(Command::new("dpkg").arg("-x").arg(package?.path()).arg(&tree))?;
        }
        remove_tree(&downloads)?;
        succeed(Command::new("depmod").arg("-b").arg(&tree).arg(&kernel.version))?;
    }
    Ok(kernel)
}

fn remove_tree(tree: &Path) -> Result<()> {
    match std::fs::remove_dir_all(tree) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove an old kernel")
        }
        _ => Ok(()),
    }
}

/// The kernel's package, and Ubuntu's other one with the modules.
fn packages() -> Result<Vec<String>> {
    for latest in LATEST {
        let Ok(text) =
            output(Command::new("apt-cache").args(["depends", "--no-recommends", "--no-suggests", latest]))
        else {
            continue;
        };
        let mut names: Vec<String> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|name| is_numbered(name, "linux-image-"))
            .map(str::to_owned)
            .collect();
        names.truncate(1);
        let modules = names.first().map(|name| name.replace("linux-image-", "linux-modules-"));
        let exists =
            |name: &String| output(Command::new("apt-cache").args(["show", "--quiet=2", name])).is_ok();
        names.extend(modules.filter(|_| latest.ends_with("generic")).filter(exists));
        if !names.is_empty() {
            return Ok(names);
        }
    }
    bail!("the distribution offers none of {LATEST:?}")
}

fn is_numbered(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

impl Kernel {
    /// Files of the modules and of those they depend on, dependencies first. One that is built in is left out.
    pub(super) fn module_files(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let read = |file: &str| {
            let path = self.modules.join(file);
            std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let (dependencies, built_in) = (read("modules.dep")?, read("modules.builtin")?);
        let mut files: Vec<PathBuf> = Vec::new();
        for name in names {
            let Some(line) =
                dependencies.lines().find(|line| module_name(line.split(':').next().unwrap_or("")) == *name)
            else {
                if built_in.lines().any(|line| module_name(line) == *name) {
                    continue;
                }
                bail!("kernel {} has no module {name}", self.version);
            };
            // `file: what it needs`, the nearest first.
            let all: Vec<&str> = line.split([':', ' ']).filter(|word| !word.is_empty()).collect();
            for file in all.iter().rev() {
                let path = self.modules.join(file);
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }
}

/// `overlay` from `kernel/fs/overlayfs/overlay.ko.xz`.
fn module_name(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}

/// A module as the guest can load it: plain, whatever the distribution's compression.
pub(super) fn read_module(path: &Path) -> Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => return std::fs::read(path).with_context(|| format!("read {}", path.display())),
    };
    let output =
        Command::new(program).arg("-dc").arg(path).output().with_context(|| format!("start {program}"))?;
    if !output.status.success() {
        bail!("{program} -dc {}: {}", path.display(), output.status);
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_from_paths() {
        for path in ["kernel/fs/overlayfs/overlay.ko", "overlay.ko.xz", "a/overlay.ko.zst"] {
            assert_eq!(module_name(path), "overlay", "{path}");
        }
        assert!(is_numbered("linux-image-6.1.0-56-amd64", "linux-image-"));
        assert!(!is_numbered("linux-image-amd64", "linux-image-"));
    }
}
