//! What the attention of prompts costs, by tiles.
//!
//! ```text
//!   t(tokens, context) = t(tokens alone) + split(tiles) + (attention + rounds)(tiles)·KV tokens more that the mean tile reads
//! ```
//!
//! A CTA computes a tile of query tokens, however many there are, and the more tiles the fewer parts a context is split into: each number of tiles has
//! costs of its own, a line over what it reads with the least sum of relative deviations. Contexts in which attention is most of the step tell what a
//! KV token costs, where some were timed: behind short ones a time says as much of the last round of CTAs and of the split. Of numbers of tiles that
//! were timed behind a few contexts only, a line over tiles says the same. What numbers of tiles cost that were not timed so is in [`super::planned`].

use super::attended::{Attended, line, slope};
use super::fit::{Weighed, least_deviations};
use super::planned::Planned;
use super::stairs::{Stairs, picoseconds, rising};
use super::step_fit::StepPoint;
use devices::StepTable;
use engine::device::QUERY_TILE;
use std::collections::{BTreeMap, BTreeSet};

/// What prompts behind a context cost beyond those alone.
#[derive(Clone, Debug, PartialEq)]
pub struct ContextCost {
    /// Reading a KV token by each tile, over prompt tokens in whole tiles.
    pub attention: StepTable,
    /// What the same takes beyond it for numbers of tiles that `attention` has no point of.
    pub rounds: StepTable,
    /// That there is a context, and it is split, over prompt tokens in whole tiles.
    pub split: StepTable,
}

/// Attention is most of a step that tells what its number of tiles costs behind long contexts.
const TELLING: f64 = 0.4;
/// Behind long contexts attention is at least this share of a step.
const LONG: f64 = 0.25;
/// So many steps tell what their number of tiles costs.
const ENOUGH: usize = 6;

/// Fits prompts behind a context against those alone; rows are padded to `rows`.
///
/// # Errors
/// If none were timed behind two contexts.
pub fn fit(
    behind: &[&StepPoint],
    alone: &[&StepPoint],
    rows: Stairs<'_>,
    planned: Option<Planned>,
) -> Result<ContextCost, String> {
    let rested = alone.iter().map(|point| (point.tokens(), point.rested()));
    let alone = rows.table(rested)?;
    let contexts: BTreeSet<u64> = behind.iter().map(|point| point.totals.context()).collect();
    if alone.points().is_empty() || contexts.len() < 2 {
        return Err("no two prefill steps differ in their context alone".to_owned());
    }
    let mut timed = Timed::new();
    for point in behind {
        let tokens = point.totals.prefill_tiles() * QUERY_TILE;
        timed.entry(tokens).or_default().push(Attended {
            // A prompt alone reads itself already, and every tile all of the context.
            context: point.totals.context() as f64,
            nanos: point.rested() - alone.ps(point.tokens()) as f64 / 1e3,
            step: point.rested(),
        });
    }
    let several = |each: Vec<(u32, f64)>| (each.len() >= 2).then_some(each);
    let each = several(behind_long(&timed))
        .or_else(|| several(behind_short(&timed)))
        .unwrap_or_else(|| over_tiles(&timed));
    let attention = StepTable::new(rising(&each))?;
    let longest = contexts
        .last()
        .copied()
        .and_then(|longest| u32::try_from(longest).ok());
    let rounds = planned
        .zip(longest)
        .map_or(Vec::new(), |(planned, longest)| {
            planned.beyond(&each, &attention, longest)
        });
    let rounds = StepTable::uneven(rounds)?;
    // What steps take beyond what their contexts cost.
    let beyond = |(tokens, steps): (&u32, &Vec<Attended>)| -> Vec<Weighed> {
        let each = (attention.ps(*tokens) + rounds.ps(*tokens)) as f64 / 1e3;
        let rows = steps.iter();
        rows.map(|step| step.weighed([1.0, 0.0, 0.0], each * step.context))
            .collect()
    };
    let split = |rows: &[Weighed]| picoseconds(least_deviations(rows)[0]);
    let mut splits: Vec<(u32, u64)> = timed
        .iter()
        .filter(|(_, steps)| told(steps) || all_long(steps))
        .map(|at| (*at.0, split(&beyond(at))))
        .collect();
    if splits.is_empty() {
        let all: Vec<Weighed> = timed.iter().flat_map(beyond).collect();
        splits.push((QUERY_TILE, split(&all)));
    }
    // Beyond the last it stays.
    splits.extend(splits.last().map(|(tokens, ps)| (tokens + QUERY_TILE, *ps)));
    Ok(ContextCost {
        attention,
        split: StepTable::uneven(splits)?,
        rounds,
    })
}

