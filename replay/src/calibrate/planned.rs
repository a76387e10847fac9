//! What attention of prompts costs between the numbers of tiles that were timed: as its planner has it.
//!
//! CTAs of a chunk fill the GPU in rounds, and the planner cuts contexts into parts so that they do. Four tiles of 32 heads fill 132 multiprocessors
//! well; six do not, and of nine a few are left for a round of their own: a line between the numbers that were timed says up to a third too little.

use devices::StepTable;
use kernels::prefill_attention::{PrefillChunk, PrefillPlan, QUERY_TILE};

/// What the attention of prompts is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Heads of Q.
    pub q_heads: u32,
    /// Multiprocessors of the GPU.
    pub multiprocessors: u32,
}

/// The tokens of the largest step, in whole tiles.
const MOST: u32 = 8_192;

impl Planned {
    /// What a KV token costs each number of tiles beyond `timed`, whose points are those that were timed, behind contexts of up to `longest`: what the
    /// plan takes, times what was timed over what plans take there, in a straight line between those. None where it is no more.
    pub fn beyond(self, timed: &StepTable, longest: u32) -> Vec<(u32, u64)> {
        // Plans of short contexts are of their own.
        let contexts = [longest / 8, longest];
        let over: Vec<(u32, f64)> = timed
            .points()
            .iter()
            .map(|&(tokens, ps)| (tokens, ps as f64 / self.each_ps(tokens, contexts)))
            .filter(|(_, over)| over.is_finite())
            .collect();
        let (Some(&(least, _)), Some(&(most, _))) = (over.first(), over.last()) else {
            return Vec::new();
        };
        let whole = |tokens: u32| tokens.next_multiple_of(QUERY_TILE);
        let tiles = (whole(least)..=whole(most).max(MOST)).step_by(QUERY_TILE as usize);
        let beyond = tiles.map(|tokens| {
            let planned = self.each_ps(tokens, contexts) * between(&over, tokens);
            (tokens, (planned as u64).saturating_sub(timed.ps(tokens)))
        });
        let mut beyond: Vec<(u32, u64)> = beyond.collect();
        // Of more it is not known.
        beyond.extend(beyond.last().map(|last| (last.0 + QUERY_TILE, last.1)));
        beyond
    }

    /// What a KV token more takes by the plans for two contexts, for one layer \[ps\].
    fn each_ps(self, tokens: u32, [near, far]: [u32; 2]) -> f64 {
        let takes = |past: u32| {
            let context = past + tokens;
            let chunk = PrefillChunk { tokens, context };
            let plan = PrefillPlan::new(self.q_heads, self.multiprocessors, &[chunk]);
            plan.takes_ps(self.q_heads, self.multiprocessors) as f64
        };
        (takes(far) - takes(near)) / f64::from(far - near)
    }
}

/// What `points` have at `tokens`, in a straight line; outside of them what the nearest has.
fn between(points: &[(u32, f64)], tokens: u32) -> f64 {
    let place = points.partition_point(|point| point.0 < tokens);
    let before = place.checked_sub(1).and_then(|before| points.get(before));
    match (before, points.get(place)) {
        (Some(&(low, from)), Some(&(high, to))) => {
            from + (to - from) * f64::from(tokens - low) / f64::from(high - low)
        }
        (Some(&(_, nearest)), None) | (None, Some(&(_, nearest))) => nearest,
        (None, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const H200: Planned = Planned {
        q_heads: 32,
        multiprocessors: 132,
    };

    /// In tiles, for easier reading.
    fn beyond(timed: &[(u32, u64)], longest: u32) -> Vec<u64> {
        let points = timed.iter().map(|&(tiles, ps)| (tiles * QUERY_TILE, ps));
        let timed = StepTable::new(points.collect()).unwrap();
        let beyond = StepTable::uneven(H200.beyond(&timed, longest)).unwrap();
        let tiles = 0..=2 * MOST / QUERY_TILE;
        tiles.map(|tiles| beyond.ps(tiles * QUERY_TILE)).collect()
    }

    #[test]
    fn numbers_of_tiles_that_fill_the_gpu_badly_cost_more_than_a_line_says() {
        // As long as all of a layer's CTAs beside each other: 4, 8 and 16 tiles of 32 heads fill 264 places by 97 %.
        let timed = [(1, 260), (2, 500), (4, 950), (16, 3_700), (64, 14_800)];
        let beyond = beyond(&timed, 98_500);
        for (tiles, _) in timed {
            assert_eq!(beyond[tiles as usize], 0);
        }
        let line = |tiles: usize| (950 + (tiles - 4) as u64 * (3_700 - 950) / 12) as f64;
        let share = |tiles: usize| beyond[tiles] as f64 / line(tiles);
        // 192 CTAs take as long as 256; of 288, 24 are left for a round of their own, and take two thirds of it.
        assert!((0.30..0.36).contains(&share(6)), "{}", share(6));
        assert!((0.40..0.52).contains(&share(9)), "{}", share(9));
        assert!(share(8) < 0.05 && share(15) < 0.1, "{beyond:?}");
        // More tiles than any step has are not planned.
        assert_eq!(beyond[65..], vec![beyond[65]; beyond.len() - 65]);
    }

    #[test]
    fn contexts_that_are_one_tile_of_keys_tell_nothing() {
        assert!(beyond(&[(1, 260), (4, 950)], 20).iter().all(|&ps| ps == 0));
        assert!(H200.beyond(&StepTable::default(), 1_000).is_empty());
    }
}
