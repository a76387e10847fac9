//! Which CTAs of prefill attention compute what.
//!
//! The host plans a pass once, for all of its layers: tiles of 128 query tokens behind long contexts are cut into parts of at most one length,
//! the same for all chunks, and parts are listed longest first, so that CTAs of one chunk fill the places that those of another leave. The length
//! is the one whose estimated time is least. CTAs go to the multiprocessors in the order of the list, each to the place that is free
//! first; so does the estimate. (FlashInfer, MLSys 2025, plans work of ragged batches on the host as well.)
//!
//! The constants are read off `measurements/prefill_parts.csv` (H200, 132 multiprocessors, 59 passes): with the lengths chosen attention takes
//! 0.4 % longer than with the best ones on average, and 8 % at worst.

use crate::prefill_attention::{KEYS, QUERY_TILE};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Passes whose longest context has fewer KV tokens are not split.
pub const SPLIT_FROM: u32 = 2 * PART_LEAST;

/// CTAs that one multiprocessor holds: limited by 255 registers a thread.
pub(crate) const CTAS_PER_MULTIPROCESSOR: u32 = 2;
/// Fewest tokens of the longest part of a pass; contexts that do not divide by it have shorter ones. Partial sums cost as much traffic as some 30 tokens a row, but a prompt of few tokens waits for the
/// longest part: with 128 in place of 512 a step of 40 prompt tokens behind 500 to 2,000 is 3 to 5 % shorter, one of 128 behind 500 is
/// 12 % shorter, and none is more than 2 % longer (`djinn-replay calibrate`, Llama-2-7B on an H200).
const PART_LEAST: u32 = 128;
/// What a CTA takes for a tile of keys beside another CTA.
pub(crate) const TILE_PS: u64 = 3_500_000;
/// What a CTA takes before and after its tiles.
pub(crate) const CTA_PS: u64 = 5_000_000;
/// What a row of partial sums takes on its way out and back.
pub(crate) const ROW_PS: u64 = 400;
/// How much faster a CTA runs alone on its multiprocessor, as a ratio: it no longer shares the tensor cores, but nothing hides its waits.
const ALONE: (u64, u64) = (5, 4);
/// Most parts of the longest tile that are tried.
const PARTS_MOST: u32 = 64;

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

/// Up to 128 query tokens of a chunk.
struct Tile {
    sequence: u32,
    /// First row in `q`.
    row: u32,
    rows: u32,
    /// Tokens that the first row sees before itself.
    past: u32,
}

impl Tile {
    /// Tokens that the last row sees.
    fn context(&self) -> u32 {
        self.past + self.rows
    }

    fn key_tiles(&self) -> u32 {
        self.context().div_ceil(KEYS)
    }

    /// Parts of at most `most` tiles of keys.
    fn parts(&self, most: u32) -> u32 {
        self.key_tiles().div_ceil(most)
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
        let tried = gpu.lengths(&tiles);
        let best = tried.min_by_key(|&most| gpu.picoseconds(&tiles, most));
        Self::of(&tiles, best.unwrap_or(u32::MAX))
    }

    /// The plan whose parts read at most `tokens` KV tokens, rounded up to tiles of keys: for measuring.
    #[must_use]
    pub fn with_parts_of(tokens: u32, chunks: &[PrefillChunk]) -> Self {
        Self::of(&tiles(chunks), tokens.div_ceil(KEYS).max(1))
    }

