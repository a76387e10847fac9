//! Eviction from the front of one list.
//!
//! Recency is the order of insertion; when a request finishes, all that it has offered or loaded is renewed, tail first, so that the head of
//! its context ends up most recent. Look-ups and loads renew nothing.
//!
//! Source: vLLM 0.32.0, `LRUCachePolicy`.

use super::chunks::{ChunkId, Chunks, List};
use model::ContentId;

/// The `count` least recent chunks that may be evicted for offer `offer`; `None` if there are fewer.
pub(super) fn victims(chunks: &Chunks, count: u32, offer: u64) -> Option<Vec<ChunkId>> {
    let evictable = chunks
        .iter(List::Once)
        .filter(|&id| chunks.is_evictable(id, offer));
    let victims: Vec<_> = evictable.take(count as usize).collect();
    (victims.len() == count as usize).then_some(victims)
}

/// A request has finished; `contents` in order of position.
pub(super) fn finished(chunks: &mut Chunks, contents: impl DoubleEndedIterator<Item = ContentId>) {
    for content in contents.rev() {
        if let Some(id) = chunks.chunk(content) {
            chunks.move_to(id, List::Once);
        }
    }
}
