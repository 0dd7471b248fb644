//! Lists of CPUs and memory nodes: `process.execCPUAffinity`, `linux.memoryPolicy`.

use oci::runtime as spec;

use super::error::{Result, invalid, missing};
use crate::plan::{CpuAffinity, MemoryPolicy};

/// The kernel's own limits: `CPU_SETSIZE` of the C libraries, and `MAX_NUMNODES` of the largest configuration.
const CPUS: u32 = 1024;
const NODES: u32 = 1024;

/// Modes of `linux.memoryPolicy` by number (set_mempolicy(2)).
pub const MEMORY_MODES: [&str; 7] = [
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

/// Flags of `linux.memoryPolicy`, with the kernel's bits.
pub const MEMORY_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

pub(super) fn cpu_affinity(document: Option<&spec::CpuAffinity>) -> Result<CpuAffinity> {
    let Some(document) = document else { return Ok(CpuAffinity::default()) };
    let checked = |name: &str, list: Option<&String>| {
        // Empty is the same as left out (config.md, "Linux Process").
        let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
        match parse(list, CPUS) {
            Some(_) => Ok(Some(list.clone())),
            None => invalid(format!("process.execCPUAffinity.{name}"), list, "is no list of CPUs like 0-3,7"),
        }
    };
    Ok(CpuAffinity {
        initial: checked("initial", document.initial.as_ref())?,
        r#final: checked("final", document.r#final.as_ref())?,
    })
}

pub(super) fn memory_policy(document: Option<&spec::MemoryPolicy>) -> Result<Option<MemoryPolicy>> {
    let Some(document) = document else { return Ok(None) };
    if document.mode.is_empty() {
        return missing("linux.memoryPolicy.mode");
    }
    let Some((mut mode, _)) = (0u32..).zip(MEMORY_MODES).find(|(_, name)| *name == document.mode) else {
        return invalid("linux.memoryPolicy.mode", &document.mode, "is no memory policy");
    };
    for flag in &document.flags {
        let Some((_, bit)) = MEMORY_FLAGS.iter().find(|(name, _)| name == flag) else {
            return invalid("linux.memoryPolicy.flags", flag, "is no flag of a memory policy");
        };
        mode |= bit;
    }
    if document.nodes.is_empty() {
        return Ok(Some(MemoryPolicy { mode, nodes: Vec::new() }));
    }
    let Some(ranges) = parse(&document.nodes, NODES) else {
        return invalid("linux.memoryPolicy.nodes", &document.nodes, "is no list of memory nodes like 0-3,7");
    };
    let mut nodes = Vec::new();
    for node in ranges.into_iter().flatten() {
        let (word, bit) = (usize::try_from(node / 64).unwrap_or(0), node % 64);
        nodes.resize(nodes.len().max(word + 1), 0u64);
        nodes[word] |= 1 << bit;
    }
    Ok(Some(MemoryPolicy { mode, nodes }))
}

/// A list like `0-3,7` of numbers below `limit`.
fn parse(list: &str, limit: u32) -> Option<Vec<std::ops::RangeInclusive<u32>>> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last && last < limit).then_some(first..=last)
    };
    list.split(',').map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: &str, nodes: &str, flags: &[&str]) -> std::result::Result<Option<MemoryPolicy>, String> {
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let document = spec::MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags };
        memory_policy(Some(&document)).map_err(|error| error.to_string())
    }

    #[test]
    fn memory_policies_become_what_the_kernel_takes() {
        let made = |mode, nodes: &[u64]| Ok(Some(MemoryPolicy { mode, nodes: nodes.to_vec() }));
        assert_eq!(policy("MPOL_LOCAL", "", &[]), made(4, &[]));
        assert_eq!(policy("MPOL_BIND", "0-2,5", &["MPOL_F_STATIC_NODES"]), made(2 | 1 << 15, &[0b10_0111]));
        assert_eq!(policy("MPOL_INTERLEAVE", "63, 64,130", &[]), made(3, &[1 << 63, 1, 1 << 2]));
        for (mode, nodes, flags, expected) in [
            ("", "", &[][..], "no linux.memoryPolicy.mode"),
            ("MPOL_NEAR", "", &[], "linux.memoryPolicy.mode is \"MPOL_NEAR\""),
            ("MPOL_BIND", "0,", &[], "linux.memoryPolicy.nodes is \"0,\""),
            ("MPOL_BIND", "3-1", &[], "linux.memoryPolicy.nodes"),
            ("MPOL_BIND", "1024", &[], "linux.memoryPolicy.nodes"),
            ("MPOL_BIND", "0", &["MPOL_F_BEST"], "linux.memoryPolicy.flags is \"MPOL_F_BEST\""),
        ] {
            let error = policy(mode, nodes, flags).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn lists_of_cpus_are_checked_before_anything_starts() {
        let affinity = |initial: &str, r#final: &str| {
            let document = spec::CpuAffinity { initial: Some(initial.into()), r#final: Some(r#final.into()) };
            cpu_affinity(Some(&document)).map_err(|error| error.to_string())
        };
        let expected = CpuAffinity { initial: None, r#final: Some("0-3,7".into()) };
        assert_eq!(affinity("", "0-3,7"), Ok(expected));
        for list in ["0-", "a", "7-3", "0,,1", "1024", "-1"] {
            let error = affinity(list, "").unwrap_err();
            assert!(error.contains("process.execCPUAffinity.initial"), "{error}");
        }
    }
}
