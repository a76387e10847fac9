//! What it costs that prompts attend to earlier KV, in parts of it: what is left of steps behind contexts, by tiles.
//!
//! Behind long contexts that is where the line of a number of tiles begins, far from the shortest of them. Short contexts are cut otherwise, or not at
//! all: what they cost is fitted to them alone, and between both there is a straight line ([`StepCost::context_long`]).

use super::fit::{Weighed, least_deviations};
use super::prefill_fit::{ByTiles, by_tiles, told};
use super::stairs::picoseconds;
use super::step_fit::StepPoint;
use devices::{StepCost, StepTable};
use engine::device::QUERY_TILE;

/// What splits cost, over prompt tokens in whole tiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SplitCost {
    /// Of short contexts.
    pub short: StepTable,
    /// Of long ones; empty, if none were timed.
    pub long: StepTable,
}

/// Fits steps behind contexts, those from `long_from` on for themselves, to what `cost`, which has all but the split, leaves of them.
///
/// # Errors
/// As [`StepTable::uneven`].
pub fn fit(
    behind: &[&StepPoint],
    cost: &StepCost,
    long_from: Option<u32>,
) -> Result<SplitCost, String> {
    let (long, short): (Vec<&StepPoint>, Vec<&StepPoint>) = behind.iter().partition(|point| {
        let context = point.totals.context();
        long_from.is_some_and(|from| context >= u64::from(from))
    });
    let left = |point: &StepPoint| Weighed {
        terms: [1.0, 0.0, 0.0],
        value: point.left_of(cost),
        scale: point.rested(),
    };
    let mut of_short = by_tiles(&short, left);
    of_short.retain(|_, left| told(left));
    if of_short.is_empty() {
        let all = short.iter().map(|point| left(point));
        of_short.insert(QUERY_TILE, all.collect());
    }
    Ok(SplitCost {
        short: splits(of_short)?,
        long: splits(by_tiles(&long, left))?,
    })
}

/// What is left of steps, by their tiles; of more tiles it is what the most have.
fn splits(left: ByTiles<Weighed>) -> Result<StepTable, String> {
    let split = |left: &[Weighed]| picoseconds(least_deviations(left)[0]);
    let points = left.into_iter();
    let mut points: Vec<(u32, u64)> = points
        .map(|(tokens, left)| (tokens, split(&left)))
        .collect();
    points.extend(points.last().map(|(tokens, ps)| (tokens + QUERY_TILE, *ps)));
    StepTable::uneven(points)
}

#[cfg(test)]
mod tests {
    use super::super::prefill_fit::tests::point;
    use super::*;

    const SHORT: [u32; 6] = [300, 500, 1_000, 1_500, 2_000, 3_000];
    const LONG: [u32; 2] = [9_100, 33_500];

    /// Products and attention; each tile costs 220 ns a KV token.
    fn cost() -> StepCost {
        let table = |points: &[(u32, u64)]| StepTable::new(points.to_vec()).unwrap();
        StepCost {
            gemm: table(&[(1, 4_000_000_000), (1_001, 24_000_000_000)]),
            prefill_attention: table(&[(128, 220_000), (1_280, 2_200_000)]),
            ..StepCost::default()
        }
    }

    /// Prompts behind contexts that take `nanos` beyond that.
    fn behind(tokens: u32, contexts: &[u32], nanos: u64) -> Vec<StepPoint> {
        let points = contexts.iter().map(|&context| {
            let bare = point(tokens, context, 0);
            let all = cost().totals_ps(&bare.totals) / 1_000 + nanos;
            StepPoint { nanos: all, ..bare }
        });
        points.collect()
    }

    fn fitted(points: &[StepPoint], long_from: Option<u32>) -> SplitCost {
        fit(&points.iter().collect::<Vec<_>>(), &cost(), long_from).unwrap()
    }

    fn rounded(table: &StepTable) -> Vec<(u32, u64)> {
        let points = table.points().iter();
        points
            .map(|(tokens, ps)| (*tokens, (ps + 500_000) / 1_000_000))
            .collect()
    }

    #[test]
    fn each_number_of_tiles_has_its_own_and_they_need_not_rise() {
        let mut points = behind(100, &SHORT, 200_000);
        points.extend(behind(250, &SHORT, 90_000));
        points.extend(behind(512, &SHORT, 0));
        // Behind two contexts alone three tiles tell nothing.
        points.extend(behind(384, &SHORT[..2], 70_000));
        let split = fitted(&points, None);
        // More tiles than were timed are split no less than the most.
        assert_eq!(
            rounded(&split.short),
            [(128, 200), (256, 90), (512, 0), (640, 0)]
        );
        assert_eq!(split.long, StepTable::default());
    }

    #[test]
    fn a_few_contexts_tell_one_for_all() {
        let mut points = behind(100, &SHORT[..3], 150_000);
        points.extend(behind(512, &SHORT[..3], 150_000));
        assert_eq!(
            rounded(&fitted(&points, None).short),
            [(128, 150), (256, 150)]
        );
    }

    #[test]
    fn long_contexts_say_nothing_of_short_ones() {
        let mut points = behind(512, &SHORT, 40_000);
        points.extend(behind(512, &LONG, 600_000));
        points.extend(behind(640, &LONG, 1_200_000));
        let split = fitted(&points, Some(9_100));
        assert_eq!(rounded(&split.short), [(512, 40), (640, 40)]);
        assert_eq!(
            rounded(&split.long),
            [(512, 600), (640, 1_200), (768, 1_200)]
        );
    }
}
