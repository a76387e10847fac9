//! What decode steps cost: a floor that passes of a bucket share, and attention that each number of sequences has of its own.
//!
//! ```text
//!   t(sequences, context) = floor(bucket of the sequences) + attention(sequences)·context
//! ```
//!
//! Products and launches are those of the bucket that a pass is padded to; sequences that only pad it have no KV. Attention is cut up by
//! the sequences that are there: a kernel may take a fifth longer for nine than for eight with as much KV.
//!
//! A batch that was timed at several contexts tells its floor, by the line with the least sum of relative deviations. What is above the floor of its bucket
//! is its attention, where that is a share of the step that can be told from noise; between such batches it is linear.

use super::attended::{Attended, line, slope};
use super::stairs::{Stairs, rising};
use super::step_fit::StepPoint;
use devices::StepTable;
use std::collections::{BTreeMap, BTreeSet};

/// Both tables of a decode step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeCost {
    /// Without KV, over sequences.
    pub floor: StepTable,
    /// A token of context of each sequence, over sequences.
    pub attention: StepTable,
}

/// A smaller share of a step does not tell what attention costs: a floor that is off by a hundredth would make it a fifth more.
const TELLING: f64 = 0.08;

/// Fits decode steps, which are padded to the next of `padded` sequences.
///
/// # Errors
/// If no batch was timed at two contexts.
pub fn fit(points: &[&StepPoint], padded: Stairs<'_>) -> Result<DecodeCost, String> {
    let mut batches: BTreeMap<u32, Vec<Attended>> = BTreeMap::new();
    for point in points {
        let sequences = point.totals.decode_seqs;
        let context = point.totals.decode_kv_tokens as f64 / f64::from(sequences);
        let nanos = point.rested();
        batches.entry(sequences).or_default().push(Attended {
            context,
            nanos,
            step: nanos,
        });
    }
    let lines: BTreeMap<u32, [f64; 2]> = batches
        .iter()
        .filter_map(|(sequences, timed)| Some((*sequences, line(timed)?)))
        .collect();
    if lines.is_empty() {
        return Err("no two decode steps differ in their KV alone".to_owned());
    }
    let slopes: Vec<(u32, f64)> = lines.iter().map(|(of, line)| (*of, line[0])).collect();
    let slopes = StepTable::new(rising(&slopes))?;
    // Of batches that tell their floor; in buckets without one, what the attention of their neighbours leaves.
    let told: BTreeSet<u32> = lines.keys().map(|of| padded.end(*of)).collect();
    let mut floors = Vec::new();
    for (sequences, timed) in &batches {
        if let Some([_, floor]) = lines.get(sequences) {
            floors.push((*sequences, *floor));
        } else if !told.contains(&padded.end(*sequences)) {
            let each = slopes.ps(*sequences) as f64 / 1e3;
            let left = timed.iter().map(|at| at.nanos - each * at.context);
            floors.extend(left.map(|floor| (*sequences, floor)));
        }
    }
    let floor = padded.table(floors.into_iter())?;
    let telling = batches.iter().filter_map(|(sequences, timed)| {
        let below = floor.ps(*sequences) as f64 / 1e3;
        Some((*sequences, slope(timed, below, TELLING)?))
    });
    // Without sequences there is nothing to attend to: below the first batch that tells, attention is proportional to them.
    let attention: Vec<(u32, f64)> = std::iter::once((0, 0.0)).chain(telling).collect();
    Ok(DecodeCost {
        floor,
        attention: StepTable::new(rising(&attention))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use devices::StepTotals;

    fn point(sequences: u32, context: u64, nanos: u64) -> StepPoint {
        StepPoint {
            totals: StepTotals {
                decode_seqs: sequences,
                decode_kv_tokens: u64::from(sequences) * context,
                ..StepTotals::default()
            },
            nanos,
            held_out: false,
            load_ppm: 0,
        }
    }

    #[test]
    fn a_batch_at_one_context_has_the_floor_of_its_bucket_and_its_own_attention() {
        // 4 and 8 sequences at three contexts: 3 ms and 0.4 us a token, 3.2 ms and 0.8 us. 5 sequences at one: 3.2 ms and 0.7 us.
        let mut points = Vec::new();
        for context in [200, 1_000, 4_000] {
            points.push(point(4, context, 3_000_000 + 400 * context));
            points.push(point(8, context, 3_200_000 + 800 * context));
        }
        points.push(point(5, 1_000, 3_200_000 + 700 * 1_000));
        let points: Vec<&StepPoint> = points.iter().collect();
        let cost = fit(&points, Stairs(&[1, 2, 4, 8])).unwrap();
        let floors = [
            (3, 3_000_000_000),
            (4, 3_000_000_000),
            (5, 3_200_000_000),
            (8, 3_200_000_000),
        ];
        assert_eq!(cost.floor.points(), floors);
        assert_eq!(
            cost.attention.points(),
            [(0, 0), (4, 400_000), (5, 700_000), (8, 800_000)]
        );
    }

    #[test]
    fn one_disturbed_step_of_a_batch_moves_neither_table() {
        let mut points: Vec<StepPoint> = [250, 1_000, 2_000, 3_900]
            .map(|context| point(8, context, 3_000_000 + 800 * context))
            .to_vec();
        let whole = fit(&points.iter().collect::<Vec<_>>(), Stairs(&[])).unwrap();
        points[1].nanos *= 2;
        let disturbed = fit(&points.iter().collect::<Vec<_>>(), Stairs(&[])).unwrap();
        let off = |a: u64, b: u64| (a as f64 / b as f64 - 1.0).abs();
        assert!(off(disturbed.floor.ps(8), whole.floor.ps(8)) < 0.01);
        assert!(off(disturbed.attention.ps(8), whole.attention.ps(8)) < 0.01);
    }

    #[test]
    fn attention_within_the_noise_of_a_step_is_that_of_its_neighbours() {
        // 3 sequences were timed at a context that takes a fiftieth of the step, with 40 us of noise.
        let mut points = vec![point(3, 500, 4_000_000 + 300 * 500 - 40_000)];
        for context in [1_000, 10_000] {
            points.push(point(2, context, 4_000_000 + 200 * context));
            points.push(point(8, context, 4_000_000 + 800 * context));
        }
        let cost = fit(&points.iter().collect::<Vec<_>>(), Stairs(&[2, 8])).unwrap();
        assert_eq!(
            cost.attention.points(),
            [(0, 0), (2, 200_000), (8, 800_000)]
        );
        assert_eq!(cost.attention.ps(3), 300_000);
    }

    #[test]
    fn batches_of_one_context_each_tell_nothing() {
        let points = [point(1, 500, 3_000_000), point(2, 500, 3_100_000)];
        let points: Vec<&StepPoint> = points.iter().collect();
        assert!(
            fit(&points, Stairs(&[]))
                .unwrap_err()
                .contains("no two decode steps")
        );
    }
}
