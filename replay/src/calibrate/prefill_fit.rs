//! What the attention of prompts costs, by tiles.
//!
//! ```text
//!   t(tokens, context) = t(tokens alone) + context, if it is split + attention(tiles)·KV tokens more that the mean tile reads
//! ```
//!
//! A CTA computes a tile of query tokens, however many there are, and tiles and splits come in rounds of as many CTAs as the GPU holds. Behind a short
//! context a time therefore says as much of the last round as of the tile: there attention is a line over tiles, the one with the least sum of
//! relative deviations over all prompts. Behind long ones, where it is most of the step, each number of tiles has its own.

use super::attended::{Attended, slope};
use super::fit::least_deviations;
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
    /// That there is a context, and it is split \[ns\].
    pub split: f64,
}

/// Attention is most of a step that tells what its number of tiles costs.
const TELLING: f64 = 0.4;

/// Fits prompts behind a context against those alone; rows are padded to `rows`.
///
/// # Errors
/// If none were timed behind two contexts.
pub fn fit(
    behind: &[&StepPoint],
    alone: &[&StepPoint],
    rows: Stairs<'_>,
) -> Result<ContextCost, String> {
    let rested = alone.iter().map(|point| (point.tokens(), point.rested()));
    let alone = rows.table(rested)?;
    let contexts: BTreeSet<u64> = behind.iter().map(|point| point.context()).collect();
    if alone.points().is_empty() || contexts.len() < 2 {
        return Err("no two prefill steps differ in their context alone".to_owned());
    }
    let mut by_tiles: BTreeMap<u32, Vec<Attended>> = BTreeMap::new();
    for point in behind {
        let steps = by_tiles.entry(point.totals.prefill_tiles()).or_default();
        steps.push(Attended {
            // A prompt alone reads itself already, and every tile all of the context.
            context: point.context() as f64,
            nanos: point.rested() - alone.ps(point.tokens()) as f64 / 1e3,
            step: point.rested(),
        });
    }
    let all = by_tiles.iter().flat_map(|(tiles, steps)| {
        let terms = |context: f64| [context, context * f64::from(*tiles), 1.0];
        steps
            .iter()
            .map(move |step| step.weighed(terms(step.context), 0.0))
    });
    let [any, tile, split] = least_deviations(&all.collect::<Vec<_>>());
    let mut attention: Vec<(u32, f64)> = by_tiles
        .iter()
        .filter_map(|(tiles, steps)| Some((*tiles, slope(steps, split, TELLING)?)))
        .collect();
    if attention.len() < 2 {
        let ends = by_tiles
            .keys()
            .min()
            .into_iter()
            .chain(by_tiles.keys().max());
        let ends: BTreeSet<u32> = ends.copied().collect();
        let line = ends
            .into_iter()
            .map(|tiles| (tiles, any + tile * f64::from(tiles)));
        attention = line.collect();
    }
    for (tiles, _) in &mut attention {
        *tiles *= QUERY_TILE;
    }
    Ok(ContextCost {
        attention: StepTable::new(rising(&attention))?,
        split,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn behind_short_ones_attention_is_a_line_over_tiles() {
        let cost = fitted(&tiled(&[500, 1_000, 2_000, 3_000], 420)).unwrap();
        assert_eq!(cost.attention.points().len(), 2);
        for (tokens, each) in [(128, 220e3), (256, 420e3), (512, 820e3)] {
            assert!(near(cost.attention.ps(tokens) as f64, each), "{cost:?}");
        }
        assert!(near(cost.split, 150e3), "{cost:?}");
    }

    #[test]
    fn one_disturbed_step_moves_neither() {
        let mut disturbed = tiled(&[1_000, 10_000, 100_000], 420);
        let whole = fitted(&disturbed).unwrap();
        disturbed[5].nanos *= 2;
        let cost = fitted(&disturbed).unwrap();
        assert!(near(cost.split, whole.split));
        for tokens in [128, 256, 512] {
            let each = |cost: &ContextCost| cost.attention.ps(tokens) as f64;
            assert!(near(each(&cost), each(&whole)));
        }
    }

    #[test]
    fn one_context_tells_nothing() {
        let error = fitted(&tiled(&[1_000], 420)).unwrap_err();
        assert!(error.contains("no two prefill steps"), "{error}");
    }
}