/// Steps over their prompt tokens in whole tiles.
type Timed = BTreeMap<u32, Vec<Attended>>;

/// Whether so many contexts were timed that they tell what their number of tiles costs.
fn told(steps: &[Attended]) -> bool {
    steps.len() >= ENOUGH
}

/// Whether a number of tiles was timed behind long contexts alone, and two of them at least: their line has a split of its own, which that of other
/// numbers does not tell. Five tiles of Llama-3.1-8B take 1.1 ms more than those beside them say.
fn all_long(steps: &[Attended]) -> bool {
    let long = line(steps).is_some_and(|[_, split]| {
        let mut steps = steps.iter();
        steps.all(|step| step.nanos - split >= LONG * step.step)
    });
    long && steps.len() >= 2
}

/// What a KV token costs, by the steps of each number of tiles in which attention is most.
fn behind_long(timed: &Timed) -> Vec<(u32, f64)> {
    let slopes = timed.iter().filter_map(|(tokens, steps)| {
        let [_, split] = line(steps)?;
        Some((*tokens, slope(steps, split, TELLING)?))
    });
    slopes.collect()
}

/// What a KV token costs, by a line for each number of tiles that was timed behind enough contexts.
fn behind_short(timed: &Timed) -> Vec<(u32, f64)> {
    let lines = timed.iter().filter(|(_, steps)| told(steps));
    let slopes = lines.filter_map(|(tokens, steps)| Some((*tokens, line(steps)?[0])));
    slopes.collect()
}

