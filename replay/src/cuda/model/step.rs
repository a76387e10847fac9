//! What a forward pass computes, and the lists that say so to the kernels.
//!
//! ```text
//!   rows    [ decode sequences, one row each | tokens of chunk 0 | tokens of chunk 1 | .. ]
//!   samples [ decode sequences               | last row of chunk 0 | .. ]
//!
//!   words   plan of decode attention | plan of prefill attention | tokens of the chunks | positions | slots | contexts that decode | rows of the samples
//!   table   [sequences][blocks of the longest]
//! ```
//!
//! All words are 32 bits wide. A pass from a CUDA graph is padded to the graph's number of sequences: padding has no context, position 0
//! and slot -1, and so reads and writes no KV.

use super::ModelError;
use kernels::decode_attention::DecodePlan;
use kernels::prefill_attention::{PlanSizes, PrefillChunk, PrefillPlan};

/// A sequence that decodes one token: the one that its row sampled last.
#[derive(Clone, Copy, Debug)]
pub struct Decode<'a> {
    /// Its KV blocks in order, the new token's included.
    pub blocks: &'a [u32],
    /// Its KV tokens, the new one included; at least 1.
    pub context: u32,
}

/// Part of a prompt.
#[derive(Clone, Copy, Debug)]
pub struct Prefill<'a> {
    /// KV blocks of the sequence in order, those of the chunk included.
    pub blocks: &'a [u32],
    /// Tokens that have KV already.
    pub past: u32,
    /// Token ids of the chunk, at least one.
    pub tokens: &'a [i32],
}

/// One forward pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass<'a> {
    /// Sequences that decode.
    pub decode: &'a [Decode<'a>],
    /// Chunks of prompts.
    pub prefill: &'a [Prefill<'a>],
}

/// What the CTAs of a pass's attention read.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// Of sequences that decode; without words if there are none.
    pub decode: DecodePlan,
    /// Of chunks.
    pub prefill: PrefillPlan,
}

/// Sizes of a pass: what its launches depend on beside the lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Decode rows, padding included.
    pub decode: u32,
    /// Prefill rows.
    pub prefill_tokens: u32,
    /// Chunks.
    pub chunks: u32,
    /// Of the plan of the chunks' attention.
    pub plan: PlanSizes,
    /// Words of the plan of decode attention.
    pub decode_words: u32,
    /// Blocks of the longest sequence.
    pub table_width: u32,
}

impl Sizes {
    /// Those of `pass` and its plans, with decode rows for `decode` sequences.
    pub fn of(pass: &Pass<'_>, decode: u32, plans: &Plans) -> Self {
        let tokens = pass.prefill.iter().map(|chunk| chunk.tokens.len() as u32);
        let blocks = pass.decode.iter().map(|sequence| sequence.blocks);
        let blocks = blocks.chain(pass.prefill.iter().map(|chunk| chunk.blocks));
        Self {
            decode,
            prefill_tokens: tokens.sum(),
            chunks: pass.prefill.len() as u32,
            plan: plans.prefill.sizes(),
            decode_words: plans.decode.words().len() as u32,
            table_width: blocks.map(|blocks| blocks.len() as u32).max().unwrap_or(0),
        }
    }

    /// Rows in all.
    pub fn rows(&self) -> u32 {
        self.decode + self.prefill_tokens
    }

    /// Sequences, which is also the rows that are sampled.
    pub fn sequences(&self) -> u32 {
        self.decode + self.chunks
    }

    /// Where each list begins \[words\]: both plans, tokens, positions, slots, contexts, sample rows, and the end.
    pub fn offsets(&self) -> [u32; 8] {
        let lengths = [
            self.decode_words,
            self.plan.words(),
            self.prefill_tokens,
            self.rows(),
            self.rows(),
            self.decode,
            self.sequences(),
        ];
        let mut offsets = [0; 8];
        for (at, length) in lengths.into_iter().enumerate() {
            offsets[at + 1] = offsets[at] + length;
        }
        offsets
    }

    /// Words of all lists but the table.
    pub fn words(&self) -> u32 {
        self.offsets()[7]
    }
}

impl Prefill<'_> {
    /// What its attention depends on.
    pub(super) fn attended(&self) -> PrefillChunk {
        let tokens = self.tokens.len() as u32;
        PrefillChunk {
            tokens,
            context: self.past + tokens,
        }
    }
}

