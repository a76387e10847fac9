//! One tier's blocks: reference counts by content, and the free queue of vLLM v1.
//!
//! Rules 1–6 of vLLM's block pool, run-length: blocks are freed into one queue, allocation pops its front, and only then the
//! popped block loses its content; freed blocks without content go to the front, others to the back, tail first; a hit takes a
//! block out of the queue. Costs grow with runs, not with blocks. Beyond vLLM, what is cached can have a price (`queue`).
//!
//! | file | what |
//! |---|---|
//! | `release` | blocks that are given up: places in the queue, prices |
//! | `runs` | runs of blocks with one reference count |
//! | `check` | the slow way |
//!
//! **Invariant:** free + held = capacity, and an extent is in the queue exactly if nobody references it.
//! **Absent on purpose:** who a block belongs to. Holders have [`Table`]s; the pool only counts.

mod check;
mod release;
mod runs;

use super::Content;
use super::extents::{Index, insert_held};
use super::places::Places;
use super::queue::{FreeQueue, Run};
use super::table::{Span, Table};
use std::collections::VecDeque;

/// A pool of equal blocks.
#[derive(Clone, Debug)]
pub struct BlockPool {
    capacity: u32,
    free: u32,
    cached: u32,
    index: Index,
    queue: FreeQueue,
    /// Physical block of each registered content, if the pool assigns them.
    places: Option<Places>,
}

/// The longest prefix of a context that a pool holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hits {
    /// The blocks, run-length, in order of position.
    pub spans: Vec<Span>,
    /// How many.
    pub blocks: u32,
    /// Of these: how many nobody holds, so that they count as free.
    pub unheld: u32,
    /// Some of those will be taken before others that follow them, which will then be hits no more.
    pub uneven: bool,
}

impl BlockPool {
    /// `capacity` empty blocks. With `placed`, physical blocks are numbered from `first_place`.
    pub fn new(capacity: u32, placed: bool, first_place: u32) -> Self {
        let mut queue = FreeQueue::new();
        if capacity > 0 {
            let places = if placed {
                (first_place..first_place + capacity).collect()
            } else {
                VecDeque::new()
            };
            queue.push_back(
                None,
                Run::Blank {
                    count: capacity,
                    places,
                },
            );
        }
        Self {
            capacity,
            free: capacity,
            cached: 0,
            index: Index::default(),
            queue,
            places: placed.then(Places::default),
        }
    }

    /// Blocks in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Blocks that can be taken, cached ones included.
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Free blocks that hold content.
    pub fn cached(&self) -> u32 {
        self.cached
    }

    /// Finds how many blocks of positions `from..to` are held in sequence, into `hits`.
    pub fn lookup(&self, content: &Content, from: u32, to: u32, hits: &mut Hits) {
        hits.spans.clear();
        (hits.blocks, hits.unheld, hits.uneven) = (0, 0, false);
        let mut before = None;
        for (lineage, first, len, _) in content.runs(from, to) {
            let mut at = first;
            while at < first + len {
                let Some((copy, extent, end)) = self.index.find(lineage, at) else {
                    return;
                };
                let end = end.min(first + len);
                hits.blocks += end - at;
                if extent.refs == 0 {
                    hits.unheld += end - at;
                    let turn = self.queue.turn(extent.node);
                    hits.uneven |= before.replace(turn).is_some_and(|before| before < turn);
                }
                match hits.spans.last_mut() {
                    Some(last) if last.lineage == lineage && last.copy == copy && last.hi == at => {
                        last.hi = end;
                    }
                    _ => hits.spans.push(Span {
                        lineage,
                        copy,
                        lo: at,
                        hi: end,
                    }),
                }
                at = end;
            }
        }
    }

    /// Adds a reference to each block of `hits`, and the blocks to `table`.
    pub fn touch(&mut self, hits: &Hits, table: &mut Table) {
        for &span in &hits.spans {
            self.reference(span);
            table.push_span(span);
            if let Some(places) = &self.places {
                let of_copy = places.get(span.lineage, span.copy);
                table.push_places(of_copy.slice(span.lo, span.hi));
            }
        }
    }

    /// Adds a reference to each registered block of `table`.
    pub fn hold(&mut self, table: &Table) {
        for &span in table.spans() {
            self.reference(span);
        }
    }

    /// Moves `count` blocks from the front of the queue to the end of `table`, blank.
    ///
    /// # Panics
    /// If fewer are free.
    pub fn take(&mut self, count: u32, table: &mut Table) {
        assert!(
            count <= self.free,
            "{count} blocks asked for, {} free",
            self.free
        );
        let mut wanted = count;
        while wanted > 0 {
            let head = self.queue.head();
            match self.queue.run_mut(head) {
                Run::Blank { count, places } => {
                    let taken = wanted.min(*count);
                    *count -= taken;
                    wanted -= taken;
                    for place in places.drain(..places.len().min(taken as usize)) {
                        table.push_place(place);
                    }
                    if *count == 0 {
                        self.queue.unlink(head);
                    }
                }
                &mut Run::Cached { lineage, copy, lo } => {
                    wanted -= self.evict_from(head, lineage, copy, lo, wanted, table);
                }
            }
        }
        self.free -= count;
        table.add_blank(count);
    }

    /// Gives the first `count` blank blocks of `table` the content of the positions that follow its registered ones, offset
    /// by `base` (the position of the table's first block).
    pub fn register(&mut self, table: &mut Table, content: &Content, base: u32, count: u32) {
        debug_assert!(count <= table.blank(), "only blank blocks are registered");
        let from = base + table.registered();
        for (lineage, first, len, _) in content.runs(from, from + count) {
            let mut at = first;
            while at < first + len {
                let (copy, end) = self.index.next_copy(lineage, at);
                let end = end.min(first + len);
                insert_held(self.index.get_mut(lineage, copy), at, end);
                if let Some(places) = &mut self.places {
                    let of_copy = places.get_mut(lineage, copy);
                    let from = table.registered() as usize;
                    for (i, &place) in (at..end).zip(&table.places()[from..]) {
                        of_copy.insert(i, place);
                    }
                }
                table.push_span(Span {
                    lineage,
                    copy,
                    lo: at,
                    hi: end,
                });
                at = end;
            }
        }
        table.sub_blank(count);
    }
}