    /// Lengths of parts that [`PrefillPlan::new`] chooses from \[KV tokens\], the first of them without splits.
    #[must_use]
    pub fn part_tokens(q_heads: u32, multiprocessors: u32, chunks: &[PrefillChunk]) -> Vec<u32> {
        let tiles = tiles(chunks);
        let gpu = Gpu {
            q_heads,
            multiprocessors,
        };
        gpu.lengths(&tiles).map(|most| most * KEYS).collect()
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

    /// Tiles of keys of each part, in order.
    pub(crate) fn part_tiles(&self) -> impl Iterator<Item = u32> {
        let (parts, _) =
            self.words[..self.sizes.merges_at() as usize].as_chunks::<{ PART_WORDS as usize }>();
        parts.iter().map(|part| part[5] - part[4])
    }

    /// Its sizes.
    #[must_use]
    pub fn sizes(&self) -> PlanSizes {
        self.sizes
    }

    fn of(tiles: &[Tile], most: u32) -> Self {
        let mut sizes = PlanSizes::default();
        let (mut parts, mut merges) = (Vec::new(), Vec::new());
        for tile in tiles {
            sizes.rows = sizes.rows.max(tile.row + tile.rows);
            sizes.sequences = sizes.sequences.max(tile.sequence + 1);
            sizes.context = sizes.context.max(tile.context());
            let count = tile.parts(most);
            for part in 0..count {
                let partial = if count == 1 {
                    WHOLE
                } else {
                    sizes.partial_rows + part * tile.rows
                };
                let end = |part: u32| tile.key_tiles() * part / count;
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

fn tiles(chunks: &[PrefillChunk]) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut row = 0;
    for (sequence, chunk) in chunks.iter().enumerate() {
        for begin in (0..chunk.tokens).step_by(QUERY_TILE as usize) {
            let rows = (chunk.tokens - begin).min(QUERY_TILE);
            tiles.push(Tile {
                sequence: sequence as u32,
                row: row + begin,
                rows,
                past: chunk.context - chunk.tokens + begin,
            });
        }
        row += chunk.tokens;
    }
    tiles
}

/// CTAs that the GPU holds.
fn places(multiprocessors: u32) -> u32 {
    CTAS_PER_MULTIPROCESSOR * multiprocessors
}

/// Rows of partial sums, over all heads, that any plan of [`PrefillPlan::new`] can have: those of as many CTAs as the GPU holds twice.
pub(crate) fn partial_rows_most(multiprocessors: u32) -> u64 {
    2 * u64::from(places(multiprocessors) * QUERY_TILE)
}

/// What CTAs are placed on.
struct Gpu {
    q_heads: u32,
    multiprocessors: u32,
}

impl Gpu {
    /// Tiles of keys that the longest part may have: all of the longest tile, a half of it, a third, and so on.
    fn lengths(&self, tiles: &[Tile]) -> impl Iterator<Item = u32> {
        let longest = tiles.iter().map(Tile::context).max().unwrap_or(0);
        let key_tiles = longest.div_ceil(KEYS).max(1);
        let parts = if longest < SPLIT_FROM { 1 } else { PARTS_MOST };
        let mut lengths: Vec<u32> = (1..=parts).map(|parts| key_tiles.div_ceil(parts)).collect();
        lengths.dedup();
        lengths.retain(|&most| {
            most == key_tiles || most * KEYS >= PART_LEAST && self.holds(tiles, most)
        });
        lengths.into_iter()
    }

    /// Whether the workspace holds the partial sums.
    fn holds(&self, tiles: &[Tile], most: u32) -> bool {
        let parts = tiles.iter().map(|tile| tile.parts(most));
        let parts: u32 = parts.filter(|&parts| parts > 1).sum();
        parts * self.q_heads <= 2 * places(self.multiprocessors)
    }

    /// Estimated time: CTAs placed one after the other, longest first, and the rows of partial sums.
    fn picoseconds(&self, tiles: &[Tile], most: u32) -> u64 {
        let (mut lengths, mut rows) = (Vec::new(), 0);
        for tile in tiles {
            let parts = tile.parts(most);
            lengths.extend((0..parts).map(|_| tile.key_tiles().div_ceil(parts)));
            rows += if parts > 1 { parts * tile.rows } else { 0 };
        }
        lengths.sort_unstable_by_key(|&length| Reverse(length));
        let alone = lengths.len() as u32 * self.q_heads <= self.multiprocessors;
        // Places that are free at the same time are one entry.
        let mut free = BinaryHeap::from([Reverse((0, places(self.multiprocessors)))]);
        let mut last = 0;
        for alike in lengths.chunk_by(|a, b| a == b) {
            let mut takes = u64::from(alike[0]) * TILE_PS + CTA_PS;
            if alone {
                takes = takes * ALONE.1 / ALONE.0;
            }
            let mut left = alike.len() as u32 * self.q_heads;
            while left > 0 {
                let Some(Reverse((at, count))) = free.pop() else {
                    break;
                };
                let taken = count.min(left);
                if count > taken {
                    free.push(Reverse((at, count - taken)));
                }
                free.push(Reverse((at + takes, taken)));
                last = last.max(at + takes);
                left -= taken;
            }
        }
        last + u64::from(rows) * u64::from(self.q_heads) * ROW_PS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measured::longer_than_best;

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
        // 256 and 512 CTAs fill it alone.
        assert_eq!(parts(1024, 31_744), 8);
        assert_eq!(parts(2048, 0), 16);
    }

    #[test]
    fn a_context_that_is_soon_read_is_split_less() {
        // Seven parts of four tiles are a round, and eight would be of as many.
        assert_eq!(planned(&[chunk(90, 1500)]).sizes.parts, 7);
        // Rows of the chunk see too different contexts for parts to pay.
        assert_eq!(planned(&[chunk(1024, 0)]).sizes.merges, 0);
        // The longest part has 128 tokens at least, and five tiles of keys are parts of two, two and one; a pass of fewer than 256 is not split.
        let lengths = |tokens, past| {
            let plan = planned(&[chunk(tokens, past)]);
            plan.part_tiles().collect::<Vec<_>>()
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
    fn the_lengths_chosen_are_near_the_best_that_were_measured() {
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
            Box::new(move |tokens| {
                PrefillPlan::with_parts_of(tokens.parse().unwrap(), &chunks) == plan
            })
        });
        assert_eq!(longer.len(), 59);
        let mean = longer.iter().sum::<f64>() / longer.len() as f64;
        assert!(mean < 0.01, "{mean}");
        assert!(longer.iter().all(|longer| *longer < 0.1), "{longer:?}");
    }

    #[test]
    fn nothing_to_compute_is_an_empty_plan() {
        assert_eq!(planned(&[]), PrefillPlan::default());
    }
}
