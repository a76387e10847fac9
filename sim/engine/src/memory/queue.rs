//! The free queue: blocks that may be taken, in the order in which they will be.
//!
//! ```text
//!   blank      front ──► [ blank × 40 ] ──► back
//!   price -1   front ──► [ lineage 7: 4,3 ] ──► back
//!   price  0   front ──► [ lineage 3: 9,8,7 ] [ lineage 5: 12,…,0 ] ──► back
//! ```
//!
//! Blank blocks are taken first, then cached ones by price, the lowest first, and of equal price those that came first. vLLM prices
//! nothing: one list. Lists are few, and found by bisection.
//!
//! A node is a run of blocks. Within a run of cached blocks the highest index comes first, because vLLM frees a
//! request's blocks tail first. Nodes are found from their extents, so a hit takes a run out of the middle at no cost.

use model::{LineageId, Price};
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

/// Which list a run is in; `None` is that of blank blocks, which comes first.
pub(super) type Class = Option<Price>;

#[derive(Clone, Debug)]
struct Node {
    prev: NodeId,
    next: NodeId,
    class: Class,
    /// Counts insertions; a run that is split keeps its own.
    stamp: u64,
    run: Run,
}

/// The runs of one class; there is at least one.
#[derive(Clone, Debug)]
struct List {
    class: Class,
    head: NodeId,
    tail: NodeId,
}

#[derive(Clone, Debug)]
pub(super) struct FreeQueue {
    nodes: Vec<Node>,
    spare: Vec<NodeId>,
    /// By class.
    lists: Vec<List>,
    stamp: u64,
}

impl FreeQueue {
    pub(super) fn new() -> Self {
        Self {
            nodes: Vec::new(),
            spare: Vec::new(),
            lists: Vec::new(),
            stamp: 0,
        }
    }

    /// What is taken next.
    pub(super) fn head(&self) -> NodeId {
        self.lists.first().map_or(NIL, |list| list.head)
    }

    /// The last run of a class.
    pub(super) fn tail(&self, class: Class) -> NodeId {
        self.place(class).map_or(NIL, |at| self.lists[at].tail)
    }

    pub(super) fn next(&self, node: NodeId) -> NodeId {
        let Node { next, class, .. } = self.nodes[node as usize];
        if next != NIL {
            return next;
        }
        let at = self.place(class).expect("a queued run is in a list");
        self.lists.get(at + 1).map_or(NIL, |list| list.head)
    }

    pub(super) fn run(&self, node: NodeId) -> &Run {
        &self.nodes[node as usize].run
    }

    pub(super) fn run_mut(&mut self, node: NodeId) -> &mut Run {
        &mut self.nodes[node as usize].run
    }

    /// Of two runs of cached blocks, the one with the smaller turn is taken first.
    pub(super) fn turn(&self, node: NodeId) -> (Class, u64) {
        let Node { class, stamp, .. } = self.nodes[node as usize];
        (class, stamp)
    }

    pub(super) fn push_back(&mut self, class: Class, run: Run) -> NodeId {
        self.stamp += 1;
        self.insert(class, self.tail(class), self.stamp, run)
    }

    pub(super) fn push_front(&mut self, class: Class, run: Run) -> NodeId {
        self.insert(class, NIL, 0, run)
    }

    /// Behind `before`, in its list.
    pub(super) fn insert_after(&mut self, before: NodeId, run: Run) -> NodeId {
        let Node { class, stamp, .. } = self.nodes[before as usize];
        self.insert(class, before, stamp, run)
    }

    /// Behind `before`; at the front of the list if that is [`NIL`].
    fn insert(&mut self, class: Class, before: NodeId, stamp: u64, run: Run) -> NodeId {
        let at = self.place(class).unwrap_or_else(|at| {
            let (head, tail) = (NIL, NIL);
            self.lists.insert(at, List { class, head, tail });
            at
        });
        let next = if before == NIL {
            self.lists[at].head
        } else {
            self.nodes[before as usize].next
        };
        let node = Node {
            prev: before,
            next,
            class,
            stamp,
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
            NIL => self.lists[at].head = id,
            _ => self.nodes[before as usize].next = id,
        }
        match next {
            NIL => self.lists[at].tail = id,
            _ => self.nodes[next as usize].prev = id,
        }
        id
    }

    pub(super) fn unlink(&mut self, node: NodeId) {
        let Node {
            prev, next, class, ..
        } = self.nodes[node as usize];
        self.spare.push(node);
        if prev != NIL && next != NIL {
            self.nodes[prev as usize].next = next;
            self.nodes[next as usize].prev = prev;
            return;
        }
        let at = self.place(class).expect("a queued run is in a list");
        match prev {
            NIL => self.lists[at].head = next,
            _ => self.nodes[prev as usize].next = next,
        }
        match next {
            NIL => self.lists[at].tail = prev,
            _ => self.nodes[next as usize].prev = prev,
        }
        if self.lists[at].head == NIL {
            self.lists.remove(at);
        }
    }

    /// Where the list of `class` is, or would be.
    fn place(&self, class: Class) -> Result<usize, usize> {
        self.lists.binary_search_by_key(&class, |list| list.class)
    }
}
