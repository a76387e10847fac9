//! What the host holds: its chunks, the memory for them, and which of them go when there is none left.
//!
//! **Invariant:** chunks held + places free = capacity, after every call.

use super::arc::{Arc, Origin};
use super::chunks::{ChunkId, Chunks, List, Use};
use super::lru;
use model::{ContentId, Eviction};

/// Host memory as vLLM's offloading manager keeps it.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    chunks: Chunks,
    order: Order,
    capacity: u32,
    places: Vec<u32>,
    /// Chunks that are being stored or loaded.
    busy: u32,
    offers: u64,
    /// Chunks that the last offer includes and that could be evicted for another one.
    included: u32,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Lru,
    Arc(Arc),
}

impl Cache {
    pub fn new(eviction: Eviction, capacity: u32) -> Self {
        Self {
            chunks: Chunks::new(),
            order: match eviction {
                Eviction::Lru => Order::Lru,
                Eviction::Arc => Order::Arc(Arc::new(capacity)),
            },
            capacity,
            places: (0..capacity).rev().collect(),
            busy: 0,
            offers: 0,
            included: 0,
        }
    }

    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Chunks held, those on their way included.
    pub fn held(&self) -> u32 {
        self.capacity - self.places.len() as u32
    }

    /// Chunks that cannot be evicted.
    pub fn busy(&self) -> u32 {
        self.busy
    }

    pub fn find(&self, content: ContentId) -> Option<ChunkId> {
        self.chunks.chunk(content)
    }

    pub fn state(&self, chunk: ChunkId) -> Use {
        self.chunks.state(chunk)
    }

    pub fn place(&self, chunk: ChunkId) -> u32 {
        self.chunks.place(chunk)
    }

    pub fn set_state(&mut self, chunk: ChunkId, state: Use) {
        let before = self.chunks.state(chunk);
        self.busy -= u32::from(before != Use::Idle);
        self.busy += u32::from(state != Use::Idle);
        self.chunks.set_state(chunk, state);
    }

    /// A new offer: what it includes is not evicted for it.
    pub fn begin_offer(&mut self) -> u64 {
        self.offers += 1;
        self.included = 0;
        self.offers
    }

    /// Offer `offer` includes a block that the host holds.
    pub fn include(&mut self, chunk: ChunkId, offer: u64) {
        self.included += u32::from(self.chunks.is_evictable(chunk, offer));
        self.chunks.mark(chunk, offer);
    }

    /// Offered for the first time, and not held.
    pub fn missed(&mut self, contents: impl DoubleEndedIterator<Item = ContentId>) {
        if let Order::Arc(arc) = &mut self.order {
            arc.missed(&mut self.chunks, contents);
        }
    }

    /// Makes room for `count` new chunks of offer `offer`: all of it, or none. Returns whether there is.
    pub fn make_room(&mut self, count: u32, offer: u64) -> bool {
        let missing = count.saturating_sub(self.places.len() as u32);
        if missing == 0 {
            return true;
        }
        if missing > self.held() - self.busy - self.included {
            // Asked again at the next scheduling: not worth a look at every chunk.
            return false;
        }
        let victims = match &self.order {
            Order::Lru => lru::victims(&self.chunks, missing, offer),
            Order::Arc(arc) => arc.victims(&self.chunks, missing, offer),
        };
        let Some(victims) = victims else {
            return false;
        };
        self.places
            .extend(victims.iter().map(|&id| self.chunks.place(id)));
        match &self.order {
            Order::Lru => victims.iter().for_each(|&id| self.chunks.remove(id)),
            Order::Arc(arc) => arc.evict(&mut self.chunks, &victims),
        }
        true
    }

    /// A chunk whose store is on its way. There must be room.
    pub fn insert(&mut self, content: ContentId) -> ChunkId {
        let place = self.places.pop().expect("room was made");
        self.busy += 1;
        self.chunks.insert(content, place)
    }

    /// A request has finished; all that it has offered or loaded, in order of position.
    pub fn finished(&mut self, blocks: impl DoubleEndedIterator<Item = (ContentId, Origin)>) {
        match &self.order {
            Order::Lru => lru::finished(&mut self.chunks, blocks.map(|(content, _)| content)),
            Order::Arc(_) => Arc::finished(&mut self.chunks, blocks),
        }
    }

