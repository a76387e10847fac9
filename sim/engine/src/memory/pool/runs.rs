//! Runs of blocks with one reference count: split, counted, joined, taken from.

use super::BlockPool;
use crate::memory::extents::{Extent, covering, join};
use crate::memory::queue::{NIL, NodeId, Run};
use crate::memory::table::{Span, Table};
use model::LineageId;

impl BlockPool {
    /// Takes up to `wanted` blocks off the end of the extent behind `node`.
    pub(super) fn evict_from(
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

    pub(super) fn reference(&mut self, span: Span) {
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
    pub(super) fn unreference(&mut self, span: Span, mut freed: impl FnMut(&mut Self, Extent)) {
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
    pub(super) fn isolate(&mut self, span: Span) -> std::ops::Range<usize> {
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
}