/// What a KV token costs by a line over all tiles, at the fewest and the most.
fn over_tiles(timed: &Timed) -> Vec<(u32, f64)> {
    let all = timed.iter().flat_map(|(tokens, steps)| {
        let terms = |context: f64| [context, context * f64::from(*tokens), 1.0];
        steps
            .iter()
            .map(move |step| step.weighed(terms(step.context), 0.0))
    });
    let [any, token, _] = least_deviations(&all.collect::<Vec<_>>());
    let ends = [timed.keys().min(), timed.keys().max()];
    let ends: BTreeSet<u32> = ends.into_iter().flatten().copied().collect();
    ends.into_iter()
        .map(|tokens| (tokens, any + token * f64::from(tokens)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibrate::planned::Planner;
    use devices::StepTotals;
    use engine::device::{PrefillChunk, StepShape};

    fn point(tokens: u32, context: u32, nanos: u64) -> StepPoint {
        StepPoint {
            totals: StepTotals::of(&StepShape {
                prefill: vec![PrefillChunk { tokens, context }],
                ..StepShape::default()
            }),
            nanos,
            held_out: false,
            load_ppm: 0,
        }
    }

    fn fitted(behind: &[StepPoint]) -> Result<ContextCost, String> {
        planned(behind, None)
    }

    fn planned(behind: &[StepPoint], planned: Option<Planned>) -> Result<ContextCost, String> {
        let alone = [
            point(24, 0, 4_000_000),
            point(100, 0, 5_000_000),
            point(250, 0, 8_000_000),
            point(512, 0, 14_000_000),
        ];
        fit(
            &behind.iter().collect::<Vec<_>>(),
            &alone.iter().collect::<Vec<_>>(),
            Stairs(&[32, 128, 256, 512]),
            planned,
        )
    }

    /// One tile costs 220, two what is given, and four 820, whatever is in them; a split context costs 0.15 ms.
    fn tiled(contexts: &[u32], two: u64) -> Vec<StepPoint> {
        let behind = contexts.iter().flat_map(|&context| {
            let [one, two, four] = [220, two, 820].map(|each| 150_000 + each * u64::from(context));
            [
                point(24, context, 4_000_000 + one),
                point(100, context, 5_000_000 + one),
                point(250, context, 8_000_000 + two),
                point(512, context, 14_000_000 + four),
            ]
        });
        behind.collect()
    }

    fn near(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 0.01
    }

    #[test]
    fn behind_long_contexts_each_number_of_tiles_has_a_cost_of_its_own() {
        let cost = fitted(&tiled(&[1_000, 10_000, 100_000], 460)).unwrap();
        let tiles: Vec<u32> = cost.attention.points().iter().map(|at| at.0).collect();
        assert_eq!(tiles, [128, 256, 512]);
        for (tokens, each) in [(128, 220e3), (256, 460e3), (512, 820e3)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
        }
    }

    #[test]
    fn a_split_costs_what_its_number_of_tiles_says_and_need_not_rise_with_it() {
        let behind = [300, 500, 1_000, 1_500, 2_000, 3_000].into_iter();
        let behind = behind.flat_map(|context: u32| {
            let nanos = |split, each: u64| split + each * u64::from(context);
            [
                point(100, context, 5_000_000 + nanos(200_000, 220)),
                point(250, context, 8_000_000 + nanos(90_000, 460)),
                point(512, context, 14_000_000 + nanos(0, 820)),
            ]
        });
        let cost = fitted(&behind.collect::<Vec<_>>()).unwrap();
        for (tokens, each, split) in [(128, 220e3, 200e6), (256, 460e3, 90e6)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
            assert!(near(cost.split.ps(tokens) as f64, split), "{cost:?}");
        }
        // More tiles than were timed are split no less than the most.
        for tokens in [512, 1_024, 8_192] {
            assert!(cost.split.ps(tokens) < 1_000_000, "{cost:?}");
        }
    }

    #[test]
    fn a_few_short_contexts_tell_a_line_over_tiles() {
        let cost = fitted(&tiled(&[500, 1_000, 2_000, 3_000], 420)).unwrap();
        assert_eq!(cost.attention.points().len(), 2);
        for (tokens, each) in [(128, 220e3), (256, 420e3), (512, 820e3)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
        }
        assert!(near(cost.split.ps(400) as f64, 150e6), "{cost:?}");
    }

    #[test]
    fn numbers_of_tiles_that_were_not_timed_behind_long_contexts_cost_what_their_plan_takes() {
        let h200 = Planned {
            q_heads: 32,
            multiprocessors: 132,
            planner: Planner::EvenParts,
        };
        let mut behind = tiled(&[1_000, 10_000, 100_000], 420);
        let cost = planned(&behind, Some(h200)).unwrap();
        let rounds = |tokens| cost.rounds.ps(tokens);
        assert_eq!([128, 256, 512].map(rounds), [0, 0, 0]);
        assert!(
            rounds(384) > 10_000 && rounds(768) > 3 * rounds(384),
            "{cost:?}"
        );
        assert_eq!(planned(&behind, None).unwrap().rounds, StepTable::default());
        // Three tiles that cost as much behind short contexts, and 60 us for the split: the plan's part of it is no part of that.
        let each = cost.attention.ps(384) + rounds(384);
        behind.extend([300, 500, 1_000, 1_500, 2_000, 3_000].map(|context: u32| {
            point(384, context, 14_060_000 + each * u64::from(context) / 1_000)
        }));
        let split = planned(&behind, Some(h200)).unwrap().split.ps(384);
        assert!(near(split as f64, 60e6), "{split}");
    }

    #[test]
    fn one_disturbed_step_moves_neither() {
        let mut disturbed = tiled(&[1_000, 10_000, 100_000], 420);
        let whole = fitted(&disturbed).unwrap();
        disturbed[5].nanos *= 2;
        let cost = fitted(&disturbed).unwrap();
        for tokens in [128, 256, 512] {
            let ps = |cost: &ContextCost| {
                [&cost.attention, &cost.split].map(|table| table.ps(tokens) as f64)
            };
            for (a, b) in ps(&cost).into_iter().zip(ps(&whole)) {
                assert!(near(a, b));
            }
        }
    }

    #[test]
    fn one_context_tells_nothing() {
        let error = fitted(&tiled(&[1_000], 420)).unwrap_err();
        assert!(error.contains("no two prefill steps"), "{error}");
    }
}
