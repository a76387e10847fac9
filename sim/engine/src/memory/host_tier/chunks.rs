//! Which blocks the host holds, in lists by recency.
//!
//! ```text
//!   LRU    front ──► recent ──► back
//!   ARC    front ──► once   ──► back     front ──► ghosts of once   ──► back
//!          front ──► again  ──► back     front ──► ghosts of again  ──► back
//! ```
//!
//! A chunk is a block that the host holds, or is about to. A ghost is the memory of one that was evicted: a content id, no bytes. A content
//! id is in one list at a time, and moves between lists at no cost.
//!
//! **Absent on purpose:** runs. vLLM keeps its order by block, and the end of a request interleaves what requests have in common.

use crate::memory::by_content::ByContent;
use model::ContentId;

/// Index of a chunk or a ghost.
pub(super) type ChunkId = u32;
const NIL: ChunkId = ChunkId::MAX;

/// A recency list. LRU has `Once` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Chunks stored and not used again.
    Once,
    /// Chunks used by a request that did not store them.
    Again,
    /// What was evicted from `Once`.
    OnceGhosts,
    /// What was evicted from `Again`.
    AgainGhosts,
}

/// What happens to the bytes of a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing: it may be loaded, or evicted.
    #[default]
    Idle,
    /// They are on their way from the GPU.
    Storing,
    /// They are being read.
    Loading,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    content: ContentId,
    list: List,
    prev: ChunkId,
    next: ChunkId,
    state: Use,
    /// Block of host memory; none for a ghost.
    place: u32,
    /// The last offer that included it.
    offer: u64,
}

#[derive(Clone, Copy, Debug)]
struct Ends {
    front: ChunkId,
    back: ChunkId,
    len: u32,
}

/// All chunks and ghosts.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    nodes: Vec<Node>,
    spare: Vec<ChunkId>,
    index: ByContent,
    lists: [Ends; 4],
}

impl Chunks {
    pub fn new() -> Self {
        let empty = Ends {
            front: NIL,
            back: NIL,
            len: 0,
        };
        Self {
            nodes: Vec::new(),
            spare: Vec::new(),
            index: ByContent::default(),
            lists: [empty; 4],
        }
    }

    /// The chunk of `content`; ghosts are none.
    pub fn chunk(&self, content: ContentId) -> Option<ChunkId> {
        let id = self.index.get(content)?;
        matches!(self.list(id), List::Once | List::Again).then_some(id)
    }

    /// The chunk or ghost of `content`.
    pub fn any(&self, content: ContentId) -> Option<ChunkId> {
        self.index.get(content)
    }

    pub fn list(&self, id: ChunkId) -> List {
        self.nodes[id as usize].list
    }

    pub fn state(&self, id: ChunkId) -> Use {
        self.nodes[id as usize].state
    }

    pub fn set_state(&mut self, id: ChunkId, state: Use) {
        self.nodes[id as usize].state = state;
    }

    /// Block of host memory.
    pub fn place(&self, id: ChunkId) -> u32 {
        self.nodes[id as usize].place
    }

    /// Offer `offer` includes this chunk: it will not be evicted for it.
    pub fn mark(&mut self, id: ChunkId, offer: u64) {
        self.nodes[id as usize].offer = offer;
    }

    /// Whether it may make room for offer `offer`.
    pub fn is_evictable(&self, id: ChunkId, offer: u64) -> bool {
        let node = &self.nodes[id as usize];
        node.state == Use::Idle && node.offer != offer
    }

    pub fn len(&self, list: List) -> u32 {
        self.lists[list as usize].len
    }

    /// Entries of `list`, least recent first.
    pub fn iter(&self, list: List) -> impl Iterator<Item = ChunkId> {
        let mut at = self.lists[list as usize].front;
        std::iter::from_fn(move || {
            let id = at;
            (id != NIL).then(|| {
                at = self.nodes[id as usize].next;
                id
            })
        })
    }

