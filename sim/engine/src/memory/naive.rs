//! The pool block by block, as vLLM writes it down, and random histories that compare the two.

use super::{BlockPool, Content, Hits, Lineages, Table};
use model::{ContentId, SharedPrefix, Tokens};
use proptest::prelude::*;
use std::collections::{HashMap, VecDeque};

/// One entry per block; the queue is a deque of block numbers.
struct Naive {
    queue: VecDeque<u32>,
    refs: Vec<u32>,
    holds: Vec<Option<ContentId>>,
    index: HashMap<ContentId, Vec<u32>>,
}

impl Naive {
    fn new(capacity: u32) -> Self {
        Self {
            queue: (0..capacity).collect(),
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
        let block = self.queue.pop_front().expect("a free block");
        self.forget(block);
        self.refs[block as usize] = 1;
        block
    }

    fn touch(&mut self, block: u32) {
        if self.refs[block as usize] == 0 {
            self.queue.retain(|&b| b != block);
        }
        self.refs[block as usize] += 1;
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
        for &block in front.iter().rev() {
            self.queue.push_front(block);
        }
        self.queue.extend(back);
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
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let holder = 0..6usize;
    let step = prop_oneof![
        4 => (holder.clone(), 1..14u32).prop_map(|(holder, blocks)| Step::Enter { holder, blocks }),
        3 => (holder.clone(), 1..4u32).prop_map(|(holder, blocks)| Step::Grow { holder, blocks }),
        4 => (holder.clone(), 1..14u32).prop_map(|(holder, blocks)| Step::Register { holder, blocks }),
        4 => (holder.clone(), any::<bool>()).prop_map(|(holder, discard)| Step::Leave { holder, discard }),
        1 => (holder, 0..8u32).prop_map(|(holder, position)| Step::Rewrite { holder, position }),
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
            // Two groups of three sessions share 5 blocks, so contents overlap and duplicates arise.
            content: Content::new(
                &mut lineages,
                Some(SharedPrefix {
                    id: i % 2,
                    tokens: Tokens(5 * 16),
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
        }
        pool.check().expect("the pool's own accounts");
        assert_eq!(pool.free() as usize, naive.queue.len());
        assert_eq!(
            pool.queue_places(),
            Vec::from(naive.queue.clone()),
            "after {step:?}"
        );
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
