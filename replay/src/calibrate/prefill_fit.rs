//! What the attention of prompts costs, by tiles.
//!
//! ```text
//!   t(tokens, context) = .. + (attention + rounds)(tiles)·KV tokens that the mean tile reads
//! ```
//!
//! A CTA computes a tile of query tokens, however many there are, and the more tiles the fewer parts a context is split into: each number of tiles has
//! costs of its own, a line over what it reads with the least sum of relative deviations. Contexts in which attention is a good part of the step tell what a
//! KV token costs, where some were timed: behind short ones a time says as much of the last round of CTAs and of the split. Of numbers of tiles that
//! were timed behind a few contexts only, a line over tiles says the same. What numbers of tiles cost that were not timed so is in [`super::planned`], and that
//! contexts are split in [`super::split_fit`].

use super::attended::{Attended, line};
use super::fit::least_deviations;
use super::planned::Planned;
use super::stairs::{Stairs, rising};
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
    /// The shortest of the long contexts that tell both, if some do \[tokens\].
    pub long_from: Option<u32>,
}

/// Behind long contexts attention to them is at least this share of a step.
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
    // A prompt alone reads itself already, and every tile all of the context.
    let attended = |point: &StepPoint, own: f64| Attended {
        context: point.totals.context() as f64,
        nanos: point.rested() - own,
        step: point.rested(),
    };
    let own = |tokens: u32| alone.ps(tokens) as f64 / 1e3;
    // Of all prompts of a number of tiles as of the longest: where a line begins is no matter, and it may not be below 0.
    let timed = by_tiles(behind, |point| {
        let longest = point.totals.prefill_tiles() * QUERY_TILE;
        attended(point, own(point.tokens()) - own(longest))
    });
    let long: ByTiles<Attended> = timed
        .iter()
        .filter_map(|(tokens, steps)| Some((*tokens, behind_long(steps)?)))
        .collect();
    let told: ByTiles<Attended> = timed.into_iter().filter(|(_, steps)| told(steps)).collect();
    let long = Some(long).filter(|long| long.len() >= 2);
    let each = match &long {
        Some(long) => slopes(long),
        None if told.len() >= 2 => slopes(&told),
        None => over_tiles(&by_tiles(behind, |point| {
            attended(point, own(point.tokens()))
        })),
    };
    let long = long.iter().flatten().flat_map(|(_, steps)| steps);
    let long_from = long.map(|step| step.context as u32).min();
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
    Ok(ContextCost {
        attention,
        rounds: StepTable::uneven(rounds)?,
        long_from,
    })
}

/// Over prompt tokens in whole tiles.
pub type ByTiles<T> = BTreeMap<u32, Vec<T>>;

/// What `points` come to, by their numbers of tiles.
pub fn by_tiles<T>(points: &[&StepPoint], of: impl Fn(&StepPoint) -> T) -> ByTiles<T> {
    let mut all = ByTiles::new();
    for point in points {
        let tokens = point.totals.prefill_tiles() * QUERY_TILE;
        all.entry(tokens).or_insert_with(Vec::new).push(of(point));
    }
    all
}

/// Whether so many contexts were timed that they tell what their number of tiles costs.
pub fn told<T>(steps: &[T]) -> bool {
    steps.len() >= ENOUGH
}

/// Steps of a number of tiles in which attention to earlier context has its share, if they are of two contexts at least.
fn behind_long(steps: &[Attended]) -> Option<Vec<Attended>> {
    let [_, floor] = line(steps)?;
    let long = |step: &&Attended| step.nanos - floor >= LONG * step.step;
    let long: Vec<Attended> = steps.iter().filter(long).copied().collect();
    let (first, rest) = long.split_first()?;
    let differ = rest
        .iter()
        .any(|step| (step.context - first.context).abs() >= 1.0);
    differ.then_some(long)
}

/// What a KV token costs, by a line for each number of tiles.
fn slopes(timed: &ByTiles<Attended>) -> Vec<(u32, f64)> {
    let lines = timed.iter();
    let slopes = lines.filter_map(|(tokens, steps)| Some((*tokens, line(steps)?[0])));
    slopes.collect()
}

/// What a KV token costs by a line over all tiles, at the fewest and the most.
fn over_tiles(timed: &ByTiles<Attended>) -> Vec<(u32, f64)> {
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
pub(super) mod tests {
    use super::*;
    use crate::calibrate::planned::Planner;
    use devices::StepTotals;
    use engine::device::{PrefillChunk, StepShape};

    /// A timed prompt.
    pub fn point(tokens: u32, context: u32, nanos: u64) -> StepPoint {
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
        assert_eq!(cost.long_from, Some(10_000));
        for (tokens, each) in [(128, 220e3), (256, 460e3), (512, 820e3)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
        }
    }

    #[test]
    fn a_few_short_contexts_tell_a_line_over_tiles() {
        let cost = fitted(&tiled(&[500, 1_000, 2_000, 3_000], 420)).unwrap();
        assert_eq!(cost.attention.points().len(), 2);
        for (tokens, each) in [(128, 220e3), (256, 420e3), (512, 820e3)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
        }
        assert_eq!(cost.long_from, None);
    }

    #[test]
    fn numbers_of_tiles_that_were_not_timed_behind_long_contexts_cost_what_their_plan_takes() {
        let h200 = Planned {
            q_heads: 32,
            multiprocessors: 132,
            planner: Planner::EvenParts,
        };
        let behind = tiled(&[1_000, 10_000, 100_000], 420);
        let cost = planned(&behind, Some(h200)).unwrap();
        let rounds = |tokens| cost.rounds.ps(tokens);
        assert_eq!([128, 256, 512].map(rounds), [0, 0, 0]);
        assert!(
            rounds(384) > 10_000 && rounds(768) > 3 * rounds(384),
            "{cost:?}"
        );
        assert_eq!(planned(&behind, None).unwrap().rounds, StepTable::default());
    }

    #[test]
    fn one_disturbed_step_moves_nothing() {
        let mut disturbed = tiled(&[1_000, 10_000, 100_000], 420);
        let whole = fitted(&disturbed).unwrap();
        disturbed[5].nanos *= 2;
        let cost = fitted(&disturbed).unwrap();
        for tokens in [128, 256, 512] {
            let [a, b] = [&cost, &whole].map(|cost| cost.attention.ps(tokens) as f64);
            assert!(near(a, b));
        }
    }

    #[test]
    fn prompts_that_share_a_number_of_tiles_tell_one_line() {
        // 24 and 100 tokens are a tile, and take 1 ms more or less without a context.
        let cost = fitted(&tiled(&[9_000, 20_000, 60_000, 100_000], 460)).unwrap();
        assert!(near(cost.attention.ps(128) as f64, 220e3), "{cost:?}");
        assert_eq!(cost.long_from, Some(9_000));
    }

    #[test]
    fn one_context_tells_nothing() {
        let error = fitted(&tiled(&[1_000], 420)).unwrap_err();
        assert!(error.contains("no two prefill steps"), "{error}");
    }
}
