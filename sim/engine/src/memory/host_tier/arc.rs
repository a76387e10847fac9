//! Adaptive replacement: chunks used once and chunks used again share the memory, at a moving boundary.
//!
//! `target` is the share of the memory meant for chunks used once. A block that is offered and was evicted not long ago (a ghost) moves
//! it: towards the list that it was evicted from, by at least 1, by more if the other ghosts are in the majority. Eviction takes from the
//! first list while that has `target` chunks or more, else from the second; where the one has nothing to give, from the other.
//!
//! Chunks come in at the back of the first list; those that a finished request has found there, not stored, go to the second.
//!
//! Source: vLLM 0.32.0, `ARCCachePolicy`, after Megiddo and Modha (FAST 2003). The target is a float there, and therefore here.

use super::chunks::{ChunkId, Chunks, List};
use model::ContentId;

/// How a finished request came by a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It stored it.
    Stored,
    /// It found it on the host.
    Found,
    /// Neither: the offer found no room.
    Offered,
}

/// The moving boundary.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arc {
    target: f64,
    capacity: u32,
}

impl Arc {
    pub fn new(capacity: u32) -> Self {
        Self {
            target: 0.0,
            capacity,
        }
    }

    /// Chunks of the first list beyond which that list gives way.
    #[cfg(test)]
    pub fn target(&self) -> f64 {
        self.target
    }

    /// Blocks that the host does not hold are offered for the first time by their request; `contents` in order of position.
    pub fn missed(
        &mut self,
        chunks: &mut Chunks,
        contents: impl DoubleEndedIterator<Item = ContentId>,
    ) {
        for content in contents.rev() {
            let Some(id) = chunks.any(content) else {
                continue;
            };
            let once = f64::from(chunks.len(List::OnceGhosts));
            let again = f64::from(chunks.len(List::AgainGhosts));
            let list = chunks.list(id);
            match list {
                List::OnceGhosts => {
                    let more = self.target + (again / once).max(1.0);
                    self.target = more.min(f64::from(self.capacity));
                }
                List::AgainGhosts => self.target = (self.target - (once / again).max(1.0)).max(0.0),
                List::Once | List::Again => unreachable!("a block that is held is not missed"),
            }
            chunks.move_to(id, list);
        }
    }

    /// A request has finished; blocks in order of position.
    pub fn finished(
        chunks: &mut Chunks,
        blocks: impl DoubleEndedIterator<Item = (ContentId, Origin)>,
    ) {
        for (content, origin) in blocks.rev() {
            let Some(id) = chunks.chunk(content) else {
                continue;
            };
            match origin {
                Origin::Stored => chunks.move_to(id, chunks.list(id)),
                Origin::Found => chunks.move_to(id, List::Again),
                Origin::Offered => {}
            }
        }
    }

    /// The `count` chunks to evict for offer `offer`; `None` if there are fewer.
    pub fn victims(&self, chunks: &Chunks, count: u32, offer: u64) -> Option<Vec<ChunkId>> {
        let evictable = |list| {
            chunks
                .iter(list)
                .filter(move |&id| chunks.is_evictable(id, offer))
        };
        let (mut once, mut again) = (evictable(List::Once), evictable(List::Again));
        let mut once_len = chunks.len(List::Once);
        let mut victims = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let first = if once_len >= self.target as u32 {
                once.next()
            } else {
                None
            };
            let victim = first.or_else(|| again.next()).or_else(|| once.next())?;
            once_len -= u32::from(chunks.list(victim) == List::Once);
            victims.push(victim);
        }
        Some(victims)
    }

    /// `victims` become ghosts.
    pub fn evict(&self, chunks: &mut Chunks, victims: &[ChunkId]) {
        for &id in victims {
            let ghosts = match chunks.list(id) {
                List::Once => List::OnceGhosts,
                _ => List::AgainGhosts,
            };
            chunks.move_to(id, ghosts);
        }
        for ghosts in [List::OnceGhosts, List::AgainGhosts] {
            chunks.trim(ghosts, self.capacity);
        }
    }
}
