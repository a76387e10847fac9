//! Where the sequences of a step lie in the pool, as far as the engine says what a step is: by its sizes.
//!
//! ```text
//!   pool   [ blocks of the engine ............................ | landing ]
//!            read: block tables walk through them, round and round    written: the blocks that new tokens go to
//! ```
//!
//! A [`StepShape`] has no block ids. Contexts therefore read blocks of the pool in turn, which hold real KV (a stamp is one, see
//! `kernels::stamp`) and cost what any others would; new K and V go to blocks behind the pool, so that the blocks of the engine keep
//! the stamps by which every copy is verified. Decode contexts are the mean that the shape gives.
//!
//! **What must hold:** no block of the engine is written. **Absent on purpose:** the values of a particular session; nothing here depends
//! on them.

use super::Limits;
use super::step::{Decode, Pass, Prefill};
use engine::device::StepShape;
use kernels::mix::mix64;

/// Blocks behind the pool. New tokens of a step that need more share them; 2,048 tokens of 16 have one each.
pub const LANDING_BLOCKS: u32 = 128;

/// Lays out steps.
pub struct Placement {
    block_tokens: u32,
    pool_blocks: u32,
    vocab: u32,
    limits: Limits,
    /// The next block to read, and the next to write.
    read: u32,
    written: u32,
    drawn: u64,
}

/// One pass, laid out.
#[derive(Debug, Default)]
pub struct Laid {
    blocks: Vec<u32>,
    tokens: Vec<i32>,
    /// End of its blocks, and its context.
    decode: Vec<(usize, u32)>,
    /// End of its blocks, tokens before it, end of its tokens.
    prefill: Vec<(usize, u32, usize)>,
}

impl Laid {
    /// Calls `with` with the pass.
    pub fn pass<T>(&self, with: impl FnOnce(&Pass<'_>) -> T) -> T {
        let mut block = 0;
        let mut blocks = |end: usize| {
            let run = &self.blocks[block..end];
            block = end;
            run
        };
        let decode: Vec<Decode<'_>> = self
            .decode
            .iter()
            .map(|&(end, context)| Decode {
                blocks: blocks(end),
                context,
            })
            .collect();
        let mut token = 0;
        let prefill: Vec<Prefill<'_>> = self
            .prefill
            .iter()
            .map(|&(end, past, tokens_end)| {
                let tokens = &self.tokens[token..tokens_end];
                token = tokens_end;
                Prefill {
                    blocks: blocks(end),
                    past,
                    tokens,
                }
            })
            .collect();
        with(&Pass {
            decode: &decode,
            prefill: &prefill,
        })
    }
}

impl Placement {
    /// For a pool of `pool_blocks` blocks with [`LANDING_BLOCKS`] behind them.
    pub fn new(pool_blocks: u32, block_tokens: u32, vocab: u32, limits: Limits) -> Self {
        Self {
            block_tokens,
            pool_blocks,
            vocab,
            limits,
            read: 0,
            written: 0,
            drawn: 0,
        }
    }

    /// The passes of a step: one, or as many as its tokens need.
    pub fn lay_out(&mut self, shape: &StepShape) -> Vec<Laid> {
        let mut passes = Vec::with_capacity(1);
        let mut chunks = shape
            .prefill
            .iter()
            .map(|chunk| (chunk.context, chunk.tokens))
            .filter(|&(_, tokens)| tokens > 0)
            .collect::<std::collections::VecDeque<_>>();
        let sequences = shape.decode_seqs;
        let mut done = 0;
        while done < sequences || !chunks.is_empty() {
            let mut laid = Laid::default();
            let count = (sequences - done).min(self.limits.sequences);
            for sequence in done..done + count {
                let context = mean(shape.decode_kv_tokens, sequences, sequence);
                self.place(&mut laid, context - 1, 1);
                laid.decode.push((laid.blocks.len(), context));
            }
            done += count;
            let mut room = self.limits.tokens - count;
            for _ in count..self.limits.sequences {
                let Some((past, tokens)) = chunks.pop_front() else {
                    break;
                };
                let now = tokens.min(room);
                if now < tokens {
                    chunks.push_front((past + now, tokens - now));
                }
                if now == 0 {
                    break;
                }
                room -= now;
                self.place(&mut laid, past, now);
                self.draw(&mut laid, now);
                laid.prefill
                    .push((laid.blocks.len(), past, laid.tokens.len()));
            }
            passes.push(laid);
        }
        passes
    }

