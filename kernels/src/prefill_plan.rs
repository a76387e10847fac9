//! Which CTAs of prefill attention compute what.
//!
//! The host plans a pass once, for all of its layers. A CTA takes a tile of 128 query tokens through its context; where tiles do not fill the GPU in whole
//! rounds, some stay whole and the others are cut into parts of one length, the same for all chunks. Parts are listed longest first, so that those of
//! one chunk fill the places that those of another leave: of nine tiles of 32 heads eight stay whole and take 256 of 264 places, and the
//! ninth is cut so that it fills what is left and ends with them. The cut is the one whose [time](crate::prefill_time) is estimated least. (FlashInfer, MLSys 2025, plans work of ragged batches on the
//! host as well; Stream-K, PPoPP 2023, cuts the last tiles of matrix products alone.)
//!
//! By `measurements/prefill_parts.csv` (H200, 132 multiprocessors, 123 passes) attention takes 0.6 % longer than with the best cuts that were timed on average, and
//! 8 % at worst. Of 8 to 64 tiles behind 20,300 tokens each takes within 5 % of the least per tile and KV token; with all tiles
//! cut alike nine took 43 % more than that, and 17 a fifth.

use crate::prefill_attention::QUERY_TILE;
use crate::prefill_cut::{Cut, Tile, tiles};
use crate::prefill_time::{Gpu, places};
use std::cmp::Reverse;

const PART_WORDS: u32 = 8;
const MERGE_WORDS: u32 = 4;
/// A part that is all of its tile has no partial sums.
const WHOLE: u32 = u32::MAX;

/// Part of a prompt, as prefill attention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefillChunk {
    /// Query tokens; at least one.
    pub tokens: u32,
    /// KV tokens of the sequence, the chunk included.
    pub context: u32,
}

/// The work of a pass in the order in which it is launched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefillPlan {
    words: Vec<u32>,
    sizes: PlanSizes,
}

/// What launches depend on of a plan, beside its list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PlanSizes {
    /// Parts: CTAs for each head.
    pub parts: u32,
    /// Query tiles that are split.
    pub merges: u32,
    /// Query tokens of the largest of these.
    pub merge_rows: u32,
    /// Partial sums for each head.
    pub partial_rows: u32,
    /// Query tokens of all chunks.
    pub rows: u32,
    /// Sequences.
    pub sequences: u32,
    /// KV tokens of the longest context.
    pub context: u32,
}

impl PlanSizes {
    /// Words of the list.
    #[must_use]
    pub fn words(&self) -> u32 {
        self.merges_at() + MERGE_WORDS * self.merges
    }

    /// Where the merges begin.
    pub(crate) fn merges_at(&self) -> u32 {
        PART_WORDS * self.parts
    }
}

impl PrefillPlan {
    /// The plan that is estimated to take least.
    #[must_use]
    pub fn new(q_heads: u32, multiprocessors: u32, chunks: &[PrefillChunk]) -> Self {
        let tiles = tiles(chunks);
        let gpu = Gpu {
            q_heads,
            multiprocessors,
        };
        gpu.best_cut(&tiles)
            .map_or_else(Self::default, |cut| Self::of(&tiles, cut))
    }

    /// The plan of a given cut: for measuring, and for calibrations of kernels that cut otherwise.
    #[must_use]
    pub fn with_cut(cut: Cut, chunks: &[PrefillChunk]) -> Self {
        Self::of(&tiles(chunks), cut)
    }

    /// Cuts that [`PrefillPlan::new`] chooses from, each with its [estimated time](PrefillPlan::takes_ps); without splits first.
    #[must_use]
    pub fn cuts(q_heads: u32, multiprocessors: u32, chunks: &[PrefillChunk]) -> Vec<(Cut, u64)> {
        let tiles = tiles(chunks);
        let gpu = Gpu {
            q_heads,
            multiprocessors,
        };
        let cuts = gpu.cuts(&tiles).into_iter();
        cuts.map(|cut| (cut, gpu.cut_takes_ps(&tiles, cut)))
            .collect()
    }

    /// What this plan takes for one layer of `q_heads` heads \[ps\].
    #[must_use]
    pub fn takes_ps(&self, q_heads: u32, multiprocessors: u32) -> u64 {
        let gpu = Gpu {
            q_heads,
            multiprocessors,
        };
        let (parts, _) =
            self.words[..self.sizes.merges_at() as usize].as_chunks::<{ PART_WORDS as usize }>();
        let lengths: Vec<u32> = parts.iter().map(|part| part[5] - part[4]).collect();
        gpu.takes_ps(&lengths, self.sizes.partial_rows)
    }

    /// Words of the longest list that passes of up to `tokens` query tokens of `sequences` sequences have.
    #[must_use]
    pub fn words_most(multiprocessors: u32, tokens: u32, sequences: u32) -> u32 {
        // A tile that is split has two parts at least.
        let whole = tokens / QUERY_TILE + sequences;
        let parts = 2 * places(multiprocessors);
        PART_WORDS * (whole + parts) + MERGE_WORDS * parts / 2
    }

