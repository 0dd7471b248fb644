//! What the targets need of a graph, and what is known of it before anything is done.

use dockerfile::lower::{Graph, Node, Op};

/// A node that takes another's tree.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) node: usize,
    /// Whether it stands upon that tree, which is its first input then.
    pub(crate) stands_on: bool,
}

/// The part of a graph that targets need. An edge is there as often as the user names the input.
pub(crate) struct Reach {
    /// Whether a target may need it.
    pub(crate) needed: Vec<bool>,
    /// Whether it is to be done anew.
    pub(crate) anew: Vec<bool>,
    /// Whether it, or one of those before it, is to be done anew: what is known of its definition may be of something else.
    pub(crate) tainted: Vec<bool>,
    /// The most programs on a way from it to a target, its own counted: who has most before him goes first.
    pub(crate) rank: Vec<u32>,
    users: Vec<User>,
    /// Where each node's users begin, and where the last one's end.
    first: Vec<usize>,
}

impl Reach {
    pub(crate) fn new(graph: &Graph, targets: &[usize], anew: &dyn Fn(&Node) -> bool) -> Self {
        let nodes = graph.nodes();
        let mut reach = Self {
            needed: vec![false; nodes.len()],
            anew: vec![false; nodes.len()],
            tainted: vec![false; nodes.len()],
            rank: vec![0; nodes.len()],
            users: Vec::new(),
            first: vec![0; nodes.len() + 1],
        };
        targets.iter().for_each(|target| reach.needed[*target] = true);
        // Inputs have lower numbers than their users: one way down, one way up.
        for (number, node) in nodes.iter().enumerate().rev().filter(|(_, node)| !node.inputs.is_empty()) {
            if reach.needed[number] {
                reach.rank[number] += u32::from(matches!(node.op, Op::Run(_)));
                for input in &node.inputs {
                    reach.needed[*input] = true;
                    reach.rank[*input] = reach.rank[*input].max(reach.rank[number]);
                    reach.first[input + 1] += 1;
                }
            }
        }
        for number in 0..nodes.len() {
            reach.first[number + 1] += reach.first[number];
        }
        reach.look_up(nodes, anew);
        reach
    }

    /// Fills in what depends on the nodes before.
    fn look_up(&mut self, nodes: &[Node], anew: &dyn Fn(&Node) -> bool) {
        let mut next = self.first.clone();
        self.users = vec![User { node: 0, stands_on: false }; self.first[nodes.len()]];
        for (number, node) in nodes.iter().enumerate() {
            if !self.needed[number] {
                continue;
            }
            self.anew[number] = anew(node);
            self.tainted[number] = self.anew[number] || node.inputs.iter().any(|input| self.tainted[*input]);
            for (position, input) in node.inputs.iter().enumerate() {
                self.users[next[*input]] = User { node: number, stands_on: position == 0 };
                next[*input] += 1;
            }
        }
    }

    /// Where the edges to a node's users are.
    pub(crate) fn users(&self, node: usize) -> std::ops::Range<usize> {
        self.first[node]..self.first[node + 1]
    }

    /// The user at the end of an edge.
    pub(crate) fn user(&self, edge: usize) -> User {
        self.users[edge]
    }
}
