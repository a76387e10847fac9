//! The free queue: blocks that may be taken, in the order in which they will be.
//!
//! ```text
//!   front ──► [ blank × 40 ] [ lineage 3: 9,8,7 ] [ lineage 5: 12,…,0 ] ──► back
//! ```
//!
//! A node is a run of blocks. Within a run of cached blocks the highest index comes first, because vLLM frees a
//! request's blocks tail first. Nodes are found from their extents, so a hit takes a run out of the middle at no cost.

use model::LineageId;
use std::collections::VecDeque;

/// Index of a node; [`NIL`] is none.
pub(super) type NodeId = u32;
/// No node.
pub(super) const NIL: NodeId = u32::MAX;

#[derive(Clone, Debug)]
pub(super) enum Run {
    /// Blocks that hold nothing that could be hit.
    Blank { count: u32, places: VecDeque<u32> },
    /// The extent of `lineage`, `copy` that begins at `lo`.
    Cached {
        lineage: LineageId,
        copy: u32,
        lo: u32,
    },
}

#[derive(Clone, Debug)]
struct Node {
    prev: NodeId,
    next: NodeId,
    run: Run,
}

#[derive(Clone, Debug)]
pub(super) struct FreeQueue {
    nodes: Vec<Node>,
    spare: Vec<NodeId>,
    head: NodeId,
    tail: NodeId,
}

impl FreeQueue {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            spare: Vec::new(),
            head: NIL,
            tail: NIL,
        }
    }

    pub(super) fn head(&self) -> NodeId {
        self.head
    }

    pub(super) fn tail(&self) -> NodeId {
        self.tail
    }

    pub(super) fn next(&self, node: NodeId) -> NodeId {
        self.nodes[node as usize].next
    }

    pub(super) fn run(&self, node: NodeId) -> &Run {
        &self.nodes[node as usize].run
    }

    pub(super) fn run_mut(&mut self, node: NodeId) -> &mut Run {
        &mut self.nodes[node as usize].run
    }

    pub(super) fn push_back(&mut self, run: Run) -> NodeId {
        self.insert_after(self.tail, run)
    }

    pub(super) fn push_front(&mut self, run: Run) -> NodeId {
        self.insert_after(NIL, run)
    }

    /// Behind `before`; at the front if that is [`NIL`].
    pub(super) fn insert_after(&mut self, before: NodeId, run: Run) -> NodeId {
        let next = if before == NIL {
            self.head
        } else {
            self.nodes[before as usize].next
        };
        let node = Node {
            prev: before,
            next,
            run,
        };
        let id = if let Some(id) = self.spare.pop() {
            self.nodes[id as usize] = node;
            id
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as NodeId
        };
        match before {
            NIL => self.head = id,
            _ => self.nodes[before as usize].next = id,
        }
        match next {
            NIL => self.tail = id,
            _ => self.nodes[next as usize].prev = id,
        }
        id
    }

    pub(super) fn unlink(&mut self, node: NodeId) {
        let Node { prev, next, .. } = self.nodes[node as usize];
        match prev {
            NIL => self.head = next,
            _ => self.nodes[prev as usize].next = next,
        }
        match next {
            NIL => self.tail = prev,
            _ => self.nodes[next as usize].prev = prev,
        }
        self.spare.push(node);
    }
}
