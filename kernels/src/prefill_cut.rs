//! How the tiles of a pass of prefill attention may be cut, and which cut is taken.

use crate::prefill_attention::{KEYS, QUERY_TILE};
use crate::prefill_plan::PrefillChunk;
use crate::prefill_time::{Gpu, places};
use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

/// Passes whose longest context has fewer KV tokens are not split.
pub const SPLIT_FROM: u32 = 2 * PART_LEAST;

/// Fewest tokens of parts; what is left of a context may be less. Partial sums cost as much traffic as some 30 tokens a row, but a prompt of few tokens waits for the
/// longest part: with 128 in place of 512 a step of 40 prompt tokens behind 500 to 2,000 is 3 to 5 % shorter, one of 128 behind 500 is
/// 12 % shorter, and none is more than 2 % longer (`djinn-replay calibrate`, Llama-2-7B on an H200).
const PART_LEAST: u32 = 128;
/// Most parts of the longest tile that are tried.
const PARTS_MOST: u32 = 64;
/// Lengths of so many equal steps up to the longest tile are tried as well: what is left of each tile then fills gaps.
const STEPS: u32 = 16;

/// How the tiles of a pass are cut. In text `whole:part_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Tiles that stay whole: those that read most tiles of keys, of equal ones the first.
    pub whole: u32,
    /// KV tokens of the parts of all others, rounded up to tiles of keys; the last part of a tile has what is left.
    pub part_tokens: u32,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.whole, self.part_tokens)
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |cell: &str| cell.parse().map_err(|error| format!("{text}: {error}"));
        let (whole, part_tokens) = text
            .split_once(':')
            .ok_or_else(|| format!("{text}: not `whole:part_tokens`"))?;
        Ok(Self {
            whole: number(whole)?,
            part_tokens: number(part_tokens)?,
        })
    }
}

/// Up to 128 query tokens of a chunk.
pub(crate) struct Tile {
    pub sequence: u32,
    /// First row in `q`.
    pub row: u32,
    pub rows: u32,
    /// Tokens that the first row sees before itself.
    pub past: u32,
    /// Tiles of the pass that read more tiles of keys, or as many and listed before.
    longer: u32,
}

impl Tile {
    /// Tokens that the last row sees.
    pub fn context(&self) -> u32 {
        self.past + self.rows
    }

    pub fn key_tiles(&self) -> u32 {
        self.context().div_ceil(KEYS)
    }

    /// Tiles of keys of its parts; the last has what is left.
    pub fn part_key_tiles(&self, cut: Cut) -> u32 {
        if self.longer < cut.whole {
            self.key_tiles()
        } else {
            cut.part_tokens.div_ceil(KEYS).max(1)
        }
    }

    pub fn parts(&self, cut: Cut) -> u32 {
        self.key_tiles().div_ceil(self.part_key_tiles(cut))
    }
}

/// The tiles of a pass.
pub(crate) fn tiles(chunks: &[PrefillChunk]) -> Vec<Tile> {
    let mut tiles: Vec<Tile> = Vec::new();
    let mut row = 0;
    for (sequence, chunk) in chunks.iter().enumerate() {
        for begin in (0..chunk.tokens).step_by(QUERY_TILE as usize) {
            let rows = (chunk.tokens - begin).min(QUERY_TILE);
            tiles.push(Tile {
                sequence: sequence as u32,
                row: row + begin,
                rows,
                past: chunk.context - chunk.tokens + begin,
                longer: 0,
            });
        }
        row += chunk.tokens;
    }
    let mut order: Vec<usize> = (0..tiles.len()).collect();
    order.sort_by_key(|&tile| Reverse(tiles[tile].key_tiles()));
    for (longer, tile) in order.into_iter().enumerate() {
        tiles[tile].longer = longer as u32;
    }
    tiles
}

/// Rows of partial sums, over all heads, that any plan of [`PrefillPlan::new`] can have: those of as many CTAs as the GPU holds twice.
pub(crate) fn partial_rows_most(multiprocessors: u32) -> u64 {
    2 * u64::from(places(multiprocessors) * QUERY_TILE)
}

impl Gpu {
    /// The cut that is estimated to take least.
    pub fn best_cut(self, tiles: &[Tile]) -> Option<Cut> {
        let cuts = self.cuts(tiles).into_iter();
        cuts.min_by_key(|&cut| self.cut_takes_ps(tiles, cut))
    }

    /// No cut at all; and beside no tile, or as many as fill the GPU in all of its whole rounds or in one fewer: all others in parts of a half of the longest
    /// tile, a third and so on, and of every sixteenth of it, as far as the workspace holds their sums.
    pub fn cuts(self, tiles: &[Tile]) -> Vec<Cut> {
        let longest = tiles.iter().map(Tile::context).max().unwrap_or(0);
        let key_tiles = longest.div_ceil(KEYS).max(1);
        let mut cuts = vec![Cut {
            whole: 0,
            part_tokens: key_tiles * KEYS,
        }];
        if longest < SPLIT_FROM {
            return cuts;
        }
        let equal = (2..=PARTS_MOST).map(|parts| key_tiles.div_ceil(parts));
        let steps = (1..STEPS).map(|step| (key_tiles * step).div_ceil(STEPS));
        let mut lengths: Vec<u32> = equal.chain(steps).collect();
        lengths.sort_unstable_by_key(|&most| Reverse(most));
        lengths.dedup();
        lengths.retain(|&most| most < key_tiles && most * KEYS >= PART_LEAST);
        let count = tiles.len() as u32;
        let rounds = count * self.q_heads / places(self.multiprocessors);
        let mut wholes = [0, rounds.saturating_sub(1), rounds]
            .map(|rounds| rounds * places(self.multiprocessors) / self.q_heads.max(1))
            .to_vec();
        wholes.dedup();
        for whole in wholes.into_iter().filter(|&whole| whole < count) {
            let of_whole = lengths.iter().map(|most| Cut {
                whole,
                part_tokens: most * KEYS,
            });
            cuts.extend(of_whole.filter(|&cut| self.holds(tiles, cut)));
        }
        cuts
    }

    /// Whether the workspace holds the partial sums.
    fn holds(self, tiles: &[Tile], cut: Cut) -> bool {
        let parts = tiles.iter().map(|tile| tile.parts(cut));
        let parts: u32 = parts.filter(|&parts| parts > 1).sum();
        parts * self.q_heads <= 2 * places(self.multiprocessors)
    }

    /// What a plan of this cut takes for one layer \[ps\].
    pub fn cut_takes_ps(self, tiles: &[Tile], cut: Cut) -> u64 {
        let (mut parts, mut rows) = (Vec::new(), 0);
        for tile in tiles {
            let most = tile.part_key_tiles(cut);
            let (count, left) = (tile.key_tiles() / most, tile.key_tiles() % most);
            parts.extend((0..count).map(|_| most));
            parts.extend((left > 0).then_some(left));
            if tile.parts(cut) > 1 {
                rows += tile.parts(cut) * tile.rows;
            }
        }
        parts.sort_unstable_by_key(|&tiles| Reverse(tiles));
        self.takes_ps(&parts, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_named_and_known_by_their_names() {
        let cut = Cut {
            whole: 8,
            part_tokens: 3_200,
        };
        assert_eq!(cut.to_string(), "8:3200");
        assert_eq!("8:3200".parse(), Ok(cut));
        for wrong in ["8", "8:x"] {
            assert!(
                wrong
                    .parse::<Cut>()
                    .unwrap_err()
                    .starts_with(&format!("{wrong}: "))
            );
        }
    }
}
