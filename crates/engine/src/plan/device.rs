//! Device nodes of a container: the six that every program expects, and those of the host it was given.

use std::path::PathBuf;

use runtime::plan::{DEFAULT_DEVICES, Device, DeviceKind};

/// A device of the host's that a container gets, as found on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceNode {
    /// Inside the container.
    pub(crate) path: PathBuf,
    /// On the host.
    pub(crate) source: PathBuf,
    /// Block, else character.
    pub(crate) block: bool,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Some of `rwm`.
    pub(crate) permissions: String,
}

/// The nodes of a container. Its terminal, `/dev/ptmx` and the links come with the runtime.
pub(crate) fn devices(given: &[DeviceNode]) -> Vec<Device> {
    let default =
        DEFAULT_DEVICES.iter().filter(|(path, ..)| given.iter().all(|node| node.path.as_os_str() != *path));
    let default = default.map(|(path, major, minor)| Device {
        path: path.into(),
        kind: DeviceKind::Char,
        major: *major,
        minor: *minor,
        mode: 0o666,
        uid: 0,
        gid: 0,
        source: path.into(),
    });
    let given = given.iter().map(|node| Device {
        path: node.path.clone(),
        kind: if node.block { DeviceKind::Block } else { DeviceKind::Char },
        major: node.major,
        minor: node.minor,
        mode: node.mode,
        uid: node.uid,
        gid: node.gid,
        source: node.source.clone(),
    });
    default.chain(given).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_node_takes_the_place_of_a_default_one() {
        let node = DeviceNode {
            path: "/dev/null".into(),
            source: "/dev/other".into(),
            block: false,
            major: 9,
            minor: 9,
            mode: 0o600,
            uid: 1,
            gid: 2,
            permissions: "r".to_owned(),
        };
        let found = devices(&[node]);
        assert_eq!(found.len(), 6);
        let null: Vec<_> =
            found.iter().filter(|device| device.path == std::path::Path::new("/dev/null")).collect();
        assert_eq!((null.len(), null[0].major, null[0].uid), (1, 9, 1));
    }
}