    /// The list, as the kernels read it: parts, then merges.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        &self.words
    }

    /// Its sizes.
    #[must_use]
    pub fn sizes(&self) -> PlanSizes {
        self.sizes
    }

    fn of(tiles: &[Tile], cut: Cut) -> Self {
        let mut sizes = PlanSizes::default();
        let (mut parts, mut merges) = (Vec::new(), Vec::new());
        for tile in tiles {
            let most = tile.part_key_tiles(cut);
            sizes.rows = sizes.rows.max(tile.row + tile.rows);
            sizes.sequences = sizes.sequences.max(tile.sequence + 1);
            sizes.context = sizes.context.max(tile.context());
            let count = tile.parts(cut);
            for part in 0..count {
                let partial = if count == 1 {
                    WHOLE
                } else {
                    sizes.partial_rows + part * tile.rows
                };
                let end = |part: u32| (part * most).min(tile.key_tiles());
                let (first, end) = (end(part), end(part + 1));
                parts.push([
                    tile.sequence,
                    tile.row,
                    tile.rows,
                    tile.past,
                    first,
                    end,
                    partial,
                    0,
                ]);
            }
            if count > 1 {
                merges.push([tile.row, tile.rows, sizes.partial_rows, count]);
                sizes.partial_rows += count * tile.rows;
                sizes.merge_rows = sizes.merge_rows.max(tile.rows);
            }
        }
        parts.sort_by_key(|&[_, _, _, _, first, end, ..]| Reverse(end - first));
        sizes.parts = parts.len() as u32;
        sizes.merges = merges.len() as u32;
        let words = parts.into_flattened();
        let words = words.into_iter().chain(merges.into_flattened()).collect();
        Self { words, sizes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::longer_than_best;
    use crate::prefill_cut::partial_rows_most;

    fn chunk(tokens: u32, past: u32) -> PrefillChunk {
        PrefillChunk {
            tokens,
            context: past + tokens,
        }
    }

    fn planned(chunks: &[PrefillChunk]) -> PrefillPlan {
        PrefillPlan::new(32, 132, chunks)
    }

    fn parts(plan: &PrefillPlan) -> &[[u32; 8]] {
        let end = plan.sizes.merges_at() as usize;
        plan.words()[..end].as_chunks().0
    }

    fn merges(plan: &PrefillPlan) -> &[[u32; 4]] {
        let begin = plan.sizes.merges_at() as usize;
        plan.words()[begin..].as_chunks().0
    }

    #[test]
    fn a_short_chunk_on_a_long_context_fills_one_round() {
        let parts = |tokens, past| planned(&[chunk(tokens, past)]).sizes.parts;
        // 32 heads * 8 parts = 256 CTAs of 264; two and four tiles of queries in four and two parts as well.
        assert_eq!(parts(128, 32_640), 8);
        assert_eq!(parts(256, 32_512), 8);
        assert_eq!(parts(512, 32_256), 8);
        // 512 CTAs of all lengths fill it alone.
        assert_eq!(parts(2048, 0), 16);
    }

    #[test]
    fn what_full_rounds_leave_is_cut_to_fill_the_gpu() {
        let whole_and_parts = |tiles: u32| {
            let plan = planned(&[chunk(tiles * QUERY_TILE, 33_500)]);
            (tiles - plan.sizes.merges, plan.sizes.parts)
        };
        // Eight tiles of 32 heads are a round of 264 places, 16 two: one is left, and cut into parts that all can share.
        for (tiles, whole) in [(9, 8), (17, 16), (34, 33)] {
            let (kept, parts) = whole_and_parts(tiles);
            assert!(
                kept == whole && parts >= whole + 4,
                "{tiles}: {kept} {parts}"
            );
        }
        // Six tiles: of each a part that fills 192 places, and what is left for the other 72 in turn.
        let plan = planned(&[chunk(6 * QUERY_TILE, 33_500)]);
        let lengths: Vec<u32> = parts(&plan).iter().map(|part| part[5] - part[4]).collect();
        assert_eq!(lengths.len(), 12);
        assert!(lengths[5] > 2 * lengths[6], "{lengths:?}");
    }

    #[test]
    fn a_cut_is_estimated_as_its_plan_is() {
        for pass in [
            vec![chunk(700, 9_100)],
            vec![chunk(156, 133), chunk(300, 2_000), chunk(13, 12_700)],
        ] {
            let cuts = PrefillPlan::cuts(32, 132, &pass);
            assert!(cuts.len() > 5);
            for (cut, takes) in &cuts {
                let plan = PrefillPlan::with_cut(*cut, &pass);
                assert_eq!(plan.takes_ps(32, 132), *takes, "{cut}");
            }
            let least = cuts.iter().map(|cut| cut.1).min();
            assert_eq!(Some(planned(&pass).takes_ps(32, 132)), least);
        }
    }

    #[test]
    fn a_context_that_is_soon_read_is_split_less() {
        // Four parts for each of 32 heads have a multiprocessor each.
        assert_eq!(planned(&[chunk(90, 1500)]).sizes.parts, 4);
        // Of a chunk without context before it the last tiles see most, and are cut.
        assert_eq!(planned(&[chunk(1024, 0)]).sizes.merges, 3);
        // The longest part has 128 tokens at least, and five tiles of keys are parts of two, two and one; a pass of fewer than 256 is not split.
        let lengths = |tokens, past| {
            let plan = planned(&[chunk(tokens, past)]);
            let parts = parts(&plan).iter();
            parts.map(|part| part[5] - part[4]).collect::<Vec<_>>()
        };
        assert_eq!(lengths(40, 217), [2, 2, 1]);
        assert_eq!(lengths(128, 127), [4]);
    }

    #[test]
    fn a_long_context_among_short_ones_is_cut_to_their_length() {
        let plan = planned(&[chunk(156, 133), chunk(17, 7), chunk(13, 1270)]);
        let longest = parts(&plan)[0];
        assert!(longest[5] - longest[4] <= 6, "{plan:?}");
        // Only the long one is split.
        assert_eq!(merges(&plan).len(), 1);
        assert_eq!(merges(&plan)[0][..2], [173, 13]);
    }

    #[test]
    fn every_tile_reads_its_context_once_and_lists_begin_with_the_longest() {
        let passes: [&[PrefillChunk]; 5] = [
            &[chunk(1, 0)],
            &[
                chunk(300, 5),
                chunk(1, 3000),
                chunk(128, 0),
                chunk(129, 700),
            ],
            &[chunk(40, 90_000)],
            &[chunk(8192, 0), chunk(13, 20_000)],
            &[chunk(13, 500); 60],
        ];
        for pass in passes {
            let plan = planned(pass);
            let length = |part: &[u32; 8]| part[5] - part[4];
            assert!(parts(&plan).is_sorted_by(|a, b| length(a) >= length(b)));
            let mut partial = vec![0; plan.sizes.partial_rows as usize];
            for tile in tiles(pass) {
                let mut own: Vec<_> = parts(&plan)
                    .iter()
                    .filter(|part| part[1] == tile.row)
                    .collect();
                own.sort_by_key(|part| part[4]);
                let mut read = 0;
                for part in &own {
                    assert_eq!(part[..4], [tile.sequence, tile.row, tile.rows, tile.past]);
                    assert_eq!(part[4], read);
                    assert!(part[5] > read);
                    read = part[5];
                }
                assert_eq!(read, (tile.past + tile.rows).div_ceil(64));
                let merge = merges(&plan).iter().find(|merge| merge[0] == tile.row);
                assert_eq!(own.len() > 1, merge.is_some());
                let Some(&[_, rows, first, count]) = merge else {
                    assert_eq!(own[0][6], WHOLE);
                    continue;
                };
                assert_eq!((rows, count), (tile.rows, own.len() as u32));
                for (at, part) in own.iter().enumerate() {
                    assert_eq!(part[6], first + at as u32 * rows);
                    for row in &mut partial[part[6] as usize..][..rows as usize] {
                        *row += 1;
                    }
                }
            }
            // No two parts share a row of partial sums, and none is left out.
            assert!(partial.iter().all(|&uses| uses == 1));
        }
    }

    #[test]
    fn workspace_and_list_hold_every_plan() {
        for q_heads in [1, 8, 32, 64, 600] {
            for count in [1, 3, 8, 100] {
                for tokens in [1, 128, 129, 500, 1024] {
                    let chunks = vec![chunk(tokens, 1 << 20); count];
                    let plan = PrefillPlan::new(q_heads, 132, &chunks);
                    let rows = u64::from(plan.sizes.partial_rows * q_heads);
                    assert!(
                        rows <= partial_rows_most(132),
                        "{q_heads} heads, {count} chunks of {tokens}"
                    );
                    let most = PrefillPlan::words_most(132, tokens * count as u32, count as u32);
                    assert_eq!(plan.words().len() as u32, plan.sizes.words());
                    assert!(plan.sizes.words() <= most);
                }
            }
        }
    }

    #[test]
    fn cuts_that_are_chosen_are_near_the_best_that_were_measured() {
        let measured = include_str!("../measurements/prefill_parts.csv");
        let longer = longer_than_best(measured, |_, names| {
            let chunks: Vec<PrefillChunk> = names
                .split(' ')
                .map(|name| {
                    let (past, tokens) = name.split_once('+').expect("two numbers");
                    chunk(tokens.parse().unwrap(), past.parse().unwrap())
                })
                .collect();
            let plan = planned(&chunks);
            Box::new(move |cut| PrefillPlan::with_cut(cut.parse().unwrap(), &chunks) == plan)
        });
        assert_eq!(longer.len(), 123);
        let mean = longer.iter().sum::<f64>() / longer.len() as f64;
        assert!(mean < 0.01, "{mean}");
        assert!(longer.iter().all(|longer| *longer < 0.1), "{longer:?}");
    }

    #[test]
    fn nothing_to_compute_is_an_empty_plan() {
        assert_eq!(planned(&[]), PrefillPlan::default());
    }
}
