//! The pool block by block, as vLLM writes it down, and random histories that compare the two.

use super::{BlockPool, Content, Hits, Lineages, Table};
use model::{ContentId, Price, SharedPrefix, Tokens};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// One entry per block; the queue is a deque of block numbers per price, blank blocks first.
struct Naive {
    queues: BTreeMap<Option<Price>, VecDeque<u32>>,
    refs: Vec<u32>,
    holds: Vec<Option<ContentId>>,
    index: HashMap<ContentId, Vec<u32>>,
}

impl Naive {
    fn new(capacity: u32) -> Self {
        Self {
            queues: BTreeMap::from([(None, (0..capacity).collect())]),
            refs: vec![0; capacity as usize],
            holds: vec![None; capacity as usize],
            index: HashMap::new(),
        }
    }

    fn forget(&mut self, block: u32) {
        if let Some(content) = self.holds[block as usize].take() {
            let blocks = self.index.get_mut(&content).expect("indexed");
            blocks.retain(|&b| b != block);
            if blocks.is_empty() {
                self.index.remove(&content);
            }
        }
    }

    fn take(&mut self) -> u32 {
        let mut queues = self.queues.values_mut();
        let queue = queues
            .find(|queue| !queue.is_empty())
            .expect("a free block");
        let block = queue.pop_front().expect("just seen");
        self.forget(block);
        self.refs[block as usize] = 1;
        block
    }

    fn touch(&mut self, block: u32) {
        if self.refs[block as usize] == 0 {
            self.leave_queue(block);
        }
        self.refs[block as usize] += 1;
    }

    fn leave_queue(&mut self, block: u32) {
        for queue in self.queues.values_mut() {
            queue.retain(|&b| b != block);
        }
    }

    /// Blocks of `contents`, up to the first that is missing, are worth `price`, as far as they are in the queue.
    fn price(&mut self, contents: impl Iterator<Item = ContentId>, price: Price) {
        let found: Vec<u32> = contents.map_while(|content| self.lookup(content)).collect();
        for &block in found.iter().rev() {
            if self.refs[block as usize] == 0 {
                self.leave_queue(block);
                self.queues.entry(Some(price)).or_default().push_back(block);
            }
        }
    }

    fn queue(&self) -> Vec<u32> {
        self.queues.values().flatten().copied().collect()
    }

    fn register(&mut self, block: u32, content: ContentId) {
        self.holds[block as usize] = Some(content);
        self.index.entry(content).or_default().push(block);
    }

    fn lookup(&self, content: ContentId) -> Option<u32> {
        self.index.get(&content).map(|blocks| blocks[0])
    }

    fn release(&mut self, blocks: &[u32], discard: bool) {
        let (mut front, mut back) = (Vec::new(), Vec::new());
        for &block in blocks.iter().rev() {
            self.refs[block as usize] -= 1;
            if self.refs[block as usize] == 0 {
                if discard {
                    self.forget(block);
                }
                let cached = self.holds[block as usize].is_some();
                if cached { &mut back } else { &mut front }.push(block);
            }
        }
        let blank = self.queues.entry(None).or_default();
        for &block in front.iter().rev() {
            blank.push_front(block);
        }
        self.queues
            .entry(Some(Price::NORMAL))
            .or_default()
            .extend(back);
    }
}

/// A context that holds blocks in both pools.
struct Holder {
    content: Content,
    table: Table,
    blocks: Vec<u32>,
}