impl Pass<'_> {
    /// What no kernel can check: contexts and chunks that their blocks do not hold.
    ///
    /// # Errors
    /// [`ModelError::Pass`] with the sequence.
    pub fn check(&self, block_tokens: u32, block_count: u32) -> Result<(), ModelError> {
        let decode = self
            .decode
            .iter()
            .map(|sequence| (sequence.blocks, sequence.context, 1));
        let prefill = self.prefill.iter().map(|chunk| {
            let tokens = chunk.tokens.len() as u32;
            (chunk.blocks, chunk.past + tokens, tokens)
        });
        for (at, (blocks, context, tokens)) in decode.chain(prefill).enumerate() {
            let room = blocks.len() as u64 * u64::from(block_tokens);
            let what = if tokens == 0 || context == 0 {
                "has nothing to compute".to_owned()
            } else if room < u64::from(context) {
                format!("has {context} tokens of KV and blocks for {room}")
            } else if let Some(outside) = blocks.iter().find(|&&block| block >= block_count) {
                format!("names block {outside} of a pool of {block_count}")
            } else {
                continue;
            };
            return Err(ModelError::Pass { sequence: at, what });
        }
        Ok(())
    }

    /// Writes the lists and behind them the table, as 32-bit words in the order of the bytes on the GPU.
    pub(super) fn write(
        &self,
        sizes: &Sizes,
        block_tokens: u32,
        plans: &Plans,
        words: &mut Vec<u32>,
    ) {
        let padding = (sizes.decode as usize).saturating_sub(self.decode.len());
        let slot = |blocks: &[u32], position: u32| {
            blocks[(position / block_tokens) as usize] * block_tokens + position % block_tokens
        };
        let chunk_positions =
            |chunk: &Prefill<'_>| chunk.past..chunk.past + chunk.tokens.len() as u32;
        words.clear();
        words.extend(plans.decode.words());
        words.extend(plans.prefill.words());
        for chunk in self.prefill {
            words.extend(chunk.tokens.iter().map(|&token| token as u32));
        }
        words.extend(self.decode.iter().map(|sequence| sequence.context - 1));
        words.extend(std::iter::repeat_n(0, padding));
        words.extend(self.prefill.iter().flat_map(chunk_positions));
        words.extend(
            self.decode
                .iter()
                .map(|sequence| slot(sequence.blocks, sequence.context - 1)),
        );
        words.extend(std::iter::repeat_n(u32::MAX, padding));
        for chunk in self.prefill {
            words.extend(chunk_positions(chunk).map(|position| slot(chunk.blocks, position)));
        }
        words.extend(self.decode.iter().map(|sequence| sequence.context));
        words.extend(std::iter::repeat_n(0, padding));
        words.extend(0..sizes.decode);
        let mut end = sizes.decode;
        for chunk in self.prefill {
            end += chunk.tokens.len() as u32;
            words.push(end - 1);
        }
        let blocks = self.decode.iter().map(|sequence| sequence.blocks);
        let width = sizes.table_width as usize;
        for blocks in blocks {
            words.extend_from_slice(blocks);
            words.extend(std::iter::repeat_n(0, width - blocks.len()));
        }
        words.extend(std::iter::repeat_n(0, padding * width));
        for chunk in self.prefill {
            words.extend_from_slice(chunk.blocks);
            words.extend(std::iter::repeat_n(0, width - chunk.blocks.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::decode_attention::Strands;

    fn sequences() -> ([Decode<'static>; 2], [Prefill<'static>; 2]) {
        let decode = [
            Decode {
                blocks: &[5],
                context: 3,
            },
            Decode {
                blocks: &[7, 2],
                context: 17,
            },
        ];
        let prefill = [
            Prefill {
                blocks: &[4, 9],
                past: 15,
                tokens: &[100, 101, 102],
            },
            Prefill {
                blocks: &[1],
                past: 0,
                tokens: &[200],
            },
        ];
        (decode, prefill)
    }

    #[test]
    fn the_lists_lie_one_behind_the_other_and_the_table_behind_them() {
        let (decode, prefill) = sequences();
        let pass = Pass {
            decode: &decode,
            prefill: &prefill,
        };
        let chunks = prefill.map(|chunk| chunk.attended());
        let plans = Plans {
            decode: Strands::new(132, [4, 4], decode.map(|sequence| sequence.context)).plan(),
            prefill: PrefillPlan::new(4, 132, &chunks),
        };
        let sizes = Sizes::of(&pass, 2, &plans);
        let mut words = Vec::new();
        pass.write(&sizes, 16, &plans, &mut words);
        let [_, at, tokens, positions, slots, contexts, samples, end] =
            sizes.offsets().map(|at| at as usize);
        assert_eq!(&words[..at], plans.decode.words());
        assert_eq!(&words[at..tokens], plans.prefill.words());
        assert_eq!(words[tokens..positions], [100, 101, 102, 200]);
        assert_eq!(words[positions..slots], [2, 16, 15, 16, 17, 0]);
        // Blocks of 16: 5 * 16 + 2, 2 * 16 + 0; 4 * 16 + 15, 9 * 16 + 0, 9 * 16 + 1; 1 * 16 + 0.
        assert_eq!(words[slots..contexts], [82, 32, 79, 144, 145, 16]);
        assert_eq!(words[contexts..samples], [3, 17]);
        // Rows 0 and 1 decode; the chunks end with rows 2 + 2 and 2 + 3.
        assert_eq!(words[samples..end], [0, 1, 4, 5]);
        assert_eq!(words[end..], [5, 0, 7, 2, 4, 9, 1, 0]);
        assert_eq!(sizes.words() as usize, end);
    }

    #[test]
    fn padding_has_no_context_and_writes_nothing() {
        let (decode, _) = sequences();
        let pass = Pass {
            decode: &decode,
            prefill: &[],
        };
        let plans = |pass: &Pass<'_>| {
            let contexts = pass.decode.iter().map(|sequence| sequence.context);
            Plans {
                decode: Strands::new(132, [4, 4], contexts).plan(),
                ..Plans::default()
            }
        };
        let sizes = Sizes::of(&pass, 4, &plans(&pass));
        // A graph is recorded of padding alone.
        let padding = Pass::default();
        let recorded = Sizes::of(&padding, 4, &plans(&padding));
        assert_eq!(sizes.offsets(), recorded.offsets());
        let mut words = Vec::new();
        pass.write(&sizes, 16, &plans(&pass), &mut words);
        let [_, _, _, positions, slots, contexts, samples, end] =
            sizes.offsets().map(|at| at as usize);
        assert_eq!(words[positions..slots], [2, 16, 0, 0]);
        assert_eq!(words[slots..contexts], [82, 32, u32::MAX, u32::MAX]);
        assert_eq!(words[contexts..samples], [3, 17, 0, 0]);
        assert_eq!(words[samples..end], [0, 1, 2, 3]);
        // Four rows of two blocks.
        assert_eq!(words.len(), end + 8);
    }

    #[test]
    fn sizes_say_rows_and_the_longest() {
        let (decode, prefill) = sequences();
        let pass = Pass {
            decode: &decode,
            prefill: &prefill,
        };
        let sizes = Sizes::of(&pass, 2, &Plans::default());
        assert_eq!((sizes.rows(), sizes.sequences()), (6, 4));
        assert_eq!(sizes.table_width, 2);
    }

    #[test]
    fn blocks_that_do_not_hold_the_context_or_lie_outside_the_pool_are_refused() {
        let refused = |decode: Decode<'_>, prefill: &[Prefill<'_>]| {
            let pass = Pass {
                decode: &[decode],
                prefill,
            };
            pass.check(16, 10).map_err(|error| error.to_string())
        };
        let good = Decode {
            blocks: &[3],
            context: 16,
        };
        assert_eq!(refused(good, &[]), Ok(()));
        let short = Decode {
            context: 17,
            ..good
        };
        assert!(
            refused(short, &[])
                .unwrap_err()
                .contains("17 tokens of KV and blocks for 16")
        );
        let outside = Decode {
            blocks: &[10],
            ..good
        };
        assert!(
            refused(outside, &[])
                .unwrap_err()
                .contains("block 10 of a pool of 10")
        );
        let empty = Prefill {
            blocks: &[1],
            past: 3,
            tokens: &[],
        };
        let error = refused(good, &[empty]).unwrap_err();
        assert!(
            error.starts_with("sequence 1 of a pass has nothing"),
            "{error}"
        );
    }
}
