//! Blocks that somebody gives up: where they go in the free queue, and what they are worth there.

use super::BlockPool;
use crate::memory::Content;
use crate::memory::extents::{Extent, covering};
use crate::memory::queue::{NIL, Run};
use crate::memory::table::{Span, Table};
use model::Price;
use std::collections::VecDeque;

impl BlockPool {
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
}
