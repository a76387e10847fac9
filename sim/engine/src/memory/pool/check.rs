//! The queue block by block, and the accounts the slow way.

use super::BlockPool;
use crate::memory::extents::covering;
use crate::memory::queue::{NIL, Run};

impl BlockPool {
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