    /// A new chunk at the back of [`List::Once`], in place of its ghost if there is one.
    pub fn insert(&mut self, content: ContentId, place: u32) -> ChunkId {
        let id = match self.index.get(content) {
            Some(ghost) => {
                self.unlink(ghost);
                ghost
            }
            None => self.allot(content),
        };
        self.nodes[id as usize].place = place;
        self.nodes[id as usize].state = Use::Storing;
        self.link(id, List::Once);
        id
    }

    /// To the back of `list`.
    pub fn move_to(&mut self, id: ChunkId, list: List) {
        self.unlink(id);
        self.link(id, list);
    }

    /// Forgets a chunk or ghost.
    pub fn remove(&mut self, id: ChunkId) {
        self.unlink(id);
        self.index.remove(self.nodes[id as usize].content);
        self.spare.push(id);
    }

    /// Forgets the least recent entries of `list` beyond `most`.
    pub fn trim(&mut self, list: List, most: u32) {
        while self.len(list) > most {
            self.remove(self.lists[list as usize].front);
        }
    }

    fn allot(&mut self, content: ContentId) -> ChunkId {
        let node = Node {
            content,
            list: List::Once,
            prev: NIL,
            next: NIL,
            state: Use::Idle,
            place: 0,
            offer: 0,
        };
        let id = if let Some(id) = self.spare.pop() {
            self.nodes[id as usize] = node;
            id
        } else {
            self.nodes.push(node);
            (self.nodes.len() - 1) as ChunkId
        };
        self.index.insert(content, id);
        id
    }

    fn link(&mut self, id: ChunkId, list: List) {
        let ends = &mut self.lists[list as usize];
        let back = std::mem::replace(&mut ends.back, id);
        ends.len += 1;
        match back {
            NIL => ends.front = id,
            _ => self.nodes[back as usize].next = id,
        }
        let node = &mut self.nodes[id as usize];
        (node.list, node.prev, node.next) = (list, back, NIL);
    }

    fn unlink(&mut self, id: ChunkId) {
        let Node {
            list, prev, next, ..
        } = self.nodes[id as usize];
        let ends = &mut self.lists[list as usize];
        ends.len -= 1;
        if prev == NIL {
            ends.front = next;
        }
        if next == NIL {
            ends.back = prev;
        }
        if prev != NIL {
            self.nodes[prev as usize].next = next;
        }
        if next != NIL {
            self.nodes[next as usize].prev = prev;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::LineageId;

    fn content(index: u32) -> ContentId {
        ContentId {
            lineage: LineageId(0),
            index,
        }
    }

    fn order(chunks: &Chunks, list: List) -> Vec<u32> {
        let index = |id: ChunkId| chunks.nodes[id as usize].content.index;
        chunks.iter(list).map(index).collect()
    }

    #[test]
    fn a_content_id_is_in_one_list_at_a_time() {
        let mut chunks = Chunks::new();
        let ids: Vec<_> = (0..4).map(|i| chunks.insert(content(i), i)).collect();
        chunks.move_to(ids[1], List::Again);
        chunks.move_to(ids[3], List::OnceGhosts);
        chunks.move_to(ids[0], List::Once);
        assert_eq!(order(&chunks, List::Once), [2, 0]);
        assert_eq!(order(&chunks, List::Again), [1]);
        assert_eq!(order(&chunks, List::OnceGhosts), [3]);
        assert_eq!(
            (chunks.chunk(content(3)), chunks.any(content(3))),
            (None, Some(ids[3]))
        );
    }

    #[test]
    fn a_ghost_that_is_stored_again_is_a_chunk() {
        let mut chunks = Chunks::new();
        let id = chunks.insert(content(7), 0);
        chunks.move_to(id, List::AgainGhosts);
        assert_eq!(chunks.insert(content(7), 5), id);
        assert_eq!(
            (chunks.len(List::AgainGhosts), chunks.len(List::Once)),
            (0, 1)
        );
        assert_eq!(chunks.place(id), 5);
    }

    #[test]
    fn trimming_forgets_the_least_recent_first() {
        let mut chunks = Chunks::new();
        for i in 0..5 {
            chunks.insert(content(i), i);
        }
        chunks.trim(List::Once, 2);
        assert_eq!(order(&chunks, List::Once), [3, 4]);
        assert_eq!(chunks.any(content(0)), None);
    }
}
