//! Into how many parts prefill attention splits the context, so that few CTAs fill the GPU.
//!
//! What a call takes is estimated for each count: CTAs run in rounds of as many as the GPU holds, longest first. The constants are read off
//! `measurements/prefill_splits.csv` (H200, 132 multiprocessors, 46 shapes in up to 16 parts): the counts chosen with them take 0.9 % longer
//! than the best ones on average, and 10 % at worst. Two rounds and a part more, to even out what the rows of a chunk see, take 16 % longer on
//! the ten shapes of 200 to 1,024 tokens where the workspace holds them.
//!
//! **Absent on purpose:** sequences of different lengths. A call has one count for all, chosen as if all were as long as the longest; a short
//! chunk behind a long context among several that have none waits for its few parts (`replay/measurements/validation`).

use crate::prefill_attention::{KEYS, QUERY_TILE};

/// Contexts of fewer KV tokens are not split.
pub const SPLIT_FROM: u32 = 2 * SPLIT_LEAST;

/// CTAs that one multiprocessor holds: limited by 255 registers a thread.
const CTAS_PER_MULTIPROCESSOR: u32 = 2;
/// Fewest tokens of a split. Its partial sums cost as much traffic as some 30 tokens a row, but a prompt of few tokens waits for the
/// longest split: with 128 in place of 512 a step of 40 prompt tokens behind 500 to 2,000 is 3 to 5 % shorter, one of 128 behind 500 is
/// 12 % shorter, and none is more than 2 % longer (`djinn-replay calibrate`, Llama-2-7B on an H200).
const SPLIT_LEAST: u32 = 128;
/// What a CTA takes for a tile of keys beside another CTA.
const TILE_PS: u64 = 3_500_000;
/// What a CTA takes before and after its tiles.
const CTA_PS: u64 = 3_000_000;
/// What a row of partial sums takes on its way out and back.
const ROW_PS: u64 = 400;
/// How much faster a CTA runs alone on its multiprocessor, as a ratio: it no longer shares the tensor cores, but nothing hides its waits.
const ALONE: (u64, u64) = (7, 5);

/// A call for one layer: chunks of `seq_count` sequences, all taken to be as long as the longest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub q_heads: u32,
    pub seq_count: u32,
    /// Query tokens of the longest chunk.
    pub chunk: u32,
    /// Longest context, its chunk included.
    pub context: u32,
}

impl Shape {
    /// The count that takes least of those that come to two rounds at most; the fewest if several do.
    pub fn splits(&self, multiprocessors: u32) -> u32 {
        let slots = CTAS_PER_MULTIPROCESSOR * multiprocessors;
        let ctas = (self.q_heads * self.query_tiles() * self.seq_count).max(1);
        let most = (2 * slots / ctas).min(self.context / SPLIT_LEAST).max(1);
        (1..=most)
            .min_by_key(|&splits| self.picoseconds(splits, multiprocessors))
            .unwrap_or(1)
    }

    fn query_tiles(&self) -> u32 {
        self.chunk.div_ceil(QUERY_TILE)
    }

    fn picoseconds(&self, splits: u32, multiprocessors: u32) -> u64 {
        let slots = CTAS_PER_MULTIPROCESSOR * multiprocessors;
        let alike = self.q_heads * self.seq_count * splits;
        let ctas = alike * self.query_tiles();
        let cta = |tile: u32| {
            let unseen = (self.query_tiles() - 1 - tile) * QUERY_TILE;
            let seen = self.context.saturating_sub(unseen);
            u64::from(seen.div_ceil(KEYS).div_ceil(splits)) * TILE_PS + CTA_PS
        };
        let work: u64 = (0..self.query_tiles())
            .map(|tile| u64::from(alike) * cta(tile))
            .sum();
        // Rows that see most go first: a round is as long as the first of its CTAs, at least.
        let rounds = (0..ctas.div_ceil(slots)).map(|round| {
            let first = cta(self.query_tiles() - 1 - round * slots / alike);
            let alone = ctas - round * slots <= multiprocessors;
            let last = if alone {
                first * ALONE.1 / ALONE.0
            } else {
                first
            };
            u64::from(round) * first + last
        });
        let longest = rounds.max().unwrap_or(0).max(work / u64::from(slots));
        let rows = u64::from(self.chunk * self.seq_count) * u64::from(self.q_heads * splits);
        longest + if splits > 1 { rows * ROW_PS } else { 0 }
    }
}

/// Rows of partial sums that any call can have: those of two rounds of CTAs.
pub(crate) fn rows_most(multiprocessors: u32) -> u64 {
    2 * u64::from(CTAS_PER_MULTIPROCESSOR * multiprocessors) * u64::from(QUERY_TILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(chunk: u32, context: u32) -> u32 {
        let shape = Shape {
            q_heads: 32,
            seq_count: 1,
            chunk,
            context,
        };
        shape.splits(132)
    }

    #[test]
    fn a_short_chunk_on_a_long_context_fills_one_round() {
        // 32 heads * 1 tile * 8 splits = 256 CTAs of 264; 32 * 2 * 4 and 32 * 4 * 2 as well.
        assert_eq!(splits(128, 32_768), 8);
        assert_eq!(splits(256, 32_768), 4);
        assert_eq!(splits(512, 32_768), 2);
        // 256 and 512 CTAs fill it alone.
        assert_eq!(splits(1024, 32_768), 1);
        assert_eq!(splits(2048, 2048), 1);
    }

    #[test]
    fn a_context_that_is_soon_read_is_split_less() {
        // Four parts leave each CTA a multiprocessor of its own, and half the sums to merge.
        assert_eq!(splits(90, 1590), 4);
        // Rows of the chunk see too different contexts for equal parts to pay.
        assert_eq!(splits(512, 512), 1);
        // Never less than 128 tokens a split.
        assert_eq!(splits(128, 255), 1);
    }

    #[test]
    fn the_workspace_holds_the_sums_of_every_call() {
        for (q_heads, seq_count) in [(1, 1), (8, 3), (32, 1), (64, 4), (32, 8)] {
            for chunk in [1, 128, 129, 500, 1024] {
                let shape = Shape {
                    q_heads,
                    seq_count,
                    chunk,
                    context: 1 << 20,
                };
                let splits = shape.splits(132);
                let rows = u64::from(chunk * seq_count) * u64::from(q_heads * splits);
                assert!(
                    splits == 1 || rows <= rows_most(132),
                    "{q_heads} heads, {seq_count} chunks of {chunk}"
                );
            }
        }
    }
}