#[derive(Clone, Debug)]
enum Step {
    /// Look the context up to so many blocks, hold what is found, and take the rest.
    Enter {
        holder: usize,
        blocks: u32,
    },
    Grow {
        holder: usize,
        blocks: u32,
    },
    Register {
        holder: usize,
        blocks: u32,
    },
    Leave {
        holder: usize,
        discard: bool,
    },
    Rewrite {
        holder: usize,
        position: u32,
    },
    /// What is cached of these blocks has this price.
    Price {
        holder: usize,
        from: u32,
        blocks: u32,
        price: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let holder = 0..6usize;
    let step = prop_oneof![
        4 => (holder.clone(), 1..14u32).prop_map(|(holder, blocks)| Step::Enter { holder, blocks }),
        3 => (holder.clone(), 1..4u32).prop_map(|(holder, blocks)| Step::Grow { holder, blocks }),
        4 => (holder.clone(), 1..14u32).prop_map(|(holder, blocks)| Step::Register { holder, blocks }),
        4 => (holder.clone(), any::<bool>()).prop_map(|(holder, discard)| Step::Leave { holder, discard }),
        1 => (holder.clone(), 0..8u32).prop_map(|(holder, position)| Step::Rewrite { holder, position }),
        3 => (holder, 0..10u32, 1..9u32, -1..3i64)
            .prop_map(|(holder, from, blocks, price)| Step::Price { holder, from, blocks, price }),
    ];
    prop::collection::vec(step, 1..120)
}

fn run(history: &[Step]) {
    const CAPACITY: u32 = 30;
    let mut lineages = Lineages::default();
    let mut pool = BlockPool::new(CAPACITY, true, 0);
    let mut naive = Naive::new(CAPACITY);
    let mut holders: Vec<Holder> = (0..6u64)
        .map(|i| Holder {
            // All sessions share 2 blocks, and two groups of three share 5, so contents overlap and duplicates arise.
            content: Content::new(
                &mut lineages,
                &[(9, 2), (i % 2, 5)].map(|(id, blocks)| SharedPrefix {
                    id,
                    tokens: Tokens(blocks * 16),
                }),
                16,
            ),
            table: Table::default(),
            blocks: Vec::new(),
        })
        .collect();
    let mut hits = Hits::default();
    for step in history {
        match *step {
            Step::Enter { holder, blocks } => {
                let h = &mut holders[holder];
                if !h.blocks.is_empty() {
                    continue;
                }
                pool.lookup(&h.content, 0, blocks, &mut hits);
                let found: Vec<u32> = (0..blocks)
                    .map_while(|i| naive.lookup(h.content.at(i)))
                    .collect();
                assert_eq!(hits.blocks as usize, found.len());
                let unheld = found
                    .iter()
                    .filter(|&&b| naive.refs[b as usize] == 0)
                    .count();
                assert_eq!(hits.unheld as usize, unheld);
                if blocks - hits.blocks + hits.unheld > pool.free() {
                    continue;
                }
                pool.touch(&hits, &mut h.table);
                pool.take(blocks - hits.blocks, &mut h.table);
                for &block in &found {
                    naive.touch(block);
                }
                h.blocks = found;
                for _ in 0..blocks - hits.blocks {
                    h.blocks.push(naive.take());
                }
            }
            Step::Grow { holder, blocks } => {
                let h = &mut holders[holder];
                if h.blocks.is_empty() || blocks > pool.free() {
                    continue;
                }
                pool.take(blocks, &mut h.table);
                h.blocks.extend((0..blocks).map(|_| naive.take()));
            }
            Step::Register { holder, blocks } => {
                let h = &mut holders[holder];
                let count = blocks.min(h.table.blank());
                for i in 0..count {
                    let position = h.table.registered() + i;
                    naive.register(h.blocks[position as usize], h.content.at(position));
                }
                pool.register(&mut h.table, &h.content, 0, count);
            }
            Step::Leave { holder, discard } => {
                let h = &mut holders[holder];
                naive.release(&h.blocks, discard);
                h.blocks.clear();
                let table = std::mem::take(&mut h.table);
                if discard {
                    pool.discard(table);
                } else {
                    pool.release(table);
                }
            }
            Step::Rewrite { holder, position } => {
                let h = &mut holders[holder];
                if h.blocks.is_empty() {
                    h.content.rewrite_from(&mut lineages, position);
                }
            }
            Step::Price {
                holder,
                from,
                blocks,
                price,
            } => {
                let content = &holders[holder].content;
                pool.price(content, from, from + blocks, Price(price));
                naive.price(content.blocks(from, from + blocks), Price(price));
            }
        }
        pool.check().expect("the pool's own accounts");
        assert_eq!(pool.free() as usize, naive.queue().len());
        assert_eq!(pool.queue_places(), naive.queue(), "after {step:?}");
        for h in &holders {
            assert_eq!(h.table.places(), h.blocks);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_run_length_pool_equals_the_naive_one(history in steps()) {
        run(&history);
    }
}
