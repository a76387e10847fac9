//! One tier's blocks: reference counts by content, and the free queue of vLLM v1.
//!
//! Rules 1–6 of vLLM's block pool, run-length: blocks are freed into one queue, allocation pops its front, and only then the
//! popped block loses its content; freed blocks without content go to the front, others to the back, tail first; a hit takes a
//! block out of the queue. Costs grow with runs, not with blocks. Beyond vLLM, what is cached can have a price (`queue`).
//!
//! **Invariant:** free + held = capacity, and an extent is in the queue exactly if nobody references it.
//! **Absent on purpose:** who a block belongs to. Holders have [`Table`]s; the pool only counts.

use super::Content;
use super::extents::{Extent, Index, covering, insert_held, join};
use super::places::Places;
use super::queue::{FreeQueue, NIL, NodeId, Run};
use super::table::{Span, Table};
use model::{LineageId, Price};
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

    /// Takes up to `wanted` blocks off the end of the extent behind `node`.
    fn evict_from(
        &mut self,
        node: NodeId,
        lineage: LineageId,
        copy: u32,
        lo: u32,
        wanted: u32,
        table: &mut Table,
    ) -> u32 {
        let extents = self.index.get_mut(lineage, copy);
        let at = covering(extents, lo).expect("a queued run is indexed");
        let taken = wanted.min(extents[at].len());
        let hi = extents[at].hi;
        extents[at].hi -= taken;
        if extents[at].len() == 0 {
            extents.remove(at);
            self.queue.unlink(node);
            self.index.trim(lineage);
        }
        self.cached -= taken;
        if let Some(places) = &mut self.places {
            let of_copy = places.get_mut(lineage, copy);
            for i in (hi - taken..hi).rev() {
                table.push_place(of_copy.remove(i).expect("registered"));
            }
        }
        taken
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

    /// Drops the references of `table`, tail first. Blocks that nobody else references are free: with content at the back of
    /// the queue, without it at the front.
    pub fn release(&mut self, mut table: Table) {
        let blank = table.split_all_blank();
        for &span in table.spans().iter().rev() {
            self.unreference(span, |pool, extent| pool.enqueue_cached(span, extent));
        }
        self.free_blank(&blank);
    }

    /// Drops the references of `table`. Blocks that nobody else references lose their content and are free at the
    /// front of the queue, the tail foremost. Returns how many became free.
    pub fn discard(&mut self, mut table: Table) -> u32 {
        let blank = table.split_all_blank();
        let mut gone = Table::default();
        for &span in table.spans() {
            let mut extents = Vec::new();
            self.unreference(span, |pool, extent| {
                pool.forget(span, extent);
                extents.push(extent);
            });
            for extent in extents.iter().rev() {
                gone.add_blank(extent.len());
                if let Some(places) = &mut self.places {
                    let of_copy = places.get_mut(span.lineage, span.copy);
                    for i in extent.lo..extent.hi {
                        gone.push_place(of_copy.remove(i).expect("registered"));
                    }
                }
            }
            self.index.trim(span.lineage);
        }
        let count = gone.blank() + blank.blank();
        self.free_blank(&gone);
        self.free_blank(&blank);
        count
    }

    fn reference(&mut self, span: Span) {
        let range = self.isolate(span);
        let extents = self.index.get_mut(span.lineage, span.copy);
        for extent in &mut extents[range.clone()] {
            extent.refs += 1;
            if extent.refs == 1 {
                self.queue.unlink(extent.node);
                extent.node = NIL;
                self.free -= extent.len();
                self.cached -= extent.len();
            }
        }
        join(extents, range.start, range.end - 1);
    }

    /// Takes a reference from each block of `span`, highest first; `freed` says what becomes of those without any.
    fn unreference(&mut self, span: Span, mut freed: impl FnMut(&mut Self, Extent)) {
        let range = self.isolate(span);
        let mut touched = false;
        for at in range.clone().rev() {
            let extent = &mut self.index.get_mut(span.lineage, span.copy)[at];
            debug_assert!(extent.refs > 0, "released twice");
            extent.refs -= 1;
            if extent.refs == 0 {
                let extent = *extent;
                freed(self, extent);
            } else {
                touched = true;
            }
        }
        if touched {
            let extents = self.index.get_mut(span.lineage, span.copy);
            let last = extents.len().saturating_sub(1);
            join(extents, range.start.min(last), (range.end - 1).min(last));
        }
    }

    /// Splits extents so that `span` is a whole number of them; returns their positions.
    fn isolate(&mut self, span: Span) -> std::ops::Range<usize> {
        let first = {
            let extents = self.index.get_mut(span.lineage, span.copy);
            let at = covering(extents, span.lo).expect("a held block is indexed");
            if extents[at].lo < span.lo {
                self.split(span.lineage, span.copy, at, span.lo) + 1
            } else {
                at
            }
        };
        let last = {
            let extents = self.index.get_mut(span.lineage, span.copy);
            let mut at = first;
            while extents[at].hi < span.hi {
                at += 1;
            }
            if extents[at].hi > span.hi {
                self.split(span.lineage, span.copy, at, span.hi)
            } else {
                at
            }
        };
        first..last + 1
    }

    /// Splits the extent at position `at` before block `index`; returns the position of the lower part.
    fn split(&mut self, lineage: LineageId, copy: u32, at: usize, index: u32) -> usize {
        let extents = self.index.get_mut(lineage, copy);
        let whole = extents[at];
        let mut low = Extent { hi: index, ..whole };
        let high = Extent { lo: index, ..whole };
        if whole.node != NIL {
            // The higher part is taken first, so it keeps the place in the queue.
            *self.queue.run_mut(whole.node) = Run::Cached {
                lineage,
                copy,
                lo: index,
            };
            low.node = self.queue.insert_after(
                whole.node,
                Run::Cached {
                    lineage,
                    copy,
                    lo: whole.lo,
                },
            );
        }
        extents[at] = low;
        extents.insert(at + 1, high);
        at
    }

    /// Puts an extent that has just lost its last reference at the back of the queue.
    fn enqueue_cached(&mut self, span: Span, extent: Extent) {
        let Span { lineage, copy, .. } = span;
        self.free += extent.len();
        self.cached += extent.len();
        let extents = self.index.get_mut(lineage, copy);
        let at = covering(extents, extent.lo).expect("just found");
        self.queue_cached(span, at, Price::NORMAL);
    }

    /// Puts the extent at position `at`, which nobody references and which is not in the queue, at the back of those of its price.
    fn queue_cached(&mut self, span: Span, at: usize, price: Price) {
        let Span { lineage, copy, .. } = span;
        let tail = self.queue.tail(Some(price));
        let extents = self.index.get_mut(lineage, copy);
        let extent = extents[at];
        if tail != NIL
            && let Run::Cached {
                lineage: l,
                copy: c,
                lo,
            } = self.queue.run_mut(tail)
            && (*l, *c, *lo) == (lineage, copy, extent.hi)
        {
            // The run that was freed a moment ago continues downwards.
            *lo = extent.lo;
            extents[at + 1].lo = extent.lo;
            extents.remove(at);
            return;
        }
        let run = Run::Cached {
            lineage,
            copy,
            lo: extent.lo,
        };
        extents[at].node = self.queue.push_back(Some(price), run);
    }

    /// What is cached of positions `from..to`, up to the first block that is missing and where nobody holds it, is worth `price` from now on: the last block
    /// goes first, as if it had been released now. Returns how many blocks that are.
    pub fn price(&mut self, content: &Content, from: u32, to: u32, price: Price) -> u32 {
        let mut spans: Vec<Span> = Vec::new();
        'runs: for (lineage, first, len, _) in content.runs(from, to) {
            let mut lo = first;
            while lo < first + len {
                let Some((copy, extent, end)) = self.index.find(lineage, lo) else {
                    break 'runs;
                };
                let hi = end.min(first + len);
                if extent.refs == 0 {
                    spans.push(Span {
                        lineage,
                        copy,
                        lo,
                        hi,
                    });
                }
                lo = hi;
            }
        }
        for &span in spans.iter().rev() {
            for at in self.isolate(span).rev() {
                let extent = &mut self.index.get_mut(span.lineage, span.copy)[at];
                self.queue.unlink(extent.node);
                extent.node = NIL;
                self.queue_cached(span, at, price);
            }
        }
        spans.iter().map(Span::blocks).sum()
    }

    /// Removes an extent that has just lost its last reference from the index.
    fn forget(&mut self, span: Span, extent: Extent) {
        let extents = self.index.get_mut(span.lineage, span.copy);
        let at = covering(extents, extent.lo).expect("just found");
        extents.remove(at);
    }

    /// Puts the blank blocks of `table` at the front of the queue, the last one foremost.
    fn free_blank(&mut self, table: &Table) {
        if table.blank() == 0 {
            return;
        }
        self.free += table.blank();
        let head = self.queue.head();
        if head == NIL || !matches!(self.queue.run(head), Run::Blank { .. }) {
            self.queue.push_front(
                None,
                Run::Blank {
                    count: 0,
                    places: VecDeque::new(),
                },
            );
        }
        let Run::Blank { count, places } = self.queue.run_mut(self.queue.head()) else {
            unreachable!("a blank run was put there");
        };
        *count += table.blank();
        for &place in table.places() {
            places.push_front(place);
        }
    }

    /// Physical blocks in the queue, in the order in which they will be taken.
    ///
    /// # Panics
    /// If the pool does not assign physical blocks.
    pub fn queue_places(&self) -> Vec<u32> {
        let by_content = self.places.as_ref().expect("a pool with physical blocks");
        let mut order = Vec::with_capacity(self.free as usize);
        let mut node = self.queue.head();
        while node != NIL {
            match self.queue.run(node) {
                Run::Blank { places, .. } => order.extend(places),
                &Run::Cached { lineage, copy, lo } => {
                    let extents = self.index.get(lineage, copy);
                    let extent = extents[covering(extents, lo).expect("indexed")];
                    let places = by_content.get(lineage, copy);
                    order.extend(places.slice(extent.lo, extent.hi).iter().rev());
                }
            }
            node = self.queue.next(node);
        }
        order
    }

    /// Counts the queue the slow way.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check(&self) -> Result<(), String> {
        let (mut free, mut cached) = (0, 0);
        let mut node = self.queue.head();
        while node != NIL {
            match self.queue.run(node) {
                Run::Blank { count, .. } => free += count,
                &Run::Cached { lineage, copy, lo } => {
                    let extents = self.index.get(lineage, copy);
                    let at = covering(extents, lo)
                        .ok_or_else(|| format!("queued run {lineage}:{lo} is not indexed"))?;
                    let extent = extents[at];
                    if extent.node != node || extent.refs != 0 || extent.lo != lo {
                        return Err(format!("extent {extent:?} of {lineage} is queued as {lo}"));
                    }
                    free += extent.len();
                    cached += extent.len();
                }
            }
            node = self.queue.next(node);
        }
        if (free, cached) != (self.free, self.cached) {
            return Err(format!(
                "queue holds {free} blocks ({cached} cached), counters say {} ({})",
                self.free, self.cached
            ));
        }
        Ok(())
    }
}