    /// Blocks of a sequence with `past` tokens of KV that computes `tokens` more.
    fn place(&mut self, laid: &mut Laid, past: u32, tokens: u32) {
        for _ in 0..past / self.block_tokens {
            laid.blocks.push(self.read);
            self.read = (self.read + 1) % self.pool_blocks;
        }
        let count = (past + tokens).div_ceil(self.block_tokens) - past / self.block_tokens;
        for _ in 0..count {
            laid.blocks.push(self.pool_blocks + self.written);
            self.written = (self.written + 1) % LANDING_BLOCKS;
        }
    }

    fn draw(&mut self, laid: &mut Laid, tokens: u32) {
        for _ in 0..tokens {
            self.drawn += 1;
            let token = mix64(self.drawn) % u64::from(self.vocab);
            laid.tokens.push(token as i32);
        }
    }
}

/// The context of one of `sequences` with `total` tokens in all: the mean, the first ones rounded up.
fn mean(total: u64, sequences: u32, sequence: u32) -> u32 {
    let (each, over) = (total / u64::from(sequences), total % u64::from(sequences));
    (each + u64::from(u64::from(sequence) < over)).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::device::PrefillChunk;

    fn placement(tokens: u32, sequences: u32) -> Placement {
        let limits = Limits {
            tokens,
            sequences,
            table_width: 64,
            table_entries: 4096,
        };
        Placement::new(10, 16, 1000, limits)
    }

    fn chunk(context: u32, tokens: u32) -> PrefillChunk {
        PrefillChunk { tokens, context }
    }

    #[test]
    fn contexts_read_the_pool_in_turn_and_new_tokens_land_behind_it() {
        let mut placement = placement(100, 8);
        let shape = StepShape {
            prefill: vec![chunk(40, 20)],
            decode_seqs: 2,
            decode_kv_tokens: 33 + 32,
        };
        let [laid] = &placement.lay_out(&shape)[..] else {
            panic!("one pass")
        };
        laid.pass(|pass| {
            // 33 tokens: 32 old ones in two blocks, one new; 32 tokens: 31 old ones, of which the last 15 share the block of the new one.
            let blocks: Vec<_> = pass.decode.iter().map(|d| (d.context, d.blocks)).collect();
            assert_eq!(blocks, [(33, &[0, 1, 10][..]), (32, &[2, 11][..])]);
            let [prefill] = pass.prefill else {
                panic!("one chunk")
            };
            // 40 old tokens: two blocks; tokens 32 to 59 in two more.
            assert_eq!((prefill.past, prefill.blocks), (40, &[3, 4, 12, 13][..]));
            assert_eq!(prefill.tokens.len(), 20);
            assert!(
                prefill
                    .tokens
                    .iter()
                    .all(|&token| (0..1000).contains(&token))
            );
            pass.check(16, 10 + LANDING_BLOCKS).expect("a sound pass");
        });
        // The next step reads on.
        let again = placement.lay_out(&StepShape {
            decode_seqs: 1,
            decode_kv_tokens: 17,
            ..StepShape::default()
        });
        again[0].pass(|pass| assert_eq!(pass.decode[0].blocks, [5, 14]));
    }

    #[test]
    fn a_step_too_large_for_one_pass_becomes_several_that_build_on_each_other() {
        let mut placement = placement(50, 8);
        let shape = StepShape {
            prefill: vec![chunk(0, 100), chunk(7, 9)],
            decode_seqs: 10,
            decode_kv_tokens: 30,
        };
        let passes = placement.lay_out(&shape);
        let sizes: Vec<_> = passes
            .iter()
            .map(|laid| {
                laid.pass(|pass| {
                    pass.check(16, 10 + LANDING_BLOCKS).expect("a sound pass");
                    let chunks: Vec<_> = pass
                        .prefill
                        .iter()
                        .map(|c| (c.past, c.tokens.len()))
                        .collect();
                    (pass.decode.len(), chunks)
                })
            })
            .collect();
        // Eight sequences fill the first pass; the second has two and room for 48 tokens; the third 50; the rest in the fourth.
        assert_eq!(
            sizes,
            [
                (8, vec![]),
                (2, vec![(0, 48)]),
                (0, vec![(48, 50)]),
                (0, vec![(98, 2), (7, 9)]),
            ]
        );
    }

    #[test]
    fn contexts_add_up_to_what_the_shape_says() {
        let contexts: Vec<u32> = (0..7).map(|sequence| mean(100, 7, sequence)).collect();
        assert_eq!(contexts.iter().sum::<u32>(), 100);
        assert_eq!((contexts[0], contexts[6]), (15, 14));
        assert_eq!(mean(0, 3, 1), 1, "the new token itself");
    }
}
