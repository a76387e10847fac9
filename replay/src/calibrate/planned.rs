//! What attention of prompts costs between the numbers of tiles that were timed: as its planner has it.
//!
//! CTAs of a chunk fill the GPU in rounds, and the planner cuts contexts into parts so that they do, for some numbers of tiles better than for others. A line between those that
//! were timed is some per cent off; where all tiles are cut alike, as they were up to November 2026, it says up to a third too little.

use super::stairs::picoseconds;
use crate::cuda::TOKENS_MAX;
use devices::StepTable;
use kernels::prefill_attention::{Cut, PrefillChunk, PrefillPlan, QUERY_TILE, SPLIT_FROM};

/// What the attention of prompts is planned for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Heads of Q.
    pub q_heads: u32,
    /// Multiprocessors of the GPU.
    pub multiprocessors: u32,
    /// How tiles were cut.
    pub planner: Planner,
}

/// How kernels cut tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planner {
    /// As they do now.
    Today,
    /// Up to November 2026, on 132 multiprocessors with 32 heads: each into [`EVEN_PARTS`] of one length, the last with what is left, and none left whole beside others.
    EvenParts,
}

/// Parts of each of one tile, of two, and so on, behind contexts of some thousand tokens and more; of more one.
const EVEN_PARTS: [u32; 5] = [8, 4, 5, 2, 3];

/// Contexts that tell what a KV token costs reach from an eighth of the longest to it: plans of short ones are of their own, and differ from length
/// to length.
const NEAR: u32 = 8;

impl Planned {
    /// What a KV token costs each number of tiles of a pass beyond `line`, from `each` that was timed \[ns\] (over tokens in whole tiles, ascending): what
    /// plans take, times what was timed over it, in a straight line between those. None where it is no more than `line` has, nor if no context was as
    /// long as plans need.
    pub fn beyond(self, each: &[(u32, f64)], line: &StepTable, longest: u32) -> Vec<(u32, u64)> {
        if longest < NEAR * SPLIT_FROM {
            return Vec::new();
        }
        let contexts = [longest / NEAR, longest];
        let over: Vec<(u32, f64)> = each
            .iter()
            .map(|&(tokens, nanos)| (tokens, nanos / self.each_nanos(tokens, contexts)))
            .filter(|(_, over)| over.is_finite() && *over > 0.0)
            .collect();
        let (Some(&(least, _)), Some(&(most, _))) = (over.first(), over.last()) else {
            return Vec::new();
        };
        let tiles = (least..=most.max(TOKENS_MAX)).step_by(QUERY_TILE as usize);
        let beyond = tiles.map(|tokens| {
            let planned = self.each_nanos(tokens, contexts) * between(&over, tokens);
            let beyond = picoseconds(planned).saturating_sub(line.ps(tokens));
            (tokens, beyond)
        });
        let mut beyond: Vec<(u32, u64)> = beyond.collect();
        // Of more it is not known.
        beyond.extend(beyond.last().map(|last| (last.0 + QUERY_TILE, last.1)));
        beyond
    }

    /// What a KV token more takes by the plans for two contexts, for one layer \[ns\].
    fn each_nanos(self, tokens: u32, [near, far]: [u32; 2]) -> f64 {
        let takes = |past: u32| {
            let context = past + tokens;
            let chunks = [PrefillChunk { tokens, context }];
            let plan = match self.planner {
                Planner::Today => PrefillPlan::new(self.q_heads, self.multiprocessors, &chunks),
                Planner::EvenParts => {
                    let tiles = tokens.div_ceil(QUERY_TILE) as usize;
                    let parts = EVEN_PARTS.get(tiles - 1).unwrap_or(&1);
                    let (whole, part_tokens) = (0, context.div_ceil(*parts));
                    PrefillPlan::with_cut(Cut { whole, part_tokens }, &chunks)
                }
            };
            plan.takes_ps(self.q_heads, self.multiprocessors) as f64
        };
        (takes(far) - takes(near)) / f64::from(far - near) / 1e3
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
        planner: Planner::EvenParts,
    };

    /// What is timed, over tiles, and what it comes to for up to twice as many tiles as a pass has \[ps\].
    fn beyond(planned: Planned, timed: &[(u32, f64)], longest: u32) -> Vec<u64> {
        let each: Vec<(u32, f64)> = timed
            .iter()
            .map(|&(tiles, nanos)| (tiles * QUERY_TILE, nanos))
            .collect();
        let points = each
            .iter()
            .map(|&(tokens, nanos)| (tokens, picoseconds(nanos)));
        let line = StepTable::new(points.collect()).unwrap();
        let beyond = StepTable::uneven(planned.beyond(&each, &line, longest)).unwrap();
        let tiles = 0..=2 * TOKENS_MAX / QUERY_TILE;
        tiles.map(|tiles| beyond.ps(tiles * QUERY_TILE)).collect()
    }