    /// Counts the slow way.
    ///
    /// # Errors
    /// What does not add up.
    pub fn check(&self) -> Result<(), String> {
        let held = self.chunks.len(List::Once) + self.chunks.len(List::Again);
        if held != self.held() {
            return Err(format!("{held} chunks in {} places", self.held()));
        }
        let lists = [List::Once, List::Again].map(|list| self.chunks.iter(list));
        let busy = lists
            .into_iter()
            .flatten()
            .filter(|&id| self.chunks.state(id) != Use::Idle)
            .count();
        if busy != self.busy as usize {
            return Err(format!("{busy} chunks are busy, {} are counted", self.busy));
        }
        Ok(())
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

    /// Offers `wanted`; what is not held is stored at once. Returns whether there was room.
    fn store(cache: &mut Cache, wanted: &[u32]) -> bool {
        let offer = cache.begin_offer();
        let mut news = Vec::new();
        for &index in wanted {
            match cache.find(content(index)) {
                Some(chunk) => cache.include(chunk, offer),
                None => news.push(content(index)),
            }
        }
        cache.missed(news.iter().copied());
        let room = cache.make_room(news.len() as u32, offer);
        if room {
            for content in news {
                let chunk = cache.insert(content);
                cache.set_state(chunk, Use::Idle);
            }
        }
        cache.check().expect("the accounts close");
        room
    }

    fn finished(cache: &mut Cache, blocks: &[(u32, Origin)]) {
        let blocks = blocks
            .iter()
            .map(|&(index, origin)| (content(index), origin));
        cache.finished(blocks);
    }

    fn held(cache: &Cache) -> Vec<u32> {
        (0..100)
            .filter(|&index| cache.find(content(index)).is_some())
            .collect()
    }

    fn target(cache: &Cache) -> f64 {
        match &cache.order {
            Order::Arc(arc) => arc.target(),
            Order::Lru => unreachable!("an ARC cache"),
        }
    }

    #[test]
    fn a_finish_renews_a_request_tail_first_so_that_its_head_is_evicted_last() {
        let mut cache = Cache::new(Eviction::Lru, 4);
        store(&mut cache, &[0, 1, 2]);
        store(&mut cache, &[9]);
        finished(
            &mut cache,
            &[
                (0, Origin::Stored),
                (1, Origin::Stored),
                (2, Origin::Stored),
            ],
        );
        // Least recent first: 9, then 2, 1, 0.
        store(&mut cache, &[20, 21]);
        assert_eq!(held(&cache), [0, 1, 20, 21]);
    }

    #[test]
    fn what_is_being_read_or_written_stays() {
        let mut cache = Cache::new(Eviction::Lru, 2);
        store(&mut cache, &[0, 1]);
        let chunk = cache.find(content(0)).expect("just stored");
        cache.set_state(chunk, Use::Loading);
        assert!(store(&mut cache, &[5]), "block 1 gives way");
        assert_eq!(held(&cache), [0, 5]);
    }

    #[test]
    fn an_offer_gets_all_of_its_room_or_none_and_never_evicts_itself() {
        for eviction in [Eviction::Lru, Eviction::Arc] {
            let mut cache = Cache::new(eviction, 3);
            store(&mut cache, &[0, 1, 2]);
            // 1 and 2 are part of the offer: only block 0 could go, and two are needed.
            assert!(!store(&mut cache, &[1, 2, 3, 4]), "{eviction:?}");
            assert_eq!(held(&cache), [0, 1, 2]);
            assert!(store(&mut cache, &[1, 2, 3]), "{eviction:?}");
            assert_eq!(held(&cache), [1, 2, 3]);
        }
    }

    #[test]
    fn arc_moves_its_target_towards_the_list_that_lost_what_is_asked_for() {
        let mut cache = Cache::new(Eviction::Arc, 4);
        store(&mut cache, &[0, 1, 2, 3]);
        // Another request has found 0 and 1: used again.
        finished(&mut cache, &[(0, Origin::Found), (1, Origin::Found)]);
        // Target 0: the first list (2, 3) gives way first, then the second.
        store(&mut cache, &[4, 5]);
        assert_eq!(held(&cache), [0, 1, 4, 5]);
        // Ghosts of the first list: 2, 3. Each hit adds max(1, 0/2) = 1.
        store(&mut cache, &[2]);
        assert_eq!(target(&cache).to_bits(), 1.0_f64.to_bits());
        // The first list has 2 >= 1 chunks: 4 went. Then 3 is asked for: +1, so target 2, and the first list (5, 2) gives 5.
        assert_eq!(held(&cache), [0, 1, 2, 5]);
        store(&mut cache, &[3]);
        assert_eq!(target(&cache).to_bits(), 2.0_f64.to_bits());
        assert_eq!(held(&cache), [0, 1, 2, 3]);
    }

    #[test]
    fn arc_takes_from_the_second_list_while_the_first_is_below_its_target() {
        let mut cache = Cache::new(Eviction::Arc, 4);
        store(&mut cache, &[0, 1, 2, 3]);
        store(&mut cache, &[4, 5, 6]);
        // Ghosts 0, 1, 2. Asked for again, tail first: three times + 1; the first list holds 3..6, 4 >= 3: 3, then 2 < ... once it has 3.
        finished(&mut cache, &[(5, Origin::Found), (6, Origin::Found)]);
        // First list: 3, 4; second: 6, 5 (tail first). Target 0 + 1 + 1 + 1 = 3 > 2: the second list gives 6, 5, and then the first 3.
        store(&mut cache, &[0, 1, 2]);
        assert_eq!(target(&cache).to_bits(), 3.0_f64.to_bits());
        assert_eq!(held(&cache), [0, 1, 2, 4]);
        // Ghosts: 3 of the first list; 6, 5 of the second. 5: - max(1, 1/2) = 2. 6: - 1 = 1.
        store(&mut cache, &[6, 5]);
        assert_eq!(target(&cache).to_bits(), 1.0_f64.to_bits());
    }
}
