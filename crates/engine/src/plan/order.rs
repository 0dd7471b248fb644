//! In which order containers that need each other are started, and stopped the other way round. Pure.

use std::collections::BTreeMap;

/// A container, and those whose namespaces it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node<K> {
    pub(crate) id: K,
    /// Those among the nodes; others are none of this module's business.
    pub(crate) after: Vec<K>,
}

/// Ranks: whoever stands in one needs nobody but those of the ranks before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ranks<K> {
    pub(crate) ranks: Vec<Vec<K>>,
    /// Those that stand in a circle, or after one.
    pub(crate) circular: Vec<K>,
}

/// Sorts `nodes` by who needs whom; within a rank they keep their order.
pub(crate) fn ranks<K: Clone + Ord>(nodes: &[Node<K>]) -> Ranks<K> {
    let mut left: Vec<&Node<K>> = nodes.iter().collect();
    let known: BTreeMap<&K, ()> = nodes.iter().map(|node| (&node.id, ())).collect();
    let mut placed: BTreeMap<&K, ()> = BTreeMap::new();
    let mut ranks = Vec::new();
    loop {
        let is_ready =
            |node: &&Node<K>| node.after.iter().all(|id| !known.contains_key(id) || placed.contains_key(id));
        let (ready, waiting): (Vec<&Node<K>>, Vec<&Node<K>>) = left.into_iter().partition(is_ready);
        left = waiting;
        if ready.is_empty() {
            break;
        }
        placed.extend(ready.iter().map(|node| (&node.id, ())));
        ranks.push(ready.into_iter().map(|node| node.id.clone()).collect());
    }
    Ranks { ranks, circular: left.into_iter().map(|node| node.id.clone()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `a<-b` is one that needs another; commas between nodes.
    fn read(text: &str) -> Vec<Node<String>> {
        let node = |text: &str| {
            let (id, after) = text.split_once("<-").unwrap_or((text, ""));
            let after = after.split('+').filter(|id| !id.is_empty()).map(str::to_owned).collect();
            Node { id: id.to_owned(), after }
        };
        text.split(',').map(node).collect()
    }

    #[test]
    fn who_needs_another_comes_later() {
        for (nodes, ranks_of_them, circular) in [
            ("a,b", "a b", ""),
            ("b<-a,a", "a|b", ""),
            ("c<-b,b<-a,a,d", "a d|b|c", ""),
            ("c<-a+b,a,b<-a", "a|b|c", ""),
            ("a<-elsewhere", "a", ""),
            ("a<-a,b", "b", "a"),
            ("a<-b,b<-a,c<-a,d", "d", "a b c"),
        ] {
            let found = ranks(&read(nodes));
            let text: Vec<String> = found.ranks.iter().map(|rank| rank.join(" ")).collect();
            assert_eq!(
                (text.join("|").as_str(), found.circular.join(" ").as_str()),
                (ranks_of_them, circular),
                "{nodes}"
            );
        }
    }

    proptest! {
        #[test]
        fn each_node_has_one_place_and_none_before_what_it_needs(
            edges in proptest::collection::vec(proptest::collection::vec(0..12usize, 0..3), 12)
        ) {
            let nodes: Vec<Node<usize>> =
                edges.into_iter().enumerate().map(|(id, after)| Node { id, after }).collect();
            let found = ranks(&nodes);
            let mut all: Vec<usize> = found.ranks.iter().flatten().chain(&found.circular).copied().collect();
            all.sort_unstable();
            prop_assert_eq!(all, (0..12).collect::<Vec<_>>());
            let rank_of = |id: usize| found.ranks.iter().position(|rank| rank.contains(&id));
            for node in &nodes {
                for &other in &node.after {
                    if let Some(own) = rank_of(node.id) {
                        prop_assert!(rank_of(other).is_some_and(|other| other < own));
                    }
                }
            }
            // What is said to be circular needs at least one that is.
            for &id in &found.circular {
                prop_assert!(nodes[id].after.iter().any(|other| found.circular.contains(other)));
            }
        }
    }
}