    #[test]
    fn numbers_of_tiles_that_fill_the_gpu_badly_cost_more_than_a_line_says() {
        // As long as all of a layer's CTAs beside each other: 4, 8 and 16 tiles of 32 heads fill 264 places by 97 %.
        let timed = [(1, 260.0), (2, 500.0), (4, 950.0), (16, 3_700.0)];
        let beyond = beyond(H200, &timed, 98_500);
        for (tiles, _) in timed {
            assert_eq!(beyond[tiles as usize], 0);
        }
        let line = |tiles: usize| 950e3 + (tiles - 4) as f64 * (3_700e3 - 950e3) / 12.0;
        let share = |tiles: usize| beyond[tiles] as f64 / line(tiles);
        // 192 CTAs take as long as 256; of 288, 24 are left for a round of their own, and take two thirds of it.
        assert!((0.30..0.36).contains(&share(6)), "{}", share(6));
        assert!((0.40..0.52).contains(&share(9)), "{}", share(9));
        assert!(share(8) < 0.05 && share(15) < 0.1, "{beyond:?}");
        // Beyond those that were timed plans go on, as far as a pass has tiles; more are not planned.
        assert!(beyond[17] > 500_000 && beyond[62] > 100_000, "{beyond:?}");
        let past = &beyond[65..];
        assert_eq!(past, vec![beyond[64]; past.len()]);
        // What the most tiles cost stays, where it is not nothing: 64 of 26 heads are 6.3 rounds, 10 nearly one.
        let heads = Planned {
            q_heads: 26,
            ..H200
        };
        let beyond = self::beyond(heads, &[(1, 260.0), (10, 2_600.0)], 98_500);
        assert!(
            beyond[64] > 0 && beyond[65..].iter().all(|at| *at == beyond[64]),
            "{beyond:?}"
        );
    }

    #[test]
    fn cuts_of_today_leave_little_beyond_a_line() {
        let today = Planned {
            planner: Planner::Today,
            ..H200
        };
        let timed = [(1, 260.0), (2, 500.0), (4, 950.0), (16, 3_700.0)];
        let [even, today] = [H200, today].map(|planned| beyond(planned, &timed, 98_500));
        for (tiles, beyond) in today.iter().enumerate().take(16).skip(6) {
            let line = 950e3 + (tiles - 4) as f64 * (3_700e3 - 950e3) / 12.0;
            assert!(*beyond as f64 <= 0.09 * line, "{tiles}: {beyond}");
        }
        assert!(even[9] > 4 * today[9], "{} {}", even[9], today[9]);
    }

    #[test]
    fn what_was_timed_counts_and_not_what_the_line_has_of_it() {
        let each = [(128, 260.0), (384, 1_100.0), (512, 800.0), (1_024, 1_900.0)];
        let line = [
            (128, 260_000),
            (384, 950_000),
            (512, 950_000),
            (1_024, 1_900_000),
        ];
        let line = StepTable::new(line.to_vec()).unwrap();
        let beyond = StepTable::uneven(H200.beyond(&each, &line, 98_500)).unwrap();
        assert_eq!([384, 512].map(|tokens| beyond.ps(tokens)), [150_000, 0]);
    }

    #[test]
    fn short_contexts_tell_nothing() {
        let (each, line) = ([(128, 260.0), (512, 950.0)], StepTable::default());
        assert!(H200.beyond(&each, &line, 2_047).is_empty());
        assert!(!H200.beyond(&each, &line, 2_048).is_empty());
        assert!(H200.beyond(&[], &line, 98_500).is_empty());
        // A GPU of few places, with few heads: plans still take longer for longer contexts.
        for (q_heads, multiprocessors) in [(1, 1), (8, 132), (12, 108), (64, 20)] {
            let planned = Planned {
                q_heads,
                multiprocessors,
                planner: Planner::Today,
            };
            let most = planned
                .beyond(&each, &line, 3_000)
                .into_iter()
                .map(|at| at.1)
                .max();
            assert!(
                most.is_some_and(|most| most < 100_000_000),
                "{planned:?}: {most:?}"
            );
        }
    }
}
