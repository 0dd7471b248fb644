//! User namespaces: which host ids a container's ids are.

use runtime::plan::{IdMap, IdMaps, Namespace};
use state::IdPool;

use super::{HostFacts, Joined, Peer, Rootless};
use crate::request::{HostOptions, UserMode};
use crate::{Error, Result};

/// How a container's user namespace comes about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Identity {
    pub(crate) namespace: Namespace,
    /// Empty when the container shares the host's ids.
    pub(crate) maps: IdMaps,
}

/// Whether a container gets a range of the pool.
///
/// `--privileged` means the host's root, as in Docker; without root there is no range to give, only the ids lent
/// to the user.
pub(crate) fn needs_range(host: &HostOptions, facts: &HostFacts) -> bool {
    facts.rootless.is_none() && own_ids(host)
}

/// Whether a container has ids of its own.
pub(crate) fn own_ids(host: &HostOptions) -> bool {
    host.user_mode == UserMode::Private && !host.privileged
}

/// The identity of a container with the range that begins at `id_base`.
///
/// Who joins another container's namespaces has to live in its user namespace, because that one owns them.
pub(crate) fn identity(
    host: &HostOptions,
    facts: &HostFacts,
    id_base: Option<u32>,
    joined: &Joined,
) -> Result<Identity> {
    let peers = [&joined.pid, &joined.ipc, &joined.network];
    let mut owners = peers.into_iter().flatten().filter(|peer| !peer.maps.uid.is_empty());
    if let Some(owner) = owners.next() {
        if owners.any(|other| other.maps != owner.maps) {
            return Err(Error::JoinsSeveral);
        }
        if own_ids(host) || facts.rootless.is_some() {
            return Ok(join(owner));
        }
    }
    if let Some(user) = &facts.rootless {
        return Ok(Identity { namespace: Namespace::New, maps: lent(user) });
    }
    match id_base.filter(|_| own_ids(host)) {
        Some(base) => {
            let map = vec![IdMap { inside: 0, outside: base, count: IdPool::RANGE }];
            Ok(Identity { namespace: Namespace::New, maps: IdMaps { uid: map.clone(), gid: map } })
        }
        None => Ok(Identity { namespace: Namespace::Inherit, maps: IdMaps::default() }),
    }
}

fn join(owner: &Peer) -> Identity {
    let path = format!("/proc/{}/ns/user", owner.pid);
    Identity { namespace: Namespace::Join(path.into()), maps: owner.maps.clone() }
}

/// Root inside is the caller; ids from 1 on are those lent to it, one range after the other.
pub(crate) fn lent(user: &Rootless) -> IdMaps {
    let map = |own: u32, ranges: &[(u32, u32)]| {
        let mut maps = vec![IdMap { inside: 0, outside: own, count: 1 }];
        let mut inside = 1_u32;
        for &(outside, count) in ranges {
            maps.push(IdMap { inside, outside, count });
            inside += count;
        }
        maps
    };
    IdMaps { uid: map(user.uid, &user.uids), gid: map(user.gid, &user.gids) }
}

/// The same where files can be given owners with it, which takes both kinds of ids.
pub(crate) fn lent_for_files(user: &Rootless) -> Option<IdMaps> {
    (!user.uids.is_empty() && !user.gids.is_empty()).then(|| lent(user))
}

/// What the container's root is outside.
pub(crate) fn root_outside(maps: &IdMaps) -> (u32, u32) {
    let outside = |maps: &[IdMap]| maps.iter().find(|map| map.inside == 0).map_or(0, |map| map.outside);
    (outside(&maps.uid), outside(&maps.gid))
}

/// The highest id that exists inside, for what has to name a range of ids.
pub(crate) fn highest(maps: &[IdMap]) -> u32 {
    maps.iter().map(|map| map.inside.saturating_add(map.count - 1)).max().unwrap_or(0x7fff_ffff)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::launch::tests::facts;

    fn text(identity: &Result<Identity>) -> String {
        match identity {
            Ok(identity) => {
                let maps = |maps: &[IdMap]| {
                    let lines =
                        maps.iter().map(|map| format!("{}:{}:{}", map.inside, map.outside, map.count));
                    lines.collect::<Vec<_>>().join(",")
                };
                format!("{:?} {} {}", identity.namespace, maps(&identity.maps.uid), maps(&identity.maps.gid))
            }
            Err(error) => error.to_string(),
        }
    }

    fn peer(pid: i32, base: Option<u32>) -> Option<Peer> {
        let map: Vec<IdMap> =
            base.into_iter().map(|outside| IdMap { inside: 0, outside, count: 65536 }).collect();
        Some(Peer { pid, maps: IdMaps { uid: map.clone(), gid: map }, shm: "/shm".into() })
    }

    #[test]
    fn a_container_has_ids_of_its_own_unless_told_otherwise() {
        let host = HostOptions::default();
        let none = Joined::default();
        assert!(needs_range(&host, &facts()));
        assert_eq!(
            text(&identity(&host, &facts(), Some(0x8000_0000), &none)),
            "New 0:2147483648:65536 0:2147483648:65536"
        );
        for host in [
            HostOptions { user_mode: UserMode::Host, ..HostOptions::default() },
            HostOptions { privileged: true, ..HostOptions::default() },
        ] {
            assert!(!needs_range(&host, &facts()));
            assert_eq!(text(&identity(&host, &facts(), None, &none)), "Inherit  ");
        }
    }

    #[test]
    fn without_root_the_caller_is_root_inside() {
        let user = Rootless { uid: 1000, gid: 100, uids: vec![(100_000, 65_536), (7, 2)], gids: Vec::new() };
        assert_eq!(lent_for_files(&user), None, "a file has two owners");
        let facts = HostFacts { rootless: Some(user), ..facts() };
        let host = HostOptions::default();
        assert!(!needs_range(&host, &facts));
        assert_eq!(
            text(&identity(&host, &facts, None, &Joined::default())),
            "New 0:1000:1,1:100000:65536,65537:7:2 0:100:1"
        );
    }

    #[test]
    fn who_joins_a_container_lives_in_its_user_namespace() {
        let host = HostOptions::default();
        let joined =
            Joined { pid: peer(7, Some(1 << 31)), network: peer(7, Some(1 << 31)), ..Joined::default() };
        assert_eq!(
            text(&identity(&host, &facts(), Some(5 << 20), &joined)),
            "Join(\"/proc/7/ns/user\") 0:2147483648:65536 0:2147483648:65536"
        );
        let two = Joined { pid: peer(7, Some(1 << 31)), ipc: peer(8, Some(3 << 30)), ..Joined::default() };
        assert_eq!(
            text(&identity(&host, &facts(), Some(5 << 20), &two)),
            "cannot join namespaces of containers that have different user namespaces"
        );
        // A container with the host's ids owns nothing that has to be entered first.
        let plain = Joined { pid: peer(7, None), ..Joined::default() };
        assert_eq!(
            text(&identity(&host, &facts(), Some(1 << 31), &plain)),
            "New 0:2147483648:65536 0:2147483648:65536"
        );
    }
}
